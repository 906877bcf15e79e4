"""A profile's eventful day, told to any store through its own verbs, and what audit reads of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.domain.job import CatchUp, Command, Definition, JobState, Overlap, Runner
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity
from tenure.domain.policy.rule import Rule
from tenure.domain.policy.text import make_policy
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Request, Requester, RequestKind, RequestState
from tenure.domain.run import Result, Run, RunState, Start
from tenure.domain.schedule.model import at_schedule, cron_schedule, every_schedule
from tenure.store.contract import RunFilter, Store
from testkit.factories import take

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROOM = dict.fromkeys(Runner, 8)
GATEWAY, DESKTOP = "/opt/gateway", "/opt/desktop"


def rules(*, fallback: bool = True) -> tuple[Rule, ...]:
    first = Rule(rank=0, authoritative=True, executable=GATEWAY, executable_paths=(GATEWAY,))
    second = Rule(rank=1, executable=DESKTOP, executable_paths=(DESKTOP,))
    return (first, second) if fallback else (first,)


def process(name: str, executable: str, at: datetime, **facts: Any) -> Process:
    pid = 100 + sum(map(ord, name))
    evidence = Evidence(
        identity=Identity(boot_id="boot", pid=pid, start=7),
        observed_at=at,
        uid=1000,
        user="alice",
        executable=executable,
        chain=(
            ChainLink(pid=pid, executable=executable),
            ChainLink(pid=1, executable="/sbin/init"),
        ),
    )
    values: dict[str, Any] = {"executes": True, "standing": ProcessStatus.CANDIDATE, "why": "-"}
    return Process(id=name, evidence=evidence, joined_at=at, **{**values, **facts})


def definition(name: str, schedule: Any, **more: Any) -> Definition:
    return Definition(name=name, schedule=schedule, action=Command(argv=("true",)), **more)


class Story:
    """Moves one store through time. Every claim goes through the real planner."""

    def __init__(self, store: Store, now: datetime = START) -> None:
        self.store, self.now = store, now
        self.authority: Authority | None = None
        self.authoritative = False
        self.outcomes: dict[str, RunState] = {}
        """What becomes of runs of a job, by name; success by default."""
        self.budget = CatchUpBudget()
        self.keys = 0

    def join(self, name: str, executable: str, **facts: Any) -> None:
        self.store.join(process(name, executable, self.now, **facts))

    def take(
        self, name: str, rule: int | None, act: OwnershipAction = OwnershipAction.TAKE
    ) -> None:
        self.authoritative = rule == 0
        self.authority = take(
            self.store,
            name,
            act=act,
            rule=rule,
            authoritative=self.authoritative,
            boot_id="boot",
            awake=1.0,
            now=self.now,
        )

    def hand_over(self) -> None:
        assert self.authority is not None
        self.store.end_term(
            self.authority, act=OwnershipAction.HAND_OVER, why="better", now=self.now
        )
        self.authority = None

    def pass_time(self, minutes: int, step: timedelta = MINUTE) -> None:
        for _ in range(minutes):
            self.now += step
            if self.authority is not None:
                self.work()

    def work(self) -> None:
        """What a dispatcher does in one round, and its runs end at once."""
        assert self.authority is not None
        standing = OwnerCapabilities(authoritative=self.authoritative)
        due = self.store.due(self.now, ROOM)
        plans = [plan(d, self.now, standing, 4, self.budget) for d in due]
        runs = [r for c in self.store.claim(self.authority, plans, self.now) for r in c.runs]
        for run in self.store.due_retries(self.now, ROOM):
            runs += self.store.claim_retry(self.authority, run.id, self.now).runs
        for run in runs:
            self.run(run)
        self.store.record_progress(self.authority, 1.0, self.now)

    def run(self, run: Run) -> None:
        assert self.authority is not None
        state = self.outcomes.get(run.job_name, RunState.SUCCEEDED)
        if state is RunState.CLAIMED:
            return
        if state is not RunState.NEVER_RAN:
            identity = Identity(boot_id="boot", pid=4242, start=9)
            at = self.now + timedelta(milliseconds=5)
            start = Start(run=run.id, attempt=run.attempt, at=at, identity=identity)
            self.store.start(self.authority, [start])
        if state is RunState.RUNNING:
            return
        allowed = self.store.definition(run.job, run.revision).retries
        if state is RunState.RETRYING and run.attempt > allowed:
            state = RunState.FAILED
        self.finish(run, state)

    def finish(self, run: Run, state: RunState) -> None:
        at = self.now + timedelta(milliseconds=20)
        codes = {RunState.SUCCEEDED: 0, RunState.FAILED: 3, RunState.RETRYING: 3}
        result = Result(
            run=run.id,
            attempt=run.attempt,
            process=self.store.run(run.id).holder,
            state=state,
            at=at,
            exit_code=codes.get(state),
            retry_at=at + timedelta(seconds=10) if state is RunState.RETRYING else None,
        )
        self.store.finish([result], at)

    def ask(self, kind: RequestKind, **about: Any) -> Request:
        self.keys += 1
        return self.store.create_request(
            kind=kind,
            key=f"key-{self.keys}",
            requester=Requester(pid=7, uid=1000),
            now=self.now,
            deadline=timedelta(seconds=30),
            **about,
        )

    def trigger(self, job: str, after: timedelta = timedelta(seconds=1)) -> Request:
        request = self.ask(RequestKind.TRIGGER, job=job)
        self.now += after
        if self.authority is not None:
            request, run = self.store.claim_trigger(self.authority, request.id, self.now)
            if run is not None:
                self.run(run)
        return self.store.request(request.id)


def eventful_day(store: Store) -> Story:
    """Owners come and go, jobs are edited, paused and removed, runs fail, are lost, are held."""
    story = Story(store)
    add = store.add_job
    by = {"by": "alice"}
    store.accept_policy(make_policy(rules(), version=1), "alice", story.now)
    story.join("gw1", GATEWAY)
    story.join("desk", DESKTOP)
    story.join("eye", "/usr/bin/dash", executes=False, standing=ProcessStatus.OBSERVER)
    add(definition("backup", cron_schedule("*/5 * * * *"), protected=True), now=story.now, **by)
    poll = add(
        definition("poll", every_schedule(MINUTE, START), overlap=Overlap.ALLOW),
        now=story.now,
        **by,
    )
    report = add(definition("report", cron_schedule("*/10 * * * *")), now=story.now, **by)
    every = every_schedule(timedelta(minutes=3), START)
    add(definition("flaky", every, retries=1), now=story.now, **by)
    add(definition("frail", cron_schedule("*/15 * * * *")), now=story.now, **by)
    wide = definition("wide", cron_schedule("*/4 * * * *"), catch_up=CatchUp.ALL)
    add(replace(wide, requires=("disk",)), now=story.now, **by)
    add(definition("once", at_schedule(START + 7 * MINUTE)), now=story.now, **by)
    doomed = add(definition("doomed", cron_schedule("*/2 * * * *")), now=story.now, **by)
    story.outcomes = {"flaky": RunState.RETRYING, "frail": RunState.LOST}
    story.take("gw1", 0)
    story.pass_time(21)
    assert story.trigger("report").state is RequestState.DONE
    store.set_job_state(report.id, JobState.PAUSED, by="alice", now=story.now)
    assert story.trigger("report").state is RequestState.REFUSED
    # The gateway dies; the fallback owns, and protected fires are held.
    store.leave("gw1", story.now, died=True, why="killed")
    story.take("desk", 1, OwnershipAction.TAKE_FROM_DEAD)
    story.pass_time(18)
    lost = next(r for r in store.runs(RunFilter())[0] if r.state is RunState.LOST)
    story.finish(lost, RunState.SUCCEEDED)
    assert store.run(lost.id).late is not None
    changed = definition("poll", every_schedule(2 * MINUTE, START), overlap=Overlap.ALLOW)
    store.edit_job(poll.id, 1, changed, by="bob", now=story.now + timedelta(seconds=30))
    story.pass_time(6)
    store.set_job_state(report.id, JobState.ACTIVE, by="alice", now=story.now)
    store.set_job_state(doomed.id, JobState.REMOVED, by="alice", now=story.now)
    # The gateway is back, and a newer policy knows it alone.
    story.join("gw2", GATEWAY)
    story.hand_over()
    story.take("gw2", 0)
    story.pass_time(14)
    story.authority = store.reaffirm(
        store_authority(story),
        rule=0,
        authoritative=True,
        policy_version=store.accept_policy(
            make_policy(rules(fallback=False), version=2), "alice", story.now
        ).version,
        now=story.now,
    )
    story.pass_time(3)
    # Nobody owns for two hours; a request expires.
    story.hand_over()
    late = story.trigger("report")
    story.pass_time(120)
    store.expire_requests(story.now)
    assert store.request(late.id).state is RequestState.EXPIRED
    story.take("gw2", 0)
    story.pass_time(12)
    return story


def store_authority(story: Story) -> Authority:
    assert story.authority is not None
    return story.authority
