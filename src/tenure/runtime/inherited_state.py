"""What a parent can leave behind in a process, put right before any work begins.

For programs of Tenure's own (the command line, `tenure serve`): a host that embeds Tenure keeps
what it has. What is not named here is harmless or the user's own choice (other limits, niceness,
the environment, ignored SIGHUP); ``tests/real/test_inherited.py`` lists it and tries each.
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
"""What it needs: for its store, the output of commands, and two descriptors for each command."""
_SHELL_WORDS = {
    "RLIMIT_NOFILE": "ulimit -n, LimitNOFILE=",
    "RLIMIT_FSIZE": "ulimit -f, LimitFSIZE=",
}
USUAL_UMASK = 0o022
"""In place of none at all, which would let every user write what jobs make."""


def put_right() -> None:
    """Standard descriptors that are closed, blocked signals, an ignored SIGCHLD, a umask that
    shuts out the user, a folder that is gone, limits that are too small to work under. Idempotent;
    call it before threads begin."""
    _raise_small_limits()
    _open_standard_descriptors()
    _leave_deleted_folder()
    os.umask(umask_for(_read_umask()))
    if threading.current_thread() is threading.main_thread():
        _unblock_signals()


def small_limits() -> list[str]:
    """The limits that are too small to work under, as sentences, with what to do."""
    found = []
    for name, least, what in _LEAST:
        allowed = _soft_limit(name)
        if allowed is not None and allowed < least:
            found.append(
                f"{what.format(allowed)}, and about {least} are needed: raise the limit of the "
                f"shell or the service manager that starts it ({_SHELL_WORDS[name]})"
            )
    return found


def _raise_small_limits() -> None:
    """Up to what is needed, where the hard limit lets us. Larger ones stay as they are, for what
    commands inherit is the user's choice."""
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
    """The umask to work and to run commands with: the inherited one, but never one that keeps the
    user from what it has made, and not none at all."""
    return inherited & ~_OWNERS_BITS or USUAL_UMASK


def _read_umask() -> int:
    found = os.umask(0o077)  # it cannot be read without being set
    os.umask(found)
    return found


def _open_standard_descriptors() -> None:
    """A file or socket that is opened later must not become standard output: it would be written
    to."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:  # one below is taken by a file that was opened meanwhile
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:  # Python found it closed
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _leave_deleted_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir("/")


def _unblock_signals() -> None:
    """Or it could not be asked to end; and with SIGCHLD ignored, the end of a child tells
    nothing."""
    if not hasattr(signal, "pthread_sigmask"):
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
