"""One look at a Hermes profile: who is there, who ticks, who ran the last jobs, who runs the next.

It only looks: nothing of Hermes is opened for writing, no lock is taken or tried, no file made. It
needs no adoption. Read ``processes`` for how a process is known to belong here, ``findings`` for
what is said about it all.

Not for use inside a process of Hermes (see ``executions``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.jobs_file import read_heartbeats, read_jobs
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.executions import LIMIT, Ledger, read_ledger
from tenure.adapters.hermes.look.findings import conclude
from tenure.adapters.hermes.look.installation import (
    Installation,
    find_installations,
    installation_of,
)
from tenure.adapters.hermes.look.processes import HermesCandidate, find_processes
from tenure.adapters.hermes.look.report import AdoptionView, HermesProcess, Survey, Ticks
from tenure.adapters.hermes.look.scan import Scan, read_lock, system_scan
from tenure.domain.errors import (
    CorruptStore,
    NotFound,
    OutcomeUnknown,
    TenureError,
)
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.evidence import Evidence, Identity
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.warnings import ProfileWarning
from tenure.host.processes import observe as observe_process

__all__ = ["Survey", "foreign_of", "foreign_processes", "survey"]

THREADS = frozenset({"desktop-cron-ti", "desktop-cron-ticker", "cron-scheduler", "cron-ticker"})
"""Names of ticker threads; Python hands them to the kernel from 3.14 on, cut to 15 letters."""
_ORDER = (Ticks.YES, Ticks.MAY, Ticks.FENCED, Ticks.NO)

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
    now = now or datetime.now(UTC)
    found = find_processes(home, scan or system_scan())
    seen = [s for member in found.members if (s := _see(member, observe, home)) is not None]
    adoption = view_adoption(home)
    joined = read_membership(adoption, now)
    installations = find_installations(home, found.members, path=path)
    ledger = _ledger(home, installations, runs)
    tick_lock = read_lock(home.tick_lock, proc=proc)
    processes = [_process(*s, adoption, joined, ledger, tick_lock.fence) for s in seen]
    # Their own descriptors decide where a file system shows other device numbers than the kernel.
    lock_holders = [member.pid for member, _ in seen if member.holds_gateway_lock]
    report = Survey(
        home=home,
        at=now,
        installations=installations,
        service=next((s.label for s in service_definitions(home)), None),
        adoption=adoption,
        owner=joined.owner.pid if joined.owner else None,
        unreadable=joined.problem,
        processes=tuple(sorted(processes, key=lambda p: (_ORDER.index(p.ticks), p.started_at))),
        elsewhere=found.elsewhere,
        hidden=found.hidden,
        gateway_lock=read_lock(home.gateway_lock, proc=proc, holders=lock_holders),
        tick_lock=tick_lock,
        jobs=read_jobs(home),
        heartbeats=read_heartbeats(home, now),
        ledger=ledger,
    )
    verdict, warnings = conclude(report)
    if drift is not None and adoption is not None:
        lost = tuple(drift(home, report.installation))
        # A copied home is a damaged adoption too; the finding about the copy says more.
        repeated = {"adoption_damaged"} if "home_copied" in {w.code for w in lost} else set()
        warnings = (*(w for w in warnings if w.code not in repeated), *lost)
    return replace(report, verdict=verdict, warnings=warnings)


def foreign_processes(
    home: HermesHome, *, now: datetime | None = None, scan: Scan | None = None
) -> tuple[Process, ...]:
    """The tickers of a Hermes home that have not joined Tenure, as processes of that standing."""
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
        for process in survey(home, now=now, scan=scan).processes
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


# -- the adoption, seen from outside -------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedProcesses:
    """The processes that have joined the Tenure profile, by identity; living ones only."""

    processes: Mapping[Identity, Process] = field(default_factory=dict)
    owner: Identity | None = None
    problem: str | None = None
    """Why the profile could not be read."""


def view_adoption(home: HermesHome) -> AdoptionView | None:
    """None if the home is not adopted. Nothing is raised: a damaged record is a finding."""
    try:
        record = read_adoption(home)
    except (CorruptStore, OutcomeUnknown) as error:
        return AdoptionView(
            tenure_profile=home.tenure_profile, problem=error.text, remedy=error.remedy
        )
    if record is None:
        return None
    copied = f"{home.path} is a copy of {record.hermes_home}, which was adopted"
    return AdoptionView(
        state=record.state,
        tenure_profile=record.tenure_profile,
        tenure_home=str(record.tenure_home),
        adopted_at=record.adopted_at,
        hermes_version=record.hermes_version,
        forced=record.forced,
        problem=None if record.is_of(home) else copied,
    )


def read_membership(adoption: AdoptionView | None, now: datetime) -> JoinedProcesses:
    """Who has joined the profile of this adoption, and who owns. ``now`` is UTC."""
    if adoption is None or adoption.problem is not None:
        return JoinedProcesses()
    from tenure.client.health import examine
    from tenure.runtime.profile import Profile

    try:
        profile = Profile.open(adoption.tenure_profile, home=adoption.tenure_home, readonly=True)
        try:
            health = examine(profile, now)
        finally:
            profile.close()
    except TenureError as error:
        return JoinedProcesses(problem=error.text)
    except OSError as error:
        return JoinedProcesses(problem=str(error))
    owner = health.owner
    lives = owner is not None and owner.life is not HolderLife.DEAD
    return JoinedProcesses(
        processes={p.process.evidence.identity: p.process for p in health.present},
        owner=owner.process.evidence.identity if owner is not None and lives else None,
    )


# -- one process ---------------------------------------------------------------------------------
def _see(
    member: HermesCandidate, observe: Observe, home: HermesHome
) -> tuple[HermesCandidate, Evidence | None] | None:
    """The member with the system's evidence of it; None if it has ended."""
    try:
        evidence = observe(member.pid)
    except NotFound:
        return None
    except TenureError:
        return member, None
    if member.holds_gateway_lock is None and str(home.gateway_lock) in evidence.locks:
        member = replace(member, holds_gateway_lock=True)
    elif member.holds_gateway_lock is None and "locks" not in evidence.unknown:
        member = replace(member, holds_gateway_lock=False)
    return member, evidence


def _process(
    member: HermesCandidate,
    evidence: Evidence | None,
    adoption: AdoptionView | None,
    membership: JoinedProcesses,
    ledger: Ledger,
    fence: bool,
) -> HermesProcess:
    joined = membership.processes.get(evidence.identity) if evidence else None
    if joined is not None:
        judgement = _as_joined(joined)
    else:
        judgement = judge(
            member,
            holds_lock=member.holds_gateway_lock,
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


def _ledger(home: HermesHome, installations: Sequence[Installation], runs: int) -> Ledger:
    ledger = read_ledger(home.executions, limit=runs)
    first = installations[0] if installations else None
    if ledger.known or ledger.damaged or first is None or first.keeps_ledger is not False:
        return ledger
    why = f"Hermes {first.version or 'of this version'} does not record what executed a run"
    return replace(ledger, why=why)


# -- whether it ticks ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Judgement:
    """``repeats``: it ticks by itself every 60 s, if it ticks. ``on_request``: see Installation."""

    ticks: Ticks
    why: str
    repeats: bool = False
    on_request: bool | None = False


_GATEWAY = {
    True: Judgement(Ticks.YES, "a gateway ticks every minute", True),
    False: Judgement(
        Ticks.NO,
        "a gateway without gateway.lock: it is starting or stopping, or another one has it",
    ),
    None: Judgement(
        Ticks.MAY,
        "a gateway ticks while it holds gateway.lock; who holds it is unknown on this system",
        True,
    ),
}
"""By whether it holds gateway.lock."""


def _as_joined(process: Process) -> Judgement:
    """One that obeys Tenure: the owner's ticks run jobs, those of all others are refused."""
    because = process.why.partition(":")[0]  # the whole of it is said by `tenure status`
    if process.standing is ProcessStatus.OWNER:
        return Judgement(Ticks.YES, f"it owns the jobs in Tenure ({because})", True)
    return Judgement(Ticks.NO, f"Tenure refuses its ticks ({because})")


def judge(
    member: HermesCandidate,
    *,
    holds_lock: bool | None,
    installation: Installation | None,
    ran: int,
    fence: bool,
) -> Judgement:
    """Whether a process without Tenure ticks. ``ran``: how many recorded runs its ticks executed.

    A ticker is a thread that looks for due jobs every 60 seconds: the gateway always has one, a
    backend that the desktop app started has one, any other dashboard has none.
    """
    judgement = _unfenced(member, holds_lock, installation, ran)
    if fence and judgement.ticks in (Ticks.YES, Ticks.MAY):
        why = "its ticks end at the fence: cron/.tick.lock is a folder"
        return replace(judgement, ticks=Ticks.FENCED, why=why)
    return judgement


def _unfenced(
    member: HermesCandidate, holds_lock: bool | None, installation: Installation | None, ran: int
) -> Judgement:
    inline = None if installation is None else installation.runs_inline
    if member.role is Role.RUN:
        return Judgement(Ticks.NO, "it runs one job, and ends", on_request=True)
    if member.role is Role.TICK:
        return Judgement(Ticks.YES, "it ticks once, and ends", on_request=False)
    if member.role is Role.CHAT:
        return Judgement(Ticks.NO, _asked(inline, "an agent"), on_request=inline)
    if member.role is Role.PROGRAM:
        why = "a Python program that has Hermes' store open; what it does is not known"
        return Judgement(Ticks.MAY, why, on_request=None)
    if member.threads & THREADS:
        return Judgement(Ticks.YES, "its ticker thread is seen", True, inline)
    if ran:
        runs = "1 of the last runs" if ran == 1 else f"{ran} of the last runs"
        return Judgement(Ticks.YES, f"it ticks: it executed {runs}", True, inline)
    if member.role is Role.GATEWAY:
        return replace(_GATEWAY[holds_lock], on_request=inline)
    if not member.environ_known:
        why = "whether the desktop app started it cannot be read"
        return Judgement(Ticks.MAY, why, True, inline)
    if member.role is Role.DASHBOARD:
        why = f"no ticker: the desktop app did not start it; {_asked(inline, 'an agent in it')}"
        return Judgement(Ticks.NO, why, False, inline)
    if installation is not None and installation.desktop_ticks is False:
        version = installation.version or "this version"
        return Judgement(Ticks.NO, f"{version} has no ticker in its backends", False, inline)
    why = "it was started with HERMES_DESKTOP=1; no thread name and no recorded run confirms it"
    return Judgement(Ticks.MAY, why, True, inline)


def _asked(inline: bool | None, who: str) -> str:
    if inline is None:
        return f"{who} may run a job when asked"
    return f"{who} runs a job when asked" if inline else f"{who} only marks a job as due"
