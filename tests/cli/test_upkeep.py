"""backup, restore, migrate, profile list, adopt, remove: a whole profile, at rest."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clikit import Tenure, World

from tenure.client.definitions import build
from tenure.domain.request import RequestState
from tenure.runtime.profile import Profile
from tenure.store.folder import identity


@pytest.fixture
def backup(tenure: Tenure, world: World, tmp_path: Path) -> Path:
    """A backup with one job, of a profile that goes on with another."""
    then = datetime.now(UTC) - timedelta(minutes=1)
    fields = {"name": "old", "schedule": "every 1s", "command": ["true"]}
    wants = build(fields, now=then, timezone="UTC")
    world.store.add_job(wants, by="me", now=then)
    file = tmp_path / "backup.db"
    assert tenure("backup", str(file)).code == 0
    tenure("add", "@daily", "--name", "new", "--", "true")
    return file


def names(tenure: Tenure, *options: str) -> list[str]:
    return [job["name"] for job in tenure("list", "--json", *options).json["jobs"]]


def close(world: World) -> None:
    for lock in world.locks.values():
        lock.release()
    world.locks.clear()
    world.profile.close()


def test_a_backup_replaces_nothing_unasked(tenure: Tenure, backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    assert tenure("backup", str(backup)).code == 5
    assert tenure("backup", str(backup), "--replace", "--json").json["bytes"] > 0


def test_a_restore_keeps_the_old_store_aside(tenure: Tenure, world: World, backup: Path) -> None:
    close(world)
    done = tenure("restore", str(backup), "--yes", "--json").json
    assert names(tenure) == ["old"]
    aside = Path(done["aside"])
    assert aside.exists()
    assert aside.name.startswith("tenure.db.replaced-")
    warnings = tenure("status", "--json").json["warnings"]
    assert "identity_problem" in {w["code"] for w in warnings}


def test_a_backup_of_the_current_term_needs_to_be_adopted_too(
    tenure: Tenure, world: World, tmp_path: Path
) -> None:
    """C4: what ran since the backup is not in it, also if nobody owned anew meanwhile."""
    tenure("add", "every 1s", "--name", "n", "--", "true")
    world.owner()
    identity.commit_term(world.profile.folder, 1)
    file = tmp_path / "b.db"
    tenure("backup", str(file))
    close(world)
    assert tenure("restore", str(file), "--yes").code == 0
    profile = Profile.open("default", home=world.profile.folder.home)
    try:
        assert profile.identity_problem() is not None
    finally:
        profile.close()


def test_a_restore_needs_the_profile_at_rest(tenure: Tenure, world: World, backup: Path) -> None:
    world.owner()
    for words in (["restore", str(backup), "--yes"], ["migrate"],
                  ["profile", "remove", "default", "--yes"]):  # fmt: skip
        done = tenure(*words)
        assert done.code == 3, words
        assert "stop it before" in done.err
    assert names(tenure) == ["new", "old"]


def test_a_damaged_backup_restores_nothing(
    tenure: Tenure, world: World, backup: Path, tmp_path: Path
) -> None:
    close(world)
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"rubbish" * 1000)
    broken = tmp_path / "broken.db"
    content = bytearray(backup.read_bytes())
    content[8192:40000] = b"\xff" * (40000 - 8192)
    broken.write_bytes(content)
    for file in (rubbish, broken):
        assert tenure("restore", str(file), "--yes").code == 1, file
        assert names(tenure) == ["new", "old"]


def test_a_corrupt_store_is_restored_over_and_kept(
    tenure: Tenure, world: World, backup: Path
) -> None:
    close(world)
    database = world.profile.folder.database
    database.write_bytes(b"corrupt " * 1000)
    done = tenure("restore", str(backup), "--yes", "--json").json
    assert Path(done["aside"]).read_bytes() == b"corrupt " * 1000
    assert names(tenure) == ["old"]


def test_an_unanswered_question_restores_nothing(
    tenure: Tenure, world: World, backup: Path
) -> None:
    close(world)
    done = tenure("restore", str(backup))
    assert (done.code, "--yes" in done.err) == (2, True)
    assert names(tenure) == ["new", "old"]


def test_adopting_a_restored_store_runs_nothing_of_the_past(
    tenure: Tenure, world: World, backup: Path
) -> None:
    tenure("trigger", "old", "--queue")
    close(world)
    tenure("restore", str(backup), "--yes")
    assert tenure("profile", "adopt", "--restored").code == 0
    assert tenure("profile", "adopt", "--restored").code == 5
    profile = Profile.open("default", home=world.profile.folder.home)
    try:
        job = profile.store.job("old")
        assert job.due_at is not None
        assert job.watermark >= datetime.now(UTC) - timedelta(seconds=5)
        assert profile.store.requests(states=frozenset({RequestState.PENDING})) == ()
        known = identity.read(profile.folder)
        assert known is not None
        assert profile.store.facts().term >= known.term
    finally:
        profile.close()
    (missed,) = tenure("runs", "--all", "--json").json["not_run"]
    assert missed["kind"] == "missed"
    assert missed["count"] >= 59


def test_a_copied_profile_becomes_one_of_its_own(tenure: Tenure, world: World, home: Path) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    world.owner()
    identity.commit_term(world.profile.folder, 1)
    shutil.copytree(home / "profiles" / "default", home / "profiles" / "copy")
    in_copy = ["--profile", "copy"]
    assert "moved or copied" in tenure("status", *in_copy).out
    assert tenure("profile", "adopt", "--copied", *in_copy).code == 0
    ids = []
    for name in ("default", "copy"):
        profile = Profile.open(name, home=home)
        ids.append(profile.store.facts().profile_id)
        assert profile.identity_problem() is None
        profile.close()
    assert ids[0] != ids[1]
    assert world.store.ownership().authority is not None  # the original is as it was


def test_adopt_is_refused_while_the_owner_lives(tenure: Tenure, world: World, home: Path) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    world.owner()
    identity.commit_term(world.profile.folder, 9)  # the database stands below
    done = tenure("profile", "adopt", "--restored")
    assert done.code == 3
    assert "lives" in done.err


def test_profiles_are_listed_also_those_that_are_broken(
    tenure: Tenure, world: World, home: Path
) -> None:
    tenure("add", "@daily", "--name", "n", "--profile", "la", "--", "true")
    (home / "profiles" / "la" / "tenure.db").write_bytes(b"x" * 5000)
    listed = {p["name"]: p for p in tenure("profile", "--json").json["profiles"]}
    assert (listed["default"]["jobs"], listed["default"]["error"]) == (0, None)
    assert listed["la"]["error"]
    assert "la" in tenure("profile", "list").out


def test_a_removed_profile_is_gone(tenure: Tenure, home: Path) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    assert tenure("profile", "remove", "default").code == 2  # nobody is here to confirm
    assert tenure("profile", "remove", "default", "--yes").code == 0
    assert not (home / "profiles" / "default").exists()


def test_a_link_to_a_profile_is_not_removed_with_it(tenure: Tenure, home: Path) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    (home / "profiles" / "link").symlink_to(home / "profiles" / "default")
    assert tenure("profile", "remove", "link", "--yes").code == 3
    assert names(tenure) == ["n"]


def test_migrate_of_a_current_store_changes_nothing(tenure: Tenure, world: World) -> None:
    close(world)
    document = tenure("migrate", "--json").json
    assert document["before"] == document["after"]
