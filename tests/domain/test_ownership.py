"""The ownership state machine, arrow by arrow, and what a contender makes of what it sees."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tenure.domain.errors import IllegalTransition
from tenure.domain.ownership import (
    ALWAYS,
    GIVES_WAY_LOOK,
    HUNG_AFTER,
    PREEMPT_AFTER,
    RESERVED_FOR,
    Authority,
    Candidate,
    Contender,
    HolderLife,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Unfit,
    consider,
    find_better,
    find_successor,
    hung_for,
    transition,
)
from testkit.factories import START

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HELD = Ownership(hold=OwnershipState.HELD, term=3, process="gateway", policy_version=2)
VACANT = Ownership(term=3)
ME = Contender(process="me", admitted=True, rank=0)
FALLBACK = replace(ME, rank=1, after=5 * MINUTE)

ARROWS = {
    (OwnershipState.VACANT, OwnershipAction.TAKE): OwnershipState.HELD,
    (OwnershipState.VACANT, OwnershipAction.TAKE_BY_FORCE): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.TAKE_BY_FORCE): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.TAKE_FROM_DEAD): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.REAFFIRM): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.HAND_OVER): OwnershipState.VACANT,
    (OwnershipState.HELD, OwnershipAction.STEP_DOWN): OwnershipState.VACANT,
}


@pytest.mark.parametrize("hold", list(OwnershipState))
@pytest.mark.parametrize("act", list(OwnershipAction))
def test_each_pair_is_an_arrow_or_illegal(hold: OwnershipState, act: OwnershipAction) -> None:
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
        (ME, VACANT, None, OwnershipAction.TAKE, "no process owned the profile"),
        (ME, HELD, HolderLife.ALIVE, None, "gateway is the owner"),
        (ME, HELD, None, None, "gateway is the owner"),
        (ME, HELD, HolderLife.DEAD, OwnershipAction.TAKE_FROM_DEAD, "dead"),
        (ME, HELD, HolderLife.UNVERIFIABLE, None, "cannot be verified"),
        (ME, replace(HELD, process="me"), HolderLife.ALIVE, None, "already"),
        (ME, replace(HELD, process="me"), HolderLife.DEAD, None, "already"),
        (FALLBACK, VACANT, None, None, "better-ranked"),
        (FALLBACK, HELD, HolderLife.DEAD, None, "better-ranked"),
        (FALLBACK, HELD, HolderLife.ALIVE, None, "is the owner"),
        (replace(FALLBACK, better_absent_for=5 * MINUTE), VACANT, None, OwnershipAction.TAKE, ""),
        (
            replace(FALLBACK, better_absent_for=5 * MINUTE),
            HELD,
            HolderLife.DEAD,
            OwnershipAction.TAKE_FROM_DEAD,
            "",
        ),
    ],
)
def test_what_a_contender_does(
    me: Contender,
    current: Ownership,
    life: HolderLife | None,
    act: OwnershipAction | None,
    why: str,
) -> None:
    move = consider(me, START, current, life)
    assert move.act is act
    assert why in move.why
    if move.act is not None:
        assert transition(current.hold, move.act) is OwnershipState.HELD


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
    assert (move.act is OwnershipAction.TAKE_BY_FORCE) == forces


def test_a_fallback_asks_again_when_its_wait_is_over() -> None:
    me = replace(FALLBACK, better_absent_for=2 * MINUTE)
    for current, life in ((VACANT, None), (HELD, HolderLife.DEAD)):
        assert consider(me, START, current, life).again_in == 3 * MINUTE


@pytest.mark.parametrize(
    ("reserved_for", "ends_in", "taken"),
    [
        ("me", RESERVED_FOR, True),
        ("other", RESERVED_FOR, False),
        ("other", RESERVED_FOR / 2, False),
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
    move = consider(ME, START, kept, None, [THERE])
    assert (move.act is OwnershipAction.TAKE) == taken
    assert kept.kept_from("me", START) != taken
    if not taken:
        assert move.again_in == GIVES_WAY_LOOK


def test_a_reservation_without_an_end_keeps_nothing() -> None:
    assert not replace(VACANT, reserved_for="other").kept_from("me", START)


THERE = Candidate(process="other", rank=0, pid=7, better_absent_for=ALWAYS)
STOPPED = replace(THERE, stopped=True)
TOO_SOON = replace(THERE, rank=1, after=5 * MINUTE, better_absent_for=MINUTE)


@pytest.mark.parametrize("other", [None, STOPPED, TOO_SOON], ids=["gone", "stopped", "too soon"])
def test_a_place_kept_for_one_that_cannot_take_it_is_free_at_once(other: Candidate | None) -> None:
    kept = replace(VACANT, reserved_for="other", reserved_until=START + RESERVED_FOR)
    assert consider(ME, START, kept, None, [THERE]).act is None
    move = consider(ME, START, kept, None, [other] if other else [])
    assert (move.act, move.instead_of) == (OwnershipAction.TAKE, "other")
    assert kept.kept_from("me", START)
    assert not kept.kept_from("me", START, instead_of=move.instead_of)


def test_the_process_that_a_hand_over_names_does_not_let_others_go_first() -> None:
    me = replace(ME, just_ended=True)
    newer = replace(THERE, newer=True)
    assert consider(me, START, VACANT, None, [newer]).act is None
    kept = replace(VACANT, reserved_for="me", reserved_until=START + RESERVED_FOR)
    assert consider(me, START, kept, None, [newer]).act is OwnershipAction.TAKE


@pytest.mark.parametrize(
    ("other", "just_ended", "waits"),
    [
        (THERE, True, True),
        (THERE, False, False),
        (STOPPED, True, False),
        (TOO_SOON, True, False),
        (replace(THERE, newer=True), False, True),
        (replace(THERE, newer=True, rank=1), False, False),
        (replace(STOPPED, newer=True), False, False),
    ],
)
def test_others_go_first_while_they_can(other: Candidate, just_ended: bool, waits: bool) -> None:
    me = replace(ME, just_ended=just_ended)
    move = consider(me, START, VACANT, None, [other])
    assert (move.act is None, move.gives_way) == (waits, waits)
    waited = replace(me, gave_way_for=RESERVED_FOR)
    assert consider(waited, START, VACANT, None, [other]).act is OwnershipAction.TAKE


def test_the_successor_is_the_best_that_can_take_now() -> None:
    best, older = replace(THERE, process="best", stopped=True), replace(THERE, rank=1)
    young = replace(older, process="young")
    older = replace(older, lived_for=SECOND)
    assert find_successor([best, young, older]) == older
    assert find_successor([best, young, older], "young") == young


@pytest.mark.parametrize(
    ("candidates", "named", "why", "remedy"),
    [
        ([], None, "no other process is a candidate", "tenure status"),
        ([THERE], "x", "x is not a running candidate", "tenure status"),
        ([STOPPED], None, "other (pid 7) was stopped", "kill -CONT 7"),
        ([TOO_SOON], None, "rule 2 admits other (pid 7) only after 5m", "`after` of rule 2"),
        ([TOO_SOON, THERE], "other", "", ""),
        ([replace(TOO_SOON, process="y"), THERE], "y", "only after 5m", "profile.toml"),
    ],
)
def test_without_a_successor_the_reason_and_the_remedy_are_given(
    candidates: list[Candidate], named: str | None, why: str, remedy: str
) -> None:
    found = find_successor(candidates, named)
    if not why:
        assert found == THERE
        return
    assert isinstance(found, Unfit)
    assert why in found.why
    assert remedy in found.remedy


LIVED = replace(THERE, lived_for=PREEMPT_AFTER)


@pytest.mark.parametrize(
    ("candidates", "rank", "found"),
    [
        ([LIVED], 1, LIVED),
        ([replace(LIVED, lived_for=PREEMPT_AFTER - SECOND)], 1, None),
        ([LIVED], 0, None),
        ([replace(LIVED, rank=1)], 0, None),
        ([], 1, None),
        ([replace(LIVED, stopped=True)], 1, None),
        ([replace(LIVED, stopped=True), replace(LIVED, rank=1)], 2, replace(LIVED, rank=1)),
        ([replace(LIVED, rank=1, after=MINUTE, better_absent_for=SECOND)], 2, None),
        ([replace(LIVED, newer=True)], 0, replace(LIVED, newer=True)),
        ([replace(LIVED, newer=True, rank=1)], 0, None),
        ([replace(LIVED, newer=True, stopped=True)], 0, None),
    ],
)
def test_an_owner_hands_over_to_the_better(
    candidates: list[Candidate], rank: int, found: Candidate | None
) -> None:
    assert find_better(candidates, rank) == found


PROGRESS = replace(HELD, progress_awake=1000.0, boot_id="this boot")
"""Its owner was seen to claim at 1000 s of awake time."""


@pytest.mark.parametrize(
    ("current", "due", "awake", "expected"),
    [
        (PROGRESS, START - MINUTE, 1040.0, 40 * SECOND),
        (PROGRESS, START - 5 * SECOND, 1040.0, 5 * SECOND),  # due for less than it made no progress
        (PROGRESS, START - MINUTE, 999.0, 0 * SECOND),
        (PROGRESS, START, 1040.0, 0 * SECOND),
        (PROGRESS, START + MINUTE, 1040.0, 0 * SECOND),
        (PROGRESS, None, 1040.0, 0 * SECOND),
        # Awake time of another boot says nothing: its clock began again.
        (replace(PROGRESS, boot_id="another boot"), START - MINUTE, 1040.0, 0 * SECOND),
        (replace(PROGRESS, boot_id=None), START - MINUTE, 1040.0, 0 * SECOND),
        (replace(PROGRESS, progress_awake=None), START - MINUTE, 1040.0, 0 * SECOND),
        (replace(PROGRESS, hold=OwnershipState.VACANT), START - MINUTE, 1040.0, 0 * SECOND),
    ],
)
def test_for_how_long_an_owner_has_hung(
    current: Ownership, due: datetime | None, awake: float, expected: timedelta
) -> None:
    found = hung_for(current, due, now=START, awake=awake, boot="this boot")
    assert found == expected
