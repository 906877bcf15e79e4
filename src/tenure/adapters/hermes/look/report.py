"""The result of a survey of a Hermes profile, and its stable JSON.

Instants are UTC. What could not be found out is None, with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.jobs_file import (
    Heartbeats,
    HermesJob,
    JobsFile,
)
from tenure.adapters.hermes.look.executions import Execution, Ledger, role_in, tally
from tenure.adapters.hermes.look.installation import Installation
from tenure.adapters.hermes.look.processes import HomeEvidence, OtherHomeProcess
from tenure.adapters.hermes.look.scan import Lock
from tenure.client.documents import VERSION, Json, to_json
from tenure.client.documents.processes import evidence_document
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import ProcessStatus
from tenure.domain.warnings import ProfileWarning

MAX_RUNS = 10
"""The most runs that the document lists."""


class Ticks(StrEnum):
    """Whether a process looks for due jobs.

    ``yes`` and ``no`` rest on something observed (a lock, a thread, recorded runs) or on the code
    that is installed; ``may`` on what the process states, which is not proof.
    """

    YES = "yes"
    MAY = "may"
    NO = "no"
    FENCED = "fenced"
    """It ticks, and each tick ends at the fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionView:
    """What of the adoption's record matters to who may run jobs. Instants are UTC."""

    state: str = "unknown"
    tenure_profile: str
    tenure_home: str | None = None
    adopted_at: datetime | None = None
    hermes_version: str | None = None
    forced: bool = False
    problem: str | None = None
    """Why nothing of it may be relied on; then every process refuses everything."""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesProcess:
    """A process of the profile, and what is concluded about it."""

    pid: int
    stamp: int
    """Its start, as Hermes' ledger records it."""
    started_at: datetime
    role: Role
    standing: ProcessStatus
    """As the Tenure profile keeps it; foreign if the process has not joined that."""
    ticks: Ticks
    why: str
    repeats: bool
    """It ticks by itself, every 60 seconds, if it ticks."""
    on_request: bool | None
    """Whether it runs a job in its own process on request; None: unknown."""
    store: HomeEvidence
    seen: str
    joined: bool
    before_adoption: bool
    evidence: Evidence | None

    @property
    def executes(self) -> bool:
        """It ticks by itself, or may; nothing stops its ticks."""
        return self.repeats and self.ticks in (Ticks.YES, Ticks.MAY)

    def describe(self) -> str:
        return f"pid {self.pid} ({self.role.words})"


@dataclass(frozen=True, slots=True)
class NextTick:
    """The process that runs the job that is due next, as far as it is known."""

    job: HermesJob
    winner: int | None = None
    """Its pid; None: no process, or one of ``rivals``."""
    certain: bool = False
    rivals: tuple[int, ...] = ()
    """The pids of several processes that tick: which of them is first is not known."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A Hermes profile at one moment."""

    home: HermesHome
    at: datetime
    installations: tuple[Installation, ...]
    """The first is the one that counts; none: no Hermes was found."""
    service: str | None
    """The label of the gateway's service, if Hermes has written a definition of one."""
    adoption: AdoptionView | None
    owner: int | None
    """The pid of the process that owns the adopted profile."""
    unreadable: str | None
    """Why the Tenure profile of the adoption could not be read."""
    processes: tuple[HermesProcess, ...]
    elsewhere: tuple[OtherHomeProcess, ...]
    hidden: tuple[int, ...]
    gateway_lock: Lock
    tick_lock: Lock
    jobs: JobsFile
    heartbeats: Heartbeats
    ledger: Ledger
    verdict: str = ""
    warnings: tuple[ProfileWarning, ...] = ()

    @property
    def installation(self) -> Installation | None:
        return self.installations[0] if self.installations else None

    @property
    def tickers(self) -> tuple[HermesProcess, ...]:
        """Those whose ticks execute jobs, as far as is known."""
        return tuple(process for process in self.processes if process.executes)

    def process(self, pid: int | None) -> HermesProcess | None:
        return next((process for process in self.processes if process.pid == pid), None)

    def next_run(self) -> NextTick | None:
        """None: no job is due."""
        job, pids = self.jobs.next(), tuple(process.pid for process in self.tickers)
        if job is None:
            return None
        if self.owner is not None:
            return NextTick(job, self.owner, True, why="it owns the jobs; no other tick runs them")
        if not pids:
            return NextTick(job, why="nothing ticks")
        if len(pids) == 1:
            return NextTick(job, pids[0], why="no other process ticks")
        return NextTick(job, rivals=pids, why="the first tick after the job is due runs it")

    def by_role(self) -> dict[str, int]:
        """The number of the last runs that each role executed."""
        return tally(self.ledger.rows, self._roles())

    def role_of_run(self, run: Execution) -> str:
        return role_in(run, self._roles())

    def _roles(self) -> dict[tuple[int, int], str]:
        return {(p.pid, p.stamp): str(p.role) for p in self.processes}

    def to_json(self) -> Json:
        """The document of ``tenure hermes status --json``."""
        installation, adoption, ahead = self.installation, self.adoption, self.next_run()
        document = {
            "v": VERSION,
            "at": self.at,
            "hermes": {
                "home": self.home.path,
                "profile": self.home.profile,
                "version": installation.version if installation else None,
                "python": installation.python if installation else None,
                "verified": installation.verified if installation else False,
                "found_by": installation.found_by if installation else None,
                "service": self.service,
                "installations": _each(self.installations, "version python code found_by"),
            },
            "adoption": adoption
            and {
                **_fields(
                    adoption,
                    "state tenure_home tenure_profile adopted_at hermes_version forced problem",
                ),
                "owner": self.owner,
            },
            "verdict": self.verdict,
            "processes": [
                {
                    **_fields(process, "pid role standing ticks why on_request store seen"),
                    **_fields(process, "started_at before_adoption"),
                    "evidence": process.evidence and evidence_document(process.evidence),
                }
                for process in self.processes
            ],
            "elsewhere": [
                {**_fields(other, "pid role home store"), "same_profile_name": other.same_name}
                for other in self.elsewhere
            ],
            "hidden": self.hidden,
            "locks": {
                "gateway": _fields(self.gateway_lock, "known held pid"),
                "tick": _fields(self.tick_lock, "known held pid fence"),
            },
            "next": ahead
            and {
                "job": ahead.job.id,
                "job_name": ahead.job.name,
                "due": ahead.job.due,
                "at": None,
                **_fields(ahead, "winner rivals certain"),
                "rotates": bool(ahead.rivals) and ahead.job.kind == "interval",
                "why": ahead.why,
            },
            "runs": {
                "known": self.ledger.known,
                "why": self.ledger.why or None,
                "count": len(self.ledger.rows),
                "by_role": self.by_role(),
                "last": [
                    {
                        **_fields(row, "job source pid"),
                        "role": self.role_of_run(row),
                        **_fields(row, "status claimed_at started_at finished_at"),
                    }
                    for row in self.ledger.rows[:MAX_RUNS]
                ],
            },
            "jobs": {
                "present": self.jobs.present,
                "count": len(self.jobs.jobs),
                **_fields(self.jobs, "enabled odd problem"),
                "next_due": ahead and ahead.job.due,
                "heartbeat_age": _tenths(self.heartbeats.ticked),
                "success_age": _tenths(self.heartbeats.succeeded),
            },
            "warnings": _each(self.warnings, "code text remedy"),
        }
        return {key: to_json(value) for key, value in document.items()}


def _fields(source: object, names: str) -> Json:
    """Attributes as JSON fields of the same name."""
    return {name: getattr(source, name) for name in names.split()}


def _each(sources: Sequence[object], names: str) -> list[Json]:
    return [_fields(source, names) for source in sources]


def _tenths(age: timedelta | None) -> timedelta | None:
    return None if age is None else timedelta(seconds=round(age.total_seconds(), 1))


def names(processes: Sequence[HermesProcess]) -> str:
    """``pid 1 (gateway), pid 2 (desktop backend)``."""
    return ", ".join(process.describe() for process in processes)
