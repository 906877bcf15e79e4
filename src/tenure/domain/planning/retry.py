"""Whether a run that ended badly is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tenure.domain.job import Definition
from tenure.domain.run import Result, RunState

_RETRIED = frozenset({RunState.FAILED, RunState.TIMED_OUT})
_UNPROVED = frozenset({RunState.LOST, RunState.NEVER_RAN})


def or_retry(result: Result, wants: Definition, now: datetime) -> Result:
    """The result itself, or RETRYING with the instant of the next attempt.

    What was lost, or never ran, is only tried again where the user chose ``retry_lost`` (C4).
    """
    again = result.state in _RETRIED or (wants.retry_lost and result.state in _UNPROVED)
    if not again or result.attempt > wants.retries:
        return result
    delay = wants.retry_delay(result.attempt)
    return replace(
        result,
        state=RunState.RETRYING,
        retry_at=now + delay,
        reason=f"{result.reason or result.state}; attempt {result.attempt + 1} follows",
    )
