"""What goes wrong once must not stay wrong for ever: no run stays claimed, no owner stays idle.

Each of these was once a way to wedge an owner, found by injecting the fault.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import Conflict, StoreBlocked, TenureError
from tenure.domain.job import Call, Command, Definition, Job, Runner
from tenure.domain.omission import Omission
from tenure.domain.ownership import OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.request import Requester, RequestKind, RequestState
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.host.capabilities import ProbeAnswer
from tenure.host.processes import own_identity
from tenure.runtime.dispatch.recovery import LOST_TRACK_AFTER_S
from tenure.runtime.ownership import keeper, term
from tenure.runtime.ownership.waker import Waker
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from testkit.factories import make_process
from waiting import DEADLINE, eventually

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as made:
        yield made


def add(cluster: Cluster, action: Command | Call | None = None) -> Job:
    wants = Definition(
        name="job",
        schedule=every_schedule(timedelta(minutes=1), ANCHOR),
        action=action or Command(argv=("true",)),
    )
    return cluster.profile.store.add_job(wants, by="test", now=cluster.clock.now())


def runs(cluster: Cluster) -> tuple[Run, ...]:
    return cluster.profile.store.runs(RunFilter())[0]


def turn_until(cluster: Cluster, node: Node, state: RunState) -> Run:
    def reached() -> list[Run]:
        if not (found := [r for r in runs(cluster) if r.state is state]):
            node.turn()
        return found

    return eventually(reached, f"a run that is {state}")[0]


def once(real: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Fails the first time, and works from then on."""
    left = [error]

    def called(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return real(*args, **kwargs)

    return called


def test_a_take_that_was_cut_short_is_ended_and_taken_anew(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.node("a")
    real = term.identity.commit_term
    monkeypatch.setattr(
        term.identity, "commit_term", once(real, OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        node.look()
    assert cluster.profile.store.ownership().process == node.id
    node.look()
    cluster.clock.advance(2)
    node.look()
    assert node.owns
    add(cluster)
    cluster.clock.advance(60)
    turn_until(cluster, node, RunState.SUCCEEDED)


def test_a_term_whose_end_could_not_be_written_is_ended_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.node("a")
    cluster.settle()
    store = node.scheduler.profile.store
    monkeypatch.setattr(store, "end_term", once(store.end_term, StoreBlocked("held")))
    node.scheduler.keeper.stop("told to")
    assert cluster.profile.store.ownership().hold is OwnershipState.HELD
    node.look()
    assert cluster.profile.store.terms()[-1].ended_at is not None


def test_what_comes_before_the_first_claim_is_repeated_until_it_is_done(cluster: Cluster) -> None:
    called: list[int] = []

    def on_owning(authority: object) -> None:
        called.append(1)
        if len(called) < 3:
            raise StoreBlocked("held by another process")

    node = cluster.node("a", on_owning=on_owning)
    add(cluster)
    cluster.clock.advance(61)
    for _ in range(2):
        with pytest.raises(StoreBlocked):
            node.look()
        node.turn()
        assert runs(cluster) == ()
    node.look()
    assert len(called) == 3
    assert node.standing is ProcessStatus.OWNER
    turn_until(cluster, node, RunState.SUCCEEDED)


def test_an_owner_that_can_never_begin_does_not_keep_the_place(cluster: Cluster) -> None:
    def on_owning(authority: object) -> None:
        raise Conflict("the profile belongs to another app")

    first = cluster.node("a", on_owning=on_owning)
    with pytest.raises(Conflict):
        first.look()
    first.look()
    assert cluster.profile.store.ownership().hold is OwnershipState.VACANT
    second = cluster.node("b")
    second.look()
    assert second.owns


@pytest.mark.parametrize("where", ["spec", "_watch"])
def test_a_command_that_cannot_be_started_ends_and_frees_its_slot(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    node = cluster.node("a")
    cluster.settle()
    add(cluster)
    runner = node.scheduler._commands
    part = runner if where == "_watch" else runner._environment
    monkeypatch.setattr(part, where, once(getattr(part, where), OSError(24, "EMFILE")))
    cluster.clock.advance(60)
    state = RunState.NEVER_RAN if where == "_watch" else RunState.FAILED
    ended = turn_until(cluster, node, state)
    assert ended.reason
    assert runner.active() == 0
    monkeypatch.undo()
    cluster.clock.advance(60)
    turn_until(cluster, node, RunState.SUCCEEDED)


def test_a_run_that_could_not_be_entered_never_ran_and_the_others_are_entered(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.node("a")
    cluster.settle()
    add(cluster)
    runner = node.scheduler._commands
    monkeypatch.setattr(
        runner, "submit", once(runner.submit, RuntimeError("can't start new thread"))
    )
    cluster.clock.advance(60)
    assert "can't start" in turn_until(cluster, node, RunState.NEVER_RAN).reason
    cluster.clock.advance(60)
    turn_until(cluster, node, RunState.SUCCEEDED)


def test_a_run_that_only_keeps_a_slot_is_settled_and_its_slot_freed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken by the runner, and then lost there: the net sees that it is not in hand."""
    node = cluster.node("a")
    cluster.settle()
    add(cluster)
    runner = node.scheduler._commands
    with monkeypatch.context() as patched:
        patched.setattr(runner, "_spawn", lambda run, wants: None)
        cluster.clock.advance(60)
        node.turn()
        eventually(lambda: not runner.runs(), "the run to be lost")
    assert runner.active() == 1
    node.look()
    cluster.clock.advance(LOST_TRACK_AFTER_S)
    node.look()
    turn_until(cluster, node, RunState.NEVER_RAN)
    assert runner.active() == 0


def test_a_run_that_was_lost_sight_of_is_settled(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.node("a")
    cluster.settle()
    add(cluster)
    with monkeypatch.context() as patched:
        patched.setattr(node.scheduler._commands, "submit", lambda run, wants: None)
        cluster.clock.advance(60)
        node.turn()
    assert [r.state for r in runs(cluster)] == [RunState.CLAIMED]
    node.look()
    cluster.clock.advance(LOST_TRACK_AFTER_S / 2)
    node.look()
    node.turn()
    assert [r.state for r in runs(cluster)] == [RunState.CLAIMED]
    cluster.clock.advance(LOST_TRACK_AFTER_S)
    node.look()
    turn_until(cluster, node, RunState.NEVER_RAN)


def test_a_hand_over_that_was_withdrawn_hands_nothing_over(cluster: Cluster) -> None:
    """C7: a deadline that is checked in the accepting transaction."""
    first, _ = cluster.node("a"), cluster.node("b")
    cluster.settle()
    store = cluster.profile.store
    request = store.create_request(
        kind=RequestKind.HAND_OVER,
        key="k",
        requester=Requester(pid=1),
        now=cluster.clock.now(),
        deadline=timedelta(seconds=30),
    )
    first.turn()
    store.resolve_request(
        request.id,
        RequestState.WITHDRAWN,
        authority=None,
        now=cluster.clock.now(),
        answer="changed my mind",
    )
    first.look()
    assert first.owns
    assert store.ownership().process == first.id


def test_a_function_that_runs_for_long_is_seen_running(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first commit that was to say so failed."""
    entered, release = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        release.wait(DEADLINE)

    node = cluster.node("a", functions={"app:f": work}, app="app")
    cluster.settle()
    add(cluster, Call(target="app:f", runner=Runner.THREAD))
    cluster.clock.advance(60)
    node.turn()
    assert entered.wait(DEADLINE)
    cluster.clock.advance(1)
    store = node.scheduler.profile.store
    monkeypatch.setattr(store, "note_started", once(store.note_started, StoreBlocked("held")))
    with pytest.raises(StoreBlocked):
        node.turn()
    turn_until(cluster, node, RunState.RUNNING)
    release.set()
    turn_until(cluster, node, RunState.SUCCEEDED)


def test_a_holder_that_could_not_be_watched_is_watched_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alarm = Waker()
    me = make_process("holder")
    holder = replace(me, evidence=replace(me.evidence, identity=own_identity()))
    with monkeypatch.context() as patched:
        fails = once(alarm._selector.register, OSError(12, "Cannot allocate memory"))
        patched.setattr(alarm._selector, "register", fails)
        alarm.watch(holder)
        assert not alarm.is_watching, "nothing would tell its death"
        alarm.watch(holder)
    assert alarm.is_watching
    alarm.close()


def test_the_keepers_thread_survives_whatever_a_look_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY_S", 0.01)
    with Cluster(tmp_path) as cluster:
        node = cluster.node("a")
        looked = threading.Event()
        errors: list[BaseException] = [RecursionError("deep"), TenureError("x"), OSError("y")]

        def look() -> float:
            if errors:
                raise errors.pop()
            looked.set()
            return 0.01

        monkeypatch.setattr(node.scheduler.keeper, "look", look)
        node.scheduler.keeper.thread.start()
        assert looked.wait(DEADLINE)
        node.scheduler.keeper.stop("done")


def test_a_probe_that_hangs_holds_up_only_the_job_that_needs_it(cluster: Cluster) -> None:
    """C8: a job that requires a capability is held while its probe says denied."""
    asked, release = threading.Event(), threading.Event()
    answers = iter([ProbeAnswer.DENIED, ProbeAnswer.GRANTED])

    def probe(name: str) -> ProbeAnswer:
        asked.set()
        release.wait(DEADLINE)
        return next(answers)

    cluster.write_toml('[[owner]]\nexecutable = "/opt/gateway"\n')
    node = cluster.node("a", executable="/opt/gateway")
    node.scheduler.context.probes._ask = probe
    cluster.settle()
    assert cluster.profile.store.ownership().authoritative
    store = cluster.profile.store
    add(cluster)
    wants = Definition(
        name="needs",
        schedule=every_schedule(timedelta(minutes=1), ANCHOR),
        action=Command(argv=("true",)),
        requires=("fda",),
    )
    needs = store.add_job(wants, by="test", now=cluster.clock.now())
    cluster.clock.advance(60)
    node.turn()
    assert turn_until(cluster, node, RunState.SUCCEEDED).job_name == "job"
    assert asked.wait(DEADLINE)
    assert [r for r in runs(cluster) if r.job == needs.id] == []
    release.set()
    held = wait_for_held(cluster, node, needs)
    assert "denies" in held.reason
    cluster.clock.advance(31)
    node.look()

    def freed() -> bool:
        node.look()
        node.turn()
        return not store.omissions(job=needs.id, only_open=True)[0]

    eventually(freed, "what was held to be taken up")
    assert [r.job_name for r in runs(cluster) if r.job == needs.id] == ["needs"]


def wait_for_held(cluster: Cluster, node: Node, job: Job) -> Omission:
    def held() -> tuple[Omission, ...]:
        if not (found := cluster.profile.store.omissions(job=job.id, only_open=True)[0]):
            node.turn()
        return found

    return eventually(held, f"{job.name} to be held")[0]
