"""C10 Provenance. Every run records the evidence of the process that ran it: ancestry chain, unit
or label, responsible process, executable, term, with what was unknown. It is observed, and said to
be so.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tenure.client.documents import to_json
from tenure.client.documents.runs import run_document
from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.run import FINAL, Run
from tenure.host.processes import observe
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from testkit.factories import each
from waiting import eventually

Make = Callable[..., Cluster]


def run_of(cluster: Cluster, node: Node) -> Run:
    """A run to its end: the clock stands just past the fire, the node takes turns."""
    cluster.clock.advance(61)

    def over() -> Run | None:
        node.turn()
        runs = cluster.profile.store.runs(RunFilter())[0]
        return runs[0] if runs and runs[0].state in FINAL else None

    found = eventually(over, "the end of the run")
    assert found is not None
    return found


def test_every_run_records_who_ran_it(make: Make) -> None:
    """C10: ancestry chain, unit or label, responsible process, executable, term, with what was
    unknown."""
    cluster = make()
    node = cluster.node("a", functions={"app:work": lambda: None}, app="app")
    cluster.settle()
    action = Call(target="app:work", runner=Runner.THREAD)
    wants = Definition(name="work", schedule=each(minutes=1), action=action)
    cluster.profile.store.add_job(wants, by="ada", now=cluster.clock.now())
    run = run_of(cluster, node)
    kept = cluster.profile.store.provenance(run.id)
    me = observe()
    assert (run.term, run.process) == (1, node.id)
    assert kept.identity == me.identity
    assert [link.pid for link in kept.chain] == [link.pid for link in me.chain]
    assert kept.chain[0].pid == os.getpid()
    assert (kept.executable, kept.uid, kept.cgroup) == (me.executable, me.uid, me.cgroup)
    assert kept.service == me.service
    assert kept.unknown == me.unknown


def test_it_is_told_with_the_run_as_observed(make: Make) -> None:
    """C10: It is observed, and said to be so; absent and unknown differ."""
    cluster = make()
    node = cluster.node("a", executable="/opt/gateway")
    cluster.settle()
    wants = Definition(
        name="work", schedule=each(minutes=1), action=Command(argv=("true",), cwd="/")
    )
    cluster.profile.store.add_job(wants, by="ada", now=cluster.clock.now())
    run = run_of(cluster, node)
    document = to_json(run_document(run, cluster.profile.store.provenance(run.id), None))
    evidence = document["evidence"]
    assert evidence["executable"] == "/opt/gateway"
    assert evidence["chain"][0]["pid"] == os.getpid()
    assert evidence["observed_at"]
    assert isinstance(evidence["unknown"], list)
    assert document["term"] == 1


def test_it_stays_after_the_process_has_gone(make: Make) -> None:
    cluster = make()
    node = cluster.node("a", functions={"app:work": lambda: None}, app="app")
    cluster.settle()
    action = Call(target="app:work", runner=Runner.THREAD)
    wants = Definition(name="work", schedule=each(minutes=1), action=action)
    cluster.profile.store.add_job(wants, by="ada", now=cluster.clock.now())
    run = run_of(cluster, node)
    before = cluster.profile.store.provenance(run.id)
    cluster.kill(node)
    other = cluster.node("b", executable="/opt/other", functions={}, app="app")
    cluster.settle()
    assert other.owns
    assert cluster.profile.store.provenance(run.id) == before
