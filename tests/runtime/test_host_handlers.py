"""A logging handler of the host that stands still: its reader was stopped, say."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.domain.run import Result, RunState
from testkit.cluster import Cluster
from waiting import DEADLINE, eventually


class StandsStill(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.stands, self.released = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "owner of" in record.getMessage():
            self.stands.set()
            self.released.wait(DEADLINE)


@pytest.fixture
def handler() -> Iterator[StandsStill]:
    made, logger = StandsStill(), logging.getLogger("tenure.keeper")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(made)
    yield made
    made.released.set()
    logger.removeHandler(made)
    logger.setLevel(before)


def test_an_owner_claims_though_its_taking_cannot_be_said(
    tmp_path: Path, handler: StandsStill
) -> None:
    with Cluster(tmp_path) as cluster:
        node = cluster.node("owner")

        def look() -> None:
            while not handler.stands.is_set():
                node.look()

        keeper = threading.Thread(target=look)
        keeper.start()
        try:
            assert handler.stands.wait(DEADLINE)
            authority = node.scheduler.keeper.authority
            assert authority is not None
            assert node.scheduler.dispatcher.owns(authority)
        finally:
            handler.released.set()
            keeper.join()
        eventually(lambda: node.owns, "it to own")


class Writes(logging.Handler):
    """Finds out whether others may write at the moment at which something is logged."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.free: list[bool] = []

    def emit(self, record: logging.LogRecord) -> None:
        other = sqlite3.connect(self.database, timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            self.free.append(True)
        except sqlite3.OperationalError:
            self.free.append(False)
        finally:
            other.close()


def test_nothing_is_logged_inside_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the handler stands still, the store would be blocked for every process."""
    logger = logging.getLogger("tenure.dispatcher")
    with Cluster(tmp_path) as cluster:
        node = cluster.node("owner")
        cluster.settle()
        handler = Writes(node.scheduler.profile.folder.database)
        monkeypatch.setattr(logger, "level", logging.INFO)
        monkeypatch.setattr(logger, "handlers", [handler])
        monkeypatch.setattr(logger, "_cache", {})
        node.scheduler.dispatcher.inbox.report(
            Result(
                run="none",
                attempt=1,
                process=node.id,
                state=RunState.SUCCEEDED,
                at=cluster.clock.now(),
            )
        )
        node.turn()
    assert handler.free == [True], "that the end of no run that is known was not taken"
