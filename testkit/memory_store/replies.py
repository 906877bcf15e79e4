"""Answers to requests: what the verbs about requests share with those about ownership."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tenure.domain.event import EventKind
from tenure.domain.ownership import Authority
from tenure.domain.request import HandOverEnd, Request, RequestKind, RequestState, check_answer
from testkit.memory_store.processes import ProcessLayer


class ReplyLayer(ProcessLayer):
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
