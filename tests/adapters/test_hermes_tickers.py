"""Does it tick: what is concluded from a lock, a thread, a recorded run, the code, a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hermestree import BOOT

from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.installation import Installation
from tenure.adapters.hermes.look.processes import HermesCandidate, HomeEvidence
from tenure.adapters.hermes.look.scan import ProcessStart
from tenure.adapters.hermes.look.survey import Judgement, Ticks, judge

NEW = Installation(
    python="p", version="0.19.0", site_packages=None, code=None, found_by="",
    desktop_ticks=True, runs_inline=True, keeps_ledger=True,
)  # fmt: skip
OLD = replace(NEW, version="0.16.0", desktop_ticks=False, runs_inline=False, keeps_ledger=False)


def member(role: Role, **more: Any) -> HermesCandidate:
    usual: dict[str, Any] = {
        "pid": 1, "start": ProcessStart(1, BOOT), "role": role,
        "store": HomeEvidence.OBSERVED, "seen": "",
        "environ_known": True, "threads": frozenset({"hermes"}),
        "holds_gateway_lock": False, "python": None,
    }  # fmt: skip
    return HermesCandidate(**{**usual, **more})


def ask(
    role: Role, *, lock: bool | None = False, installed: Installation | None = NEW, ran: int = 0,
    fence: bool = False, **more: Any,
) -> Judgement:  # fmt: skip
    return judge(
        member(role, **more), holds_lock=lock, installation=installed, ran=ran, fence=fence
    )


@pytest.mark.parametrize(("lock", "ticks"), [(True, "yes"), (False, "no"), (None, "may")])
def test_a_gateway_by_its_lock(lock: bool | None, ticks: str) -> None:
    found = ask(Role.GATEWAY, lock=lock)
    assert (found.ticks, found.repeats) == (ticks, lock is not False)


def test_a_desktop_backend_may_by_its_word() -> None:
    found = ask(Role.DESKTOP)
    assert (found.ticks, found.repeats) == (Ticks.MAY, True)
    assert "HERMES_DESKTOP=1" in found.why


def test_the_code_says_that_it_cannot() -> None:
    found = ask(Role.DESKTOP, installed=OLD)
    assert (found.ticks, found.repeats) == (Ticks.NO, False)
    assert "0.16.0 has no ticker" in found.why


def test_of_unknown_code_its_word_counts() -> None:
    assert ask(Role.DESKTOP, installed=None).ticks is Ticks.MAY


@pytest.mark.parametrize("role", [Role.DESKTOP, Role.DASHBOARD])
@pytest.mark.parametrize("thread", ["desktop-cron-ti", "cron-scheduler", "cron-ticker"])
def test_a_thread_that_is_seen(role: Role, thread: str) -> None:
    found = ask(role, threads=frozenset({"hermes", thread}), installed=OLD)
    assert (found.ticks, found.repeats) == (Ticks.YES, True)


def test_runs_that_it_executed() -> None:
    assert "41 of the last runs" in ask(Role.DESKTOP, ran=41).why
    assert ask(Role.DASHBOARD, ran=1).ticks is Ticks.YES


def test_a_dashboard_that_the_app_did_not_start() -> None:
    found = ask(Role.DASHBOARD)
    assert (found.ticks, found.repeats, found.on_request) == (Ticks.NO, False, True)


def test_a_backend_whose_environment_is_hidden() -> None:
    assert ask(Role.DASHBOARD, environ_known=False).ticks is Ticks.MAY


@pytest.mark.parametrize(("installed", "runs"), [(NEW, True), (OLD, False), (None, None)])
def test_what_an_agent_does_when_asked(installed: Installation | None, runs: bool | None) -> None:
    found = ask(Role.CHAT, installed=installed)
    assert (found.ticks, found.on_request) == (Ticks.NO, runs)


def test_commands() -> None:
    assert ask(Role.TICK).ticks is Ticks.YES
    assert ask(Role.TICK).repeats is False
    assert (ask(Role.RUN).ticks, ask(Role.RUN).on_request) == (Ticks.NO, True)
    assert (ask(Role.PROGRAM).ticks, ask(Role.PROGRAM).on_request) == (Ticks.MAY, None)


class TestTheFence:
    @pytest.mark.parametrize("role", [Role.GATEWAY, Role.DESKTOP, Role.TICK, Role.PROGRAM])
    def test_stops_whatever_ticks(self, role: Role) -> None:
        found = ask(role, lock=True, fence=True)
        assert found.ticks is Ticks.FENCED
        assert ".tick.lock" in found.why

    def test_stops_no_run_on_request(self) -> None:
        found = ask(Role.CHAT, fence=True)
        assert (found.ticks, found.on_request) == (Ticks.NO, True)
        assert ask(Role.GATEWAY, lock=True, fence=True).on_request is True
