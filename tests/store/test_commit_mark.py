"""profile.mark: an older database in the place of a newer one is noticed, and no other ever is."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.domain.errors import CorruptStore, StoreUnwritable
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.store.contract import RunFilter
from tenure.store.sqlite import SqliteStore
from tenure.store.sqlite.connection import CommitMark
from testkit.factories import START, after, claim_one, make_definition, own


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenure.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.create(path, profile_id="p", now=START) as made:
        yield made


def write(store: SqliteStore, times: int = 1) -> None:
    for _ in range(times):
        store.record_event(EventKind.WARNING, START, facts={})


def missing(path: Path, *, readonly: bool = False) -> int:
    with SqliteStore.open(path, readonly=readonly) as found:
        return found.facts().commits_missing


def mark_of(path: Path) -> int:
    return CommitMark(path).read("p")


def copied_over(backup: Path, path: Path) -> None:
    """``cp``: the inode stays."""
    shutil.copyfile(backup, path)


def moved_over(backup: Path, path: Path) -> None:
    os.replace(backup, path)


def restored_by_sqlite(backup: Path, path: Path) -> None:
    """``sqlite3 tenure.db '.restore backup.db'``: by way of the log, beside its users."""
    source, target = sqlite3.connect(backup), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()


# -- the older database ------------------------------------------------------------------------
@pytest.mark.parametrize("put_back", [copied_over, moved_over, restored_by_sqlite])
@pytest.mark.parametrize("what", ["a claim", "an edit", "a removal"])
def test_a_backup_of_the_same_term_is_an_older_copy(
    store: SqliteStore, path: Path, what: str, put_back: Callable[[Path, Path], None]
) -> None:
    """C4: what ran since is not in it; C12: nor is what was edited since."""
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    backup = path.with_name("backup.db")
    store.backup(backup)
    if what == "a claim":
        claim_one(store, authority, job, after(minutes=1))
    else:
        state = JobState.PAUSED if what == "an edit" else JobState.REMOVED
        store.set_job_state(job.id, state, by="ada", now=START)
    store.close()
    assert missing(path) == 0
    put_back(backup, path)
    assert missing(path) == 1
    assert missing(path, readonly=True) == 1


def test_no_number_of_writes_hides_it(store: SqliteStore, path: Path) -> None:
    """A supervisor starts a refused `serve` again and again, and each joins the profile."""
    backup = path.with_name("backup.db")
    store.backup(backup)
    write(store, 3)
    store.close()
    copied_over(backup, path)
    for _ in range(100):
        with SqliteStore.open(path) as again:
            write(again)
    assert missing(path) == 3
    with SqliteStore.open(path) as adopted:
        adopted.raise_term_floor(7)
        assert adopted.facts().commits_missing == 0
        write(adopted)
    assert missing(path) == 0
    assert mark_of(path) == 5


def test_one_that_is_restored_under_its_user_takes_no_write(store: SqliteStore, path: Path) -> None:
    """The owner plans on by what it has in mind: its next claim is refused, not repeated."""
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    backup = path.with_name("backup.db")
    store.backup(backup)
    claim_one(store, authority, job, after(minutes=1))
    restored_by_sqlite(backup, path)
    with pytest.raises(CorruptStore, match="1 commits are missing") as refused:
        claim_one(store, authority, job, after(minutes=1))
    assert "adopt --restored" in refused.value.remedy
    assert store.runs(RunFilter())[0] == ()


# -- and no other ------------------------------------------------------------------------------
def test_a_crash_between_the_commit_and_its_mark(store: SqliteStore, path: Path) -> None:
    write(store, 5)
    before = path.with_name("profile.mark").read_bytes()
    write(store, 2)
    store.close()
    path.with_name("profile.mark").write_bytes(before)  # what a power loss leaves of it
    assert missing(path) == 0
    with SqliteStore.open(path) as again:
        write(again)
    assert mark_of(path) == 8


@pytest.mark.parametrize("left", [b"", b"\xff" * 512, b"\0" * 512, b"\x01" * 7, os.urandom(600)])
def test_a_torn_or_foreign_mark_accuses_no_database(
    store: SqliteStore, path: Path, left: bytes
) -> None:
    write(store, 2)
    path.with_name("profile.mark").write_bytes(left)
    assert store.facts().commits_missing == 0
    write(store)
    assert mark_of(path) == 3


def test_a_profile_from_before_there_was_a_mark(store: SqliteStore, path: Path) -> None:
    write(store, 2)
    store.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("DELETE FROM meta WHERE key = 'commits'")
    db.close()
    path.with_name("profile.mark").unlink()
    assert missing(path) == 0
    with SqliteStore.open(path) as again:
        write(again, 2)
    assert (missing(path), mark_of(path)) == (0, 2)


def test_the_mark_of_another_profile_does_not_count(store: SqliteStore, path: Path) -> None:
    """A database that was made again, or a copy that was adopted as a profile of its own."""
    write(store, 40)
    store.set_profile_id("q")
    write(store)
    assert store.facts().commits_missing == 0
    assert CommitMark(path).read("q") == 42


def test_a_mark_that_cannot_be_written_stops_no_write(store: SqliteStore, path: Path) -> None:
    mark = path.with_name("profile.mark")
    write(store, 2)
    mark.unlink()
    mark.mkdir()  # as good as a disk that fails, and root cannot pass it either
    write(store, 2)
    with pytest.raises(StoreUnwritable, match=r"profile\.mark cannot be read"):
        store.facts()
    mark.rmdir()
    assert store.facts().commits_missing == 0
    write(store)
    assert mark_of(path) == 3  # the two between were not counted: the mark never leads


def test_a_pipe_in_its_place_keeps_nobody_waiting(store: SqliteStore, path: Path) -> None:
    mark = path.with_name("profile.mark")
    mark.unlink(missing_ok=True)
    os.mkfifo(mark)
    write(store)
    with pytest.raises(StoreUnwritable, match="not a regular file"):
        store.facts()


def test_what_changes_nothing_is_not_counted(store: SqliteStore, path: Path) -> None:
    write(store)
    before = store.change_mark(), mark_of(path)
    with store.batch():
        store.jobs()
    assert (store.change_mark(), mark_of(path)) == before


def test_what_was_undone_is_not_counted(store: SqliteStore, path: Path) -> None:
    write(store)
    with contextlib.suppress(ZeroDivisionError), store.batch():
        write(store)
        raise ZeroDivisionError
    assert mark_of(path) == 1
    write(store)
    assert (mark_of(path), store.facts().commits_missing) == (2, 0)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 70)))
def test_marks_in_any_order_never_lead(tmp_path: Path, order: list[int]) -> None:
    """Each writes only above what it read; one may be overtaken between the two."""
    (tmp_path / "profile.mark").unlink(missing_ok=True)
    mark = CommitMark(tmp_path / "tenure.db")
    for count in order:
        with mark.opened("p") as (highest, put):
            if highest < count:
                put(count)
    assert mark.read("p") == 69


@pytest.mark.real
def test_processes_that_write_at_once_are_never_accused(store: SqliteStore, path: Path) -> None:
    code = (
        "import sys; from tenure.store.sqlite import SqliteStore\n"
        "from tenure.domain.event import EventKind\n"
        "from testkit.factories import START\n"
        "with SqliteStore.open(sys.argv[1]) as store:\n"
        "    for _ in range(100):\n"
        "        store.record_event(EventKind.WARNING, START, facts={})\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    found: set[int] = set()
    over = threading.Event()

    def look() -> None:
        with SqliteStore.open(path, readonly=True) as reader:
            while not over.is_set():
                found.add(reader.facts().commits_missing)

    looking = threading.Thread(target=look)
    looking.start()
    codes = [child.wait(60) for child in children]
    over.set()
    looking.join(60)
    assert codes == [0, 0, 0]
    assert found == {0}
    # The last two to commit may have written their marks in either order, each in its own slot.
    assert mark_of(path) == 300
