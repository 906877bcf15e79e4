"""Will the owner be able to run a job that was just added or edited?

Hints for a person, never decisions: the environment of the owner is read here only to say 'not
found' early, and it is evidence of nothing.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from tenure.client.health import examine
from tenure.client.refusal import next_command
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command, Definition, Job
from tenure.domain.process import Process
from tenure.domain.schedule.model import Schedule, ScheduleKind
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.warnings import ProfileWarning, warn
from tenure.host.clocks import SystemClock
from tenure.host.tz_variable import other_zone
from tenure.runtime.profile import Profile
from tenure.store.folder.user_home import job_folder, passwd_home


def advice(profile: Profile, *jobs: Job) -> list[ProfileWarning]:
    """What the user should know about jobs that were just added or changed. Who is there is
    looked at once for all of them."""
    if not jobs:
        return []
    health = examine(profile, SystemClock().now())
    owner = health.owner.process if health.owned and health.owner is not None else None
    found: list[ProfileWarning] = []
    for job in jobs:
        found += _about_the_command(profile, job.definition, owner)
        if (note := job.definition.schedule.either_day()) is not None:
            found.append(warn("either_day", text=note[0], remedy=note[1]))
        if job.definition.needs_authority:
            found += _about_protection(profile, job.definition)
    if owner is None:
        found.append(
            warn(
                "no_owner.yet" if health.executors() else "no_owner.brief",
                remedy=next_command(health, profile.name),
            )
        )
    return found


def about_the_zone(profile: Profile, schedule: Schedule, now: datetime) -> list[ProfileWarning]:
    """Where ``TZ`` names another zone than the one in which a schedule is read that named none."""
    said = other_zone(schedule.timezone, os.environ, now)
    if said is None or not _reads_a_wall_clock(schedule, said.name, now):
        return []
    named = profile.settings().timezone
    whose = "the profile's timezone" if named == schedule.timezone else "the machine's zone"
    if named is None and schedule.timezone != profile.timezone():
        whose = "the job's zone"
    setting = f', or timezone = "{said.name}" in {profile.folder.toml}' if said.name else ""
    return [
        warn(
            "tz_variable",
            text=said.text,
            zone=schedule.timezone,
            whose=whose,
            remedy=f"to read it in another zone: --tz with {said.remedy}"
            if said.name is None
            else f"to read it there: --tz {said.name}{setting}",
        )
    ]


def _reads_a_wall_clock(schedule: Schedule, other: str | None, now: datetime) -> bool:
    """Whether it would fire at other instants in another zone."""
    if schedule.kind is ScheduleKind.CRON:
        if other is None:
            return True
        there = replace(schedule, timezone=other)
        return _few_fires(there, now) != _few_fires(schedule, now)
    if schedule.kind is not ScheduleKind.AT:
        return False
    read = set()
    for zone in ("Etc/GMT-14", "Etc/GMT+12"):
        try:
            read.add(parse_schedule(schedule.text, now=now, timezone=zone).at)
        except InvalidInput:  # it has passed there
            read.add(None)
    return len(read) > 1


def _few_fires(schedule: Schedule, now: datetime) -> list[datetime]:
    return list(islice(schedule.fires(now, now + timedelta(days=366)), 5))


def _about_protection(profile: Profile, wants: Definition) -> list[ProfileWarning]:
    why = "the job is protected" if wants.protected else "the job requires a capability"
    policy = profile.policy()
    if policy.open:
        return [warn("protected_but_open", what=why, toml=profile.folder.toml)]
    if not policy.closed and not any(rule.authoritative for rule in policy.rules):
        return [warn("no_authoritative_rule", why=f"{why}, and ")]
    return []


def _about_the_command(
    profile: Profile, wants: Definition, owner: Process | None
) -> list[ProfileWarning]:
    if not isinstance(wants.action, Command):
        return []
    command, found = wants.action, []
    if command.cwd is not None and not os.path.isdir(command.cwd):
        found.append(warn("no_folder", path=command.cwd))
    if command.cwd is None and (home := passwd_home()) != Path(folder := job_folder(os.environ)):
        why = f"{home} cannot be entered" if home is not None else "this user has no passwd entry"
        found.append(warn("no_home_folder", why=why, path=folder))
    program = command.argv[0]
    if command.shell:
        return found
    if "/" in program:
        path = Path(command.cwd or job_folder(os.environ), program)
        if not (path.is_file() and os.access(path, os.X_OK)):
            found.append(warn("no_command", path=path))
        return found
    import shutil  # costs a few milliseconds that `status` need not pay

    where, whose = _search_path(profile, command, owner)
    if where is not None and shutil.which(program, path=where) is None:
        found.append(
            warn(
                "no_command.path",
                program=program,
                whose=whose,
                path=where,
                remedy="it is one word: leave its quotes away, or give --shell for a line"
                if " " in program
                else "give its full path, or set PATH in [env] of profile.toml or with --env",
            )
        )
    return found


def _search_path(
    profile: Profile, command: Command, owner: Process | None
) -> tuple[str | None, str]:
    """The PATH in which the owner will look, and whose it is; None if unknown."""
    if "PATH" in command.env:
        return command.env["PATH"], "the job's"
    setting = profile.settings().environment().get("PATH")
    if setting is not None:
        return setting, "the profile's"
    if owner is not None:
        return _path_of_process(owner.evidence.identity.pid), "the owner's"
    return os.environ.get("PATH"), "this shell's"


def _path_of_process(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read(1 << 20)
    except OSError:
        return None
    for entry in environ.split(b"\0"):
        if entry.startswith(b"PATH="):
            return os.fsdecode(entry[5:])
    return None
