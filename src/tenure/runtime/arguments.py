"""What is handed to the gate's shell for a job, and what cannot be.

The job is to get exactly the arguments and the environment of its :class:`CommandSpec`. A shell
in between would harm some of it: it drops variables whose names are not its own kind, and obeys
or overwrites others (IFS, BASH_ENV, PPID). Those travel past it as arguments of env(1), at the
price of one exec. What describes the session that started the owner (PWD, OLDPWD, SHLVL, _)
stays behind; PWD is the job's own folder.

Everything that can be found wrong without starting a process is found here.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tenure.runtime.commands import CommandNotStarted, CommandSpec

ENV = "/usr/bin/env"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OBEYED = frozenset(
    ("BASHOPTS", "BASH_ENV", "ENV", "EUID", "IFS", "OPTIND", "POSIXLY_CORRECT", "PPID")
)
_SHELLS_OWN = _OBEYED | {"SHELLOPTS", "UID", "tenure_gate"}
_SESSION_NOISE = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))


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
    """The job's arguments, and the environment that the shell can carry to it unharmed."""
    argv = [shell, "-c", spec.argv[0]] if spec.shell else list(spec.argv)
    past, env = _split(spec.env)
    if past:
        if "=" in argv[0]:
            raise CommandNotStarted(
                f"a command with '=' in its name cannot be given these variables: {sorted(past)}",
                remedy="run it as a shell line, or drop them",
                field="argv",
            )
        argv = [ENV, *(f"{name}={value}" for name, value in past.items()), *argv]
    return argv, env


def _split(whole: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    past: dict[str, str] = {}
    env: dict[str, str] = {}
    for name, value in whole.items():
        if not name or "=" in name:
            raise CommandNotStarted(
                f"no name for a variable: {name!r}", remedy="edit the job's env", field="env"
            )
        if name in _SESSION_NOISE:
            continue
        plain = _NAME.fullmatch(name) is not None and name not in _SHELLS_OWN
        (env if plain else past)[name] = value
    return past, env


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
