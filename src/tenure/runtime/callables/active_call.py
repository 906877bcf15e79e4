"""A run of a callable, from its claim until its function has returned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenure.domain.job import Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Run, RunState

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none


@dataclass(slots=True)
class ActiveCall:
    """``lock`` guards what decides whether it is entered, and how it ended."""

    run: Run
    runner: Runner
    authority: Authority
    claimed: float
    """Continuous time of the claim."""
    submitted: float
    """Awake time."""
    function: Callable[..., Any]
    args: Mapping[str, Any]
    deadline: float | None = None
    """Awake time: of its timeout, or of a cancelled coroutine's tidying up."""
    timeout: timedelta | None = None
    entered: datetime | None = None
    noted: bool = False
    told: bool = False
    """That it cannot begin."""
    over: RunState | None = None
    """TIMED_OUT or CANCELLED, once that was decided."""
    reason: str = ""
    """Why, of a coroutine that is to tidy up first."""
    reported: bool = False
    runs_on: bool = False
    """Its run was ended, and its thread could not be."""
    lent: bool = False
    task: asyncio.Task[Any] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def waits(self) -> bool:
        """Whether its function has neither been entered nor given up."""
        return self.entered is None and self.over is None
