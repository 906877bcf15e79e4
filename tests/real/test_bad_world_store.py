"""A damaged, foreign, newer, locked or unwritable database: one clear error, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from worldkit import ROOT, Answer, Serve, World

from freezing import freeze_between_transactions
from waiting import eventually

pytestmark = pytest.mark.real

VERBS = {
    "add": ("add", "every 2h", "--name", "new", "--", "true"),
    "edit": ("edit", "job", "--timeout", "5m"),
    "pause": ("pause", "job"),
    "trigger": ("trigger", "job"),
    "status": ("status",),
    "runs": ("runs",),
    "audit": ("audit",),
    "backup": ("backup",),
    "list": ("list",),
    "serve": ("serve",),
}
READ = {"status", "runs", "audit", "list", "backup"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def run(world: World, verb: str, **how: object) -> Answer:
    arguments = VERBS[verb]
    if verb == "backup":
        arguments = (*arguments, str(world.folder / f"backup-{os.urandom(4).hex()}.db"))
    return world.tenure("--json", *arguments, **how)  # type: ignore[arg-type]


def at_rest(world: World) -> bytes:
    """A profile that has had an owner, at rest, its database in one file."""
    owner = world.owner()
    world.add()
    assert world.trigger().code == 0
    assert owner.terminate() == 0
    db = sqlite3.connect(world.database)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return world.database.read_bytes()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of such a profile, to be copied."""
    one = World(tmp_path_factory.mktemp("template"))
    try:
        at_rest(one)
    finally:
        one.close()
    return one.home


def header_gone(world: World, whole: bytes) -> bytes:
    return b"\xff" * 100 + whole[100:]


def a_page_flipped(world: World, whole: bytes) -> bytes:
    """Every page of a table that each verb reads, and most others."""
    size = 4096
    return whole[: 2 * size] + bytes(b ^ 0xA5 for b in whole[2 * size :])


def truncated(world: World, whole: bytes) -> bytes:
    return whole[: len(whole) // 3]


def empty(world: World, whole: bytes) -> bytes:
    return b""


def text(world: World, whole: bytes) -> bytes:
    return b"to do: buy milk\n" * 1000


def of_another(world: World, whole: bytes) -> bytes:
    other = world.folder / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    db.execute("INSERT INTO meta VALUES ('schema', '1')")
    db.commit()
    db.close()
    return other.read_bytes()


@pytest.mark.parametrize(
    "damage", [header_gone, a_page_flipped, truncated, empty, text, of_another]
)
def test_a_damaged_database_is_named_and_never_overwritten(
    world: World, template: Path, damage: Callable[[World, bytes], bytes]
) -> None:
    shutil.copytree(template, world.home)
    bad = damage(world, world.database.read_bytes())
    world.database.write_bytes(bad)
    for verb in VERBS:
        answer = run(world, verb)
        assert answer.code == 1, (verb, answer)
        assert answer.error["code"] == "damaged", (verb, answer)
        assert "tenure.db" in answer.error["text"]
        assert "tenure restore" in answer.error["remedy"]
        assert world.database.read_bytes() == bad, verb
    assert list(world.folder.glob("backup-*")) == []


@pytest.mark.parametrize("damage", [header_gone, a_page_flipped, truncated, empty])
def test_nor_is_one_that_still_has_a_log(
    world: World, damage: Callable[[World, bytes], bytes]
) -> None:
    """Closing a database folds its log into it: not into a damaged one."""
    owner = world.owner()
    world.add()
    assert world.trigger().code == 0
    owner.kill()
    log = world.database.with_name("tenure.db-wal")
    assert log.stat().st_size > 0
    bad = damage(world, world.database.read_bytes())
    world.database.write_bytes(bad)
    kept: bytes | None = log.read_bytes()
    for verb in VERBS:
        answer = run(world, verb)
        if answer.code != 1 or answer.json.get("error") is None:
            # What is damaged may lie in pages that the log has anew: then nothing is lost, and
            # folding them in mends it.
            assert answer.code in (0, 1, 3), (verb, answer)
            bad = world.database.read_bytes()
            kept = log.read_bytes() if log.exists() else None
            continue
        assert answer.error["code"] == "damaged", (verb, answer)
        assert world.database.read_bytes() == bad, verb
        assert (log.read_bytes() if log.exists() else None) == kept, verb
    if damage is empty:
        assert kept, "the log of an emptied database is all that is left of it"


def test_a_newer_schema_is_refused(world: World) -> None:
    at_rest(world)
    db = sqlite3.connect(world.database)
    for key in ("schema", "min_writer"):
        db.execute("UPDATE meta SET value = 99 WHERE key = ?", (key,))
    db.commit()
    db.close()
    for verb in sorted(set(VERBS) - READ):
        answer = run(world, verb)
        assert answer.code == 3, (verb, answer)
        assert "schema 99" in answer.error["text"]
        assert "upgrade" in answer.error["remedy"]
    # Nor can what needs a newer reader be read.
    db = sqlite3.connect(world.database)
    db.execute("UPDATE meta SET value = 99 WHERE key = 'min_reader'")
    db.commit()
    db.close()
    for verb in VERBS:
        assert run(world, verb).code == 3, verb


HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN " + sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process inside a transaction."""

    def __init__(self, path: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), how],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"\n")


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_is_waited_for_and_its_holder_named(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.owner()
    world.add()
    ran = world.folder / "ran"
    world.ok("add", "every 1s", "--name", "often", "--", "sh", "-c", f"echo >> {ran}")
    eventually(ran.exists, "a run")
    with Holder(world.database, how) as holder:
        # Readers are not disturbed, writers give up after their patience: all at once here.
        with monkeypatch.context() as patched:
            # They are forks of this process: they wait for one second, not for five.
            patched.setattr("tenure.runtime.profile.PATIENCE", timedelta(seconds=1))
            writers = {v: begin(world, v) for v in ("add", "edit", "pause", "trigger")}
        for verb in ("status", "runs", "list", "audit", "backup"):
            assert run(world, verb).code in (0, 1), verb
        status = eventually(
            lambda: (s := world.status()) and "store_blocked" in s.codes and s,
            "the block to be reported",
        )
        assert f"pid {holder.process.pid}" in status.warning("store_blocked")["text"]
        for verb, command in writers.items():
            answer = world.end(command)
            assert answer.code == 75, (verb, answer)
            assert answer.error["code"] == "store_blocked"
            assert f"process {holder.process.pid}" in answer.error["text"]
    before = ran.stat().st_size
    eventually(lambda: ran.stat().st_size > before, "runs once the lock is free")
    assert {j["name"] for j in world.ok("list", "--json").json["jobs"]} == {"job", "often"}
    assert world.ok("show", "job", "--json").json["job"]["revision"] == 1
    world.audit()


def begin(world: World, verb: str) -> object:
    return world.begin("--json", *VERBS[verb])


def frozen_with_an_empty_log(world: World, owner: Serve) -> bool:
    """The owner stands still, and all that it wrote is in the database itself."""
    freeze_between_transactions(owner.pid, world.database)
    db = sqlite3.connect(world.database, timeout=0)
    try:
        ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError:
        busy = 1
    finally:
        db.close()
    if busy:  # it stands amid reading
        os.kill(owner.pid, signal.SIGCONT)
    return not busy


def test_a_damaged_database_under_a_living_owner(world: World) -> None:
    """It stops claiming, says why, and overwrites nothing."""
    owner = world.owner()
    world.ok("add", "every 1s", "--name", "often", "--", "true")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE state = 'succeeded'"), "a run")
    eventually(lambda: frozen_with_an_empty_log(world, owner), "a log that is folded in")
    with open(world.database, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        file.write(os.urandom(size))
    bad = world.database.read_bytes()
    os.kill(owner.pid, signal.SIGCONT)
    owner.says("is not a database")
    assert owner.process.poll() is None
    answer = run(world, "status")
    assert answer.code == 1
    assert "tenure restore" in answer.error["remedy"]
    assert owner.terminate() == 0
    assert world.database.read_bytes() == bad


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="only root may mount")
def test_a_read_only_folder(world: World) -> None:
    at_rest(world)
    mount = ["mount", "--bind", "-o", "ro", str(world.home), str(world.home)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        if subprocess.run(
            ["mount", "-o", "remount,bind,ro", str(world.home)], check=False
        ).returncode:
            pytest.skip("this container may not mount")
        for verb in VERBS.keys() - READ:
            answer = run(world, verb)
            assert answer.code in (3, 75), (verb, answer)
            assert answer.error["code"] in ("store_unwritable", "refused"), (verb, answer)
            assert "read-only" in answer.error["text"], (verb, answer)
        for verb in READ - {"backup"}:  # it can be viewed; a backup is a file beside it
            answer = run(world, verb)
            assert answer.code in (0, 1), (verb, answer)
            assert "error" not in answer.json, (verb, answer)
        codes = [warning["code"] for warning in run(world, "status").json["warnings"]]
        assert "read_only" in codes
    finally:
        subprocess.run(["umount", "-l", str(world.home)], check=True)
    assert world.ok("show", "job", "--json").json["job"]["revision"] == 1
    world.audit()


def test_a_file_in_the_place_of_the_folder(world: World) -> None:
    (world.home / "profiles").mkdir(parents=True)
    world.profile.write_text("a note")
    for verb in VERBS:
        answer = run(world, verb)
        assert answer.code in (3, 4), (verb, answer)
        assert answer.error["remedy"]
    assert world.profile.read_text() == "a note"
    shutil.rmtree(world.home)
    world.home.write_text("a note")
    for verb in VERBS:
        answer = run(world, verb)
        assert answer.code in (3, 4), (verb, answer)
        assert answer.error["remedy"]
