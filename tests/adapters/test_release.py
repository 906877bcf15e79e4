"""Releasing a home: byte for byte where nothing else changed, else only what is Tenure's own."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from adoptkit import CONFIG, CuttingDisk, World, snapshot

from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.adopt.plugin_files import way_back
from tenure.adapters.hermes.back import release as releasing
from tenure.adapters.hermes.back.disk import lock, unlock
from tenure.adapters.hermes.back.release import Refusal, alone, release
from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import home_of

ALONE = [sys.executable, "-I", "-S"]
"""A Python without Tenure, or anything else that was installed."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).with_config().with_lock(b"old")


def script(path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ALONE, str(path), *argv], capture_output=True, text=True, check=False, cwd="/"
    )


def test_nothing_is_left(world: World) -> None:
    before = snapshot(world.home.path)
    world.adopt()
    result = world.release()
    assert snapshot(world.home.path) == before
    assert result.stays == []
    assert "restored config.yaml, byte for byte" in result.done


def test_a_second_time_there_is_nothing_to_do(world: World) -> None:
    world.adopt()
    world.release()
    before = snapshot(world.home.path)
    assert world.release().done == []
    assert snapshot(world.home.path) == before


def test_a_dry_run_changes_nothing(world: World) -> None:
    world.adopt()
    before = snapshot(world.folder)
    result = world.release(dry_run=True)
    assert result.done[0] == "remove the fence: cron/.tick.lock"
    assert snapshot(world.folder) == before


# -- what was changed since ------------------------------------------------------------------------
def test_other_changes_of_the_config_stay(world: World) -> None:
    world.adopt()
    text = world.home.config.read_text()
    world.home.config.write_text(text.replace("gpt ", "gpt-5 ").replace("- notes", "- memo"))
    result = world.release()
    wanted = CONFIG.replace("gpt ", "gpt-5 ").replace("- notes", "- memo")
    assert world.home.config.read_text() == wanted
    assert any("changed since" in line for line in result.done)


def test_keys_that_adoption_added_go_if_they_are_empty(world: World) -> None:
    world.home.config.write_text("a: 1\n")
    world.adopt()
    world.home.config.write_text("a: 2\nplugins:\n  enabled:\n  - tenure\nb: 3\n")
    world.release()
    assert world.home.config.read_text() == "a: 2\nb: 3\n"


def test_keys_that_others_use_by_now_stay(world: World) -> None:
    world.home.config.write_text("a: 1\n")
    world.adopt()
    world.home.config.write_text("plugins:\n  enabled:\n  - notes\n  - tenure\n")
    world.release()
    assert world.home.config.read_text() == "plugins:\n  enabled:\n  - notes\n"


def test_a_config_that_is_gone(world: World) -> None:
    world.adopt()
    world.home.config.unlink()
    world.release()
    assert not world.home.config.exists()


def test_a_config_that_cannot_be_edited_any_more(world: World) -> None:
    world.adopt()
    world.home.config.write_text("plugins: {enabled: [\n  tenure]}\na: 1\n'open\n")
    result = world.release()
    assert "take tenure out of plugins.enabled yourself" in result.stays[0]
    assert not world.home.tenure.exists()
    assert not fence_exists(world.home)


def test_an_edit_that_the_parser_denies_is_not_made(world: World, tmp_path: Path) -> None:
    world.adopt()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ncat > /dev/null\necho '{\"same\": false}'\n")
    python.chmod(0o700)
    record = json.loads(world.home.adoption.read_text())
    world.home.adoption.write_text(json.dumps({**record, "hermes_python": str(python)}))
    text = world.home.config.read_text() + "more: 1\n"
    world.home.config.write_text(text)
    assert "would mean something else" in world.release().stays[0]
    assert world.home.config.read_text() == text


def test_lost_restore_data(world: World) -> None:
    """Without the original, the entry is taken out all the same."""
    world.adopt()
    shutil.rmtree(world.home.tenure / "restore")
    world.release()
    assert world.home.config.read_text() == CONFIG
    assert not world.home.tick_lock.exists()


def test_a_fence_that_somebody_took_away(world: World) -> None:
    world.adopt()
    shutil.rmtree(world.home.tick_lock)
    world.home.tick_lock.write_text("a ticker's")
    world.release()
    assert world.home.tick_lock.read_text() == "a ticker's"
    assert not list(world.home.cron.glob("*.tenure-new"))


def test_foreign_files_stay_and_are_named(world: World) -> None:
    world.adopt()
    (world.home.plugin / "mine.py").write_text("1")
    (world.home.tenure / "notes.txt").write_text("2")
    (world.home.tick_lock / ".DS_Store").write_text("3")
    result = world.release()
    assert [line.split(":")[0] for line in result.stays] == [
        "kept plugins/tenure", "kept plugins", "kept tenure",
    ]  # fmt: skip
    assert (world.home.plugin / "mine.py").read_text() == "1"
    assert [p.name for p in world.home.plugin.iterdir()] == ["mine.py"]
    assert [p.name for p in world.home.tenure.iterdir()] == ["notes.txt"]
    assert world.home.tick_lock.read_bytes() == b"old"
    assert read_adoption(world.home) is None


def test_what_version_0_1_put_there_goes_too(world: World) -> None:
    before = snapshot(world.home.path)
    world.adopt()
    for folder in (world.home.tenure, world.home.tick_lock):
        for name in ("undo.py", "yaml_lines.py"):
            (folder / name).write_text("# of an older release script\n")
    assert world.release().stays == []
    assert snapshot(world.home.path) == before


def test_what_python_and_hermes_left_in_it_goes_too(world: World) -> None:
    world.adopt()
    for folder in (world.home.plugin, world.home.tenure / "lib" / "tenure"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "x.cpython-311.pyc").touch()
    (world.home.plugin / "__init__.py").write_text("syntax error(")
    (world.home.tenure / "tick.lock").touch()
    assert world.release().stays == []
    assert not world.home.tenure.exists()
    assert not (world.home.path / "plugins").exists()


# -- others at work --------------------------------------------------------------------------------
def test_a_tick_of_the_owner_is_waited_for(world: World) -> None:
    world.adopt()
    path = world.home.tenure / "tick.lock"
    path.touch()
    held = lock(str(path), 0.0)
    assert held is not None
    with pytest.raises(Refusal, match="has been running a tick"):
        world.release()
    assert fence_exists(world.home)
    assert world.state == "adopted"
    threading.Timer(0.1, unlock, [held]).start()
    release(str(world.home.path), patience=30.0)
    assert not world.home.tenure.exists()


def test_two_at_once(world: World) -> None:
    world.adopt()
    with alone(str(world.home.path)), pytest.raises(Refusal, match="in progress"):
        world.release()
    assert world.state == "adopted"


# -- copies ----------------------------------------------------------------------------------------
def copy_of(world: World) -> Path:
    copy = world.home.root / "profiles" / "lb"
    shutil.copytree(world.home.path, copy, symlinks=True)
    return copy


def test_a_copy_is_released_only_if_told_so(world: World) -> None:
    wanted = snapshot(world.home.path)
    world.adopt()
    original = snapshot(world.home.path)
    copy = copy_of(world)
    with pytest.raises(Refusal, match="is a copy of"):
        release(str(copy))
    release(str(copy), copied=True)
    assert snapshot(copy) == wanted
    assert snapshot(world.home.path) == original


def test_a_copy_does_not_reach_through_its_links(world: World, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.yaml"
    shutil.move(world.home.config, target)
    world.home.config.symlink_to(target)
    plugins = tmp_path / "plugins-of-all"
    plugins.mkdir()
    (world.home.path / "plugins").symlink_to(plugins)
    world.adopt()
    shared = (snapshot(plugins), target.read_text())
    result = release(str(copy_of(world)), copied=True)
    assert (snapshot(plugins), target.read_text()) == shared
    assert all("is a link out of this folder" in line for line in result.stays)
    assert len(result.stays) == 4


def test_a_home_that_was_moved(world: World) -> None:
    world.adopt()
    moved = world.home.root / "profiles" / "lc"
    world.home.path.rename(moved)
    with pytest.raises(Refusal, match="has moved here"):
        release(str(moved))
    release(str(moved), copied=True)
    assert (moved / "config.yaml").read_text() == CONFIG


# -- the record is lost ----------------------------------------------------------------------------
def test_without_a_record_what_is_surely_tenures_goes(world: World) -> None:
    world.adopt()
    shutil.rmtree(world.home.tenure)
    result = world.release()
    assert not world.home.tick_lock.exists()
    assert not world.home.plugin.exists()
    assert world.home.config.read_text() == CONFIG
    assert len(result.done) >= 4


def test_without_a_record_nothing_else_is_touched(world: World) -> None:
    world.home.tick_lock.unlink()
    world.home.tick_lock.mkdir()
    (world.home.tick_lock / "README").write_text("mine")
    world.home.plugin.mkdir(parents=True)
    (world.home.plugin / "plugin.yaml").write_text("name: tenure-of-office\n")
    world.home.tenure.mkdir()
    (world.home.tenure / "README").write_text("mine")
    world.home.config.write_text("plugins:\n  enabled: [tenure]\n")
    before = snapshot(world.home.path)
    assert world.release().done == []
    assert snapshot(world.home.path) == before


def test_a_damaged_record_is_refused(world: World) -> None:
    world.adopt()
    for text in ("{", "[]", '{"v": 2, "steps": []}'):
        world.home.adoption.write_text(text)
        with pytest.raises(Refusal, match="is damaged"):
            world.release()
    assert fence_exists(world.home)


# -- the script ------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["cron/.tick.lock", "tenure"])
def test_the_script_needs_nothing_but_python(world: World, place: str) -> None:
    before = snapshot(world.home.path)
    world.adopt()
    path = world.home.path / place / "release.py"
    said = script(path, "--dry-run")
    assert said.returncode == 0
    assert "remove the fence" in said.stdout
    assert world.state == "adopted"
    said = script(path)
    assert (said.returncode, said.stderr) == (0, "")
    assert snapshot(world.home.path) == before


def test_the_script_goes_on_where_it_was_cut_short(world: World) -> None:
    from adoptkit import Cut

    before = snapshot(world.home.path)
    world.adopt()
    counting = CuttingDisk()
    world.release(counting)
    for at in (*range(0, counting.count, 5), counting.count - 2):
        world.adopt()
        with pytest.raises(Cut):
            world.release(CuttingDisk(at))
        places = [world.home.tenure, world.home.tick_lock, world.home.path / ".tenure-released"]
        found = [p for p in places if (p / "release.py").is_file()]
        if not found:  # all is released, and the script is going
            assert [p.is_dir() for p in places] == [False, False, True]
            world.release()
            continue
        said = script(found[0] / "release.py")
        assert said.returncode == 0, said.stderr
        assert snapshot(world.home.path) == before, f"cut at {at}"


def test_the_script_refuses_in_words(world: World) -> None:
    world.adopt()
    copy = copy_of(world)
    said = script(copy / "tenure" / "release.py")
    assert said.returncode == 3
    assert "is a copy of" in said.stderr
    assert "-> to release this folder and not the other: add --copied" in said.stderr
    assert script(copy / "tenure" / "release.py", "--copied").returncode == 0
    assert script(world.home.tenure / "release.py", "/nowhere").returncode == 3
    (world.home.plugin / "mine.py").touch()
    said = script(world.home.tenure / "release.py")
    assert said.returncode == 1
    assert "note: kept plugins/tenure: it also contains mine.py" in said.stderr


def test_the_script_says_where_there_is_nothing(world: World, tmp_path: Path) -> None:
    for name, content in way_back().items():
        (tmp_path / name).write_bytes(content)
    said = script(tmp_path / "release.py", str(world.home.path))
    assert (said.returncode, said.stdout) == (0, "no files of Tenure found here\n")


def test_it_says_that_the_disk_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.adopt()

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "here")

    monkeypatch.setattr(releasing, "release", fail)
    assert releasing.main([str(world.home.path)]) == 75
    assert "Permission denied" in capsys.readouterr().err


def test_the_copies_are_good_for_old_pythons() -> None:
    """Python 3.9 is what macOS comes with. Nothing of Tenure but each other is imported."""
    for name, content in way_back().items():
        tree = ast.parse(content, feature_version=(3, 9))
        guarded = [
            node for branch in ast.walk(tree) if isinstance(branch, ast.If)
            for node in branch.body if isinstance(node, ast.ImportFrom)
        ]  # fmt: skip
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node not in guarded:
                names = [node.module or ""]
            for module in names:
                top = module.split(".")[0]
                assert top in sys.stdlib_module_names | {n[:-3] for n in way_back()}, (name, module)


def test_the_same_code_is_in_the_home(world: World) -> None:
    world.adopt()
    assert (world.home.tenure / "release.py").read_bytes() == Path(releasing.__file__).read_bytes()


def test_own_home_is_found_from_where_the_script_lies(world: World) -> None:
    world.adopt()
    assert home_of(world.home.path) == world.home
    for place in ("cron/.tick.lock", "tenure"):
        text = script(world.home.path / place / "release.py", "--dry-run").stdout
        assert str(world.home.tenure) in text
    assert os.path.isdir(world.home.tenure)
