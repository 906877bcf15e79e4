"""A profile that was copied, moved or restored: nobody owns until a person says what happened."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from worldkit import World

from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def copy_of(world: World) -> World:
    """`cp -a` of the whole home."""
    subprocess.run(["cp", "-a", world.home, world.folder / "copy"], check=True)
    copy = World(world.folder, "copy")
    copy.started = world.started  # so that both are ended
    return copy


def test_a_folder_copied_while_its_owner_runs(world: World) -> None:
    world.owner()
    world.add()
    long = world.folder / "long"
    world.ok("add", "in 10h", "--name", "long", "--", "sh", "-c", f"echo > {long}; sleep 600")
    world.ok("trigger", "long")
    eventually(long.exists, "the long run to start")
    copy = copy_of(world)

    # Nobody owns the copy, and it says so on every surface, with the remedy.
    status = copy.status()
    assert status.code == 1
    assert status.json["owner"] is None
    assert "--copied" in status.warning("identity_problem")["remedy"]
    assert "owner_unverifiable" not in status.codes
    asked = copy.tenure("trigger", "job", "--json")
    assert asked.code == 3
    assert "--copied" in asked.error["remedy"]
    here = copy.serve()
    eventually(lambda: "refused" in copy.status().out, "the second serve to be refused")
    (process,) = copy.status().json["processes"]
    assert (process["pid"], process["standing"]) == (here.pid, "refused")
    assert "tenure profile adopt" in process["why"]
    assert "owner of" not in here.log
    # Definitions are valid without an owner, here as anywhere.
    assert copy.tenure("add", "every 2h", "--name", "more", "--", "true").code == 0

    assert copy.tenure("profile", "adopt").code == 2
    adopted = copy.ok("profile", "adopt", "--copied", "--json").json
    term = adopted["term"]
    assert term > world.term()
    here.says("owner of default")
    owner = copy.status().json["owner"]
    assert owner["term"] > term
    # The original's owner is no executor of the copy. (It owns, and then says how it stands.)
    eventually(lambda: copy.status().codes == set(), "nothing to warn of")
    # It is a profile of its own now.
    ids = [json.loads((w.profile / "profile.id").read_text())["id"] for w in (world, copy)]
    assert ids[0] != ids[1]
    assert copy.trigger().json["run"]["state"] == "succeeded"
    assert copy.tenure("profile", "adopt", "--copied").code == 5

    # The original's run went on there, and the copy's owner left it alone.
    (lost,) = copy.ok("runs", "long", "--json").json["runs"]
    assert lost["state"] == "lost"
    assert "copied" in lost["reason"]
    (runs,) = world.ok("runs", "long", "--json").json["runs"]
    assert runs["state"] == "running"
    assert world.status().codes == set()
    copy.audit()
    world.ok("cancel", runs["id"])
    world.audit()


def test_a_folder_that_was_moved_by_copying(world: World) -> None:
    first = world.owner()
    world.add()
    assert first.terminate() == 0
    copy = copy_of(world)
    shutil.rmtree(world.home)
    before = copy.term()
    refused = copy.serve()
    eventually(lambda: "refused" in copy.status().out, "the serve to be refused")
    refused.terminate()
    assert copy.ok("profile", "adopt", "--moved", "--json").json["term"] > before
    copy.owner()
    assert copy.status().json["owner"]["term"] > before
    assert copy.ok("list", "--json").json["jobs"][0]["revision"] == 1
    copy.audit()


def test_a_folder_renamed_under_its_owner(world: World) -> None:
    """The folder is the same; the owner's path to it is not."""
    owner = world.owner()
    world.add()
    os.rename(world.home, world.folder / "elsewhere")
    owner.says("(term 1): the database at")
    assert owner.process.wait(DEADLINE) == 75
    moved = World(world.folder, "elsewhere")
    moved.started = world.started
    owner.kill()
    moved.owner()
    assert moved.trigger().code == 0
    moved.audit()


def test_a_restored_backup(world: World) -> None:
    """C1: the term is never reused, not even after a backup is restored. C4: at most once."""
    owner = world.owner()
    ran = world.folder / "ran"
    world.ok("add", "every 1s", "--name", "often", "--", "sh", "-c", f"date +%s.%N >> {ran}")
    eventually(ran.exists, "the first run")
    backup = world.folder / "backup.db"
    world.ok("backup", str(backup))
    fires_then = len(world.rows("SELECT 1 FROM runs", database=backup))
    eventually(
        lambda: len(world.rows("SELECT 1 FROM runs")) >= fires_then + 2, "runs after the backup"
    )
    running = world.tenure("restore", str(backup), "--yes")
    assert running.code == 3
    assert "before restoring" in running.err
    assert owner.terminate() == 0
    fires = {row[0] for row in world.rows("SELECT fire_time FROM runs")}
    term = world.term()

    restored = world.ok("restore", str(backup), "--yes", "--json").json
    assert Path(restored["aside"]).exists()
    refused = world.serve()
    eventually(lambda: "refused" in world.status().out, "the serve to be refused")
    status = world.status()
    assert status.json["owner"] is None
    assert "adopt --restored" in status.warning("identity_problem")["remedy"]
    assert "owner of" not in refused.log
    assert world.ok("profile", "adopt", "--restored", "--json").json["term"] > term
    refused.says("owner of default")
    assert world.status().json["owner"]["term"] > term
    eventually(
        lambda: len(world.rows("SELECT 1 FROM runs")) > fires_then, "a run after the restore"
    )
    refused.terminate()
    since = {row[0] for row in world.rows("SELECT fire_time FROM runs WHERE term > ?", term)}
    assert since
    assert not since & fires
    world.audit()


def test_a_backup_moved_in_place_by_hand(world: World) -> None:
    """No `tenure restore`, and the backup is of the current term: known by its inode."""
    owner = world.owner()
    world.add()
    backup = world.folder / "backup.db"
    world.ok("backup", str(backup))
    owner.kill()
    for part in ("-wal", "-shm"):
        world.database.with_name("tenure.db" + part).unlink(missing_ok=True)
    os.replace(backup, world.database)
    refused = world.serve()
    eventually(lambda: "refused" in world.status().out, "the serve to be refused")
    assert "adopt --restored" in world.status().warning("identity_problem")["remedy"]
    world.ok("profile", "adopt", "--restored")
    refused.says("owner of default")
    assert world.trigger().code == 0
    world.audit()


@pytest.mark.parametrize("how", ["cp", "sqlite"])
def test_a_backup_of_the_current_term_put_back_by_hand(world: World, how: str) -> None:
    """C4: at most once. Its inode and its term are as they were: known by the commits it lacks."""
    owner = world.owner()
    ran = world.folder / "ran"
    script = f"echo $TENURE_FIRE_TIME >> {ran}"
    world.ok("add", "every 1s", "--name", "often", "--grace", "1h", "--", "sh", "-c", script)
    eventually(ran.exists, "the first run")
    backup = world.folder / "backup.db"
    world.ok("backup", str(backup))
    then = len(ran.read_text().split())
    eventually(lambda: len(ran.read_text().split()) >= then + 2, "runs after the backup")
    assert owner.terminate() == 0
    if how == "sqlite":
        with contextlib.closing(sqlite3.connect(backup)) as source:
            source.backup(sqlite3.connect(world.database))
    else:
        shutil.copyfile(backup, world.database)
        for part in ("-wal", "-shm"):
            world.database.with_name("tenure.db" + part).unlink(missing_ok=True)
    refused = world.serve()
    eventually(lambda: "refused" in world.status().out, "the serve to be refused")
    assert "owner of" not in refused.log
    problem = world.status().warning("identity_problem")
    assert "commits that were made here" in problem["text"]
    world.ok("profile", "adopt", "--restored")
    before = len(ran.read_text().split())
    refused.says("owner of default")
    eventually(lambda: len(ran.read_text().split()) > before, "a run after the adoption")
    refused.terminate()
    fires = ran.read_text().split()
    assert len(fires) == len(set(fires)), fires
    world.audit()


def test_bad_backups_change_nothing(world: World) -> None:
    world.add()
    before = world.database.read_bytes()
    bad = world.folder / "bad.db"
    for content, code in ((b"", 1), (b"not a database, but long enough" * 99, 1)):
        bad.write_bytes(content)
        answer = world.tenure("restore", str(bad), "--yes", "--json")
        assert answer.code == code, answer
        assert answer.error["remedy"]
    missing = world.tenure("restore", str(world.folder / "none.db"), "--yes", "--json")
    assert missing.code == 4
    itself = world.tenure("restore", str(world.database), "--yes", "--json")
    assert itself.code == 2
    assert world.database.read_bytes() == before
    assert world.ok("list", "--json").json["jobs"][0]["name"] == "job"
