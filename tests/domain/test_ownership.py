"""The ownership state machine, arrow by arrow, and what a contender makes of what it sees."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tenure.domain.errors import IllegalTransition
from tenure.domain.ownership import (
    HUNG_AFTER,
    PREEMPT_AFTER,
    RESERVED_FOR,
    Act,
    Authority,
    Contender,
    Hold,
    HolderLife,
    Ownership,
    consider,
    should_yield,
    transition,
)
from tenure.testing.making import START

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HELD = Ownership(hold=Hold.HELD, term=3, process="gateway", policy_version=2)
VACANT = Ownership(term=3)
ME = Contender(process="me", admitted=True, rank=0)
FALLBACK = replace(ME, rank=1, after=5 * MINUTE)

ARROWS = {
    (Hold.VACANT, Act.TAKE): Hold.HELD,
    (Hold.VACANT, Act.TAKE_BY_FORCE): Hold.HELD,
    (Hold.HELD, Act.TAKE_BY_FORCE): Hold.HELD,
    (Hold.HELD, Act.TAKE_FROM_DEAD): Hold.HELD,
    (Hold.HELD, Act.REAFFIRM): Hold.HELD,
    (Hold.HELD, Act.HAND_OVER): Hold.VACANT,
    (Hold.HELD, Act.STEP_DOWN): Hold.VACANT,
}


@pytest.mark.parametrize("hold", list(Hold))
@pytest.mark.parametrize("act", list(Act))
def test_each_pair_is_an_arrow_or_illegal(hold: Hold, act: Act) -> None:
    if (hold, act) in ARROWS:
        assert transition(hold, act) is ARROWS[hold, act]
    else:
        with pytest.raises(IllegalTransition, match=f"{hold}.*{act}"):
            transition(hold, act)


def test_authority_is_of_the_holder() -> None:
    assert HELD.authority == Authority(term=3, process="gateway", policy_version=2)
    assert VACANT.authority is None
    assert replace(HELD, process=None).authority is None


@pytest.mark.parametrize(
    ("me", "current", "life", "act", "why"),
    [
        (replace(ME, admitted=False, why="no rule"), VACANT, None, None, "no rule"),
        (replace(ME, admitted=False, why="no rule"), HELD, HolderLife.DEAD, None, "no rule"),
        (ME, VACANT, None, Act.TAKE, "nobody owns"),
        (ME, HELD, HolderLife.ALIVE, None, "held by gateway"),
        (ME, HELD, None, None, "held by gateway"),
        (ME, HELD, HolderLife.DEAD, Act.TAKE_FROM_DEAD, "dead"),
        (ME, HELD, HolderLife.UNVERIFIABLE, None, "cannot be verified"),
        (ME, replace(HELD, process="me"), HolderLife.ALIVE, None, "already"),
        (ME, replace(HELD, process="me"), HolderLife.DEAD, None, "already"),
        (FALLBACK, VACANT, None, None, "better-ranked"),
        (FALLBACK, HELD, HolderLife.DEAD, None, "better-ranked"),
        (FALLBACK, HELD, HolderLife.ALIVE, None, "held by"),
        (replace(FALLBACK, better_absent_for=5 * MINUTE), VACANT, None, Act.TAKE, ""),
        (
            replace(FALLBACK, better_absent_for=5 * MINUTE),
            HELD,
            HolderLife.DEAD,
            Act.TAKE_FROM_DEAD,
            "",
        ),
    ],
)
def test_what_a_contender_does(
    me: Contender, current: Ownership, life: HolderLife | None, act: Act | None, why: str
) -> None:
    move = consider(me, START, current, life)
    assert move.act is act
    assert why in move.why
    if move.act is not None:
        assert transition(current.hold, move.act) is Hold.HELD


@pytest.mark.parametrize("life", [HolderLife.ALIVE, HolderLife.UNVERIFIABLE])
@pytest.mark.parametrize(
    ("hung_for", "replaces", "absent", "forces"),
    [
        (HUNG_AFTER, True, 5 * MINUTE, True),
        (HUNG_AFTER - SECOND, True, 5 * MINUTE, False),
        (HUNG_AFTER * 9, False, 5 * MINUTE, False),
        (HUNG_AFTER, True, MINUTE, False),
    ],
)
def test_a_hung_owner_is_replaced_only_where_told(
    life: HolderLife, hung_for: timedelta, replaces: bool, absent: timedelta, forces: bool
) -> None:
    me = replace(FALLBACK, hung_for=hung_for, replaces_hung=replaces, better_absent_for=absent)
    move = consider(me, START, HELD, life)
    assert (move.act is Act.TAKE_BY_FORCE) == forces


def test_a_fallback_asks_again_when_its_wait_is_over() -> None:
    me = replace(FALLBACK, better_absent_for=2 * MINUTE)
    for current, life in ((VACANT, None), (HELD, HolderLife.DEAD)):
        assert consider(me, START, current, life).again_in == 3 * MINUTE


@pytest.mark.parametrize(
    ("reserved_for", "ends_in", "taken"),
    [
        ("me", RESERVED_FOR, True),
        ("other", RESERVED_FOR, False),
        ("other", SECOND, False),
        ("other", timedelta(0), True),
        ("other", -SECOND, True),
        ("other", RESERVED_FOR + SECOND, True),
        (None, RESERVED_FOR, True),
    ],
)
def test_a_hand_over_keeps_the_place_a_while(
    reserved_for: str | None, ends_in: timedelta, taken: bool
) -> None:
    kept = replace(VACANT, reserved_for=reserved_for, reserved_until=START + ends_in)
    move = consider(ME, START, kept, None)
    assert (move.act is Act.TAKE) == taken
    assert kept.kept_from("me", START) != taken
    if not taken:
        assert move.again_in == ends_in


def test_a_reservation_without_an_end_keeps_nothing() -> None:
    assert not replace(VACANT, reserved_for="other").kept_from("me", START)


@pytest.mark.parametrize(
    ("mine", "better", "lived", "yields"),
    [
        (1, 0, PREEMPT_AFTER, True),
        (1, 0, PREEMPT_AFTER - SECOND, False),
        (1, 1, PREEMPT_AFTER, False),
        (0, 1, PREEMPT_AFTER, False),
        (1, None, PREEMPT_AFTER, False),
    ],
)
def test_yielding_to_the_better(
    mine: int, better: int | None, lived: timedelta, yields: bool
) -> None:
    assert should_yield(mine, better, lived) is yields
