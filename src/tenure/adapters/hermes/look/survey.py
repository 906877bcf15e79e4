"""One look at a Hermes profile: who is there, who ticks, who ran the last jobs, who runs the next.

An onlooker's: nothing of Hermes is opened for writing, no lock is taken or tried, no file made. It
needs no adoption. Read ``processes`` for how a process is known to belong here, ``ticking`` for
what is concluded from that, ``findings`` for what is said about it all.

Not for use inside a process of Hermes (see ``executions``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.facts.jobs_file import read_heartbeats, read_jobs
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.adoption_view import (
    AdoptionView,
    JoinedProcesses,
    read_membership,
    view_adoption,
)
from tenure.adapters.hermes.look.executions import LIMIT, Ledger, read_ledger
from tenure.adapters.hermes.look.findings import conclude
from tenure.adapters.hermes.look.installation import (
    Installation,
    find_installations,
    installation_of,
)
from tenure.adapters.hermes.look.locks import Lock, read_lock
from tenure.adapters.hermes.look.processes import HermesCandidate, find_processes
from tenure.adapters.hermes.look.report import HermesProcess, Survey
from tenure.adapters.hermes.look.scan import Scan, system_scan
from tenure.adapters.hermes.look.tickers import Judgement, Ticks, judge
from tenure.domain.errors import NotFound, TenureError
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.warnings import ProfileWarning
from tenure.host.processes import observe as observe_process

__all__ = ["Survey", "foreign_of", "foreign_processes", "survey"]

Observe = Callable[[int], Evidence]
Drift = Callable[[HermesHome, Installation | None], Iterable[ProfileWarning]]


def survey(
    home: HermesHome,
    *,
    now: datetime | None = None,
    scan: Scan | None = None,
    observe: Observe = observe_process,
    drift: Drift | None = None,
    proc: str = "/proc",
    path: str | None = None,
    runs: int = LIMIT,
) -> Survey:
    """Look at a profile. Raises nothing about what it finds; each finding is in the answer.

    ``now`` is UTC, by default the wall clock. ``drift`` finds what an adoption has lost since.
    ``path`` is the PATH to look for Hermes in. ``runs``: the number of last
    runs to report. ``scan``, ``observe`` and ``proc`` are the system's own but in tests.
    """
    look = _Look(home, now or datetime.now(UTC), scan or system_scan(), observe, proc)
    found = look.survey(path, runs)
    verdict, warnings = conclude(found)
    if drift is not None and found.adoption is not None:
        lost = tuple(drift(home, found.installation))
        said = {"adoption_damaged"} if "home_copied" in {w.code for w in lost} else set()
        warnings = (*(w for w in warnings if w.code not in said), *lost)
    return replace(found, verdict=verdict, warnings=warnings)


def foreign_processes(
    home: HermesHome, *, now: datetime | None = None, scan: Scan | None = None
) -> tuple[Process, ...]:
    """The tickers of a Hermes home that have not joined Tenure, as processes of that standing."""
    found = survey(home, now=now, scan=scan)
    return tuple(
        Process(
            id=f"hermes-{process.pid}-{process.stamp}",
            evidence=process.evidence,
            joined_at=process.started_at,
            executes=True,
            standing=ProcessStatus.FOREIGN,
            why=f"Hermes, {_why_foreign(process)}: {process.why}",
            role=process.role.words,
        )
        for process in found.processes
        if process.repeats and not process.joined and process.evidence is not None
    )


def foreign_of(link: Path) -> tuple[Process, ...]:
    """The same, of the home that a Tenure profile's ``hermes.json`` names; () if it names none."""
    try:
        home = home_of(str(json.loads(link.read_text("utf-8"))["hermes_home"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, TenureError):
        return ()  # a path that is none, or a ~user that is not there, among them
    return foreign_processes(home)


def _why_foreign(process: HermesProcess) -> str:
    if process.before_adoption:
        return "started before the adoption, restart it"
    return "without Tenure's plugin"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A member with the system's evidence of it."""

    member: HermesCandidate
    evidence: Evidence | None
    holds_lock: bool | None


class _Look:
    def __init__(
        self, home: HermesHome, now: datetime, scan: Scan, observe: Observe, proc: str
    ) -> None:
        self.home, self.now, self.scan, self.proc = home, now, scan, proc
        self.observe = observe

    def survey(self, path: str | None, runs: int) -> Survey:
        home, now = self.home, self.now
        found = find_processes(home, self.scan)
        seen = [s for s in map(self._seen, found.members) if s is not None]
        adoption = view_adoption(home)
        membership = read_membership(adoption, now)
        installations = find_installations(home, found.members, path=path)
        ledger = _ledger(home, installations, runs)
        tick_lock = read_lock(home.tick_lock, proc=self.proc)
        judged = [self._judge(s, adoption, membership, ledger, tick_lock.fence) for s in seen]
        processes = tuple(sorted(judged, key=_order))
        return Survey(
            home=home,
            at=now,
            installations=installations,
            service=next((s.label for s in service_definitions(home)), None),
            adoption=adoption,
            owner=membership.owner.pid if membership.owner else None,
            unreadable=membership.problem,
            processes=processes,
            elsewhere=found.elsewhere,
            hidden=found.hidden,
            gateway_lock=self._gateway_lock(seen),
            tick_lock=tick_lock,
            jobs=read_jobs(home),
            heartbeats=read_heartbeats(home, now),
            ledger=ledger,
        )

    def _seen(self, member: HermesCandidate) -> _Seen | None:
        try:
            evidence = self.observe(member.pid)
        except NotFound:
            return None
        except TenureError:
            evidence = None
        return _Seen(member, evidence, _holds_lock(member, evidence, self.home))

    def _gateway_lock(self, seen: Sequence[_Seen]) -> Lock:
        holders = [s.member.pid for s in seen if s.holds_lock]
        return read_lock(self.home.gateway_lock, proc=self.proc, holders=holders)

    def _judge(
        self,
        seen: _Seen,
        adoption: AdoptionView | None,
        membership: JoinedProcesses,
        ledger: Ledger,
        fence: bool,
    ) -> HermesProcess:
        member, evidence = seen.member, seen.evidence
        joined = membership.processes.get(evidence.identity) if evidence else None
        if joined is not None:
            judgement = _as_joined(joined)
        else:
            judgement = judge(
                member,
                holds_lock=seen.holds_lock,
                installation=installation_of(member.python, "") if member.python else None,
                ran=sum(r.source == "builtin" for r in ledger.by(member.pid, member.start)),
                fence=fence,
            )
        adopted_at = adoption.adopted_at if adoption else None
        started_at = (evidence.started_at if evidence else None) or member.start.at
        return HermesProcess(
            pid=member.pid,
            stamp=member.start.stamp,
            started_at=started_at,
            role=member.role,
            standing=joined.standing if joined else ProcessStatus.FOREIGN,
            ticks=judgement.ticks,
            why=judgement.why,
            repeats=judgement.repeats,
            on_request=judgement.on_request,
            store=member.store,
            seen=member.seen,
            joined=joined is not None,
            before_adoption=joined is None and adopted_at is not None and started_at < adopted_at,
            evidence=evidence,
        )


def _holds_lock(
    member: HermesCandidate, evidence: Evidence | None, home: HermesHome
) -> bool | None:
    if member.holds_gateway_lock is not None or evidence is None:
        return member.holds_gateway_lock
    if str(home.gateway_lock) in evidence.locks:
        return True
    return None if "locks" in evidence.unknown else False


def _as_joined(process: Process) -> Judgement:
    """One that obeys Tenure: the owner's ticks run jobs, those of all others are refused."""
    because = process.why.partition(":")[0]  # the whole of it is said by `tenure status`
    if process.standing is ProcessStatus.OWNER:
        return Judgement(Ticks.YES, f"it owns the jobs in Tenure ({because})", True)
    return Judgement(Ticks.NO, f"Tenure refuses its ticks ({because})")


def _ledger(home: HermesHome, installations: Sequence[Installation], runs: int) -> Ledger:
    ledger = read_ledger(home.executions, limit=runs)
    if ledger.known or ledger.damaged:
        return ledger
    first = installations[0] if installations else None
    if first is not None and first.keeps_ledger is False:
        why = f"Hermes {first.version or 'of this version'} does not record what executed a run"
        return replace(ledger, why=why)
    return ledger


def _order(process: HermesProcess) -> tuple[int, datetime]:
    ranks = {Ticks.YES: 0, Ticks.MAY: 1, Ticks.FENCED: 2, Ticks.NO: 3}
    return ranks[process.ticks], process.started_at
