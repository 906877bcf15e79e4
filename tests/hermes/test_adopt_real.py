"""Adopting and releasing the homes of real Hermes Agents, and what Hermes makes of them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adoptionkit import CONFIG, adopt, release, status
from configtexts import written
from hermesvenv import HermesVenv
from hermesworld import PROFILE, HermesWorld

from commands import Answer
from tenure.adapters.hermes.adopt.config_edit import enabled_in, plan_edit
from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.back import config_lines
from tenure.adapters.hermes.facts.home import home_of
from tenure.domain.errors import Refused
from waiting import eventually

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]

Worlds = Callable[..., HermesWorld]

DUE = """
from datetime import timedelta
from cron import jobs
found = jobs.load_jobs()
for job in found:
    job["next_run_at"] = (jobs._hermes_now() - timedelta(seconds=5)).isoformat()
jobs.save_jobs(found)
"""
TICK = """
from cron.scheduler import tick
print("ticked", tick(verbose=False, sync=True))
"""
"""In a process that has loaded no plugin, as one that ran before the adoption."""


def made(worlds: Worlds, venv: HermesVenv, config: str | None = CONFIG) -> HermesWorld:
    world = worlds(venv)
    if config is not None:
        (world.profile / "config.yaml").write_text(config)
    world.add("mail", "* * * * *")
    return world


def tick(world: HermesWorld, *, plugin: bool) -> Answer:
    """A tick with a job that is due."""
    world.python(DUE)
    if plugin:
        return world.hermes("cron", "tick", code=None)
    return world.python(TICK)


def everything(folder: Path) -> dict[str, Any]:
    """Also when each file was changed."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = (
            (path.read_bytes(), state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else "folder"
        )
        found[str(path.relative_to(folder))] = (state.st_mode, content)
    return found


@pytest.mark.parametrize("fixture", ["hermes_19", "hermes_18", "hermes_16"])
def test_no_tick_runs_a_due_job_until_it_is_released(
    fixture: str, request: pytest.FixtureRequest, worlds: Worlds
) -> None:
    world = made(worlds, request.getfixturevalue(fixture))
    tick(world, plugin=True)
    assert len(world.runs()) == 1
    before = everything(world.profile)
    said = adopt(world)
    assert "adopted" in said.out

    assert tick(world, plugin=False).out.strip() == "ticked 0"
    refused = tick(world, plugin=True)
    assert len(world.runs()) == 1, refused
    assert "refused" in refused.out + refused.err
    assert f"hermes -p {PROFILE} gateway" in refused.out + refused.err
    assert fence_exists(home_of(world.profile))
    codes = {w["code"] for w in status(world)["warnings"]}
    assert codes <= {"nobody_owns", "no_authoritative_rule"}, codes

    release(world)
    tick(world, plugin=False)
    assert len(world.runs()) == 2
    tick(world, plugin=True)
    assert len(world.runs()) == 3
    after = everything(world.profile)
    mine = {name for name in after if name.startswith(("config.yaml", "plugins", "tenure"))}
    assert {n: after[n] for n in mine} == {n: before[n] for n in before if n in mine}
    assert after["cron/.tick.lock"][0] == before["cron/.tick.lock"][0]


def test_released_at_once_every_byte_and_date_is_as_before(
    hermes_19: HermesVenv, worlds: Worlds
) -> None:
    world = made(worlds, hermes_19)
    before = everything(world.profile)
    adopt(world, "--dry-run")
    assert everything(world.profile) == before
    adopt(world, "--protect", "mail", "--fallback-after", "10m")
    assert everything(world.profile) != before
    release(world)
    assert everything(world.profile) == before


def test_a_profile_that_never_had_a_config(hermes_19: HermesVenv, worlds: Worlds) -> None:
    world = made(worlds, hermes_19, config=None)
    config = world.profile / "config.yaml"
    assert not config.exists()
    adopt(world)
    assert config.read_text().startswith("_config_version: 33\n")
    checked = world.hermes("config", "check", code=None)
    assert "outdated" not in (checked.out + checked.err).lower()
    assert "tenure" in world.hermes("plugins", "list").out
    release(world)
    assert not config.exists()


def test_hermes_rewrites_the_config_and_only_our_entry_goes(
    hermes_19: HermesVenv, worlds: Worlds
) -> None:
    world = made(worlds, hermes_19, config="display:\n  skin: default\n")
    adopt(world)
    world.hermes("config", "set", "display.skin", "mono")
    world.hermes("plugins", "disable", "tenure")
    assert "plugin_disabled" in {w["code"] for w in status(world)["warnings"]}
    adopt(world)
    assert enabled_in((world.profile / "config.yaml").read_bytes()) == (True, False)
    world.hermes("config", "set", "display.skin", "slate")
    release(world)
    text = (world.profile / "config.yaml").read_text()
    assert "skin: slate" in text
    assert "tenure" not in text


def test_a_profile_cloned_by_hermes_runs_nothing_until_it_is_released(
    hermes_19: HermesVenv, worlds: Worlds
) -> None:
    world = made(worlds, hermes_19)
    adopt(world)
    names = ("profile", "create", "lb", "--clone-all", "--clone-from", PROFILE, "--no-alias")
    world.hermes(*names, p=None)
    copy = world.root / "profiles" / "lb"
    original = everything(world.profile)
    refused = world.tenure("hermes", "adopt", "--yes", "--profile", "lb", code=3)
    assert "is a copy of" in refused.err
    told = world.tenure("hermes", "status", "--profile", "lb", "--json", code=1).json
    assert "home_copied" in {w["code"] for w in told["warnings"]}
    ticked = world.hermes("cron", "tick", p="lb", code=None)
    assert ticked.code == 3
    assert "is a copy of" in ticked.out + ticked.err
    script = copy / "cron" / ".tick.lock" / "release.py"
    argv = [sys.executable, "-I", "-S", str(script)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 3
    subprocess.run([*argv, "--copied"], check=True, capture_output=True)
    assert not (copy / "tenure").exists()
    assert (copy / "config.yaml").read_text() == CONFIG
    assert everything(world.profile) == original
    world.tenure("hermes", "adopt", "--yes", "--profile", "lb")


def test_a_backup_keeps_the_fence_and_the_way_back(hermes_19: HermesVenv, worlds: Worlds) -> None:
    """Brought back into an empty home: nothing runs there until it is released."""
    world = made(worlds, hermes_19)
    adopt(world)
    archive = world.folder / "backup.zip"
    world.hermes("backup", "-o", str(archive), p=None)
    shutil.rmtree(world.profile)
    world.hermes("import", str(archive), "--force", p=None)
    home = home_of(world.profile)
    assert fence_exists(home)
    assert tick(world, plugin=True).code == 3
    assert world.runs() == []
    argv = [sys.executable, "-I", "-S", str(home.tick_lock / "release.py")]
    subprocess.run(argv, check=True, capture_output=True)
    assert home.config.read_text() == CONFIG
    tick(world, plugin=True)
    assert len(world.runs()) == 1


def test_hermes_has_nothing_against_it(hermes_19: HermesVenv, worlds: Worlds) -> None:
    world = made(worlds, hermes_19)
    adopt(world)
    doctor = world.hermes("doctor", code=None)
    assert not {".tick.lock", "plugins/tenure"} & set((doctor.out + doctor.err).split())
    world.hermes("profile", "export", PROFILE, "-o", str(world.folder / "la.tar.gz"), p=None)
    world.hermes("cron", "list")


def test_a_gateway_of_several_profiles_ticks_only_its_own(
    hermes_19: HermesVenv, worlds: Worlds
) -> None:
    """That is why a profile without a gateway of its own is refused."""
    world = made(worlds, hermes_19)
    (world.root / "config.yaml").write_text("gateway:\n  multiplex_profiles: true\n")
    script = world.root / "scripts"
    script.mkdir(exist_ok=True)
    mark = world.folder / "root-ran"
    (script / "s.py").write_text(f"open({str(mark)!r}, 'a').write('x')\n")
    argv = ("cron", "create", "* * * * * *", "--name", "own", "--script", "s.py", "--no-agent")
    world.hermes(*argv, "--deliver", "local", p=None)
    world.python(DUE)
    gateway = world.start("gateway", [hermes_19.command, "gateway", "run"])
    try:
        eventually(lambda: mark.exists() and len(mark.read_text()) > 2, "the root's job to run")
    finally:
        gateway.stop()
    assert world.runs() == []
    refused = adopt(world, code=3)
    assert "does not tick its jobs" in refused.err


def test_every_edit_means_to_hermes_what_it_should(hermes_19: HermesVenv) -> None:
    """Thousands of odd files: what is edited differs by Tenure alone, and comes back as it was."""
    path = Path("config.yaml")
    edits: list[dict[str, Any]] = []
    refused: list[str] = []
    for seed in range(6000):
        text = written(seed)
        try:
            edit = plan_edit(path, text.encode())
        except Refused:
            refused.append(text)
            continue
        after = edit.after.decode()
        plain = after.removeprefix("\ufeff")
        back = config_lines.remove(plain, "enabled", edit.added)
        edits.append({"seed": seed, "before": text, "after": after, "back": back})
    program = config_lines._QUESTION.split("asked = json", 1)[0] + _MANY
    done = subprocess.run(
        [str(hermes_19.python), "-I", "-c", program], capture_output=True, text=True, check=True,
        input=json.dumps({"edits": edits, "refused": refused}), env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["wrong"] == []
    assert answer["good"] > 2000
    assert answer["valid_but_refused"] < 0.45 * answer["good"], "rare shapes are left to the user"


_MANY = """
asked = json.load(sys.stdin)
def others(names):
    return [name for name in names if name != "tenure"]
wrong, good, valid = [], 0, 0
for edit in asked["edits"]:
    try:
        before, (on, off) = lists(edit["before"])
        if not (isinstance(on, list) and isinstance(off, list)):
            raise ValueError
    except Exception:
        continue
    try:
        after, (on2, off2) = lists(edit["after"])
        back, (on3, off3) = lists(edit["back"])
        fine = before == after == back and others(on) == others(on2) == others(on3)
        hidden = "x75" in edit["before"] or "!!str" in edit["before"]
        fine = fine and (hidden or on3 == others(on3))
        fine = fine and "tenure" in on2 and "tenure" not in off2 and others(off) == off2 == off3
    except Exception as error:
        fine = False
    good += fine
    if not fine:
        wrong.append(edit)
for text in asked["refused"]:
    try:
        lists(text)
        valid += 1
    except Exception:
        pass
print(json.dumps({"wrong": wrong[:3], "good": good, "valid_but_refused": valid}))
"""
