"""What a person should be told about a profile, on every surface.

Codes are stable:

``no_owner``, ``owner_dead``, ``owner_unverifiable``, ``owner_stopped``, ``hung``,
``store_blocked``: no process works.
``due_unclaimed``: the owner works, and leaves a due fire unclaimed: its slots are all taken, say.
``open_policy_many_executors``: several may execute, and no rule tells them apart (C9).
``protected_but_open``, ``protected_without_authority``, ``held_fires``: protected jobs wait (C8).
``launcher_ended``: a process that a rule names in an executor's chain has ended (C8).
``unattested_owner``: the authoritative owner is so by its own user's word only.
``read_only``: the store cannot be written from here.
``identity_problem``: the folder is a copy, or a backup was restored.
``policy_file_problem`` and the codes of :mod:`tenure.domain.policy.warnings`: profile.toml.
``policy_not_accepted``: profile.toml says something else than the rules in force.
``refused_executor``: a process wants to execute and is refused.
``foreign``: a scheduler that does not speak Tenure.
``record_unreadable``: commands have ended, and how cannot be read (C6).
``unreadable_job``: a job cannot be read here, so none of its fires runs.
``due_unstarted``, ``queued_requests``: fires are due, requests wait, and nobody owns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tenure.client.advice import Warning
from tenure.client.health import Health, Taken, find_unclaimed
from tenure.client.refusal import (
    how_to_go_on,
    what_is_halted,
    what_to_type,
    who_should_own,
    why_nobody_owns,
)
from tenure.domain.durations import format_duration
from tenure.domain.job import Runner, remedy_for_unreadable, why_unreadable
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.admission import Policy, admit
from tenure.domain.policy.change import Accept, PolicyFile, PolicyProblem, reconcile_policy
from tenure.domain.policy.conditions import ended_links
from tenure.domain.policy.warnings import policy_warnings
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import RunState
from tenure.host.write_lock import write_lock_holder
from tenure.runtime.profile import Profile
from tenure.store.contract import Counts, RunFilter
from tenure.store.sqlite.failures import why_unwritable

_LOOKS = (0.002, 0.003, 0.005, 0.01, 0.03, *[0.05] * 9)
"""Half a second in all; the first ones soon, since a busy owner's commit takes milliseconds."""
JUST_DUE = timedelta(seconds=5)
"""A candidate that takes over starts it."""
_NAMED = 3
JUST_JOINED = timedelta(seconds=5)
"""A process that has just joined has not been judged yet."""


def find_warnings(
    profile: Profile,
    health: Health,
    counts: Counts,
    foreign: Sequence[Process],
    now: datetime,
) -> Iterator[Warning]:
    """The warnings, the gravest first."""
    yield from _identity(health)
    yield from _read_only(profile)
    yield from _owner(profile, health, counts)
    yield from _unclaimed(profile, health, now)
    yield from _waiting(profile, health, counts, now)
    yield from _unreadable_jobs(profile)
    yield from _blocked(profile, health)
    yield from _unreadable(profile)
    yield from _several(health, now)
    yield from _protected(profile, health, counts)
    yield from _launchers(health)
    yield from _unattested(profile, health)
    yield from _policy_file(profile, health)
    yield from _foreign(foreign, health)


def _identity(health: Health) -> Iterator[Warning]:
    problem = health.problem
    if problem is not None:
        yield Warning(code="identity_problem", text=problem.text, remedy=problem.remedy)


def _read_only(profile: Profile) -> Iterator[Warning]:
    found = why_unwritable(profile.folder.database)
    if found is not None:
        text = f"{profile.folder.database} cannot be written: {found[0]}"
        yield Warning(
            code="read_only", text=f"{text}; no job runs and none changes", remedy=found[1]
        )


def _owner(profile: Profile, health: Health, counts: Counts) -> Iterator[Warning]:
    owner = health.owner
    if health.problem is not None:
        pass  # said already
    elif owner is None:
        waiting = sum(n for s, n in counts.jobs.items() if s == "active")
        if waiting or counts.pending_requests or health.present:
            yield Warning(
                code="no_owner",
                text=f"nobody owns the profile: {why_nobody_owns(health)}. "
                f"Who should: {who_should_own(health.policy)}",
                remedy=what_to_type(health, profile.name),
            )
    elif owner.life is HolderLife.DEAD:
        yield Warning(
            code="owner_dead",
            text=f"the owner (pid {owner.process.pid}, term {health.ownership.term}) is dead, "
            f"and nobody has taken over: {why_nobody_owns(health)}",
            remedy=what_to_type(health, profile.name),
        )
    elif owner.life is HolderLife.UNVERIFIABLE:
        yield Warning(
            code="owner_unverifiable",
            text=f"whether the owner (pid {owner.process.pid}) lives cannot be verified from here",
            remedy=f"`tenure owner take --force{_named(profile)}`, if you know that it does not",
        )
    else:
        if health.halted:
            yield owner_stopped(profile, health)
        yield from _hung(profile, health)


def _hung(profile: Profile, health: Health) -> Iterator[Warning]:
    if health.hung and health.owner is not None:
        pid = health.owner.process.pid
        yield Warning(
            code="hung",
            text=f"the owner (pid {pid}) has left a due fire unclaimed for "
            f"{format_duration(health.hung_for)}",
            remedy=f"`tenure owner take{_named(profile)}` gives the ownership to the best "
            "candidate",
        )


def owner_stopped(profile: Profile, health: Health) -> Warning:
    """Of an owner that is stopped, or frozen with its cgroup."""
    assert health.owner is not None
    return Warning(
        code="owner_stopped",
        text=f"{what_is_halted(health)}; it starts nothing and answers nothing",
        remedy=how_to_go_on(health, profile.name),
    )


def find_liveness_warnings(profile: Profile, health: Health, now: datetime) -> Iterator[Warning]:
    """An owner that does not do its work: for interfaces that list jobs, and say no more."""
    if health.problem is not None or not health.owned or health.owner is None:
        return
    if health.owner.life is HolderLife.ALIVE and (health.halted or health.hung):
        yield from _owner(profile, health, Counts())
    yield from _unclaimed(profile, health, now)


def _unclaimed(profile: Profile, health: Health, now: datetime) -> Iterator[Warning]:
    found = find_unclaimed(profile, health, now)
    if found is None:
        return
    first, more = found.jobs[0], len(found.jobs) - 1
    also = f" ({more} more {'is' if more == 1 else 'are'} due)" if more else ""
    text = f"the fire of {first.name} has been due for {_whole(found.waited)}{also}"
    if found.taken is None:
        yield Warning(
            code="due_unclaimed",
            text=f"{text}, and the owner, which makes progress, has not claimed it",
            remedy=f"`tenure explain {first.name}{_named(profile)}` says for what it waits",
        )
        return
    yield Warning(
        code="due_unclaimed",
        text=f"{text}, and waits for a slot: {slots_taken(found.taken, now)}",
        remedy=free_a_slot(found.taken, profile),
    )


def slots_taken(taken: Taken, now: datetime) -> str:
    """How many slots there are, and which runs hold them for how long, as a clause."""
    kind = "commands" if taken.runner is Runner.COMMAND else "callables"
    runs = [
        f"{run.job_name} (run {run.id}, for {_whole(now - (run.started_at or run.claimed_at))})"
        for run in taken.runs[:_NAMED]
    ]
    more = len(taken.runs) - _NAMED
    held = ", ".join(runs) + (f" and {more} more" if more > 0 else "")
    if taken.slots == 1:
        return f"the only slot for {kind} is taken by {held}"
    return f"all {taken.slots} slots for {kind} are taken by {held}"


def free_a_slot(taken: Taken, profile: Profile) -> str:
    """What to do about slots that are all taken."""
    key = "commands" if taken.runner is Runner.COMMAND else "callables"
    cancel = f"`tenure cancel {taken.runs[0].id}{_named(profile)}` ends one; " if taken.runs else ""
    return (
        f"{cancel}give the jobs that hold them a --timeout, or raise {key} under [slots] in "
        f"{profile.folder.toml} and restart the owner"
    )


def _whole(span: timedelta) -> str:
    return format_duration(timedelta(seconds=max(0, int(span.total_seconds()))))


def _waiting(profile: Profile, health: Health, counts: Counts, now: datetime) -> Iterator[Warning]:
    """What nobody does while nobody owns."""
    if health.owned:
        return
    room = dict.fromkeys(Runner, 100)
    due = [one.job for one in profile.store.due(now - JUST_DUE, room) if one.job.damage is None]
    since = due[0].due_at if due else None
    if since is not None and health.problem is None:
        for_long = format_duration(timedelta(seconds=int((now - since).total_seconds())))
        names = ", ".join(job.name for job in due[:_NAMED])
        more = f" and {len(due) - _NAMED} more" if len(due) > _NAMED else ""
        one = len(due) == 1
        yield Warning(
            code="due_unstarted",
            text=f"{len(due)} {'job is' if one else 'jobs are'} due, and nobody starts "
            f"{'it' if one else 'them'}, the first for {for_long}: {names}{more}",
            remedy=f"with an owner {'it runs or is' if one else 'they run or are'} told of as "
            f"missed, as each catch-up rule says; `tenure explain {due[0].name}"
            f"{_named(profile)}` says more",
        )
    if counts.pending_requests:
        one = counts.pending_requests == 1
        yield Warning(
            code="queued_requests",
            text="1 request waits for an owner"
            if one
            else f"{counts.pending_requests} requests wait for an owner",
            remedy=f"`tenure requests list{_named(profile)}` shows {'it' if one else 'them'}",
        )


def _unreadable_jobs(profile: Profile) -> Iterator[Warning]:
    found = profile.store.unreadable_jobs()
    for job in found[:_NAMED]:
        yield Warning(
            code="unreadable_job",
            text=f"{why_unreadable(job)}; none of its fires runs until it is mended",
            remedy=remedy_for_unreadable(job, _named(profile)),
        )
    if len(found) > _NAMED:
        yield Warning(
            code="unreadable_job",
            text=f"{len(found) - _NAMED} more jobs cannot be read",
            remedy=f"`tenure list{_named(profile)}` shows which",
        )


def _blocked(profile: Profile, health: Health) -> Iterator[Warning]:
    holder = write_lock_holder(profile.folder.database)
    if holder is None or not (health.hung or _still_held(profile, holder)):
        return
    is_owner = health.owner is not None and holder == health.owner.process.pid
    yield Warning(
        code="store_blocked",
        text=f"pid {holder}{' (the owner)' if is_owner else ''} holds the store's write lock "
        "and does not let go",
        remedy=f"`tenure owner take --kill{_named(profile)}`"
        if is_owner
        else f"continue or end pid {holder}: it blocks everybody",
    )


def _unreadable(profile: Profile) -> Iterator[Warning]:
    """Active runs that their holder has noted something about."""
    running = RunFilter(states=frozenset({RunState.RUNNING}))
    noted = [run for run in profile.store.runs(running)[0] if run.reason]
    if noted:
        run = noted[0]
        more = f" ({len(noted) - 1} more alike)" if len(noted) > 1 else ""
        yield Warning(
            code="record_unreadable",
            text=f"run {run.id} of {run.job_name}: {run.reason}{more}",
            remedy="mend what the reason names; the run then ends with its true result. "
            f"`tenure cancel {run.id}{_named(profile)}` gives it up",
        )


def _still_held(profile: Profile, holder: int) -> bool:
    """A lock held by one process for half a second is not a transaction of ours."""
    import time

    for pause in _LOOKS:
        time.sleep(pause)
        if write_lock_holder(profile.folder.database) != holder:
            return False
    return True


def _named(profile: Profile) -> str:
    return _option(profile.name)


def _option(profile: str) -> str:
    """What a command needs to be about this profile."""
    return "" if profile == "default" else f" --profile {profile}"


def _several(health: Health, now: datetime) -> Iterator[Warning]:
    executors = health.executors()
    if health.policy.open and len(executors) > 1:
        pids = ", ".join(str(p.pid) for p in executors)
        yield Warning(
            code="open_policy_many_executors",
            text=f"{len(executors)} processes can execute (pids {pids}), and no rule says which "
            "of them should: whoever comes first owns, and nobody is authoritative",
            remedy="name the owner in profile.toml: an [[owner]] rule; `tenure whoami` shows "
            "what a process can be known by",
        )
    alike: dict[str, list[str]] = {}
    for process in executors:
        refused = (
            process.standing is ProcessStatus.REFUSED and now - process.joined_at > JUST_JOINED
        )
        if refused and not _sibling(process, health):
            alike.setdefault(process.why, []).append(str(process.pid))
    for why, pids_alike in alike.items():
        wants = "wants" if len(pids_alike) == 1 else "each want"
        yield Warning(
            code="refused_executor",
            text=f"pid {', '.join(pids_alike)} {wants} to execute and "
            f"{'is' if len(pids_alike) == 1 else 'are'} refused: {why}",
            remedy="stop it, start it as an observer, or admit it by a rule",
        )


def _sibling(process: Process, health: Health) -> bool:
    """A process of the very app whose authoritative owner is at work: every process of it would
    execute if it were let, and that one of them does is what the rules are for."""
    owner = health.owner.process if health.owned and health.owner is not None else None
    return (
        owner is not None
        and health.ownership.authoritative
        and process.app is not None
        and process.app == owner.app
    )


def start_who_may(policy: Policy) -> str:
    """Only who would be authoritative is worth starting."""
    if policy.closed:
        return policy.remedy
    rules = [r.describe() for r in policy.rules if r.authoritative and not r.refuse]
    if not rules:
        return "write authoritative = true in the rule of the process that may run them"
    return f"start the process that should own: {'; '.join(rules)}"


def _protected_jobs(counts: Counts) -> str:
    return (
        "1 job is protected" if counts.protected == 1 else f"{counts.protected} jobs are protected"
    )


def _protected(profile: Profile, health: Health, counts: Counts) -> Iterator[Warning]:
    if counts.protected and health.policy.open:
        yield Warning(
            code="protected_but_open",
            text=f"{_protected_jobs(counts)}, and the profile names no authoritative "
            "owner: their fires are held",
            remedy=f"write an [[owner]] rule in {profile.folder.toml}",
        )
    elif counts.protected and health.owned and not health.ownership.authoritative:
        yield Warning(
            code="protected_without_authority",
            text=f"{_protected_jobs(counts)}, and the owner is not authoritative: "
            "their fires are held",
            remedy=start_who_may(health.policy),
        )
    if counts.open_holds:
        yield Warning(
            code="held_fires",
            text="1 stretch of fires is held for an authoritative owner"
            if counts.open_holds == 1
            else f"{counts.open_holds} stretches of fires are held for an authoritative owner",
            remedy=f"`tenure runs --all{_named(profile)}` lists them, "
            f"`tenure explain JOB{_named(profile)}` says why",
        )


def _launchers(health: Health) -> Iterator[Warning]:
    """Processes that a rule admitted by a launcher, which has ended since."""
    for process in health.executors():
        for rule in health.policy.rules:
            paths = (*rule.executable_paths, *rule.ancestor_paths)
            for link in [] if rule.refuse else ended_links(paths, process.evidence)[:1]:
                owns = process.standing is ProcessStatus.OWNER
                yield Warning(
                    code="launcher_ended",
                    text=f"pid {process.pid}{' (the owner)' if owns else ''} was started under "
                    f"{link.executable} (pid {link.pid}), which rule {rule.number} names and which "
                    "has ended: that rule admits it no longer, and it runs no protected jobs by it",
                    remedy=f"stop pid {process.pid}, and start it again under {link.executable}",
                )


def _unattested(profile: Profile, health: Health) -> Iterator[Warning]:
    owner = health.owner
    if owner is None or not health.owned or not health.ownership.authoritative:
        return
    uid = profile.folder.path.stat().st_uid
    process = owner.process
    found = admit(health.policy, process.evidence, role=process.role, me_uid=uid)
    if found.admitted and not found.attested:
        yield Warning(
            code="unattested_owner",
            text=f"the owner is authoritative, but any process of the user could be: {found.why}",
            remedy="name a service or an executable in the rule, if there is one",
        )


def _policy_file(profile: Profile, health: Health) -> Iterator[Warning]:
    for warning in policy_warnings_of(profile, health.policy):
        # Of an owner that is there the same is said with its own evidence.
        if warning.code != "unattested_authority" or not health.owned:
            yield warning


def policy_warnings_of(profile: Profile, accepted: Policy) -> list[Warning]:
    """What is wrong with profile.toml, not accepted from it, or doubtful in the rules in force."""
    return list(warnings_of_policy(profile.policy_file(), accepted, profile.name))


def warnings_of_policy(
    found: PolicyFile | PolicyProblem, policy: Policy, profile: str
) -> Iterator[Warning]:
    """The same, of a file that was read. ``policy`` is the one in force; ``profile`` a name."""
    change = reconcile_policy(policy if policy.version else None, found)
    if isinstance(change, Accept):
        yield Warning(
            code="policy_not_accepted",
            text="profile.toml has other owner rules than those in force",
            remedy="a scheduler process accepts them when it looks; "
            f"`tenure owner policy --accept{_option(profile)}` does it now",
        )
    elif change.warning is not None:
        code = "policy_file_problem" if isinstance(found, PolicyProblem) else change.warning.code
        yield Warning(code=code, text=change.warning.text, remedy=change.warning.remedy)
    for warning in policy_warnings(policy):
        yield Warning(code=warning.code, text=warning.text, remedy=warning.remedy)


def _foreign(foreign: Sequence[Process], health: Health) -> Iterator[Warning]:
    joined = [p.process for p in health.present if p.process.standing is ProcessStatus.FOREIGN]
    for process in [*foreign, *joined]:
        yield Warning(
            code="foreign",
            text=f"pid {process.pid} is a scheduler that does not speak Tenure: {process.why}",
            remedy="stop it, or have it delegate to the owner",
        )
