"""The result of a survey of a Hermes profile, and its stable JSON.

Instants are UTC. What could not be found out is None, with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.jobs_file import (
    Heartbeats,
    HermesJob,
    HermesScheduleKind,
    JobsFile,
)
from tenure.adapters.hermes.look.adoption_view import AdoptionView
from tenure.adapters.hermes.look.executions import Execution, Ledger, role_in, tally
from tenure.adapters.hermes.look.installation import Installation
from tenure.adapters.hermes.look.locks import Lock
from tenure.adapters.hermes.look.processes import HomeEvidence, OtherHomeProcess
from tenure.adapters.hermes.look.tickers import Ticks
from tenure.client.documents import VERSION, Json, instant, seconds, to_json
from tenure.client.documents.processes import evidence_document
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import ProcessStatus
from tenure.domain.warnings import ProfileWarning

MAX_RUNS = 10
"""The most runs that the document lists."""


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
        return {
            "v": VERSION,
            "at": instant(self.at),
            "hermes": self._hermes(),
            "adoption": self._adoption(),
            "verdict": self.verdict,
            "processes": [_process(process) for process in self.processes],
            "elsewhere": [_elsewhere(other) for other in self.elsewhere],
            "hidden": list(self.hidden),
            "locks": {
                "gateway": _lock(self.gateway_lock),
                "tick": {**_lock(self.tick_lock), "fence": self.tick_lock.fence},
            },
            "next": self._next(),
            "runs": self._runs(),
            "jobs": self._jobs(),
            "warnings": [
                {"code": w.code, "text": w.text, "remedy": w.remedy} for w in self.warnings
            ],
        }

    def _hermes(self) -> Json:
        found = self.installation
        return {
            "home": str(self.home.path),
            "profile": self.home.profile,
            "version": found.version if found else None,
            "python": found.python if found else None,
            "verified": found.verified if found else False,
            "found_by": found.found_by if found else None,
            "service": self.service,
            "installations": [
                {"version": i.version, "python": i.python, "code": i.code, "found_by": i.found_by}
                for i in self.installations
            ],
        }

    def _adoption(self) -> Json | None:
        if self.adoption is None:
            return None
        return {**self.adoption.document(), "owner": self.owner}

    def _next(self) -> Json | None:
        found = self.next_run()
        if found is None:
            return None
        return {
            "job": found.job.id,
            "job_name": found.job.name,
            "due": instant(found.job.due),
            "at": None,
            "winner": found.winner,
            "rivals": list(found.rivals),
            "certain": found.certain,
            "rotates": bool(found.rivals) and found.job.kind is HermesScheduleKind.INTERVAL,
            "why": found.why,
        }

    def _runs(self) -> Json:
        return {
            "known": self.ledger.known,
            "why": self.ledger.why or None,
            "count": len(self.ledger.rows),
            "by_role": self.by_role(),
            "last": [
                {
                    "job": row.job,
                    "source": row.source,
                    "pid": row.pid,
                    "role": self.role_of_run(row),
                    "status": row.status,
                    "claimed_at": instant(row.claimed_at),
                    "started_at": instant(row.started_at),
                    "finished_at": instant(row.finished_at),
                }
                for row in self.ledger.rows[:MAX_RUNS]
            ],
        }

    def _jobs(self) -> Json:
        following = self.jobs.next()
        return {
            "present": self.jobs.present,
            "count": len(self.jobs.jobs),
            "enabled": self.jobs.enabled,
            "odd": self.jobs.odd,
            "problem": self.jobs.problem,
            "next_due": instant(following.due) if following else None,
            "heartbeat_age": _seconds(self.heartbeats.ticked),
            "success_age": _seconds(self.heartbeats.succeeded),
        }


def _process(process: HermesProcess) -> Json:
    return {
        "pid": process.pid,
        "role": str(process.role),
        "standing": str(process.standing),
        "ticks": str(process.ticks),
        "why": process.why,
        "on_request": process.on_request,
        "store": str(process.store),
        "seen": process.seen,
        "started_at": instant(process.started_at),
        "before_adoption": process.before_adoption,
        "evidence": to_json(evidence_document(process.evidence)) if process.evidence else None,
    }


def _elsewhere(other: OtherHomeProcess) -> dict[str, Any]:
    return {
        "pid": other.pid,
        "role": str(other.role),
        "home": other.home,
        "store": str(other.store),
        "same_profile_name": other.same_name,
    }


def _lock(lock: Lock) -> Json:
    return {"known": lock.known, "held": lock.held, "pid": lock.pid}


def _seconds(value: timedelta | None) -> float | int | None:
    return None if value is None else seconds(timedelta(seconds=round(value.total_seconds(), 1)))


def names(processes: Sequence[HermesProcess]) -> str:
    """``pid 1 (gateway), pid 2 (desktop backend)``."""
    return ", ".join(process.describe() for process in processes)
