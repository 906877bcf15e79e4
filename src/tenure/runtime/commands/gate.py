"""The gate: a few lines of ``sh`` between the owner and the job.

Why a shell: it is the smallest program present everywhere that can outlive the owner, wait for
the job and record how it ended. Why a gate: an owner can die between the fork and the commit of
``started``; without a gate it would then be unknown whether the job ran. So::

    owner  claim ── spawn ── commit started ── open ─┐            read record ── commit finish
    sh               └─ waits at the gate ───────────┴ 'open' ── job ── 'exit N'
                          └ closed unopened: 'never'

:func:`spawn_gated` makes a :class:`GatedCommand` of a :class:`CommandSpec`. Its holder then does
one of two things, once: :meth:`GatedCommand.open_gate` after ``started`` is committed, or
:meth:`GatedCommand.abandon`. The kernel does the latter for a holder that dies.

Environment: the owner's, then the profile's, then the job's variables (:class:`JobEnvironment`).
None of them acts before the gate is open, neither in the shell nor in the loader that starts it,
and no other user sees them (``ps`` shows arguments to every user). So their values travel in
variables of the shell (``t0``, ``t1``, ...) that mean nothing to a loader, a C library or a
shell, and get their names behind the gate::

    owner   t0=/opt/lib.so  t1=/usr/bin  tenure_env='export LD_PRELOAD="$t0" PATH="$t1" ...'
    shell   waits, writes 'open', and in a subshell: eval "$tenure_env"; exec "$@"

Failure: whatever can be detected before the fork (no such folder, disk full, too long) is
:class:`CommandNotStarted` and leaves no process. After it, the record decides: see
:mod:`tenure.runtime.commands.child`; ``docs/adr/0005-the-gate.md`` argues the choices.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tenure.domain.errors import OutcomeUnknown, TenureError
from tenure.domain.job import Command
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Run
from tenure.host.clocks import Clock
from tenure.host.processes import identity_of
from tenure.runtime.commands.child import SPACE, reason_file
from tenure.runtime.run_context import CHILD_ARGUMENTS, REASON_VARIABLE
from tenure.store.folder.user_home import account_variables, job_folder


class CommandNotStarted(TenureError):
    """The command did not start, and nothing of it ran: a folder, file or limit is in the way."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What to run, with nothing left to inherit."""

    argv: tuple[str, ...]
    """Run unchanged; with ``shell`` it is one line for /bin/sh."""
    cwd: str
    """Absolute."""
    env: Mapping[str, str]
    """The whole environment, except that the shell adds PWD."""
    shell: bool = False
    stdin: bytes | None = None
    """What the job reads, None for nothing (/dev/null)."""


_REFRESH_EVERY_S = 1.0
# A service manager sets these for one process, and a job is not that process.
_NOT_INHERITED = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "XPC_SERVICE_NAME",
]


class JobEnvironment:
    """Used by the command runner's thread alone."""

    def __init__(self, variables: Callable[[], Mapping[str, str]], clock: Clock) -> None:
        """``variables``: those of the profile."""
        self._variables = variables
        self._clock = clock
        self._base: dict[str, str] = {}
        self._base_until = 0.0

    def spec(self, run: Run, action: Command, exit_path: Path) -> CommandSpec:
        """What to run for this attempt."""
        env = {
            **self._inherited(),
            **self._variables(),
            **action.env,
            "TENURE_RUN": run.id,
            "TENURE_JOB": run.job_name,
            "TENURE_TERM": str(run.term),
            "TENURE_FIRE_TIME": run.fire_time.isoformat(),
            "TENURE_ATTEMPT": str(run.attempt),
        }
        if action.argv[1:3] == CHILD_ARGUMENTS:
            env[REASON_VARIABLE] = str(reason_file(exit_path))
        return CommandSpec(
            argv=action.argv,
            shell=action.shell,
            env=env,
            cwd=action.cwd or job_folder(os.environ),
            stdin=action.stdin.encode() if action.stdin is not None else None,
        )

    def _inherited(self) -> dict[str, str]:
        """What a command inherits from the owner, at most a second old."""
        now = self._clock.awake()
        if now >= self._base_until:
            # What a service manager leaves out, or empty, is filled in as cron does.
            account = account_variables(os.environ)
            own = {k: v for k, v in os.environ.items() if v or k not in account}
            self._base = {k: v for k, v in (account | own).items() if k not in _NOT_INHERITED}
            self._base_until = now + _REFRESH_EVERY_S
        return self._base


# Write ends of the gates this process holds. A fork without exec (a pre-forking server) would
# keep them open past the owner's death, and the shells behind them waiting: the child closes them.
_held_gates: set[int] = set()


def _close_inherited_gates() -> None:
    for descriptor in _held_gates:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held_gates.clear()


os.register_at_fork(after_in_child=_close_inherited_gates)


@dataclass(slots=True, kw_only=True)
class GatedCommand:
    """A shell that waits at the gate. Not thread-safe: one holder opens or abandons it."""

    run_id: str
    attempt: int
    identity: Identity
    """The shell's. It leads the session and process group of the job."""
    log_path: Path
    exit_path: Path
    _gate: int | None = field(repr=False)

    def __post_init__(self) -> None:
        if self._gate is not None:
            _held_gates.add(self._gate)

    def open_gate(self) -> bool:
        """Let the job begin. False: the shell was already gone or the gate closed; it never ran.

        True means that the message was sent, not that it arrived; the exit record shows that.
        """
        if self._gate is None:
            return False
        try:
            os.write(self._gate, b"go\n")
        except OSError:  # EPIPE: killed at the gate; the record stays blank and proves it
            return False
        finally:
            self.abandon()
        return True

    def abandon(self) -> None:
        """Close the gate. Unopened, the job never runs. Does nothing the second time."""
        gate, self._gate = self._gate, None
        # A forked child holds this object too, but its descriptor is closed and may be anything.
        if gate is not None and gate in _held_gates:
            _held_gates.discard(gate)
            with contextlib.suppress(OSError):  # closed all the same, and other gates wait
                os.close(gate)

    def __del__(self) -> None:
        # Without its holder no process may open this gate.
        if getattr(self, "_gate", None) is not None:
            self.abandon()


SHELL = "/bin/sh"

# The shell's descriptors: 0 the gate (a pipe that only the owner can write), 1 the log (append
# only), 2 the record. The job gets 0 its stdin, 1 and 2 the log, and no other.
#
# Each line, in order: the record moves to 3, the shell's own chatter ('Killed', in bash) goes
# nowhere; signals that a stop sends to the group are survived, to record the job's status (they
# are handled, because ignored ones would stay ignored in the job); wait at the gate; open stdin,
# or do not begin; take its path off the arguments; say that the job begins, or do not begin it;
# run it with its own environment; record. `exec` in a subshell, for it never takes a command's
# name for a builtin ('exit', 'exec').
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
    check_spec(spec)
    log_path, exit_path = folder / f"{attempt}.log", folder / f"{attempt}.exit"
    opened: list[int] = []
    try:
        argv, env = _arguments_for(spec, shell)
        folder.mkdir(mode=0o700, exist_ok=True)
        stdin = _prepare_stdin(folder, spec.stdin)
        # For the shell alone; closed here below.
        opened.append(_make_record(exit_path))
        opened.append(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        gate_out, gate_in = os.pipe()
        opened.append(gate_out)
        arguments = [shell, "-c", GATE, "tenure-gate", stdin, *argv]
        standard = (gate_out, opened[1], opened[0])
        identity = _start_or_close(gate_in, arguments, env, spec.cwd, standard)
    except (OSError, ValueError) as error:
        raise _not_started(error, spec, folder) from error
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


def _prepare_stdin(folder: Path, stdin: bytes | None) -> str:
    """The path of the file that the job reads."""
    if stdin is None:
        return os.devnull
    path = os.path.join(os.path.abspath(folder), "stdin")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(stdin)
    return path


def _make_record(exit_path: Path) -> int:
    """Create this attempt's exit record at its full size: a full disk fails here."""
    descriptor = os.open(exit_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.pwrite(descriptor, bytes(SPACE), 0) != SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(exit_path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _start_or_close(
    gate_in: int, argv: list[str], env: dict[str, str], cwd: str, standard: Standard
) -> Identity:
    """Start the shell and identify it. On failure the gate closes, so that the shell ends."""
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


# Shells that started and could not be identified (no free descriptor, say): their gate is closed,
# and they end by themselves. No poller watches them.
_unseen: deque[int] = deque()


def _reap_unseen() -> None:
    for _ in range(len(_unseen)):
        with contextlib.suppress(OSError, IndexError):
            pid = _unseen.popleft()
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                _unseen.append(pid)  # not ended yet


# Without the two that Python itself ignores and Popen resets.
_MAY_BE_IGNORED = sorted(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}
)


def _start(argv: list[str], env: dict[str, str], cwd: str, standard: Standard) -> int:
    """Start the shell in a session of its own; its pid. Raises OSError, ValueError."""
    if _inherits_odd_signals():
        return spawn_with_default_signals(argv, env, cwd, standard)
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
    # Children reaps this child, and the record has its status: Popen must not wait for it.
    process.returncode = 0
    return process.pid


def _inherits_odd_signals() -> bool:
    """Whether a child would inherit blocked signals, or ignored ones that exec keeps ignored.

    A host that blocks or ignores some (a server, ``nohup``) would start jobs that cannot be
    stopped, because ``subprocess`` passes them on; posix_spawn(3) can reset both.
    """
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return True
    return any(signal.getsignal(number) is signal.SIG_IGN for number in _MAY_BE_IGNORED)


Standard = tuple[int, int, int]
"""The descriptors that become 0, 1 and 2 of the shell."""

_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


# The folder is entered by the shell, as posix_spawn has no such action.
_ENTER_FOLDER = 'cd -- "$1" 2>/dev/null || exit 1\nunset OLDPWD\nshift\n'


def spawn_with_default_signals(
    argv: list[str], env: dict[str, str], cwd: str, standard: Standard
) -> int:
    """As :func:`_start`, with no signal blocked and all dispositions set to default.

    Not the usual way: a descriptor that another thread makes inheritable between the listing and
    the spawn would slip through.
    """
    if not os.access(cwd, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), cwd)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with _spawn_lock, _above_standard(standard) as sources:
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(sources)
        ]
        inherited = _inheritable()
        # glibc does not close those beyond the limit of open files, which may have been lowered.
        beyond = [n for n in inherited if limit != resource.RLIM_INFINITY and n >= limit]
        actions += [(os.POSIX_SPAWN_CLOSE, n) for n in inherited if n not in beyond]
        entering = [argv[0], "-c", _ENTER_FOLDER + argv[2], "tenure-gate", cwd, *argv[4:]]
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


# One at a time, or one spawn would see inheritable what another is about to make so again.
_spawn_lock = threading.Lock()


def _unlock_in_child() -> None:
    global _spawn_lock
    _spawn_lock = threading.Lock()


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
    numbers = []
    for name in os.listdir(listing):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                numbers.append(int(name))
        except OSError:  # closed since
            continue
    return numbers


# All other names are those that one shell or another computes, protects, or obeys when it runs a
# command, those of the variables here, and what is not a name to a shell. macOS removes DYLD_* from
# the environment of its own programs, the shell among them.
_EXPORTABLE = re.compile(
    r"(?!(t[0-9]+|tenure_[a-z]+|BASH(?!_ENV$).*|COMP_.*|DIRSTACK|DYLD_.*|E?[GU]ID|EPOCH.*|ERRNO|EXECIGNORE"
    r"|FUNC(NAME|NEST)|GROUPS|HISTCMD|IFS|LINENO|OPT(ARG|ERR|IND)|PGRP|PIPESTATUS|PPID|S?RANDOM"
    r"|SECONDS|SHELLOPTS)$)[A-Za-z_][A-Za-z0-9_]*"
)
# These describe the owner's session; PWD is the job's own folder.
_SESSION_NOISE = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))

# Some names a shell cannot assign (a.b, BASH_FUNC_x%%), or computes or protects itself (RANDOM,
# UID). For them the subshell behind the gate becomes Python, for about ten milliseconds. Python
# ignores two signals, which exec would pass on. A file that is not a program and has no
# interpreter line goes to the shell, as in execvp(3).
_SET_ODD_NAMES = """\
import errno, os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
variables = os.environb
names = variables[b"tenure_names"].split(b"=")
env = {name: variables[b"t%d" % i] for i, name in enumerate(names)}
env.update((n, variables[n]) for n in (b"PWD", b"OLDPWD", b"SHLVL", b"_") if n in variables)
argv = [os.fsencode(argument) for argument in sys.argv[1:]]
folders = env.get(b"PATH", b"/bin:/usr/bin").split(b":")
if b"/" in argv[0]:
    folders = [b""]
problem = errno.ENOENT
for folder in folders:
    path = os.path.join(folder, argv[0])
    try:
        os.execve(path, argv, env)
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            os.execve(b"/bin/sh", [b"/bin/sh", path, *argv[1:]], env)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            problem = error.errno
os.write(2, b"%s: %s\\n" % (argv[0], os.strerror(problem).encode()))
os._exit(127 if problem == errno.ENOENT else 126)
"""


def check_spec(spec: CommandSpec) -> None:
    """Raise :class:`CommandNotStarted` for what cannot be started at all."""
    if not spec.argv or not spec.argv[0] or (spec.shell and len(spec.argv) != 1):
        raise CommandNotStarted("no command to run", field="argv")
    if not spec.shell and spec.argv[0].startswith("-"):
        raise CommandNotStarted(
            f"the command's name begins with a dash: {spec.argv[0]!r}",
            remedy="give its full path",
            field="argv",
        )
    if not os.path.isabs(spec.cwd):
        raise CommandNotStarted(
            f"the working folder is not absolute: {spec.cwd!r}",
            remedy="give its full path",
            field="cwd",
        )
    if not os.path.isdir(spec.cwd):
        raise CommandNotStarted(
            f"the working folder does not exist: {spec.cwd!r}",
            remedy="make it, or edit the job's cwd",
            field="cwd",
        )


def _arguments_for(spec: CommandSpec, shell: str) -> tuple[list[str], dict[str, str]]:
    """The job's arguments, and the environment of the gate's shell, which carries the job's."""
    argv = [shell, "-c", spec.argv[0]] if spec.shell else list(spec.argv)
    for name in spec.env:
        if not name or "=" in name:
            raise CommandNotStarted(
                f"not a valid variable name: {name!r}", remedy="edit the job's env", field="env"
            )
        if "\0" in name:
            raise ValueError("a name contains a NUL character")
    names = [name for name in spec.env if name not in _SESSION_NOISE]
    carried = {f"t{number}": spec.env[name] for number, name in enumerate(names)}
    odd = [name for name in names if not _EXPORTABLE.fullmatch(name)]
    if odd:
        carried["tenure_names"] = "=".join(names)
        carried["tenure_enter"] = _SET_ODD_NAMES
        carried["tenure_python"] = _interpreter(odd)
        carried["tenure_env"] = 'set -- "$tenure_python" -I -S -c "$tenure_enter" "$@"'
    else:
        # Each value gets its name, and its carrier goes.
        pairs = zip(names, carried, strict=True)
        assignments = " ".join(f'{name}="${carrier}"' for name, carrier in pairs)
        export = f"export {assignments}\n" if names else ""
        carried["tenure_env"] = f"{export}unset {' '.join(carried)} tenure_env tenure_gate"
    return argv, carried


def _interpreter(odd: Sequence[str]) -> str:
    """A Python that can set the variables; an embedding host's own program cannot."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable, getattr(sys, "_base_executable", "")]
    candidates += [os.path.join(folder, "bin", version) for folder in (sys.prefix, sys.base_prefix)]
    candidates += [shutil.which(name) or "" for name in (version, "python3")]
    for path in candidates:
        if os.path.basename(path or "").startswith("python") and os.access(path, os.X_OK):
            return path
    raise CommandNotStarted(
        f"a shell cannot set these variables, and no Python was found that can: {odd}",
        remedy=f"drop or rename them, or have {version} in the PATH",
        field="env",
    )


_REMEDIES = {
    errno.ENOSPC: "free space on the disk of the profile's logs",
    errno.EDQUOT: "free space in the quota of the profile's logs",
    errno.EROFS: "the profile's disk is read-only",
    errno.EACCES: "check the permissions of the folder and the logs",
    errno.EAGAIN: "this user has too many processes; raise the limit or run fewer at once",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) or run fewer at once",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "the machine is out of memory",
    errno.E2BIG: "the arguments and environment are too long; pass data by stdin or a file",
    errno.EEXIST: "this attempt was already started; it is never started twice",
}


def _not_started(error: OSError | ValueError, spec: CommandSpec, folder: Path) -> CommandNotStarted:
    """The error of a failed start, with a remedy."""
    if isinstance(error, ValueError):
        return CommandNotStarted(
            "an argument, variable or folder contains a NUL character or an illegal name",
            remedy="edit the job's command, env or cwd",
            field="argv",
        )
    where = error.filename if isinstance(error.filename, str) else spec.argv[0]
    return CommandNotStarted(
        f"the command could not be started: {error.strerror or error} ({where})",
        remedy=_REMEDIES.get(error.errno or 0, ""),
        errno=error.errno,
        folder=str(folder),
    )
