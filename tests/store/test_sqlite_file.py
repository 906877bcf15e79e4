"""The file of the SQLite store: made whole, never overwritten, checked, copied, migrated."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import (
    Conflict,
    CorruptStore,
    InvalidInput,
    NotFound,
    Refused,
    StoreBlocked,
    StoreUnwritable,
    TenureError,
)
from tenure.domain.event import EventKind
from tenure.domain.job import JobState, Runner
from tenure.store.contract import SCHEMA, Page, PurgeLimits
from tenure.store.sqlite import SqliteStore, schema
from tenure.store.sqlite.database_file import translate_error
from tenure.store.sqlite.tables import Statements
from testkit.factories import START, after, ended, make_definition, own, plan_round, take
from waiting import DEADLINE

SHORT = timedelta(milliseconds=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenure.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.create(path, profile_id="p", now=START, patience=SHORT) as made:
        yield made


def edit_file(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    with db:
        for statement in statements:
            db.execute(statement)
    db.close()


# -- made and opened ---------------------------------------------------------------------------
def test_a_new_store_is_its_users_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    with SqliteStore.create(tmp_path / "a b%#?.db", profile_id="p", now=START) as store:
        assert store.path.stat().st_mode & 0o777 == 0o600
        store.add_job(make_definition(), by="ada", now=START)
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
        assert store.facts().profile_id == "p"
        assert store.facts().schema == SCHEMA
    assert {f.name for f in tmp_path.iterdir()} == {"a b%#?.db", "profile.mark"}


def test_create_never_overwrites(path: Path, tmp_path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(Conflict):
        SqliteStore.create(path, profile_id="p", now=START)
    assert path.read_text() == "mine"
    assert [f.name for f in tmp_path.iterdir()] == ["tenure.db"]


def test_create_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="no store can be made"):
        SqliteStore.create(tmp_path / "no" / "tenure.db", profile_id="p", now=START)


def test_create_says_what_sqlite_could_not_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        error = sqlite3.OperationalError("disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(schema, "_fill", full)
    with pytest.raises(StoreUnwritable, match="full"):
        SqliteStore.create(path, profile_id="p", now=START)
    assert list(tmp_path.iterdir()) == []


def test_open_never_creates(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        SqliteStore.open(path)
    assert "tenure add" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 not really", b"hello" * 1000])
def test_what_is_no_store_is_damage_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptStore):
        SqliteStore.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(path: Path) -> None:
    edit_file(path, "PRAGMA application_id = 77", "CREATE TABLE t (x)")
    before = path.read_bytes()
    with pytest.raises(CorruptStore, match="not a store of Tenure's"):
        SqliteStore.open(path)
    assert path.read_bytes() == before


def test_a_store_that_does_not_say_its_schema_is_damage(store: SqliteStore, path: Path) -> None:
    store.close()
    edit_file(path, "DELETE FROM meta WHERE key = 'min_reader'")
    with pytest.raises(CorruptStore, match="schema"):
        SqliteStore.open(path)


def test_a_corrupt_store_is_damage(store: SqliteStore, path: Path) -> None:
    for number in range(300):
        store.add_job(make_definition(f"job {number}"), by="ada", now=START)
    store.close()
    content = bytearray(path.read_bytes())
    for offset in range(4096 * 2, len(content), 1):
        content[offset] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(CorruptStore) as caught, SqliteStore.open(path) as opened:
        opened.jobs(page=Page(limit=1000))
    assert "restore" in caught.value.remedy
    assert path.read_bytes() == bytes(content)


# -- versions ----------------------------------------------------------------------------------
def test_a_store_of_a_newer_tenure_is_refused(store: SqliteStore, path: Path) -> None:
    store.close()
    edit_file(path, f"UPDATE meta SET value = {SCHEMA + 1} WHERE key IN ('schema', 'min_writer')")
    with pytest.raises(Refused, match="writing") as caught:
        SqliteStore.open(path)
    assert caught.value.remedy == "upgrade Tenure"
    with SqliteStore.open(path, readonly=True) as reader:
        assert reader.facts().schema == SCHEMA + 1
    edit_file(path, f"UPDATE meta SET value = {SCHEMA + 1} WHERE key = 'min_reader'")
    with pytest.raises(Refused, match="reading"):
        SqliteStore.open(path, readonly=True)


def test_opening_never_migrates_and_migrate_takes_each_step_once(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(schema, "SCHEMA", SCHEMA + 1)

    def change(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE jobs ADD COLUMN colour TEXT")

    step = schema.Migration(to=SCHEMA + 1, change=change, min_reader=1, min_writer=SCHEMA + 1)
    with pytest.raises(Refused, match="this Tenure needs") as caught:
        SqliteStore.open(path)
    assert "tenure migrate" in caught.value.remedy
    with SqliteStore.open(path, outdated=True) as opened:
        assert opened.migrate(after(seconds=1), [step]) == SCHEMA + 1
        assert opened.migrate(after(seconds=2), [step]) == SCHEMA + 1
        facts = opened.facts()
        assert (facts.schema, facts.min_reader, facts.min_writer) == (2, 1, 2)
        migrated = [e for e in opened.events() if e.kind is EventKind.MIGRATED]
        assert [e.facts for e in migrated] == [{"before": 1, "after": 2}]
    SqliteStore.open(path).close()


def test_a_migration_that_fails_changes_nothing(store: SqliteStore) -> None:
    def change(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("ALTER TABLE nowhere ADD COLUMN colour TEXT")

    step = schema.Migration(to=SCHEMA + 1, change=change, min_reader=1, min_writer=1)
    with pytest.raises(TenureError):
        store.migrate(START, [step])
    assert store.facts().schema == SCHEMA
    assert store.events() == ()
    with pytest.raises(TenureError, match="no such table"), store._db.reading() as db:
        db.execute("SELECT * FROM half")


def test_nothing_to_migrate(store: SqliteStore) -> None:
    assert store.migrate(START) == SCHEMA
    assert store.events() == ()


# -- which database ----------------------------------------------------------------------------
def test_adoption_gives_an_id_and_a_floor_that_terms_must_exceed(store: SqliteStore) -> None:
    store.set_profile_id("another")
    store.raise_term_floor(9)
    store.raise_term_floor(4)
    assert store.facts().profile_id == "another"
    assert store.facts().term == 9
    with pytest.raises(InvalidInput):
        store.set_profile_id("")
    with pytest.raises(InvalidInput) as caught:
        own(store)
    assert caught.value.field == "new_term"
    taken = take(store, "gateway", new_term=10, rule=None, authoritative=False)
    assert taken.term == store.facts().term == 10


def test_a_file_replaced_or_gone_under_us_is_noticed(store: SqliteStore, path: Path) -> None:
    assert store.is_same_file()
    aside = path.with_name("aside.db")
    path.rename(aside)
    assert not store.is_same_file()
    aside.rename(path)
    assert store.is_same_file()
    path.rename(aside)
    SqliteStore.create(path, profile_id="other", now=START).close()
    assert not store.is_same_file()
    path.unlink()
    aside.rename(path)
    assert not store.is_same_file(), "the other one's end took this one's log away"


# -- copies ------------------------------------------------------------------------------------
def test_a_backup_is_whole_sound_and_private(store: SqliteStore, tmp_path: Path) -> None:
    store.add_job(make_definition(), by="ada", now=START)
    dest = tmp_path / "copies" / "monday.db"
    with pytest.raises(StoreUnwritable):
        store.backup(dest)
    dest.parent.mkdir()
    store.backup(dest)
    store.add_job(make_definition("later"), by="ada", now=START)
    store.backup(str(dest))
    assert [f.name for f in dest.parent.iterdir()] == ["monday.db"]
    assert dest.stat().st_mode & 0o777 == 0o600
    with SqliteStore.open(dest) as copy:
        assert copy.verify() == []
        assert [job.name for job in copy.jobs()[0]] == ["later", "report"]
        copy.add_job(make_definition("in the copy"), by="ada", now=START)
    assert len(store.jobs()[0]) == 2


def test_a_backup_onto_the_store_itself_is_refused(store: SqliteStore, path: Path) -> None:
    with pytest.raises(InvalidInput):
        store.backup(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(InvalidInput):
        store.backup(link)


def test_a_copy_that_is_not_sound_is_not_kept(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "copy.db"
    dest.write_text("the older backup")
    monkeypatch.setattr("tenure.store.sqlite.maintenance._verify", lambda db: ["row 3 is odd"])
    with pytest.raises(CorruptStore, match="row 3 is odd"):
        store.backup(dest)
    assert dest.read_text() == "the older backup"
    assert sorted(f.name for f in tmp_path.iterdir() if "new" in f.name) == []


def test_a_backup_of_a_store_that_is_gone_says_so(store: SqliteStore, tmp_path: Path) -> None:
    store.path.unlink()
    with pytest.raises(NotFound):
        store.backup(tmp_path / "copy.db")


def test_verify_names_rows_that_point_nowhere(store: SqliteStore, path: Path) -> None:
    assert store.verify() == []
    edit_file(path, "INSERT INTO purged_spans (job, first, last) VALUES ('ghost', 1, 2)")
    (finding,) = store.verify()
    assert "purged_spans" in finding


# -- failures ----------------------------------------------------------------------------------
def test_a_lock_held_elsewhere_names_its_holder(path: Path, store: SqliteStore) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreBlocked, match="another process"):
            store.add_job(make_definition(), by="ada", now=START)
        asked: list[Path] = []

        def probe(database: Path) -> int:
            asked.append(database)
            return 4711

        with SqliteStore.open(path, patience=SHORT, holder_probe=probe) as other:
            with pytest.raises(StoreBlocked, match="process 4711") as caught, other.batch():
                pass
            assert caught.value.facts == {"pid": 4711}
            assert asked == [path]
            assert other.jobs() == ((), None), "reading goes on"
    finally:
        holder.close()
    store.add_job(make_definition(), by="ada", now=START)


def test_reading_only(path: Path, store: SqliteStore) -> None:
    store.add_job(make_definition(), by="ada", now=START)
    with SqliteStore.open(path, readonly=True) as reader:
        assert reader.job("report").name == "report"
        with pytest.raises(StoreUnwritable, match="cannot be written"):
            reader.add_job(make_definition("x"), by="ada", now=START)


def small_disk(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and sys.platform == "linux"
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("a small file system needs root")
    return folder


@pytest.mark.root
@pytest.mark.real
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    folder = small_disk(tmp_path)
    try:
        with SqliteStore.create(folder / "t.db", profile_id="p", now=START) as store:
            added, error = add_until_full(store, "a")
            assert "full" in error.text
            assert "space" in error.remedy
            assert len(store.jobs(page=Page(limit=100_000))[0]) == added > 0
            with pytest.raises(TenureError, match=r"full|rolled back"), store.batch():
                add_until_full(store, "b")
            assert len(store.jobs(page=Page(limit=100_000))[0]) == added
            assert store.verify() == []
        fill(folder / "fill")
        with pytest.raises(StoreUnwritable):
            SqliteStore.create(folder / "u.db", profile_id="p", now=START)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def add_until_full(store: SqliteStore, prefix: str) -> tuple[int, TenureError]:
    """How many jobs fitted, and what the next one met."""
    for number in range(100_000):
        try:
            store.add_job(make_definition(f"{prefix}{number:05}"), by="ada", now=START)
        except StoreUnwritable as error:
            return number, error
    raise AssertionError("the disk never filled")


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        try:
            while file.write(b"\0" * 512):
                pass
        except OSError:
            return


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnwritable, "fails"),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnwritable, "cannot be written"),
        (sqlite3.SQLITE_CANTOPEN, NotFound, "no store"),
        (sqlite3.SQLITE_CORRUPT, CorruptStore, "damaged"),
        (sqlite3.SQLITE_LOCKED, StoreBlocked, "another process"),
        (sqlite3.SQLITE_ERROR, TenureError, "SQLite failed"),
    ],
)
def test_each_failure_has_its_words(
    tmp_path: Path, code: int, kind: type[TenureError], words: str
) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    found = translate_error(error, tmp_path / "gone.db", 5, None)
    assert type(found) is kind
    assert words in found.text


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "folder.db"
    folder.mkdir()
    with pytest.raises(StoreUnwritable, match="cannot be opened"):
        SqliteStore.open(folder)


def test_a_store_that_was_closed_says_so(store: SqliteStore) -> None:
    store.close()
    store.close()
    with pytest.raises(TenureError, match="closed"):
        store.jobs()


# -- batches -----------------------------------------------------------------------------------
def test_a_batch_does_not_nest(store: SqliteStore) -> None:
    with store.batch():
        store.add_job(make_definition(), by="ada", now=START)
        with pytest.raises(TenureError, match="nest"), store.batch():
            pass
        assert store.job("report").name == "report"
    assert store.job("report").name == "report"


def test_an_undone_revision_is_not_remembered(store: SqliteStore) -> None:
    job = store.add_job(make_definition(), by="ada", now=START)
    with contextlib.suppress(ZeroDivisionError), store.batch():
        store.edit_job(job.id, 1, make_definition(tags=("undone",)), by="ada", now=START)
        _ = 1 // 0
    edited = store.edit_job(job.id, 1, make_definition(tags=("kept",)), by="ada", now=START)
    assert edited.definition.tags == ("kept",)
    assert store.job(job.id).definition.tags == ("kept",)


def test_other_threads_wait_for_a_batch(store: SqliteStore) -> None:
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(len(store.jobs()[0])))
    with store.batch():
        store.add_job(make_definition("one"), by="ada", now=START)
        reader.start()
        store.add_job(make_definition("two"), by="ada", now=START)
        assert seen == []
    reader.join(DEADLINE)
    assert seen == [2]


def test_the_change_mark_tells_of_others(path: Path, store: SqliteStore) -> None:
    mark = store.change_mark()
    assert store.change_mark() == mark
    with SqliteStore.open(path) as other:
        other.add_job(make_definition(), by="ada", now=START)
        assert store.change_mark() != mark


def test_a_batch_that_sqlite_gave_up_takes_nothing_more(store: SqliteStore) -> None:
    """As when the disk fills: SQLite itself may roll the whole transaction back."""
    store.add_job(make_definition("before"), by="ada", now=START)

    def give_up() -> None:
        with store._db.writing() as db:
            db.execute("ROLLBACK")
            raise StoreUnwritable("as SQLite does")

    def batch() -> None:
        with store.batch():
            store.add_job(make_definition("in it"), by="ada", now=START)
            with pytest.raises(StoreUnwritable):
                give_up()
            with pytest.raises(TenureError, match="rolled back the batch"):
                store.add_job(make_definition("late"), by="ada", now=START)

    with pytest.raises(TenureError, match="rolled back the batch"):
        batch()
    store.add_job(make_definition("next"), by="ada", now=START)
    assert [job.name for job in store.jobs()[0]] == ["before", "next"]


def test_a_verb_that_fails_in_a_batch_undoes_itself_only(store: SqliteStore) -> None:
    with store.batch():
        store.add_job(make_definition("one"), by="ada", now=START)
        with pytest.raises(Conflict):
            store.add_job(make_definition("one"), by="ada", now=START)
        store.add_job(make_definition("two"), by="ada", now=START)
    assert [job.name for job in store.jobs()[0]] == ["one", "two"]
    assert [event.seq for event in store.events()] == [1, 2]


def test_a_store_let_go_is_closed_to_this_process(store: SqliteStore, path: Path) -> None:
    with SqliteStore.open(path) as other:
        other.forget_in_child()
        other.forget_in_child()
        with pytest.raises(TenureError, match="closed"):
            other.jobs()


# -- plans of queries, bounds ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "name", "values"),
    [
        ("claims", "due", ("command", 0, 1)),
        ("claims", "next_due", {"command": 1, "thread": 1, "async": 1}),
        ("claims", "claimable", ("j",)),
        ("claims", "purged", ("j", 0, 0)),
        ("claims", "count_active", ("j",)),
        ("omissions", "before", ("j", 0, 1, "held", "")),
        ("omissions", "open_holds", ("j",)),
        ("jobs", "one", ("j",)),
        ("jobs", "by_name", ("n",)),
        ("edits", "name_taken", ("n",)),
        ("owner_edits", "declared_names", ("a",)),
        ("owner_edits", "other_app", ("a",)),
        ("runs", "one", ("r",)),
        ("runs", "held_by", ("p",)),
        ("runs", "orphans", ("p",)),
        ("claims", "due_retries", (0,)),
        ("requests", "by_key", ("k",)),
        ("requests", "past", (0,)),
        ("processes", "here", ()),
    ],
)
def test_what_is_asked_often_scans_no_table(
    store: SqliteStore, file: str, name: str, values: Any
) -> None:
    query = getattr(Statements(file), name)
    with store._db.reading() as db:
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    scans = [s for s in steps if s.startswith("SCAN") and "INDEX" not in s and "(subquery" not in s]
    assert [s for s in scans if not s.startswith("SCAN (")] == [], steps


def test_names_that_look_alike_are_found_without_reading_all_names(store: SqliteStore) -> None:
    query = Statements("edits").alike
    with store._db.reading() as db:
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", ("n",))]
    assert [s for s in steps if "jobs_alike" in s and s.startswith("SEARCH")], steps
    assert [s for s in steps if "jobs" in s and s.startswith("SCAN")] == [
        "SCAN jobs USING INDEX jobs_not_ascii"
    ]


def test_statements_are_found_by_name() -> None:
    with pytest.raises(AttributeError, match="no statement 'nothing'"):
        _ = Statements("claims").nothing
    with pytest.raises(AttributeError):
        _ = Statements("claims")._nothing


def test_definitions_kept_in_memory_are_bounded(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.store.sqlite.jobs.MAX_CACHED", 3)
    for number in range(10):
        store.add_job(make_definition(f"job {number}"), by="ada", now=START)
    assert len(store._db.definitions) == 3
    assert len(store.jobs()[0]) == 10


def test_spans_are_bounded_and_never_forget_a_fire(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.store.sqlite.maintenance.MAX_SPANS", 5)
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    minutes = 20
    for minute in range(1, minutes):
        now = after(minutes=minute)
        (claimed,) = plan_round(store, authority, now)
        store.finish([ended(run) for run in claimed.runs], now)
        store.purge(PurgeLimits(runs_per_job=0), now)
    with store._db.reading() as db:
        spans = db.execute("SELECT first, last FROM purged_spans ORDER BY last").fetchall()
    assert len(spans) == 5
    assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))
    store.restart_planning(authority, START)
    for minute in range(1, minutes):
        for answer in plan_round(store, authority, after(minutes=minute)):
            assert answer.runs == ()
    assert store.accounting(job.id).accounted_from == after(minutes=minutes - 1)


def test_a_process_that_no_kept_row_names_is_purged(store: SqliteStore) -> None:
    own(store, "old")
    authority = own(store, "gateway")
    store.leave("old", START)
    assert store.purge(PurgeLimits(), after(days=91)).processes == 1
    assert [p.id for p in store.processes(gone=True)] == [authority.process]


def test_bad_pages_are_refused(store: SqliteStore) -> None:
    for cursor in ("x", "[1,2,3]", '["a"]', "3"):
        with pytest.raises(InvalidInput) as caught:
            store.jobs(page=Page(cursor=cursor))
        assert caught.value.field == "cursor"
    with pytest.raises(InvalidInput):
        store.jobs(page=Page(limit=0))


def test_facts_of_an_event_are_json(store: SqliteStore) -> None:
    with pytest.raises(InvalidInput):
        store.record_event(EventKind.WARNING, START, facts={"x": {1, 2}})
    with pytest.raises(InvalidInput):
        store.record_event(EventKind.WARNING, START, facts={"x": float("nan")})
    assert store.events() == ()


def test_no_room_finds_nothing(store: SqliteStore) -> None:
    store.add_job(make_definition(), by="ada", now=START)
    assert store.due(after(minutes=5), {Runner.COMMAND: 0}) == ()
    assert store.due(after(minutes=5), {}) == ()
    assert len(store.jobs(states=frozenset({JobState.ACTIVE, JobState.REMOVED}))[0]) == 1
