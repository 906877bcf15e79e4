"""The figures as Prometheus names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tenure.domain.job import JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.process import ProcessStatus
from tenure.domain.request import RequestState
from tenure.domain.run import FINAL, Cause
from tenure.surfaces.web.metrics.tally import Distribution, Tally
from tenure.surfaces.web.reports import foreign_in, state_of

STATES = ("owned", "stopped", "frozen", "hung", "dead", "unverifiable", "nobody")
TAKEOVERS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


def families(
    tallies: Sequence[Tally], takeovers: Mapping[str, Distribution], listeners: int
) -> Iterator[Metric]:
    """Every metric, with each profile's values."""
    yield from _counted(tallies)
    yield from _standing(tallies)
    yield from _measured(tallies, takeovers)
    yield GaugeMetricFamily(
        "tenure_web_listeners", "Streams that are open at this dashboard.", float(listeners)
    )


def _counted(tallies: Sequence[Tally]) -> Iterator[Metric]:
    fires = CounterMetricFamily(
        "tenure_fires", "Due fires by what became of them.", labels=("profile", "outcome")
    )
    claims = CounterMetricFamily(
        "tenure_claims", "Runs that were claimed, by cause.", labels=("profile", "cause")
    )
    ended = CounterMetricFamily(
        "tenure_runs_ended", "Runs that ended, by how.", labels=("profile", "state")
    )
    refused = CounterMetricFamily(
        "tenure_claims_refused", "Claims that the store refused.", labels=("profile",)
    )
    answers = CounterMetricFamily(
        "tenure_requests_answered", "Requests, by the answer.", labels=("profile", "state")
    )
    for tally in tallies:
        name = tally.profile.name
        for outcome in ("claimed", *OmissionKind):
            fires.add_metric((name, str(outcome)), float(tally.fires[str(outcome)]))
        for cause in Cause:
            claims.add_metric((name, str(cause)), float(tally.claims[str(cause)]))
        for state in sorted(FINAL):
            ended.add_metric((name, str(state)), float(tally.ended[str(state)]))
        refused.add_metric((name,), float(tally.refused_claims))
        for answer in RequestState:
            if answer is not RequestState.PENDING:
                answers.add_metric((name, str(answer)), float(tally.answers[str(answer)]))
    yield from (fires, claims, ended, refused, answers)


def _standing(tallies: Sequence[Tally]) -> Iterator[Metric]:
    def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"tenure_{name}", text, labels=("profile", *labels))

    term = gauge("owner_term", "The term that was begun last.")
    state = gauge("owner_state", "1 for how the ownership stands.", "state")
    authoritative = gauge("owner_authoritative", "1 if protected jobs may run.")
    jobs = gauge("jobs", "Jobs by state.", "state")
    protected = gauge("jobs_protected", "Jobs that only an authoritative owner may run.")
    active = gauge("active_runs", "Runs that are claimed, running or between attempts.")
    held = gauge("open_holds", "Stretches of fires that wait for an authoritative owner.")
    pending = gauge("requests_pending", "Requests that are not answered yet.")
    processes = gauge("processes", "Processes that are there, by standing.", "standing")
    for tally in tallies:
        name, health, counts = tally.profile.name, tally.health, tally.counts
        term.add_metric((name,), float(health.ownership.term))
        now = state_of(health)
        for each in STATES:
            state.add_metric((name, each), float(each == now))
        authoritative.add_metric((name,), float(health.owned and health.ownership.authoritative))
        for job_state in JobState:
            jobs.add_metric((name, str(job_state)), float(counts.jobs.get(job_state, 0)))
        protected.add_metric((name,), float(counts.protected))
        active.add_metric((name,), float(counts.active_runs))
        held.add_metric((name,), float(counts.open_holds))
        pending.add_metric((name,), float(counts.pending_requests))
        standings = [str(present.process.standing) for present in health.present]
        standings += [str(ProcessStatus.FOREIGN)] * len(foreign_in(tally.profile))
        for standing in sorted(set(standings)):
            processes.add_metric((name, standing), float(standings.count(standing)))
    yield from (
        term, state, authoritative, jobs, protected, active, held, pending, processes,
    )  # fmt: skip


def _measured(tallies: Sequence[Tally], takeovers: Mapping[str, Distribution]) -> Iterator[Metric]:
    lag = HistogramMetricFamily(
        "tenure_claim_lag_seconds",
        "From the nominal fire to its claim, jitter included.",
        labels=("profile",),
    )
    takeover = HistogramMetricFamily(
        "tenure_takeover_seconds",
        "Without a living owner before a term began, at most; to a quarter second after a death.",
        labels=("profile",),
    )
    for tally in tallies:
        name = tally.profile.name
        lag.add_metric((name,), buckets=tally.lag.buckets(), sum_value=tally.lag.sum)
        took = takeovers.get(name) or Distribution(TAKEOVERS)
        takeover.add_metric((name,), buckets=took.buckets(), sum_value=took.sum)
    yield from (lag, takeover)
