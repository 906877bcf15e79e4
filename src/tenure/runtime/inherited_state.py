"""State inherited from the parent process, corrected before any work begins.

For Tenure's own programs (the command line, `tenure serve`): a host that embeds Tenure keeps its
state. State not named here is harmless or the user's choice (other limits, niceness, environment,
ignored SIGHUP); ``tests/real/test_inherited.py`` lists it and tries each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

_OWNERS_BITS = 0o700
_LEAST = (
    ("RLIMIT_NOFILE", 64, "this process may open {} files at once"),
    ("RLIMIT_FSIZE", 64 << 20, "this process may write files of at most {} bytes"),
)
"""Required for the store, the output of commands, and two descriptors per command."""
_SHELL_WORDS = {
    "RLIMIT_NOFILE": "ulimit -n, LimitNOFILE=",
    "RLIMIT_FSIZE": "ulimit -f, LimitFSIZE=",
}
USUAL_UMASK = 0o022
"""Instead of 0, which would let every user write the files that jobs create."""


def put_right() -> None:
    """Correct closed standard descriptors, blocked signals, an ignored SIGCHLD, a umask that shuts
    out the user, a deleted working folder, and limits too small to work with. Idempotent; call it
    before threads start."""
    _raise_small_limits()
    _open_standard_descriptors()
    _leave_deleted_folder()
    os.umask(umask_for(_read_umask()))
    if threading.current_thread() is threading.main_thread():
        _unblock_signals()


def small_limits() -> list[str]:
    """The limits too small to work with, as sentences with a remedy."""
    found = []
    for name, least, what in _LEAST:
        allowed = _soft_limit(name)
        if allowed is not None and allowed < least:
            found.append(
                f"{what.format(allowed)}, but about {least} are needed: raise the limit of the "
                f"shell or the service manager that starts it ({_SHELL_WORDS[name]})"
            )
    return found


def _raise_small_limits() -> None:
    """Raise them to what is required, within the hard limit. Larger ones stay as they are: commands
    inherit them, and that is the user's choice."""
    if sys.platform == "win32":
        return
    import resource

    for name, least, _ in _LEAST:
        number = getattr(resource, name)
        soft, hard = resource.getrlimit(number)
        unlimited = resource.RLIM_INFINITY
        wanted = least if hard == unlimited else min(least, hard)
        if soft != unlimited and soft < wanted:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(number, (wanted, hard))


def _soft_limit(name: str) -> int | None:
    """None for no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(getattr(resource, name))[0]
    return None if soft == resource.RLIM_INFINITY else soft


def umask_for(inherited: int) -> int:
    """The umask for this process and its commands: the inherited one, except one that shuts out the
    user itself, or 0."""
    return inherited & ~_OWNERS_BITS or USUAL_UMASK


def _read_umask() -> int:
    # The umask cannot be read without being set.
    found = os.umask(0o077)
    os.umask(found)
    return found


def _open_standard_descriptors() -> None:
    """A file or socket opened later must not become standard output: output would go into it."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            # Another file may have been opened meanwhile.
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        # Python sets None for a descriptor that it found closed.
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _leave_deleted_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir("/")


def _unblock_signals() -> None:
    """Blocked, they could not stop it; with SIGCHLD ignored, a child's status is lost."""
    if not hasattr(signal, "pthread_sigmask"):
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
