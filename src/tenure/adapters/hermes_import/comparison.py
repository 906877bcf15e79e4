"""The fires to come of both, computed: Hermes' by Hermes itself, Tenure's by Tenure.

Hermes' Python is started once, for all jobs, isolated and in Hermes' home, and runs
:mod:`~tenure.adapters.hermes_import.simulation`, which writes nothing. Without a Hermes, croniter
is asked where it can be imported; otherwise nothing is compared, and the report says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.back.config_lines import scalar_at
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes_import import simulation
from tenure.adapters.hermes_import.command import HermesRuntime
from tenure.adapters.hermes_import.source import HermesJob, last_written
from tenure.adapters.importer import FireComparison, FireDifference
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import Schedule
from tenure.domain.schedule.zones import check_zone, load_zone
from tenure.host.local_zone import local_zone

SIMULATION_WAIT_S = 120.0
"""Seconds that Hermes' Python gets."""
NO_FIRES = "none"
"""Why a job is not compared for which no fires were computed."""
MOST = 5000
"""Fires that are compared in one stretch."""
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "SSL_CERT_FILE")
_SETTINGS = ("HERMES_TIMEZONE", "HERMES_CRON_SCRIPT_TIMEOUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What Hermes says: its zone, how it runs scripts, and the fires of each job."""

    by: str | None
    """What computed the fires; None: they were not computed."""
    why_not: str = ""
    zone: str
    doubt: str = ""
    """Why ``zone`` may not be the one that Hermes runs in."""
    means: HermesRuntime
    unknown: str = ""
    """Why it is unknown how it runs scripts."""
    changes: tuple[datetime, ...] = ()
    """When clocks change in the zone, at most two."""
    jobs: Mapping[str, Any] = field(default_factory=dict)


def simulate_hermes(
    home: HermesHome,
    jobs: Sequence[HermesJob],
    *,
    python: str | None,
    version: str | None = None,
    now: datetime,
    count: int,
) -> SimulationResult:
    """``python``: the one that Hermes is installed in. Raises nothing: ``why_not`` says."""
    question = {
        "now": now.timestamp(),
        "count": count,
        "jobs": {
            job["id"]: {"schedule": job["schedule"], "next_run_at": job.get("next_run_at")}
            for job in jobs
            if isinstance(job.get("schedule"), dict)
        },
    }
    local = machine_zone(last_written(home))
    if python is not None:
        answer = _ask_hermes(home, question, python, local)
        if isinstance(answer, dict):
            return _of_hermes(answer, python, version, local)
        why_not = answer
    else:
        why_not = "no Python that has Hermes was found"
    zone, doubt = _zone(zone_setting(home), local)
    means = HermesRuntime(python=python, version=version)
    here = _ask_croniter(question, zone)
    if here is None:
        return SimulationResult(by=None, why_not=why_not, zone=zone, doubt=doubt, means=means)
    return SimulationResult(
        by=f"croniter {here['croniter']} alone ({why_not})",
        zone=zone,
        doubt=doubt,
        means=means,
        changes=_instants(here["changes"]),
        jobs=here["jobs"],
    )


def compare(
    schedule: Schedule, answer: Mapping[str, Any] | None, now: datetime, n: int
) -> FireComparison:
    """The next ``n`` fires of both, and all differences where Hermes' were computed."""
    ours = tuple(islice(schedule.fires(now, _END), n))
    if answer is None or "error" in answer:
        return FireComparison(
            ours=ours, why_not=NO_FIRES if answer is None else str(answer["error"])
        )
    fires = sorted({int(at) for at in answer["fires"]})
    differences: dict[int, bool] = {}
    for after, until in answer["ranges"]:
        walked = schedule.fires(_instant(after), _instant(until))
        mine = [int(at.timestamp()) for at in islice(walked, MOST)]
        # Of a schedule with more fires, only the beginning of the stretch is compared.
        until = mine[-1] if len(mine) == MOST else until
        theirs = {at for at in fires if after < at <= until}
        differences |= dict.fromkeys(theirs.difference(mine), True)
        differences |= dict.fromkeys(set(mine) - theirs, False)
    return FireComparison(
        who="Hermes",
        theirs=tuple(_instant(at) for at in fires[:n]),
        ours=ours,
        differences=tuple(
            FireDifference(_instant(at), differences[at]) for at in sorted(differences)
        ),
    )


def _ask_hermes(
    home: HermesHome, question: dict[str, Any], python: str, local: MachineZone
) -> dict[str, Any] | str:
    """Its answer, or why there is none."""
    try:
        done = subprocess.run(
            # Isolated: no folder of the caller's shadows Hermes' modules; and no .pyc is left.
            [python, "-I", "-B", str(Path(simulation.__file__))],
            input=json.dumps(question),
            env=_environment(home, local),
            cwd=os.sep,
            capture_output=True,
            text=True,
            timeout=SIMULATION_WAIT_S,
            check=False,
        )
        if done.returncode == 0:
            answer = json.loads(done.stdout)
            return answer if isinstance(answer, dict) else f"{python} gave no answer"
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"{python} cannot be asked: {error}"
    last = (done.stderr.strip() or "no word of why").splitlines()[-1]
    return f"{python} cannot load Hermes' cron: {last}"


def _of_hermes(
    answer: dict[str, Any], python: str, version: str | None, local: MachineZone
) -> SimulationResult:
    version = version or answer.get("hermes")
    zone, doubt = _zone(answer["zone"], local)
    return SimulationResult(
        by=f"Hermes {version or 'of unknown version'}, croniter {answer.get('croniter')}",
        zone=zone,
        doubt=doubt,
        means=HermesRuntime(
            python=python,
            version=version,
            env=answer.get("env", {}),
            script_timeout=answer.get("script_timeout"),
        ),
        unknown=answer.get("unknown", ""),
        changes=_instants(answer["changes"]),
        jobs=answer["jobs"],
    )


def _ask_croniter(question: dict[str, Any], zone: str) -> dict[str, Any] | None:
    try:
        return simulation.answer(question, simulation.Croniter(zone))
    except ImportError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineZone:
    """The zone of a Hermes that has none of its own. ``variable``: it comes from TZ."""

    key: str
    variable: bool = False
    doubt: str = ""


def machine_zone(written: datetime | None) -> MachineZone:
    """The machine's zone, or that of TZ where Hermes' clock agrees with that one only.

    ``written``: when Hermes last wrote, in its offset. A service has no TZ, a container may.
    """
    machine, named = local_zone(), os.environ.get("TZ", "").lstrip(":")
    if written is None or _offset(machine, written) == written.utcoffset():
        return MachineZone(key=machine)
    try:
        if named and _offset(check_zone(named), written) == written.utcoffset():
            return MachineZone(key=named, variable=True)
    except InvalidInput:
        pass
    return MachineZone(
        key=machine,
        doubt=f"Hermes last wrote at {written:%H:%M} UTC{written:%z}, which is not the time in"
        f" {machine}, and its configuration names no zone",
    )


def _offset(zone: str, at: datetime) -> timedelta | None:
    return at.astimezone(load_zone(zone)).utcoffset()


def _zone(named: str | None, local: MachineZone) -> tuple[str, str]:
    """Hermes' zone, its setting if there is such a zone; and what speaks against it."""
    try:
        if named:
            return check_zone(named), ""
    except InvalidInput:
        pass
    return local.key, local.doubt


def zone_setting(home: HermesHome) -> str | None:
    """``HERMES_TIMEZONE``, else ``timezone`` of config.yaml; for when Hermes cannot be asked."""
    if named := _settings(home).get("HERMES_TIMEZONE", "").strip():
        return named
    try:
        return scalar_at(home.config.read_text("utf-8"), "timezone")
    except (OSError, UnicodeDecodeError):
        return None


def _environment(home: HermesHome, local: MachineZone) -> dict[str, str]:
    # Hermes' jobs run in a service, which has few variables.
    env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    zone = {"TZ": local.key} if local.variable else {}
    return {**env, **zone, "HERMES_HOME": str(home.path), **_settings(home)}


def _settings(home: HermesHome) -> dict[str, str]:
    # Hermes reads its ``.env`` over the variables that it is started with.
    settings = {name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}
    try:
        lines = (home.path / ".env").read_text("utf-8", "replace").splitlines()
    except OSError:
        return settings
    for line in lines:
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and name.strip() in _SETTINGS:
            settings[name.strip()] = value.strip().strip("'\"")
    return settings


_END = datetime(9900, 1, 1, tzinfo=UTC)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _instants(seconds: Sequence[float]) -> tuple[datetime, ...]:
    return tuple(_instant(at) for at in seconds)
