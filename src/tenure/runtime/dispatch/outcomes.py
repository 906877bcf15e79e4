"""What a turn writes down of runs: how they ended, and which commands may pass their gate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tenure.domain.errors import CorruptStore, NotFound, StaleTerm
from tenure.domain.ownership import Authority
from tenure.domain.planning.retry import or_retry
from tenure.domain.run import FinishOutcome, Result, Run, RunState, Start
from tenure.runtime.commands.gated import GatedCommand
from tenure.runtime.dispatch.claims import Outbox
from tenure.store.contract import Store


class Recording:
    """Used within the dispatcher's turn, in its one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ends(self, results: Sequence[Result], after: Outbox, now: datetime) -> None:
        """Write ends down, a failure as a retry where its job wants one. Whoever holds a run may
        end it, whoever owns by now (C6)."""
        if not results:
            return
        ends = [self._or_retry(result, now) for result in results]
        for end, took in zip(ends, self._store.finish(ends, now), strict=True):
            if took is not FinishOutcome.TAKEN:
                after.said.append(f"the end of {end.run} ({end.state}) was not taken: {took}")

    def starts(
        self,
        gates: Sequence[tuple[Run, GatedCommand]],
        authority: Authority | None,
        after: Outbox,
        now: datetime,
    ) -> None:
        """Write down that commands start. ``after`` is told whose gate is to be opened once that
        is committed, and whose never, and whether the term is over."""
        if not gates:
            return
        starts = [
            Start(
                run=run.id,
                attempt=gated.attempt,
                at=now,
                identity=gated.identity,
                log=f"{gated.attempt}.log",
            )
            for run, gated in gates
        ]
        taken: tuple[bool, ...] = (False,) * len(starts)
        if authority is not None:
            try:
                taken = self._store.start(authority, starts)
            except StaleTerm as error:
                after.stale = error
        for (run, gated), ok in zip(gates, taken, strict=True):
            if ok:
                after.opened.append(gated)
            else:
                after.closed.append((run, gated))

    def _or_retry(self, result: Result, now: datetime) -> Result:
        if result.state in (RunState.SUCCEEDED, RunState.CANCELLED):
            return result
        try:
            run = self._store.run(result.run)
            wants = self._store.definition(run.job, run.revision)
        except (NotFound, CorruptStore):  # deleted by retention, or its zone is gone: no retry then
            return result
        return or_retry(result, wants, now)
