"""Random histories, lived through by two stores at once.

:func:`make_machine` gives a hypothesis state machine: each rule is a verb of the contract, done
to both stores and compared; after each rule the whole observable state is compared, and checked
by itself: one owner, growing terms, no fire claimed twice, every fire accounted for, nothing
changed by a stale authority. Needs hypothesis, which is imported on use::

    TestMyStore = make_machine(lambda: MyStore(...)).TestCase
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.errors import StaleTerm, TenureError
from tenure.domain.job import CatchUp, Definition, Overlap, State
from tenure.domain.omission import Omitted
from tenure.domain.ownership import Act, Authority, Hold
from tenure.domain.planner import CatchUpBudget, Plan, plan
from tenure.domain.planner import Standing as OwnerStanding
from tenure.domain.policy import Policy, hash_of
from tenure.domain.request import Ask, RequestState
from tenure.domain.run import Run, RunState, Start
from tenure.store.contract import Retention, RunFilter, Store
from tenure.store.memory import MemoryStore
from tenure.testing.accounts import account_for
from tenure.testing.making import (
    ROOM,
    SOMEBODY,
    START,
    after,
    cron,
    each,
    ended,
    make_definition,
    make_process,
    once,
)
from tenure.testing.pair import EVERYTHING, Pair, Side

PROCESSES = ("gateway", "desktop", "other")


class History:
    """The state of a history, and its steps; the machine chooses among them."""

    def __init__(self, stores: list[Store]) -> None:
        self.pair = Pair(stores)
        self.now = START
        self.authorities: list[Authority] = []
        self.keys = 0
        self.policies = 0
        self.highest_term = 0
        self.claimed: set[tuple[int, datetime]] = set()
        self.ahead: dict[int, set[datetime]] = defaultdict(set)
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

    def set_state(self, job: int, state: State) -> None:
        self.pair.both(lambda s: s.store.set_job_state(s.jobs[job], state, by="bob", now=self.now))

    def approve(self, job: int) -> None:
        revision = self.store.job(self.pair.model.jobs[job]).revision
        self.pair.both(lambda s: s.store.approve_job(s.jobs[job], revision, by="bob", now=self.now))

    def take(self, process: str, act: Act, authoritative: bool, behind: int) -> None:
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

    def end(self, authority: Authority, act: Act, reserved_for: str | None) -> None:
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
        rights = OwnerStanding(authoritative=self.store.ownership().authoritative)

        def act(side: Side) -> Any:
            places = CatchUpBudget(rate=1000, burst=1000)
            plans: list[Plan] = [
                plan(due, self.now, rights, slots, places) for due in side.store.due(self.now, ROOM)
            ]
            plans.sort(key=lambda p: side.jobs.index(p.job))
            return side.store.claim(authority, plans, self.now)

        answer = self.fenced(authority, act)
        if isinstance(answer, tuple):
            for claimed in answer:
                for run in claimed.runs:
                    self._note_claim(run)

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
        self.pair.both(lambda s: s.store.ask_cancel(self._id(s, run), self.now))

    def _id(self, side: Side, run: Run) -> str:
        return side.run_id(self.pair.model.jobs.index(run.job), run.fire_time)

    def ask(self, job: int | None, run: Run | None, queued: bool) -> None:
        self.keys += 1
        key = f"k{self.keys}"

        def act(side: Side) -> Any:
            return side.store.ask(
                kind=Ask.TRIGGER if run is None else Ask.RETRY,
                key=key,
                requester=SOMEBODY,
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
        self.fenced(authority, lambda s: s.store.revisit_held(authority, self.now))

    def set_back(self, authority: Authority, seconds: int) -> None:
        """The clock is set back, and the owner, or whoever believes to be it, notices."""
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

    def purge(self, runs_per_job: int, days: int) -> None:
        retention = Retention(runs_per_job=runs_per_job, days=days)

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
        assert lasting == ([record.term] if record.hold is Hold.HELD else [])
        for number, job in enumerate(self.pair.model.jobs):
            account_for(self.store, job, self.ahead[number])
        for omission in self.store.omissions(kind=Omitted.HELD, page=EVERYTHING)[0]:
            definition = self.store.definition(omission.job, omission.revision)
            assert definition.needs_authority, f"{omission} is held, and its job is not protected"


def make_machine(make_store: Callable[[], Store]) -> Any:
    """A RuleBasedStateMachine class: ``make_store``'s stores beside the reference model."""
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

    number = st.integers(0, 1000)
    definitions = st.builds(
        make_definition,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(
            [each(minutes=1), each(minutes=7), cron("*/10 * * * *"), once(after(minutes=20))]
        ),
        protected=st.booleans(),
        overlap=st.sampled_from(list(Overlap)),
        catch_up=st.sampled_from([None, *CatchUp]),
        grace=st.sampled_from([timedelta(seconds=20), timedelta(minutes=5)]),
        window=st.sampled_from([None, timedelta(minutes=15)]),
    )
    job_exists = precondition(lambda self: self.history.pair.model.jobs)
    was_owned = precondition(lambda self: self.history.authorities)
    has_runs = precondition(lambda self: self.history.store.runs(RunFilter())[0])

    class Machine(RuleBasedStateMachine):
        """The rules: each draws what it needs from what the history has."""

        def __init__(self) -> None:
            super().__init__()
            self.history = History([MemoryStore("model", now=START), make_store()])

        def teardown(self) -> None:
            for side in self.history.pair.sides:
                side.store.close()

        def job(self, n: int) -> int:
            return n % len(self.history.pair.model.jobs)

        def authority(self, n: int) -> Authority:
            """The latest, mostly; sometimes an older one that wakes late."""
            held = self.history.authorities
            return held[-1] if n % 4 else held[n % len(held)]

        def run_of(self, n: int) -> Run:
            runs = self.history.store.runs(RunFilter(), EVERYTHING)[0]
            active = [r for r in runs if r.state in {RunState.CLAIMED, RunState.RUNNING}]
            among = active if active and n % 3 else runs
            # By name, so that the choice is the same each time a history is replayed.
            return sorted(among, key=lambda r: (r.job_name, r.fire_time))[n % len(among)]

        @rule(seconds=st.sampled_from([0.5, 20, 61, 600, 4000]))
        def advance(self, seconds: float) -> None:
            self.history.now += timedelta(seconds=seconds)

        @rule(definition=definitions)
        def add(self, definition: Definition) -> None:
            self.history.add(definition)

        @job_exists
        @rule(n=number, definition=definitions, stale=st.sampled_from([False, False, True]))
        def edit(self, n: int, definition: Definition, stale: bool) -> None:
            self.history.edit(self.job(n), definition, stale)

        @job_exists
        @rule(n=number, state=st.sampled_from(list(State)))
        def set_state(self, n: int, state: State) -> None:
            self.history.set_state(self.job(n), state)

        @job_exists
        @rule(n=number)
        def approve(self, n: int) -> None:
            self.history.approve(self.job(n))

        @rule(
            process=st.sampled_from(PROCESSES),
            act=st.sampled_from(
                [Act.TAKE, Act.TAKE, Act.TAKE_BY_FORCE, Act.TAKE_FROM_DEAD, Act.REAFFIRM]
            ),
            authoritative=st.booleans(),
            behind=st.sampled_from([0, 0, 0, 1]),
        )
        def take(self, process: str, act: Act, authoritative: bool, behind: int) -> None:
            self.history.take(process, act, authoritative, behind)

        @was_owned
        @rule(
            n=number,
            act=st.sampled_from([Act.HAND_OVER, Act.STEP_DOWN, Act.TAKE]),
            reserved_for=st.sampled_from([None, *PROCESSES]),
        )
        def end(self, n: int, act: Act, reserved_for: str | None) -> None:
            self.history.end(self.authority(n), act, reserved_for)

        @rule()
        def accept_policy(self) -> None:
            self.history.accept_policy()

        @was_owned
        @rule(n=number, authoritative=st.booleans())
        def reaffirm(self, n: int, authoritative: bool) -> None:
            self.history.reaffirm(self.authority(n), authoritative)

        @was_owned
        @rule(n=number, slots=st.integers(1, 3), seconds=st.sampled_from([0, 5, 61, 300]))
        def plan(self, n: int, slots: int, seconds: int) -> None:
            self.history.now += timedelta(seconds=seconds)
            self.history.plan(self.authority(n), slots)

        @was_owned
        @rule(n=number, slots=st.integers(1, 3))
        def plan_again(self, n: int, slots: int) -> None:
            self.history.now += timedelta(seconds=61)
            self.history.plan(self.authority(n), slots)

        @was_owned
        @has_runs
        @rule(n=number)
        def start(self, n: int) -> None:
            self.history.start(self.authority(n), self.run_of(n))

        @has_runs
        @rule(
            n=number,
            state=st.sampled_from([RunState.SUCCEEDED, RunState.SUCCEEDED, *RunState]),
            process=st.sampled_from([None, None, None, *PROCESSES]),
            behind=st.sampled_from([0, 0, 0, 1]),
        )
        def finish(self, n: int, state: RunState, process: str | None, behind: int) -> None:
            run = self.run_of(n)
            self.history.finish(run, state, process, run.attempt - behind)

        @was_owned
        @has_runs
        @rule(n=number)
        def retry(self, n: int) -> None:
            self.history.retry(self.authority(n), self.run_of(n))

        @was_owned
        @has_runs
        @rule(n=number)
        def adopt(self, n: int) -> None:
            self.history.adopt(self.authority(n), self.run_of(n))

        @has_runs
        @rule(n=number)
        def cancel(self, n: int) -> None:
            self.history.cancel(self.run_of(n))

        @job_exists
        @rule(n=number, queued=st.booleans())
        def ask(self, n: int, queued: bool) -> None:
            self.history.ask(self.job(n), None, queued)

        @has_runs
        @rule(n=number)
        def ask_retry(self, n: int) -> None:
            self.history.ask(None, self.run_of(n), queued=False)

        @was_owned
        @precondition(lambda self: self.history.store.requests(states=PENDING))
        @rule(n=number)
        def trigger(self, n: int) -> None:
            pending = self.history.store.requests(states=PENDING)
            self.history.trigger(self.authority(n), pending[n % len(pending)].key)

        @rule()
        def expire(self) -> None:
            self.history.expire()

        @was_owned
        @rule(n=number)
        def revisit(self, n: int) -> None:
            self.history.revisit(self.authority(n))

        @was_owned
        @rule(n=number, seconds=st.sampled_from([1, 90, 4000]))
        def set_back(self, n: int, seconds: int) -> None:
            self.history.set_back(self.authority(n), seconds)

        @rule(runs_per_job=st.sampled_from([0, 2, 1000]), days=st.sampled_from([0, 90]))
        def purge(self, runs_per_job: int, days: int) -> None:
            self.history.purge(runs_per_job, days)

        @rule(definition=definitions)
        def abandon(self, definition: Definition) -> None:
            self.history.abandon(definition)

        @invariant()
        def holds(self) -> None:
            self.history.check()

    return Machine


PENDING = frozenset({RequestState.PENDING})
