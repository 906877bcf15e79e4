"""``tenure hermes adopt``, ``release``, ``protect``: what is printed, asked, and the exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from adoptkit import CONFIG, World, snapshot

from commands import Answer
from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.back.release import alone
from tenure.surfaces.cli.main import main

Say = Callable[..., Answer]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in [n for n in os.environ if n.startswith(("HERMES", "TENURE", "XDG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    made = World(tmp_path).with_config().with_lock()
    monkeypatch.setenv("HERMES_HOME", str(made.home.root))
    monkeypatch.setenv("TENURE_HOME", str(made.tenure))
    monkeypatch.setattr("tenure.adapters.hermes.adopt.carry_out.library", lambda: made.library)
    monkeypatch.setattr("tenure.adapters.hermes.adopt.drift.library", lambda: made.library)
    monkeypatch.setattr("tenure.adapters.hermes.adopt.fence.LINGER_S", 0.0)
    return made


@pytest.fixture
def say(world: World, capfd: pytest.CaptureFixture[str]) -> Say:
    def run(verb: str, *argv: str) -> Answer:
        capfd.readouterr()
        code = main(["hermes", verb, "--profile", "la", *argv])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


def test_the_way_there_and_back(world: World, say: Say) -> None:
    before = snapshot(world.home.root)
    said = say("adopt", "--force", "--yes", "--protect", "mail", "--fallback-after", "10m")
    assert said.code == 0, said.err
    assert "adopted: " in said.out
    assert "nothing runs until the owner is restarted" in said.out
    assert "→ start the gateway: hermes -p la gateway run" in said.out
    assert 'after = "10m"' in said.out
    assert fence_exists(world.home)
    again = say("adopt", "--force", "--yes")
    assert again.code == 0
    assert again.out.rstrip().endswith("as before")
    assert "is protected" in say("protect", "bbbbbbbbbbbb", "--requires", "fda").out
    assert say("unprotect", "mail", "--json").json["unprotected"] == ["aaaaaaaaaaaa"]
    said = say("release", "--yes")
    assert said.code == 0, said.err
    assert "removed the list of protected jobs: bbbbbbbbbbbb" in said.out
    assert "the Tenure profile hermes-la" in said.out
    assert snapshot(world.home.root) == before


def test_as_json(world: World, say: Say) -> None:
    plan = say("adopt", "--force", "--dry-run", "--json").json
    assert plan["hermes_profile"] == "la"
    assert plan["unverified"]
    done = say("adopt", "--force", "--yes", "--json").json
    assert done["adopted"] == str(world.home.path)
    assert done["done"]
    assert done["next"][0].startswith("start the gateway")
    assert say("protect", "mail", "--json").json["protected"] == [
        {"id": "aaaaaaaaaaaa", "name": "mail"}
    ]
    assert say("release", "--dry-run", "--json").json["would"]
    gone = say("release", "--yes", "--json").json
    assert gone["released"] == str(world.home.path)
    assert gone["stays"] == []
    assert say("release", "--yes", "--json").json["released"] is None


def test_without_a_yes_nothing_is_done(world: World, say: Say) -> None:
    before = snapshot(world.home.root)
    said = say("adopt", "--force")
    assert said.code == 2
    assert "--yes" in said.err
    said = say("adopt", "--force", "--dry-run")
    assert said.code == 0
    assert "would" not in said.err
    assert snapshot(world.home.root) == before
    assert not world.tenure.exists()
    world.adopt()
    assert say("release").code == 2
    assert fence_exists(world.home)


def test_refusals_have_exit_codes_and_remedies(world: World, say: Say) -> None:
    said = say("adopt", "--yes")
    assert said.code == 3
    assert "--force" in said.err
    assert say("adopt", "--yes", "--force", "--owner", "nobody").code == 2
    assert say("adopt", "--yes", "--force", "--fallback-after", "10").code == 2
    assert say("adopt", "--yes", "--force", "--protect", "x").code == 4
    assert say("adopt", "--yes", "--force", "--protect", "twice").code == 5
    assert say("protect", "mail").code == 3
    assert main(["hermes", "adopt", "--profile", "lx", "--yes"]) == 4
    world.home.config.write_text("plugins: {enabled: [a]}\n")
    said = say("adopt", "--yes", "--force")
    assert said.code == 3
    assert "line 1" in said.err
    assert str(world.home.config) in said.err
    assert say("release", "--yes").out.startswith("Tenure has written nothing in")


def test_what_has_to_stay_is_said(world: World, say: Say) -> None:
    world.adopt()
    (world.home.tenure / "mine").touch()
    said = say("release", "--yes")
    assert said.code == 1
    assert "kept tenure: it also contains mine" in said.err
    assert world.home.config.read_text() == CONFIG


def test_two_at_once_is_a_conflict(world: World, say: Say) -> None:
    world.adopt()
    with alone(str(world.home.path)):
        assert say("release", "--yes").code == 5
        assert say("adopt", "--yes", "--force").code == 5
    assert say("release", "--yes").code == 0


def test_status_tells_what_was_lost(world: World, say: Say) -> None:
    world.adopt()
    world.home.config.write_text("a: 1\n")
    said = say("status", "--json")
    codes = {warning["code"] for warning in said.json["warnings"]}
    assert "plugin_disabled" in codes


def test_what_a_release_that_was_killed_has_left(world: World, say: Say) -> None:
    before = snapshot(world.home.root)
    for name in (".tenure-adopting", ".tenure-released"):
        (world.home.path / name / "lib").mkdir(parents=True)
    said = say("release", "--yes")
    assert said.code == 0
    assert said.out.count("removed ") == 2
    assert snapshot(world.home.root) == before
