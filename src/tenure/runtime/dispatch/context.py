"""What the parts of one scheduler process share, and what they tell one another.

    runners --inbox--> dispatcher --signals--> keeper

The keeper owns the dispatcher, the dispatcher the runners; what flows the other way is left in
an inbox or a signal, so that no part calls the one above it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.request import Request
from tenure.domain.settings import Hung
from tenure.host.clocks import Clock
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.dispatch.probes import Probes
from tenure.runtime.failure import Failure
from tenure.runtime.members import ProfileMember
from tenure.runtime.profile import Profile
from tenure.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProgram:
    """What the program around a scheduler gives it: its jobs' functions, and its say."""

    app: str | None = None
    """None where it declares no jobs."""
    app_version: str | None = None
    functions: Mapping[str, Callable[..., Any]] | None = None
    """The callables that this process has, by target (``app:name``)."""
    on_owning: Callable[[Authority], None] | None = None
    """Called before the first claim of a term; what it raises ends the term."""
    on_nudge: Callable[[str], None] | None = None
    """Receives the messages of other processes, on the keeper's thread: it must be quick."""
    host_loop: Callable[[], AbstractEventLoop | None] = lambda: None
    """The loop for coroutines; None for a loop of their own."""
    stays_out: Callable[[], str | None] = lambda: None
    """Called at each look; returns why this process should not run jobs, or None."""
    cut: Callable[[], bool] = lambda: False
    """Cancels the functions that outlast a stop, as far as possible; returns whether there were
    any."""
    default_hung: Hung = Hung.WARN
    """What to do about an owner that makes no progress, where profile.toml does not say."""

    @property
    def declared(self) -> Container[str] | None:
        """Targets of the functions of declared jobs; None where it declares none."""
        if self.functions is None or self.app is None:
            return None
        return self.functions.keys()


class KeeperSignals:
    """What other threads ask the keeper to look into. Thread-safe."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.doubt: str | None = None
        """Why the store refused a claim under the term, until the keeper has looked into it."""
        self.hand_over: Request | None = None

    def report_refusal(self, why: str) -> None:
        """A claim was refused: the term may be over."""
        self.doubt = why
        self.wake()

    def request_hand_over(self, request: Request) -> None:
        self.hand_over = request
        self.wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerContext:
    """Made once per :class:`~tenure.runtime.scheduler.Scheduler`. Thread-safe, as its parts are."""

    profile: Profile
    member: ProfileMember
    clock: Clock
    signals: KeeperSignals
    fail: Callable[[Failure], None]
    """Gives up the term because a part can do no more; any thread."""
    program: HostProgram = field(default_factory=HostProgram)
    probes: Probes = field(default_factory=Probes)
    inbox: Inbox = field(default_factory=Inbox)

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

    def recheck(self, standing: OwnerCapabilities) -> OwnerCapabilities:
        """``standing`` by evidence that can change, read again (C8). Outside any transaction."""
        if not standing.authoritative:
            return standing
        self.member.look_at_chain()
        self.member.observe_again()
        admission = self.member.admission(self.profile.policy())
        authoritative = admission.admitted and admission.authoritative
        if not authoritative:
            self.signals.wake()
        return replace(standing, authoritative=authoritative, denied=self.probes.denied())
