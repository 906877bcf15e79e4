"""What a parent can leave behind in a process, put right before any work begins.

For programs of Tenure's own (the command line, `tenure serve`): a host that embeds Tenure keeps
what it has. What is not named here is harmless or the user's own choice (limits, niceness, the
environment, ignored SIGHUP); ``tests/real/test_inherited.py`` lists it and tries each.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

_OWNERS_BITS = 0o700
USUAL_UMASK = 0o022
"""In place of none at all, which would let every user write what jobs make."""


def put_right() -> None:
    """Standard descriptors that are closed, blocked signals, an ignored SIGCHLD, a umask that
    shuts out the user, a folder that is gone. Idempotent; call it before threads begin."""
    _open_standard_descriptors()
    _leave_deleted_folder()
    os.umask(umask_for(_read_umask()))
    if threading.current_thread() is threading.main_thread():
        _unblock_signals()


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
