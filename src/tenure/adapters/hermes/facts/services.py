"""The service definition that Hermes wrote for a profile's gateway: its label, and what it starts.

Labels are derived from the home alone, so two roots of one user that both have a profile ``la``
share one; the environment in the definition says which home it is for.
"""

from __future__ import annotations

import hashlib
import plistlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, person_home
from tenure.domain.policy.evidence import Manager

_SYSTEM_UNITS = Path("/etc/systemd/system")
_EXEC_MARKS = "-@:+!|"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDefinition:
    """A file on disk. Whether the service runs is the service manager's to say."""

    label: str
    """As a process's evidence names it: ``hermes-gateway-la.service``, ``ai.hermes.gateway-la``."""
    manager: Manager
    file: Path
    arguments: tuple[str, ...]

    @property
    def python(self) -> str | None:
        return self.arguments[0] if self.arguments else None


def service_suffix(home: HermesHome, *, user: Path | None = None) -> str:
    """What Hermes appends to the label for this home: '', the profile's name, or a hash."""
    if home.profile != DEFAULT and _NAME.fullmatch(home.profile):
        return home.profile
    native = ((user or person_home()) / ".hermes").resolve()
    if home.path != native and home.path.is_relative_to(native):
        return hashlib.sha256(str(home.path).encode()).hexdigest()[:8]
    return ""


def service_definitions(
    home: HermesHome, *, user: Path | None = None, system: Path = _SYSTEM_UNITS
) -> tuple[ServiceDefinition, ...]:
    """The definitions for this home that can be read, systemd's and launchd's.

    ``user``: the user's folder, by default the caller's.
    """
    user = user or person_home()
    suffix = service_suffix(home, user=user)
    tail = f"-{suffix}" if suffix else ""
    unit, agent = f"hermes-gateway{tail}.service", f"ai.hermes.gateway{tail}"
    definitions = [
        *_systemd(user / ".config" / "systemd" / "user" / unit, Manager.SYSTEMD_USER, home),
        *_systemd(system / unit, Manager.SYSTEMD_SYSTEM, home),
        *_launchd(user / "Library" / "LaunchAgents" / f"{agent}.plist", agent, home),
    ]
    return tuple(definitions)


def start_command(home: HermesHome) -> str:
    """The command that starts the gateway: by its service where it has one."""
    return f"{home.command} gateway {'start' if service_definitions(home) else 'run'}"


def _systemd(file: Path, manager: Manager, home: HermesHome) -> Iterator[ServiceDefinition]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    start: tuple[str, ...] = ()
    named: str | None = None
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            continue
        if key.strip() == "ExecStart" and not start:
            start = tuple(_words(value.strip().lstrip(_EXEC_MARKS)))
        elif key.strip() == "Environment":
            given = dict(word.partition("=")[::2] for word in _words(value))
            named = given.get("HERMES_HOME", named)
    if _is_of(home, named):
        yield ServiceDefinition(label=file.name, manager=manager, file=file, arguments=start)


def _launchd(file: Path, label: str, home: HermesHome) -> Iterator[ServiceDefinition]:
    try:
        document = plistlib.loads(file.read_bytes())
    except (OSError, ValueError, ExpatError, plistlib.InvalidFileException):
        return
    if not isinstance(document, dict):
        return
    arguments = document.get("ProgramArguments")
    variables = document.get("EnvironmentVariables")
    named = variables.get("HERMES_HOME") if isinstance(variables, dict) else None
    if _is_of(home, named if isinstance(named, str) else None):
        yield ServiceDefinition(
            label=str(document.get("Label", label)),
            manager=Manager.LAUNCHD,
            file=file,
            arguments=tuple(map(str, arguments)) if isinstance(arguments, list) else (),
        )


def _is_of(home: HermesHome, named: str | None) -> bool:
    # A definition that names no home, or the root of ours, starts our profile by its name.
    return named is None or Path(named).resolve() in (home.path, home.root)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
