"""The term that this process holds: taken, prepared, kept in line with the policy, given up.

Each step is committed before it is acted on, and claiming stops before the end is written. A step
that an error interrupts is repeated, or undone, at the next look.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from tenure.domain.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    Refused,
    StaleTerm,
    TenureError,
)
from tenure.domain.ownership import (
    RESERVED_FOR,
    Authority,
    Candidate,
    Decision,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Unfit,
    find_better,
    find_successor,
)
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.policy.admission import Admission
from tenure.domain.process import ProcessStatus
from tenure.domain.request import Request, RequestState
from tenure.host.processes import boot_id
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.recovery import Recovery
from tenure.runtime.dispatch.turn import Mandate
from tenure.runtime.ownership.control import send
from tenure.runtime.ownership.peers import Peers
from tenure.store.folder import identity
from tenure.store.sqlite.database_file import Loss

log = logging.getLogger("tenure.keeper")

CANNOT_BEGIN_S = 30.0
"""Awake time after which a process that could not begin a term may try again."""
OPEN_RANK = 0


@dataclass(frozen=True, slots=True)
class HandOver:
    """To which process, why, and the request for it, if there was one."""

    to: str
    why: str
    request: Request | None = None


class ActiveTerm:
    """Used by the keeper's thread; after its end, by the thread that stops it."""

    def __init__(
        self,
        context: OwnerContext,
        dispatcher: Dispatcher,
        recovery: Recovery,
        peers: Peers,
    ) -> None:
        self._profile = context.profile
        self._store = context.store
        self._member = context.member
        self._clock = context.clock
        self._signals = context.signals
        self._declared = context.program.declared
        self._dispatcher = dispatcher
        self._recovery = recovery
        self._peers = peers
        self._on_owning = context.program.on_owning
        self.authority: Authority | None = None
        """The authority of its claims; None where it does not own, as far as it knows."""
        self.rank = OPEN_RANK
        self._prepared = False
        self._last_term = 0
        """The last term that it held."""
        self._cannot_begin: tuple[float, str] | None = None
        """Until when (awake time), and why, it is not a candidate."""

    # -- its beginning -----------------------------------------------------------------------
    def just_ended(self, current: Ownership) -> bool:
        """Whether the last term of the profile was its own, and is over."""
        return current.hold is OwnershipState.VACANT and current.term == self._last_term

    def why_cannot_begin(self) -> str | None:
        """Why it is not a candidate for now: its last term could not begin. None if it is one."""
        if self._cannot_begin is None or self._clock.awake() >= self._cannot_begin[0]:
            return None
        return self._cannot_begin[1]

    def take(self, move: Decision, current: Ownership) -> float:
        """Reserve a term outside the store, take it in the store, record it outside again (C1).
        Returns the seconds until the next look."""
        assert move.act is not None
        self._member.observe_again(at_most_every=0.0)
        policy = self._profile.policy()
        admission = self._member.admission(policy)
        if not admission.admitted:
            return 0.0
        if self._store.ownership().term != current.term:
            # Another process was faster: reserving a term would only skip a number.
            return 0.0
        folder = self._profile.folder
        term = identity.reserve_term(folder, self._store.facts().term)
        try:
            authority = self._store.take_ownership(
                process=self._member.id,
                act=move.act,
                expected_term=current.term,
                new_term=term,
                rule=_rule(admission),
                authoritative=admission.authoritative,
                policy_version=policy.version,
                boot_id=boot_id(),
                awake=self._clock.awake(),
                now=self._clock.now(),
                why=move.why,
                instead_of=move.instead_of,
            )
        except (Conflict, Refused) as error:
            log.debug("another process took the term first: %s", error)
            return 0.05
        identity.commit_term(folder, term)
        self.authority, self._signals.doubt, self._prepared = authority, None, False
        self._last_term, self._cannot_begin = term, None
        self.rank = _rule(admission) or OPEN_RANK
        try:
            self._prepare(admission)
            self._mandate(admission)
        finally:  # after the mandate: a log handler of the host may hang
            log.info(
                "became owner of %s, term %s: %s", self._profile.name, authority.term, admission.why
            )
        return 0.0

    def prepare_again(self) -> None:
        """Prepare again before the next claim: the declarations have changed."""
        self._prepared = False

    def _prepare(self, admission: Admission) -> None:
        """The work before the first claim of a term; repeated if it is interrupted."""
        authority = self.authority
        assert authority is not None
        worse = range(self.rank + 1, len(self._profile.policy().rules))
        if worse:
            self._store.end_absence(worse)
        self._store.restart_planning(authority, self._clock.now())
        if self._on_owning is not None:
            self._on_owning(authority)
        # An owner of another version may have held some.
        if self._declared is not None:
            self._store.wake_held_jobs(authority, self._clock.now())
        # Recorded before any claim: Recovery relies on it for a process that lost ownership.
        self._member.say(ProcessStatus.OWNER, admission.why, _rule(admission))
        # Runs of dead processes end first: they must not count as previous runs still active.
        self._recovery.settle(authority)
        self._prepared = True

    def _mandate(self, admission: Admission) -> None:
        assert self.authority is not None
        self._dispatcher.own(
            Mandate(
                authority=self.authority,
                standing=OwnerCapabilities(
                    authoritative=admission.authoritative,
                    approve_protected=self._profile.settings().approve_protected,
                    carried=self._declared,
                ),
            )
        )

    # -- while it lasts ----------------------------------------------------------------------
    def reconcile(self, current: Ownership) -> Ownership:
        """Reconcile the ownership record with this process's view; returns the record then."""
        self._notice_loss(current)
        if self.authority is None and current.process == self._member.id:
            return self._finish_letting_go(current)
        return current

    def _notice_loss(self, current: Ownership) -> None:
        """Notice that the term held here is over, or that only the policy has changed."""
        mine = self.authority
        if mine is None:
            return
        if current.hold is OwnershipState.HELD and (current.term, current.process) == (
            mine.term,
            mine.process,
        ):
            if self._signals.doubt is not None and self._store.is_same_file():
                # Only the policy has changed; the look that follows reaffirms or steps down.
                self._signals.doubt = None
                self.authority = Authority(
                    term=mine.term, process=mine.process, policy_version=current.policy_version
                )
            elif self._signals.doubt is not None:
                self.end(OwnershipAction.STEP_DOWN, self._signals.doubt)
            return
        log.warning("lost ownership: term %s is over (%s)", mine.term, current.ended_why)
        self._dispatcher.disown()
        self.authority = None

    def _finish_letting_go(self, current: Ownership) -> Ownership:
        """The record says that this process owns, but it does not act on it: an error interrupted
        a take or the end of a term. End the term, then compete again."""
        if current.authority is not None:
            self.authority = current.authority
            self.end(OwnershipAction.STEP_DOWN, "an error interrupted its start or its end")
        return self._store.ownership()

    def work(self, admission: Admission, current: Ownership) -> bool:
        """Make the dispatcher claim, under the policy in force. False where it can never begin
        (its declarations are refused): such an owner must not keep ownership."""
        self._reaffirm(admission, current)
        assert self.authority is not None
        if not self._prepared:
            try:
                self._prepare(admission)
            except StaleTerm:
                raise
            except (Conflict, InvalidInput, Refused) as error:
                why = f"cannot begin a term: {error}"
                self.end(OwnershipAction.STEP_DOWN, why)
                self._cannot_begin = (self._clock.awake() + CANNOT_BEGIN_S, why)
                return False
            # The dispatcher may be resting.
            self._dispatcher.look()
        if not self._dispatcher.owns(self.authority):
            self._mandate(admission)
        return True

    def _reaffirm(self, admission: Admission, current: Ownership) -> None:
        """Update the record after a policy change; the term stays."""
        assert self.authority is not None
        policy, rule = self._profile.policy(), _rule(admission)
        same = (current.policy_version, current.rule, current.authoritative) == (
            policy.version,
            rule,
            admission.authoritative,
        )
        if same and self.authority.policy_version == policy.version:
            return
        self.authority = self._store.reaffirm(
            self.authority,
            rule=rule,
            authoritative=admission.authoritative,
            policy_version=policy.version,
            now=self._clock.now(),
        )
        self.rank = rule or OPEN_RANK
        self._dispatcher.disown()
        self._member.say(ProcessStatus.OWNER, admission.why, rule)

    # -- its end -----------------------------------------------------------------------------
    def end(self, act: OwnershipAction, why: str) -> None:
        """Stop claiming, then end the term, if one is held."""
        authority, self.authority = self.authority, None
        if authority is None:
            return
        self._dispatcher.disown()
        with contextlib.suppress(TenureError), self._store.batch():
            self._store.end_term(authority, act=act, why=why, now=self._clock.now())
            self._member.say(ProcessStatus.REFUSED, _ended(authority, why), self.rank)
        self._notify_candidates(authority, why)

    def find_successor(self, candidates: Sequence[Candidate], *, fell: bool) -> HandOver | None:
        """The process to hand over to: on request, or since it has a better rule or a newer app.

        ``fell``: a worse rule than before admits this owner. A better candidate then need not have
        lived for a while.
        """
        assert self.authority is not None
        request, self._signals.hand_over = self._signals.hand_over, None
        if request is None:
            better = find_better(candidates, self.rank, at_once=fell)
            if better is None:
                return None
            why = "ranks better" if better.rank < self.rank else "has a newer version"
            return HandOver(better.process, f"{better.process} {why}")
        state, remedy = RequestState.DONE, ""
        if request.to_process == self.authority.process:
            answer = f"{request.to_process} already owns (term {self.authority.term})"
        else:
            found = find_successor(candidates, request.to_process)
            if not isinstance(found, Unfit):
                why = f"requested by {request.requester.describe()}"
                return HandOver(found.process, why, request)
            state, answer, remedy = RequestState.REFUSED, found.why, found.remedy
        with contextlib.suppress(TenureError):
            self._store.resolve_request(
                request.id,
                state,
                authority=self.authority,
                now=self._clock.now(),
                answer=answer,
                remedy=remedy,
            )
        return None

    def hand_over(self, to: HandOver) -> bool:
        """Stop claiming, then end the term for the successor. Returns whether that was done: if
        the request was withdrawn or has expired, this process continues at its next look.

        One commit accepts the request, ends the term and reserves the next one, so that an
        accepted request always comes with a reservation. Raises what the store raises.
        """
        authority = self.authority
        assert authority is not None
        self._dispatcher.disown()
        now = self._clock.now()
        with self._store.batch():
            if to.request is not None and not self._accept(authority, to.to, to.request):
                return False
            self._store.end_term(
                authority,
                act=OwnershipAction.HAND_OVER,
                why=to.why,
                now=now,
                reserved_for=to.to,
                reserved_until=now + RESERVED_FOR,
            )
            # In one commit: a process recorded as owner that does not own has lost ownership
            # without noticing.
            self._member.say(ProcessStatus.CANDIDATE, _ended(authority, to.why), self.rank)
        self.authority = None
        self._notify_candidates(authority, to.why, first=to.to)
        return True

    def _accept(self, authority: Authority, to: str, request: Request) -> bool:
        try:
            answered = self._store.resolve_request(
                request.id,
                RequestState.ACCEPTED,
                authority=authority,
                now=self._clock.now(),
                answer=f"term {authority.term} ends for {to}",
            )
        except IllegalTransition as error:  # withdrawn or answered meanwhile
            log.info("hand-over cancelled: %s", error)
            return False
        return answered.state is RequestState.ACCEPTED

    def _notify_candidates(
        self, authority: Authority, why: str, *, first: str | None = None
    ) -> None:
        log.info("ownership released (term %s): %s", authority.term, why)
        for socket in self._peers.sockets(first):
            send(socket, {"nudge": "ownership"})

    def lose_the_store(self, loss: Loss) -> None:
        """A file of the store is gone, replaced or truncated: nothing can be written to it."""
        self._dispatcher.disown()
        authority, self.authority = self.authority, None
        if authority is not None:
            log.error("ownership lost (term %s): %s", authority.term, loss.text)


def _ended(authority: Authority, why: str) -> str:
    return f"ownership released (term {authority.term}): {why}"


def _rule(admission: Admission) -> int | None:
    """The rank of the rule that admits; None in an open profile."""
    return admission.rule.rank if admission.rule else None
