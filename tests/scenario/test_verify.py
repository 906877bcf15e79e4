"""The scenario's judge finds what it is there to find: each claim is broken once, and seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scenario import verify
from scenario.lineage import Lineage
from scenario.verify import Records, Verdict
from tenure.domain.job import Command, Definition
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import OwnershipAction, Term
from tenure.domain.run import Cause, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import Revision

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LAUNCHERS = {"gateway": Path("/w/bin/gateway-launcher"), "desktop": Path("/w/Desktop.app/D")}
GATEWAY = [
    [9, 90, "/python"],
    [8, 80, "/sh"],
    [7, 70, "/python"],
    [6, 60, "/w/bin/gateway-launcher"],
]
DESKTOP = [[9, 90, "/python"], [7, 71, "/python"], [6, 61, "/w/Desktop.app/D"]]
ORPHAN = [[9, 90, "/python"], [8, 80, "/sh"], [1, 1, "/init"]]


def _line(**changes: Any) -> dict[str, Any]:
    line = {"run": "r1", "job": "mail", "fire": NOON.isoformat(), "attempt": "1", "read": "yes"}
    return {**line, "chain": GATEWAY, **changes}


def _run(**changes: Any) -> Run:
    run = Run(
        id="r1", job="j1", job_name="mail", revision=1, fire_time=NOON, cause=Cause.SCHEDULE,
        state=RunState.SUCCEEDED, term=1, process="p1", holder="p1", policy_version=1,
        protected=True, attempt=1, claimed_at=NOON,
    )  # fmt: skip
    return replace(run, **changes)


def _term(number: int, **changes: Any) -> Term:
    term = Term(
        term=number, process=f"p{number}", rule=0, authoritative=True, policy_version=1,
        taken_at=NOON - SECOND, how=OwnershipAction.TAKE,
    )  # fmt: skip
    return replace(term, **changes)


def _omission(kind: OmissionKind, first: int, last: int) -> Omission:
    return Omission(
        id=first, job="j1", job_name="mail", revision=1, kind=kind, first=NOON + first * SECOND,
        last=NOON + last * SECOND, count=(last - first) // 2 + 1, reason="", decided_at=NOON,
        decided_by="p1", term=1, resolved_at=NOON,
    )  # fmt: skip


def _records(*runs: Run, **changes: Any) -> Records:
    records = Records(
        runs={run.id: run for run in runs}, omissions=(), terms={1: _term(1)}, revisions={},
        spans={},
    )  # fmt: skip
    return replace(records, **changes)


def _places(lines: Sequence[dict[str, Any]], works: bool = True) -> Verdict:
    verdict = Verdict()
    kept = SimpleNamespace(name="gateway", backends=lambda: [(7, 70)])
    places = Lineage(LAUNCHERS, [kept]).places(lines)  # type: ignore[list-item]
    world: Any = SimpleNamespace(denied=SimpleNamespace(works=works))
    verify._check_places(verdict, world, lines, places, _records(_run()))
    return verdict


@pytest.mark.parametrize(
    ("chain", "read", "wrong"),
    [
        (GATEWAY, "yes", 0),
        (GATEWAY[:3] + ORPHAN[2:], "yes", 0),  # the supervisor was killed, its note remains
        (ORPHAN, "yes", 0),
        (ORPHAN, "no", 1),
        (DESKTOP, "no", 1),
        (DESKTOP, "yes", 1),
    ],
)
def test_a_protected_run_outside_its_chain_is_found(
    chain: list[list[Any]], read: str, wrong: int
) -> None:
    verdict = _places([_line(chain=chain, read=read)])
    assert verdict.figures["protected outside the gateway chain"] == wrong
    assert len(verdict.violations) >= wrong


def test_without_a_denied_file_the_chain_alone_tells() -> None:
    assert not _places([_line(read="-")], works=False).violations
    assert _places([_line(chain=DESKTOP, read="-")], works=False).violations


def test_a_second_execution_is_found() -> None:
    verdict = Verdict()
    verify._check_once(verdict, [_line(), _line(attempt="2"), _line(run="r2", fire="later")])
    assert not verdict.violations, "a retry is no second execution"
    verify._check_once(verdict, [_line(), _line()])
    assert verdict.figures["ran twice"] == 1
    verify._check_once(verdict, [_line(), _line(run="r2")])
    assert verdict.figures["ran twice"] == 2


@pytest.mark.parametrize(
    ("lines", "run", "claim"),
    [
        ([_line()], _run(), None),
        ([_line()], _run(id="other", state=RunState.NEVER_RAN), "not recorded"),
        ([_line()], _run(state=RunState.NEVER_RAN), "said never to have run, and ran"),
        ([_line(fire="else")], _run(), "recorded otherwise"),
        ([_line()], _run(state=RunState.RUNNING), "left open"),
        ([], _run(), "recorded, and never ran"),
        ([], _run(state=RunState.LOST), None),
    ],
)
def test_words_and_records_are_compared_both_ways(
    lines: list[dict[str, Any]], run: Run, claim: str | None
) -> None:
    verdict = Verdict()
    verify._check_both_ways(verdict, lines, _records(run))
    assert [v.partition(":")[0] for v in verdict.violations] == ([claim] if claim else [])


@pytest.mark.parametrize(
    ("run", "terms", "claim"),
    [
        (_run(), [_term(1)], None),
        (_run(term=2), [_term(1)], "stale writes"),
        (_run(process="p9"), [_term(1)], "stale writes"),
        (_run(claimed_at=NOON + 2 * SECOND), [_term(1, ended_at=NOON)], "stale writes"),
        (_run(), [_term(1), _term(2)], "two owners"),
        (_run(), [_term(1, authoritative=False)], "protected outside the gateway chain"),
    ],
)
def test_a_stale_claim_is_found(run: Run, terms: list[Term], claim: str | None) -> None:
    by_number = {term.term: term for term in terms}
    by_number.setdefault(run.term, _term(run.term, process="nobody", taken_at=NOON + SECOND))
    verdict = Verdict()
    verify._check_terms(verdict, _records(run, terms=by_number))
    found = {v.partition(":")[0] for v in verdict.violations}
    assert (claim in found) if claim else not found


def _fires(runs: Sequence[Run], omissions: Sequence[Omission]) -> Verdict:
    wants = Definition(
        name="mail",
        schedule=every_schedule(2 * SECOND, anchor=NOON),
        action=Command(argv=("true",)),
    )
    revision = Revision(
        job="j1", revision=1, definition=wants, edited_at=NOON, edited_by="x", valid_after=NOON
    )
    records = _records(
        *runs,
        omissions=tuple(omissions),
        revisions={"j1": (revision,)},
        spans={"j1": (NOON, NOON + 9 * SECOND)},
    )
    verdict = Verdict()
    verify._check_fires(verdict, "j1", records)
    return verdict


def test_every_fire_is_a_run_or_an_omission() -> None:
    two = _run(fire_time=NOON + 2 * SECOND)
    rest = _omission(OmissionKind.MISSED, 4, 8)
    held = _omission(OmissionKind.HELD, 2, 2)
    verdict = _fires([two], [rest])
    assert verdict.figures["due"] == 4
    assert not verdict.violations
    assert not _fires([replace(two, cause=Cause.HELD)], [rest, held]).violations
    assert _fires([two], []).figures["not accounted for"] == 3
    assert _fires([two, replace(two, id="r2")], [rest]).figures["accounted for twice"] == 1
    missed = _omission(OmissionKind.MISSED, 2, 2)
    assert _fires([two], [rest, missed]).figures["accounted for twice"] == 1
