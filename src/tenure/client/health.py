"""Is there an owner, does it live, does it work: the basis of every report and refusal.

The store says who owns, the kernel says who lives; both are read here, once, for one report. A
refusal says why there is no owner, which process should own, and what to do next (C7).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.client.foreign_jobs import is_planner
from tenure.client.presence import Present, look_at
from tenure.domain.errors import CorruptStore, NotFound, Refused
from tenure.domain.event import EventKind
from tenure.domain.job import Job, Runner
from tenure.domain.ownership import (
    HUNG_AFTER,
    Candidate,
    HolderLife,
    Ownership,
    OwnershipState,
    Unfit,
    find_successor,
    hung_for,
)
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule
from tenure.domain.process import Activity, Process, ProcessStatus
from tenure.domain.run import Run
from tenure.host.clocks import ClockChangeKind, SystemClock
from tenure.host.processes import boot_id
from tenure.runtime.members import candidates_among
from tenure.runtime.profile import Profile
from tenure.store.folder.identity import IdentityKind, IdentityProblem

_MOST_DUE = 100
_NOT_AWAKE = (ClockChangeKind.SUSPENDED, ClockChangeKind.STEP_FORWARD)
_EVENTS = 200
"""The newest events, among which a suspend is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The slots of one kind, all of them taken."""

    runner: Runner
    slots: int
    runs: tuple[Run, ...]
    """Those that hold them, the longest there first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """Due jobs that an owner at work leaves unclaimed."""

    jobs: tuple[Job, ...]
    """Those that are due, the earliest first."""
    waited: timedelta
    """For how long the first of them has been due, in awake time."""
    taken: Taken | None
    """Why, where the slots of its kind are all taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A profile's processes and its owner at one moment."""

    ownership: Ownership
    policy: Policy
    present: tuple[Present, ...]
    """Those that are not known to be dead; the owner even then."""
    owner: Present | None
    hung_for: timedelta = field(default=timedelta(0))
    start: str | None = None
    """What a person types to start the owner, as the profile's settings say."""
    able: tuple[Candidate, ...] = ()
    """The living candidates, each as far as it can take the ownership now."""
    app: str | None = None
    """The app whose code declares jobs here: a process without it is refused ownership."""
    problem: IdentityProblem | None = None
    """Why no process may own: a copy or a restored backup that is not adopted yet."""

    @property
    def owned(self) -> bool:
        """There is an owner that is not known to be dead."""
        return self.owner is not None and self.owner.life is not HolderLife.DEAD

    @property
    def hung(self) -> bool:
        return self.owned and self.hung_for >= HUNG_AFTER

    @property
    def halted(self) -> bool:
        """The owner lives and does nothing until it is let go on: stopped, or frozen."""
        return self.owner is not None and self.owner.halted

    def successor(self) -> Process | Unfit:
        """The best candidate that can take the ownership now, or why there is none."""
        best = find_successor(self.able)
        if isinstance(best, Unfit):
            return best
        return next(p.process for p in self.present if p.process.id == best.process)

    def candidates(self) -> tuple[Process, ...]:
        """Living candidates, the best rule first, of equals the longest there."""
        processes = (p.process for p in self.present)
        waiting = [p for p in processes if p.standing is ProcessStatus.CANDIDATE]
        return tuple(sorted(waiting, key=lambda p: (p.rule or 0, p.joined_at)))

    def executors(self) -> tuple[Process, ...]:
        """Every process that could execute if it were let."""
        return tuple(p.process for p in self.present if p.process.executes)


def examine(profile: Profile, now: datetime) -> Health:
    """Ask the store and the kernel. ``now`` is UTC."""
    store = profile.store
    ownership = store.ownership()
    present = tuple(look_at(profile, process) for process in store.processes())
    problem = profile.identity_problem()
    owner = None
    # Where the profile was copied or restored, the database names an owner of another folder or
    # another time.
    if problem is None and ownership.hold is OwnershipState.HELD and ownership.process:
        owner = next((p for p in present if p.process.id == ownership.process), None)
        if owner is None:  # it has left, or died and was swept
            with contextlib.suppress(NotFound):
                owner = Present(process=store.process(ownership.process), life=HolderLife.DEAD)
    if problem is not None and problem.kind is IdentityKind.ELSEWHERE:
        present = tuple(p for p in present if p.life is HolderLife.ALIVE)
    policy, awake = profile.policy(), SystemClock().awake()
    app, colon, _ = (store.find_job_without_code(None) or "").partition(":")
    return Health(
        ownership=ownership,
        policy=policy,
        present=tuple(p for p in present if p.life is not HolderLife.DEAD or p is owner),
        owner=owner,
        hung_for=timedelta(0)
        if problem
        else hung_for(ownership, store.next_due(), now=now, awake=awake, boot=boot_id()),
        start=profile.settings().start,
        app=app if colon and not is_planner(app) else None,
        able=candidates_among(
            profile,
            policy,
            [p.process for p in present if p.life is not HolderLife.DEAD],
            awake=awake,
        ),
        problem=problem,
    )


def taken_slots(profile: Profile, health: Health, runner: Runner) -> Taken | None:
    """The slots of this kind where an owner that is there has none of them free."""
    if health.owner is None or not health.owned or runner is Runner.ASYNC:
        return None
    slots = profile.settings().slots
    number = slots.commands if runner is Runner.COMMAND else slots.callables
    held = []
    for run in profile.store.runs_held_by(health.owner.process.id):
        with contextlib.suppress(NotFound, CorruptStore):
            if profile.store.definition(run.job, run.revision).runner is runner:
                held.append(run)
    if len(held) < number:
        return None
    held.sort(key=lambda run: run.started_at or run.claimed_at)
    return Taken(runner=runner, slots=number, runs=tuple(held))


def find_unclaimed(profile: Profile, health: Health, now: datetime) -> Unclaimed | None:
    """What an owner at work has left unclaimed for too long; None where it does its work, or makes
    no progress at all (then it is hung)."""
    if not health.owned or health.hung or health.halted or health.problem is not None:
        return None
    room = dict.fromkeys(Runner, _MOST_DUE)
    due = [(d.job.due_at or now, d.job) for d in profile.store.due(now - HUNG_AFTER, room)]
    due.sort(key=lambda entry: entry[0])
    progress = health.ownership.progress_at
    # An owner that has not looked since then has not left it out: the machine slept, for example.
    if not due or progress is None or progress <= due[0][0]:
        return None
    since = max(due[0][0], health.ownership.since or now)
    waited = now - since - _asleep_since(profile, since)
    if waited < HUNG_AFTER:
        return None
    jobs = tuple(job for _, job in due)
    taken = taken_slots(profile, health, jobs[0].definition.runner)
    return Unclaimed(jobs=jobs, waited=waited, taken=taken)


def _asleep_since(profile: Profile, since: datetime) -> timedelta:
    """What the machine slept, or its clock was set forward by, as the owner wrote it down."""
    after = max(0, profile.store.mark().event - _EVENTS)
    events = profile.store.events(after=after, limit=_EVENTS)
    facts = (e.facts for e in events if e.kind is EventKind.CLOCK and e.at >= since)
    passed = (f.get("seconds", 0.0) for f in facts if f.get("kind") in _NOT_AWAKE)
    return timedelta(seconds=sum(map(float, passed)))


# -- refusals --------------------------------------------------------------------------------------
def profile_option(name: str) -> str:
    """What a command needs to be about this profile."""
    return "" if name == "default" else f" --profile {name}"


def expected_owner(policy: Policy) -> str:
    """The policy in one sentence."""
    if policy.closed:
        return f"unknown: no owner rules were ever accepted, and {policy.unread}"
    if policy.open:
        return "any of your processes (the profile has no owner rules)"
    admitting = [rule.describe() for rule in policy.rules if not rule.refuse]
    if not admitting:
        return "none: every rule refuses"
    return "; ".join(admitting)


def why_no_owner(health: Health) -> str:
    """What became of the last owner, and why each process that is present does not own."""
    if health.problem is not None:
        return health.problem.text
    reasons = []
    owner = health.owner
    if owner is not None and owner.life is HolderLife.DEAD:
        reasons.append(f"the owner (pid {owner.process.pid}) is dead")
    others = [p.process for p in health.present if p is not owner and p.process.executes]
    alike: dict[tuple[str, str], list[str]] = {}
    for p in others:
        who = f"pid {p.pid} ({p.role})" if p.role else f"pid {p.pid}"
        alike.setdefault((str(p.standing), p.why), []).append(who)
    reasons += [
        f"{', '.join(names)} {_standing_of(standing, len(names))}: {why}"
        for (standing, why), names in alike.items()
    ]
    if not others:
        reasons.append("no scheduler process is running")
    return "; ".join(reasons)


def _standing_of(standing: str, number: int) -> str:
    if standing == ProcessStatus.CANDIDATE:
        return "is a candidate" if number == 1 else "are candidates"
    return f"{'is' if number == 1 else 'are'} {standing}"


def next_command(health: Health, profile: str, *, asking: bool = False) -> str:
    """The remedy; ``asking`` where a request could also be left for the owner."""
    option = profile_option(profile)
    queue = "; or pass --queue to keep it for the next owner" if asking else ""
    if health.problem is not None:
        return health.problem.remedy
    if health.policy.closed:
        return f"{health.policy.remedy}{queue}"
    if health.candidates():
        return (
            f"wait for a candidate to take over: `tenure status{option}` says why it waits{queue}"
        )
    if health.start is not None:
        return f"start it: `{health.start}`{queue}"
    best = next((rule for rule in health.policy.rules if not rule.refuse), None)
    serve = f"tenure serve{option}"
    if health.app is not None and best is None and not health.policy.rules:
        return f"start the app {health.app}, or `{serve} --app PKG.MOD:NAME` that carries it{queue}"
    if health.policy.rules and best is None:
        return f"correct the rules in profile.toml: each of them refuses{queue}"
    return f"{_start(best, serve)}{queue}"


def _start(rule: Rule | None, serve: str) -> str:
    """How to start a process that this rule admits; ``serve`` in a shell would do for few."""
    if rule is None or not set(rule.conditions()) - {"user", "host"}:
        return f"start `{serve}`"
    if rule.service is not None:
        command = _SERVICE_COMMANDS[rule.manager][0] if rule.manager else None
        start = f"start the service {rule.service}"
        return start if command is None else f"{start}: `{command.format(rule.service)}`"
    program = rule.executable or rule.ancestor
    if program is not None:
        where = "in it or under it" if rule.ancestor is None else "under it"
        return f"start {program}; `{serve}` is admitted only {where}"
    asked = " and ".join(rule.asks(key) for key in rule.conditions())
    return f"start the process that rule {rule.number} asks for: {asked}"


_SERVICE_COMMANDS: dict[Manager, tuple[str, str | None]] = {
    Manager.SYSTEMD_SYSTEM: ("systemctl start {}", "systemctl restart {}"),
    Manager.SYSTEMD_USER: ("systemctl --user start {}", "systemctl --user restart {}"),
    Manager.LAUNCHD: (
        "launchctl kickstart gui/$UID/{}",
        "launchctl kickstart -k gui/$UID/{}",
    ),
    Manager.WINDOWS: ("sc start {}", None),
}
"""What starts a service, and what restarts it; None where one command does not."""


def no_owner(health: Health, profile: str, action: str = "run it") -> Refused:
    """The refusal of an action. Facts: ``should_own`` and ``processes``."""
    return Refused(
        f"can't {action}: profile {profile!r} has no owner: {why_no_owner(health)}. "
        f"Expected owner: {expected_owner(health.policy)}",
        remedy=next_command(health, profile, asking=action != "hand over"),
        should_own=expected_owner(health.policy),
        processes=[
            {
                "id": p.process.id,
                "pid": p.process.pid,
                "standing": str(p.process.standing),
                "why": p.process.why,
            }
            for p in health.present
        ],
    )


def owner_halted(health: Health, profile: str, action: str) -> Refused:
    """The refusal of a request to an owner that is stopped or frozen. Facts as of
    :func:`no_owner`."""
    error = no_owner(health, profile, action)
    return Refused(
        f"{what_is_halted(health)}, so it answers no requests",
        remedy=f"{how_to_continue(health, profile)}; or pass --queue to keep it for the next owner",
        **error.facts,
    )


def what_is_halted(health: Health) -> str:
    """A clause that names the owner, and why it does nothing."""
    assert health.owner is not None
    frozen = health.owner.activity is Activity.FROZEN
    why = "is frozen with its cgroup" if frozen else "is stopped by a signal or a debugger"
    return f"the owner (pid {health.owner.process.pid}) {why}"


def how_to_continue(health: Health, profile: str) -> str:
    """What continues a halted owner, or puts another in its place."""
    assert health.owner is not None
    pid = health.owner.process.pid
    option = profile_option(profile)
    remedy = f"`kill -CONT {pid}` continues it"
    if health.owner.activity is Activity.FROZEN:
        remedy = "unpause its container, or thaw its cgroup"
    if health.candidates():
        return f"{remedy}; `tenure owner take{option}` gives the ownership to the best candidate"
    return remedy


def how_to_restart(health: Health) -> str:
    """What ends the owner and starts it again."""
    assert health.owner is not None
    process = health.owner.process
    service = process.evidence.service
    # A manager cannot start a scope again: others started the processes in it.
    if service is not None and not service.name.endswith(".scope"):
        _, command = _SERVICE_COMMANDS[service.manager]
        if command is not None:
            return f"restart its service: `{command.format(service.name)}`"
    again = "start it again" if health.start is None else f"start it again: `{health.start}`"
    return f"restart it: `kill {process.pid}`, and {again}"
