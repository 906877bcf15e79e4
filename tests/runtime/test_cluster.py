"""Several schedulers, one profile, a clock that the test moves: who owns, and what it may run."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.audit.reader import audit_store
from tenure.domain.errors import InvalidInput
from tenure.domain.event import EventKind
from tenure.domain.job import Call, CatchUp, Definition, Job, Runner
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import GIVES_WAY_FOR, OwnershipAction, OwnershipState
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.policy.evidence import ChainLink
from tenure.domain.process import ProcessStatus
from tenure.domain.request import Request, Requester, RequestKind, RequestState
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.host.processes import identity_of
from tenure.runtime.members import OBSERVE_EVERY_S
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import DEADLINE, eventually

POLICY = """
[[owner]]
executable = "/opt/gateway"

[[owner]]
executable = "/opt/desktop"
after = "5m"
"""
ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
Make = Callable[..., Cluster]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[AbstractContextManager[Any]] = []

    def cluster(**options: Any) -> Cluster:
        one = Cluster(tmp_path, **options)
        made.append(one)
        return one

    yield cluster
    for one in made:
        one.__exit__(None, None, None)


CALLED: list[str] = []
FUNCTIONS = {"app:work": lambda **args: CALLED.append("work")}
CARRIES: dict[str, Any] = {"functions": FUNCTIONS, "app": "app"}


def gateway(cluster: Cluster, **options: Any) -> Node:
    return cluster.node("gateway", executable="/opt/gateway", **CARRIES, **options)


def desktop(cluster: Cluster, **options: Any) -> Node:
    return cluster.node("desktop", executable="/opt/desktop", **CARRIES, **options)


def add(cluster: Cluster, seconds: float = 60, **fields: Any) -> Job:
    wants = Definition(
        name=fields.pop("name", "work"),
        schedule=every_schedule(timedelta(seconds=seconds), ANCHOR),
        action=Call(target="app:work", runner=Runner.THREAD),
        **fields,
    )
    return cluster.profile.store.add_job(wants, by="test", now=cluster.clock.now())


def runs(cluster: Cluster, **where: Any) -> tuple[Run, ...]:
    return cluster.profile.store.runs(RunFilter(**where))[0]


def finish_all(cluster: Cluster, node: Node) -> None:
    """Let the callables that were entered end, and record that."""

    def over() -> bool:
        if not runs(cluster, states=ACTIVE):
            return True
        node.turn()
        return False

    eventually(over, "the end of every run")


def ask(
    cluster: Cluster, kind: RequestKind = RequestKind.TRIGGER, key: str = "k", **what: Any
) -> Request:
    return cluster.profile.store.create_request(
        kind=kind,
        key=key,
        requester=Requester(pid=1, uid=0),
        now=cluster.clock.now(),
        deadline=what.pop("deadline", timedelta(seconds=30)),
        **what,
    )


def test_in_an_open_profile_the_first_owns_and_the_second_waits(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    assert (first.standing, second.standing) == (ProcessStatus.OWNER, ProcessStatus.CANDIDATE)
    assert cluster.profile.store.ownership().authoritative is False


def test_who_is_not_named_is_refused_and_told_why(make: Make) -> None:
    """C2 Authorised before acquired."""
    cluster = make(toml=POLICY)
    stranger = cluster.node("stranger", executable="/opt/other")
    cluster.settle()
    assert stranger.standing is ProcessStatus.REFUSED
    assert "/opt/gateway" in stranger.why
    assert cluster.profile.store.ownership().hold is OwnershipState.VACANT


def test_a_dead_owner_is_succeeded_at_the_next_look(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    cluster.kill(first)
    second.look()
    assert second.owns
    term = cluster.profile.store.terms()[0]
    assert (term.term, term.how) == (2, OwnershipAction.TAKE_FROM_DEAD)


def test_a_fallback_waits_its_time_and_the_wait_survives_a_restart(make: Make) -> None:
    cluster = make(toml=POLICY)
    early = desktop(cluster)
    cluster.settle()
    assert early.standing is ProcessStatus.CANDIDATE
    cluster.clock.advance(200)
    cluster.kill(early)
    late = desktop(cluster)
    late.look()
    assert not late.owns
    cluster.clock.advance(101)
    late.look()
    assert late.owns
    assert not cluster.profile.store.ownership().authoritative


def test_sleep_does_not_count_for_a_fallback(make: Make) -> None:
    """``after`` counts awake time."""
    cluster = make(toml=POLICY)
    node = desktop(cluster)
    cluster.settle()
    cluster.clock.suspend(3600)
    node.look()
    assert not node.owns


def test_the_better_one_is_handed_the_ownership_after_ten_seconds_of_life(make: Make) -> None:
    cluster = make(toml=POLICY)
    low = desktop(cluster)
    cluster.settle()
    cluster.clock.advance(301)
    cluster.settle()
    assert low.owns
    high = gateway(cluster)
    cluster.settle()
    assert low.owns
    cluster.clock.advance(11)
    low.look()
    assert not low.owns
    cluster.clock.advance(1)
    cluster.settle()
    assert high.owns
    assert low.standing is ProcessStatus.CANDIDATE


def test_protected_fires_are_held_under_a_fallback_and_run_once_the_gateway_is_back(
    make: Make,
) -> None:
    """C8, C5: held stays open; an authoritative owner makes it a run or missed."""
    cluster = make(toml=POLICY)
    job = add(cluster, protected=True, catch_up=CatchUp.LATEST)
    low = desktop(cluster)
    cluster.settle()
    cluster.clock.advance(301)
    cluster.settle()
    cluster.clock.advance(180)
    cluster.settle()
    assert runs(cluster) == ()
    (held,), _ = cluster.profile.store.omissions(job=job.id)
    assert (held.kind, held.open) == (OmissionKind.HELD, True)
    high = gateway(cluster)
    cluster.settle()
    cluster.clock.advance(11)
    cluster.settle()
    cluster.clock.advance(1)
    cluster.settle()
    assert high.owns
    finish_all(cluster, high)
    (run,) = runs(cluster)
    assert run.state is RunState.SUCCEEDED
    assert run.process == high.id
    assert run.fire_time == held.first + (held.count - 1) * timedelta(minutes=1)
    (resolved,), _ = cluster.profile.store.omissions(job=job.id)
    assert not resolved.open
    assert low.standing is ProcessStatus.CANDIDATE


def test_a_deposed_owner_claims_nothing_when_it_wakes(make: Make) -> None:
    """C3 Fenced: whoever holds a stale claim, and however late it wakes."""
    cluster = make()
    first, second = cluster.node("a", **CARRIES), cluster.node("b", **CARRIES)
    add(cluster)
    cluster.settle()
    stale = cluster.profile.store.ownership().authority
    assert stale is not None
    cluster.profile.store.end_term(
        stale, act=OwnershipAction.STEP_DOWN, why="forced", now=cluster.clock.now()
    )
    second.look()
    assert second.owns
    assert first.owns  # so it believes
    cluster.clock.advance(61)
    first.turn()
    assert runs(cluster) == ()
    kinds = [e.kind for e in cluster.profile.store.events(limit=1000)]
    assert EventKind.CLAIM_REFUSED in kinds
    first.look()
    assert not first.owns
    second.turn()
    assert [r.process for r in runs(cluster)] == [second.id]
    finish_all(cluster, second)


def test_an_owner_that_the_policy_drops_steps_down_at_once(make: Make) -> None:
    """C11 Step down when in doubt; a policy change reaches the running owner at once."""
    cluster = make(toml=POLICY)
    high = gateway(cluster)
    cluster.settle()
    assert high.owns
    cluster.write_toml('[[owner]]\nexecutable = "/opt/elsewhere"\n')
    high.look()
    assert not high.owns
    assert high.standing is ProcessStatus.REFUSED
    assert cluster.profile.store.ownership().hold is OwnershipState.VACANT


def test_a_policy_that_still_admits_keeps_the_term(make: Make) -> None:
    cluster = make(toml=POLICY)
    high = gateway(cluster)
    add(cluster)
    cluster.settle()
    cluster.write_toml(POLICY + '\n[[owner]]\nexecutable = "/opt/third"\n')
    cluster.clock.advance(61)
    high.look()
    high.turn()
    assert high.owns
    assert cluster.profile.store.ownership().term == 1
    finish_all(cluster, high)
    assert len(runs(cluster)) == 1


def test_an_emptied_profile_toml_changes_nothing(make: Make) -> None:
    cluster = make(toml=POLICY)
    high, other = gateway(cluster), cluster.node("x", executable="/opt/other")
    cluster.settle()
    cluster.write_toml("")
    cluster.settle()
    assert high.owns
    assert other.standing is ProcessStatus.REFUSED
    cluster.profile.refresh_policy("test", cluster.clock.now())
    warning = cluster.profile.file_warning
    assert warning is not None
    assert "profile_file_" in warning.code


def test_a_trigger_is_executed_by_the_owner(make: Make) -> None:
    """C7 Delegate or refuse: accepting a trigger and claiming its run is one commit."""
    cluster = make(toml=POLICY)
    high = gateway(cluster)
    job = add(cluster, protected=True)
    cluster.settle()
    request = ask(cluster, job=job.id)
    high.turn()
    answered = cluster.profile.store.request(request.id)
    assert answered.run is not None
    finish_all(cluster, high)
    assert cluster.profile.store.run(answered.run).process == high.id
    assert cluster.profile.store.request(request.id).state is RequestState.DONE


def test_a_trigger_of_a_protected_job_is_refused_by_a_fallback(make: Make) -> None:
    cluster = make(toml=POLICY)
    low = desktop(cluster)
    job = add(cluster, seconds=86400, protected=True)
    cluster.settle()
    cluster.clock.advance(301)
    cluster.settle()
    request, queued = ask(cluster, job=job.id), ask(cluster, key="q", job=job.id, queued=True)
    low.turn()
    refused = cluster.profile.store.request(request.id)
    assert refused.state is RequestState.REFUSED
    assert "authoritative" in refused.answer
    assert refused.remedy
    assert cluster.profile.store.request(queued.id).state is RequestState.PENDING
    assert runs(cluster) == ()


def test_a_trigger_past_its_deadline_runs_nothing(make: Make) -> None:
    cluster = make()
    job = add(cluster, seconds=86400)
    request = ask(cluster, job=job.id)
    cluster.clock.advance(31)
    node = cluster.node("a", **CARRIES)
    cluster.settle()
    assert node.owns
    assert cluster.profile.store.request(request.id).state is RequestState.EXPIRED
    assert runs(cluster) == ()


def hand_over(cluster: Cluster, owner: Node, key: str = "k", **what: Any) -> Request:
    """Ask, and let the owner answer."""
    request = ask(cluster, kind=RequestKind.HAND_OVER, key=key, **what)
    owner.turn()
    owner.look()
    return cluster.profile.store.request(request.id)


def test_a_hand_over_is_done_when_the_successor_holds_the_term(make: Make) -> None:
    """C7: a request is `done` only when its effect has happened."""
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    request = hand_over(cluster, first)
    assert request.state is RequestState.ACCEPTED
    assert second.id in request.answer
    first.look()
    assert not first.owns
    second.look()
    assert second.owns
    request = cluster.profile.store.request(request.id)
    assert request.state is RequestState.DONE
    assert second.id in request.answer


def test_a_hand_over_to_a_candidate_that_dies_is_refused_and_the_next_owns(make: Make) -> None:
    cluster = make()
    first, second, third = (cluster.node(name) for name in "abc")
    cluster.settle()
    request = hand_over(cluster, first, to_process=second.id)
    third.look()
    assert not third.owns  # the place is kept
    cluster.kill(second)
    third.look()
    assert third.owns  # without waiting for the reservation to run out
    request = cluster.profile.store.request(request.id)
    assert request.state is RequestState.REFUSED
    assert f"{second.id} did not take the term; {third.id} took" in request.answer
    assert request.remedy


def test_a_hand_over_that_no_process_takes_up_expires(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    request = hand_over(cluster, first)
    cluster.kill(first)
    cluster.kill(second)
    store = cluster.profile.store
    cluster.clock.advance(31)
    assert store.expire_requests(cluster.clock.now()) == 1
    request = store.request(request.id)
    assert request.state is RequestState.EXPIRED
    assert "no process took" in request.answer


def test_two_hand_overs_in_a_row_leave_no_gap(make: Make) -> None:
    """The place is kept for a process that has just let go of it itself."""
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    for key, owner, heir in (("1", first, second), ("2", second, first), ("3", first, second)):
        hand_over(cluster, owner, key)
        owner.look()
        heir.look()
        assert heir.owns
        assert not owner.owns


def test_a_hand_over_to_a_fallback_whose_wait_is_not_over_is_refused(make: Make) -> None:
    """The policy outranks a request."""
    cluster = make(toml=POLICY)
    first, fallback = gateway(cluster), desktop(cluster)
    cluster.settle()
    for key, named in (("1", None), ("2", fallback.id)):
        request = hand_over(cluster, first, key, to_process=named)
        assert request.state is RequestState.REFUSED
        assert "only after 5m" in request.answer
        assert "profile.toml" in request.remedy
        assert first.owns
    assert cluster.profile.store.ownership().term == 1


def test_a_fallback_does_not_give_way_to_a_better_one_that_could_not_take(make: Make) -> None:
    toml = (
        POLICY.replace('after = "5m"', 'after = "1h"')
        + '\n[[owner]]\nexecutable = "/opt/other"\nafter = "5m"\n'
    )
    cluster = make(toml=toml)
    last = cluster.node("other", executable="/opt/other", **CARRIES)
    cluster.settle()
    cluster.clock.advance(301)
    cluster.settle()
    assert last.owns
    desktop(cluster)
    for _ in range(4):
        cluster.clock.advance(10)
        cluster.settle()
        assert last.owns


@contextlib.contextmanager
def launcher_of(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """A living process above the node, which its evidence calls the gateway."""
    with subprocess.Popen(["sleep", "600"]) as launcher:
        identity = identity_of(launcher.pid)
        assert identity is not None
        member = node.scheduler.member
        link = ChainLink(pid=launcher.pid, executable="/opt/gateway", start=identity.start)
        chain = (member.evidence.chain[0], link, *member.evidence.ancestors())
        member.evidence = replace(member.evidence, chain=chain)
        try:
            yield launcher
        finally:
            launcher.kill()


def test_an_owner_whose_launcher_has_ended_hands_over_at_once(make: Make) -> None:
    """C8: what vouched for it is gone; one whose chain is whole need not live for long first."""
    cluster = make(toml=POLICY)
    orphan = desktop(cluster)
    with launcher_of(orphan) as launcher:
        cluster.settle()
        assert cluster.profile.store.ownership().authoritative
        whole = gateway(cluster)
        cluster.settle()
        assert orphan.owns
        launcher.kill()
        launcher.wait()
        best = OwnerCapabilities(authoritative=True)
        recheck = orphan.scheduler.context.recheck
        assert not recheck(best).authoritative  # before the next protected claim
        orphan.look()
        assert not orphan.owns
        whole.look()
        assert whole.owns
        found = cluster.profile.store.process(orphan.id).evidence.ancestors()[0]
        assert found.ended_at == cluster.clock.now()
        assert found.pid == launcher.pid


def test_an_owner_whose_launcher_has_ended_goes_on_only_as_a_fallback(make: Make) -> None:
    cluster = make(toml=POLICY)
    orphan = desktop(cluster)
    job = add(cluster, seconds=10, protected=True)
    with launcher_of(orphan) as launcher:
        cluster.settle()
        launcher.kill()
        launcher.wait()
        cluster.clock.advance(10)
        orphan.turn()  # it has not looked yet: the claim itself is refused
        assert runs(cluster, job=job.id) == ()
        orphan.look()
        assert orphan.owns
        current = cluster.profile.store.ownership()
        assert (current.authoritative, current.rule) == (False, 1)


def test_a_hand_over_to_the_owner_itself_is_done(make: Make) -> None:
    cluster = make()
    only = cluster.node("a")
    cluster.settle()
    request = hand_over(cluster, only, to_process=only.id)
    assert (request.state, only.owns) == (RequestState.DONE, True)


def test_a_process_that_stops_is_no_candidate_while_its_runs_end(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    second.scheduler.keeper.stop("its process stops")
    first.look()
    assert second.standing is ProcessStatus.REFUSED
    assert hand_over(cluster, first).state is RequestState.REFUSED
    assert first.owns


def test_a_hand_over_to_nobody_is_refused(make: Make) -> None:
    cluster = make()
    only = cluster.node("a")
    cluster.settle()
    request = ask(cluster, kind=RequestKind.HAND_OVER)
    only.turn()
    only.look()
    assert only.owns
    refused = cluster.profile.store.request(request.id)
    assert refused.state is RequestState.REFUSED
    assert "tenure status" in refused.remedy


def test_a_hung_owner_is_replaced_where_the_profile_says_so(make: Make) -> None:
    """C9: a due fire unclaimed for 30 s of awake time is hung."""
    cluster = make(toml='hung = "replace"\n')
    first, second = cluster.node("a", **CARRIES), cluster.node("b", **CARRIES)
    add(cluster, seconds=10)
    cluster.settle()
    cluster.clock.advance(29)
    second.look()
    assert not second.owns
    cluster.clock.suspend(600)
    second.look()
    assert not second.owns  # nobody makes progress asleep
    cluster.clock.advance(31)
    second.look()
    assert second.owns
    first.turn()
    assert all(r.process == second.id for r in runs(cluster))


def test_a_hung_owner_is_only_reported_by_default(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a", **CARRIES), cluster.node("b", **CARRIES)
    add(cluster, seconds=10)
    cluster.settle()
    cluster.clock.advance(600)
    second.look()
    assert first.owns
    assert not second.owns


def test_an_owner_whose_threads_all_run_on_is_replaced(make: Make) -> None:
    """C9: it looks at the clock still, and can run nothing that is due any more."""
    cluster = make(toml='hung = "replace"\n[slots]\ncallables = 1\n')
    ends, begun = threading.Event(), threading.Semaphore(0)

    def hangs(**args: Any) -> None:
        begun.release()
        ends.wait(DEADLINE)

    first = cluster.node("a", functions={"app:work": hangs}, app="app")
    second = cluster.node("b", **CARRIES)
    add(cluster, seconds=10, timeout=timedelta(seconds=5))
    cluster.settle()
    for _ in range(2):  # the slot, and the one thread more that replaces it
        cluster.clock.advance(10)
        first.turn()
        assert begun.acquire(timeout=DEADLINE), "the function to be entered"
        cluster.clock.advance(5.1)
        first.turn()  # out of time
        first.turn()  # recorded
    assert [r.state for r in runs(cluster)] == [RunState.TIMED_OUT] * 2
    for _ in range(4):
        cluster.clock.advance(10)
        first.turn()
        first.look()
    assert first.owns
    assert len(runs(cluster)) == 2
    second.look()
    assert second.owns
    second.turn()
    finish_all(cluster, second)
    assert runs(cluster)[0].state is RunState.SUCCEEDED
    ends.set()


def test_a_clock_that_was_in_2036_for_a_minute_stops_nothing(make: Make) -> None:
    """C5, C13: after a backward step planning restarts from now; claimed instants do not
    repeat."""
    cluster = make()
    node = cluster.node("a", **CARRIES)
    add(cluster, seconds=60)
    cluster.settle()
    cluster.clock.advance(61)
    node.turn()
    finish_all(cluster, node)
    ten_years = timedelta(days=3650)
    cluster.clock.step(ten_years)
    node.turn()
    cluster.clock.advance(60)
    node.turn()
    finish_all(cluster, node)
    cluster.clock.step(-ten_years)
    node.turn()
    before = {r.fire_time for r in runs(cluster)}
    for _ in range(3):
        cluster.clock.advance(60)
        node.turn()
        finish_all(cluster, node)
    after = [r.fire_time for r in runs(cluster)]
    assert len(after) == len(set(after)) == len(before) + 3
    kinds = [e.facts.get("kind") for e in cluster.profile.store.events(limit=1000)]
    assert "step_forward" in kinds
    assert "step_backward" in kinds


def test_the_owner_of_a_database_that_was_replaced_stops_claiming(make: Make) -> None:
    """Before each claim batch: is the file it writes the file at the path?"""
    cluster = make()
    node = cluster.node("a", **CARRIES)
    add(cluster)
    cluster.settle()
    database = cluster.profile.folder.database
    aside = database.rename(database.with_suffix(".moved"))
    cluster.clock.advance(61)
    node.turn()
    node.look()
    assert not node.owns
    assert node.scheduler.failure is not None
    aside.rename(database)
    assert runs(cluster) == ()


def test_a_process_without_the_code_is_refused_ownership(make: Make) -> None:
    cluster = make()
    add(cluster)
    bare = cluster.node("serve")
    cluster.settle()
    assert bare.standing is ProcessStatus.REFUSED
    assert "--app" in bare.why


def test_what_a_dead_owner_had_entered_is_lost_and_said_so(make: Make) -> None:
    """C4: a crash between claim and start is proved or recorded as lost, never run again."""
    import threading

    release = threading.Event()
    cluster = make()
    slow = {"functions": {"app:work": lambda: release.wait(DEADLINE)}, "app": "app"}
    first, second = cluster.node("a", **slow), cluster.node("b", **slow)
    add(cluster)
    cluster.settle()
    cluster.clock.advance(61)
    first.turn()
    assert len(runs(cluster, states=ACTIVE)) == 1
    cluster.kill(first)
    second.look()
    second.look()
    second.turn()
    (run,) = runs(cluster)
    assert run.state is RunState.LOST
    assert run.process == first.id
    release.set()


def test_a_job_that_cannot_be_read_stops_no_other(make: Make) -> None:
    """As where an upgrade of the system's zones leaves out the one that a job names."""
    import sqlite3

    cluster = make()
    node = cluster.node("a", **CARRIES)
    good, bad = add(cluster), add(cluster, name="bad")
    cluster.settle()
    with contextlib.closing(sqlite3.connect(cluster.profile.folder.database)) as db, db:
        old = "UPDATE job_revisions SET definition = replace(definition, ?, ?) WHERE job = ?"
        assert db.execute(old, ('"timezone":"UTC"', '"timezone":"Old/Gone"', bad.id)).rowcount
    node.scheduler.profile.store._db.definitions.clear()
    asked = ask(cluster, job=bad.id)
    cluster.clock.advance(61)
    node.turn()
    finish_all(cluster, node)
    assert {run.job for run in runs(cluster)} == {good.id}
    answered = cluster.profile.store.request(asked.id)
    assert answered.state is not RequestState.PENDING
    told = [e for e in cluster.profile.store.events(limit=1000) if e.kind is EventKind.WARNING]
    assert [(e.job, e.facts["code"]) for e in told] == [(bad.id, "unreadable_job")]
    assert node.scheduler.dispatcher.turn() > 0  # and it is not looked at without a pause


def test_a_job_that_cannot_be_read_is_said_once_and_loses_no_fire(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """C5, C12: its fires are accounted for once it is mended."""
    import sqlite3

    cluster = make()
    node = cluster.node("a", **CARRIES)
    bad = add(cluster, catch_up=CatchUp.ALL)
    cluster.settle()
    store = cluster.profile.store
    swap = "UPDATE job_revisions SET definition = replace(definition, ?, ?)"
    with contextlib.closing(sqlite3.connect(cluster.profile.folder.database)) as db, db:
        assert db.execute(swap, ('"timezone":"UTC"', '"timezone":"Old/Gone"')).rowcount
    for one in (store, node.scheduler.profile.store):
        one._db.definitions.clear()
    for _ in range(5):
        cluster.clock.advance(61)
        node.turn()
    assert runs(cluster) == ()
    assert sum("cannot be read" in r.message for r in caplog.records) == 1
    found = store.job(bad.id)
    assert found.damage is not None
    assert found.watermark == bad.watermark
    with pytest.raises(InvalidInput):
        store.edit_job(
            bad.id, 1, found.definition.with_changes(tags=("x",)), by="ada", now=cluster.clock.now()
        )
    store.edit_job(bad.id, 1, bad.definition.with_changes(tags=("x",)), by="ada",
                   now=cluster.clock.now())  # fmt: skip
    for _ in range(10):
        node.turn()
        finish_all(cluster, node)
        cluster.clock.advance(1)
    assert len(runs(cluster)) == 5
    assert audit_store(store, cluster.clock.now()).clean


def test_a_cancel_is_answered_for_good(make: Make) -> None:
    import threading

    release = threading.Event()
    cluster = make()
    slow = {"functions": {"app:work": lambda: release.wait(DEADLINE)}, "app": "app"}
    node = cluster.node("a", **slow)
    add(cluster)
    cluster.settle()
    cluster.clock.advance(61)
    node.turn()
    (run,) = runs(cluster, states=ACTIVE)
    first = ask(cluster, kind=RequestKind.CANCEL, run=run.id)
    node.turn()
    assert cluster.profile.store.request(first.id).state is RequestState.DONE
    finish_all(cluster, node)
    (run,) = runs(cluster)
    assert run.state is RunState.CANCELLED
    late = ask(cluster, kind=RequestKind.CANCEL, run=run.id, key="late")
    node.turn()
    refused = cluster.profile.store.request(late.id)
    assert refused.state is RequestState.REFUSED
    assert "cancelled" in refused.answer
    assert refused.remedy
    release.set()


def test_no_change_of_state_is_said_twice(make: Make) -> None:
    cluster = make()
    cluster.node("a")
    cluster.node("b")
    cluster.settle()
    before = len(cluster.profile.store.events(limit=1000))
    cluster.settle(10)
    assert len(cluster.profile.store.events(limit=1000)) == before


def test_an_owner_keeps_history_and_live_locks_within_bounds(make: Make) -> None:
    cluster = make(toml="[retention]\nruns = 3\n")
    node, gone = cluster.node("a", **CARRIES), cluster.node("b", **CARRIES)
    add(cluster, seconds=30)
    cluster.settle()
    cluster.kill(gone)
    for _ in range(6):
        cluster.clock.advance(30)
        node.turn()
        finish_all(cluster, node)
    node.look()
    node.look()
    assert len(runs(cluster)) <= 4
    assert [p.name for p in cluster.profile.folder.live.iterdir()] == [node.id]


def test_a_protected_retry_waits_for_the_gateway_without_a_busy_loop(make: Make) -> None:
    """C8: the store itself refuses such a claim, for each attempt."""
    failing = {"functions": {"app:work": lambda: 1 / 0}, "app": "app"}
    cluster = make(toml=POLICY)
    high = cluster.node("gateway", executable="/opt/gateway", **failing)
    low = cluster.node("desktop", executable="/opt/desktop", **failing)
    job = add(cluster, protected=True, retries=1, backoff=timedelta(seconds=5))
    cluster.settle()
    cluster.clock.advance(60)
    high.turn()
    wait_for_state(cluster, high, RunState.RETRYING)
    cluster.kill(high)
    cluster.settle()
    cluster.clock.advance(301)
    cluster.settle()
    assert low.owns
    events = len(cluster.profile.store.events(limit=1000))
    waits = [low.scheduler.dispatcher.turn() for _ in range(5)]
    assert all(wait > 0 for wait in waits[1:])
    assert len(cluster.profile.store.events(limit=1000)) == events
    assert [r.attempt for r in runs(cluster, job=job.id)] == [1]
    again = cluster.node("gateway", executable="/opt/gateway", **failing)
    cluster.settle()
    cluster.clock.advance(11)
    cluster.settle()
    cluster.clock.advance(1)
    cluster.settle()
    assert again.owns
    wait_for_state(cluster, again, RunState.FAILED)
    first = min(runs(cluster, job=job.id), key=lambda r: r.claimed_at)
    assert (first.attempt, first.process) == (2, again.id)


def wait_for_state(cluster: Cluster, node: Node, state: RunState) -> None:
    def reached() -> bool:
        if runs(cluster, states=frozenset({state})):
            return True
        node.turn()
        return False

    eventually(reached, f"a run that is {state}")


def test_an_owner_that_was_made_to_let_go_lets_the_others_go_first(make: Make) -> None:
    cluster = make()
    first, second = cluster.node("a"), cluster.node("b")
    cluster.settle()
    end_term(cluster)
    first.look()
    assert not first.owns
    second.look()
    assert second.owns


def test_an_owner_that_was_made_to_let_go_does_not_wait_for_one_that_does_not_take(
    make: Make,
) -> None:
    """C11: never leaves an eligible candidate waiting longer than a second."""
    cluster = make()
    first, _ = cluster.node("a"), cluster.node("b")
    cluster.settle()
    end_term(cluster)
    first.look()
    cluster.clock.advance(GIVES_WAY_FOR.total_seconds())
    first.look()
    assert first.owns


def test_an_owner_that_was_made_to_let_go_and_is_alone_owns_again_at_once(make: Make) -> None:
    cluster = make()
    only = cluster.node("a")
    cluster.settle()
    end_term(cluster)
    only.look()
    assert only.owns
    assert cluster.profile.store.ownership().term == 2


def end_term(cluster: Cluster) -> None:
    """As `tenure owner release` does, without a successor."""
    held = cluster.profile.store.ownership().authority
    assert held is not None
    cluster.profile.store.end_term(
        held, act=OwnershipAction.STEP_DOWN, why="release", now=cluster.clock.now()
    )


def test_an_idle_owner_notices_that_it_is_no_longer_admitted(tmp_path: Path) -> None:
    """C11: nothing is due, nothing is written; its lock is gone all the same."""
    path = tmp_path / "gateway.lock"
    with Cluster(tmp_path / "home", toml=f'[[owner]]\nholds = "{path}"\n') as cluster:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            node = cluster.node("gateway")
            cluster.settle()
            assert node.owns
        cluster.clock.advance(1.0)
        node.look()
        assert node.owns  # evidence is not read at every look
        cluster.clock.advance(OBSERVE_EVERY_S)
        node.look()
        assert not node.owns
        assert node.standing is ProcessStatus.REFUSED
