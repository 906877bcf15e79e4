"""``tenure import crontab``: each line of a crontab as a job that does what cron did with it.

Cron starts a job whether or not its last run has ended, and never runs what it missed while it
was off; after a suspend, or a clock set forward, of up to three hours it runs the jobs at fixed
times that fell into it, once. The jobs are given just that: overlap ``allow``, catch-up ``latest``
within three hours at fixed times, else ``none``.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.adapters.crontab.commands import command_of, mail_to, quirks
from tenure.adapters.crontab.dialect import Dialect
from tenure.adapters.crontab.lines import REBOOT, Crontab, Line
from tenure.adapters.crontab.names import name_of
from tenure.adapters.crontab.times import doubled_in_gaps, expression_of
from tenure.adapters.importer import Action, Imported
from tenure.domain.errors import InvalidInput
from tenure.domain.job import DEFAULT_GRACE, CatchUp, Command, Definition, Overlap
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule, cron_schedule
from tenure.domain.schedule.zones import check_zone, load_zone

TAG = "crontab:"
_ENVIRONMENT = (
    "cron gives its jobs hardly any variables; here they also get those of the owner and of [env]"
    " in profile.toml, beside the ones shown"
)
_MAIL = (
    "cron mails what a job prints; here nothing is mailed: `tenure logs JOB` shows it, and"
    " `tenure runs` which runs failed"
)
THROUGH_A_SUSPEND = timedelta(hours=3)
"""How far both crons reach back after the clock has jumped forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """For whom, where, when. ``zone``: the machine's, an IANA name; ``now``: aware."""

    user: str
    """Who the profile's jobs run as."""
    of: str
    """Whose lines are wanted; as a rule the same."""
    zone: str
    now: datetime
    dialect: Dialect = Dialect.DEBIAN
    grace: timedelta = DEFAULT_GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A line, and what becomes of it."""

    line: Line
    job: Imported


def plan_lines(crontab: Crontab, importing: Importing) -> tuple[Planned, ...]:
    """What an import would do, before it is compared with what the profile has."""
    seen: Counter[str] = Counter()
    plan = []
    for line in crontab.lines:
        digest = hashlib.sha256(f"{line.when}\0{line.command}".encode()).hexdigest()[:12]
        seen[digest] += 1
        id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        plan.append(Planned(line=line, job=_judge(line, id, importing)))
    return tuple(plan)


def _judge(line: Line, id: str, importing: Importing) -> Imported:
    found = Imported(id=id, name=name_of(line.command), shown=line.text, action=Action.SKIP)
    try:
        return _added(line, found, importing)
    except InvalidInput as error:
        return Imported(
            id=id, name=found.name, shown=found.shown, action=Action.SKIP,
            why=error.text, remedy=error.remedy,
        )  # fmt: skip


def _added(line: Line, found: Imported, importing: Importing) -> Imported:
    """Raises InvalidInput where it cannot be."""
    if line.user is not None and line.user != importing.of:
        raise InvalidInput(
            f"it runs as {line.user}; this profile's jobs run as {importing.user}",
            remedy=f"import it into a profile of {line.user}, as {line.user}",
        )
    if line.when == REBOOT:
        raise InvalidInput(
            "nothing here is tied to the start of the machine",
            remedy="leave the line in the crontab, or make it a service",
        )
    schedule, jitter, differs = _when(line, importing)
    command = command_of(line, importing.dialect)
    fixed = read_cron(schedule.expression or "").fixed
    return Imported(
        id=found.id,
        name=found.name,
        shown=found.shown,
        action=Action.ADD,
        definition=Definition(
            name=found.name,
            schedule=schedule,
            action=command,
            overlap=Overlap.ALLOW,
            catch_up=CatchUp.LATEST if fixed else CatchUp.NONE,
            window=THROUGH_A_SUSPEND if fixed else None,
            grace=importing.grace,
            jitter=jitter,
            tags=(TAG + found.id,),
        ),
        lost=tuple(_lost(line, command)),
        differs=(*differs, *quirks(line, importing.dialect), *_elsewhere(importing)),
    )


def _when(line: Line, importing: Importing) -> tuple[Schedule, timedelta, list[str]]:
    """The schedule, its jitter, and where cron fires otherwise."""
    differs, zone, jitter = [], importing.zone, timedelta(0)
    named = line.env.get("CRON_TZ", "")
    if named and importing.dialect is Dialect.CRONIE:
        zone = check_zone(named.removeprefix(":"))
        differs.append(f"when clocks change, cronie may miss or double jobs with CRON_TZ={zone}")
    elif named and named != zone:
        differs.append(
            f"Debian's cron pays no heed to CRON_TZ, and so these are times of {zone};"
            f" cronie's would be times of {named} (--dialect cronie)"
        )
    if (tz := line.env.get("TZ", "")) and tz != zone:
        differs.append(f"TZ={tz} is for the command alone, as in cron: it fires by {zone}")
    if importing.dialect is Dialect.CRONIE and line.env.get("RANDOM_DELAY"):
        jitter = _delay(line.env["RANDOM_DELAY"])
        differs.append("cronie draws its RANDOM_DELAY when it starts; here it stays the same")
    schedule = cron_schedule(expression_of(line.fields, importing.dialect), zone)
    if (gap := doubled_in_gaps(schedule, importing.now)) is not None:
        at = gap[0].astimezone(load_zone(zone))
        differs.append(
            f"on {at:%Y-%m-%d}, when clocks jump to {at:%H:%M}, cron runs it {gap[1]} times, for"
            " what is jumped over as well; here it fires once"
        )
    return schedule, jitter, differs


def _delay(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InvalidInput(f"RANDOM_DELAY={text[:20]!r} is no number of minutes")
    return timedelta(minutes=int(text))


def _lost(line: Line, command: Command) -> Iterator[str]:
    if to := mail_to(line.env):
        yield f"what it prints is not mailed to {to} but kept with the run"
    for what, path in (("its SHELL", line.env.get("SHELL")), ("its HOME", command.cwd)):
        if path and not os.path.exists(path):
            yield f"there is no {path} at present ({what})"


def _elsewhere(importing: Importing) -> Iterator[str]:
    if importing.of != importing.user:
        yield f"it is {importing.of}'s, and here runs as {importing.user}"


def notes(plan: Sequence[Planned]) -> list[str]:
    """What holds for all lines, said once."""
    adding = [planned for planned in plan if planned.job.definition is not None]
    if not adding:
        return []
    found = [_ENVIRONMENT]
    if any(mail_to(planned.line.env) is None for planned in adding):
        found.append(_MAIL)
    return found
