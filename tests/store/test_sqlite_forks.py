"""A fork with the store open: SQLite's locks are the parent's, so no connection may cross.

What goes wrong otherwise is silent: a child that opens the file again shares the inherited record
of locks, believes to hold its parent's, and commits to a log that another process has deleted.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.domain.errors import TenureError
from tenure.store.sqlite import SqliteStore, connection
from testkit.factories import START, make_definition
from waiting import DEADLINE

pytestmark = pytest.mark.real


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteStore.create(tmp_path / "t.db", profile_id="p", now=START).close()
    return tmp_path / "t.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(path) as one:
        yield one


def add(store: SqliteStore, name: str) -> None:
    store.add_job(make_definition(name), by="ada", now=START)


def names(path: Path) -> list[str]:
    with SqliteStore.open(path) as store:
        assert store.verify() == []
        return [job.name for job in store.jobs()[0]]


def fork(act: Callable[[], None]) -> int:
    """A child that does ``act``; its exit code is 0 if that raised nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_a_child_commits_outlives_its_parent_and_those_that_came_after(path: Path) -> None:
    """C4: durable is durable. The third process is alone with the file as it closes it."""
    heard, tell = os.pipe()
    go, going = os.pipe()

    def grandchild() -> None:
        with SqliteStore.open(path) as mine:
            add(mine, "before")
            os.write(tell, b"!")
            os.read(go, 1)
            add(mine, "after")
        os.write(tell, b"!")

    def parent() -> None:
        store = SqliteStore.open(path)
        add(store, "parent")
        fork(grandchild)
        signal.pause()

    child = fork(parent)
    assert os.read(heard, 1) == b"!"
    os.kill(child, signal.SIGKILL)
    ended(child)
    with SqliteStore.open(path) as third:
        add(third, "third")
    os.write(going, b"!")
    assert os.read(heard, 1) == b"!"
    assert names(path) == ["after", "before", "parent", "third"]
    for end in (heard, tell, go, going):
        os.close(end)


def test_a_fork_waits_for_the_transaction_of_another_thread(store: SqliteStore) -> None:
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with store.batch():
            add(store, "thread")
            inside.set()
            leave.wait(DEADLINE)

    def act() -> None:
        with SqliteStore.open(store.path) as mine:
            add(mine, "child")

    thread = threading.Thread(target=write)
    thread.start()
    assert inside.wait(DEADLINE)
    threading.Timer(0.1, leave.set).start()
    assert ended(fork(act)) == 0
    thread.join()
    assert [job.name for job in store.jobs()[0]] == ["child", "thread"]


def test_a_child_forked_inside_a_transaction_is_told(store: SqliteStore) -> None:
    def act() -> None:
        store.forget_in_child()
        with pytest.raises(TenureError, match="in use when this process was forked off"):
            SqliteStore.open(store.path)

    with store.batch():
        add(store, "parent")
        child = fork(act)
    assert ended(child) == 0
    assert names(store.path) == ["parent"]


def test_the_parent_goes_on_and_notices_another_file(store: SqliteStore) -> None:
    add(store, "before")
    assert ended(fork(lambda: None)) == 0
    store.path.rename(store.path.with_suffix(".moved"))
    with pytest.raises(TenureError, match="not the one that this process opened"):
        add(store, "lost")
    store.path.with_suffix(".moved").rename(store.path)
    add(store, "after")
    assert names(store.path) == ["after", "before"]


def test_a_parent_that_cannot_open_it_again_at_once_tries_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **options: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    os.waitpid(fork(lambda: None), 0)
    with monkeypatch.context() as patch:
        patch.setattr(connection, "open_database", fails)
        with pytest.raises(TenureError, match="unable to open"):
            store.jobs()
    add(store, "after")
    assert names(store.path) == ["after"]


def test_forks_amid_the_writes_of_other_threads(store: SqliteStore) -> None:
    """Ten children, each with a store of its own, while two threads write."""
    stop = threading.Event()
    wrote: list[str] = []

    def write(who: str) -> None:
        while not stop.is_set():
            add(store, f"{who}-{len(wrote)}")
            wrote.append(who)

    threads = [threading.Thread(target=write, args=(who,)) for who in ("a", "b")]
    for thread in threads:
        thread.start()

    def act(number: int) -> Callable[[], None]:
        def write_one() -> None:
            # Two write without a pause: one of them may wait for long.
            with SqliteStore.open(store.path, patience=timedelta(seconds=DEADLINE)) as mine:
                add(mine, f"child-{number}")

        return write_one

    codes = [ended(fork(act(number))) for number in range(10)]
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 10
    assert store.verify() == []
    assert sum(store.counts().jobs.values()) == len(wrote) + 10
