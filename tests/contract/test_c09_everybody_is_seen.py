"""C9 Everybody is seen. ``status`` lists every scheduler-capable process of the profile, its
standing and why. More than one process that can execute, with no policy to tell them apart, is a
warning on every surface. So is an owner that makes no progress: a due fire unclaimed for 30 s of
awake time is ``hung``.

With a real owner that is frozen: ``tests/real/test_frozen.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tenure.client import health
from tenure.client.documents import to_json
from tenure.client.status import Status, read_status, status_document
from tenure.domain.process import ProcessStatus
from testkit.cluster import Cluster
from testkit.factories import make_definition

Make = Callable[..., Cluster]

POLICY = """
[[owner]]
executable = "/opt/gateway"

[[owner]]
executable = "/opt/desktop"
after = "5m"
"""


def look(cluster: Cluster) -> Status:
    return read_status(cluster.profile, cluster.clock.now())


def codes(status: Status) -> list[str]:
    return [warning.code for warning in status.warnings]


def test_status_lists_everybody_and_why(make: Make) -> None:
    """C9: every scheduler-capable process of the profile, its standing and why."""
    cluster = make(toml=POLICY)
    nodes = {
        "owner": cluster.node("gateway", executable="/opt/gateway"),
        "candidate": cluster.node("desktop", executable="/opt/desktop"),
        "refused": cluster.node("stranger", executable="/opt/other"),
        "observer": cluster.node("viewer", executable="/opt/gateway", executes=False),
    }
    cluster.settle()
    shown: dict[str, Any] = {
        p["id"]: p for p in to_json(status_document(look(cluster)))["processes"]
    }
    assert set(shown) == {node.id for node in nodes.values()}
    for standing, node in nodes.items():
        assert shown[node.id]["standing"] == standing
        assert shown[node.id]["why"], "and says why"
        assert shown[node.id]["life"] == "alive"
    assert "/opt/gateway" in shown[nodes["refused"].id]["why"]


def test_a_process_that_died_is_not_listed_as_there(make: Make) -> None:
    cluster = make(toml=POLICY)
    gateway = cluster.node("gateway", executable="/opt/gateway")
    desktop = cluster.node("desktop", executable="/opt/desktop")
    cluster.settle()
    cluster.kill(desktop)
    assert [p.process.id for p in look(cluster).health.present] == [gateway.id]


def test_several_that_may_execute_and_no_rule_is_a_warning(make: Make) -> None:
    """C9: More than one process that can execute, with no policy to tell them apart, is a
    warning."""
    cluster = make()
    cluster.node("a")
    cluster.settle()
    assert "open_policy_many_executors" not in codes(look(cluster))
    cluster.node("b")
    cluster.settle()
    (warning,) = (w for w in look(cluster).warnings if w.code == "open_policy_many_executors")
    assert "2 processes can execute" in warning.text
    assert warning.remedy
    cluster.write_toml(POLICY)
    cluster.settle()
    assert "open_policy_many_executors" not in codes(look(cluster))


def test_an_owner_without_progress_is_hung(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: a due fire unclaimed for 30 s of awake time is ``hung``; sleep does not count."""
    cluster = make()
    monkeypatch.setattr(health, "SystemClock", lambda: cluster.clock)
    owner = cluster.node("a")
    cluster.settle()
    cluster.profile.store.add_job(make_definition(), by="ada", now=cluster.clock.now())
    owner.turn()
    cluster.clock.advance(89)
    assert "hung" not in codes(look(cluster)), "29 seconds past the minute"
    cluster.clock.advance(2)
    assert "hung" in codes(look(cluster))
    assert owner.standing is ProcessStatus.OWNER, "it is told, not deposed"
    owner.turn()
    assert "hung" not in codes(look(cluster))


def test_a_machine_that_slept_has_no_hung_owner(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make()
    monkeypatch.setattr(health, "SystemClock", lambda: cluster.clock)
    owner = cluster.node("a")
    cluster.settle()
    cluster.profile.store.add_job(make_definition(), by="ada", now=cluster.clock.now())
    owner.turn()
    cluster.clock.suspend(timedelta(hours=8))
    assert "hung" not in codes(look(cluster))
