"""Which Hermes is installed: its version and what it can do, read from its files, not run.

An installation is found by the interpreters of running processes, the service definition, and
``hermes`` on the PATH, in this order. Its version is the code's own; what its dashboards and
commands do with jobs is looked up in the code as well, since a version number does not tell a
release from a checkout with one more commit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlparse

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.processes import HermesCandidate

SUPPORTED = frozenset({"0.19.0", "0.18.2", "0.16.0"})
"""The versions whose behaviour was verified."""

_VERSION_WAIT_S = 10.0
_ASK = (
    "import importlib.util as u, json; s = u.find_spec('hermes_cli');"
    "print(json.dumps(list(s.submodule_search_locations or ()) if s else []))"
)
_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_PROGRAM = re.compile(r"""["']?(/[^"'\n]*?/bin/(?:python[0-9.]*|hermes))["'\s]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One environment that has Hermes in it. What could not be read is None."""

    python: str
    version: str | None
    site_packages: str | None
    code: str | None
    """The folder that Hermes' packages lie in: ``site_packages``, or a checkout."""
    found_by: str
    desktop_ticks: bool | None = None
    """Backends that the desktop app starts tick."""
    runs_inline: bool | None = None
    """``cron run`` and an agent's tool run a job in their own process, tick lock or not."""
    keeps_ledger: bool | None = None
    """Runs are recorded with the process that executed them."""

    @property
    def verified(self) -> bool:
        return self.version in SUPPORTED


def find_installations(
    home: HermesHome, members: Sequence[HermesCandidate] = (), *, path: str | None = None
) -> tuple[Installation, ...]:
    """The installations that serve this profile, that of the gateway first.

    ``path``: the PATH to look for ``hermes`` in, by default the caller's.
    """
    found: dict[str, Installation] = {}
    for python, by in _candidates(home, members, path):
        installation = installation_of(python, by)
        if installation is not None:
            found.setdefault(installation.code or installation.python, installation)
    return tuple(found.values())


def installation_of(python: str, found_by: str) -> Installation | None:
    """What is installed in the environment of ``python``; None if Hermes is not."""
    read = _look(python)
    if read is None:
        return None
    site, code, version = read
    folder = Path(code)
    return Installation(
        python=python,
        version=version,
        site_packages=site,
        code=code,
        found_by=found_by,
        desktop_ticks=_says(folder / "hermes_cli" / "web_server.py", b"desktop-cron-ticker"),
        runs_inline=_says(folder / "tools" / "cronjob_tools.py", b"_execute_job_now"),
        keeps_ledger=(folder / "cron" / "executions.py").is_file(),
    )


def _candidates(
    home: HermesHome, members: Sequence[HermesCandidate], path: str | None
) -> Iterator[tuple[str, str]]:
    for member in sorted(members, key=lambda m: (not m.holds_gateway_lock, m.role != "gateway")):
        if member.python is not None and member.role is not Role.PROGRAM:
            yield member.python, f"pid {member.pid} ({member.role.words})"
    for service in service_definitions(home):
        if service.python is not None:
            yield service.python, f"the service definition {service.file}"
    program = shutil.which("hermes", path=path)
    if program is not None:
        for python in interpreters_of(Path(program)):
            yield python, f"{program} on the PATH"


def interpreters_of(script: Path) -> tuple[str, ...]:
    """The Pythons that a launcher script starts, by its first lines."""
    try:
        with open(script, "rb") as file:
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return ()
    if not text.startswith("#!"):
        return ()
    shebang = text[2:].split("\n", 1)[0].strip()
    first = shebang.split()[0] if shebang else ""
    if os.path.basename(first).startswith("python"):
        return (first,)
    # A shell script that hands over to the environment's own program or interpreter.
    return tuple(
        str(Path(found).with_name("python")) if found.endswith("hermes") else found
        for found in dict.fromkeys(_PROGRAM.findall(text))
    )


@lru_cache(maxsize=64)
def _look(python: str) -> tuple[str | None, str, str | None] | None:
    """Site-packages, the folder of the code, and the version; None without a Hermes."""
    for site in _site_packages(Path(python)):
        code = _code_in(site)
        if code is not None:
            return str(site), str(code), _version_of(code, site)
    if (Path(python).parent.parent / "pyvenv.cfg").is_file():
        return None
    for folder in _asked(python):
        code = Path(folder).parent
        return None, str(code), _version_of(code, code)
    return None


def _site_packages(python: Path) -> Iterable[Path]:
    # The path itself names a virtual environment: what its link leads to is another Python.
    prefix = python.parent.parent
    yield from sorted(prefix.glob("lib/python3*/site-packages"))
    yield prefix / "Lib" / "site-packages"


def _code_in(site: Path) -> Path | None:
    if (site / "hermes_cli" / "__init__.py").is_file():
        return site
    for info in sorted(site.glob("hermes_agent-*.dist-info")):
        try:
            origin = json.loads((info / "direct_url.json").read_text("utf-8")).get("url", "")
        except (OSError, ValueError, AttributeError):
            continue
        checkout = Path(unquote(urlparse(str(origin)).path))
        if (checkout / "hermes_cli" / "__init__.py").is_file():
            return checkout
    return None


def _version_of(code: Path, site: Path) -> str | None:
    # The code comes first: the metadata of an editable install keep an old version.
    try:
        match = _VERSION.search((code / "hermes_cli" / "__init__.py").read_text("utf-8", "replace"))
    except OSError:
        match = None
    if match is not None:
        return match.group(1)
    for info in sorted(site.glob("hermes_agent-*.dist-info")):
        return info.name.removeprefix("hermes_agent-").removesuffix(".dist-info")
    return None


def _asked(python: str) -> list[str]:
    """Where an interpreter without an environment of its own would import Hermes from."""
    try:
        answer = subprocess.run(
            [python, "-E", "-c", _ASK],
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_WAIT_S,
            check=True,
        )
        folders = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return [str(folder) for folder in folders] if isinstance(folders, list) else []


def _says(file: Path, text: bytes) -> bool | None:
    try:
        return text in file.read_bytes()
    except OSError:
        return None
