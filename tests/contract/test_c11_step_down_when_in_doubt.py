"""C11 Step down when in doubt. Same host: ownership lasts while the kernel says that its process
lives, so that takeover takes milliseconds and a slept laptop loses nothing. An owner that is no
longer admitted, or cannot reach its store, stops claiming at once.

With real processes, killed, frozen and measured: ``tests/real/test_handover.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tenure.domain.job import Call, Definition, Runner
from tenure.domain.ownership import OwnershipAction, OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Run
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from testkit.factories import each

Make = Callable[..., Cluster]

GATEWAY = '[[owner]]\nexecutable = "/opt/gateway"\n'
OTHERS = '[[owner]]\nexecutable = "/opt/others"\n'


def node(cluster: Cluster, name: str = "a") -> Node:
    return cluster.node(
        name, executable="/opt/gateway", functions={"app:work": lambda: None}, app="app"
    )


def add(cluster: Cluster) -> None:
    action = Call(target="app:work", runner=Runner.THREAD)
    wants = Definition(name="work", schedule=each(minutes=1), action=action)
    cluster.profile.store.add_job(wants, by="ada", now=cluster.clock.now())


def runs(cluster: Cluster) -> tuple[Run, ...]:
    return cluster.profile.store.runs(RunFilter())[0]


@pytest.mark.parametrize("hours", [1, 24 * 30])
def test_ownership_lasts_while_its_process_lives(hours: int, make: Make) -> None:
    """C11: ownership lasts while the kernel says that its process lives; a slept laptop loses
    nothing."""
    cluster = make(toml=GATEWAY)
    owner, candidate = node(cluster), node(cluster, "b")
    cluster.settle()
    cluster.clock.suspend(timedelta(hours=hours))
    for _ in range(3):
        candidate.look()
        candidate.turn()
    assert not candidate.owns
    owner.look()
    owner.turn()
    assert owner.owns
    assert cluster.profile.store.ownership().term == 1


def test_no_time_need_pass_for_a_takeover(make: Make) -> None:
    """C11: takeover takes milliseconds: one look, the clock standing still."""
    cluster = make(toml=GATEWAY)
    owner, candidate = node(cluster), node(cluster, "b")
    cluster.settle()
    cluster.kill(owner)
    candidate.look()
    assert candidate.owns
    assert cluster.profile.store.terms()[0].how is OwnershipAction.TAKE_FROM_DEAD


def test_an_owner_that_is_no_longer_admitted_stops_claiming_at_once(make: Make) -> None:
    """C11: An owner that is no longer admitted ... stops claiming at once."""
    cluster = make(toml=GATEWAY)
    owner = node(cluster)
    add(cluster)
    cluster.settle()
    cluster.write_toml(OTHERS)
    cluster.profile.refresh_policy("ada", cluster.clock.now())
    cluster.clock.advance(61)
    owner.turn()  # before its keeper has looked: the store refuses by the policy version
    assert runs(cluster) == ()
    owner.look()
    assert owner.standing is ProcessStatus.REFUSED
    assert cluster.profile.store.ownership().hold is OwnershipState.VACANT
    owner.turn()
    assert runs(cluster) == ()


def test_an_owner_that_cannot_reach_its_store_stops_claiming(make: Make) -> None:
    """C11: An owner that ... cannot reach its store, stops claiming at once."""
    cluster = make(toml=GATEWAY)
    owner = node(cluster)
    add(cluster)
    cluster.settle()
    database = cluster.profile.folder.database
    away = database.with_suffix(".away")
    database.rename(away)
    cluster.clock.advance(61)
    owner.turn()
    owner.look()
    assert not owner.owns
    away.rename(database)
    assert runs(cluster) == ()


def test_a_deposed_owner_claims_nothing_however_late_it_looks(make: Make) -> None:
    """C3, C11: it wakes after its term was taken away, and finds it gone."""
    cluster = make(toml=GATEWAY)
    owner, candidate = node(cluster), node(cluster, "b")
    add(cluster)
    cluster.settle()
    authority = cluster.profile.store.ownership().authority
    assert authority is not None
    now = cluster.clock.now()
    cluster.profile.store.end_term(
        authority, act=OwnershipAction.STEP_DOWN, why="taken away", now=now
    )
    candidate.look()
    assert candidate.owns
    cluster.clock.advance(61)
    owner.turn()
    assert runs(cluster) == ()
    owner.look()
    assert owner.standing is ProcessStatus.CANDIDATE
