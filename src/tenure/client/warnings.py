"""Which warnings of :mod:`tenure.domain.warnings` apply now: of a profile, and of a job that was
just added or edited.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from tenure.client.health import (
    Health,
    Taken,
    examine,
    expected_owner,
    find_unclaimed,
    how_to_continue,
    how_to_restart,
    next_command,
    profile_option,
    what_is_halted,
    why_no_owner,
)
from tenure.domain.durations import format_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    Command,
    Job,
    JobState,
    Runner,
    remedy_for_unreadable,
    why_unreadable,
)
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.admission import Policy, admit
from tenure.domain.policy.change import Accept, PolicyFile, PolicyProblem, reconcile_policy
from tenure.domain.policy.conditions import ended_links
from tenure.domain.policy.warnings import policy_warnings
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import RunState
from tenure.domain.schedule.model import Schedule, ScheduleKind
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.warnings import ProfileWarning, warn
from tenure.host.clocks import SystemClock
from tenure.host.local_zone import other_zone
from tenure.host.processes import replaced_program
from tenure.host.write_lock import write_lock_holder
from tenure.runtime.profile import Profile
from tenure.store.contract import Counts, RunFilter
from tenure.store.folder.user_home import job_folder, passwd_home
from tenure.store.sqlite.database_file import why_unwritable

_LOOKS_S = (0.002, 0.003, 0.005, 0.01, 0.03, *[0.05] * 9)
"""Half a second in all; the first ones soon, since a busy owner's commit takes milliseconds."""
JUST_DUE = timedelta(seconds=5)
"""A candidate that takes over starts it."""
_NAMED = 3
JUST_JOINED = timedelta(seconds=5)
"""A process that has just joined has not been judged yet."""


def find_warnings(
    profile: Profile, health: Health, counts: Counts, foreign: Sequence[Process], now: datetime
) -> Iterator[ProfileWarning]:
    """The warnings, the gravest first."""
    if health.problem is not None:
        yield warn("identity_problem", problem=health.problem.text, remedy=health.problem.remedy)
    database = profile.folder.database
    if (unwritable := why_unwritable(database)) is not None:
        yield warn("read_only", path=database, why=unwritable[0], remedy=unwritable[1])
    yield from _owner(profile, health, counts)
    yield from _unclaimed(profile, health, now)
    if not health.owned:
        yield from _waiting(profile, health, counts, now)
    yield from _unreadable_jobs(profile)
    yield from _blocked(profile, health)
    yield from _noted_runs(profile)
    yield from _executors(health, now)
    yield from _protected(profile, health, counts)
    yield from _launchers(health)
    yield from _replaced_code(health)
    yield from _unattested(profile, health)
    for warning in policy_warnings_of(profile, health.policy):
        # Of an owner that is there the same is said with its own evidence.
        if warning.code != "unattested_authority" or not health.owned:
            yield warning
    joined = [p.process for p in health.present if p.process.standing is ProcessStatus.FOREIGN]
    for process in [*foreign, *joined]:
        yield warn("foreign", pid=process.pid, why=process.why)


def find_liveness_warnings(
    profile: Profile, health: Health, now: datetime
) -> Iterator[ProfileWarning]:
    """An owner that does not do its work: for interfaces that list jobs, and say no more."""
    if health.problem is not None or not health.owned or health.owner is None:
        return
    if health.owner.life is HolderLife.ALIVE and (health.halted or health.hung):
        yield from _owner(profile, health, Counts())
    yield from _unclaimed(profile, health, now)


def _owner(profile: Profile, health: Health, counts: Counts) -> Iterator[ProfileWarning]:
    owner = health.owner
    if health.problem is not None:
        return
    if owner is None:
        if counts.jobs.get(JobState.ACTIVE) or counts.pending_requests or health.present:
            yield warn(
                "no_owner",
                why=why_no_owner(health),
                expected=expected_owner(health.policy),
                remedy=next_command(health, profile.name),
            )
        return
    pid, option = owner.process.pid, profile_option(profile.name)
    if owner.life is HolderLife.DEAD:
        yield warn(
            "owner_dead",
            pid=pid,
            term=health.ownership.term,
            why=why_no_owner(health),
            remedy=next_command(health, profile.name),
        )
    elif owner.life is HolderLife.UNVERIFIABLE:
        yield warn("owner_unverifiable", pid=pid, option=option)
    else:
        if health.halted:
            remedy = how_to_continue(health, profile.name)
            yield warn("owner_stopped", what=what_is_halted(health), remedy=remedy)
        if health.hung:
            yield warn("hung", pid=pid, span=format_duration(health.hung_for), option=option)


def _unclaimed(profile: Profile, health: Health, now: datetime) -> Iterator[ProfileWarning]:
    unclaimed = find_unclaimed(profile, health, now)
    if unclaimed is None:
        return
    job, more = unclaimed.jobs[0], len(unclaimed.jobs) - 1
    why = "and the owner, which makes progress, has not claimed it"
    remedy = f"`tenure explain {job.name}{profile_option(profile.name)}` says what it waits for"
    if unclaimed.taken is not None:
        why = f"and waits for a slot: {slots_taken(unclaimed.taken, now)}"
        remedy = free_a_slot(unclaimed.taken, profile)
    yield warn(
        "due_unclaimed",
        job=job.name,
        span=_whole(unclaimed.waited),
        also=f" ({more} more {'is' if more == 1 else 'are'} due)" if more else "",
        why=why,
        remedy=remedy,
    )


def slots_taken(taken: Taken, now: datetime) -> str:
    """How many slots there are, and which runs hold them for how long, as a clause."""
    kind = "commands" if taken.runner is Runner.COMMAND else "callables"
    held = _first(
        [
            f"{run.job_name} (run {run.id}, for {_whole(now - (run.started_at or run.claimed_at))})"
            for run in taken.runs
        ]
    )
    if taken.slots == 1:
        return f"the only slot for {kind} is taken by {held}"
    return f"all {taken.slots} slots for {kind} are taken by {held}"


def free_a_slot(taken: Taken, profile: Profile) -> str:
    """What to do about slots that are all taken."""
    key = "commands" if taken.runner is Runner.COMMAND else "callables"
    cancel = ""
    if taken.runs:
        cancel = f"`tenure cancel {taken.runs[0].id}{profile_option(profile.name)}` ends one; "
    return (
        f"{cancel}give the jobs that hold them a --timeout, or raise {key} under [slots] in "
        f"{profile.folder.toml} and restart the owner"
    )


def _whole(span: timedelta) -> str:
    return format_duration(timedelta(seconds=max(0, int(span.total_seconds()))))


def _first(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _waiting(
    profile: Profile, health: Health, counts: Counts, now: datetime
) -> Iterator[ProfileWarning]:
    """What waits while there is no owner."""
    room = dict.fromkeys(Runner, 100)
    due = [d.job for d in profile.store.due(now - JUST_DUE, room) if d.job.damage is None]
    since = due[0].due_at if due else None
    if since is not None and health.problem is None:
        single = len(due) == 1
        yield warn(
            "due_unstarted",
            jobs="1 job is" if single else f"{len(due)} jobs are",
            span=_whole(now - since),
            names=_first([job.name for job in due]),
            they="it" if single else "they",
            job=due[0].name,
            option=profile_option(profile.name),
        )
    if counts.pending_requests:
        single = counts.pending_requests == 1
        yield warn(
            "queued_requests",
            requests="1 request waits" if single else f"{counts.pending_requests} requests wait",
            them="it" if single else "them",
            option=profile_option(profile.name),
        )


def _unreadable_jobs(profile: Profile) -> Iterator[ProfileWarning]:
    jobs, option = profile.store.unreadable_jobs(), profile_option(profile.name)
    for job in jobs[:_NAMED]:
        text = f"{why_unreadable(job)}; it does not run until that is corrected"
        yield warn("unreadable_job", text=text, remedy=remedy_for_unreadable(job, option))
    if len(jobs) > _NAMED:
        text = f"{len(jobs) - _NAMED} more jobs cannot be read"
        yield warn("unreadable_job", text=text, remedy=f"`tenure list{option}` shows which")


def _blocked(profile: Profile, health: Health) -> Iterator[ProfileWarning]:
    holder = write_lock_holder(profile.folder.database)
    if holder is None or not (health.hung or _still_held(profile, holder)):
        return
    if health.owner is not None and holder == health.owner.process.pid:
        who = " (the owner)"
        remedy = f"`tenure owner take --kill{profile_option(profile.name)}`"
    else:
        who, remedy = "", f"continue or end pid {holder}: it blocks every other process"
    yield warn("store_blocked", pid=holder, who=who, remedy=remedy)


def _still_held(profile: Profile, holder: int) -> bool:
    """A lock held by one process for half a second is not a transaction of ours."""
    for pause in _LOOKS_S:
        time.sleep(pause)
        if write_lock_holder(profile.folder.database) != holder:
            return False
    return True


def _noted_runs(profile: Profile) -> Iterator[ProfileWarning]:
    """Active runs that their holder has noted something about."""
    running = RunFilter(states=frozenset({RunState.RUNNING}))
    noted = [run for run in profile.store.runs(running)[0] if run.reason]
    if noted:
        yield warn(
            "record_unreadable",
            run=noted[0].id,
            job=noted[0].job_name,
            reason=noted[0].reason,
            more=f" ({len(noted) - 1} more like it)" if len(noted) > 1 else "",
            option=profile_option(profile.name),
        )


def _executors(health: Health, now: datetime) -> Iterator[ProfileWarning]:
    executors = health.executors()
    if health.policy.open and len(executors) > 1:
        pids = ", ".join(str(process.pid) for process in executors)
        yield warn("open_policy_many_executors", count=len(executors), pids=pids)
    owner = health.owner.process if health.owned and health.owner is not None else None
    # Every process of the authoritative owner's app would execute if it were admitted; that one of
    # them does is what the rules are for.
    app = owner.app if owner is not None and health.ownership.authoritative else None
    alike: dict[str, list[str]] = {}
    for process in executors:
        refused = process.standing is ProcessStatus.REFUSED
        if refused and now - process.joined_at > JUST_JOINED and not (app and process.app == app):
            alike.setdefault(process.why, []).append(str(process.pid))
    for why, refused_pids in alike.items():
        yield warn("refused_executor", pids=", ".join(refused_pids), why=why)


def how_to_authorise(policy: Policy) -> str:
    """Only who would be authoritative is worth starting."""
    if policy.closed:
        return policy.remedy
    rules = [r.describe() for r in policy.rules if r.authoritative and not r.refuse]
    if not rules:
        return "write authoritative = true in the rule of the process that may run them"
    return f"start the process that should own: {'; '.join(rules)}"


def _protected(profile: Profile, health: Health, counts: Counts) -> Iterator[ProfileWarning]:
    what = (
        "1 job is protected" if counts.protected == 1 else f"{counts.protected} jobs are protected"
    )
    if counts.protected and health.policy.open:
        yield warn("protected_but_open", what=what, toml=profile.folder.toml)
    elif counts.protected and health.owned and not health.ownership.authoritative:
        yield warn("protected_without_authority", what=what, remedy=how_to_authorise(health.policy))
    if counts.open_holds:
        ranges = f"{counts.open_holds} ranges of scheduled runs are"
        if counts.open_holds == 1:
            ranges = "1 range of scheduled runs is"
        yield warn("held_fires", ranges=ranges, option=profile_option(profile.name))


def _launchers(health: Health) -> Iterator[ProfileWarning]:
    """Processes that a rule admitted by a launcher, which has ended since."""
    for process in health.executors():
        for rule in health.policy.rules:
            paths = (*rule.executable_paths, *rule.ancestor_paths)
            for link in [] if rule.refuse else ended_links(paths, process.evidence)[:1]:
                owns = process.standing is ProcessStatus.OWNER
                yield warn(
                    "launcher_ended",
                    pid=process.pid,
                    who=" (the owner)" if owns else "",
                    launcher=link.executable,
                    launcher_pid=link.pid,
                    rule=rule.number,
                )


def _replaced_code(health: Health) -> Iterator[ProfileWarning]:
    owner = health.owner
    if owner is None or owner.life is not HolderLife.ALIVE:
        return
    program = replaced_program(owner.process.evidence.identity)
    if program is not None:
        remedy = how_to_restart(health)
        yield warn("owner_code_replaced", pid=owner.process.pid, program=program, remedy=remedy)


def _unattested(profile: Profile, health: Health) -> Iterator[ProfileWarning]:
    owner = health.owner
    if owner is None or not health.owned or not health.ownership.authoritative:
        return
    uid = profile.folder.path.stat().st_uid
    process = owner.process
    admission = admit(health.policy, process.evidence, role=process.role, me_uid=uid)
    if admission.admitted and not admission.attested:
        yield warn("unattested_owner", why=admission.why)


def policy_warnings_of(profile: Profile, accepted: Policy) -> list[ProfileWarning]:
    """What is wrong with profile.toml, not accepted from it, or doubtful in the rules in force."""
    return list(warnings_of_policy(profile.policy_file(), accepted, profile.name))


def warnings_of_policy(
    file: PolicyFile | PolicyProblem, policy: Policy, profile: str
) -> Iterator[ProfileWarning]:
    """The same, of a file that was read. ``policy`` is the one in force; ``profile`` a name."""
    change = reconcile_policy(policy if policy.version else None, file)
    if isinstance(change, Accept):
        yield warn("policy_not_accepted", option=profile_option(profile))
    elif change.warning is not None and isinstance(file, PolicyProblem):
        yield warn("policy_file_problem", problem=change.warning.text, remedy=change.warning.remedy)
    elif change.warning is not None:
        yield change.warning
    yield from policy_warnings(policy)


# -- advice about a job ----------------------------------------------------------------------------
def advice(profile: Profile, *jobs: Job) -> list[ProfileWarning]:
    """What the user should know about jobs that were just added or changed: hints, no decisions.
    The processes are looked at once for all of them."""
    if not jobs:
        return []
    health = examine(profile, SystemClock().now())
    owner = health.owner.process if health.owned and health.owner is not None else None
    warnings: list[ProfileWarning] = []
    for job in jobs:
        definition = job.definition
        if isinstance(definition.action, Command):
            warnings += _of_command(profile, definition.action, owner)
        if (note := definition.schedule.either_day()) is not None:
            warnings.append(warn("either_day", text=note[0], remedy=note[1]))
        if definition.needs_authority:
            protected = definition.protected
            why = "the job is protected" if protected else "the job requires a capability"
            policy = health.policy
            if policy.open:
                warnings.append(warn("protected_but_open", what=why, toml=profile.folder.toml))
            elif not policy.closed and not any(rule.authoritative for rule in policy.rules):
                warnings.append(warn("no_authoritative_rule", why=f"{why}, and "))
    if owner is None:
        code = "no_owner.yet" if health.executors() else "no_owner.brief"
        warnings.append(warn(code, remedy=next_command(health, profile.name)))
    return warnings


def about_the_zone(profile: Profile, schedule: Schedule, now: datetime) -> list[ProfileWarning]:
    """Where ``TZ`` names another zone than the one in which a schedule is read that named none."""
    other = other_zone(schedule.timezone, os.environ, now)
    if other is None or not _reads_a_wall_clock(schedule, other.name, now):
        return []
    named = profile.settings().timezone
    whose = "the profile's timezone" if named == schedule.timezone else "the machine's zone"
    if named is None and schedule.timezone != profile.timezone():
        whose = "the job's zone"
    remedy = f"to read it in another zone: --tz with {other.remedy}"
    if other.name is not None:
        setting = f'timezone = "{other.name}" in {profile.folder.toml}'
        remedy = f"to read it there: --tz {other.name}, or {setting}"
    return [
        warn("tz_variable", text=other.text, zone=schedule.timezone, whose=whose, remedy=remedy)
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
    instants = set()
    for zone in ("Etc/GMT-14", "Etc/GMT+12"):
        try:
            instants.add(parse_schedule(schedule.text, now=now, timezone=zone).at)
        except InvalidInput:
            # In that zone it has passed.
            instants.add(None)
    return len(instants) > 1


def _few_fires(schedule: Schedule, now: datetime) -> list[datetime]:
    return list(islice(schedule.fires(now, now + timedelta(days=366)), 5))


def _of_command(
    profile: Profile, command: Command, owner: Process | None
) -> Iterator[ProfileWarning]:
    if command.cwd is not None and not os.path.isdir(command.cwd):
        yield warn("no_folder", path=command.cwd)
    if command.cwd is None and (home := passwd_home()) != Path(folder := job_folder(os.environ)):
        why = f"{home} cannot be entered" if home is not None else "this user has no passwd entry"
        yield warn("no_home_folder", why=why, path=folder)
    program = command.argv[0]
    if command.shell:
        return
    if "/" in program:
        path = Path(command.cwd or job_folder(os.environ), program)
        if not (path.is_file() and os.access(path, os.X_OK)):
            yield warn("no_command", path=path)
        return
    # Loading it costs a few milliseconds, which `status` need not pay.
    import shutil

    folders, whose = _search_path(profile, command, owner)
    if folders is not None and shutil.which(program, path=folders) is None:
        remedy = "give its full path, or set PATH in [env] of profile.toml or with --env"
        if " " in program:
            remedy = "it is one word: leave its quotes away, or give --shell for a line"
        yield warn("no_command.path", program=program, whose=whose, path=folders, remedy=remedy)


def _search_path(
    profile: Profile, command: Command, owner: Process | None
) -> tuple[str | None, str]:
    """The PATH in which the owner will look, and whose it is; None if unknown."""
    if "PATH" in command.env:
        return command.env["PATH"], "the job's"
    setting = profile.settings().environment().get("PATH")
    if setting is not None:
        return setting, "the profile's"
    if owner is None:
        return os.environ.get("PATH"), "this shell's"
    # Read to say 'not found' early; it is evidence of nothing.
    try:
        with open(f"/proc/{owner.pid}/environ", "rb") as file:
            variables = file.read(1 << 20).split(b"\0")
    except OSError:
        variables = []
    path = next((v[5:] for v in variables if v.startswith(b"PATH=")), None)
    return None if path is None else os.fsdecode(path), "the owner's"
