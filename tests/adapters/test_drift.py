"""What an adoption has lost since is found, and each finding says what to type."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from adoptkit import SHIM, World, installation, snapshot

from tenure.adapters.hermes.adopt import drift as drifting
from tenure.adapters.hermes.adopt.drift import drift
from tenure.adapters.hermes.adopt.plugin_files import Library
from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import home_of


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = World(tmp_path).with_config().with_lock()
    monkeypatch.setattr(drifting, "shim", lambda: SHIM)
    monkeypatch.setattr(drifting, "library", lambda: made.library)
    made.adopt()
    record = json.loads(made.home.adoption.read_text())
    made.home.adoption.write_text(json.dumps({**record, "hermes_version": "0.19.0"}))
    return made


def codes(world: World) -> list[str]:
    before = snapshot(world.home.root)
    found = drift(world.home, installation())
    assert snapshot(world.home.root) == before
    for finding in found:
        assert finding.text
        assert finding.remedy
    return [finding.code for finding in found]


def test_nothing_is_lost(world: World) -> None:
    assert codes(world) == []


def test_nothing_is_adopted(world: World) -> None:
    world.release()
    assert codes(world) == []
    world.home.tenure.mkdir()
    world.home.adoption.write_text("{")
    assert codes(world) == []  # the survey says so


def fence_removed(world: World) -> None:
    shutil.rmtree(world.home.tick_lock)


def fence_replaced(world: World) -> None:
    shutil.rmtree(world.home.tick_lock)
    world.home.tick_lock.touch()


def fence_emptied(world: World) -> None:
    (world.home.tick_lock / "release.py").unlink()


def plugin_gone(world: World) -> None:
    shutil.rmtree(world.home.plugin)


def plugin_half_gone(world: World) -> None:
    (world.home.plugin / "plugin.yaml").unlink()


def plugin_edited(world: World) -> None:
    (world.home.plugin / "__init__.py").write_text("oops(")


def not_enabled(world: World) -> None:
    world.home.config.write_text("plugins:\n  enabled: [notes]\n")


def config_gone(world: World) -> None:
    world.home.config.unlink()


def disabled(world: World) -> None:
    world.home.config.write_text("plugins:\n  enabled: [tenure]\n  disabled: [tenure]\n")


def copy_gone(world: World) -> None:
    shutil.rmtree(world.home.tenure / "lib")


def copy_edited(world: World) -> None:
    (world.home.tenure / "lib" / "tenure" / "__init__.py").write_text("two = 2\n")


def copy_newer(world: World) -> None:
    label = "tenure 99.0\ncronsim 2\nsha256 0\n"
    (world.home.tenure / "lib" / "VERSION").write_text(label)


def provider(world: World) -> None:
    text = world.home.config.read_text() + "cron:\n  provider: chronos\n"
    world.home.config.write_text(text)


def profile_gone(world: World) -> None:
    shutil.rmtree(world.tenure / "profiles" / "hermes-la")


def profile_of_another(world: World) -> None:
    link = world.tenure / "profiles" / "hermes-la" / "hermes.json"
    link.write_text('{"v": 1, "hermes_home": "/elsewhere"}')


def another_version(world: World) -> None:
    record = json.loads(world.home.adoption.read_text())
    world.home.adoption.write_text(json.dumps({**record, "hermes_version": "0.18.2"}))


@pytest.mark.parametrize(
    ("lose", "code"),
    [
        (fence_removed, "fence_missing"),
        (fence_replaced, "fence_missing"),
        (fence_emptied, "fence_outdated"),
        (plugin_gone, "plugin_missing"),
        (plugin_half_gone, "plugin_missing"),
        (plugin_edited, "plugin_edited"),
        (not_enabled, "plugin_disabled"),
        (config_gone, "plugin_disabled"),
        (disabled, "plugin_disabled"),
        (copy_gone, "copy_missing"),
        (copy_edited, "copy_outdated"),
        (copy_newer, "copy_ahead"),
        (provider, "provider_set"),
        (profile_gone, "profile_missing"),
        (profile_of_another, "profile_of_another"),
        (another_version, "hermes_changed"),
    ],
)
def test_each_loss_is_found_alone(world: World, lose: Callable[[World], None], code: str) -> None:
    lose(world)
    assert codes(world) == [code]


@pytest.mark.parametrize(
    "lose",
    [fence_removed, fence_replaced, fence_emptied, plugin_gone, plugin_half_gone, plugin_edited,
     not_enabled, disabled, copy_gone, copy_edited, profile_gone, another_version],
)  # fmt: skip
def test_adopting_again_repairs_it(world: World, lose: Callable[[World], None]) -> None:
    lose(world)
    assert codes(world)
    world.adopt()
    record = json.loads(world.home.adoption.read_text())
    world.home.adoption.write_text(json.dumps({**record, "hermes_version": "0.19.0"}))
    assert codes(world) == []


def test_a_copied_home(world: World) -> None:
    copy = world.home.root / "profiles" / "lb"
    shutil.copytree(world.home.path, copy)
    (found,) = drift(home_of(copy))
    assert found.code == "home_copied"
    assert "--copied" in found.remedy
    assert codes(world) == []


def test_no_rules_in_force_and_other_rules(world: World) -> None:
    toml = world.tenure / "profiles" / "hermes-la" / "profile.toml"
    shutil.rmtree(toml.parent)
    toml.parent.mkdir()
    toml.write_text('[[owner]]\nexecutable = "/opt/x"\n')
    world.adopt()
    (found,) = drift(world.home, replace(installation(), version="0.19.0"))[-1:]
    assert found.code == "rule_missing"
    assert str(world.home.gateway_lock) in found.remedy


def test_another_tenure_in_hermes_environment(world: World, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    info = site / "tenure-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tenure\nVersion: 9.9\n")
    found = drift(world.home, installation(site_packages=str(site)))
    assert [f.code for f in found] == ["entry_point_differs"]
    assert "Tenure 9.9 is installed in Hermes' environment" in found[0].text


def test_an_unfinished_adoption_is_looked_at_all_the_same(world: World) -> None:
    adoption = read_adoption(world.home)
    assert adoption is not None
    record = {**adoption.document(), "state": "releasing"}
    Disk().write(str(world.home.adoption), json.dumps(record).encode())
    fence_removed(world)
    assert codes(world) == []
    record["state"] = "adopting"
    Disk().write(str(world.home.adoption), json.dumps(record).encode())
    assert codes(world) == ["fence_missing"]


def test_a_finding_has_code_text_and_remedy(world: World) -> None:
    fence_removed(world)
    (found,) = drift(world.home, installation())
    assert list(asdict(found)) == ["code", "text", "remedy"]


def test_a_larger_copy_is_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Library({**world.library.files, "tenure/more.py": Path(__file__)}, ())
    monkeypatch.setattr(drifting, "library", lambda: other)
    assert codes(world) == ["copy_outdated"]
