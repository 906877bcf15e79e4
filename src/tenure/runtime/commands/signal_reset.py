"""Start the gate's shell where this process blocks or ignores signals.

``subprocess`` hands blocked and ignored signals on to the child. A host that blocks or ignores
some (a server, ``nohup``) would start jobs that cannot be stopped. posix_spawn(3) can reset both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

Standard = tuple[int, int, int]
"""The descriptors that become 0, 1 and 2 of the shell."""

_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


# The folder is entered by the shell, as posix_spawn has no such action.
_ENTER = 'cd -- "$1" 2>/dev/null || exit 1\nunset OLDPWD\nshift\n'


def spawn_with_default_signals(
    argv: list[str], env: dict[str, str], cwd: str, standard: Standard
) -> int:
    """As :func:`_start`, with the signal mask emptied and all dispositions set to default.

    Descriptors that another library made inheritable are closed one by one; one made so in
    another thread between the listing and the spawn would slip through, which is why this is
    not the usual way. glibc does not close those beyond the limit of open files (a lowered
    ``ulimit -n`` leaves them open): for the moment of the spawn exec closes them.
    """
    if not os.access(cwd, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), cwd)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with _one_at_a_time, _above_standard(standard) as sources:
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)
        ]
        inherited = _inheritable()
        beyond = [n for n in inherited if limit != resource.RLIM_INFINITY and n >= limit]
        actions += [(os.POSIX_SPAWN_CLOSE, n) for n in inherited if n not in beyond]
        entering = [argv[0], "-c", _ENTER + argv[2], "tenure-gate", cwd, *argv[4:]]
        with _closed_by_exec(beyond):
            return os.posix_spawn(
                argv[0],
                entering,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=_RESET,
            )


_one_at_a_time = threading.Lock()
"""Or one spawn would see inheritable what another is about to make so again."""


def _unlock_in_child() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


@contextlib.contextmanager
def _closed_by_exec(descriptors: Sequence[int]) -> Iterator[None]:
    changed = []
    try:
        for number in descriptors:
            with contextlib.suppress(OSError):  # closed since
                os.set_inheritable(number, False)
                changed.append(number)
        yield
    finally:
        for number in changed:
            with contextlib.suppress(OSError):
                os.set_inheritable(number, True)


@contextlib.contextmanager
def _above_standard(descriptors: Standard) -> Iterator[list[int]]:
    """Copies above 2, for a host that closed its own 0, 1 or 2: copying must not clobber them."""
    copies: list[int] = []
    try:
        for number in descriptors:
            copies.append(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3))
        yield copies
    finally:
        for number in copies:
            os.close(number)


def _inheritable() -> list[int]:
    listing = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    found = []
    for name in os.listdir(listing):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # closed since
            continue
    return found
