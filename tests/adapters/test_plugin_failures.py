"""Whatever fails, nothing runs and nothing is lost; what Hermes passes over is written down."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from minihermes import MiniHermes, hermes, job, once
from pluginkit import tick

from tenure.adapters.hermes.inside.patches import hosts
from tenure.domain.errors import StoreBlocked
from tenure.runtime.dispatch.external_fires import ExternalClaim, ExternalFires
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from waiting import eventually


@pytest.fixture(params=[True, False], ids=["new", "old"])
def mini(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MiniHermes]:
    with hermes(tmp_path, monkeypatch, new=request.param) as made:
        yield made


# -- when things fail ----------------------------------------------------------------------------
def test_a_store_that_is_blocked_runs_nothing_and_loses_nothing(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What Hermes found due it finds due again: also what finding it had moved on."""
    mini.write(job("a"), once("b"), *([job("c", ago=3000)] if mini.new else []))
    before = [mini.stored(id) for id in ("a", "b")]
    tick(mini, can_dispatch=lambda: False)

    def blocked(self: ExternalFires, announced: Any) -> Any:
        raise StoreBlocked("pid 5 has held the store for 5 s")

    with monkeypatch.context() as patched:
        patched.setattr(ExternalFires, "claim", blocked)
        for _ in range(3):
            assert tick(mini) == 0
    assert mini.ran == []
    now = [mini.stored(id) for id in ("a", "b")]
    assert [j["next_run_at"] for j in now] == [j["next_run_at"] for j in before]
    assert [r.message for r in caplog.records if "no run can be claimed" in r.message] == [
        "no run can be claimed, so no job runs: pid 5 has held the store for 5 s"
    ]
    tick(mini)
    assert sorted(mini.ran) == (["a", "b", "c"] if mini.new else ["a", "b"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("odd")])
def test_whatever_joining_raises_nothing_runs_and_the_ticker_lives(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch, error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def join(self: Any) -> None:
        raise error

    mini.write(job("a"))
    with monkeypatch.context() as patched:
        patched.setattr("tenure.runtime.scheduler.Scheduler.start", join)
        for _ in range(3):
            assert tick(mini) == 0
    assert mini.ran == []
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    assert str(error) in caplog.text
    assert tick(mini) == 1


def test_without_its_profile_nothing_runs_and_with_it_again_it_goes_on(mini: MiniHermes) -> None:
    mini.write(job("a"))
    tick(mini)
    folder = mini.profile.folder.path
    away = folder.with_name("away")
    shutil.move(folder, away)
    mini.write(job("a", ago=1))
    assert tick(mini) == 0
    shutil.move(away, folder)
    assert eventually(lambda: tick(mini), "the owner to go on") == 1


@pytest.mark.parametrize("text", ["", "{", '{"jobs": 5}', "[1, 2"])
def test_a_damaged_file_of_jobs_runs_nothing_and_removes_none(mini: MiniHermes, text: str) -> None:
    mini.write(job("a", ago=-60))
    tick(mini)
    (before,) = mini.profile.store.jobs()[0]
    mini.home.jobs_file.write_text(text)
    assert tick(mini) == 0
    assert mini.profile.store.jobs()[0] == (before,)


def test_without_a_file_of_jobs_none_is_taken_for_removed(mini: MiniHermes) -> None:
    mini.write(job("a", ago=-60))
    tick(mini)
    (before,) = mini.profile.store.jobs()[0]
    mini.home.jobs_file.unlink()
    tick(mini)
    assert mini.profile.store.jobs()[0] == (before,)


def test_a_damaged_sidecar_runs_nothing(mini: MiniHermes, caplog: pytest.LogCaptureFixture) -> None:
    mini.write(job("a"))
    mini.home.sidecar.write_text("{")
    assert tick(mini) == 0
    assert tick(mini) == 0
    assert mini.ran == []
    assert len([r for r in caplog.records if "cannot be mirrored" in r.message]) == 1
    mini.home.sidecar.unlink()
    assert tick(mini) == 1


def test_a_job_without_an_instant_is_told_of_and_stops_no_other(
    mini: MiniHermes, caplog: pytest.LogCaptureFixture
) -> None:
    mini.write(job("a"), job("b"))
    mini.scheduler.get_due_jobs.__tenure__  # noqa: B018  the wrapped one is there
    host = hosts.of(mini.home)
    assert host is not None
    find = host.handoff.claimed

    def with_an_odd_one(original: Any) -> Any:
        return find(lambda: [{**job, "next_run_at": None} if job["id"] == "a" else job
                             for job in original()])  # fmt: skip

    host.handoff.claimed = with_an_odd_one  # type: ignore[method-assign]
    assert tick(mini) == 1
    assert mini.ran == ["b"]
    assert "job job a is not run" in caplog.text


def test_a_protected_job_is_held_and_hermes_goes_on_to_its_next(mini: MiniHermes) -> None:
    """The profile is open, so nobody is authoritative."""
    mini.write(job("a"), job("b"))
    mini.home.sidecar.write_text('{"v": 1, "protected": {"a": {"requires": []}}}')
    assert tick(mini) == 1
    assert mini.ran == ["b"]
    (held,) = mini.profile.store.omissions(only_open=True)[0]
    assert held.kind == "held"
    assert datetime.fromisoformat(mini.stored("a")["next_run_at"]) > datetime.now(UTC)
    assert tick(mini) == 0


def test_a_fire_that_is_not_accounted_for_is_due_again(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody edits the job at this moment, say: nothing was written about its fire."""
    mini.write(once("a"), once("b"))
    claim = ExternalFires.claim

    def refuse_one(self: ExternalFires, announced: Any) -> Any:
        first = min(announced)
        rest = {id: fire for id, fire in announced.items() if id != first}
        return {first: ExternalClaim(why="the job was changed"), **(claim(self, rest) or {})}

    with monkeypatch.context() as patched:
        patched.setattr(ExternalFires, "claim", refuse_one)
        assert tick(mini) == 1
    assert tick(mini) == 1
    assert sorted(mini.ran) == ["a", "b"]


def test_a_profile_that_was_made_anew_is_joined(mini: MiniHermes) -> None:
    mini.write(job("a"))
    tick(mini)
    shutil.rmtree(mini.profile.folder.path)
    mini.write(job("a", ago=1))
    assert tick(mini) == 0
    now = datetime.now(UTC)
    with closing(Profile.open("hermes-la", home=mini.tenure_home, create=True, now=now)) as anew:
        assert eventually(lambda: tick(mini), "the owner to go on") == 1
        assert len(anew.store.runs(RunFilter())[0]) == 1


# -- what Hermes passes over ---------------------------------------------------------------------
@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniHermes]:
    """One that passes over fires that are more than two minutes late, and says nothing."""
    with hermes(tmp_path, monkeypatch, new=False) as made:
        yield made


def test_late_fires_that_an_older_hermes_passes_over_are_missed(old: MiniHermes) -> None:
    """C5: written down, with how many, and who decided."""
    old.write(job("a", ago=1000, minutes=5), job("b"))
    assert tick(old) == 1
    assert old.ran == ["b"]
    (missed,) = old.profile.store.omissions()[0]
    assert (missed.kind, missed.count, missed.reason) == (
        "missed", 4, "Hermes skipped it: it was too late",
    )  # fmt: skip
    for _ in range(3):
        tick(old)
    assert len(old.profile.store.omissions()[0]) == 1


def test_fires_that_are_accounted_for_are_not_missed_again(old: MiniHermes) -> None:
    """Somebody restores jobs.json as it was."""
    before = job("a", ago=1000, minutes=5)
    for _ in range(3):
        old.write(before)
        tick(old)
    (missed,) = old.profile.store.omissions()[0]
    assert missed.count == 4


def test_what_could_not_be_written_down_is_written_down_the_next_time(
    old: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.write(job("a", ago=1000, minutes=5))
    host = hosts.of(old.home)
    assert host is not None
    with monkeypatch.context() as patched:

        def blocked(self: Any, claim: Any) -> Any:
            raise StoreBlocked("pid 5 has held the store for 5 s")

        patched.setattr("tenure.runtime.dispatch.dispatcher.Dispatcher.under_mandate", blocked)
        tick(old)
    assert old.profile.store.omissions()[0] == ()
    tick(old)
    assert [o.count for o in old.profile.store.omissions()[0]] == [4]


def test_an_edit_at_that_moment_is_no_fire_passed_over(old: MiniHermes) -> None:
    old.write(job("a", ago=1000, minutes=5))
    find = old.jobs.get_due_jobs

    def edited() -> Any:
        found = find()
        old.write(job("a", ago=-600, minutes=7))
        return found

    host = hosts.of(old.home)
    assert host is not None
    claimed = host.handoff.claimed
    host.handoff.claimed = lambda original: claimed(edited)  # type: ignore[method-assign]
    tick(old)
    assert old.profile.store.omissions()[0] == ()
