"""What is handed to the gate's shell for a job, and what cannot be.

The job is to get exactly the arguments and the environment of its :class:`CommandSpec`; the shell
that waits at the gate is to act on none of it, and no other user is to see it. So the shell starts
without the job's variables. Their values travel in variables of its own (``t0``, ``t1``, ...) that
mean nothing to a loader, a C library or a shell, and get their names behind the gate::

    owner   t0=/opt/lib.so  t1=/usr/bin  tenure_env='export LD_PRELOAD="$t0" PATH="$t1" ...'
    shell   waits, writes 'open', and in a subshell: eval "$tenure_env"; exec "$@"

Names that a shell cannot give (``a.b``, ``BASH_FUNC_x%%``), or computes or protects itself
(``RANDOM``, ``UID``), are given by a few lines of Python that the subshell becomes first; that
costs some ten milliseconds. No value is ever an argument: ``ps`` shows those to every user.

What describes the session that started the owner (PWD, OLDPWD, SHLVL, _) stays behind; PWD is the
job's own folder. Everything that can be found wrong without starting a process is found here.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenure.runtime.commands.gated import CommandNotStarted, CommandSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"t[0-9]+|tenure_[a-z]+")
_SHELLS_OWN = re.compile(
    "BASH(?!_ENV$).*|COMP_.*|DIRSTACK|E?[GU]ID|EPOCH.*|ERRNO|EXECIGNORE|FUNC(NAME|NEST)|GROUPS|"
    "HISTCMD|IFS|LINENO|OPT(ARG|ERR|IND)|PGRP|PIPESTATUS|PPID|S?RANDOM|SECONDS|SHELLOPTS"
)
"""Names that one shell or another computes, protects, or obeys when it runs a command."""
_SESSION_NOISE = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))

# Runs in the subshell behind the gate. Python ignores two signals, which exec would hand on. A file
# that is no program and has no interpreter line is the shell's, as execvp(3) and shells have it.
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


def check(spec: CommandSpec) -> None:
    """Raise :class:`CommandNotStarted` for what cannot be started at all."""
    if not spec.argv or not spec.argv[0] or (spec.shell and len(spec.argv) != 1):
        raise CommandNotStarted("there is no command to run", field="argv")
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


def arguments_for(spec: CommandSpec, shell: str) -> tuple[list[str], dict[str, str]]:
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
                f"no name for a variable: {name!r}", remedy="edit the job's env", field="env"
            )
        if "\0" in name:
            raise ValueError("a name holds a NUL character")
    return [name for name in whole if name not in _SESSION_NOISE]


def _can_export(name: str) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    return _SHELLS_OWN.fullmatch(name) is None and _OURS.fullmatch(name) is None


def _exports(names: Sequence[str]) -> str:
    """What the subshell does first: give each value its name, and forget what carried it."""
    given = " ".join(f'{name}="$t{number}"' for number, name in enumerate(names))
    carriers = " ".join(f"t{number}" for number in range(len(names)))
    export = f"export {given}\n" if names else ""
    return f"{export}unset {carriers} tenure_env tenure_gate"


def _interpreter(odd: Sequence[str]) -> str:
    """A Python to hand the variables on; an embedding host's own program is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable, getattr(sys, "_base_executable", "")]
    candidates += [os.path.join(folder, "bin", version) for folder in (sys.prefix, sys.base_prefix)]
    candidates += [shutil.which(name) or "" for name in (version, "python3")]
    for path in candidates:
        if os.path.basename(path or "").startswith("python") and os.access(path, os.X_OK):
            return path
    raise CommandNotStarted(
        f"a shell cannot give a command these variables, and no Python was found to: {odd}",
        remedy=f"drop or rename them, or have {version} in the PATH",
        field="env",
    )


_REMEDIES = {
    errno.ENOSPC: "free space on the disk of the profile's logs",
    errno.EDQUOT: "free space in the quota of the profile's logs",
    errno.EROFS: "the profile's disk is read-only",
    errno.EACCES: "check the permissions of the folder and the logs",
    errno.EAGAIN: "too many processes of this user; raise the limit or run fewer at once",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) or run fewer at once",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "the machine is out of memory",
    errno.E2BIG: "the arguments and environment are too long; pass data by stdin or a file",
    errno.EEXIST: "this attempt was started before; it is never started twice",
}


def not_started(error: OSError | ValueError, spec: CommandSpec, folder: Path) -> CommandNotStarted:
    """The error of a failed start in words, with what to do about it."""
    if isinstance(error, ValueError):
        return CommandNotStarted(
            "an argument, variable or folder holds a NUL character or an illegal name",
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
