"""A writer that names a term long over: each try must be refused and change nothing (C3)."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from scenario.world import PROFILE, World
from tenure.domain.errors import OutcomeUnknown, StaleTerm
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import Fire, Plan
from tenure.domain.run import Cause
from tenure.runtime.profile import Profile


class StaleWriter:
    """Claims as owners did that are no more. ``accepted`` must stay empty."""

    def __init__(self, world: World) -> None:
        self._profile = Profile.open(PROFILE, home=world.home)
        self.accepted: list[str] = []

    def owner(self) -> tuple[int, int] | None:
        """Pid and start stamp of the process that owns now."""
        current = self._profile.store.ownership()
        if current.authority is None:
            return None
        identity = self._profile.store.process(current.authority.process).evidence.identity
        return identity.pid, identity.start

    def try_one(self, chance: random.Random) -> int:
        """Claim a fire under a random earlier term; how many tries were made."""
        store = self._profile.store
        current = store.ownership().term
        old = [term for term in store.terms(limit=1000) if term.term < current]
        if not old:
            return 0
        term = chance.choice(old)
        stale = Authority(term=term.term, process=term.process, policy_version=term.policy_version)
        job = chance.choice(store.jobs()[0])
        now = datetime.now(UTC)
        plan = Plan(
            job=job.id,
            revision=job.revision,
            was=job.watermark,
            watermark=now,
            due_at=None,
            claims=(Fire(at=now, cause=Cause.SCHEDULE),),
        )
        try:
            claimed = store.claim(stale, [plan], now)
        except StaleTerm:
            return 1
        except OutcomeUnknown:
            return 0
        self.accepted.append(f"term {term.term} claimed {claimed} when {current} was current")
        return 1

    def close(self) -> None:
        self._profile.close()
