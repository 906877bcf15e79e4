"""Another file in the database's place is never written to, by whatever verb (C1, C11).

SQLite finds the write-ahead log by its name, so a write by an open connection would go into the
log of a database that it does not belong to, and damage it. Each write looks first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure.domain.errors import CorruptStore
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.request import RequestKind
from tenure.domain.run import Run, Start
from tenure.store.contract import PurgeLimits, RunFilter
from tenure.store.sqlite import SqliteStore
from testkit.factories import (
    REQUESTER,
    START,
    after,
    claim_one,
    ended,
    make_definition,
    make_process,
    own,
)


class World:
    """A store with an owner, a job and a run under way, and what is to lie in its place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tenure.db"
        self.store = SqliteStore.create(self.path, profile_id="p", now=START)
        self.authority: Authority = own(self.store)
        self.job = self.store.add_job(make_definition(), by="ada", now=START)
        self.run: Run = claim_one(self.store, self.authority, self.job, after(minutes=1))
        self.other = folder / "other.db"
        self.store.backup(self.other)
        self.away = folder / "away.db"

    def files(self) -> dict[str, bytes]:
        """Of whatever lies at the path, and its log."""
        names = [self.path, Path(f"{self.path}-wal"), self.other, self.away]
        return {path.name: path.read_bytes() for path in names if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


# -- what other programs do to it --------------------------------------------------------------
def rename_over(world: World) -> None:
    os.replace(world.other, world.path)


def swap(world: World) -> None:
    world.path.rename(world.away)
    shutil.copy(world.other, world.path)


def delete(world: World) -> None:
    world.path.unlink()


def move_away(world: World) -> None:
    world.path.rename(world.away)


def link_to_another(world: World) -> None:
    world.path.rename(world.away)
    world.path.symlink_to(world.other)


def make_a_folder_of_it(world: World) -> None:
    world.path.rename(world.away)
    world.path.mkdir()


def replace_with_its_log(world: World) -> None:
    """A restore that removes the log too, as it should."""
    os.replace(world.other, world.path)
    for suffix in ("-wal", "-shm"):
        Path(f"{world.path}{suffix}").unlink(missing_ok=True)


REPLACEMENTS = [
    rename_over,
    swap,
    delete,
    move_away,
    link_to_another,
    make_a_folder_of_it,
    replace_with_its_log,
]


# -- what a process writes ---------------------------------------------------------------------
def claims(world: World) -> None:
    world.store.claim(world.authority, [], after(minutes=2))


def starts(world: World) -> None:
    start = Start(run=world.run.id, attempt=1, at=START, identity=None)
    world.store.start(world.authority, [start])


def finishes(world: World) -> None:
    world.store.finish([ended(world.run)], after(minutes=2))


def takes(world: World) -> None:
    own(world.store, act=OwnershipAction.TAKE_BY_FORCE)


def makes_progress(world: World) -> None:
    world.store.record_progress(world.authority, 1.0, after(minutes=2))


def ends_its_term(world: World) -> None:
    world.store.end_term(world.authority, act=OwnershipAction.STEP_DOWN, why="a test", now=START)


def adds(world: World) -> None:
    world.store.add_job(make_definition("second"), by="ada", now=START)


def joins(world: World) -> None:
    world.store.join(make_process("desktop"))


def purges(world: World) -> None:
    world.store.purge(PurgeLimits(runs_per_job=1, days=1, events=1), after(days=400))


def asks(world: World) -> None:

    world.store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=REQUESTER,
        now=START,
        deadline=after(minutes=1) - START,
        job=world.job.id,
    )


def several(world: World) -> None:
    with world.store.batch():
        finishes(world)
        claims(world)


WRITES = [
    claims,
    starts,
    finishes,
    takes,
    makes_progress,
    ends_its_term,
    adds,
    joins,
    purges,
    asks,
    several,
]


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_no_verb_writes_into_another_file(world: World, replace: Callable[[World], None]) -> None:
    replace(world)
    before = world.files()
    for write in WRITES:
        with pytest.raises(CorruptStore, match="nothing was changed"):
            write(world)
        assert world.files() == before, write.__name__


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_closing_writes_nothing_into_another_file(
    world: World, replace: Callable[[World], None]
) -> None:
    """The last connection that closes would copy its log into the file at the path, and remove
    the log there."""
    replace(world)
    before = world.files()
    world.store.close()
    assert world.files() == before


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_fork_writes_nothing_into_another_file(
    world: World, replace: Callable[[World], None]
) -> None:
    """Connections are closed as a fork begins, and opened again when they are next used."""
    replace(world)
    before = world.files()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(CorruptStore, match="nothing was changed"):
        adds(world)
    assert world.files() == before


def test_a_database_that_was_replaced_between_fork_and_use_is_not_opened(world: World) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    rename_over(world)
    before = world.files()
    with pytest.raises(CorruptStore, match="nothing was changed"):
        world.store.runs(RunFilter())
    with pytest.raises(CorruptStore, match="nothing was changed"):
        adds(world)
    assert world.files() == before


def test_the_database_back_in_its_place_is_written_again(world: World) -> None:
    move_away(world)
    with pytest.raises(CorruptStore):
        adds(world)
    world.away.rename(world.path)
    adds(world)
    assert world.store.job("second").definition.name == "second"
