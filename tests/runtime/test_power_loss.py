"""Power fails at any point: what was acted on is in the database and in ``profile.id``.

Every write of real schedulers on a real profile is recorded, and the disk is built again as it
would be after a loss of power at each point: with what was synced alone, with all that was
written, with any part of it. See :mod:`powerloss`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from powerloss import WHY_NOT, Journal, State, recording
from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import ACTIVE, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.turn import Mandate
from tenure.runtime.ownership.term import HandOver
from tenure.store.contract import RunFilter
from tenure.store.folder import identity
from tenure.store.folder.layout import ProfileFolder
from tenure.store.sqlite import SqliteStore
from tenure.store.sqlite.ownership import OwnershipTable
from testkit.cluster import Cluster, Node
from waiting import eventually

EVERY = every_schedule(timedelta(minutes=1), datetime(2026, 1, 1, tzinfo=UTC))
FUNCTIONS: dict[str, Callable[..., Any]] = {"app:f": lambda: None}


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """Records from before the profile is made, and marks each act that relies on a commit."""
    folder = tmp_path / "profiles" / "test"
    folder.mkdir(mode=0o700, parents=True)
    with recording(folder) as made:
        _mark_acts(made, monkeypatch)
        yield made


def _mark_acts(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    open_gate, own, submit = GatedCommand.open_gate, Dispatcher.own, CallableRunner.submit
    take = OwnershipTable.take_ownership

    def opens(gated: GatedCommand) -> bool:
        journal.mark("command begins", (gated.run_id, gated.attempt))
        return open_gate(gated)

    def owns(dispatcher: Dispatcher, mandate: Mandate) -> None:
        journal.mark("claims under", mandate.authority.term)
        own(dispatcher, mandate)

    def submits(callables: CallableRunner, run: Any, *more: Any) -> None:
        journal.mark("function begins", run.id)
        submit(callables, run, *more)

    def takes(table: OwnershipTable, **what: Any) -> Authority:
        journal.mark("takes", what["new_term"])
        return take(table, **what)

    monkeypatch.setattr(GatedCommand, "open_gate", opens)
    monkeypatch.setattr(OwnershipTable, "take_ownership", takes)
    monkeypatch.setattr(Dispatcher, "own", owns)
    monkeypatch.setattr(CallableRunner, "submit", submits)


def live(home: Path, journal: Journal) -> None:
    """Two owners, one after the other by a hand-over, a third after the second has died; each
    runs a command and a function."""
    with Cluster(home) as cluster:
        store = cluster.profile.store
        for name, action in (
            ("command", Command(argv=("true",))),
            ("function", Call(target="app:f", runner=Runner.THREAD)),
        ):
            wants = Definition(name=name, schedule=EVERY, action=action)
            journal.mark("job", store.add_job(wants, by="test", now=cluster.clock.now()).id)
        first = cluster.node("first", functions=FUNCTIONS, app="app")
        second = cluster.node("second", functions=FUNCTIONS, app="app")
        cluster.settle()
        run_once(cluster, first, journal)
        assert first.scheduler.keeper._term.hand_over(HandOver(second.id, "for a test"))
        cluster.settle()
        assert second.owns
        run_once(cluster, second, journal)
        cluster.kill(second)
        cluster.clock.advance(10)
        cluster.settle()
        assert first.owns
        run_once(cluster, first, journal)
        assert [term.term for term in store.terms()] == [3, 2, 1]


def run_once(cluster: Cluster, node: Node, journal: Journal) -> None:
    store = cluster.profile.store
    before = len(store.runs(RunFilter())[0])
    cluster.clock.advance(60)

    def all_ended() -> bool:
        node.turn()
        return len(store.runs(RunFilter())[0]) == before + 2 and not store.counts().active_runs

    eventually(all_ended, "the end of both runs")
    for run in store.runs(RunFilter())[0]:
        assert run.state is RunState.SUCCEEDED, run
        journal.mark("ended", run.id)


def check(state: State, folder: Path) -> None:
    """What had been acted on before the crash is what the next owner finds."""
    folder.mkdir(mode=0o700)
    state.write_to(folder)
    database = folder / "tenure.db"
    if not database.exists():
        assert state.marks == ()
        return
    with SqliteStore.open(database) as store:
        for job in state.marked("job"):
            assert store.job(job).id == job
        runs = {run.id: run for run in store.runs(RunFilter())[0]}
        for run, attempt in state.marked("command begins"):
            assert run in runs, "a command began whose claim is not in the database"
            assert runs[run].state is not RunState.CLAIMED, "it began and is not 'started'"
            assert runs[run].attempt >= attempt
        for run in state.marked("function begins"):
            assert run in runs, "a function began whose claim is not in the database"
        for run in state.marked("ended"):
            assert runs[run].state not in ACTIVE, "its end was recorded and is gone"
        terms = {term.term for term in store.terms()}
        facts = store.facts()
        assert store.verify() == []
        assert facts.commits_missing == 0, "a good database is taken for an older copy"
    acted, taken = state.marked("claims under"), state.marked("takes")
    assert set(acted) <= terms, "a term was acted on that is not in the database"
    known = identity.read(ProfileFolder(name="test", home=folder, path=folder, key=(0, 0)))
    if taken:
        assert known is not None
        assert known.id == facts.profile_id
        assert known.reserved_term >= max(taken), "a term could be given out twice"
        assert known.term >= max(acted, default=0), "profile.id is behind a term acted on"
    if known is not None:
        # A database that is behind profile.id is taken for an old one, and no process may own.
        assert facts.term >= known.term


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "SQLite's writes are seen")
def test_what_was_acted_on_outlives_a_loss_of_power(tmp_path: Path, journal: Journal) -> None:
    """C1, C4: a term is never used twice, and a claim is durable before the first instruction of
    the job."""
    live(tmp_path, journal)
    journal.recording = False
    for number, state in enumerate(journal.crash_states(random.Random(20260301))):
        try:
            check(state, tmp_path / f"after {number}")
        except Exception as error:
            last = repr(journal.steps[state.after - 1])[:200]
            error.add_note(
                f"power failed after step {state.after} of {len(journal.steps)}, {last}; "
                f"of what was not synced, {state.kept} was kept"
            )
            raise
    assert number > 300, "states that differ"


def test_a_commit_is_synced_on_every_connection(tmp_path: Path) -> None:
    """The setting behind it, for a Python that hides SQLite's functions."""
    path = tmp_path / "tenure.db"
    with SqliteStore.create(path, profile_id="p", now=datetime.now(UTC)) as store:
        for readonly in (False, True):
            with SqliteStore.open(path, readonly=readonly) as other:
                for one in (store, other):
                    with one._db.reading() as db:
                        assert db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
