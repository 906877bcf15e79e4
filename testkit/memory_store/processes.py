"""Processes, the accepted policy, and how long better-ranked processes have been away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tenure.domain.errors import Conflict, NotFound
from tenure.domain.event import EventKind
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process, ProcessStatus
from tenure.store.contract import Absence
from testkit.memory_store.base import Base, verb


class ProcessLayer(Base):
    @verb
    def join(self, process: Process) -> None:
        if process.id in self._tables.processes:
            raise Conflict(f"a process {process.id!r} has joined before")
        self._tables.processes[process.id] = process
        facts = {"pid": process.evidence.identity.pid, "standing": process.standing.value}
        self._say(EventKind.PROCESS_JOINED, process.joined_at, process=process.id, facts=facts)

    @verb
    def set_standing(
        self, process: str, standing: ProcessStatus, why: str, rule: int | None, now: datetime
    ) -> None:
        found = self.process(process)
        changed = replace(found, standing=standing, why=why, rule=rule)
        if changed == found:
            return
        self._tables.processes[process] = changed
        facts = {"from": found.standing.value, "to": standing.value, "why": why, "rule": rule}
        self._say(EventKind.STANDING_CHANGED, now, process=process, facts=facts)

    @verb
    def observe_process(self, process: str, evidence: Evidence) -> None:
        self._tables.processes[process] = replace(self.process(process), evidence=evidence)

    @verb
    def leave(self, process: str, now: datetime, *, died: bool = False, why: str = "") -> None:
        found = self.process(process)
        if found.left_at is not None:
            return
        self._tables.processes[process] = replace(found, left_at=now)
        kind = EventKind.PROCESS_DIED if died else EventKind.PROCESS_LEFT
        self._say(kind, now, process=process, facts={"why": why})

    @verb
    def process(self, process: str) -> Process:
        try:
            return self._tables.processes[process]
        except KeyError:
            raise NotFound(f"no process {process!r} has joined") from None

    @verb
    def processes(self, *, gone: bool = False) -> tuple[Process, ...]:
        return tuple(p for p in self._tables.processes.values() if gone or p.left_at is None)

    @verb
    def policy(self) -> Policy:
        return self._tables.policy

    @verb
    def accept_policy(self, policy: Policy, by: str, now: datetime) -> Policy:
        current = self._tables.policy
        if policy.hash == current.hash:
            return current
        accepted = replace(policy, version=current.version + 1)
        self._tables.policy = accepted
        facts = {"by": by, "version": accepted.version, "hash": accepted.hash}
        self._say(EventKind.POLICY_ACCEPTED, now, facts=facts)
        return accepted

    @verb
    def absence(self, rank: int) -> Absence | None:
        return self._tables.absences.get(rank)

    @verb
    def note_absence(self, absence: Absence) -> Absence:
        known = self._tables.absences.get(absence.rank)
        same_boot = known is not None and known.boot_id == absence.boot_id
        if known is not None and same_boot and known.awake <= absence.awake:
            return known
        self._tables.absences[absence.rank] = absence
        return absence

    @verb
    def end_absence(self, ranks: Iterable[int]) -> None:
        for rank in ranks:
            self._tables.absences.pop(rank, None)
