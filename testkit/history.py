"""One history that two stores live through: its clock, its authorities, and its steps.

Each step is a verb of the contract, done to both stores and compared. :meth:`History.check` says
what holds at every moment. The steps are chosen by :mod:`testkit.histories`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.errors import StaleTerm, TenureError
from tenure.domain.job import Definition, JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import Authority, OwnershipAction, OwnershipState
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities, Plan
from tenure.domain.planning.planner import plan
from tenure.domain.policy.admission import Policy, hash_of
from tenure.domain.request import RequestKind
from tenure.domain.run import ACTIVE, Run, RunState, Start
from tenure.domain.schedule.model import ScheduleKind
from tenure.store.contract import ClaimOutcome, PurgeLimits, RunFilter, Store
from testkit.accounts import account_for
from testkit.factories import (
    REQUESTER,
    ROOM,
    START,
    ended,
    make_process,
)
from testkit.pair import EVERYTHING, Pair, Side

WATCHED = frozenset({RunState.CLAIMED, RunState.RUNNING})
PROCESSES = ("gateway", "desktop", "other")


class History:
    """The state of a history, and its steps; the machine chooses among them."""

    def __init__(self, stores: list[Store]) -> None:
        self.pair = Pair(stores)
        self.now = START
        self.authorities: list[Authority] = []
        self.keys = 0
        self.thought: list[list[Plan]] = []
        self.policies = 0
        self.highest_term = 0
        self.claimed: set[tuple[int, datetime]] = set()
        self.ahead: dict[int, set[datetime]] = defaultdict(set)
        self.announced: dict[int, set[datetime]] = defaultdict(set)
        """Of foreign jobs: the fires that were taken up."""
        for number, name in enumerate(PROCESSES):
            process = make_process(name, pid=100 + number)
            self.pair.both(lambda side, p=process: side.store.join(p))  # type: ignore[misc]

    @property
    def store(self) -> Store:
        return self.pair.model.store

    def add(self, definition: Definition) -> None:
        def act(side: Side) -> Any:
            job = side.store.add_job(definition, by="ada", now=self.now)
            side.jobs.append(job.id)
            return job

        self.pair.both(act)

    def edit(self, job: int, definition: Definition, stale: bool) -> None:
        revision = self.store.job(self.pair.model.jobs[job]).revision - stale
        self.pair.both(
            lambda s: s.store.edit_job(s.jobs[job], revision, definition, by="bob", now=self.now)
        )

    def set_state(self, job: int, state: JobState) -> None:
        self.pair.both(lambda s: s.store.set_job_state(s.jobs[job], state, by="bob", now=self.now))

    def approve(self, job: int) -> None:
        revision = self.store.job(self.pair.model.jobs[job]).revision
        self.pair.both(lambda s: s.store.approve_job(s.jobs[job], revision, by="bob", now=self.now))

    def take(self, process: str, act: OwnershipAction, authoritative: bool, behind: int) -> None:
        term = self.store.ownership().term
        version = self.store.policy().version
        answer = self.pair.both(
            lambda s: s.store.take_ownership(
                process=process,
                act=act,
                expected_term=term - behind,
                new_term=term + 1,
                rule=0,
                authoritative=authoritative,
                policy_version=version,
                boot_id="boot-1",
                awake=0.0,
                now=self.now,
            )
        )
        if isinstance(answer, Authority):
            assert answer.term > self.highest_term, "a term was used again"
            self.highest_term = answer.term
            self.authorities.append(answer)

    def current(self, n: int) -> Authority:
        """An authority that is valid now: a place that is free is taken, a policy reaffirmed."""
        record = self.store.ownership()
        if record.authority is None:
            self.take(PROCESSES[n % 3], OwnershipAction.TAKE_BY_FORCE, bool(n % 2), behind=0)
        elif record.policy_version != self.store.policy().version:
            self.reaffirm(record.authority, bool(n % 2))
        return self.authorities[-1]

    def end(self, authority: Authority, act: OwnershipAction, reserved_for: str | None) -> None:
        until = self.now + timedelta(seconds=5)
        self.pair.both(
            lambda s: s.store.end_term(
                authority,
                act=act,
                why="",
                now=self.now,
                reserved_for=reserved_for,
                reserved_until=until if reserved_for else None,
            )
        )

    def accept_policy(self) -> None:
        self.policies += 1
        text = f"# {self.policies}"
        policy = Policy(text=text, hash=hash_of(text))
        self.pair.both(lambda s: s.store.accept_policy(policy, "ada", self.now))

    def reaffirm(self, authority: Authority, authoritative: bool) -> None:
        version = self.store.policy().version
        answer = self.pair.both(
            lambda s: s.store.reaffirm(
                authority,
                rule=1,
                authoritative=authoritative,
                policy_version=version,
                now=self.now,
            )
        )
        if isinstance(answer, Authority):
            self.authorities.append(answer)

    def fenced(self, authority: Authority, act: Callable[[Side], Any]) -> Any:
        """An executing write: refused, and nothing changed, unless the authority is current."""
        current = self.store.ownership().authority == authority
        current = current and authority.policy_version == self.store.policy().version
        before = None if current else [side.state(self.now) for side in self.pair.sides]
        answer = self.pair.both(act)
        assert isinstance(answer, StaleTerm) != current, f"{authority}: {answer}"
        if before is not None:
            assert before == [side.state(self.now) for side in self.pair.sides]
        return answer

    def plan(self, authority: Authority, slots: int) -> None:
        """Plan what is due, and claim it."""
        self.think(slots, self.store.ownership().authoritative)
        self.claim(authority)

    def think(self, slots: int, authoritative: bool) -> None:
        """Plan only: whatever happens before the claim, the store must notice."""
        rights = OwnerCapabilities(authoritative=authoritative)
        self.thought = []
        for side in self.pair.sides:
            places = CatchUpBudget(rate=1000, burst=1000)
            order = side.jobs.index
            due = sorted(side.store.due(self.now, ROOM), key=lambda d: order(d.job.id))
            self.thought.append([plan(d, self.now, rights, slots, places) for d in due])

    def claim(self, authority: Authority) -> None:
        """Carry out what was planned last."""
        thought = dict(zip(map(id, self.pair.sides), self.thought, strict=True))
        answer = self.fenced(
            authority, lambda s: s.store.claim(authority, thought[id(s)], self.now)
        )
        if isinstance(answer, tuple):
            for claimed in answer:
                for run in claimed.runs:
                    self._note_claim(run)

    def foreign(self) -> list[int]:
        """The jobs that may be announced."""
        jobs = [self.store.job(job) for job in self.pair.model.jobs]
        return [
            number
            for number, job in enumerate(jobs)
            if job.state is JobState.ACTIVE and job.definition.schedule.kind is ScheduleKind.FOREIGN
        ]

    def announce(
        self, authority: Authority, job: int, announced: Announced, authoritative: bool
    ) -> None:
        """A foreign scheduler says that a job is due; one that is not its own is let be."""
        rights = OwnerCapabilities(
            authoritative=authoritative or self.store.ownership().authoritative
        )
        made = {id(s): self._plan_announced(s, job, announced, rights) for s in self.pair.sides}
        if None in made.values():
            assert set(made.values()) == {None}
            return
        answer = self.fenced(
            authority,
            lambda s: s.store.claim(authority, [p for p in (made[id(s)],) if p], self.now),
        )
        if isinstance(answer, tuple):
            (claimed,) = answer
            if claimed.outcome in (ClaimOutcome.CLAIMED, ClaimOutcome.REPEATED):
                self.announced[job].add(announced.fire)
            for run in claimed.runs:
                self._note_claim(run)

    def announce_again(self, authority: Authority) -> None:
        """What was announced before the clock was set back is announced once more."""
        for job, fires in list(self.ahead.items()):
            for fire in sorted(fires):
                self.announce(authority, job, Announced(fire=fire), False)

    def _plan_announced(
        self, side: Side, job: int, announced: Announced, rights: OwnerCapabilities
    ) -> Plan | None:
        if job not in self.foreign():
            return None
        found = side.store.job(side.jobs[job])
        active, _ = side.store.runs(RunFilter(job=found.id, states=ACTIVE), EVERYTHING)
        holds, _ = side.store.omissions(job=found.id, only_open=True, page=EVERYTHING)
        due = Due(job=found, active=len(active), holds=tuple(reversed(holds)))
        return plan_announced(due, announced, rights, self.now)

    def finish_all(self) -> None:
        """Every active run ends well."""
        runs = self.store.runs(RunFilter(states=WATCHED), EVERYTHING)[0]
        for run in runs:
            self.finish(run, RunState.SUCCEEDED, None, run.attempt)

    def _note_claim(self, run: Run) -> None:
        key = (self.pair.model.jobs.index(run.job), run.fire_time)
        assert key not in self.claimed, f"{key} is claimed twice"
        assert not run.protected or self.store.ownership().authoritative
        self.claimed.add(key)

    def start(self, authority: Authority, run: Run) -> None:
        def act(side: Side) -> Any:
            start = Start(run=self._id(side, run), attempt=run.attempt, at=self.now, identity=None)
            return side.store.start(authority, [start])

        self.fenced(authority, act)

    def finish(self, run: Run, state: RunState, process: str | None, attempt: int) -> None:
        retry_at = self.now + timedelta(seconds=30) if state is RunState.RETRYING else None

        def act(side: Side) -> Any:
            changes = {"process": process or run.holder, "at": self.now, "retry_at": retry_at}
            found = side.store.run(self._id(side, run))
            result = ended(found, state, attempt=attempt, **changes)
            return side.store.finish([result], self.now)

        self.pair.both(act)

    def retry(self, authority: Authority, run: Run) -> None:
        self.fenced(authority, lambda s: s.store.claim_retry(authority, self._id(s, run), self.now))

    def adopt(self, authority: Authority, run: Run) -> None:
        self.fenced(
            authority,
            lambda s: s.store.adopt_run(authority, self._id(s, run), run.attempt, self.now),
        )

    def cancel(self, run: Run) -> None:
        self.pair.both(lambda s: s.store.request_cancel(self._id(s, run), self.now))

    def _id(self, side: Side, run: Run) -> str:
        return side.run_id(self.pair.model.jobs.index(run.job), run.fire_time)

    def ask(self, job: int | None, run: Run | None, queued: bool) -> None:
        self.keys += 1
        key = f"k{self.keys}"

        def act(side: Side) -> Any:
            return side.store.create_request(
                kind=RequestKind.TRIGGER if run is None else RequestKind.RETRY,
                key=key,
                requester=REQUESTER,
                now=self.now,
                deadline=timedelta(hours=1 if queued else 0, seconds=30),
                job=None if job is None else side.jobs[job],
                run=None if run is None else self._id(side, run),
                queued=queued,
            )

        self.pair.both(act)

    def trigger(self, authority: Authority, key: str) -> None:
        answer = self.fenced(
            authority,
            lambda s: s.store.claim_trigger(authority, s.request_id(key), self.now),
        )
        if isinstance(answer, tuple) and answer[1] is not None:
            self._note_claim(answer[1])

    def expire(self) -> None:
        self.pair.both(lambda s: s.store.expire_requests(self.now))

    def revisit(self, authority: Authority) -> None:
        self.fenced(authority, lambda s: s.store.wake_held_jobs(authority, self.now))

    def replan(self, authority: Authority) -> None:
        """The rules of time zones changed, and the owner has every job planned again."""
        self.fenced(authority, lambda s: s.store.replan(authority, s.jobs, self.now))

    def set_back(self, authority: Authority, seconds: int) -> None:
        """The clock is set back, and the owner, or a process that believes to own, notices."""
        self.now -= timedelta(seconds=seconds)
        ahead = {
            (number, run.fire_time)
            for number, job in enumerate(self.pair.model.jobs)
            if self.store.job(job).watermark > self.now
            for run in self.store.runs(RunFilter(job=job), EVERYTHING)[0]
        }
        answer = self.fenced(authority, lambda s: s.store.restart_planning(authority, self.now))
        if isinstance(answer, int):
            for number, at in ahead:
                self.ahead[number].add(at)
            for number, fires in self.announced.items():
                self.announced[number] = {at for at in fires if at <= self.now}

    def purge(self, runs_per_job: int, days: int) -> None:
        retention = PurgeLimits(runs_per_job=runs_per_job, days=days)

        def act(side: Side) -> Any:
            purged = side.store.purge(retention, self.now)
            return len(purged.runs), purged.omissions, purged.requests

        self.pair.both(act)

    def abandon(self, definition: Definition) -> None:
        """A batch that ends in an exception changes nothing."""

        def act(side: Side) -> None:
            with side.store.batch():
                side.store.add_job(definition, by="ada", now=self.now)
                raise TenureError("changed its mind")

        before = [side.state(self.now) for side in self.pair.sides]
        self.pair.both(act)
        assert before == [side.state(self.now) for side in self.pair.sides]

    def check(self) -> None:
        """What holds at every moment, and that both stores show the same."""
        self.pair.compare(self.now)
        lasting = [term.term for term in self.store.terms() if term.ended_at is None]
        record = self.store.ownership()
        assert lasting == ([record.term] if record.hold is OwnershipState.HELD else [])
        for number, job in enumerate(self.pair.model.jobs):
            account_for(self.store, job, self.ahead[number], self.announced[number])
        for omission in self.store.omissions(kind=OmissionKind.HELD, page=EVERYTHING)[0]:
            definition = self.store.definition(omission.job, omission.revision)
            assert definition.needs_authority, f"{omission} is held, and its job is not protected"
