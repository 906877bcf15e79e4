"""C11, exhaustively: a hand-over, a takeover or a policy change never leaves an eligible candidate
waiting longer than a second.

Every state of a small profile (an owner, two or three candidates) and every order of what may
happen in it: hand-overs asked for, terms ended by others, processes that join, die, are stopped by
a signal and continued, are admitted no longer, waits that pass. The decisions are the functions of
``domain.ownership`` themselves; the model only keeps the record and the time, and says who looks.
Between two steps of time each process that can look does so, in every order, before and after
every event.

A search that finds nothing proves little by itself, so the same search is shown to find the
faults that stood here once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from tenure.domain import ownership
from tenure.domain.ownership import (
    ALWAYS,
    Candidate,
    Contender,
    Decision,
    HolderLife,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Unfit,
    consider,
    find_better,
    find_successor,
    transition,
)
from tenure.domain.request import Request, Requester, RequestKind, RequestState
from testkit.factories import START

STEP = timedelta(seconds=0.3)
"""Every process that runs looks once in each step of time, at the least."""
SECOND_STEPS = 3
"""More steps than these are more than a second."""
LONG_STEPS = 5
"""More are not told apart: everything that ends by itself has ended."""
AN_HOUR = timedelta(hours=1)
LIVE, STOPPED, STUCK, GONE = "live", "stopped", "stuck", "gone"
"""A stuck process looks alive to the others, and does nothing: its thread is deadlocked, say."""


@dataclass(frozen=True)
class Kind:
    """What a process is for as long as it lives."""

    rank: int = 0
    after: timedelta = timedelta(0)
    version: int = 1


@dataclass(frozen=True)
class One:
    """A process at one moment."""

    life: str = LIVE
    admitted: bool = True
    waited: bool = False
    """Whether its rule's ``after`` has passed."""
    lived: bool = True
    """Whether the owner has seen it for long enough to give way to it."""
    gave_way: int | None = None
    """For how many steps it has let others go first."""
    idle: int = 0
    """For how many steps it could have owned, and no process did."""


@dataclass(frozen=True)
class State:
    ones: tuple[One, ...]
    holder: int | None = None
    last: int | None = None
    """Which process held the last term."""
    kept_for: int | None = None
    kept_steps: int = 0
    asked: tuple[int | None, int] | None = None
    """An accepted hand-over: which process it named, and for which the place was kept."""
    looked: frozenset[int] = frozenset()
    """Which have looked in this step of time."""
    calm: bool = True
    """Whether nothing has happened in it."""


@dataclass(frozen=True)
class Rules:
    """The decisions under test. A fault is put back by replacing one."""

    consider: Callable[..., Decision] = consider
    find_successor: Callable[..., Candidate | Unfit] = find_successor
    find_better: Callable[..., Candidate | None] = find_better
    kept_for: timedelta = ownership.RESERVED_FOR


class Model:
    def __init__(self, kinds: Sequence[Kind], rules: Rules) -> None:
        self.kinds = kinds
        self.rules = rules

    # -- what the processes see -----------------------------------------------------------------
    def better_absent_for(self, state: State, one: int) -> timedelta:
        rank = self.kinds[one].rank
        if rank == 0:
            return ALWAYS
        present = [
            self.kinds[i].rank
            for i, other in enumerate(state.ones)
            if other.life != GONE and other.admitted
        ]
        if min(present, default=rank) < rank:
            return timedelta(0)
        return AN_HOUR if state.ones[one].waited else timedelta(0)

    def candidates(self, state: State, looker: int | None) -> list[Candidate]:
        version = 0 if looker is None else self.kinds[looker].version
        return [
            Candidate(
                process=str(i),
                rank=kind.rank,
                lived_for=AN_HOUR if state.ones[i].lived else timedelta(0),
                after=kind.after,
                better_absent_for=self.better_absent_for(state, i),
                stopped=state.ones[i].life == STOPPED,
                newer=looker is not None and kind.version > version,
                older=looker is not None and kind.version < version,
            )
            for i, kind in enumerate(self.kinds)
            if i not in (looker, state.holder)
            and state.ones[i].life != GONE
            and state.ones[i].admitted
        ]

    def record(self, state: State) -> Ownership:
        return Ownership(
            hold=OwnershipState.VACANT if state.holder is None else OwnershipState.HELD,
            term=7,
            process=None if state.holder is None else str(state.holder),
            reserved_for=None if state.kept_for is None else str(state.kept_for),
            reserved_until=None
            if state.kept_for is None
            else START + self.rules.kept_for - state.kept_steps * STEP,
        )

    def eligible(self, state: State, one: int) -> bool:
        """What the contract calls so: admitted, running, its ``after`` passed."""
        now = state.ones[one]
        passed = self.better_absent_for(state, one) >= self.kinds[one].after
        return now.life == LIVE and now.admitted and passed

    def owned(self, state: State) -> bool:
        """A stopped owner is one: the kernel says that it lives."""
        return state.holder is not None and state.ones[state.holder].life != GONE

    # -- what happens ---------------------------------------------------------------------------
    def look(self, state: State, one: int) -> State:
        state = replace(state, looked=state.looked | {one})
        if state.holder == one:
            found = self.rules.find_better(self.candidates(state, one), self.kinds[one].rank)
            return state if found is None else self.hand_over(state, found)
        if not state.ones[one].admitted:
            return state
        kind, gave_way = self.kinds[one], state.ones[one].gave_way
        me = Contender(
            process=str(one),
            admitted=True,
            rank=kind.rank,
            after=kind.after,
            better_absent_for=self.better_absent_for(state, one),
            just_ended=state.holder is None and state.last == one,
            gave_way_for=(gave_way or 0) * STEP,
        )
        record, life = self.record(state), None
        if state.holder is not None:
            life = HolderLife.ALIVE if self.owned(state) else HolderLife.DEAD
        move = self.rules.consider(me, START, record, life, self.candidates(state, one))
        if move.act is not None:
            return self.take(state, one, move, record)
        return change(state, one, gave_way=(gave_way or 0) if move.gives_way else None)

    def take(self, state: State, one: int, move: Decision, record: Ownership) -> State:
        """As the store does it."""
        assert move.act is not None
        assert transition(record.hold, move.act) is OwnershipState.HELD
        if move.act is not OwnershipAction.TAKE_BY_FORCE and record.kept_from(
            str(one), START, instead_of=move.instead_of
        ):
            return state
        if state.asked is not None:
            named, kept = state.asked
            end = asked_for(named).end_of_hand_over(record, str(one), 8)
            assert (end.state is RequestState.DONE) == (one in (named, kept))
        ones = tuple(replace(o, idle=0) for o in change(state, one, gave_way=None).ones)
        return replace(
            state, ones=ones, holder=one, last=one, kept_for=None, kept_steps=0, asked=None
        )

    def hand_over(self, state: State, to: Candidate, named: Any = ()) -> State:
        """The owner ends its term and keeps the place."""
        kept = int(to.process)
        state = change(state, kept, lived=False)
        asked = state.asked if named == () else (named, kept)
        return told(replace(state, holder=None, kept_for=kept, kept_steps=0, asked=asked))

    def events(self, state: State) -> Iterator[State]:
        """Everything that may happen next."""
        holder = state.holder
        owner_runs = holder is not None and state.ones[holder].life == LIVE
        if owner_runs and state.asked is None:
            for named in (None, *range(len(self.kinds))):
                found = self.rules.find_successor(
                    self.candidates(state, holder), None if named is None else str(named)
                )
                if isinstance(found, Candidate):
                    yield self.hand_over(state, found, named)
        if holder is not None:  # by `owner release`, for the best
            found = self.rules.find_successor(self.candidates(state, None))
            kept = int(found.process) if isinstance(found, Candidate) else None
            yield told(replace(state, holder=None, kept_for=kept, kept_steps=0))
        for i, one in enumerate(state.ones):
            if one.life != GONE:
                gone = change(state, i, life=GONE, gave_way=None, idle=0)
                yield told(gone) if i == holder else gone
                for life in {LIVE, STOPPED, STUCK} - {one.life}:
                    yield seen(state, i, life=life)
            elif i != holder:  # another process in its stead
                yield seen(state, i, life=LIVE, waited=False, lived=False)
            if i == holder:
                if owner_runs:  # it steps down: no longer admitted, or told to stop
                    ended = replace(state, holder=None, kept_for=None)
                    yield told(change(ended, i, admitted=False))
            else:
                yield seen(state, i, admitted=not one.admitted)
            if self.kinds[i].after and not one.waited:
                yield seen(state, i, waited=True)

    def pass_time(self, state: State) -> State:
        """A step, once every process that can has looked."""
        owned = self.owned(state)
        ones = tuple(
            replace(
                one,
                gave_way=None if one.gave_way is None else min(one.gave_way + 1, LONG_STEPS),
                idle=one.idle + 1 if self.eligible(state, i) and not owned else 0,
                waited=one.waited and self.better_absent_for(state, i) > timedelta(0),
            )
            for i, one in enumerate(state.ones)
        )
        steps = state.kept_steps + 1 if state.kept_for is not None else 0
        return replace(
            state, ones=ones, kept_steps=min(steps, LONG_STEPS), looked=frozenset(), calm=True
        )

    def vacant_for_nothing(self, state: State) -> bool:
        """Whether no process owns although each that could has looked."""
        able = any(self.eligible(state, i) for i in range(len(state.ones)))
        stuck = any(one.life == STUCK for one in state.ones)
        return state.calm and able and not stuck and not self.owned(state)

    def find_idle(self, first: Sequence[State], events: int) -> State | None:
        """A state in which an eligible candidate has waited longer than a second, or where all of
        them wait for each other; None if there is none within so many events."""
        stack = [(state, events) for state in first]
        seen = set(stack)
        while stack:
            state, left = stack.pop()
            if any(one.idle > SECOND_STEPS for one in state.ones):
                return state
            waiting = [
                i for i, one in enumerate(state.ones) if one.life == LIVE and i not in state.looked
            ]
            following = [(self.look(state, i), left) for i in waiting]
            if not waiting and self.vacant_for_nothing(state):
                return state
            if not waiting:
                following.append((self.pass_time(state), left))
            if left:
                following += [(replace(e, calm=False), left - 1) for e in self.events(state)]
            for found in following:
                if found not in seen:
                    seen.add(found)
                    stack.append(found)
        self.states = len(seen)
        return None


def told(state: State) -> State:
    """The end of a term is told to every process, the owner's death by the kernel: all look."""
    return replace(state, looked=frozenset())


def seen(state: State, one: int, **fields: Any) -> State:
    """A change of what a process is, which begins with the look at which it sees that."""
    state = replace(state, looked=state.looked - {one})
    return change(state, one, **fields)


def change(state: State, one: int, **fields: Any) -> State:
    ones = list(state.ones)
    ones[one] = replace(ones[one], **fields)
    return replace(state, ones=tuple(ones))


def asked_for(named: int | None) -> Request:
    return Request(
        id="q",
        kind=RequestKind.HAND_OVER,
        key="k",
        state=RequestState.ACCEPTED,
        asked_at=START,
        deadline=START + AN_HOUR,
        requester=Requester(pid=1),
        to_process=None if named is None else str(named),
        term=7,
    )


def every_beginning(number: int) -> list[State]:
    """The first owns, or has just died; the others are there in every way."""
    rest = list(product((LIVE, STOPPED, STUCK, GONE), (True, False)))
    return [
        State(ones=(One(life=owner), *(One(life=life, admitted=a) for life, a in others)), holder=0)
        for owner in (LIVE, GONE)
        for others in product(rest, repeat=number - 1)
    ]


FALLBACK = Kind(rank=1, after=AN_HOUR)
PLAIN = Kind()
PROFILES = {
    "equals": (PLAIN, PLAIN),
    "a better one": (Kind(rank=1), PLAIN),
    "a fallback that waits": (PLAIN, FALLBACK),
    "a fallback owns": (FALLBACK, PLAIN),
    "a newer version": (PLAIN, Kind(version=2)),
    "an older version": (Kind(version=2), PLAIN),
}
THREE = {
    "equals": (PLAIN, PLAIN, PLAIN),
    "a fallback that waits": (PLAIN, PLAIN, FALLBACK),
    "two fallbacks": (PLAIN, FALLBACK, FALLBACK),
    "every rank": (Kind(rank=2, after=AN_HOUR), FALLBACK, PLAIN),
    "three versions": (Kind(version=2), Kind(version=3), PLAIN),
    "newer and better": (Kind(rank=1), Kind(rank=1, version=2), PLAIN),
}


OF_TWO, OF_THREE = 3, 1
"""How many events are searched."""


@pytest.mark.parametrize("kinds", PROFILES.values(), ids=PROFILES)
def test_of_two_no_eligible_candidate_waits_longer_than_a_second(kinds: tuple[Kind, ...]) -> None:
    assert Model(kinds, Rules()).find_idle(every_beginning(2), events=OF_TWO) is None


@pytest.mark.parametrize("kinds", THREE.values(), ids=THREE)
def test_of_three_no_eligible_candidate_waits_longer_than_a_second(kinds: tuple[Kind, ...]) -> None:
    assert Model(kinds, Rules()).find_idle(every_beginning(3), events=OF_THREE) is None


# -- the faults that stood here ----------------------------------------------------------------


def best_of_all(candidates: Sequence[Candidate], named: str | None = None) -> Candidate | Unfit:
    """It looked neither at ``after`` nor at what runs."""
    asked = [c for c in candidates if named in (None, c.process)]
    found = min(asked, key=lambda c: c.order, default=None)
    return found or Unfit(why="", remedy="")


def better_of_all(candidates: Sequence[Candidate], rank: int) -> Candidate | None:
    found = min(candidates, key=lambda c: c.order, default=None)
    return found if found is not None and found.rank < rank and found.lived_for else None


def hold_off_first(me: Contender, *args: Any) -> Decision:
    """Its own hold-off came before the place that was kept for it."""
    if me.just_ended and me.gave_way_for < timedelta(seconds=5):
        return Decision(act=None, why="", gives_way=True)
    return consider(me, *args)


def kept_whatever_becomes_of_it(
    me: Contender, now: Any, current: Ownership, life: Any, others: Sequence[Candidate] = ()
) -> Decision:
    """A place was kept for a process that had died or was stopped."""
    if me.admitted and current.hold is OwnershipState.VACANT and current.kept_from(me.process, now):
        return Decision(act=None, why="", gives_way=True)
    return consider(me, now, current, life, others)


def lets_each_go_first(
    me: Contender, now: Any, current: Ownership, life: Any, others: Sequence[Candidate] = ()
) -> Decision:
    """It gave way again and again, each time for a while."""
    return consider(replace(me, gave_way_for=timedelta(0)), now, current, life, others)


FIVE_SECONDS = timedelta(seconds=5)
FAULTS = {
    "a hand-over to one whose wait is not over": Rules(
        find_successor=best_of_all, consider=kept_whatever_becomes_of_it, kept_for=FIVE_SECONDS
    ),
    "giving way to one whose wait is not over": Rules(
        find_better=better_of_all, consider=kept_whatever_becomes_of_it, kept_for=FIVE_SECONDS
    ),
    "a hold-off before a reservation": Rules(consider=hold_off_first),
    "a place kept for the dead": Rules(consider=kept_whatever_becomes_of_it, kept_for=FIVE_SECONDS),
    "a courtesy without an end": Rules(consider=lets_each_go_first),
}


@pytest.mark.parametrize("rules", FAULTS.values(), ids=FAULTS)
def test_the_search_finds_the_faults_that_stood_here(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a profile of two or of three, within the events that are searched."""
    monkeypatch.setattr(ownership, "RESERVED_FOR", rules.kept_for)
    every = [(kinds, 2, OF_TWO) for kinds in PROFILES.values()]
    every += [(kinds, 3, OF_THREE) for kinds in THREE.values()]
    assert any(
        Model(kinds, rules).find_idle(every_beginning(number), events=events) is not None
        for kinds, number, events in every
    )
