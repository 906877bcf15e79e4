"""Authority ends with the process that a rule names in the owner's chain (C2, C8, C10)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import TENURE, World

from tenure.domain.run import RunState
from tenure.host.processes import identity_of, is_alive
from tenure.store.contract import RunFilter
from waiting import eventually

pytestmark = pytest.mark.real
LAUNCH = '"$@" & wait'


class Launched:
    """`tenure serve` under a launcher: a program of its own, at the given path."""

    def __init__(self, world: World, launcher: Path) -> None:
        self.world = world
        self.launcher = world.start([launcher, "-c", LAUNCH, "launcher", TENURE, "serve"])
        self.pid = eventually(self._child, "the launcher's child")
        identity = identity_of(self.pid)
        assert identity is not None
        self.identity = identity

    def end(self) -> None:
        """Also as an orphan, of which the world knows nothing."""
        if is_alive(self.identity):
            os.kill(self.pid, signal.SIGKILL)

    def _child(self) -> int | None:
        pid = self.launcher.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(found[0]) if found else None

    def seen(self) -> dict[str, Any]:
        """As `tenure status` shows the scheduler."""
        listed = self.world.tenure("status", "--json").json["processes"]
        return next((p for p in listed if p["pid"] == self.pid), {"standing": None})

    def wait(self, standing: str) -> None:
        eventually(lambda: self.seen()["standing"] == standing, f"pid {self.pid} to be {standing}")


@pytest.fixture
def launch(launcher: Path) -> Iterator[Callable[[World], Launched]]:
    made: list[Launched] = []

    def start(world: World) -> Launched:
        made.append(Launched(world, launcher))
        return made[-1]

    yield start
    for one in made:
        one.end()


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    path = tmp_path / "gateway"
    shutil.copy(Path("/bin/sh").resolve(), path)
    return path


def warnings_of(world: World) -> dict[str, Any]:
    return {w["code"]: w for w in world.tenure("status", "--json").json["warnings"]}


def test_an_orphan_hands_over_to_a_candidate_whose_chain_is_whole(
    make: Callable[..., World], launcher: Path, launch: Callable[[World], Launched]
) -> None:
    world = make(toml=f'[[owner]]\nexecutable = "{launcher}"\n')
    first = launch(world)
    first.wait("owner")
    second = launch(world)
    second.wait("candidate")
    world.job("true", protected=True)
    world.wait_run(RunState.SUCCEEDED)
    first.launcher.kill()
    second.wait("owner")
    first.wait("refused")
    old, new = (world.store.terms()[n] for n in (1, 0))
    assert old.ended_at is not None
    assert (new.taken_at - old.ended_at).total_seconds() < 1
    assert "has ended" in old.ended_why
    warning = warnings_of(world)["launcher_ended"]
    assert f"pid {first.pid}" in warning["text"]
    assert f"stop pid {first.pid}" in warning["remedy"]
    member = world.store.terms()[0].process
    ended = world.store.terms()[0].taken_at
    for run in world.store.runs(RunFilter())[0]:
        assert run.process == member or run.claimed_at <= ended
    world.check_audit()


def test_without_a_candidate_it_goes_on_only_by_another_rule_and_runs_nothing_protected(
    make: Callable[..., World], launcher: Path, launch: Callable[[World], Launched]
) -> None:
    world = make(toml=f'[[owner]]\nexecutable = "{launcher}"\n\n[[owner]]\nuser = "me"\n')
    only = launch(world)
    only.wait("owner")
    world.job("true", name="mail", protected=True)
    first = world.wait_run(RunState.SUCCEEDED)
    world.job("true", name="plain", soon=3600)
    only.launcher.kill()
    eventually(lambda: not world.ownership().authoritative, "the owner without authority")
    assert {"launcher_ended", "protected_without_authority"} <= set(warnings_of(world))
    said = world.tenure("trigger", "mail")
    assert said.code == 3
    said = world.tenure("trigger", "plain", "--wait", "--json")
    assert said.code == 0, said.err
    alive = [
        [link["alive"] for link in chain_of(world, run) if link["executable"] == str(launcher)]
        for run in (first.id, said.json["run"]["id"])
    ]
    assert alive == [[True], [False]]
    world.check_audit()


def test_a_launcher_that_no_rule_names_may_end(
    make: Callable[..., World], launch: Callable[[World], Launched]
) -> None:
    """As `nohup tenure serve &` in a shell that is closed."""
    world = make(toml='[[owner]]\nuser = "me"\n')
    only = launch(world)
    only.wait("owner")
    term = world.ownership().term
    only.launcher.kill()
    eventually(
        lambda: not all(link["alive"] for link in only.seen()["evidence"]["chain"]),
        "the launcher's end in the evidence",
    )
    assert "launcher_ended" not in warnings_of(world)
    assert (world.ownership().term, world.ownership().authoritative) == (term, True)
    assert only.seen()["standing"] == "owner"


def chain_of(world: World, run: str) -> list[dict[str, Any]]:
    listed = world.tenure("runs", "--json", "-n", "50").json["runs"]
    found: list[dict[str, Any]] = next(r for r in listed if r["id"] == run)["evidence"]["chain"]
    return found
