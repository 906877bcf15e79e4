"""Random histories, lived through by two stores at once.

:func:`make_machine` gives a hypothesis state machine: each rule is a verb of the contract, done
to both stores and compared; after each rule the whole observable state is compared, and checked
by itself: one owner, growing terms, no fire claimed twice, every fire accounted for, nothing
changed by a stale authority. Needs hypothesis, which is imported on use::

    TestMyStore = make_machine(lambda: MyStore(...)).TestCase
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tenure.domain.job import Call, CatchUp, Definition, JobState, Overlap
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.planning.external import Announced
from tenure.domain.request import RequestState
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.model import foreign_schedule
from tenure.store.contract import RunFilter, Store
from testkit.factories import (
    ROOM,
    START,
    after,
    cron,
    each,
    make_definition,
    once,
)
from testkit.history import PROCESSES, History
from testkit.memory_store import MemoryStore
from testkit.pair import EVERYTHING

PENDING = frozenset({RequestState.PENDING})


def make_machine(make_store: Callable[[], Store]) -> Any:
    """A RuleBasedStateMachine class: ``make_store``'s stores beside the reference model."""
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        precondition,
        rule,
    )

    number = st.integers(0, 1000)
    names = st.sampled_from(["a", "b", "c"])
    planned = st.builds(
        make_definition,
        names,
        st.sampled_from(
            [each(minutes=1), each(minutes=7), cron("*/10 * * * *"), once(after(minutes=20))]
        ),
        protected=st.booleans(),
        overlap=st.sampled_from(list(Overlap)),
        catch_up=st.sampled_from([None, *CatchUp]),
        grace=st.sampled_from([timedelta(seconds=20), timedelta(minutes=5)]),
        window=st.sampled_from([None, timedelta(minutes=15)]),
    )
    foreign = st.builds(
        make_definition,
        names,
        st.just(foreign_schedule("as the other one plans it")),
        action=st.just(Call(target="other:1")),
        protected=st.booleans(),
        grace=st.sampled_from([timedelta(seconds=20), timedelta(minutes=5)]),
    )
    definitions = st.one_of(planned, planned, foreign)
    fires = st.tuples(
        st.sampled_from([0, 61, 400]),  # seconds later
        st.sampled_from([0, 0, 30, -5]),  # seconds ago
        st.sampled_from([0, 0, 1, 3]),  # how many passed before it
        st.booleans(),
        st.booleans(),
    )
    job_exists = precondition(lambda self: self.history.pair.model.jobs)
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
            """A valid one, mostly; sometimes that of an owner who wakes late."""
            held = self.history.authorities
            return held[n % len(held)] if held and n % 6 == 0 else self.history.current(n)

        def run_of(self, n: int) -> Run:
            runs = self.history.store.runs(RunFilter(), EVERYTHING)[0]
            active = [r for r in runs if r.state in {RunState.CLAIMED, RunState.RUNNING}]
            among = active if active and n % 3 else runs
            # By name, so that the choice is the same each time a history is replayed.
            return sorted(among, key=lambda r: (r.job_name, r.fire_time))[n % len(among)]

        @initialize(first=definitions, second=definitions, third=foreign)
        def begin(self, first: Definition, second: Definition, third: Definition) -> None:
            self.history.add(first)
            self.history.add(second.with_changes(name="always", protected=False))
            for name, protected in (("theirs", False), ("theirs, protected", True)):
                self.history.add(third.with_changes(name=name, protected=protected))

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
        @rule(n=number, state=st.sampled_from([*JobState, JobState.ACTIVE, JobState.ACTIVE]))
        def set_state(self, n: int, state: JobState) -> None:
            self.history.set_state(self.job(n), state)

        @job_exists
        @rule(n=number)
        def approve(self, n: int) -> None:
            self.history.approve(self.job(n))

        @rule(
            process=st.sampled_from(PROCESSES),
            act=st.sampled_from(
                [
                    OwnershipAction.TAKE,
                    OwnershipAction.TAKE,
                    OwnershipAction.TAKE_BY_FORCE,
                    OwnershipAction.TAKE_FROM_DEAD,
                    OwnershipAction.REAFFIRM,
                ]
            ),
            authoritative=st.booleans(),
            behind=st.sampled_from([0, 0, 0, 1]),
        )
        def take(
            self, process: str, act: OwnershipAction, authoritative: bool, behind: int
        ) -> None:
            self.history.take(process, act, authoritative, behind)

        @rule(
            n=number,
            act=st.sampled_from(
                [OwnershipAction.HAND_OVER, OwnershipAction.STEP_DOWN, OwnershipAction.TAKE]
            ),
            reserved_for=st.sampled_from([None, *PROCESSES]),
        )
        def end(self, n: int, act: OwnershipAction, reserved_for: str | None) -> None:
            self.history.end(self.authority(n), act, reserved_for)

        @rule()
        def accept_policy(self) -> None:
            self.history.accept_policy()

        @rule(n=number, authoritative=st.booleans())
        def reaffirm(self, n: int, authoritative: bool) -> None:
            self.history.reaffirm(self.authority(n), authoritative)

        @rule(n=number, slots=st.integers(1, 3), seconds=st.sampled_from([0, 5, 61, 300]))
        def plan(self, n: int, slots: int, seconds: int) -> None:
            self.history.now += timedelta(seconds=seconds)
            self.history.plan(self.authority(n), slots)

        @rule(n=number, ends=st.sampled_from([RunState.SUCCEEDED, RunState.RETRYING, None]))
        def a_minute(self, n: int, ends: RunState | None) -> None:
            """What happens most: time goes on, a fire is claimed, and its run ends."""
            self.history.now += timedelta(seconds=61)
            self.history.plan(self.authority(n), 2)
            runs = self.history.store.runs_held_by(self.authority(n).process)
            if runs and ends is not None:
                run = min(runs, key=lambda r: (r.job_name, r.fire_time))
                self.history.finish(run, ends, None, run.attempt)

        @job_exists
        @rule(n=number, fires=st.lists(fires, min_size=1, max_size=5))
        def announce(self, n: int, fires: list[tuple[int, int, int, bool, bool]]) -> None:
            """A foreign scheduler announces fires, late ones too, perhaps with some before them;
            the owner may be wrong about what it may run."""
            authority, theirs = self.authority(n), self.history.foreign()
            job = theirs[n // 2 % len(theirs)] if theirs else self.job(n)
            for seconds, ago, passed, sure, ends in fires:
                self.history.now += timedelta(seconds=seconds)
                fire = self.history.now - timedelta(seconds=ago)
                before = [fire - timedelta(seconds=20 * m) for m in range(passed, 0, -1)]
                announced_span = (before[0], before[-1], passed) if before else None
                announced = Announced(fire=fire, passed=announced_span)
                self.history.announce(authority, job, announced, sure)
                if ends:
                    self.history.finish_all()

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

        @has_runs
        @rule(n=number)
        def retry(self, n: int) -> None:
            """Those that wait for it, mostly; the store refuses the others."""
            self.history.now += timedelta(seconds=31)
            waiting = self.history.store.due_retries(self.history.now, ROOM)
            run = waiting[0] if waiting and n % 4 else self.run_of(n)
            self.history.retry(self.authority(n), run)

        @has_runs
        @rule(n=number, late=st.booleans())
        def lose(self, n: int, late: bool) -> None:
            """A run is declared lost, and its result comes after all."""
            run = self.run_of(n)
            self.history.finish(run, RunState.LOST, None, run.attempt)
            if late:
                self.history.finish(run, RunState.FAILED, "other", run.attempt)

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

        @precondition(lambda self: self.history.store.requests(states=PENDING))
        @rule(n=number)
        def trigger(self, n: int) -> None:
            pending = self.history.store.requests(states=PENDING)
            self.history.trigger(self.authority(n), pending[n % len(pending)].key)

        @rule()
        def expire(self) -> None:
            self.history.expire()

        @rule(n=number)
        def revisit(self, n: int) -> None:
            self.history.revisit(self.authority(n))

        @rule(n=number)
        def replan(self, n: int) -> None:
            self.history.replan(self.authority(n))

        @rule(n=number, seconds=st.sampled_from([1, 90, 4000]), goes_on=st.booleans())
        def set_back(self, n: int, seconds: int, goes_on: bool) -> None:
            if goes_on:
                for job in self.history.foreign():
                    fire = Announced(fire=self.history.now)
                    self.history.announce(self.authority(n), job, fire, False)
            self.history.set_back(self.authority(n), seconds)
            if goes_on:
                self.history.finish_all()
                self.history.now += timedelta(seconds=seconds)
                self.history.plan(self.authority(n), 2)
                self.history.announce_again(self.authority(n))

        @rule(authoritative=st.booleans())
        def think(self, authoritative: bool) -> None:
            self.history.think(2, authoritative)

        @precondition(lambda self: self.history.thought)
        @rule(n=number)
        def claim_what_was_thought(self, n: int) -> None:
            self.history.claim(self.authority(n))

        @rule(n=number, authoritative=st.booleans(), seconds=st.sampled_from([0, 61]))
        def be_interrupted(self, n: int, authoritative: bool, seconds: int) -> None:
            """Another process changes a job between plan and claim."""
            self.history.now += timedelta(seconds=61)
            self.history.finish_all()
            self.history.think(2, authoritative)
            self.history.now += timedelta(seconds=seconds)
            self.history.set_state(self.job(n), (JobState.PAUSED, JobState.ACTIVE)[n % 2])
            self.history.claim(self.authority(n))

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
