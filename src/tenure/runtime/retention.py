"""Keeps the history within its bounds, and the folder of live locks tidy; the owner's work."""

from __future__ import annotations

import shutil
from datetime import timedelta

from tenure.domain.ownership import Authority
from tenure.host.live import sweep
from tenure.runtime.owner_context import OwnerContext
from tenure.store.contract import PurgeLimits

PURGE_EVERY_S = 60.0
PURGE_MORE_S = 1.0
"""The same where a purge left more to delete."""
_FULL_PURGE = 500
"""Runs that one purge deletes at most."""


class HistoryPurge:
    """Used by the keeper's thread alone."""

    def __init__(self, context: OwnerContext) -> None:
        self._context = context
        self._next = context.clock.awake() + PURGE_EVERY_S
        self._last: tuple[int, float] | None = None
        """Term and continuous time of the last purge."""

    def look(self, authority: Authority) -> None:
        """Purge if it is time to; one comparison otherwise."""
        awake = self._context.clock.awake()
        if awake < self._next:
            return
        profile, store = self._context.profile, self._context.store
        kept = profile.settings().retention
        purged = store.purge(
            PurgeLimits(runs_per_job=kept.runs, days=kept.days, events=kept.events),
            store.history_now(self._context.clock.now(), self._elapsed(authority.term)),
        )
        for run in purged.runs:
            shutil.rmtree(profile.folder.logs / run, ignore_errors=True)
        sweep(profile.folder.live, {p.id for p in store.processes()})
        self._next = awake + (PURGE_MORE_S if len(purged.runs) >= _FULL_PURGE else PURGE_EVERY_S)

    def _elapsed(self, term: int) -> timedelta:
        """Real time since the last call in this term: other owners count their own."""
        before, self._last = self._last, (term, self._context.clock.continuous())
        if before is None or before[0] != term:
            return timedelta(0)
        return timedelta(seconds=self._last[1] - before[1])
