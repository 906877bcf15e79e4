"""The jobs of Hermes' file, whole, as importing needs them; read and never written."""

from __future__ import annotations

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
    ids = [(entry, entry.get("id") or entry.get("job_id")) for entry in read.entries]
    jobs: list[HermesJob] = [{**entry, "id": str(id)} for entry, id in ids if id]
    return _chosen(jobs, refs, home) if refs else jobs


def last_written(home: HermesHome) -> datetime | None:
    """When Hermes last wrote the file, in the offset that its clock had then; None: not said."""
    try:
        at = datetime.fromisoformat(read_jobs(home).written or "")
    except (ValueError, TypeError):
        return None
    return at if at.utcoffset() is not None else None


def hermes_command(home: HermesHome) -> str:
    """How a person calls Hermes for this profile, wherever its home is."""
    if home.root == (person_home() / ".hermes").resolve():
        return home.command
    return f"HERMES_HOME={shlex.quote(str(home.root))} hermes -p {home.profile}"


def job_name(job: HermesJob) -> str:
    """As Hermes shows it, on one line."""
    for text in (job.get("name"), job.get("prompt"), job.get("script"), job["id"]):
        name = "".join(c if c.isprintable() else " " for c in str(text or ""))
        if name.split():
            return " ".join(name.split())[:100].strip()
    return "job"


def job_schedule(job: HermesJob) -> str:
    """The schedule as Hermes shows it."""
    schedule, shown = job.get("schedule"), job.get("schedule_display")
    if not shown and isinstance(schedule, Mapping):
        shown = schedule.get("display") or schedule.get("expr") or schedule.get("run_at")
    return str(shown or schedule or "?")


def _chosen(jobs: Sequence[HermesJob], refs: Sequence[str], home: HermesHome) -> list[HermesJob]:
    chosen: set[str] = set()
    for ref in refs:
        ids = [job["id"] for job in jobs if ref == job["id"]]
        ids = ids or [job["id"] for job in jobs if ref == job_name(job)]
        if not ids:
            names = [job_name(job) for job in jobs]
            near = get_close_matches(ref, names) or names[:5]
            raise NotFound(
                f"Hermes has no job {ref!r}; it has {', '.join(near) or 'none at all'}",
                field="job",
                remedy=f"`{hermes_command(home)} cron list --all` lists them",
            )
        chosen.update(ids)
    return [job for job in jobs if job["id"] in chosen]
