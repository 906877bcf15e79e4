"""A logging handler of the host that stands still: its reader was stopped, say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.testing.cluster import Cluster
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
