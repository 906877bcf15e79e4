"""A command that outlives its owner has no more time than it had: its start counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tenure.domain.job import Command, Definition
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import eventually

HOUR = timedelta(hours=1)


def turn_until(cluster: Cluster, node: Node, state: RunState) -> Run:
    def reached() -> tuple[Run, ...]:
        node.turn()
        return cluster.profile.store.runs(RunFilter(states=frozenset({state})))[0]

    return eventually(reached, f"a run that is {state}")[0]


def test_an_adopted_command_is_timed_from_its_start(tmp_path: Path) -> None:
    """C6: 59 minutes under its first owner, and one and a second under the next."""
    with Cluster(tmp_path) as cluster:
        first, second = cluster.node("a"), cluster.node("b")
        wants = Definition(
            name="long",
            schedule=every_schedule(24 * HOUR, cluster.clock.now()),
            action=Command(argv=("sleep", "600"), cwd="/"),
            timeout=HOUR,
        )
        cluster.profile.store.add_job(wants, by="test", now=cluster.clock.now())
        cluster.settle()
        cluster.clock.advance(24 * HOUR)
        started = turn_until(cluster, first, RunState.RUNNING)
        cluster.clock.advance(timedelta(minutes=59))
        first.scheduler._commands.close()  # as its process dies: its runner watches no more
        cluster.kill(first)
        second.look()
        assert second.owns
        adopted = cluster.profile.store.run(started.id)
        assert (adopted.state, adopted.holder) == (RunState.RUNNING, second.id)
        cluster.clock.advance(61)
        ended = turn_until(cluster, second, RunState.TIMED_OUT)
        assert ended.id == started.id
        assert "timed out after" in ended.reason
