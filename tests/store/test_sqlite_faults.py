"""The disk fails in the middle of a verb: it happened whole, or it did not happen.

Each write, sync and truncation that a verb asks of the system fails in turn, once without having
been done and once although it was done; then each statement does. What a verb answered holds: one
that returned is on the disk, one that raised left nothing that its process acts on, and the
same verb succeeds when the disk is well again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from powerloss import WHY_NOT, Faults, failing
from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.planning.plan import Fire, Plan
from tenure.domain.run import Cause, Run, RunState, Start
from tenure.store.contract import RunFilter
from tenure.store.sqlite import SqliteStore
from testkit.factories import START, after, ended, make_definition, make_process, take

JOBS = 3


class World:
    """An owner with a few jobs, each with a run at its gate, on a copy of a database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore.open(path)
        held = self.store.ownership().authority
        assert held is not None
        self.authority: Authority = held
        self.runs: tuple[Run, ...] = self.store.runs(RunFilter())[0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each case starts from, made once."""
    path = tmp_path_factory.mktemp("template") / "tenure.db"
    with SqliteStore.create(path, profile_id="p", now=START) as store:
        for process in ("gateway", "desktop"):
            store.join(make_process(process))
        authority = take(store, "gateway", act=OwnershipAction.TAKE)
        for number in range(JOBS):
            store.add_job(make_definition(f"job {number}"), by="ada", now=START)
        claim(store, authority, minute=1)
    return path


def claim(store: SqliteStore, authority: Authority, minute: int) -> None:
    fire = after(minutes=minute)
    plans = [
        Plan(
            job=job.id,
            revision=1,
            was=job.watermark,
            watermark=fire,
            due_at=after(minutes=minute + 1),
            claims=(Fire(at=fire, cause=Cause.SCHEDULE),),
        )
        for job in store.jobs()[0]
    ]
    for made in store.claim(authority, plans, fire):
        assert len(made.runs) == 1


# -- the verbs, and whether they happened ------------------------------------------------------
def takes(world: World) -> None:
    take(world.store, "desktop", act=OwnershipAction.TAKE_BY_FORCE)


def claims(world: World) -> None:
    claim(world.store, world.authority, minute=2)


def starts(world: World) -> None:
    begun = [Start(run=run.id, attempt=1, at=START, identity=None) for run in world.runs]
    assert all(world.store.start(world.authority, begun))


def finishes(world: World) -> None:
    world.store.finish([ended(run) for run in world.runs], after(minutes=2))


def ends_its_term(world: World) -> None:
    act = OwnershipAction.HAND_OVER
    assert world.store.end_term(world.authority, act=act, why="a test", now=after(minutes=2))


def makes_a_turn(world: World) -> None:
    """As the dispatcher does: ends, starts and claims in one commit."""
    first, *others = world.runs
    with world.store.batch():
        world.store.finish([ended(first)], after(minutes=2))
        begun = [Start(run=run.id, attempt=1, at=START, identity=None) for run in others]
        assert all(world.store.start(world.authority, begun))
        claim(world.store, world.authority, minute=2)


def seen(store: SqliteStore) -> dict[str, Any]:
    """All that these verbs change."""
    runs = store.runs(RunFilter())[0]
    return {
        "ownership": store.ownership().authority,
        "terms": [(term.term, term.process, term.ended_at) for term in store.terms()],
        "runs": sorted((run.job_name, run.fire_time, run.state, run.holder) for run in runs),
        "watermarks": sorted((job.name, job.watermark) for job in store.jobs()[0]),
        "events": [(e.kind, e.term, e.process) for e in store.events(limit=1000)],
    }


VERBS = [takes, claims, starts, finishes, ends_its_term, makes_a_turn]
Verb = Callable[[World], None]


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Callable[[], Path]:
    """Gives a new copy of the template for each case."""
    count = 0

    def copy() -> Path:
        nonlocal count
        count += 1
        made = tmp_path / f"case {count}"
        made.mkdir()
        shutil.copy(template, made / "tenure.db")
        return made

    return copy


def outcome(verb: Verb, template: Path, folder: Callable[[], Path]) -> dict[str, Any]:
    """What is seen after a verb on a disk that is well."""
    world = World(folder() / "tenure.db")
    verb(world)
    found = seen(world.store)
    world.store.close()
    return found


def check(world: World, verb: Verb, crash: Path, before: Any, done: Any) -> None:
    """The verb was tried on a failing disk, which is well again."""
    raised, found = attempt(verb, world), seen(world.store)
    assert found == (before if raised else done), "what its process sees is what was answered"
    with SqliteStore.open(after_a_crash(world.path, crash)) as recovered:
        assert recovered.verify() == []
        kept = seen(recovered)
    if raised:
        assert kept in (before, done), "a part of it"
        verb(world)
        assert seen(world.store) == done, "once the disk is well"
    else:
        assert kept == done, "what was answered is on the disk"
    assert world.store.verify() == []
    world.store.close()


def attempt(verb: Verb, world: World) -> bool:
    """Whether it raised; only what a caller expects."""
    try:
        verb(world)
    except TenureError:
        return True
    return False


def after_a_crash(path: Path, folder: Path) -> Path:
    """The files as they are now, without those that die with the processes."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        if (path.parent / name).exists():
            shutil.copy(path.parent / name, folder / name)
    return folder / path.name


# -- the system's calls ------------------------------------------------------------------------
@dataclass
class Nth(Faults):
    """The n-th call fails, and with ``lasting`` those after it too."""

    nth: int
    code: int
    done: bool
    lasting: bool = False
    armed: bool = False
    calls: list[str] = field(default_factory=list)

    def before(self, call: str, name: str) -> int:
        if not self.armed or name.endswith("-shm"):
            return 0
        self.calls.append(f"{call} {name}")
        return 0 if self.done else self._fails()

    def after(self, call: str, name: str) -> int:
        return self._fails() if self.armed and self.done else 0

    def _fails(self) -> int:
        count = len(self.calls) - 1
        return self.code if count == self.nth or (self.lasting and count > self.nth) else 0


CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC)
"""They take turns from one call to the next."""


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "SQLite's writes are seen")
@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("verb", VERBS)
def test_each_call_of_the_system_fails(
    template: Path, folder: Callable[[], Path], verb: Verb, done: bool
) -> None:
    with SqliteStore.open(template, readonly=True) as store:
        before = seen(store)
    expected = outcome(verb, template, folder)
    nth, more = 0, True
    while more:
        place, faults = folder(), Nth(nth, CODES[nth % len(CODES)], done)
        with failing(place, faults):
            world = World(place / "tenure.db")

            def on_a_failing_disk(world: World, faults: Nth = faults) -> None:
                faults.armed = not faults.calls
                try:
                    verb(world)
                finally:
                    faults.armed = False

            check(world, on_a_failing_disk, place / "crashed", before, expected)
        more = len(faults.calls) > nth
        nth += 1
    assert nth > 3, "writes and a sync"


# -- statements --------------------------------------------------------------------------------
class Database:
    """SQLite's connection, one of whose statements fails."""

    def __init__(self, real: sqlite3.Connection, nth: int, code: int, way: str) -> None:
        self._real, self._nth, self._code, self._way = real, nth, code, way
        self.count = 0
        self.armed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, *arguments: Any) -> Any:
        return self._carry(self._real.execute, *arguments)

    def executemany(self, *arguments: Any) -> Any:
        return self._carry(self._real.executemany, *arguments)

    def _carry(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        if not self.armed or self.count - 1 != self._nth:
            return call(*arguments)
        self.armed = False
        if self._way == "done":
            call(*arguments)
        elif self._way == "given up" and self._real.in_transaction:
            self._real.execute("ROLLBACK")
        error = sqlite3.OperationalError("for a test")
        error.sqlite_errorcode = self._code
        raise error


@contextmanager
def failing_statement(world: World, nth: int, code: int, way: str) -> Iterator[Database]:
    connection = world.store._db
    real = connection._db
    assert real is not None
    faulty = Database(real, nth, code, way)
    connection._db = faulty  # type: ignore[assignment]
    try:
        yield faulty
    finally:
        connection._db = real


def failing_once(verb: Verb, nth: int, code: int, way: str, counts: list[int]) -> Verb:
    """The verb, whose n-th statement fails the first time that it is called."""

    def on_a_failing_disk(world: World) -> None:
        if counts:
            verb(world)
            return
        with failing_statement(world, nth, code, way) as faulty:
            try:
                verb(world)
            finally:
                counts.append(faulty.count)

    return on_a_failing_disk


STATEMENT_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


@pytest.mark.parametrize("way", ["not done", "given up"])
@pytest.mark.parametrize("verb", VERBS)
def test_each_statement_fails(
    template: Path, folder: Callable[[], Path], verb: Verb, way: str
) -> None:
    """``given up``: SQLite undid the whole transaction by itself, as it does on a full disk."""
    with SqliteStore.open(template, readonly=True) as store:
        before = seen(store)
    expected = outcome(verb, template, folder)
    nth, more = 0, True
    while more:
        place = folder()
        world = World(place / "tenure.db")
        counts: list[int] = []
        code = STATEMENT_CODES[nth % len(STATEMENT_CODES)]

        def on_a_failing_disk(
            world: World, nth: int = nth, code: int = code, counts: list[int] = counts
        ) -> None:
            if counts:
                verb(world)
                return
            with failing_statement(world, nth, code, way) as faulty:
                try:
                    verb(world)
                finally:
                    counts.append(faulty.count)

        check(world, on_a_failing_disk, place / "crashed", before, expected)
        more = counts[0] > nth
        nth += 1
    assert nth > 3


@pytest.mark.parametrize("verb", VERBS)
def test_a_commit_that_fails_having_happened(
    template: Path, folder: Callable[[], Path], verb: Verb
) -> None:
    """The store's answer is an error, and all of it is there: no part is."""
    expected = outcome(verb, template, folder)
    nth, seen_after = 0, None
    while seen_after != expected:
        world = World(folder() / "tenure.db")
        with failing_statement(world, nth, sqlite3.SQLITE_IOERR, "done") as faulty:
            assert attempt(verb, world)
            last = faulty.count
        seen_after = seen(world.store)
        nth += 1
        world.store.close()
    assert seen_after == expected
    assert nth == last, "its last statement is the commit"


def test_states_are_ends_or_beginnings(template: Path) -> None:
    """What the cases start from."""
    with SqliteStore.open(template, readonly=True) as store:
        runs = store.runs(RunFilter())[0]
        assert [run.state for run in runs] == [RunState.CLAIMED] * JOBS
