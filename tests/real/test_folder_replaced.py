"""The database or profile.toml changes under a living owner."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from worldkit import Serve, World

from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def test_the_database_is_deleted(world: World) -> None:
    owner = world.owner()
    ran = world.folder / "ran"
    world.ok("add", "every 1s", "--name", "often", "--", "sh", "-c", f"echo >> {ran}")
    eventually(ran.exists, "a run")
    backup = world.folder / "backup.db"
    world.ok("backup", str(backup))
    world.database.unlink()
    owner.says("(term 1): the database at")
    # A run that was claimed before may still write its line.
    settled = eventually(lambda: _quiet(owner, ran), "the owner to claim no more")
    for verb in (("add", "every 1h", "--", "true"), ("status",), ("serve",), ("list",)):
        answer = world.tenure("--json", *verb)
        assert answer.code == 3, answer
        assert "tenure restore" in answer.error["remedy"]
        assert "is gone" in answer.error["text"]
        assert not world.database.exists()
    assert ran.stat().st_size == settled
    assert owner.process.wait(DEADLINE) == 75, "its service manager starts it again"
    world.ok("restore", str(backup), "--yes")
    world.ok("profile", "adopt", "--restored")
    world.owner()
    eventually(lambda: ran.stat().st_size > settled, "runs after the restore")
    world.audit()


def _quiet(owner: Serve, path: Path) -> int:
    """What its runs have written, if none goes on and none begins for more than a second."""
    before = path.stat().st_size
    for _ in range(15):
        if _children(owner.pid):
            return 0
        time.sleep(0.1)
    return before if path.stat().st_size == before else 0


def _children(pid: int) -> str:
    """The pids of whom any of its threads has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return "".join(path.read_text() for path in tasks)


def test_another_database_is_moved_in_place(world: World) -> None:
    owner = world.owner()
    world.add()
    backup = world.folder / "backup.db"
    world.ok("backup", str(backup))
    os.replace(backup, world.database)
    owner.says("(term 1): the database at")
    status = world.status()
    assert status.json["owner"] is None
    assert "adopt --restored" in status.warning("identity_problem")["remedy"]
    asked = world.tenure("trigger", "job", "--json")
    assert asked.code == 3
    assert "adopt --restored" in asked.error["remedy"]
    second = world.serve()
    eventually(lambda: "refused" in world.status().out, "the second serve to be refused")
    assert "owner of" not in second.log
    # The process that had the old file open has ended.
    assert owner.process.wait(DEADLINE) == 75
    world.ok("profile", "adopt", "--restored")
    second.says("owner of default")
    assert world.trigger().code == 0
    world.audit()


def test_the_whole_folder_is_deleted(world: World) -> None:
    owner = world.owner()
    world.add()
    shutil.rmtree(world.profile)
    owner.says("(term 1): the database at")
    assert owner.process.wait(DEADLINE) == 75
    assert world.tenure("status", "--json").code == 4
    # There is no profile.id any more: this is a new profile, and the old owner stays out.
    world.add(name="new")
    new = world.owner()
    assert {p["pid"] for p in world.status().json["processes"]} == {new.pid}
    assert world.trigger("new").code == 0


def test_profile_id_is_deleted_or_broken(world: World) -> None:
    owner = world.owner()
    world.add()
    file = world.profile / "profile.id"
    good = file.read_bytes()
    file.write_text("{")
    owner.says("cannot be understood")
    broken = world.tenure("status", "--json")
    assert broken.code == 1
    assert "adopt --restored" in broken.error["remedy"]
    file.unlink()
    assert "adopt" in world.status().warning("identity_problem")["remedy"]
    file.write_bytes(good)
    eventually(lambda: world.status().json["owner"], "the owner to be back")
    assert world.trigger().code == 0
    world.audit()


RULES = f"""
timezone = "Europe/Berlin"

[[owner]]
user = {os.geteuid()}
"""
BROKEN = (
    ("", "policy_file_problem"),
    ("# nothing\n", "policy_file_problem"),
    ("[[owner]]\nuser = ", "policy_file_problem"),
    ("[[owner]]\nuserr = 0\n", "policy_file_problem"),
    ('timezone = "Nowhere/Land"\n', "policy_file_problem"),
    ("\0\xff", "policy_file_problem"),
    ('timezone = "Europe/Berlin"\n', ""),
)


def test_profile_toml_is_emptied_broken_or_gone(world: World) -> None:
    """A file that is missing, empty or does not parse changes nothing and is a warning."""
    owner = world.serve()
    owner.says("owner of default")
    world.add()
    world.toml.write_text(RULES)
    eventually(lambda: world.rows("SELECT 1 FROM policies"), "the policy to be accepted")
    good = world.tenure("owner", "policy", "--json").json
    assert not good["open"]
    term = world.status().json["owner"]["term"]
    for text, code in BROKEN:
        world.toml.write_text(text, encoding="latin-1")
        status = world.status()
        assert status.code == 1, text
        assert status.json["owner"]["term"] == term
        warned = {w["code"]: w for w in status.json["warnings"]}
        if code:
            assert "profile.toml" in warned[code]["text"]
            assert warned[code]["remedy"]
        shown = world.tenure("owner", "policy", "--json")
        assert (shown.json["version"], shown.json["rules"]) == (good["version"], good["rules"])
        # An `add` accepts what the file says: not this.
        world.ok("add", "every 3h", "--name", f"a{BROKEN.index((text, code))}", "--", "true")
    world.toml.unlink()
    assert "policy_file_problem" in world.status().codes
    # Also a new owner finds the rules in force.
    owner.kill()
    world.owner()
    assert world.tenure("owner", "policy", "--json").json["version"] == good["version"]
    assert world.trigger().code == 0


def test_rules_are_all_removed_by_clear_alone(world: World) -> None:
    world.owner()
    world.add()
    world.toml.write_text(RULES)
    eventually(lambda: world.status().json["policy"]["rules"] == 1, "the policy to be accepted")
    refused = world.tenure("owner", "policy", "--clear", "--yes", "--json")
    assert refused.code == 2
    assert refused.error["field"] == "owner"
    assert "remove them from" in refused.error["remedy"]
    world.toml.write_text('timezone = "Europe/Berlin"\n')
    accept = world.tenure("owner", "policy", "--accept", "--json")
    assert accept.code == 2
    assert "--clear" in accept.error["remedy"]
    assert world.status().json["policy"]["rules"] == 1
    cleared = world.tenure("owner", "policy", "--clear", "--yes", "--json")
    assert cleared.code == 0, cleared
    assert cleared.json["open"]
    status = eventually(
        lambda: (s := world.status()).json["owner"]["rule"] is None and s, "the owner to reaffirm"
    )
    assert not status.json["owner"]["authoritative"]
    # It is not undone by the next look, and rules can be written again.
    world.toml.write_text(RULES)
    eventually(lambda: world.status().json["owner"]["authoritative"], "the rule to be back")
    assert world.trigger().code == 0
    world.audit()
