"""Adopting a home: what is checked before, what is written, what is left alone."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from adoptkit import CONFIG, NOW, SHIM, CuttingDisk, World, installation, process, snapshot

from tenure.adapters.hermes.adopt import plugin_files
from tenure.adapters.hermes.adopt.carry_out import adopt
from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.adopt.plan import next_steps, plan_document, plan_words
from tenure.adapters.hermes.adopt.profile import linked_home, rules_of
from tenure.adapters.hermes.back import config_lines
from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.back.release import alone
from tenure.adapters.hermes.facts.adoption_record import read_adoption, read_link
from tenure.adapters.hermes.facts.home import home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.scan import Lock
from tenure.domain.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown, Refused


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HERMES_TIMEZONE", raising=False)
    monkeypatch.delenv("HERMES_MANAGED_DIR", raising=False)
    return World(tmp_path).with_config().with_lock()


def tree(world: World) -> object:
    return snapshot(world.folder)


# -- what is done ----------------------------------------------------------------------------------
def test_all_of_it(world: World) -> None:
    done = world.adopt()
    home = world.home
    assert fence_exists(home)
    assert (home.plugin / "__init__.py").read_bytes() == SHIM
    manifest = (home.plugin / "plugin.yaml").read_text()
    assert "name: tenure\n" in manifest
    assert "kind: standalone\n" in manifest
    assert home.config.read_text() == CONFIG.replace(
        "        - notes  # since May\n", "        - notes  # since May\n        - tenure\n"
    )
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o644
    assert (home.tenure / "restore" / "config.yaml").read_text() == CONFIG
    assert (home.tenure / "lib" / "tenure" / "deep" / "two.sql").read_text() == "select 2;\n"
    assert rules_of("hermes-la", world.tenure)
    assert linked_home(world.tenure / "profiles" / "hermes-la") == home.path
    assert done.adoption.state == "adopted"
    assert done.adoption.adopted_at == NOW
    assert [line.split()[0] for line in done.done] == [
        "copied", "made", "wrote", "wrote", "wrote", "added", "put",
    ]  # fmt: skip


def test_nobody_else_may_read_it(world: World) -> None:
    world.adopt()
    (world.home.tenure / "restore" / "tick.lock").unlink()  # as it was, in a private folder
    for path in (world.home.tenure, world.home.plugin, world.home.tick_lock):
        for name, (kind, mode, *_) in snapshot(path).items():
            assert mode == (0o700 if kind == "folder" else 0o600), path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_record_is_what_hermes_processes_read(world: World) -> None:
    world.adopt()
    link = read_link(world.home)
    assert link is not None
    assert link.refusal == ""
    assert (link.tenure_profile, link.tenure_home) == ("hermes-la", str(world.tenure))
    document = json.loads(world.home.adoption.read_text())
    assert list(document) == [
        "v", "state", "hermes_home", "hermes_profile", "hermes_version", "hermes_python",
        "tenure_version", "tenure_home", "tenure_profile", "adopted_at", "forced", "unverified",
        "steps",
    ]  # fmt: skip
    assert document["adopted_at"] == "2030-01-01T12:00:00Z"


def test_each_step_is_recorded_before_it_is_done(world: World) -> None:
    """Whatever lies there at any moment, the record already names it."""

    class Watching(CuttingDisk):
        def _step(self) -> bool:
            mine = {"plugins", "plugins/tenure", "plugins/tenure/__init__.py"}
            there = {name for name in mine if (world.home.path / name).exists()}
            found = read_adoption(world.home)
            assert there <= {step["path"] for step in (found.steps if found else ())}
            if world.home.config.read_text() != CONFIG or fence_exists(world.home):
                assert found is not None
                assert found.step("config", "config.yaml")
                assert not fence_exists(world.home) or found.step("fence", "cron/.tick.lock")
            return super()._step()

    world.adopt(Watching())


def test_a_second_time_changes_nothing(world: World) -> None:
    world.adopt()
    before = snapshot(world.home.path)
    done = world.adopt(at=NOW + timedelta(hours=1))
    after = snapshot(world.home.path)
    assert done.done == []
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"tenure/adoption.json"}
    assert after["tenure/adoption.json"][2] == before["tenure/adoption.json"][2]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("plugins/tenure/__init__.py", "wrote"),
        ("plugins/tenure", "wrote"),
        ("plugins", "wrote"),
        ("cron/.tick.lock", "put up"),
        ("tenure/lib", "copied"),
        ("tenure/lib/tenure/__init__.py", "copied"),
        ("config.yaml", "added"),
    ],
)
def test_what_was_lost_is_put_back(world: World, lost: str, said: str) -> None:
    world.adopt()
    before = snapshot(world.home.path)
    path = world.home.path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = world.adopt(at=NOW + timedelta(hours=1))
    assert said in " ".join(done.done)
    assert done.adoption.adopted_at == NOW + timedelta(hours=1)
    same = {k: v[:3] for k, v in snapshot(world.home.path).items() if k != "tenure/adoption.json"}
    wanted = {k: v[:3] for k, v in before.items() if k != "tenure/adoption.json"}
    if lost != "config.yaml":
        assert same == wanted


def test_a_plugin_that_was_disabled_is_enabled_again(world: World) -> None:
    world.adopt()
    world.home.config.write_text("plugins:\n  disabled:\n  - tenure\n  enabled: []\n")
    world.adopt()
    assert world.home.config.read_text() == "plugins:\n  disabled: []\n  enabled: [tenure]\n"
    world.release()
    assert world.home.config.read_text() == "plugins:\n  disabled:\n  - tenure\n  enabled: []\n"


def test_the_real_packages(world: World) -> None:
    """What is copied is what is imported here, and can be imported from there alone."""
    import subprocess
    import sys

    world.library = plugin_files.library()
    world.adopt()
    lib = world.home.tenure / "lib"
    assert world.library.is_at(lib)
    assert not list(lib.rglob("__pycache__"))
    version = (lib / "VERSION").read_text().splitlines()
    assert version[0] == f"tenure {plugin_files.__version__}"
    assert version[1].startswith("cronsim ")
    code = (
        f"import sys; sys.path.append({str(lib)!r});"
        "import tenure.adapters.hermes.adopt.fence as f, tenure.runtime.scheduler, cronsim;"
        "print(f.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(lib))


# -- the profile -----------------------------------------------------------------------------------
def test_the_rules_it_writes(world: World) -> None:
    plan = world.plan(
        owners=("gateway", "service hermes.slice", "executable /opt/Hermes"),
        fallback_after=timedelta(minutes=10),
    )
    world.adopt(
        owners=("gateway", "service hermes.slice", "executable /opt/Hermes"),
        fallback_after=timedelta(minutes=10),
    )
    rules = rules_of("hermes-la", world.tenure)
    assert rules is not None
    assert [rule.describe() for rule in rules] == [
        f"rule 1 admits a lock on {world.home.gateway_lock} (authoritative)",
        "rule 2 admits service hermes.slice (fallback)",
        "rule 3 admits /opt/Hermes in the process or above it (fallback)",
        "rule 4 admits the profile's own user (fallback, after 10m)",
    ]
    assert plan.profile.text is not None
    assert 'timezone = "Europe/Berlin"\n' in plan.profile.text


@pytest.mark.parametrize("owner", ["", "gateway la", "service", "desktop", "executable relative"])
def test_an_owner_that_is_none(world: World, owner: str) -> None:
    before = tree(world)
    with pytest.raises(InvalidInput):
        world.plan(owners=(owner,))
    assert tree(world) == before


def test_rules_that_are_there_stay(world: World) -> None:
    folder = world.tenure / "profiles" / "hermes-la"
    folder.mkdir(parents=True)
    text = '[[owner]]\nuser = "me"\n'
    (folder / "profile.toml").write_text(text)
    plan = world.plan()
    assert any("stay unchanged" in note for note in plan.notes)
    assert any("holds" in note for note in plan.notes)
    world.adopt()
    assert (folder / "profile.toml").read_text() == text
    assert len(rules_of("hermes-la", world.tenure) or ()) == 1


def test_settings_without_rules_get_them_below(world: World) -> None:
    folder = world.tenure / "profiles" / "hermes-la"
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text('timezone = "UTC"  # mine')
    world.adopt()
    text = (folder / "profile.toml").read_text()
    assert text.startswith('timezone = "UTC"  # mine\n\n# Who may run')
    assert text.count("timezone") == 1
    assert rules_of("hermes-la", world.tenure)


def test_a_profile_file_that_is_broken_is_refused(world: World) -> None:
    folder = world.tenure / "profiles" / "hermes-la"
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text("owner =")
    with pytest.raises(InvalidInput, match="not TOML"):
        world.plan()


def test_two_homes_do_not_share_a_profile(world: World, tmp_path: Path) -> None:
    world.adopt()
    (tmp_path / "b").mkdir()
    other = World(tmp_path / "b").with_config()
    other.tenure = world.tenure
    with pytest.raises(Conflict, match=r"that of the Hermes home .*/\.hermes/profiles/la") as said:
        other.plan()
    assert "--tenure-profile" in said.value.remedy
    other.adopt(tenure_profile="second")
    assert linked_home(world.tenure / "profiles" / "second") == other.home.path


def test_the_profile_of_a_released_home_can_be_taken_over(world: World, tmp_path: Path) -> None:
    world.adopt()
    world.release()
    (tmp_path / "b").mkdir()
    other = World(tmp_path / "b").with_config()
    other.tenure = world.tenure
    assert any("was that of" in note for note in other.plan().notes)


# -- what is refused -------------------------------------------------------------------------------
def managed(world: World) -> None:
    (world.home.path / ".managed").touch()


def stranger_in_tenure(world: World) -> None:
    world.home.tenure.mkdir()
    (world.home.tenure / "notes.txt").touch()


def stranger_plugin(world: World) -> None:
    world.home.plugin.mkdir(parents=True)
    (world.home.plugin / "plugin.yaml").write_text("name: tenure\n")


def folder_at_the_lock(world: World) -> None:
    world.home.tick_lock.unlink()
    world.home.tick_lock.mkdir()


def plugins_leads_nowhere(world: World) -> None:
    (world.home.path / "plugins").symlink_to("/nowhere/at/all")


def config_leads_nowhere(world: World) -> None:
    world.home.config.unlink()
    world.home.config.symlink_to("/nowhere/at/all")


def config_on_one_line(world: World) -> None:
    world.home.config.write_text("plugins: {enabled: [a]}\n")


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (managed, "package manager"),
        (stranger_in_tenure, "no adoption is recorded"),
        (stranger_plugin, "did not write it"),
        (folder_at_the_lock, "is already a folder"),
        (plugins_leads_nowhere, "without a target"),
        (config_leads_nowhere, "without a target"),
        (config_on_one_line, "line 1: 'plugins' is more"),
    ],
)
def test_refused_before_anything_is_changed(
    world: World, make: Callable[[World], None], word: str
) -> None:
    make(world)
    before = tree(world)
    with pytest.raises((Refused, Conflict), match=word) as said:
        world.adopt()
    assert said.value.remedy
    assert tree(world) == before


def test_another_users_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Refused, match="this process runs as uid 12345"):
        world.plan()


def test_a_folder_that_may_not_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != world.home.cron)
    with pytest.raises(Refused, match="may not be written"):
        world.plan()


def test_a_version_that_was_not_verified(world: World) -> None:
    known = world.survey(installations=(installation("0.20.0"),))
    with pytest.raises(Refused, match=r"version 0\.20\.0") as said:
        world.plan(known, force=False)
    assert "--force" in said.value.remedy
    with pytest.raises(Refused, match="no Hermes was found"):
        world.plan(force=False)


def test_forced_it_says_what_was_not_verified(world: World) -> None:
    world.home.config.write_text("plugins:\n  enabled: [tenure]\n")
    known = world.survey(installations=(installation("0.20.0"),))
    plan = world.plan(known)
    assert plan.adoption.forced
    assert plan.adoption.unverified
    assert any(note.startswith("not verified: version 0.20.0") for note in plan.notes)
    verified = world.plan(world.survey(installations=(installation(),)), force=False)
    assert not verified.adoption.forced
    assert verified.adoption.hermes_version == "0.19.0"


def test_a_python_without_hermes(world: World) -> None:
    with pytest.raises(InvalidInput, match="has no Hermes"):
        world.plan(hermes_python="/bin/true")


def test_enabled_by_hand_where_it_cannot_be_edited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.home.config.write_text("plugins: {enabled: [tenure]}\n")
    known = world.survey(installations=(installation(),))
    monkeypatch.setattr(config_lines, "ask", lambda *_: {"same": True, "enabled": True})
    assert not world.plan(known).edit.changes
    monkeypatch.setattr(config_lines, "ask", lambda *_: {"same": True, "enabled": False})
    with pytest.raises(Refused, match="line 1"):
        world.plan(known)


def test_a_copy_of_an_adopted_home(world: World) -> None:
    world.adopt()
    copy = world.home.root / "profiles" / "lb"
    shutil.copytree(world.home.path, copy, symlinks=True)
    before = tree(world)
    world.home = home_of(copy)
    with pytest.raises(Refused, match="is a copy of") as said:
        world.plan()
    assert "--copied" in said.value.remedy
    assert str(copy / "cron" / ".tick.lock" / "release.py") in said.value.remedy
    assert tree(world) == before


def test_a_profile_served_by_anothers_gateway(world: World) -> None:
    root = world.home.root / "config.yaml"
    for text in ("gateway:\n  multiplex_profiles: true\n", "multiplex_profiles: yes\n"):
        root.write_text(text)
        with pytest.raises(Refused, match="does not tick its jobs"):
            world.plan(world.survey(installations=(installation(),)), force=False)
    root.write_text("gateway:\n  multiplex_profiles: false\n")
    held = Lock(known=True, held=True, pid=4711)
    root.write_text("gateway:\n  multiplex_profiles: true\n")
    world.home.config.write_text("plugins:\n  enabled: [tenure]\n")
    known = world.survey(installations=(installation(),), gateway_lock=held)
    assert (
        "the gateway runs (pid 4711); it will be the owner" in world.plan(known, force=False).notes
    )


def test_another_profile_for_what_is_adopted(world: World) -> None:
    world.adopt()
    with pytest.raises(Conflict, match="adopted into the Tenure profile hermes-la"):
        world.plan(tenure_profile="other")
    assert world.plan().adoption.tenure_profile == "hermes-la"


def test_a_job_to_protect_that_is_not_there(world: World) -> None:
    before = tree(world)
    with pytest.raises(NotFound, match="no job 'post'"):
        world.adopt(protect=("post",))
    with pytest.raises(Conflict, match="2 jobs of Hermes are named 'twice'") as said:
        world.adopt(protect=("twice",))
    assert "bbbbbbbbbbbb, cccccccccccc" in said.value.remedy
    assert tree(world) == before


def test_jobs_protected_from_the_start(world: World) -> None:
    world.adopt(protect=("mail", "cccccccccccc"))
    found = json.loads(world.home.sidecar.read_text())
    since = "2030-01-01T12:00:00Z"
    assert found == {
        "v": 1,
        "protected": {
            "aaaaaaaaaaaa": {"since": since, "requires": []},
            "cccccccccccc": {"since": since, "requires": []},
        },
    }


# -- several at once, and a world that moves -------------------------------------------------------
def test_two_at_once(world: World) -> None:
    plan = world.plan()
    assert plan is not None
    with alone(str(world.home.path)), pytest.raises(Conflict, match="in progress"):
        world.adopt()
    assert not world.home.tenure.exists()
    assert [p.name for p in world.home.path.iterdir() if "lock" in p.name] == []


def test_a_plan_that_is_old(world: World) -> None:
    """Two planned, one carried it out: the record of the one is not the other's to write over."""
    before = snapshot(world.home.path)
    plan = world.plan()
    world.adopt()
    with pytest.raises(Conflict, match="since this was planned"):
        adopt(plan, NOW, patience=0.0, linger=0.0, packages=world.library)
    world.release()
    assert snapshot(world.home.path) == before


def test_many_at_once_one_wins_at_a_time(world: World) -> None:
    before = snapshot(world.home.path)
    ended: list[str] = []
    start = threading.Barrier(4)

    def one() -> None:
        start.wait()
        try:
            world.adopt()
            ended.append("adopted")
        except Conflict as error:
            ended.append(next(w for w in ("in progress", "planned") if w in error.text))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "adopted" in ended
    assert set(ended) <= {"adopted", "in progress", "planned"}
    assert world.state == "adopted"
    world.release()
    assert snapshot(world.home.path) == before


def test_hermes_writes_its_config_meanwhile(world: World) -> None:
    class Busy(CuttingDisk):
        times_left = 2

        def create(self, path: str, content: bytes, mode: int, like: str | None = None) -> None:
            super().create(path, content, mode, like)
            mine = path.endswith("la/.config.yaml.tenure-new")
            if mine and self.times_left:
                self.times_left -= 1
                text = world.home.config.read_text()
                world.home.config.write_text(text + f"new{self.times_left}: 1\n")

    world.adopt(Busy())
    text = world.home.config.read_text()
    assert text.count("- tenure\n") == 1
    assert text.endswith("new1: 1\nnew0: 1\n")
    world.release()
    assert world.home.config.read_text() == CONFIG + "new1: 1\nnew0: 1\n"


def test_hermes_writes_its_config_all_the_time(world: World) -> None:
    class Mad(CuttingDisk):
        def create(self, path: str, content: bytes, mode: int, like: str | None = None) -> None:
            super().create(path, content, mode, like)
            if path.endswith("la/.config.yaml.tenure-new"):
                world.home.config.write_text(f"a: {self.count}\n")

    with pytest.raises(OutcomeUnknown, match="changes repeatedly"):
        world.adopt(Mad())
    assert world.state == "adopting"
    assert not fence_exists(world.home)


def test_a_tick_that_does_not_end(world: World) -> None:
    from tenure.adapters.hermes.back.disk import lock, unlock

    held = lock(str(world.home.tick_lock), 0.0)
    assert held is not None
    with pytest.raises(OutcomeUnknown, match="a tick has been running"):
        world.adopt()
    assert world.state == "adopting"
    unlock(held)
    world.adopt()
    assert world.state == "adopted"


# -- odd homes ------------------------------------------------------------------------------------
def test_a_read_only_config(world: World) -> None:
    world.home.config.chmod(0o444)
    before = snapshot(world.home.path)
    world.adopt()
    assert stat.S_IMODE(world.home.config.stat().st_mode) == 0o444
    world.release()
    assert snapshot(world.home.path) == before


def test_a_linked_config_stays_a_link(world: World) -> None:
    target = world.folder / "dotfiles.yaml"
    shutil.move(world.home.config, target)
    world.home.config.symlink_to(target)
    world.adopt()
    assert world.home.config.is_symlink()
    assert "- tenure\n" in target.read_text()
    world.release()
    assert world.home.config.is_symlink()
    assert target.read_text() == CONFIG


def test_linked_plugins(world: World) -> None:
    elsewhere = world.folder / "plugins-of-all"
    elsewhere.mkdir()
    (world.home.path / "plugins").symlink_to(elsewhere)
    world.adopt()
    assert (elsewhere / "tenure" / "plugin.yaml").is_file()
    world.release()
    assert (world.home.path / "plugins").is_symlink()
    assert list(elsewhere.iterdir()) == []


def test_a_plugin_folder_shared_by_two_homes(world: World, tmp_path: Path) -> None:
    shared = tmp_path / "plugins-of-all"
    shared.mkdir()
    (tmp_path / "b").mkdir()
    other = World(tmp_path / "b").with_config()
    for one in (world, other):
        (one.home.path / "plugins").symlink_to(shared)
        one.adopt()
    other.release()
    assert (shared / "tenure" / "plugin.yaml").is_file()
    world.release()
    assert list(shared.iterdir()) == []


def test_a_home_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "my \"home\" with 'all' äöü # and $more"
    folder.mkdir()
    world = World(folder).with_config().with_lock()
    world.adopt()
    rules = rules_of("hermes-la", world.tenure)
    assert rules is not None
    assert rules[0].holds == str(world.home.gateway_lock)
    world.release()
    assert world.home.config.read_text() == CONFIG


@pytest.mark.parametrize(("name", "word"), [(b"\xff", "UTF-8"), (b"a\nb", "control character")])
def test_a_home_that_no_rule_can_name(tmp_path: Path, name: bytes, word: str) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.mkdir()
    world = World(folder).with_config()
    before = tree(world)
    with pytest.raises(InvalidInput, match=word):
        world.plan()
    assert tree(world) == before


@pytest.mark.root
def test_a_really_full_disk(tmp_path: Path) -> None:
    """A file system of 256 KiB: the record fits, Tenure's copy does not."""
    import subprocess

    point = tmp_path / "small"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(point)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        world = World(point).with_config().with_lock()
        world.tenure = tmp_path / "tenure"
        world.library = plugin_files.library()
        before = snapshot(world.home.path)
        with pytest.raises(OSError, match="No space left"):
            world.adopt(Disk())
        assert not fence_exists(world.home)
        world.release()
        assert snapshot(world.home.path) == before
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("adopted_below", [True, False])
def test_a_home_in_a_containers_image(tmp_path: Path, adopted_below: bool) -> None:
    """An overlay: what the image has can be changed, but its folders cannot be renamed."""
    import subprocess

    for name in ("image", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    world = World(tmp_path / "image").with_config().with_lock(b"old")
    before = {k: v[:3] for k, v in snapshot(world.home.path).items()}
    options = ",".join(f"{k}dir={tmp_path / n}" for k, n in
                       (("lower", "image"), ("upper", "upper"), ("work", "work")))  # fmt: skip
    mount = ["mount", "-t", "overlay", "-o", options, "none", str(tmp_path / "merged")]
    world.tenure = tmp_path / "tenure"
    if adopted_below:
        world.adopt()
        record = json.loads(world.home.adoption.read_text())
        home = str(world.home.path).replace("/image/", "/merged/")
        world.home.adoption.write_text(json.dumps({**record, "hermes_home": home}))
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no overlay can be mounted here")
    try:
        world.home = home_of(str(world.home.path).replace("/image/", "/merged/"))
        (world.tenure / "profiles" / "hermes-la" / "hermes.json").unlink(missing_ok=True)
        world.adopt()
        assert fence_exists(world.home)
        world.release()
        assert {k: v[:3] for k, v in snapshot(world.home.path).items()} == before
    finally:
        subprocess.run(["umount", str(tmp_path / "merged")], check=True)


# -- in words -------------------------------------------------------------------------------------
def test_the_plan_changes_nothing_and_says_all(world: World) -> None:
    before = tree(world)
    plan = world.plan(protect=("mail",))
    words = plan_words(plan)
    document = plan_document(plan)
    assert tree(world) == before
    assert len(words) == 6
    assert document["would"] == words
    assert document["tenure_profile"] == "hermes-la"
    assert document["again"] is False
    assert json.loads(json.dumps(document)) == document
    world.adopt()
    assert plan_document(world.plan())["again"] is True


def test_what_comes_next_is_said(world: World) -> None:
    nobody = next_steps(world.survey())
    assert nobody[0] == "start the gateway: hermes -p la gateway run"
    held = Lock(known=True, held=True, pid=7)
    crowd = (process(7, Role.GATEWAY), process(8, Role.DESKTOP), process(9, Role.PROGRAM))
    steps = next_steps(world.survey(gateway_lock=held, processes=crowd))
    assert steps[0] == "restart the gateway: hermes -p la gateway restart"
    assert "pids 8" in steps[1]
    assert "pid 9" in steps[2]
    assert "status" in steps[3]


def test_a_service_that_is_used_becomes_part_of_the_rule(world: World) -> None:
    unit = world.folder / ".config" / "systemd" / "user" / "hermes-gateway-la.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/bin/python3 -m hermes_cli.main gateway run\n")
    assert "service =" not in (world.plan().profile.text or "")
    wants = unit.parent / "default.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    assert 'service = "systemd-user:hermes-gateway-la.service"' in (world.plan().profile.text or "")
    by_hand = world.survey(
        gateway_lock=Lock(known=True, held=True, pid=7), processes=(process(7, Role.GATEWAY),)
    )
    plan = world.plan(by_hand)
    assert "service =" not in (plan.profile.text or "")
    assert any("not started by its service" in note for note in plan.notes)
    agent = world.folder / "Library" / "LaunchAgents" / "ai.hermes.gateway-la.plist"
    assert not agent.exists()


def test_a_cron_provider_is_pointed_out(world: World) -> None:
    world.home.config.write_text(CONFIG + "cron:\n  provider: chronos\n")
    assert any("'chronos'" in note for note in world.plan().notes)
    world.home.config.write_text(CONFIG + "cron:\n  provider: builtin\n")
    assert not any("provider" in note for note in world.plan().notes)
