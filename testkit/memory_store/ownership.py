"""Ownership: compare-and-set on the term, the arrows of ``domain.ownership``, one history."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tenure.domain.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Refused,
    StaleTerm,
)
from tenure.domain.event import EventKind
from tenure.domain.ownership import (
    Authority,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Term,
    transition,
)
from tenure.domain.request import HandOverEnd, Request, RequestKind, RequestState, check_answer
from testkit.memory_store.base import verb
from testkit.memory_store.processes import ProcessLayer

TAKES = frozenset(
    {OwnershipAction.TAKE, OwnershipAction.TAKE_FROM_DEAD, OwnershipAction.TAKE_BY_FORCE}
)
ENDS = frozenset({OwnershipAction.HAND_OVER, OwnershipAction.STEP_DOWN})


class OwnershipLayer(ProcessLayer):
    @verb
    def ownership(self) -> Ownership:
        return self._tables.ownership

    @verb
    def take_ownership(
        self,
        *,
        process: str,
        act: OwnershipAction,
        expected_term: int,
        new_term: int,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        boot_id: str,
        awake: float,
        now: datetime,
        why: str = "",
        instead_of: str | None = None,
    ) -> Authority:
        before = self._tables.ownership
        self._may_take(process, act, expected_term, new_term, policy_version)
        forced = act is OwnershipAction.TAKE_BY_FORCE
        if not forced and before.kept_from(process, now, instead_of=instead_of):
            raise Refused(f"a hand-over keeps the place for {before.reserved_for}")
        if before.hold is OwnershipState.HELD:
            self._close_term(before.term, now, f"{act} by {process}" + (f": {why}" * bool(why)))
        self._tables.ownership = Ownership(
            hold=OwnershipState.HELD,
            term=new_term,
            process=process,
            rule=rule,
            authoritative=authoritative,
            policy_version=policy_version,
            since=now,
            progress_at=now,
            progress_awake=awake,
            boot_id=boot_id,
        )
        self._tables.terms[new_term] = Term(
            term=new_term,
            process=process,
            rule=rule,
            authoritative=authoritative,
            policy_version=policy_version,
            taken_at=now,
            how=act,
        )
        if authoritative:
            self._make_held_due(now)
        self._say(
            EventKind.OWNERSHIP_TAKEN,
            now,
            term=new_term,
            process=process,
            facts={
                "act": act.value,
                "rule": rule,
                "authoritative": authoritative,
                "why": why,
                "previous": before.process,
            },
        )
        for request in self._accepted_hand_overs():
            self._end_hand_over(request, request.end_of_hand_over(before, process, new_term), now)
        return Authority(term=new_term, process=process, policy_version=policy_version)

    def _may_take(
        self,
        process: str,
        act: OwnershipAction,
        expected_term: int,
        new_term: int,
        policy_version: int,
    ) -> None:
        current = self._tables.ownership
        if self.process(process).left_at is not None:
            raise NotFound(f"process {process!r} has left")
        if policy_version != self._tables.policy.version:
            raise StaleTerm(f"policy version {policy_version} is not the accepted one")
        if current.term != expected_term:
            raise Conflict(f"the term is {current.term}, not {expected_term}")
        if act not in TAKES:
            raise IllegalTransition(f"{act} begins no term")
        transition(current.hold, act)
        if new_term <= max([0, *self._tables.terms]):
            raise InvalidInput(f"{new_term} is not above every term before", field="new_term")

    @verb
    def reaffirm(
        self,
        authority: Authority,
        *,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        now: datetime,
    ) -> Authority:
        current = self._tables.ownership
        holds = current.hold is OwnershipState.HELD and current.process == authority.process
        if not holds or current.term != authority.term:
            raise StaleTerm(f"term {authority.term} is not the current one")
        if policy_version != self._tables.policy.version:
            raise StaleTerm(f"policy version {policy_version} is not the accepted one")
        transition(current.hold, OwnershipAction.REAFFIRM)
        self._tables.ownership = replace(
            current, rule=rule, authoritative=authoritative, policy_version=policy_version
        )
        self._tables.terms[current.term] = replace(
            self._tables.terms[current.term],
            rule=rule,
            authoritative=authoritative,
            policy_version=policy_version,
        )
        if authoritative and not current.authoritative:
            self._make_held_due(now)
        self._say(
            EventKind.OWNERSHIP_REAFFIRMED,
            now,
            term=current.term,
            process=current.process,
            facts={
                "rule": rule,
                "authoritative": authoritative,
                "policy_version": policy_version,
            },
        )
        return replace(authority, policy_version=policy_version)

    @verb
    def end_term(
        self,
        authority: Authority,
        *,
        act: OwnershipAction,
        why: str,
        now: datetime,
        reserved_for: str | None = None,
        reserved_until: datetime | None = None,
    ) -> bool:
        if act not in ENDS:
            raise IllegalTransition(f"{act} ends no term")
        current = self._tables.ownership
        if current.hold is not OwnershipState.HELD or current.term != authority.term:
            return False
        if current.process != authority.process:
            return False
        self._close_term(current.term, now, why)
        self._tables.ownership = Ownership(
            hold=transition(current.hold, act),
            term=current.term,
            ended_at=now,
            ended_why=why,
            reserved_for=reserved_for,
            reserved_until=reserved_until,
        )
        facts = {"act": act.value, "why": why, "reserved_for": reserved_for}
        self._say(
            EventKind.OWNERSHIP_ENDED,
            now,
            term=authority.term,
            process=authority.process,
            facts=facts,
        )
        return True

    def _close_term(self, term: int, now: datetime, why: str) -> None:
        record = self._tables.terms[term]
        self._tables.terms[term] = replace(record, ended_at=now, ended_why=why)

    @verb
    def record_progress(self, authority: Authority, awake: float, now: datetime) -> None:
        self._require(authority)
        current = self._tables.ownership
        self._tables.ownership = replace(current, progress_at=now, progress_awake=awake)

    @verb
    def terms(self, *, limit: int = 100, before: int | None = None) -> tuple[Term, ...]:
        numbers = [n for n in self._tables.terms if before is None or n < before]
        return tuple(self._tables.terms[n] for n in sorted(numbers, reverse=True)[:limit])

    @verb
    def check_authority(self, authority: Authority) -> None:
        self._require(authority)

    # -- answers to requests: what ends with a term, and what the verbs about requests share ----
    def _reply(
        self,
        request: Request,
        state: RequestState,
        authority: Authority | None,
        now: datetime,
        answer: str,
        remedy: str,
    ) -> Request:
        check_answer(request.kind, request.state, state)
        replied = replace(
            request,
            state=state,
            answered_at=now,
            term=authority.term if authority else request.term,
            answer=answer,
            remedy=remedy,
        )
        self._tables.requests[request.id] = replied
        self._say(
            EventKind.ANSWERED,
            now,
            term=replied.term,
            process=authority.process if authority else None,
            job=request.job,
            run=replied.run,
            facts={"request": request.id, "state": state.value, "answer": answer},
        )
        return replied

    def _accepted_hand_overs(self) -> list[Request]:
        """Those whose successor has still to take the term."""
        accepted = [r for r in self._tables.requests.values() if r.state is RequestState.ACCEPTED]
        return [r for r in accepted if r.kind is RequestKind.HAND_OVER]

    def _end_hand_over(self, request: Request, end: HandOverEnd, now: datetime) -> Request:
        return self._reply(request, end.state, None, now, end.answer, end.remedy)
