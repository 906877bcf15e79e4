"""What the parts of one scheduler process share, and what they tell one another.

    runners --inbox--> dispatcher --signals--> keeper

The keeper owns the dispatcher, the dispatcher the runners; what flows the other way is left in
an inbox or a signal, so that no part calls the one above it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority
from tenure.domain.request import Request
from tenure.host.clocks import Clock
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.dispatch.probes import Probes
from tenure.runtime.failure import Failure
from tenure.runtime.ownership.member import ProfileMember
from tenure.runtime.ownership.waker import Waker
from tenure.runtime.profile import Profile
from tenure.store.sqlite import SqliteStore


class KeeperSignals:
    """What other threads ask the keeper to look into. Thread-safe."""

    def __init__(self) -> None:
        self.waker = Waker()
        self.doubt: str | None = None
        """Why the store refused a claim under the term, until the keeper has looked into it."""
        self.hand_over: Request | None = None

    def report_refusal(self, why: str) -> None:
        """A claim was refused: the term may be over."""
        self.doubt = why
        self.waker.wake()

    def request_hand_over(self, request: Request) -> None:
        self.hand_over = request
        self.waker.wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerContext:
    """Made once per :class:`~tenure.runtime.scheduler.Scheduler`. Thread-safe, as its parts are."""

    profile: Profile
    member: ProfileMember
    clock: Clock
    fail: Callable[[Failure], None]
    """Gives up the term because a part can do no more; any thread."""
    declared: Container[str] | None = None
    """Targets of the functions that this process has; None if it declares no jobs."""
    probes: Probes = field(default_factory=Probes)
    inbox: Inbox = field(default_factory=Inbox)
    signals: KeeperSignals = field(default_factory=KeeperSignals)

    @property
    def store(self) -> SqliteStore:
        return self.profile.store

    @property
    def process(self) -> str:
        """The id of this process."""
        return self.member.id

    def still_owner(self, authority: Authority) -> bool:
        """Whether the store confirms the term. False where it cannot be asked (C11)."""
        try:
            self.store.check_authority(authority)
        except TenureError:
            return False
        return True

    def recheck_authority(self) -> bool:
        """Read the changeable evidence again; whether this owner is still authoritative (C8)."""
        self.member.look_at_chain()
        self.member.observe_again()
        admission = self.member.admission(self.profile.policy())
        if admission.admitted and admission.authoritative:
            return True
        self.signals.waker.wake()
        return False
