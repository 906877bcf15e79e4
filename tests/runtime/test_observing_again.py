"""C8: a protected claim stands on what was read last, also where that is just being read."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.policy.evidence import Evidence
from testkit.cluster import Cluster
from waiting import DEADLINE

AUTHORITATIVE = OwnerCapabilities(authoritative=True)
POLICY = '[[owner]]\nexecutable = "/opt/gateway"\n'


def test_who_asks_while_another_thread_reads_waits_for_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper reads, and is held up; meanwhile the dispatcher is about to claim."""
    reading, go = threading.Event(), threading.Event()
    with Cluster(tmp_path, toml=POLICY) as cluster:
        node = cluster.node("gateway", executable="/opt/gateway")
        cluster.settle()
        member, context = node.scheduler.member, node.scheduler.context
        seen = member._observe
        cluster.clock.advance(60)
        assert context.recheck(AUTHORITATIVE).authoritative

        def slowly(**options: Any) -> Evidence:
            reading.set()
            assert go.wait(DEADLINE)
            found = seen(**options)
            link = replace(found.chain[0], executable="/opt/other")
            return replace(found, executable="/opt/other", chain=(link, *found.chain[1:]))

        monkeypatch.setattr(member, "_observe", slowly)
        cluster.clock.advance(60)
        said: list[bool] = []
        looks = threading.Thread(target=member.observe_again)
        claims = threading.Thread(
            target=lambda: said.append(context.recheck(AUTHORITATIVE).authoritative)
        )
        looks.start()
        assert reading.wait(DEADLINE)
        claims.start()
        claims.join(0.2)
        assert said == [], "it would claim on what was seen a minute ago"
        go.set()
        for thread in (looks, claims):
            thread.join(DEADLINE)
        assert said == [False]


def test_what_could_not_be_read_is_read_at_the_next_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster(tmp_path, toml=POLICY) as cluster:
        node = cluster.node("gateway", executable="/opt/gateway")
        cluster.settle()
        member = node.scheduler.member

        def fails(**options: Any) -> Evidence:
            raise OSError("too many open files")

        cluster.clock.advance(60)
        monkeypatch.setattr(member, "_observe", fails)
        for _ in range(2):
            with pytest.raises(OSError, match="too many"):
                node.scheduler.context.recheck(AUTHORITATIVE)
