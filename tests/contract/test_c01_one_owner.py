"""C1 One owner. A profile has at most one owner. Each ownership has a *term*: an integer that
only grows and is never reused, not even after a backup is restored.
"""

from __future__ import annotations

import threading

import pytest

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.ownership import Authority, OwnershipAction, OwnershipState
from tenure.store.contract import Store
from testkit.factories import after, make_process, own, take
from waiting import DEADLINE


def test_of_many_who_compete_one_owns(store: Store) -> None:
    """C1: A profile has at most one owner."""
    names = [f"desktop {n}" for n in range(6)]
    for name in names:
        store.join(make_process(name))
    won: list[Authority] = []
    lost: list[Exception] = []

    def compete(name: str) -> None:
        try:
            authority = take(store, name, act=OwnershipAction.TAKE, expected_term=0, new_term=1)
            won.append(authority)
        except Conflict as error:
            lost.append(error)

    threads = [threading.Thread(target=compete, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(won) == 1
    assert len(lost) == 5
    assert store.ownership().authority == won[0]


def test_terms_only_grow(store: Store) -> None:
    """C1: an integer that only grows and is never reused."""
    for number in range(1, 6):
        authority = own(store, f"process {number}", now=after(minutes=number))
        assert authority.term == number
        if number % 2:
            store.end_term(
                authority, act=OwnershipAction.HAND_OVER, why="asked", now=after(minutes=number)
            )
    assert [t.term for t in store.terms()] == [5, 4, 3, 2, 1]
    assert all(t.ended_at is not None for t in store.terms())
    assert store.ownership().hold is OwnershipState.VACANT
    with pytest.raises(InvalidInput):
        take(store, "process 1", new_term=5, now=after(hours=1))


def test_a_term_may_leap_above_what_was_seen_outside(store: Store) -> None:
    """C1: not even after a backup is restored: the next term is above any that was seen."""
    store.join(make_process("gateway"))
    authority = take(store, "gateway", new_term=41)
    assert (authority.term, store.facts().term) == (41, 41)
    assert own(store, "desktop").term == 42
