"""Announced fires: claimed in one commit, or told why not (C3, C4, C5, C8)."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from announcekit import PATIENCE, POLICY, World, commit_fails, in_threads

from tenure.audit import audit, render_report
from tenure.audit.reader import read_history
from tenure.domain.errors import CorruptStore, OutcomeUnknown
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.planning.external import Announced
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Cause, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.host.capabilities import ProbeAnswer as Said
from tenure.runtime.dispatch import external_fires
from tenure.runtime.dispatch.probes import Probes
from tenure.store.sqlite.database_file import Loss
from testkit.cluster import Node


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def named(tmp_path: Path) -> Iterator[World]:
    """A profile whose owner is the gateway, with the desktop as a fallback."""
    made = World(tmp_path, toml=POLICY)
    yield made
    made.close()


def asks(node: Node, ask: Callable[[str], Said]) -> Probes:
    """Have the OS answer so, to whoever of this process asks."""
    probes = node.scheduler.context.probes
    probes._ask = ask
    return probes


# -- claimed -------------------------------------------------------------------------------------


def test_a_fire_is_claimed_lent_and_recorded(world: World) -> None:
    node, job = world.owner(), world.add()
    fire = world.due()
    lent = world.issue(node, job, fire)
    claimed = world.run(lent)
    assert (claimed.state, claimed.cause, claimed.fire_time) == (
        RunState.CLAIMED,
        Cause.SCHEDULE,
        fire.fire,
    )
    assert (claimed.term, claimed.process, claimed.started_at) == (1, node.id, None)
    assert lent.enter()
    entered = world.clock.now()
    world.clock.advance(3)
    node.turn()
    assert world.run(lent).state is RunState.RUNNING
    lent.end(RunState.SUCCEEDED)
    node.turn()
    done = world.run(lent)
    assert (done.state, done.started_at, done.finished_at) == (
        RunState.SUCCEEDED,
        entered,
        world.clock.now(),
    )
    assert world.called == []
    report = audit(read_history(world.store, world.clock.now()))
    assert report.clean, "\n".join(render_report(report))


def test_a_failure_is_recorded_with_its_reason(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    assert lent.enter()
    lent.end(RunState.FAILED, "the script ended with 3")
    lent.end(RunState.SUCCEEDED)
    node.turn()
    done = world.run(lent)
    assert (done.state, done.reason) == (RunState.FAILED, "the script ended with 3")


def test_several_are_one_commit(world: World) -> None:
    node = world.owner()
    jobs = [world.add(f"job {n}") for n in range(3)]
    fire = world.due()
    mark = world.store.change_mark()
    answers = node.scheduler.external_fires.claim({job.id: fire for job in jobs})
    assert answers is not None
    assert all(answer.handle is not None for answer in answers.values())
    assert world.store.change_mark() == mark + 1
    assert node.scheduler.external_fires.claim({}) == {}


def test_who_does_not_own_claims_nothing(world: World) -> None:
    first, job = world.owner("a"), world.add()
    second = world.node("b")
    world.cluster.settle()
    fire = world.due()
    assert second.scheduler.external_fires.claim({job.id: fire}) is None
    assert world.runs() == ()
    assert world.issue(first, job, fire)


# -- not claimed, and why ------------------------------------------------------------------------


def test_the_same_fire_again_is_accounted_for(world: World) -> None:
    """C4."""
    node, job = world.owner(), world.add()
    fire = world.due()
    world.issue(node, job, fire)
    again = world.announce(node, job, fire)
    assert (again.handle, again.omitted, again.settled) == (None, None, True)
    assert "already accounted for" in again.why
    assert len(world.runs()) == 1


def test_a_fire_that_was_claimed_before_the_clock_was_set_back_is_settled(world: World) -> None:
    """C4, C5: claimed instants do not repeat."""
    node, job = world.owner(), world.add()
    fire = world.due()
    world.issue(node, job, fire).end(RunState.SUCCEEDED)
    node.turn()
    world.clock.step(-120)
    authority = world.store.ownership().authority
    assert authority is not None
    world.store.restart_planning(authority, world.clock.now())
    world.clock.advance(121)
    again = world.announce(node, job, fire)
    assert (again.handle, again.settled) == (None, True)
    assert "claimed before" in again.why
    assert len(world.runs()) == 1


def test_a_fire_that_is_yet_to_come_is_not_settled(world: World) -> None:
    node, job = world.owner(), world.add()
    ahead = Announced(fire=world.clock.now() + timedelta(seconds=1))
    early = world.announce(node, job, ahead)
    assert (early.handle, early.settled) == (None, False)
    world.clock.advance(1)
    assert world.issue(node, job, ahead)


def test_jobs_that_may_not_be_announced_stop_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, job, paused, broken = world.owner(), world.add(), world.add("p"), world.add("b")
    world.store.set_job_state(paused.id, JobState.PAUSED, by="ada", now=world.clock.now())
    here = world.store.add_job(
        Definition(
            name="here",
            schedule=every_schedule(timedelta(hours=1), world.clock.now()),
            action=Call(target="other:1"),
        ),
        by="ada",
        now=world.clock.now(),
    )
    store = node.scheduler.profile.store
    real = store.job

    def unreadable(ref: str) -> Any:
        if ref == broken.id:
            raise CorruptStore("its zone is gone from this machine")
        return real(ref)

    monkeypatch.setattr(store, "job", unreadable)
    fire = world.due()
    ids = (job.id, paused.id, here.id, broken.id, "j-gone")
    answers = node.scheduler.external_fires.claim(dict.fromkeys(ids, fire))
    assert answers is not None
    assert answers[job.id].handle is not None
    others = [answers[id] for id in ids[1:]]
    assert [(a.handle, a.settled) for a in others] == [(None, False)] * 4
    said = ["paused", "planned by Tenure", "zone is gone", "j-gone"]
    assert all(word in a.why for word, a in zip(said, others, strict=True))
    assert world.store.job(here.id).watermark == here.watermark


def test_what_passed_is_missed_and_while_a_run_is_active_a_fire_is_skipped(world: World) -> None:
    """C5."""
    node, job = world.owner(), world.add()
    lent = world.issue(node, job, world.due(passed=3))
    skipped = world.announce(node, job)
    assert (skipped.handle, skipped.omitted, skipped.settled) == (None, OmissionKind.SKIPPED, True)
    assert "still active" in skipped.why
    assert lent.enter()
    lent.end(RunState.SUCCEEDED)
    node.turn()
    assert world.issue(node, job)
    found = {o.kind: o.count for o in world.store.omissions(job=job.id)[0]}
    assert found == {OmissionKind.MISSED: 3, OmissionKind.SKIPPED: 1}


def test_a_commit_that_fails_lends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C4: the claim is on disk before the job's first instruction."""
    node, job = world.owner(), world.add()
    fire = world.due()
    with commit_fails(node, monkeypatch), pytest.raises(OutcomeUnknown):
        node.scheduler.external_fires.claim({job.id: fire})
    assert world.runs() == ()
    assert node.scheduler.dispatcher.runs() == frozenset()
    assert world.issue(node, job, fire)


def test_a_stale_owner_claims_nothing_and_learns_it(world: World) -> None:
    """C3: whoever holds a stale claim, and however late."""
    first, job = world.owner("a"), world.add()
    second = world.node("b")
    world.cluster.settle()
    world.depose()
    second.look()
    assert second.owns
    fire = world.due()
    assert first.scheduler.external_fires.claim({job.id: fire}) is None
    assert world.runs() == ()
    refused = [e for e in world.store.events(limit=1000) if e.kind is EventKind.CLAIM_REFUSED]
    assert [e.process for e in refused] == [first.id]
    first.look()
    assert not first.owns
    assert world.issue(second, job, fire).run.term == 2


def test_threads_that_announce_the_same_fire_get_one_run(world: World) -> None:
    """C4."""
    node, jobs = world.owner(), [world.add(f"job {n}") for n in range(4)]
    fire, answers = world.due(), []

    def announce(number: int) -> None:
        answers.append(node.scheduler.external_fires.claim({job.id: fire for job in jobs}))

    in_threads(6, announce)
    lent = [id for found in answers if found for id, answer in found.items() if answer.handle]
    assert sorted(lent) == sorted(job.id for job in jobs)
    assert len(world.runs()) == 4


def test_who_does_not_run_the_other_scheduler_must_not_own(world: World) -> None:
    """It could carry none of its jobs, and would keep one that can from owning."""
    world.add()
    serve = world.cluster.node("serve")
    carries = world.node("gateway")
    world.cluster.settle()
    assert serve.standing is ProcessStatus.REFUSED
    assert "'theirs' is planned by another scheduler" in serve.why
    assert carries.owns


def test_a_draining_owner_lends_nothing_more(world: World) -> None:
    node, job = world.owner(), world.add()
    mandate = node.scheduler.dispatcher._turns.mandate
    assert mandate is not None
    node.scheduler.dispatcher.drain()
    assert node.scheduler.external_fires.claim({job.id: world.due()}) is None
    node.scheduler.dispatcher.own(mandate)  # as a keeper does that was just looking
    assert node.scheduler.external_fires.claim({job.id: world.due()}) is None
    assert world.runs() == ()


def test_an_owner_whose_database_was_replaced_claims_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: not even in the file that it has open."""
    node, job = world.owner(), world.add()
    loss = Loss(text="the database was replaced", remedy="")
    monkeypatch.setattr(node.scheduler.profile.store, "loss", lambda: loss)
    assert node.scheduler.external_fires.claim({job.id: world.due()}) is None
    assert world.runs() == ()


# -- protected jobs ------------------------------------------------------------------------------


def test_protected_fires_are_held_under_a_fallback_and_run_once_the_gateway_is_back(
    named: World,
) -> None:
    """C8, C5: the latest of them runs, called by Tenure in the gateway."""
    job, low = named.add(protected=True), named.node("desktop")
    named.cluster.settle()
    named.clock.advance(301)
    named.cluster.settle()
    assert low.owns
    for _ in range(3):
        answer = named.announce(low, job)
        assert (answer.handle, answer.omitted, answer.settled) == (None, OmissionKind.HELD, True)
    (held,), _ = named.store.omissions(job=job.id)
    assert (held.count, held.open) == (3, True)
    high = named.node("gateway")
    named.cluster.settle()
    named.clock.advance(11)
    named.cluster.settle()
    named.clock.advance(1)
    named.cluster.settle()
    assert high.owns
    (run,) = named.turn_until(high, RunState.SUCCEEDED)
    assert (run.process, run.cause, run.fire_time) == (high.id, Cause.HELD, held.last)
    assert named.called == ["other:1"]
    assert named.store.job(job.id).state is JobState.ACTIVE
    report = audit(read_history(named.store, named.clock.now()))
    assert report.clean, "\n".join(render_report(report))


def test_what_a_protected_claim_stands_on_is_read_again(tmp_path: Path) -> None:
    """C8: evidence that can change is read again before such a claim."""
    path = tmp_path / "gateway.lock"
    world = World(tmp_path / "home", toml=f'[[owner]]\nholds = "{path}"\n')
    try:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            node = world.owner()
            plain, kept = world.add("plain"), world.add("kept", protected=True)
            fire = world.due()
            assert world.issue(node, kept, fire)
        fire = world.due()
        answers = node.scheduler.external_fires.claim({plain.id: fire, kept.id: fire})
        assert answers is not None
        assert answers[kept.id].omitted is OmissionKind.HELD
        assert answers[plain.id].handle is not None
    finally:
        world.close()


def test_a_denied_capability_holds_and_one_that_is_granted_again_frees(
    named: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8, also where somebody else but the keeper heard that the denial is over."""
    monkeypatch.setattr(external_fires, "PROBE_TIMEOUT_S", PATIENCE)
    node, job = named.owner(), named.add(requires=("read:/disk",))
    said = [Said.DENIED, Said.GRANTED]
    probes = asks(node, lambda name: said[0])
    denied = named.announce(node, job)
    assert (denied.omitted, "denies" in denied.why) == (OmissionKind.HELD, True)
    del said[0]
    named.clock.advance(61)
    probes.wait_for(["read:/disk"], named.clock.awake, lambda freed: None, PATIENCE)
    node.look()
    (run,) = named.turn_until(node, RunState.SUCCEEDED)
    assert run.cause is Cause.HELD


def test_a_probe_that_hangs_holds_up_its_own_job_only(
    named: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_fires, "PROBE_TIMEOUT_S", 0.05)
    released = threading.Event()

    def hangs(name: str) -> Said:
        assert released.wait(PATIENCE)
        return Said.GRANTED

    node, job, other = named.owner(), named.add(requires=("read:/disk",)), named.add("other")
    probes = asks(node, hangs)
    fire = named.due()
    answers = node.scheduler.external_fires.claim({job.id: fire, other.id: fire})
    assert answers is not None
    assert answers[other.id].handle is not None
    waits = answers[job.id]
    assert (waits.handle, waits.omitted, waits.settled) == (None, None, False)
    assert "read:/disk" in waits.why
    released.set()
    probes.wait_for(["read:/disk"], named.clock.awake, lambda freed: None, PATIENCE)
    assert named.issue(node, job, fire)
