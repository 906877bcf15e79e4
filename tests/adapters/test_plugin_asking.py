"""Who asks for a run: of the owner, in words of Hermes', and never run by whoever asks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from minihermes import MiniHermes, hermes, job, once
from pluginkit import cronjob, first_ended

from tenure.adapters.hermes.inside.hermes_api import TickerCall
from tenure.adapters.hermes.inside.patches import hosts
from tenure.domain.run import Cause, RunState
from waiting import DEADLINE, eventually


def test_a_trigger_runs_in_the_owner_and_says_which_run(owner: MiniHermes) -> None:
    answer = owner.jobs.trigger_job("a")
    run = first_ended(owner)
    assert run.id in answer["tenure"]
    assert (run.state, run.cause) == (RunState.SUCCEEDED, Cause.REQUEST)
    assert owner.ran == ["a"]
    if owner.new:
        assert owner.module("cron.executions").MADE == [("a", "tenure")]


def test_a_triggered_run_leaves_the_plan_as_it_was_to_others(owner: MiniHermes) -> None:
    """Nothing is put down as due: no tick can run it once more."""
    owner.write(job("a", ago=-600), job("b", ago=-600))
    owner.jobs.trigger_job("a")
    first_ended(owner)
    owner.scheduler.tick(False, None, None, True)
    assert owner.ran == ["a"]
    assert len(owner.runs()) == 1


def test_by_name_and_by_an_ambiguous_one_as_hermes_does(owner: MiniHermes) -> None:
    owner.write(job("a", ago=-600, name="mail"), job("b", ago=-600, name="twin"),
                job("c", ago=-600, name="twin"))  # fmt: skip
    assert owner.jobs.trigger_job("mail")["id"] == "a"
    first_ended(owner)
    with pytest.raises(owner.jobs.AmbiguousJobReference):
        owner.jobs.trigger_job("twin")
    assert owner.jobs.trigger_job("nothing") is None
    assert owner.ran == ["a"]


def test_a_job_that_no_tick_has_seen_yet(owner: MiniHermes) -> None:
    owner.write(job("new one", ago=-600))
    owner.jobs.trigger_job("new one")
    assert first_ended(owner).job_name == "job new one"


def test_a_fire_that_is_due_gives_way_and_is_written_down(owner: MiniHermes) -> None:
    owner.write(job("a", ago=0))
    owner.jobs.trigger_job("a")
    assert first_ended(owner).cause is Cause.REQUEST
    owner.scheduler.tick(False, None, None, True)
    assert owner.ran == ["a"]
    (skipped,) = owner.profile.store.omissions()[0]
    assert (skipped.kind, skipped.count) == ("skipped", 1)


def test_one_that_is_due_and_that_no_tick_has_seen_yet(owner: MiniHermes) -> None:
    owner.write(job("new one", ago=0))
    owner.jobs.trigger_job("new one")
    assert first_ended(owner).cause is Cause.REQUEST
    owner.scheduler.tick(False, None, None, True)
    assert owner.ran == ["new one"]
    (skipped,) = owner.profile.store.omissions()[0]
    assert (skipped.kind, skipped.count) == ("skipped", 1)


def test_one_that_is_paused_between_its_acceptance_and_its_start(owner: MiniHermes) -> None:
    host = hosts.of(owner.home)
    assert host is not None

    def pause() -> bool:
        owner.write(job("a", ago=-600, enabled=False, state="paused"))
        return True

    host.handoff.ticker_call = TickerCall(can_dispatch=pause)
    owner.jobs.trigger_job("a")
    run = first_ended(owner)
    assert run.state is RunState.FAILED
    assert "paused in Hermes" in run.reason
    assert owner.ran == []


def test_while_its_run_is_active_a_trigger_is_refused(owner: MiniHermes) -> None:
    began, go = threading.Event(), threading.Event()

    def do(job: Any) -> Any:
        began.set()
        assert go.wait(DEADLINE)
        return True, "", "text", None

    owner.do(do)
    owner.jobs.trigger_job("a")
    assert began.wait(DEADLINE)
    with pytest.raises(RuntimeError, match=r"refused: job a is already running"):
        owner.jobs.trigger_job("a")
    go.set()
    first_ended(owner)
    assert owner.ran == ["a"]


def test_a_fire_while_a_triggered_run_is_active_is_skipped(owner: MiniHermes) -> None:
    began, go = threading.Event(), threading.Event()

    def do(job: Any) -> Any:
        began.set()
        assert go.wait(DEADLINE)
        return True, "", "text", None

    owner.do(do)
    owner.jobs.trigger_job("a")
    assert began.wait(DEADLINE)
    stored = owner.stored("a")
    owner.write({**stored, "next_run_at": job("a", ago=1)["next_run_at"]}, job("b", ago=1))
    if owner.new:  # in the other one the triggered run holds the lock of the tick
        owner.scheduler.tick(False, None, None, False)
    go.set()
    first_ended(owner)
    eventually(lambda: [r for r in owner.runs() if r.finished_at is None] == [], "all runs to end")
    owner.scheduler.tick(False, None, None, True)
    assert sorted(owner.ran) == ["a", "b"]


@pytest.mark.parametrize("paused", [{"enabled": False, "state": "paused"}])
def test_a_paused_job_stays_paused_and_the_remedy_is_of_hermes(
    owner: MiniHermes, paused: dict[str, Any]
) -> None:
    owner.write(job("a", ago=-600, **paused))
    with pytest.raises(RuntimeError, match=r"the job is paused \(hermes -p la cron resume a\)"):
        owner.jobs.trigger_job("a")
    assert owner.stored("a")["state"] == "paused"
    assert owner.ran == []
    (request,) = owner.profile.store.requests()
    assert request.state == "refused"


def test_a_one_shot_that_is_over(owner: MiniHermes) -> None:
    owner.write(once("a", ago=600, enabled=False, state="completed"))
    with pytest.raises(RuntimeError, match=r"for the last time \(set it again: hermes -p la"):
        owner.jobs.trigger_job("a")


def test_a_one_shot_runs_when_asked_and_then_not_again(owner: MiniHermes) -> None:
    owner.write(once("a", ago=-600))
    owner.jobs.trigger_job("a")
    first_ended(owner)
    assert owner.stored("a")["state"] == "completed"
    owner.scheduler.tick(False, None, None, True)
    assert owner.ran == ["a"]


def test_the_owners_own_agent_waits_for_the_end(owner: MiniHermes) -> None:
    owner.do(lambda job: (False, "", "text", "no such mailbox"))
    answer = cronjob(owner)
    if not owner.new:  # its tool asks for a tick, and waits for none
        assert first_ended(owner).reason == "no such mailbox"
        return
    assert answer["job"]["executed"]
    assert not answer["job"]["execution_success"]
    assert owner.ran == ["a"]


def test_a_run_that_hermes_would_not_give_back_fails_and_says_so(owner: MiniHermes) -> None:
    """A job that is removed between its acceptance and its start."""
    host = hosts.of(owner.home)
    assert host is not None
    skip = host.handoff._skip_due_fire

    def gone(id: str) -> None:
        skip(id)
        owner.write()

    host.handoff._skip_due_fire = gone
    owner.jobs.trigger_job("a")
    run = first_ended(owner)
    assert run.state is RunState.FAILED
    assert "gone" in run.reason or "removed" in run.reason
    assert owner.ran == []


def test_a_mark_of_a_fire_that_a_dead_process_left_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hermes(tmp_path, monkeypatch) as mini:
        mini.write(job("a", ago=-600, fire_claim={"at": "2030-01-01T00:00:00", "by": "dead"}))
        mini.scheduler.tick(False)
        mini.jobs.trigger_job("a")
        assert first_ended(mini).state is RunState.SUCCEEDED


def test_a_hermes_that_is_about_to_stop_takes_up_no_run(owner: MiniHermes) -> None:
    if not owner.new:
        return
    owner.scheduler.tick(verbose=False, can_dispatch=lambda: False)
    owner.jobs.trigger_job("a")
    run = first_ended(owner)
    assert run.state is RunState.FAILED
    assert "shutting down" in run.reason
    assert owner.ran == []


def test_a_run_that_must_wait_for_the_tick_at_hand_gives_up_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.adapters.hermes.inside.run_handoff.TICK_WAIT_S", 0.2)
    with hermes(tmp_path, monkeypatch, new=False) as mini:
        began, go = threading.Event(), threading.Event()

        def do(job: Any) -> Any:
            began.set()
            assert go.wait(DEADLINE)
            return True, "", "text", None

        mini.do(do)
        mini.write(job("a", ago=-600), job("slow"))
        thread = threading.Thread(target=mini.scheduler.tick, args=(False, None, None, True))
        thread.start()
        assert began.wait(DEADLINE)
        mini.jobs.trigger_job("a")
        run = first_ended(mini)
        assert "another tick took too long" in run.reason
        go.set()
        thread.join(DEADLINE)
        mini.scheduler.tick(False, None, None, True)
        assert mini.ran == ["slow"], "it was refused, so it is not run later either"
