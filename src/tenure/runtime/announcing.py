"""Fires that a foreign scheduler in this process announces: claimed here, carried by it.

    foreign ticker: "job J is due, its fire is F"
        --> one commit: claimed | held | skipped | accounted for already
        --> what was claimed is lent back; the ticker enters it and says how it ended

The claim is the same as for any job: under the term, durable before the first instruction, never
twice, and refused by the store where the job is protected and the owner is not authoritative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenure.domain.announced import Announced, plan_announced
from tenure.domain.errors import NotFound
from tenure.domain.job import Definition, Job, State
from tenure.domain.omission import Omitted
from tenure.domain.plan import Due, Plan, Standing
from tenure.domain.run import ACTIVE, Run
from tenure.host.clocks import Clock
from tenure.runtime.callables import Callables, Lent
from tenure.runtime.dispatcher import Dispatcher, Mandate
from tenure.runtime.probes import Probes
from tenure.store.contract import ClaimOutcome, RunFilter, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one announced fire."""

    lent: Lent | None = None
    """The claimed run; None if it is not to be carried."""
    why: str = ""
    """Why it is not, in words."""
    omitted: Omitted | None = None


class Announcing:
    """Thread-safe."""

    def __init__(
        self,
        store: Store,
        *,
        dispatcher: Dispatcher,
        callables: Callables,
        probes: Probes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._callables = callables
        self._probes = probes
        self._clock = clock

    def claim(self, announced: Mapping[str, Announced]) -> dict[str, Answer] | None:
        """Claim what is due, by job id; None if this process does not own (any more).

        Raises what the store raises; then nothing was claimed.
        """
        jobs = {id: self._job(id) for id in announced}
        wanted = [job.definition for job in jobs.values() if job is not None]
        self._probe(wanted)

        def carry(mandate: Mandate) -> dict[str, Answer]:
            standing, began = self._standing(mandate, wanted), self._clock.continuous()
            with self._store.batch():
                made = {
                    id: self._claim_one(mandate, id, fire, standing)
                    for id, fire in announced.items()
                }
            # Lent once the commit stands, and not otherwise.
            return {
                id: Answer(lent=self._callables.lend(found, mandate.authority, began))
                if isinstance(found, Run)
                else found
                for id, found in made.items()
            }

        return self._dispatcher.under_mandate(carry)

    def _job(self, id: str) -> Job | None:
        try:
            return self._store.job(id)
        except NotFound:
            return None

    def _probe(self, wanted: list[Definition]) -> None:
        awake = self._clock.awake()
        names = {name for definition in wanted for name in definition.requires}
        self._probes.refresh(sorted(self._probes.missing(names, awake)), awake)

    def _standing(self, mandate: Mandate, wanted: list[Definition]) -> Standing:
        """Read again what a protected claim stands on (C8)."""
        best = mandate.standing
        if not best.authoritative or not any(d.needs_authority for d in wanted):
            return best
        return Standing(
            authoritative=self._dispatcher.recheck(),
            denied=self._probes.all_denied(),
            approve_protected=best.approve_protected,
        )

    def _claim_one(
        self, mandate: Mandate, id: str, announced: Announced, standing: Standing
    ) -> Answer | Run:
        job = self._job(id)
        if job is None or job.state is not State.ACTIVE:
            state = "unknown here" if job is None else str(job.state)
            return Answer(why=f"the job is {state}")
        now = self._clock.now()
        plan = plan_announced(self._due(job), announced, standing, now)
        if plan is None:
            return Answer(why="this fire was accounted for already")
        (made,) = self._store.claim(mandate.authority, [plan], now)
        if made.runs:
            return made.runs[0]
        return self._why_not(plan, made.outcome)

    def _due(self, job: Job) -> Due:
        runs, _ = self._store.runs(RunFilter(job=job.id, states=ACTIVE))
        holds, _ = self._store.omissions(job=job.id, only_open=True)
        return Due(job=job, active=len(runs), holds=tuple(reversed(holds)))

    @staticmethod
    def _why_not(plan: Plan, outcome: ClaimOutcome) -> Answer:
        if not plan.claims and plan.omissions:
            return Answer(why=plan.omissions[-1].reason, omitted=plan.omissions[-1].kind)
        if outcome is ClaimOutcome.REPEATED:
            return Answer(why="this fire was claimed before")
        return Answer(why=f"the store refused the claim: {outcome}")
