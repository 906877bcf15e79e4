"""``tenure import crontab``: each line of a crontab as a job that does what cron did with it.

Cron starts a job whether or not its last run has ended, and never runs what it missed while it
was off; after a suspend, or a clock set forward, of up to three hours it runs the jobs at fixed
times that fell into it, once. The jobs are given just that: overlap ``allow``, catch-up ``latest``
within three hours at fixed times, else ``none``.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from tenure.adapters.crontab.commands import command_of, mail_to, name_of, quirks
from tenure.adapters.crontab.lines import REBOOT, Crontab, Line, read_crontab
from tenure.adapters.crontab.source import Source
from tenure.adapters.crontab.times import Dialect, doubled_in_gaps, expression_of
from tenure.adapters.importer import (
    Action,
    ExistingJobs,
    ImportedJob,
    Importer,
    ImportReport,
    InvalidLine,
    count_jobs,
    rename,
    resolve_names,
    to_add,
)
from tenure.client.documents import instant
from tenure.domain.errors import InvalidInput, Refused
from tenure.domain.job import DEFAULT_GRACE, CatchUp, Command, Definition, Overlap
from tenure.domain.names import escape_hidden
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule, cron_schedule
from tenure.domain.schedule.zones import check_zone, load_zone

TAG = "crontab:"
_ENVIRONMENT = (
    "cron gives jobs few variables; here they also get those of the owner and of [env] in"
    " profile.toml, besides the ones shown"
)
_MAIL = (
    "cron mails a job's output; here `tenure logs JOB` shows it and nothing is mailed, and"
    " `tenure runs` shows which runs failed"
)
_WHOSE = {Dialect.DEBIAN: "Debian's cron", Dialect.CRONIE: "cronie"}
_END = datetime(9900, 1, 1, tzinfo=UTC)
THROUGH_A_SUSPEND = timedelta(hours=3)
"""How far both crons reach back after the clock jumped forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrontabTarget:
    """The users, zone and time of an import. ``zone``: the machine's, IANA; ``now``: aware."""

    user: str
    """The user that the profile's jobs run as."""
    of: str
    """The user whose lines are imported; usually the same."""
    zone: str
    now: datetime
    dialect: Dialect = Dialect.DEBIAN
    grace: timedelta = DEFAULT_GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class CrontabJob(ImportedJob):
    """A line, and what becomes of it."""

    line: Line


def plan_lines(crontab: Crontab, target: CrontabTarget) -> tuple[CrontabJob, ...]:
    """What an import would do, before it is compared with what the profile has."""
    seen: Counter[str] = Counter()
    plan = []
    for line in crontab.lines:
        digest = hashlib.sha256(f"{line.when}\0{line.command}".encode()).hexdigest()[:12]
        seen[digest] += 1
        id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        plan.append(_judge(line, id, target))
    return tuple(plan)


class CrontabImporter(Importer):
    """A crontab: read when this is made, planned with the jobs that the profile has."""

    name = "crontab"
    tag = TAG
    originals_text = "cron still runs the originals. So that nothing runs twice:"

    def __init__(
        self,
        source: Source,
        target: CrontabTarget,
        *,
        count: int,
        prefix: str = "",
        paused: bool = False,
        skip_broken: bool = False,
    ) -> None:
        """``count``: of the fires that are shown. Raises Refused for lines of another user."""
        if target.of != target.user and os.geteuid() == 0:
            raise Refused(
                f"the jobs of {target.of} would run as {target.user} here: Tenure runs jobs as "
                "the user of the owner",
                field="user",
                remedy=f"import them as {target.of}: "
                f"sudo -u {shlex.quote(target.of)} tenure import crontab",
            )
        self.source = source
        self.target = target
        self._count, self._prefix, self._paused = count, prefix, paused
        self._skip_broken = skip_broken
        self._crontab = read_crontab(source.text, system=source.system, dialect=target.dialect)

    def plan(self, existing: ExistingJobs) -> Sequence[CrontabJob]:
        made = plan_lines(self._crontab, replace(self.target, grace=existing.grace))
        renamed = (rename(job, prefix=self._prefix, paused=self._paused) for job in made)
        return [self._with_fires(job) for job in resolve_names(renamed, existing)]

    def _with_fires(self, job: CrontabJob) -> CrontabJob:
        if job.definition is None:
            return job
        fires = islice(job.definition.schedule.fires(self.target.now, _END), self._count)
        return replace(job, fires=tuple(fires))

    def heading(self, plan: Sequence[ImportedJob]) -> list[str]:
        name = "standard input" if self.source.name == "-" else self.source.name
        how = f"read as {_WHOSE[self.target.dialect]} reads it, times in {self.target.zone}"
        return [f"{count_jobs(plan)} in {name}, {how}"]

    def title(self, job: ImportedJob) -> str:
        return f"line {_line(job).number}: {job.shown}"

    def notes(self, plan: Sequence[ImportedJob]) -> list[str]:
        return notes(plan)

    def invalid_lines(self) -> Sequence[InvalidLine]:
        return self._crontab.wrong

    def check(self) -> None:
        lines = self._crontab.wrong
        if not lines or self._skip_broken:
            return
        first = lines[0]
        more = f" (and {len(lines) - 1} more invalid lines)" if len(lines) > 1 else ""
        remedy = f"{first.remedy}; or " if first.remedy else ""
        raise InvalidInput(
            f"{first.why}{more}; nothing was imported",
            field=f"line {first.number}",
            remedy=f"{remedy}pass --skip-broken to skip invalid lines",
            wrong=self._invalid_documents(),
        )

    def originals(self, plan: Sequence[ImportedJob]) -> list[str]:
        numbers = [_line(job).number for job in plan if job.action is not Action.SKIP]
        if not numbers:
            return []
        script = shlex.quote(";".join(f"{number}s/^/#/" for number in numbers))
        source = self.source
        if source.path is not None:
            sudo = "" if os.access(source.path.parent, os.W_OK) else "sudo "
            return [f"{sudo}sed -i.before {script} {shlex.quote(str(source.path))}"]
        if source.name == "-":
            return ["comment out " + ", ".join(f"line {number}" for number in numbers)]
        install = source.name.removesuffix("-l") + "-"
        return [f"{source.name} > crontab.before && sed {script} crontab.before | {install}"]

    def job_document(self, job: ImportedJob) -> dict[str, Any]:
        return {"line": _line(job).number, "text": job.shown}

    def fires_document(self, job: ImportedJob) -> list[str | None]:
        return [instant(fire) for fire in job.fires]

    def document(self, report: ImportReport) -> dict[str, Any]:
        return {
            "crontab": {
                "source": self.source.name,
                "system": self.source.system,
                "dialect": str(self.target.dialect),
                "timezone": self.target.zone,
                "user": self.target.of,
            },
            "profile": report.profile,
            "written": report.written,
            "jobs": report.jobs,
            "wrong": self._invalid_documents(),
            "notes": self.notes(report.plan),
            "comment_out": self.originals(report.plan),
            "warnings": report.warnings,
        }

    def _invalid_documents(self) -> list[dict[str, Any]]:
        return [
            {
                "line": line.number,
                "text": escape_hidden(line.text),
                "why": line.why,
                "remedy": line.remedy or None,
            }
            for line in self._crontab.wrong
        ]


def _line(job: ImportedJob) -> Line:
    assert isinstance(job, CrontabJob)
    return job.line


def _judge(line: Line, id: str, target: CrontabTarget) -> CrontabJob:
    found = CrontabJob(
        id=id, name=name_of(line.command), shown=line.text, action=Action.SKIP, line=line
    )
    try:
        return _added(line, found, target)
    except InvalidInput as error:
        return replace(found, why=error.text, remedy=error.remedy)


def _added(line: Line, found: CrontabJob, target: CrontabTarget) -> CrontabJob:
    """Raises InvalidInput where it cannot be."""
    if line.user is not None and line.user != target.of:
        raise InvalidInput(
            f"it runs as {line.user}; this profile's jobs run as {target.user}",
            remedy=f"import it into a profile of {line.user}, as {line.user}",
        )
    if line.when == REBOOT:
        raise InvalidInput(
            "@reboot is not supported",
            remedy="leave the line in the crontab, or make it a systemd unit",
        )
    schedule, jitter, differs = _when(line, target)
    command = command_of(line, target.dialect)
    fixed = read_cron(schedule.expression or "").fixed
    return replace(
        found,
        action=Action.ADD,
        definition=Definition(
            name=found.name,
            schedule=schedule,
            action=command,
            overlap=Overlap.ALLOW,
            catch_up=CatchUp.LATEST if fixed else CatchUp.NONE,
            window=THROUGH_A_SUSPEND if fixed else None,
            grace=target.grace,
            jitter=jitter,
            tags=(TAG + found.id,),
        ),
        lost=tuple(_lost(line, command)),
        differs=(*differs, *quirks(line, target.dialect), *_elsewhere(target)),
    )


def _when(line: Line, target: CrontabTarget) -> tuple[Schedule, timedelta, list[str]]:
    """The schedule, its jitter, and where cron fires otherwise."""
    differs, zone, jitter = [], target.zone, timedelta(0)
    named = line.env.get("CRON_TZ", "")
    if named and target.dialect is Dialect.CRONIE:
        zone = check_zone(named.removeprefix(":"))
        differs.append(f"when clocks change, cronie may miss or double jobs with CRON_TZ={zone}")
    elif named and named != zone:
        differs.append(
            f"Debian's cron ignores CRON_TZ, so times are in {zone};"
            f" with cronie they are in {named} (--dialect cronie)"
        )
    if (tz := line.env.get("TZ", "")) and tz != zone:
        differs.append(f"TZ={tz} applies to the command only, as in cron; the schedule uses {zone}")
    if target.dialect is Dialect.CRONIE and line.env.get("RANDOM_DELAY"):
        jitter = _delay(line.env["RANDOM_DELAY"])
        differs.append("cronie chooses its RANDOM_DELAY at each start; here it stays the same")
    schedule = cron_schedule(expression_of(line.fields, target.dialect), zone)
    if (gap := doubled_in_gaps(schedule, target.now)) is not None:
        at = gap[0].astimezone(load_zone(zone))
        differs.append(
            f"on {at:%Y-%m-%d}, when clocks jump to {at:%H:%M}, cron runs it {gap[1]} times,"
            " once for each skipped time; here it runs once"
        )
    return schedule, jitter, differs


def _delay(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InvalidInput(f"RANDOM_DELAY={text[:20]!r} is not a valid number of minutes")
    return timedelta(minutes=int(text))


def _lost(line: Line, command: Command) -> Iterator[str]:
    if to := mail_to(line.env):
        yield f"output is stored with the run (`tenure logs`), not mailed to {to}"
    for what, path in (("its SHELL", line.env.get("SHELL")), ("its HOME", command.cwd)):
        if path and not os.path.exists(path):
            yield f"{path} ({what}) does not exist"


def _elsewhere(target: CrontabTarget) -> Iterator[str]:
    if target.of != target.user:
        yield f"it belongs to {target.of} and runs here as {target.user}"


def notes(plan: Sequence[ImportedJob]) -> list[str]:
    """What holds for all lines, said once."""
    adding = to_add(plan)
    if not adding:
        return []
    silent = any(mail_to(_line(job).env) is None for job in adding)
    return [_ENVIRONMENT, _MAIL] if silent else [_ENVIRONMENT]
