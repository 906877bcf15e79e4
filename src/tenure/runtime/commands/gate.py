"""The gate: a few lines of ``sh`` between the owner and the job.

Why a shell: it is the smallest program present everywhere that can outlive the owner, wait for
the job and write down how it ended. Why a gate: between the fork and the commit of ``started``
an owner can die, and then nobody would know whether the job ran. So::

    owner  claim ── spawn ── commit started ── open ─┐            read record ── commit finish
    sh               └─ waits at the gate ───────────┴ 'open' ── job ── 'exit N'
                          └ closed unopened: 'never'

The shell's descriptors: 0 the gate (a pipe that only the owner can write), 1 the log (append
only), 2 the record, which it moves to 3 and keeps from the job, 4 the job's stdin once the gate
is open. The job gets 0 its stdin, 1 and 2 the log, and no other.

Environment: nothing of the job's acts before the gate is open, neither in the shell nor in the
loader that starts it; see :mod:`tenure.runtime.commands.arguments`.

Signals: the shell leads a session of its own. It *handles* what a stop sends to the whole group,
so that it lives to record the job's status; handled, not ignored, because only the former is
undone in the job. Spawned so that no signal is blocked or ignored at entry.

Failure: what can be found out before the fork (no such folder, disk full, too long) is
:class:`CommandNotStarted` and leaves no process. After it, the record speaks: see
:mod:`tenure.runtime.commands.exits`; ``docs/adr/0005-the-gate.md`` argues the choices.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import Identity
from tenure.host.processes import identity_of
from tenure.runtime.commands.arguments import arguments_for, check, not_started
from tenure.runtime.commands.exits import SPACE
from tenure.runtime.commands.gated import CommandNotStarted, CommandSpec, GatedCommand

SHELL = "/bin/sh"

# Each line, in order: the record moves to 3, the shell's own chatter ('Killed', in bash) goes
# nowhere; signals to the group are survived; wait at the gate; open stdin, or do not begin; take
# its path off the arguments; say that the job begins, or do not begin it; run it with its own
# environment; record. `exec` in a subshell, for it never takes a command's name for a builtin
# ('exit', 'exec').
GATE = """\
exec 3>&2 2>/dev/null
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
read -r tenure_gate || { echo never >&3; exit 0; }
exec 4<"$1" || exit 0
shift
echo open >&3 || exit 0
( eval "$tenure_env"; exec <&4 2>&1 3>&- 4<&-; exec "$@" )
echo "exit $?" >&3
"""

_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# Python ignores these two itself, and Popen undoes that.
_MAY_BE_IGNORED = sorted({*_RESET} - {signal.SIGPIPE, signal.SIGXFSZ})


def spawn_gated(
    spec: CommandSpec, *, folder: Path, attempt: int, shell: str = SHELL
) -> GatedCommand:
    """Start the shell of one attempt, which then waits at the gate; nothing of the job has run.

    ``folder`` is ``logs/<run id>`` (made if absent, 0700); its last part is the run's id. Takes
    about a millisecond, most of it the kernel's. Thread-safe. Raises :class:`CommandNotStarted`,
    with the folder as it was but for empty files; an attempt whose record exists is refused, so
    that none is started twice.
    """
    _reap_unseen()
    check(spec)
    log_path, exit_path = folder / f"{attempt}.log", folder / f"{attempt}.exit"
    opened: list[int] = []
    try:
        argv, env = arguments_for(spec, shell)
        stdin = _prepare(folder, spec.stdin)
        # Whoever reads the gate, the record and the log: the shell alone; closed here below.
        opened.append(_make_record(exit_path))
        opened.append(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        gate_out, gate_in = os.pipe()
        opened.append(gate_out)
        arguments = [shell, "-c", GATE, "tenure-gate", stdin, *argv]
        standard = (gate_out, opened[1], opened[0])
        identity = _start_or_close(gate_in, arguments, env, spec.cwd, standard)
    except (OSError, ValueError) as error:
        raise not_started(error, spec, folder) from error
    except OutcomeUnknown as error:
        raise CommandNotStarted(
            f"the command could not be started: {error.text}", remedy=error.remedy
        ) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return GatedCommand(
        run_id=folder.name,
        attempt=attempt,
        identity=identity,
        log_path=log_path,
        exit_path=exit_path,
        _gate=gate_in,
    )


def _prepare(folder: Path, stdin: bytes | None) -> str:
    folder.mkdir(mode=0o700, exist_ok=True)
    if stdin is None:
        return os.devnull
    path = os.path.join(os.path.abspath(folder), "stdin")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(stdin)
    return path


def _make_record(exit_path: Path) -> int:
    """An exit record of this attempt alone, with its space taken: a full disk shows up here."""
    descriptor = os.open(exit_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.pwrite(descriptor, bytes(SPACE), 0) != SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(exit_path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


_Standard = tuple[int, int, int]


def _start_or_close(
    gate_in: int, argv: list[str], env: dict[str, str], cwd: str, standard: _Standard
) -> Identity:
    """Start the shell and say who it is; on failure the gate closes, and nobody waits at it."""
    pid = 0
    try:
        pid = _start(argv, env, cwd, standard)
        identity = identity_of(pid)
        if identity is None:  # only a kill can end a shell at the gate
            raise ChildProcessError(errno.ESRCH, "the shell was killed as it started")
    except BaseException:
        os.close(gate_in)
        if pid:
            _unseen.append(pid)
        raise
    return identity


# Shells that were started and could not be looked at (no descriptor free, say): their gate is
# closed, and they end by themselves. Nothing watches them.
_unseen: deque[int] = deque()


def _reap_unseen() -> None:
    for _ in range(len(_unseen)):
        with contextlib.suppress(OSError, IndexError):
            pid = _unseen.popleft()
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                _unseen.append(pid)  # not ended yet


def _start(argv: list[str], env: dict[str, str], cwd: str, standard: _Standard) -> int:
    """Start the shell in a session of its own; its pid. Raises OSError, ValueError."""
    if _inherits_odd_signals():
        return _start_with_plain_signals(argv, env, cwd, standard)
    gate, log, record = standard
    process = subprocess.Popen(
        argv,
        stdin=gate,
        stdout=log,
        stderr=record,
        env=env,
        cwd=cwd,
        close_fds=True,
        start_new_session=True,
    )
    # Reaping is the poller's, and the record tells the status: Popen is to forget this child.
    process.returncode = 0
    return process.pid


def _inherits_odd_signals() -> bool:
    """Whether a child would inherit blocked signals, or ignored ones that exec keeps ignored."""
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return True
    return any(signal.getsignal(number) is signal.SIG_IGN for number in _MAY_BE_IGNORED)


# The folder is entered by the shell, as posix_spawn has no such action.
_ENTER = 'cd -- "$1" 2>/dev/null || exit 1\nunset OLDPWD\nshift\n'


def _start_with_plain_signals(
    argv: list[str], env: dict[str, str], cwd: str, standard: _Standard
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
        entering = [argv[0], "-c", _ENTER + GATE, "tenure-gate", cwd, *argv[4:]]
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
def _above_standard(descriptors: _Standard) -> Iterator[list[int]]:
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
