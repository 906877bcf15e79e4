"""Hermes' ``jobs.json`` and heartbeats, read as tolerantly as Hermes reads them, and never written.

A byte order mark, a bare list and a missing file are normal. Text that is not JSON is a finding,
since then nothing fires. An entry that is not a job is left out and counted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesJob:
    """The fields of a job that affect when and where it runs. Instants are UTC."""

    id: str
    name: str
    enabled: bool
    kind: str
    """``cron``, ``interval`` or ``once``; ``unknown`` without one."""
    schedule: str
    due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsFile:
    """``jobs.json`` at one moment."""

    present: bool
    jobs: tuple[HermesJob, ...] = ()
    problem: str | None = None
    """Why it could not be read."""
    odd: int = 0
    """The number of entries that are not jobs."""
    entries: tuple[dict[str, Any], ...] = ()
    """The jobs as they are written."""
    written: str | None = None
    """When Hermes last wrote the file, as it says."""

    @property
    def enabled(self) -> int:
        return sum(job.enabled for job in self.jobs)

    def next(self) -> HermesJob | None:
        """The enabled job that is due first."""
        waiting = [job for job in self.jobs if job.enabled and job.due is not None]
        return min(waiting, key=lambda job: (job.due or _NEVER, job.id), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeats:
    """How long ago *some* ticker of the profile wrote them; None: never, or this version does not.

    Every ticker writes them, also one whose ticks are fenced off.
    """

    ticked: timedelta | None
    succeeded: timedelta | None


def read_jobs(home: HermesHome) -> JobsFile:
    """The jobs of a profile. Nothing is raised: what cannot be read is ``problem``."""
    try:
        text = home.jobs_file.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return JobsFile(present=False)
    except OSError as error:
        return JobsFile(present=True, problem=error.strerror or str(error))
    except UnicodeDecodeError:
        return JobsFile(present=True, problem="it is not UTF-8")
    if not text.strip():
        return JobsFile(present=True, problem="it is empty")
    try:
        document = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        return JobsFile(present=True, problem=f"it is not JSON: {error}")
    entries = document.get("jobs", []) if isinstance(document, dict) else document
    if not isinstance(entries, list):
        return JobsFile(present=True, problem="it has no list of jobs")
    jobs = tuple(_job(entry) for entry in entries if isinstance(entry, dict) and entry.get("id"))
    return JobsFile(
        present=True,
        jobs=jobs,
        odd=len(entries) - len(jobs),
        entries=tuple(entry for entry in entries if isinstance(entry, dict)),
        written=document.get("updated_at") if isinstance(document, dict) else None,
    )


def read_heartbeats(home: HermesHome, now: datetime) -> Heartbeats:
    """``now`` is UTC."""
    return Heartbeats(
        ticked=_age(home.cron / "ticker_heartbeat", now),
        succeeded=_age(home.cron / "ticker_last_success", now),
    )


def instant_of(text: object) -> datetime | None:
    """An instant as Hermes writes it, in UTC; None for another value."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            # At the machine's offset of today, as Hermes reads what its older versions wrote.
            at = at.replace(tzinfo=datetime.now().astimezone().tzinfo)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _job(entry: dict[str, Any]) -> HermesJob:
    schedule = entry.get("schedule")
    kind = schedule.get("kind") if isinstance(schedule, dict) else None
    display = entry.get("schedule_display")
    if not display and isinstance(schedule, dict):
        display = schedule.get("display")
    return HermesJob(
        id=str(entry["id"]),
        name=str(entry.get("name") or entry["id"]),
        enabled=bool(entry.get("enabled", True)),
        kind=str(kind or "unknown"),
        schedule=str(display or ""),
        due=instant_of(entry.get("next_run_at")),
    )


def _age(path: Path, now: datetime) -> timedelta | None:
    """By the instant in the file, else by the file's date."""
    try:
        text, modified = path.read_text("ascii", "replace"), path.stat().st_mtime
    except OSError:
        return None
    try:
        at = datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(modified, UTC)
    return max(now - at, timedelta(0))
