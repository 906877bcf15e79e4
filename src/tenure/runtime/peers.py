"""The other processes of the profile, as one process sees them at each look.

Their rows say what they are, the kernel says whether they live. Durations are awake time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta

from tenure.domain.errors import Damaged, NotFound, TenureError
from tenure.domain.ownership import HolderLife, Ownership, hung_for
from tenure.domain.policy import Policy
from tenure.domain.process import Process, Standing
from tenure.domain.request import Requester
from tenure.domain.schedule import Kind
from tenure.domain.version import is_newer
from tenure.host.clocks import Clock
from tenure.host.processes import boot_id, observe
from tenure.runtime.control import remove_leftover
from tenure.runtime.liveness import life_of_process
from tenure.runtime.member import Member
from tenure.runtime.profile import Profile
from tenure.store.contract import Absence


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A living candidate, its rule's rank, and for how long this process has seen it so."""

    process: str
    rank: int
    lived_for: timedelta


class Peers:
    """Used by the keeper's thread alone."""

    def __init__(self, profile: Profile, member: Member, clock: Clock) -> None:
        self._profile = profile
        self._store = profile.store
        self._member = member
        self._clock = clock
        self._living: dict[str, Process] = {}
        self._seen: dict[str, float] = {}

    def look(self, policy: Policy, current: Ownership) -> None:
        """See who is there; mark those that died without a word."""
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
        contenders = {p.id for p in living.values() if p.standing is Standing.CANDIDATE}
        self._seen = {id: self._seen.get(id, awake) for id in contenders}

    def is_candidate(self, process: str) -> bool:
        return process in self._seen

    def best_candidate(self) -> Candidate | None:
        """The living candidate with the best rule; of equals the one seen longest."""
        awake = self._clock.awake()
        found = [
            Candidate(
                process=id,
                rank=self._living[id].rule or 0,
                lived_for=timedelta(seconds=awake - since),
            )
            for id, since in self._seen.items()
        ]
        return min(found, key=lambda c: (c.rank, -c.lived_for), default=None)

    def newer_candidate(self, rank: int) -> Candidate | None:
        """The living candidate of this rank whose code is newer than ours; the one seen longest."""
        app, mine = self._member.app, self._member.app_version
        if app is None or mine is None:
            return None
        awake = self._clock.awake()
        found = [
            Candidate(process=id, rank=rank, lived_for=timedelta(seconds=awake - since))
            for id, since in self._seen.items()
            if (self._living[id].rule or 0) == rank
            and self._living[id].app == app
            and is_newer(self._living[id].app_version or "", than=mine)
        ]
        return max(found, key=lambda c: c.lived_for, default=None)

    def sockets(self) -> list[str]:
        """Control sockets of living candidates, the best-ranked first."""
        found = sorted((self._living[id] for id in self._seen), key=lambda p: p.rule or 0)
        return [p.socket for p in found if p.socket]

    def better_absent_for(self, rank: int) -> timedelta:
        """How long no process admitted by a better rule has been there; the start is kept in
        the store, so that a restart of this process does not begin anew."""
        if rank == 0:
            return timedelta(0)
        kept = self._store.absence(rank)
        better = any(
            p.standing in (Standing.OWNER, Standing.CANDIDATE)
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
        """For how long the owner has left a due fire unclaimed without any progress."""
        return hung_for(
            current,
            self._store.next_due(),
            now=self._clock.now(),
            awake=self._clock.awake(),
            boot=boot_id(),
        )

    def why_app_refused(self) -> str | None:
        """Why this process cannot own a profile with declared jobs; None if it can."""
        job = self._store.uncarried(self._member.app)
        if job is None:
            return None
        with contextlib.suppress(NotFound, Damaged):
            found, mine = self._store.job(job), self._member.app
            if found.definition.schedule.kind is Kind.FOREIGN:
                return f"job {job!r} is planned by another scheduler, which is not in this process"
            if mine is not None and found.app is not None:
                return (
                    f"the profile has jobs of the app {found.app!r} ({job!r}), and one profile "
                    f"belongs to one app: use another profile for the app {mine!r}"
                )
        return (
            f"job {job!r} is Python code that this process does not carry "
            "(tenure serve --app package.module:tenure)"
        )

    def observe_requester(self, request: str, pid: int) -> None:
        """Put the kernel's word on who asks in place of the request's own."""
        try:
            seen = observe(pid, now=self._clock.now())
        except NotFound:
            return
        said = self._store.request(request).requester
        self._store.observe_requester(
            request,
            Requester(
                pid=pid,
                uid=seen.uid,
                user=seen.user,
                executable=seen.executable,
                via=said.via,
                observed=True,
            ),
        )
