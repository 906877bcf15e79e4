"""Protected jobs of Hermes': held under a fallback owner, run once there is a better one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from minihermes import OTHERS, MiniHermes, hermes, job, once

from tenure.adapters.hermes.inside.patches import hosts
from tenure.domain.run import Cause, RunState
from waiting import eventually

FALLBACK = OTHERS + '[[owner]]\nuser = "me"\n'
MINE = '[[owner]]\nuser = "me"\n'


@pytest.fixture(params=[True, False], ids=["new", "old"])
def mini(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MiniHermes]:
    """This process owns as a fallback; ``a`` is protected."""
    with hermes(tmp_path, monkeypatch, new=request.param, policy=FALLBACK) as made:
        made.home.sidecar.write_text('{"v": 1, "protected": {"a": {"requires": []}}}')
        made.write()
        made.scheduler.tick(False, None, None, True)
        yield made


def better(mini: MiniHermes) -> None:
    """The policy says now that this process is the authoritative one."""
    mini.profile.folder.toml.write_text(MINE)
    host = hosts.of(mini.home)
    assert host is not None
    assert host.membership.scheduler is not None
    host.membership.scheduler.keeper.wake()
    eventually(
        lambda: mini.profile.store.ownership().authoritative, "the owner to be authoritative"
    )


def ended(mini: MiniHermes) -> Any:
    return eventually(lambda: [r for r in mini.runs() if r.finished_at], "the run to end")


def tick(mini: MiniHermes) -> None:
    mini.scheduler.tick(False, None, None, True)


@pytest.mark.parametrize("make", [job, once])
def test_it_is_held_and_then_run_once(mini: MiniHermes, make: Any) -> None:
    mini.write(make("a"), job("b"))
    for _ in range(3):
        tick(mini)
    assert mini.ran == ["b"]
    (held,) = mini.profile.store.omissions(only_open=True)[0]
    assert (held.kind, held.count) == ("held", 1)
    better(mini)
    eventually(lambda: "a" in mini.ran, "what was held to run")
    runs = eventually(
        lambda: [r for r in mini.runs() if r.job_name == "job a" and r.finished_at], "end"
    )
    assert [(r.state, r.cause) for r in runs] == [(RunState.SUCCEEDED, Cause.HELD)]
    for _ in range(3):
        tick(mini)
    assert sorted(mini.ran) == ["a", "b"]
    if make is once:
        assert mini.stored("a")["state"] == "completed"
    else:
        assert datetime.fromisoformat(mini.stored("a")["next_run_at"]) > datetime.now(UTC)


def test_a_trigger_of_a_protected_job_is_refused(mini: MiniHermes) -> None:
    mini.write(job("a", ago=-600))
    with pytest.raises(RuntimeError, match="protected"):
        mini.jobs.trigger_job("a")
    assert mini.ran == []
    better(mini)
    mini.jobs.trigger_job("a")
    ended(mini)
    assert mini.ran == ["a"]


def test_protection_that_is_given_while_it_runs_counts_from_the_next_tick(
    mini: MiniHermes,
) -> None:
    mini.home.sidecar.unlink()
    mini.write(job("a"))
    tick(mini)
    assert mini.ran == ["a"]
    mini.home.sidecar.write_text('{"v": 1, "protected": {"a": {"requires": []}}}')
    mini.write(job("a", ago=0))
    tick(mini)
    assert mini.ran == ["a"]
    (held,) = mini.profile.store.omissions(only_open=True)[0]
    assert held.count == 1
