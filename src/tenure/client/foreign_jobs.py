"""Jobs that another scheduler plans: they are defined there, and here is what to type there.

A job of Hermes, for example, is known by its target, ``hermes:<id>``. Its definition follows what
that scheduler has; a change here would be reverted.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from tenure.domain.errors import Refused
from tenure.domain.job import Call, Job
from tenure.domain.schedule.model import ScheduleKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A scheduler that keeps the definitions of its jobs. ``{verb}`` and ``{id}`` are filled in,
    and ``{command}``: how it is called for the profile that has the job."""

    name: str
    program: str
    command: str
    output: str


_KNOWN = {
    "hermes": Elsewhere(
        name="Hermes",
        program="hermes",
        command="{command} cron {verb} {id}",
        output="Hermes keeps it, in cron/output/{id} of its home",
    )
}
"""By the part of a target before the colon."""


def is_planner(app: str) -> bool:
    """Whether jobs of this app are those of another scheduler, which keeps their definitions."""
    return app in _KNOWN


def is_foreign(job: Job) -> bool:
    """Whether another scheduler keeps the definition; also after its last run."""
    return job.definition.schedule.kind is ScheduleKind.FOREIGN or (
        job.app is None and _elsewhere(job.definition.action) is not None
    )


def planner_of(job: Job) -> str:
    """Who decides when it is due: ``Hermes``, or ``another scheduler``."""
    planner = _elsewhere(job.definition.action)
    return "another scheduler" if planner is None else planner.name


def change_there(job: Job, verb: str) -> str:
    """How it is changed there. ``verb``: edit, pause, resume or remove."""
    action, planner = job.definition.action, _elsewhere(job.definition.action)
    if not isinstance(action, Call) or planner is None:
        target = action.target if isinstance(action, Call) else action.describe()
        return _printable(f"{verb} {target} in the scheduler that plans it")
    command = str(action.args.get("command") or planner.program)
    return _filled(planner.command.replace("{command}", command), action, verb)


def where_output_is(action: object) -> str | None:
    """Where the other scheduler keeps the output of its runs; None for a call of an app."""
    planner = _elsewhere(action)
    return _filled(planner.output, action) if isinstance(action, Call) and planner else None


def refuse_foreign(jobs: Iterable[Job], verb: str) -> None:
    """Raise Refused if one of the jobs is to be changed elsewhere."""
    for job in jobs:
        if is_foreign(job):
            planner = _elsewhere(job.definition.action)
            name = f" ({planner.name})" if planner else ""
            raise Refused(
                f"{job.name!r} is planned by another scheduler{name}, which keeps its definition: "
                "change it there",
                remedy=change_there(job, verb),
                job=job.id,
            )


def _elsewhere(action: object) -> Elsewhere | None:
    return _KNOWN.get(action.app) if isinstance(action, Call) else None


def _filled(text: str, action: Call, verb: str = "") -> str:
    id = action.target.partition(":")[2]
    return _printable(text.replace("{verb}", verb).replace("{id}", shlex.quote(id)))


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())
