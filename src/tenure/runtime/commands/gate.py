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

The shell's descriptors: 0 the gate (a pipe that only the owner can write), 1 the log (append
only), 2 the record, which it moves to 3 and keeps from the job, 4 the job's stdin once the gate
is open. The job gets 0 its stdin, 1 and 2 the log, and no other.

Environment: no variable of the job acts before the gate is open, neither in the shell nor in the
loader that starts it, and no other user sees them (``ps`` shows arguments to every user). So the
shell starts without the job's variables. Their values travel in variables of its own (``t0``,
``t1``, ...) that mean nothing to a loader, a C library or a shell, and get their names behind
the gate::

    owner   t0=/opt/lib.so  t1=/usr/bin  tenure_env='export LD_PRELOAD="$t0" PATH="$t1" ...'
    shell   waits, writes 'open', and in a subshell: eval "$tenure_env"; exec "$@"

Names that a shell cannot assign (``a.b``, ``BASH_FUNC_x%%``), or computes or protects itself
(``RANDOM``, ``UID``), are set by a few lines of Python that the subshell becomes first; that
costs about ten milliseconds. Variables that describe the owner's session (PWD, OLDPWD, SHLVL, _)
are not passed on; PWD is the job's own folder.

Signals: the shell leads a session of its own. It *handles* what a stop sends to the whole group,
so that it lives to record the job's status; handled, not ignored, because only the former is
undone in the job. It starts with no signal blocked or ignored (:mod:`.signal_reset`).

Failure: whatever can be detected before the fork (no such folder, disk full, too long) is
:class:`CommandNotStarted` and leaves no process. After it, the record decides: see
:mod:`tenure.runtime.commands.child`; ``docs/adr/0005-the-gate.md`` argues the choices.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tenure.domain.errors import OutcomeUnknown, TenureError
from tenure.domain.policy.evidence import Identity
from tenure.host.processes import identity_of
from tenure.runtime.commands.child import SPACE
from tenure.runtime.commands.signal_reset import Standard, spawn_with_default_signals


class CommandNotStarted(TenureError):
    """The command did not start, and nothing of it ran: a folder, file or limit is in the way."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What to run, with nothing left to inherit. ``argv`` is run unchanged; with ``shell`` it is
    one line for /bin/sh.

    ``cwd`` is absolute. ``env`` is the whole environment, except that the shell adds PWD.
    ``stdin`` is the text the job reads, None for nothing (/dev/null).
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    shell: bool = False
    stdin: bytes | None = None


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
    """Of the shell: it leads the session and process group of the job."""
    log_path: Path
    exit_path: Path
    _gate: int | None = field(repr=False)

    def __post_init__(self) -> None:
        if self._gate is not None:
            _held_gates.add(self._gate)

    def open_gate(self) -> bool:
        """Let the job begin. False: the shell was already gone or the gate closed; it never ran.

        True means that the message was sent, not that it arrived; the exit record tells.
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
        stdin = _prepare(folder, spec.stdin)
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
    """Start the shell and identify it; on failure the gate closes and the shell ends."""
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
    # Children reaps, and the record has the status: Popen must not wait for this child.
    process.returncode = 0
    return process.pid


def _inherits_odd_signals() -> bool:
    """Whether a child would inherit blocked signals, or ignored ones that exec keeps ignored."""
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return True
    return any(signal.getsignal(number) is signal.SIG_IGN for number in _MAY_BE_IGNORED)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"t[0-9]+|tenure_[a-z]+")
_SHELLS_OWN = re.compile(
    "BASH(?!_ENV$).*|COMP_.*|DIRSTACK|E?[GU]ID|EPOCH.*|ERRNO|EXECIGNORE|FUNC(NAME|NEST)|GROUPS|"
    "HISTCMD|IFS|LINENO|OPT(ARG|ERR|IND)|PGRP|PIPESTATUS|PPID|S?RANDOM|SECONDS|SHELLOPTS"
)
"""Names that one shell or another computes, protects, or obeys when it runs a command."""
_SESSION_NOISE = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))

# Runs in the subshell behind the gate. Python ignores two signals, which exec would pass on. A file
# that is not a program and has no interpreter line goes to the shell, as in execvp(3).
_ENTER = """\
import errno, os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
whole = os.environb
names = whole[b"tenure_names"].split(b"=")
env = {name: whole[b"t%d" % i] for i, name in enumerate(names)}
env.update((n, whole[n]) for n in (b"PWD", b"OLDPWD", b"SHLVL", b"_") if n in whole)
argv = [os.fsencode(argument) for argument in sys.argv[1:]]
folders = env.get(b"PATH", b"/bin:/usr/bin").split(b":")
if b"/" in argv[0]:
    folders = [b""]
found = errno.ENOENT
for folder in folders:
    path = os.path.join(folder, argv[0])
    try:
        os.execve(path, argv, env)
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            os.execve(b"/bin/sh", [b"/bin/sh", path, *argv[1:]], env)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            found = error.errno
os.write(2, b"%s: %s\\n" % (argv[0], os.strerror(found).encode()))
os._exit(127 if found == errno.ENOENT else 126)
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
    names = _names(spec.env)
    carried = {f"t{number}": spec.env[name] for number, name in enumerate(names)}
    odd = [name for name in names if not _can_export(name)]
    if not odd:
        return argv, {**carried, "tenure_env": _exports(names)}
    carried["tenure_names"] = "=".join(names)
    carried["tenure_enter"] = _ENTER
    carried["tenure_python"] = _interpreter(odd)
    carried["tenure_env"] = 'set -- "$tenure_python" -I -S -c "$tenure_enter" "$@"'
    return argv, carried


def _names(whole: Mapping[str, str]) -> list[str]:
    for name in whole:
        if not name or "=" in name:
            raise CommandNotStarted(
                f"not a valid variable name: {name!r}", remedy="edit the job's env", field="env"
            )
        if "\0" in name:
            raise ValueError("a name contains a NUL character")
    return [name for name in whole if name not in _SESSION_NOISE]


def _can_export(name: str) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    return _SHELLS_OWN.fullmatch(name) is None and _OURS.fullmatch(name) is None


def _exports(names: Sequence[str]) -> str:
    """Shell code that gives each value its name and unsets its carrier."""
    given = " ".join(f'{name}="$t{number}"' for number, name in enumerate(names))
    carriers = " ".join(f"t{number}" for number in range(len(names)))
    export = f"export {given}\n" if names else ""
    return f"{export}unset {carriers} tenure_env tenure_gate"


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
