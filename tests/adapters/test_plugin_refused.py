"""Who asks where nobody owns, and how the commands, the tool and a dashboard say it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from minihermes import OTHERS, MiniHermes, hermes, job
from pluginkit import cronjob, first_ended

from tenure.client import requests
from tenure.domain.run import RunState


# -- nobody owns ---------------------------------------------------------------------------------
def test_without_an_owner_it_is_refused_and_nothing_is_put_down(other: MiniHermes) -> None:
    before = other.stored()
    with pytest.raises(RuntimeError, match="no process that may run the jobs of la is running"):
        other.jobs.trigger_job("a")
    assert other.stored() == before
    assert other.ran == []


def test_a_dashboard_answers_409(other: MiniHermes, monkeypatch: pytest.MonkeyPatch) -> None:
    class HTTPException(Exception):
        def __init__(self, status_code: int, detail: str) -> None:
            self.status_code, self.detail = status_code, detail

    fastapi = ModuleType("fastapi")
    fastapi.HTTPException = HTTPException  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "fastapi", fastapi)
    monkeypatch.setitem(
        __import__("sys").modules, "hermes_cli.web_server", ModuleType("hermes_cli.web_server")
    )
    with pytest.raises(HTTPException) as refused:
        other.jobs.trigger_job("a")
    assert refused.value.status_code == 409
    assert "hermes -p la gateway run" in refused.value.detail


def test_the_agents_tool_is_refused(other: MiniHermes) -> None:
    answer = cronjob(other)
    assert not answer["success"]
    assert answer["error"].startswith("refused: no process")


def test_cron_run_ends_with_3(other: MiniHermes, capsys: pytest.CaptureFixture[str]) -> None:
    cli = other.module("hermes_cli.cron")
    with pytest.raises(SystemExit) as ended:
        cli._job_action("run", "a", "Triggered")
    assert ended.value.code == 3
    assert "Failed to run job: refused: no process" in capsys.readouterr().out
    assert cli._job_action("run", "nothing", "Triggered") == 1
    assert cli._job_action("pause", "a", "Paused") == 0
    assert "Paused a" in capsys.readouterr().out


def test_cron_run_says_who_runs_it(owner: MiniHermes, capsys: pytest.CaptureFixture[str]) -> None:
    assert owner.module("hermes_cli.cron")._job_action("run", "a", "Triggered") == 0
    said = capsys.readouterr().out
    assert "Triggered job: job a (a)" in said
    assert "Ran now: succeeded." in said if owner.new else f"run {first_ended(owner).id}" in said


def test_an_external_providers_fire_is_asked_of_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with hermes(tmp_path, monkeypatch, policy=OTHERS) as mini:
        mini.write(job("a"))
        provider = mini.module("cron.scheduler_provider").CronScheduler()
        assert provider.fire_due("a") is False
        assert provider.fire_due("nothing") is False
        assert mini.ran == []
        assert mini.stored().get("fire_claim") is None
        assert "refused: no process" in caplog.text
    with hermes(tmp_path / "owner", monkeypatch) as mini:
        mini.write(job("a", ago=-600))
        mini.scheduler.tick(False)
        mini.module("cron.scheduler_provider").CronScheduler().fire_due("a")
        assert first_ended(mini).state is RunState.SUCCEEDED


def test_on_an_event_loop_it_does_not_wait_for_long(
    owner: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else would wait with it; the request has a deadline that says so."""
    seen: list[Any] = []
    real = requests.trigger

    def trigger(profile: Any, job: str, *, by: Any, deadline: Any) -> Any:
        seen.append(deadline)
        return real(profile, job, by=by)  # with the usual deadline: on a busy machine too

    monkeypatch.setattr("tenure.adapters.hermes.inside.refusals.trigger", trigger)

    async def handler() -> Any:
        return owner.jobs.trigger_job("a")

    asyncio.run(handler())
    first_ended(owner)
    owner.jobs.trigger_job("a")
    assert [d and d.total_seconds() for d in seen] == [2.0, None]


def test_asking_joins_nothing(other: MiniHermes) -> None:
    """A command that asks is no scheduler: no thread is left, no process of the profile."""
    before = set(threading.enumerate())
    for _ in range(3):
        cronjob(other)
    assert set(threading.enumerate()) <= before
    assert other.profile.store.processes() == ()
