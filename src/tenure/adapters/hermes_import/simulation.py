"""A simulation of Hermes by its own code: when it would run its jobs.

A program for Hermes' Python (``python -I -B simulation.py``), with a JSON document on standard
input and one on standard output; it imports nothing of Tenure. It writes nothing and changes
Hermes only in memory: the clock is set forward from fire to fire. At each, Hermes decides whether
the job is due and plans its next fire, as a ticker does that looks once a minute and whose runs
take no time. Where the interpreter has croniter but no Hermes, croniter alone is asked.

Asked: ``{"now": seconds, "count": N, "jobs": {id: {"schedule", "next_run_at"}}}``. Answered:
facts, ``changes`` (where the zone's offset changes within the next 400 days) and for each job
``fires``, complete over each of its ``ranges`` ``(after, until]``, in seconds since 1970, rounded
down; and ``fields``, a cron expression as croniter expands it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

TICK = 60
BUDGET = 1000
"""Fires that one job may cost before it is looked at only around clock changes."""
AROUND = 26 * 3600
YEAR = 400 * 86400

Schedule = dict[str, Any]


class SimulatedClock:
    """Hermes' clock, set to an instant. ``zone`` None: the system's, as an offset."""

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone
        self.at = 0.0

    def now(self) -> datetime:
        if self.zone is not None:
            return datetime.fromtimestamp(self.at, self.zone)
        return datetime.fromtimestamp(self.at).astimezone()


class RealHermes:
    """The real one, of any version since 0.16, with a store in memory that holds one job."""

    def __init__(self) -> None:
        import cron.jobs as jobs  # type: ignore[import-not-found]
        import hermes_time  # type: ignore[import-not-found]

        self.jobs = jobs
        self.croniter = getattr(jobs, "croniter", None)
        self.clock = SimulatedClock(hermes_time.get_timezone())
        self.zone = getattr(self.clock.zone, "key", None)
        self.stored: list[dict[str, Any]] = []
        # In memory only: this process has its own clock and store.
        jobs._hermes_now = self.clock.now
        jobs.load_jobs = lambda: self.stored
        jobs.save_jobs = lambda stored: setattr(self, "stored", stored)

    def after(self, schedule: Schedule, at: float) -> datetime | None:
        """The fire that is planned when a run ends at an instant."""
        self.clock.at = at
        return _instant(self.jobs.compute_next_run(schedule, self.clock.now().isoformat()))

    def tick(
        self, schedule: Schedule, planned: datetime, at: float
    ) -> tuple[bool, datetime | None]:
        """Whether a tick at an instant would run it, and what is planned after it if not."""
        self.clock.at = at
        job = {"id": "0", "enabled": True, "schedule": schedule, "next_run_at": planned.isoformat()}
        self.stored = [job]
        due = self.jobs._get_due_jobs_locked()
        return bool(due), _instant(self.stored[0].get("next_run_at"))


class Croniter:
    """croniter alone, in a given zone: what it plans is run, as in 0.18 and later."""

    def __init__(self, zone: str | None) -> None:
        from zoneinfo import ZoneInfo

        from croniter import croniter  # type: ignore[import-not-found,import-untyped,unused-ignore]

        self.croniter = croniter
        self.zone = zone
        self.clock = SimulatedClock(ZoneInfo(zone) if zone else None)

    def after(self, schedule: Schedule, at: float) -> datetime | None:
        if schedule["kind"] == "interval":
            self.clock.at = at + 60 * schedule["minutes"]
            return self.clock.now()
        self.clock.at = at
        planned: datetime = self.croniter(schedule["expr"], self.clock.now()).get_next(datetime)
        return planned

    def tick(
        self, schedule: Schedule, planned: datetime, at: float
    ) -> tuple[bool, datetime | None]:
        return True, planned


def walk(
    hermes: RealHermes | Croniter,
    schedule: Schedule,
    start: float,
    first: datetime | None,
    end: float,
) -> Iterator[float]:
    """Fires after ``start``, ascending, at least to ``end``. ``first``: what is planned."""
    planned, soonest = first or hermes.after(schedule, start), start
    while planned is not None and soonest <= end + YEAR:
        at = max(planned.timestamp(), soonest)
        # A ticker looks once a minute: a fire between two ticks waits for the second.
        soonest = at + TICK
        if at > planned.timestamp() or _moved(hermes.clock, planned, at):
            runs, replanned = hermes.tick(schedule, planned, at)
            if not runs:
                planned = replanned
                continue
        yield at
        planned = hermes.after(schedule, at)


def _moved(clock: SimulatedClock, planned: datetime, at: float) -> bool:
    clock.at = at
    return clock.now().utcoffset() != planned.utcoffset()


def simulate_job(
    hermes: RealHermes | Croniter,
    job: dict[str, Any],
    now: float,
    count: int,
    changes: list[int],
) -> dict[str, Any]:
    """The fires of one job: the next ones, and those around each change of the clock."""
    schedule, first = job["schedule"], _ahead(job.get("next_run_at"), now)
    if schedule.get("kind") == "once":
        once = _ahead(schedule.get("run_at"), now)
        fires = [] if once is None else [int(once.timestamp())]
        return {"fires": fires, "ranges": [[int(now), int(now) + YEAR]]}
    cron = schedule.get("kind") == "cron"
    end = changes[-1] + AROUND if changes and cron else int(now)
    fires, covered = _collect(walk(hermes, schedule, now, first, end), end, count)
    shown, ranges = [*fires], [[int(now), covered]]
    for change in changes if fires else []:
        if change + AROUND > covered:
            more, span = _around(hermes, schedule, change, fires, (covered - now) / len(fires))
            shown += more
            ranges.append(span)
    return {"fires": shown, "ranges": ranges}


def _around(
    hermes: RealHermes | Croniter, schedule: Schedule, change: int, fires: list[int], gap: float
) -> tuple[list[int], list[int]]:
    """The fires near a change, of a schedule that fires about each ``gap`` seconds. An interval
    is met there as if it had kept its pace from its first fire on."""
    reach, first = int(min(AROUND, max(1200, gap * BUDGET / 3))), None
    low = change - reach
    if schedule.get("kind") == "interval":
        period = 60 * schedule["minutes"]
        reach = max(reach, 2 * period)
        low = fires[0] + (change - reach - fires[0]) // period * period
        hermes.clock.at = low + period
        first = hermes.clock.now()
    more, until = _collect(walk(hermes, schedule, low, first, change + reach), change + reach, 0)
    return more, [low, until]


def _collect(walked: Iterator[float], end: int, least: int) -> tuple[list[int], int]:
    """The fires up to ``end``, and ``least`` at any rate; and how far they are complete."""
    fires: list[int] = []
    for at in walked:
        if at > end and len(fires) >= least:
            break
        fires.append(int(at))
        if len(fires) >= max(BUDGET, least):
            return fires, fires[-1]
    return fires, max(end, fires[-1]) if fires else end


def _instant(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _ahead(text: Any, now: float) -> datetime | None:
    """The instant that Hermes has planned, if it is in the future."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    at = at if at.utcoffset() is not None else at.astimezone()
    return at if at.timestamp() > now else None


def clock_changes(clock: SimulatedClock, now: float) -> list[int]:
    """The first seconds with another offset, within the next 400 days."""

    def offset(at: int) -> Any:
        clock.at = at
        return clock.now().utcoffset()

    changes = []
    for low in range(int(now), int(now) + YEAR, 86400):
        was, until = offset(low), low + 86400
        if offset(until) == was:
            continue
        while until - low > 1:
            middle = (low + until) // 2
            low, until = (middle, until) if offset(middle) == was else (low, middle)
        changes.append(until)
    return changes


def script_facts() -> dict[str, Any]:
    """How this Hermes runs scripts: what it adds to their environment, and for how long."""
    import hermes_constants  # type: ignore[import-not-found]
    import yaml  # type: ignore[import-untyped,unused-ignore]
    from cron.scheduler import _DEFAULT_SCRIPT_TIMEOUT  # type: ignore[import-not-found]

    env = {"HOME": hermes_constants.get_subprocess_home()}
    if hasattr(hermes_constants, "get_real_home"):
        env["HERMES_REAL_HOME"] = hermes_constants.get_real_home(dict(os.environ))
    config: Any = {}
    path = os.path.join(os.environ["HERMES_HOME"], "config.yaml")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    configured = config.get("cron") if isinstance(config, dict) else None
    seconds = configured.get("script_timeout_seconds") if isinstance(configured, dict) else None
    value: Any
    for value in (os.environ.get("HERMES_CRON_SCRIPT_TIMEOUT"), seconds, _DEFAULT_SCRIPT_TIMEOUT):
        try:
            timeout = int(float(value))
        except (TypeError, ValueError, OverflowError):
            continue
        if timeout > 0:
            break
    return {"env": {k: str(v) for k, v in env.items() if v}, "script_timeout": timeout}


def versions() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    numbers: dict[str, Any] = {}
    for key, name in (("hermes", "hermes-agent"), ("croniter", "croniter")):
        try:
            numbers[key] = version(name)
        except PackageNotFoundError:
            numbers[key] = None
    return numbers


def answer(question: dict[str, Any], hermes: RealHermes | Croniter) -> dict[str, Any]:
    """Everything but the facts. A job that Hermes cannot plan has ``error`` instead of fires."""
    now = question["now"]
    changes = clock_changes(hermes.clock, now)[:2]
    jobs: dict[str, Any] = {}
    for id, job in question["jobs"].items():
        facts: dict[str, Any] = jobs.setdefault(id, {})
        try:
            croniter = getattr(hermes, "croniter", None)
            if croniter is not None and job["schedule"].get("kind") == "cron":
                facts["fields"] = croniter(job["schedule"]["expr"]).expanded
            facts.update(simulate_job(hermes, job, now, question["count"], changes))
        except Exception as error:  # noqa: BLE001 - it stops the job in Hermes too
            facts["error"] = f"{type(error).__name__}: {error}"
    return {"zone": hermes.zone, "changes": changes, "jobs": jobs, **versions()}


def main() -> None:
    question = json.load(sys.stdin)
    result = answer(question, RealHermes())
    try:
        result.update(script_facts())
    except Exception as error:  # noqa: BLE001 - another version's; said, and the defaults are used
        result["unknown"] = f"{type(error).__name__}: {error}"
    result["python"] = sys.executable
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
