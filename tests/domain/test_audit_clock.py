"""The order of instants, where the wall clock was set back; and a store that changes while read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from auditkit import GATEWAY, MINUTE, START, Story, definition

import tenure.audit.reader as history_module
from tenure.audit.clock import SKEW, RecordedClock, read_clock
from tenure.audit.reader import audit_store, read_history
from tenure.domain.event import Event, EventKind
from tenure.domain.schedule.model import every_schedule
from testkit.memory_store.store import MemoryStore

HOUR = timedelta(hours=1)


def log(*instants: datetime, first: int = 1, **facts: Any) -> list[Event]:
    kinds = [EventKind.WARNING] * len(instants)
    if facts:
        kinds[-1] = EventKind.CLOCK
    return [
        Event(kind=kind, at=at, seq=seq, facts=facts if kind is EventKind.CLOCK else {})
        for seq, (kind, at) in enumerate(zip(kinds, instants, strict=True), first)
    ]


def test_without_a_step_order_is_what_the_instants_say() -> None:
    clock = read_clock(log(START, START + HOUR), START + HOUR)
    assert clock.steps == ()
    assert clock.follows(START, START)
    assert clock.follows(START, START + SKEW)
    assert not clock.follows(START, START + 2 * SKEW)


def test_a_log_that_runs_backwards_shows_a_step() -> None:
    clock = read_clock(log(START + HOUR, START), START + HOUR)
    (step,) = clock.steps
    assert step.at == START
    assert clock.follows(START + MINUTE, START + HOUR)
    assert not clock.follows(START - MINUTE, START + HOUR)
    assert not clock.follows(START + MINUTE, START + 3 * HOUR)
    assert clock.covers(START + MINUTE)
    assert not clock.covers(START + 3 * HOUR)


def test_an_event_may_say_how_far_the_clock_had_been() -> None:
    told = read_clock(log(START, START + MINUTE, kind="step_backward", seconds=-7200.0), START)
    assert told.follows(START + 2 * MINUTE, START + HOUR)
    assert not read_clock(log(START, START + MINUTE), START).follows(START, START + HOUR)
    events = log(START, START + MINUTE, kind="step_forward", seconds=7200.0)
    forward = read_clock(events, START + HOUR)
    assert forward.steps == ()


def test_nonsense_in_an_event_is_no_step() -> None:
    for facts in ({"was": "yesterday"}, {"was": "2026-03-02"}, {"was": 7}):
        assert read_clock(log(START, START, **facts), START).steps == ()


def test_two_steps_in_a_row_explain_each_other() -> None:
    at = START + HOUR, START + HOUR / 2, START
    clock = read_clock(log(*at), START + HOUR)
    assert clock.follows(START + MINUTE, START + HOUR + MINUTE)


def test_a_year_2036_long_ago_does_not_excuse_a_later_small_step() -> None:
    future = START.replace(year=2036)
    later = START + 100 * HOUR
    clock = read_clock(log(future, START, later, later - MINUTE), later + HOUR)
    assert clock.follows(START + HOUR, future)
    assert not clock.follows(later - HOUR, later + 2 * HOUR) or clock.covers(later)
    assert len(clock.steps) == 2
    assert clock.steps[1].was < later + HOUR


def test_the_audits_own_clock_may_be_behind() -> None:
    assert read_clock(log(START + HOUR), START).follows(START, START + HOUR)


def test_a_log_without_its_beginning_leaves_a_day_in_doubt() -> None:
    clock = read_clock(log(START, first=7), START + 90 * HOUR)
    assert clock.follows(START + HOUR, START + 2 * HOUR)
    assert not clock.follows(START + 48 * HOUR, START + 50 * HOUR)
    assert RecordedClock().covers(START) is False


class Busy(MemoryStore):
    """Somebody works in it between two pages."""

    def __init__(self) -> None:
        super().__init__("busy", START)
        self.meanwhile: Callable[[], None] | None = None

    def omissions(self, **bounds: Any) -> Any:
        if self.meanwhile is not None:
            self.meanwhile()
        return super().omissions(**bounds)


def busy(*, faulty: bool = False) -> tuple[Busy, Story]:
    store = Busy()
    story = Story(store)
    schedule = every_schedule(MINUTE, START)
    store.add_job(definition("poll", schedule, grace=HOUR), by="alice", now=story.now)
    story.join("gw", GATEWAY)
    story.take("gw", None)
    story.pass_time(5)
    if faulty:
        gone = next(iter(store._tables.runs))
        del store._tables.runs[gone]
    return store, story


def test_what_a_moving_store_only_seems_to_lack_is_not_reported() -> None:
    """Jobs are read before terms and runs: here a job is paused under the reader's eyes."""
    store, story = busy()
    rounds = 0

    def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            # Between jobs and runs, the job's only revision is replaced and its new fire runs.
            job = store.job("poll")
            new = definition("poll", every_schedule(2 * MINUTE, START), grace=HOUR)
            store.edit_job(job.id, 1, new, by="bob", now=story.now)
            story.pass_time(3)

    store.meanwhile = work
    torn = audit_store(store, story.now + HOUR, clock=lambda: story.now + HOUR)
    assert rounds > 1, "the first reading was expected to look wrong"
    assert torn.clean, [f.text for f in torn.findings]


def test_a_real_fault_is_reported_from_a_moving_store() -> None:
    store, story = busy(faulty=True)
    store.meanwhile = lambda: story.pass_time(1)
    report = audit_store(store, story.now, clock=lambda: story.now)
    (finding,) = report.findings
    assert finding.code == "fire_unaccounted"


def test_history_is_read_whole_across_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "PAGE", 50)
    store, story = busy()
    story.pass_time(300)
    history = read_history(store, story.now)
    assert len(history.runs) == 305
    assert len({r.id for r in history.runs}) == 305
