"""Which ends are tried again, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenure.domain.job import Command, Definition
from tenure.domain.planning.retry import or_retry
from tenure.domain.run import Result, RunState
from tenure.domain.schedule.model import every_schedule

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wants(**fields: object) -> Definition:
    return Definition(
        name="j",
        schedule=every_schedule(timedelta(minutes=1), NOW),
        action=Command(argv=("true",)),
        **fields,  # type: ignore[arg-type]
    )


def ended(state: RunState, attempt: int = 1) -> Result:
    return Result(run="r", attempt=attempt, process="p", state=state, at=NOW, reason="exit code 3")


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.TIMED_OUT])
def test_a_bad_end_is_tried_again_after_the_backoff(state: RunState) -> None:
    again = or_retry(ended(state), wants(retries=1, backoff=timedelta(seconds=5)), NOW)
    assert again.state is RunState.RETRYING
    assert again.retry_at == NOW + timedelta(seconds=5)
    assert "attempt 2 follows" in again.reason
    assert "exit code 3" in again.reason


def test_the_backoff_doubles_up_to_an_hour() -> None:
    job = wants(retries=100, backoff=timedelta(seconds=10))
    delays = [or_retry(ended(RunState.FAILED, n), job, NOW).retry_at for n in (1, 2, 3, 50)]
    assert [d - NOW for d in delays if d] == [
        timedelta(seconds=10),
        timedelta(seconds=20),
        timedelta(seconds=40),
        timedelta(hours=1),
    ]


def test_the_last_attempt_stays_as_it_ended() -> None:
    result = ended(RunState.FAILED, attempt=3)
    assert or_retry(result, wants(retries=2), NOW) is result


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.CANCELLED])
def test_what_succeeded_or_was_cancelled_is_never_tried_again(state: RunState) -> None:
    result = ended(state)
    assert or_retry(result, wants(retries=5, retry_lost=True), NOW) is result


@pytest.mark.parametrize("state", [RunState.LOST, RunState.NEVER_RAN])
def test_what_was_lost_is_tried_again_only_where_the_user_chose_so(state: RunState) -> None:
    """C4: never silently run again; ``retry_lost`` is the user's explicit choice."""
    result = ended(state)
    assert or_retry(result, wants(retries=5), NOW) is result
    again = or_retry(result, wants(retries=5, retry_lost=True), NOW)
    assert again.state is RunState.RETRYING
