"""Runs, omissions, requests, versions: small tables, looked at whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenure.domain.errors import IllegalTransition
from tenure.domain.omission import Omission, OmissionKind, resolution
from tenure.domain.request import (
    ANSWERED,
    OWNERS_WORD,
    Requester,
    RequestKind,
    RequestState,
    check_answer,
)
from tenure.domain.run import (
    ACTIVE,
    ENDED_BADLY,
    FINAL,
    TRANSITIONS,
    Attempt,
    Cause,
    Result,
    Run,
    RunState,
    check_transition,
)
from tenure.domain.version import is_newer
from testkit.factories import START, after

S = RunState
ENDS = {S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LOST, S.NEVER_RAN}
ARROWS = {
    S.CLAIMED: ENDS | {S.RUNNING, S.RETRYING},
    S.RUNNING: ENDS | {S.RETRYING},
    S.RETRYING: {S.CLAIMED, S.CANCELLED, S.FAILED},
}


@pytest.mark.parametrize("now", list(RunState))
@pytest.mark.parametrize("then", list(RunState))
def test_each_pair_is_an_arrow_or_illegal(now: RunState, then: RunState) -> None:
    if then in ARROWS.get(now, set()):
        check_transition(now, then)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(now, then)


def test_final_states_have_no_arrow() -> None:
    assert frozenset(ENDS) == FINAL
    assert FINAL - {S.SUCCEEDED} == ENDED_BADLY
    assert set(TRANSITIONS) == ACTIVE


def test_attempts_end_with_the_current_one() -> None:
    first = Attempt(number=1, claimed_at=START, term=1, process="a", state=S.RETRYING)
    run = Run(
        id="r1",
        job="j1",
        job_name="report",
        revision=1,
        fire_time=START,
        cause=Cause.SCHEDULE,
        state=S.SUCCEEDED,
        term=2,
        process="b",
        holder="c",
        policy_version=0,
        protected=False,
        attempt=2,
        claimed_at=after(seconds=9),
        started_at=after(seconds=10),
        finished_at=after(seconds=11),
        exit_code=0,
        earlier=(first,),
    )
    assert run.attempts == (
        first,
        Attempt(
            number=2,
            claimed_at=after(seconds=9),
            term=2,
            process="b",
            started_at=after(seconds=10),
            finished_at=after(seconds=11),
            state=S.SUCCEEDED,
            exit_code=0,
        ),
    )


@pytest.mark.parametrize(
    ("claimed", "missed", "run", "text"),
    [
        (1, 0, "r1", "run r1"),
        (1, 2, "r1", "run r1; 2 missed: late"),
        (3, 2, "r1", "3 ran; 2 missed: late"),
        (1, 1, None, "1 ran; 1 missed: late"),
        (0, 2, None, "missed: late"),
    ],
)
def test_a_resolution_in_words(claimed: int, missed: int, run: str | None, text: str) -> None:
    assert resolution(claimed=claimed, missed=missed, reason="late", run=run) == text


def test_only_held_fires_stay_open() -> None:
    omission = Omission(
        id=1,
        job="j1",
        job_name="report",
        revision=1,
        kind=OmissionKind.HELD,
        first=START,
        last=START,
        count=1,
        reason="",
        decided_at=START,
        decided_by="p",
        term=1,
    )
    assert omission.open
    assert not replace(omission, resolved_at=START).open
    assert not replace(omission, kind=OmissionKind.MISSED).open


@pytest.mark.parametrize("kind", list(RequestKind))
@pytest.mark.parametrize("now", list(RequestState))
@pytest.mark.parametrize("then", list(RequestState))
def test_requests_are_answered_once(
    kind: RequestKind, now: RequestState, then: RequestState
) -> None:
    """An accepted hand-over may fail still: its successor is to take the term."""
    R = RequestState  # noqa: N806
    legal = (now is R.PENDING and then is not R.PENDING) or (now, then) == (R.ACCEPTED, R.DONE)
    if kind is RequestKind.HAND_OVER and now is R.ACCEPTED:
        legal = then in (R.DONE, R.REFUSED, R.EXPIRED)
    if legal:
        check_answer(kind, now, then)
    else:
        with pytest.raises(IllegalTransition):
            check_answer(kind, now, then)
    assert (now in ANSWERED) == (now is not R.PENDING)
    assert OWNERS_WORD <= ANSWERED


@pytest.mark.parametrize(
    ("requester", "words"),
    [
        (Requester(pid=7, user="ada", via="cli"), "ada, pid 7, cli"),
        (Requester(pid=7, uid=0), "uid 0, pid 7"),
        (Requester(pid=7), "an unknown user, pid 7"),
    ],
)
def test_who_asks_in_words(requester: Requester, words: str) -> None:
    assert requester.describe() == words


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("1.10", "1.9"),
        ("1.0.1", "1.0"),
        ("1.0", "1.0rc1"),
        ("1.0rc2", "1.0rc1"),
        ("2026.3.1", "2026.2.28"),
        ("10", "9"),
        ("1", ""),
        ("1.0rc1", "0.9"),
    ],
)
def test_which_version_is_newer(newer: str, older: str) -> None:
    assert is_newer(newer, older)
    assert not is_newer(older, newer)
    assert not is_newer(newer, newer)


def test_punctuation_makes_no_version() -> None:
    assert not is_newer("1-0", "1.0")
    assert not is_newer("1.0", "1-0")


def test_an_end_can_always_be_written_down() -> None:
    """A file name that is not UTF-8, as Python hands it out, comes back in exceptions' texts."""
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    reason = f"FileNotFoundError: ü {name}"
    result = Result(
        run="r1", attempt=1, process="p1", state=S.FAILED, at=after(seconds=0), reason=reason
    )
    assert result.reason == "FileNotFoundError: ü caf\\udce9.txt"
    assert replace(result, state=S.LOST).reason == result.reason
