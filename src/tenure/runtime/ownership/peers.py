"""The other processes of the profile, as one process sees them at each look.

Their rows say what they are, the kernel says whether they live. Durations are awake time.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

from tenure.domain.errors import CorruptStore, NotFound, TenureError
from tenure.domain.ownership import ALWAYS, Candidate, HolderLife, Ownership, hung_for
from tenure.domain.policy.admission import Policy
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Requester
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.version import is_newer
from tenure.host.processes import account_of, boot_id
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.members import candidates_among, life_of_process
from tenure.runtime.ownership.control import remove_leftover
from tenure.store.contract import Absence


class Peers:
    """Used by the keeper's thread alone."""

    def __init__(self, context: OwnerContext) -> None:
        self._profile = context.profile
        self._store = context.store
        self._member = context.member
        self._clock = context.clock
        self._living: dict[str, Process] = {}
        self._seen: dict[str, float] = {}

    def look(self, current: Ownership) -> None:
        """Find the living processes; mark those that died without leaving."""
        living: dict[str, Process] = {}
        for process in self._store.processes():
            if process.id == self._member.id:
                continue
            life = life_of_process(self._profile, process)
            if life is HolderLife.DEAD and process.id != current.process:
                with contextlib.suppress(TenureError):
                    self._store.leave(process.id, self._clock.now(), died=True)
                    remove_leftover(process.socket)
            elif life is not HolderLife.DEAD:
                living[process.id] = process
        self._living = living
        awake = self._clock.awake()
        contenders = {p.id for p in living.values() if p.standing is ProcessStatus.CANDIDATE}
        self._seen = {id: self._seen.get(id, awake) for id in contenders}

    def candidates(self, policy: Policy, rank: int) -> tuple[Candidate, ...]:
        """The living candidates, as seen by an owner or candidate of this rank."""
        awake = self._clock.awake()
        found = candidates_among(
            self._profile, policy, self._living.values(), awake=awake, my_rank=rank
        )
        return tuple(
            replace(
                candidate,
                lived_for=timedelta(seconds=awake - self._seen.get(candidate.process, awake)),
                newer=newer,
                older=older,
            )
            for candidate in found
            for newer, older in (self._compare_versions(self._living[candidate.process]),)
        )

    def forget(self, process: str) -> None:
        """Treat it as if it had just joined: a successor that does not take over is not named again
        before it has lived as long as any other."""
        self._seen.pop(process, None)

    def _compare_versions(self, peer: Process) -> tuple[bool, bool]:
        """Whether it has a newer version of this process's app, and whether an older one."""
        mine, theirs = self._member.app_version, peer.app_version
        if self._member.app is None or mine is None or peer.app != self._member.app:
            return False, False
        return is_newer(theirs or "", than=mine), theirs is not None and is_newer(mine, than=theirs)

    def sockets(self, first: str | None = None) -> list[str]:
        """Control sockets of living candidates: ``first``, then by rank."""
        found = sorted(
            (self._living[id] for id in self._seen), key=lambda p: (p.id != first, p.rule or 0)
        )
        return [p.socket for p in found if p.socket]

    def better_absent_for(self, rank: int) -> timedelta:
        """For how long no process admitted by a better rule has been present. The start is kept in
        the store, so that a restart of this process does not restart the wait. A process of the
        first rule never waits."""
        if rank == 0:
            return ALWAYS
        kept = self._store.absence(rank)
        better = any(
            p.standing in (ProcessStatus.OWNER, ProcessStatus.CANDIDATE)
            and p.rule is not None
            and p.rule < rank
            for p in self._living.values()
        )
        if better:
            if kept is not None:
                self._store.end_absence([rank])
            return timedelta(0)
        awake, boot = self._clock.awake(), boot_id()
        if kept is None or kept.boot_id != boot or kept.awake > awake:
            kept = self._store.note_absence(
                Absence(rank=rank, boot_id=boot, awake=awake, since=self._clock.now())
            )
        return timedelta(seconds=max(0.0, awake - kept.awake))

    def hung_for(self, current: Ownership) -> timedelta:
        """For how long the owner has left a due fire unclaimed without progress."""
        return hung_for(
            current,
            self._store.next_due(),
            now=self._clock.now(),
            awake=self._clock.awake(),
            boot=boot_id(),
        )

    def why_app_refused(self) -> str | None:
        """Why this process cannot own a profile with declared jobs; None if it can."""
        job = self._store.find_job_without_code(self._member.app)
        if job is None:
            return None
        with contextlib.suppress(NotFound, CorruptStore):
            found, mine = self._store.job(job), self._member.app
            if found.definition.schedule.kind is ScheduleKind.FOREIGN:
                return f"job {job!r} is planned by another scheduler, which is not in this process"
            if mine is not None and found.app is not None:
                return (
                    f"the profile has jobs of the app {found.app!r} ({job!r}), and one profile "
                    f"belongs to one app: use another profile for the app {mine!r}"
                )
        return (
            f"job {job!r} is Python code that this process does not have "
            "(tenure serve --app package.module:tenure)"
        )

    def observe_requester(self, request: str, pid: int) -> None:
        """Replace the requester's own claim by what the kernel says about it."""
        try:
            uid, user, executable = account_of(pid)
        except NotFound:
            return
        self._store.observe_requester(
            request,
            Requester(pid=pid, uid=uid, user=user, executable=executable, observed=True),
        )
