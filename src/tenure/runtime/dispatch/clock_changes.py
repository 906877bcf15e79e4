"""What happened to the clock under an owner: written down, and planned anew where it must be."""

from __future__ import annotations

import logging
from collections import deque
from datetime import datetime

from tenure.domain.event import EventKind
from tenure.domain.ownership import Authority
from tenure.host.clocks import Clock, ClockChange, ClockChangeKind, ClockWatch
from tenure.store.contract import Store

log = logging.getLogger("tenure.dispatcher")


class ClockChanges:
    """Used by the dispatcher's turn."""

    def __init__(self, store: Store, clock: Clock, process: str) -> None:
        self._store = store
        self._watch = ClockWatch(clock)
        self._process = process
        self._changes: deque[ClockChange] = deque()
        self._term: int | None = None
        """Of the owner at the last look."""

    def see(self, authority: Authority | None, now: datetime) -> None:
        """Say what happened to the clock; kept until it could be written down. After a step
        backward the jobs are planned anew from now (C5)."""
        while (change := self._watch.look()) is not None:
            log.warning("the clock: %s by %.1f s", change.kind, change.amount)
            self._changes.append(change)
        term = authority.term if authority is not None else None
        if term is None or term != self._term:
            self._changes.clear()  # whoever takes ownership plans by the clock it finds
        self._term = term
        while self._changes and authority is not None:
            change = self._changes[0]
            with self._store.batch():
                self._store.record_event(
                    EventKind.CLOCK,
                    now,
                    term=authority.term,
                    process=self._process,
                    facts={"kind": str(change.kind), "seconds": change.amount},
                )
                if change.kind is ClockChangeKind.STEP_BACKWARD:
                    self._store.restart_planning(authority, now)
            self._changes.popleft()
