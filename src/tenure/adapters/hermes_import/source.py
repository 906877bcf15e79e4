"""The jobs of Hermes' file, whole, as importing needs them; read and never written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome, person_home
from tenure.adapters.hermes.facts.jobs_file import read_jobs
from tenure.domain.errors import NotFound, OutcomeUnknown

HermesJob = Mapping[str, Any]
"""A job as in the file, but ``id`` is always a text."""


def hermes_jobs(home: HermesHome, refs: Sequence[str] = ()) -> list[HermesJob]:
    """All of them, or those of these ids or names.

    Raises OutcomeUnknown where the file cannot be read, NotFound for a job that is not there.
    """
    read = read_jobs(home)
    if read.problem is not None:
        raise OutcomeUnknown(
            f"{home.jobs_file} cannot be read: {read.problem}",
            remedy=f"`{hermes_command(home)} cron list` shows what Hermes makes of it",
        )
    jobs = [_with_id(entry) for entry in _entries(home)] if read.present else []
    known = [job for job in jobs if job is not None]
    return _chosen(known, refs, home) if refs else known


def last_written(home: HermesHome) -> datetime | None:
    """When Hermes last wrote the file, in the offset that its clock had then; None: not said."""
    try:
        document = json.loads(home.jobs_file.read_text("utf-8-sig"), strict=False)
        at = datetime.fromisoformat(document["updated_at"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return at if at.utcoffset() is not None else None


def hermes_command(home: HermesHome) -> str:
    """How a person calls Hermes for this profile, wherever its home is."""
    if home.root == (person_home() / ".hermes").resolve():
        return home.command
    return f"HERMES_HOME={shlex.quote(str(home.root))} hermes -p {home.profile}"


def job_name(job: HermesJob) -> str:
    """As Hermes shows it, on one line."""
    for said in (job.get("name"), job.get("prompt"), job.get("script"), job["id"]):
        name = "".join(c if c.isprintable() else " " for c in str(said or ""))
        if name.split():
            return " ".join(name.split())[:100].strip()
    return "job"


def job_schedule(job: HermesJob) -> str:
    """The schedule as Hermes shows it."""
    schedule, shown = job.get("schedule"), job.get("schedule_display")
    if not shown and isinstance(schedule, Mapping):
        shown = schedule.get("display") or schedule.get("expr") or schedule.get("run_at")
    return str(shown or schedule or "?")


def _entries(home: HermesHome) -> list[object]:
    document = json.loads(home.jobs_file.read_text("utf-8-sig"), strict=False)
    entries = document.get("jobs", []) if isinstance(document, dict) else document
    return entries if isinstance(entries, list) else []


def _with_id(entry: object) -> HermesJob | None:
    if not isinstance(entry, dict):
        return None
    id = entry.get("id") or entry.get("job_id")
    return {**entry, "id": str(id)} if id else None


def _chosen(jobs: Sequence[HermesJob], refs: Sequence[str], home: HermesHome) -> list[HermesJob]:
    wanted: set[str] = set()
    for ref in refs:
        found = [job["id"] for job in jobs if ref == job["id"]]
        found = found or [job["id"] for job in jobs if ref == job_name(job)]
        if not found:
            names = [job_name(job) for job in jobs]
            near = get_close_matches(ref, names) or names[:5]
            raise NotFound(
                f"Hermes has no job {ref!r}; it has {', '.join(near) or 'none at all'}",
                field="job",
                remedy=f"`{hermes_command(home)} cron list --all` lists them",
            )
        wanted.update(found)
    return [job for job in jobs if job["id"] in wanted]
