"""The SQLite store between processes: each fire once, whole or nothing, forks, blocks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.domain.errors import StoreBlocked, TenureError
from tenure.host.write_lock import write_lock_holder
from tenure.store.contract import Page, RunFilter
from tenure.store.sqlite import SqliteStore
from testkit.factories import START, each, make_definition, own
from waiting import DEADLINE

KIT = Path(__file__).with_name("storekit.py")
ROOT = Path(__file__).parents[2]
EVERYTHING = Page(limit=100_000)
pytestmark = [pytest.mark.real, pytest.mark.timeout(3 * DEADLINE)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    path = tmp_path / "tenure.db"
    with SqliteStore.create(path, profile_id="p", now=START) as made:
        yield made


@contextmanager
def other(verb: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process doing ``verb``, once it says that it is where we want it."""
    command = [sys.executable, str(KIT), verb, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "the other process is ready"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("verb", ["claim", "claim_same"])
def test_two_processes_claim_each_fire_once(store: SqliteStore, verb: str) -> None:
    own(store)
    jobs = 2 if verb == "claim" else 1
    for number in range(jobs):
        wanted = make_definition(f"job {number}", each(minutes=1)).with_changes(overlap="allow")
        store.add_job(wanted, by="ada", now=START)
    with other(verb, store.path) as one, other(verb, store.path) as two:
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=DEADLINE)[0].split() for process in (one, two)]
        assert [process.returncode for process in (one, two)] == [0, 0]
    runs = store.runs(RunFilter(), EVERYTHING)[0]
    assert sorted(said[0] + said[1]) == sorted(run.id for run in runs)
    assert len({(run.job, run.fire_time) for run in runs}) == len(runs)
    omitted = sum(o.count for o in store.omissions(page=EVERYTHING)[0])
    if verb == "claim":
        assert len(runs) + omitted == jobs * 200
    else:
        assert len(runs) <= 200
    assert len(runs) > 100
    assert store.verify() == []


@pytest.mark.parametrize("kill", [True, False])
def test_a_process_that_dies_in_a_batch_leaves_nothing_of_it(
    store: SqliteStore, kill: bool
) -> None:
    with other("stop_in_batch", store.path) as process:
        if kill:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(DEADLINE)
        else:
            process.communicate("go\n", timeout=DEADLINE)
    assert len(store.jobs(page=EVERYTHING)[0]) == (0 if kill else 800)
    store.add_job(make_definition(), by="ada", now=START)
    assert store.verify() == []


def test_a_process_frozen_in_a_batch_is_named(store: SqliteStore) -> None:
    path = store.path
    with (
        other("stop_in_batch", path) as process,
        SqliteStore.open(
            path, patience=timedelta(milliseconds=50), holder_probe=write_lock_holder
        ) as mine,
    ):
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(StoreBlocked) as caught:
            mine.add_job(make_definition(), by="ada", now=START)
        assert caught.value.facts["pid"] == process.pid
        assert str(process.pid) in caught.value.text
        assert mine.jobs() == ((), None)


def test_a_backup_while_another_writes_holds_whole_commits(
    store: SqliteStore, tmp_path: Path
) -> None:
    with other("write_on", store.path) as process:
        for number in range(5):
            dest = tmp_path / f"copy {number}.db"
            store.backup(dest)
            with SqliteStore.open(dest, readonly=True) as copy:
                assert len(copy.jobs(page=EVERYTHING)[0]) % 2 == 0
                assert copy.verify() == []
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


def in_child(act: object) -> int:
    """The exit code of a forked child that runs ``act``: 0 if it raised nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        try:
            act()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_lets_go_and_opens_its_own(store: SqliteStore) -> None:
    store.add_job(make_definition("before"), by="ada", now=START)

    def act() -> None:
        store.forget_in_child()
        store.close()
        with SqliteStore.open(store.path) as mine:
            mine.add_job(make_definition("in the child"), by="ada", now=START)

    assert in_child(act) == 0
    store.add_job(make_definition("after"), by="ada", now=START)
    assert [job.name for job in store.jobs()[0]] == ["after", "before", "in the child"]
    assert store.verify() == []


def test_a_forked_child_that_has_not_let_go_is_told(store: SqliteStore) -> None:
    def act() -> None:
        with pytest.raises(TenureError, match="before a fork"):
            store.jobs()
        store.close()
        store.forget_in_child()
        with pytest.raises(TenureError, match="closed"):
            store.jobs()

    assert in_child(act) == 0
    assert store.jobs() == ((), None)


def test_what_is_forgotten_is_never_closed(tmp_path: Path) -> None:
    """An interpreter that ends normally after a fork leaves the parent's log alone."""
    script = f"""
import os, sys
from tenure.store.sqlite import SqliteStore
from testkit.factories import START, make_definition
store = SqliteStore.create({str(tmp_path / "t.db")!r}, profile_id="p", now=START)
store.add_job(make_definition("kept"), by="ada", now=START)
seen, done = os.pipe()
child = os.fork()
if child == 0:
    os.read(seen, 1)
    store.forget_in_child()
    del store
    sys.exit(0)
store.jobs()
os.write(done, b"!")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert os.path.exists({str(tmp_path / "t.db-wal")!r})
store.add_job(make_definition("more"), by="ada", now=START)
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with SqliteStore.open(tmp_path / "t.db") as store:
        assert len(store.jobs()[0]) == 2
