"""A profile in which processes are made by store verbs, and what a command printed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from commands import Answer
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.planning.plan import Fire, Plan
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import Cause, Result, Run, RunState, Start
from tenure.host.clocks import SystemClock
from tenure.host.live import LiveLock
from tenure.host.processes import boot_id, observe
from tenure.runtime.profile import Profile
from testkit.factories import take

Tenure = Callable[..., Answer]


class World:
    """A profile, and processes that joined it: all of them this one, under several ids."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.store = profile.store
        self.locks: dict[str, LiveLock] = {}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def join(
        self,
        id: str = "p-gateway",
        *,
        standing: ProcessStatus = ProcessStatus.CANDIDATE,
        executes: bool = True,
        why: str = "rule 1 admits it",
        socket: str | None = None,
        rule: int | None = None,
        lock: bool = True,
        age: float = 0,
    ) -> Process:
        evidence = observe()
        if lock:
            self.locks[id] = LiveLock.hold(self.profile.folder.live, id, evidence.identity)
        process = Process(
            id=id, evidence=evidence, joined_at=self.now() - timedelta(seconds=age),
            executes=executes, standing=standing, why=why, role="gateway", socket=socket, rule=rule,
        )  # fmt: skip
        self.store.join(process)
        return process

    def own(
        self,
        process: str,
        *,
        authoritative: bool = False,
        rule: int | None = None,
        awake: float = 0,
    ) -> Authority:
        """Make it the owner; ``awake``: so long ago, by the awake clock, it last made progress."""
        authority = take(
            self.store, process, act=OwnershipAction.TAKE, new_term=self.store.facts().term + 1,
            rule=rule, authoritative=authoritative, boot_id=boot_id(),
            awake=SystemClock().awake() - awake, now=self.now(), why="a test",
        )  # fmt: skip
        self.store.set_standing(process, ProcessStatus.OWNER, "rule 1 admits it", rule, self.now())
        return authority

    def owner(self, id: str = "p-gateway", **how: Any) -> Authority:
        self.join(id)
        return self.own(id, **how)

    def take_from_dead(self, process: str) -> None:
        """As a process that found the owner dead, by no rule."""
        take(
            self.store, process, act=OwnershipAction.TAKE_FROM_DEAD,
            rule=None, authoritative=False, now=self.now(),
        )  # fmt: skip

    def die(self, id: str) -> None:
        """As after kill -9: the lock is free, its file is still there."""
        self.locks.pop(id).drop()

    def run_of(
        self, authority: Authority, ref: str, *, end: RunState | None = RunState.SUCCEEDED,
        exit_code: int | None = 0, reason: str = "", output: str | None = None,
    ) -> Run:  # fmt: skip
        """A run of a job that is due: claimed, started, and ended if ``end`` says how."""
        job = self.store.job(ref)
        fire = job.definition.schedule.next_after(job.watermark)
        assert fire is not None
        plan = Plan(
            job=job.id, revision=job.revision, was=job.watermark, watermark=fire, due_at=None,
            claims=(Fire(at=fire, cause=Cause.SCHEDULE),),
        )  # fmt: skip
        (claimed,) = self.store.claim(authority, [plan], self.now())
        (run,) = claimed.runs
        start = Start(run=run.id, attempt=1, at=self.now(), identity=observe().identity)
        assert self.store.start(authority, [start]) == (True,)
        if output is not None:
            folder = self.profile.folder.logs / run.id
            folder.mkdir(parents=True)
            (folder / "1.log").write_text(output)
        if end is not None:
            result = Result(
                run=run.id, attempt=1, process=authority.process, state=end, at=self.now(),
                exit_code=exit_code, reason=reason,
            )  # fmt: skip
            self.store.finish([result], self.now())
        return self.store.run(run.id)


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)
