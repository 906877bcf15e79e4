"""A Python file that declares the jobs of a store, for the application to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tenure.adapters.apscheduler.calls import is_json, keywords, quoted, source_of
from tenure.adapters.apscheduler.importer import ApschedulerJob
from tenure.adapters.apscheduler.stored_job import StoredJob
from tenure.adapters.importer import ImportedJob
from tenure.domain.durations import format_duration
from tenure.domain.schedule.model import Schedule, ScheduleKind

_OURS = frozenset(("tenure", "Tenure", "at", "cron", "every", "datetime", "partial", "timedelta"))


def python_file(plan: Sequence[ImportedJob], *, source: str, app: str) -> str:
    """Source that can be run as it stands. ``source``: where the jobs come from, for a comment."""
    written = [_declaration(job) for job in plan if isinstance(job, ApschedulerJob)]
    code = "\n".join(text for text, _ in written)
    modules = sorted({m for _, module in written for m in module})
    lines = [f'"""Jobs that were in APScheduler\'s store {_comment(source)}.', ""]
    lines += ["Written by `tenure import apscheduler`: import it where the application starts,"]
    lines += ["and take the scheduler of APScheduler out there, or each job runs twice.", '"""', ""]
    if "datetime.fromisoformat" in code:
        lines.append("from datetime import datetime")
    if "timedelta(" in code:
        lines.append("from datetime import timedelta")
    if "partial(" in code:
        lines.append("from functools import partial")
    used = [name for name in ("at", "cron", "every") if f"\n    {name}(" in code]
    lines += ["", f"from tenure import {', '.join(['Tenure', *used])}", ""]
    lines += [f"import {m}" if _alias(m) == m else f"import {m} as {_alias(m)}" for m in modules]
    lines += ["", f"tenure = Tenure(profile={quoted(app)})", "", code]
    return "\n".join(_without_double_blanks(lines)).rstrip() + "\n"


def _declaration(job: ApschedulerJob) -> tuple[str, list[str]]:
    """The declaration, and the modules it needs; a comment where there is none."""
    stored = job.stored
    title = f"# {_comment(job.name)}: {_comment(job.shown)}" if job.shown else f"# {job.name}"
    definition = job.definition or job.sketch
    if stored is None or definition is None:
        remedy = f"; {job.remedy}" if job.remedy else ""
        return f"{title}\n# TODO not written: {_comment(job.why + remedy)}\n", []
    comments = [f"# {_comment(text)}" for text in (*job.lost, *job.differs)]
    if job.definition is None:
        what, args = _reference(stored), None
        comments.append(f"# TODO {_comment(job.why)}")
    else:
        what, args = _function(stored)
    fields = [_when(definition.schedule), what, f"name={quoted(job.name)}"]
    if args:
        fields.append(f"args={source_of(args)}")
    fields += [f"{name}={_option(value)}" for name, value in job.options.items()]
    rows = ["tenure.job(", *(f"    {field}," for field in fields), ")"]
    if job.definition is None or job.paused:
        return "\n".join([title, *comments, *(f"# {row}" for row in rows), ""]), []
    return "\n".join([title, *comments, *rows, ""]), [stored.func.partition(":")[0]]


def _function(stored: StoredJob) -> tuple[str, Mapping[str, Any] | None]:
    """What is declared, and its keyword arguments as JSON."""
    if not stored.args and is_json(dict(stored.kwargs)):
        return _reference(stored), stored.kwargs
    given = ", ".join([*map(source_of, stored.args), *keywords(stored.kwargs)])
    return f"partial({_reference(stored)}, {given})", None


def _reference(stored: StoredJob) -> str:
    module, _, name = stored.func.partition(":")
    return f"{_alias(module)}.{name}"


def _alias(module: str) -> str:
    """The name by which a module is reached that must not hide one of ours."""
    return module.replace(".", "_") + "_" if module.partition(".")[0] in _OURS else module


def _when(schedule: Schedule) -> str:
    if schedule.kind is ScheduleKind.CRON:
        return f'cron("{schedule.text}", tz="{schedule.timezone}")'
    if schedule.kind is ScheduleKind.EVERY and schedule.interval is not None:
        return f"every({_option(schedule.interval)})"
    assert schedule.at is not None
    return f'at(datetime.fromisoformat("{schedule.at.isoformat()}"))'


def _option(value: Any) -> str:
    if isinstance(value, timedelta):
        exact = not value.microseconds % 1000
        return (
            f'"{format_duration(value)}"'
            if exact
            else f"timedelta(seconds={value.total_seconds()})"
        )
    return f'"{value}"' if isinstance(value, StrEnum) else repr(value)


def _comment(text: str) -> str:
    """On one line, and unable to end it, or the docstring."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("\\", "/").replace('"""', "'''")


def _without_double_blanks(lines: Sequence[str]) -> Iterator[str]:
    before = None
    for line in lines:
        if line or before:
            yield line
        before = line
