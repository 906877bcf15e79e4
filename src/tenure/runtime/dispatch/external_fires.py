"""Fires that another scheduler in this process announces: claimed here, run by it.

    foreign ticker: "job J is due, its fire is F"
        --> one commit: claimed | held | skipped | already accounted for
        --> it gets a RunHandle for what was claimed, enters it and reports how it ended

The claim is the same as for any job: under the term, durable before the first instruction, never
twice, and refused by the store where the job is protected and the owner is not authoritative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenure.domain.errors import CorruptStore, NotFound
from tenure.domain.job import Job, JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities, Plan
from tenure.domain.run import ACTIVE, Run
from tenure.domain.schedule.model import ScheduleKind
from tenure.runtime.callables.runner import CallableRunner, RunHandle
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.turn import Mandate
from tenure.store.contract import ClaimOutcome, RunFilter

PROBE_TIMEOUT_S = 5.0
"""How long the ticker waits for probes. A file system that hangs delays no other job then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalClaim:
    """What became of one announced fire."""

    handle: RunHandle | None = None
    """The claimed run; None if it must not run."""
    why: str = ""
    """Why it must not run."""
    omitted: OmissionKind | None = None
    settled: bool = False
    """Whether the fire is accounted for: the other scheduler may move on to its next fire. If not,
    nothing was recorded, and it must announce the fire again."""


class ExternalFires:
    """Thread-safe."""

    def __init__(
        self, context: OwnerContext, dispatcher: Dispatcher, callables: CallableRunner
    ) -> None:
        self._context = context
        self._store = context.store
        self._dispatcher = dispatcher
        self._callables = callables
        self._probes = context.probes
        self._clock = context.clock

    def claim(self, announced: Mapping[str, Announced]) -> dict[str, ExternalClaim] | None:
        """Claim what is due, by job id; None if this process does not own, or no longer.

        Waits for probes that have no current answer, up to :data:`PROBE_TIMEOUT_S`. Raises what the
        store raises; then nothing was claimed.
        """
        self._probe(announced)

        def carry(mandate: Mandate) -> dict[str, ExternalClaim]:
            standing, began = self._context.recheck(mandate.standing), self._clock.continuous()
            with self._store.batch():
                claims = {
                    id: self._claim_one(mandate, id, fire, standing)
                    for id, fire in announced.items()
                }
            # Only now is the claim durable, and the run may be entered.
            return {
                id: ExternalClaim(
                    handle=self._callables.issue(claim, mandate.authority, began), settled=True
                )
                if isinstance(claim, Run)
                else claim
                for id, claim in claims.items()
            }

        return self._dispatcher.under_mandate(carry)

    def _probe(self, ids: Iterable[str]) -> None:
        found = (self._job(id) for id in ids)
        names = {n for job in found if isinstance(job, Job) for n in job.definition.requires}
        if names:
            self._probes.wait_for(
                names, self._clock.awake, lambda freed: self._dispatcher.look(), PROBE_TIMEOUT_S
            )

    def _job(self, id: str) -> Job | ExternalClaim:
        """A job that may be announced. A job that cannot be read blocks no other."""
        try:
            job = self._store.job(id)
        except (NotFound, CorruptStore) as error:
            return ExternalClaim(why=error.text)
        if job.damage is not None:
            return ExternalClaim(why=job.damage.reason)
        if job.definition.schedule.kind is not ScheduleKind.FOREIGN:
            return ExternalClaim(why="this job is planned by Tenure, not by another scheduler")
        return job if job.state is JobState.ACTIVE else ExternalClaim(why=f"the job is {job.state}")

    def _claim_one(
        self, mandate: Mandate, id: str, announced: Announced, standing: OwnerCapabilities
    ) -> ExternalClaim | Run:
        job, now = self._job(id), self._clock.now()
        if isinstance(job, ExternalClaim):
            return job
        unknown = self._probes.missing(job.definition.requires, self._clock.awake())
        if unknown:
            return ExternalClaim(
                why=f"the probe of {', '.join(sorted(unknown))} has not answered yet"
            )
        plan = plan_announced(self._due(job), announced, standing, now)
        if plan is None and announced.fire > now:
            return ExternalClaim(why="this scheduled run is not due yet")
        if plan is None:
            return ExternalClaim(why="this scheduled run is already accounted for", settled=True)
        (made,) = self._store.claim(mandate.authority, [plan], now)
        return made.runs[0] if made.runs else self._why_not(plan, made.outcome)

    def _due(self, job: Job) -> Due:
        runs, _ = self._store.runs(RunFilter(job=job.id, states=ACTIVE))
        holds, _ = self._store.omissions(job=job.id, only_open=True)
        return Due(job=job, active=len(runs), holds=tuple(reversed(holds)))

    @staticmethod
    def _why_not(plan: Plan, outcome: ClaimOutcome) -> ExternalClaim:
        if outcome is ClaimOutcome.CLAIMED:
            stretch = plan.omissions[-1]
            return ExternalClaim(why=stretch.reason, omitted=stretch.kind, settled=True)
        if outcome is ClaimOutcome.REPEATED:
            return ExternalClaim(why="this scheduled run was claimed before", settled=True)
        return ExternalClaim(why=f"the store refused the claim: {outcome}")
