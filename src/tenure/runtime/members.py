"""The members of a profile: this process, and whether another that joined still lives.

Which process lives is decided by the kernel, never by the store: each process holds its live lock
before its row is written, so that a reader of the row can ask the kernel.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

from tenure.domain.errors import TenureError
from tenure.domain.ownership import ALWAYS, Candidate, HolderLife
from tenure.domain.policy.admission import Admission, Policy, admit
from tenure.domain.policy.evidence import Evidence, Identity
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import ACTIVE
from tenure.host.clocks import Clock
from tenure.host.live import LiveLock, life_of
from tenure.host.processes import activity_of, boot_id, has_ended, observe
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.store.ids import new_id
from tenure.store.sqlite import load_verbs

REOBSERVE_AFTER_S = 1.0
"""Awake time after which evidence that can change is read again before a protected claim."""
OBSERVE_EVERY_S = 10.0
"""The same for a look, where no claim depends on it."""
_LINEAGE = frozenset(("chain", "chain.executable"))


class ProfileMember:
    """Thread-safe. Raises what the OS and the store raise when it joins."""

    def __init__(
        self,
        profile: Profile,
        *,
        clock: Clock,
        role: str | None,
        executes: bool,
        app: str | None = None,
        app_version: str | None = None,
        observe: Callable[..., Evidence] = observe,
    ) -> None:
        self._profile = profile
        self._observe = observe
        self._clock = clock
        self.role = role
        self.executes = executes
        self.app = app
        self.app_version = app_version
        now = clock.now()
        self.id = new_id("p", now)
        self.evidence: Evidence = observe(now=now)
        self.inside_run = self._descends_from_a_run()
        self._observed = clock.awake()
        self._lock = threading.Lock()
        self._live: LiveLock | None = None
        self._said: tuple[ProcessStatus, str, int | None] | None = None
        self._chain_recorded = True

    def join(self, socket: str | None) -> None:
        """Hold the live lock, then enter the profile."""
        load_verbs()
        identity = self.evidence.identity
        self._live = LiveLock.hold(self._profile.folder.live, self.id, identity)
        self._profile.store.join(
            Process(
                id=self.id,
                evidence=self.evidence,
                joined_at=self._clock.now(),
                executes=self.executes,
                standing=ProcessStatus.REFUSED if self.executes else ProcessStatus.OBSERVER,
                why="just joined",
                role=self.role,
                app=self.app,
                app_version=self.app_version,
                socket=socket,
            )
        )

    @property
    def said(self) -> tuple[ProcessStatus, str] | None:
        """The recorded standing and its reason; None before the first decision."""
        return None if self._said is None else self._said[:2]

    def leave(self, why: str) -> None:
        """Record the departure, then release the lock."""
        try:
            self._profile.store.leave(self.id, self._clock.now(), why=why)
        except Exception:  # noqa: BLE001 - then the free lock alone shows it
            # The file stays, without its lock: proof that this member is dead.
            self.die()
            return
        if self._live is not None:
            self._live.release()

    def die(self) -> None:
        """Drop the live lock without a record, as the kernel does for a dead process."""
        if self._live is not None:
            self._live.drop()

    def forget_in_child(self) -> None:
        # Another thread may have held it at the fork.
        self._lock = threading.Lock()
        if self._live is not None:
            self._live.forget_in_child()

    def is_same_user(self) -> bool:
        """Whether it still acts as the user that was observed: all that counts without rules."""
        return "uid" not in self.evidence.unknown and self.evidence.uid == os.geteuid()

    def admission(self, policy: Policy, *, owns: bool = False) -> Admission:
        """The policy's decision on the evidence as last observed; ``owns``: it is the owner."""
        return admit(
            policy,
            self.evidence,
            role=self.role,
            me_uid=os.geteuid(),
            executes=self.executes,
            inside_run=self.inside_run,
            owns=owns,
        )

    def observe_again(self, *, at_most_every: float = REOBSERVE_AFTER_S) -> None:
        """Read changeable evidence again: cgroup, uid, executable, locks. The chain is kept.

        A call while another thread reads waits for its result: the evidence before that may be
        of any age.
        """
        with self._lock:
            awake = self._clock.awake()
            if awake - self._observed < at_most_every:
                return
            fresh = self._observe(now=self._clock.now())
            # Ancestry is the lineage at joining, and what could not be read of it then stays
            # unknown; look_at_chain finds which of its processes have ended since. The process
            # itself may have changed. An orphan adopted by pid 1 does not become an init process.
            kept = self.evidence
            unknown = (fresh.unknown - _LINEAGE) | (kept.unknown & _LINEAGE)
            chain = (fresh.chain or kept.chain)[:1] + kept.chain[1:]
            init = fresh.init and kept.init
            self.evidence = replace(fresh, chain=chain, init=init, unknown=unknown)
            self._observed = awake

    def look_at_chain(self) -> bool:
        """Ask the kernel, link by link, which processes of the chain have ended since the last
        look, and record that. Returns whether any has."""
        with self._lock:
            kept, now = self.evidence, self._clock.now()
            links = tuple(
                replace(link, ended_at=now)
                if link.ended_at is None and link.pid > 1 and has_ended(link)
                else link
                for link in kept.ancestors()
            )
            news = links != kept.ancestors()
            if news:
                self.evidence = replace(kept, chain=kept.chain[:1] + links)
                self._chain_recorded = False
        if not self._chain_recorded:
            # Where that fails, the next look records it.
            with contextlib.suppress(TenureError):
                self._profile.store.observe_process(self.id, self.evidence)
                self._chain_recorded = True
        return news

    def launchers(self) -> list[Identity]:
        """The living ancestors of this process, except pid 1."""
        mine = self.evidence.identity
        return [
            replace(mine, pid=link.pid, start=link.start)
            for link in self.evidence.ancestors()
            if link.pid > 1 and link.start is not None and link.ended_at is None
        ]

    def say(self, standing: ProcessStatus, why: str, rule: int | None) -> bool:
        """Record the standing of this process if it changed; returns whether it did."""
        if (standing, why, rule) == self._said:
            return False
        self._profile.store.set_standing(self.id, standing, why, rule, self._clock.now())
        self._said = (standing, why, rule)
        return True

    def _descends_from_a_run(self) -> bool:
        links = {(link.pid, link.start) for link in self.evidence.chain}
        cursor: str | None = None
        while True:
            runs, cursor = self._profile.store.runs(
                RunFilter(states=ACTIVE), Page(limit=500, cursor=cursor)
            )
            boot = self.evidence.identity.boot_id
            commands = [run.identity for run in runs if run.identity is not None]
            if any(c.boot_id == boot and (c.pid, c.start) in links for c in commands):
                return True
            if cursor is None:
                return False


def life_of_process(profile: Profile, process: Process) -> HolderLife:
    """By its live lock; where that lock has leaked to another process, by its identity."""
    if process.left_at is not None:
        return HolderLife.DEAD
    return life_of(profile.folder.live, process.id, process.evidence.identity)


def candidates_among(
    profile: Profile,
    policy: Policy,
    living: Iterable[Process],
    *,
    awake: float,
    my_rank: int | None = None,
) -> tuple[Candidate, ...]:
    """The candidates among ``living``, with what their rules and the kernel say.

    ``living`` are the processes not known to be dead, without the caller, ``my_rank`` the rank
    under which the caller owns or is a candidate, ``awake`` its awake clock (seconds).
    """
    present = list(living)
    ranks = {
        p.rule or 0 for p in present if p.standing in (ProcessStatus.OWNER, ProcessStatus.CANDIDATE)
    }
    if my_rank is not None:
        ranks.add(my_rank)
    return tuple(
        Candidate(
            process=p.id,
            pid=p.evidence.identity.pid,
            rank=rank,
            after=policy.rules[rank].after if rank < len(policy.rules) else timedelta(0),
            better_absent_for=_better_absent_for(profile, rank, ranks, awake),
            stopped=activity_of(p.evidence.identity).halted,
        )
        for p in present
        if p.standing is ProcessStatus.CANDIDATE
        for rank in (p.rule or 0,)
    )


def _better_absent_for(profile: Profile, rank: int, ranks: set[int], awake: float) -> timedelta:
    if rank == 0:
        return ALWAYS
    if min(ranks) < rank:
        return timedelta(0)
    kept = profile.store.absence(rank)
    if kept is None or kept.boot_id != boot_id():
        return timedelta(0)
    return timedelta(seconds=max(0.0, awake - kept.awake))
