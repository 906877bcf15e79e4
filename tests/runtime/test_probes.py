"""Kept answers of probes."""

from __future__ import annotations

import threading

import pytest

from tenure.host.capabilities import ProbeAnswer
from tenure.runtime.dispatch import probes as module
from tenure.runtime.dispatch.probes import KEPT_S, Probes
from waiting import DEADLINE, eventually


def test_what_was_never_asked_is_missing_and_not_denied() -> None:
    probes = Probes(ask=lambda name: ProbeAnswer.DENIED)
    assert probes.missing(["fda"], 0.0) == {"fda"}
    assert probes.denied(["fda"]) == frozenset()


def test_an_answer_is_current_for_a_while() -> None:
    probes = Probes(ask=lambda name: ProbeAnswer.DENIED)
    probes.refresh(["fda"], 0.0)
    assert probes.missing(["fda"], KEPT_S) == set()
    assert probes.missing(["fda"], KEPT_S + 1) == {"fda"}
    assert probes.denied(["fda", "other"]) == {"fda"}
    assert probes.denied() == {"fda"}


def test_unknown_is_not_denied() -> None:
    probes = Probes(ask=lambda name: ProbeAnswer.UNKNOWN)
    probes.refresh(["fda"], 0.0)
    assert probes.denied(["fda"]) == frozenset()


def test_refresh_tells_when_a_denial_ended() -> None:
    answers = iter([ProbeAnswer.DENIED, ProbeAnswer.DENIED, ProbeAnswer.GRANTED])
    probes = Probes(ask=lambda name: next(answers))
    assert not probes.refresh(["fda"], 0.0)
    assert not probes.refresh(["fda"], 1.0)
    assert probes.refresh(["fda"], 2.0)


def test_that_a_denial_ended_is_told_once_whoever_asked() -> None:
    answers = iter([ProbeAnswer.DENIED, ProbeAnswer.GRANTED, ProbeAnswer.GRANTED])
    probes = Probes(ask=lambda name: next(answers))
    probes.refresh(["fda"], 0.0)
    assert not probes.take_freed()
    probes.refresh(["fda"], 1.0)
    assert probes.take_freed()
    assert not probes.take_freed()
    probes.refresh(["fda"], 2.0)
    assert not probes.take_freed()


def test_answers_are_waited_for_but_not_for_ever() -> None:
    released, asked = threading.Event(), []

    def ask(name: str) -> ProbeAnswer:
        asked.append(name)
        assert released.wait(DEADLINE)
        return ProbeAnswer.GRANTED

    probes = Probes(ask=ask)
    probes.wait_for(["fda"], lambda: 0.0, lambda freed: None, 0.02)
    assert probes.missing(["fda"], 0.0) == {"fda"}
    released.set()
    probes.wait_for(["fda"], lambda: 0.0, lambda freed: None, DEADLINE)
    assert probes.missing(["fda"], 0.0) == set()
    probes.wait_for(["fda"], lambda: 0.0, lambda freed: None, DEADLINE)
    assert asked == ["fda"]


def test_a_probe_that_hangs_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose server stands still, say: only what needs that one waits."""
    monkeypatch.setattr(module, "HANG_S", 0.05)
    released, asked = threading.Event(), []

    def ask(name: str) -> ProbeAnswer:
        asked.append(name)
        assert not name.startswith("hangs") or released.wait(DEADLINE)
        return ProbeAnswer.GRANTED

    def answered(*names: str) -> bool:
        probes.ask_soon(probes.missing(["hangs", "hangs too", *names], 0.0), lambda: 0.0, told)
        return not probes.missing(names, 0.0)

    def told(freed: bool) -> None:
        pass

    probes = Probes(ask=ask)
    before = threading.active_count()
    eventually(lambda: answered("hello", "world"), "the others' answers", within=10)
    eventually(lambda: threading.active_count() <= before + 2, "none but those that hang to stay")
    assert sorted(asked) == ["hangs", "hangs too", "hello", "world"]
    released.set()
    eventually(lambda: answered("hangs", "hangs too"), "theirs")
    assert len(asked) == 4
    eventually(lambda: threading.active_count() == before, "all threads to end")
