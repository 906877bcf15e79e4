"""Hand-over, stopping, and a fair start, with processes that do so for real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from kit import Canary, Started, World, now, state_of

from freezing import freeze
from tenure.domain.ownership import OwnershipAction, OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Run, RunState
from tenure.runtime.commands.terminate import members_of
from waiting import eventually

pytestmark = pytest.mark.real


def two(world: World, **first: str) -> tuple[Started, Started]:
    """An owner and a candidate."""
    owner = world.scripted(**first)
    world.wait_owner(owner)
    candidate = world.serve()
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    return owner, candidate


def adopted(world: World, by: Started) -> Run:
    def look() -> Run | None:
        member, run = world.member(by), world.run()
        return run if member is not None and run.holder == member.id else None

    found = eventually(look, f"the adoption by pid {by.pid}")
    assert found is not None
    return found


def test_a_handed_over_run_stays_with_the_process_that_holds_it(
    world: World, canary: Canary
) -> None:
    """Hand-over ends the term at once; the old owner finishes its run, and ends it when asked."""
    go = world.folder / "go"
    owner, candidate = two(world)
    world.job(f"{canary.sing}; until test -e {go}; do sleep 0.05; done; exit 5")
    world.wait_run(RunState.RUNNING)
    canary.wait()
    said = world.tenure("owner", "hand-over")
    assert said.code == 0, said.err
    world.wait_owner(candidate)
    go.touch()
    run = world.wait_end()
    first, second = world.member(owner), world.member(candidate)
    assert first is not None
    assert second is not None
    assert (run.exit_code, run.holder, run.term) == (5, first.id, 1)
    assert world.ownership().term == 2
    assert canary.times == 1
    world.check_audit()


def test_hand_overs_in_a_row_are_each_done_when_the_command_returns(world: World) -> None:
    """C7, C11: `done` says that the successor holds the term, and nothing waits out a hold-off."""
    first, second = two(world)
    for owner, heir in ((first, second), (second, first), (first, second)):
        said = world.tenure("owner", "hand-over", "--json")
        assert said.code == 0, said.err
        assert said.json["request"]["state"] == "done"
        assert world.owns(heir)
        assert not world.owns(owner)
    before, *after = reversed(world.store.terms())
    for term in after:
        assert before.ended_at is not None
        assert term.taken_at - before.ended_at < timedelta(seconds=1)
        before = term
    world.check_audit()


def test_a_stopped_candidate_is_handed_nothing(world: World) -> None:
    owner, candidate = two(world)
    freeze(candidate.pid)
    said = world.tenure("owner", "hand-over")
    assert said.code == 3
    assert "stopped by a signal" in said.err
    assert f"kill -CONT {candidate.pid}" in said.err
    assert world.owns(owner)
    candidate.signal(signal.SIGCONT)
    released = world.tenure("owner", "release", "--json").json
    member = world.member(candidate)
    assert member is not None
    assert (released["candidate"], released["owner"]) == (member.id, member.id)
    assert released["term"] == 2


def test_a_cancel_reaches_the_process_that_holds_the_run(world: World, canary: Canary) -> None:
    """The new owner accepts it; the old one, which holds the run, carries it out."""
    owner, candidate = two(world)
    world.job(f"{canary.sing}; sleep 600")
    world.wait_run(RunState.RUNNING)
    canary.wait()
    assert world.tenure("owner", "hand-over").code == 0
    world.wait_owner(candidate)
    said = world.tenure("cancel", world.run().id, "--wait")
    assert said.code == 0, said.err
    first = world.member(owner)
    assert first is not None
    run = world.wait_end()
    assert (run.state, run.holder) == (RunState.CANCELLED, first.id)
    world.check_audit()


def test_terminated_while_a_command_runs_the_next_owner_adopts_and_cancels(
    world: World, canary: Canary
) -> None:
    """SIGTERM hands over at once, waits out its drain and leaves; cancel kills the whole group."""
    owner, candidate = two(world, SCRIPTED_DRAIN="0.5")
    world.job(f"{canary.sing}; echo before; sleep 600 & sleep 600; wait")
    world.wait_run(RunState.RUNNING)
    canary.wait()
    owner.signal(signal.SIGTERM)
    world.wait_owner(candidate)
    assert owner.wait_end() == 0
    assert world.store.terms()[1].ended_why == "received SIGTERM"
    run = adopted(world, candidate)
    assert run.identity is not None
    leader = run.identity
    members = eventually(
        lambda: len(found := members_of(leader)) >= 2 and found, "the command's children"
    )
    said = world.tenure("cancel", run.id, "--wait")
    assert said.code == 0, said.err
    run = world.wait_end()
    assert run.state is RunState.CANCELLED
    # Its shell's end is recorded; whom it left behind is ended after that.
    eventually(
        lambda: all(state_of(m.pid) in (None, "Z", "X") for m in members), "the whole group's end"
    )
    assert world.tenure("logs", run.id).out == "before\n"
    assert canary.times == 1
    world.check_audit()


def test_a_cancel_that_the_dead_owner_had_accepted_is_carried_out_by_the_next(
    world: World, canary: Canary
) -> None:
    owner, candidate = two(world)
    world.job(f"{canary.sing}; sleep 600")
    run = world.wait_run(RunState.RUNNING)
    canary.wait()
    world.freeze_outside_a_transaction(owner)
    world.store.request_cancel(run.id, now())
    owner.kill()
    world.wait_owner(candidate)
    run = world.wait_end()
    assert run.state is RunState.CANCELLED
    assert run.holder != run.process
    world.check_audit()


def test_an_adopted_command_is_timed_from_its_start_and_its_output_capped(
    make: Callable[..., World],
) -> None:
    world = make(toml='[retention]\nlog_size = "64KiB"\n')
    canary = Canary(world.folder)
    owner = world.scripted("opened")  # it dies there: nobody but the next can time the command
    world.wait_owner(owner)
    candidate = world.serve()
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    much = f"for n in $(seq 500); do echo {'x' * 500}; done"
    world.job(
        f"{canary.sing}; echo first; {much}; while :; do echo {'x' * 500}; sleep 0.001; done",
        timeout=timedelta(seconds=4),
    )
    canary.wait()
    assert owner.wait_end() == -signal.SIGKILL
    adopted(world, candidate)
    run = world.wait_end()
    assert run.state is RunState.TIMED_OUT
    assert run.started_at is not None
    assert run.finished_at is not None
    # And not from its adoption: see test_adopted_timeouts, with a clock that stands still.
    assert (run.finished_at - run.started_at).total_seconds() >= 3.9
    kept = sum(f.stat().st_size for f in (world.profile.folder.logs / run.id).glob("1.log*"))
    assert kept <= 2 * 64 * 1024
    shown = world.tenure("logs", run.id).out.splitlines()
    assert shown[0].startswith("[tenure: the first ")
    assert set(shown[2:-1]) == {"x" * 500}
    assert canary.times == 1
    world.check_audit()


def test_two_first_comers_make_one_profile(make: Callable[..., World]) -> None:
    world = make()
    pair = [world.serve(env={"TENURE_PROFILE": "fresh"}) for _ in range(2)]
    folder = world.home / "profiles" / "fresh"
    eventually(lambda: (folder / "profile.id").exists(), "the new profile")
    eventually(lambda: len(os.listdir(folder / "live")) == 2, "both to have joined")
    # The lock is held before the row is written.
    eventually(lambda: pids_of(world, "fresh") == {p.pid for p in pair}, "both to be in its status")
    assert [p.process.poll() for p in pair] == [None, None]
    assert world.tenure("--profile", "fresh", "audit").code == 0


def pids_of(world: World, profile: str) -> set[int]:
    said = world.tenure("--profile", profile, "status", "--json").json
    return {p["pid"] for p in said["processes"]}


@pytest.mark.timeout(180)
def test_started_at_the_same_instant_one_owns(world: World) -> None:
    """C1: ten races of two. A term that a loser reserved is never used: terms only grow."""
    for number in range(10):
        pair = [world.serve(), world.serve()]

        def one_owns(pair: list[Started] = pair) -> bool:
            rows = [world.member(p) for p in pair]
            standings = sorted(str(r.standing) for r in rows if r and r.why != "just joined")
            return standings == ["candidate", "owner"]

        eventually(one_owns, f"one owner and one candidate in race {number}")
        assert sum(world.owns(p) for p in pair) == 1
        for process in pair:
            # Frozen first, so that the loser does not take the winner's place.
            freeze(process.pid)
        for process in pair:
            process.kill()
    terms = [t.term for t in reversed(world.store.terms())]
    assert len(terms) == 10
    assert terms == sorted(set(terms))
    world.check_audit()


def test_the_candidate_owns_soon_after_the_owner_is_killed(world: World) -> None:
    """C11: takeover takes milliseconds, for the kernel wakes who waits for it. How many they are
    tells of the machine; that it was woken is told by its own looks being an hour apart."""
    owner = world.scripted()
    world.wait_owner(owner)
    eventually(lambda: world.ownership().progress_at, "the owner at work")
    took = []
    for _ in range(3):
        candidate = world.scripted(SCRIPTED_LOOK_EVERY="3600")
        world.wait_standing(candidate, ProcessStatus.CANDIDATE)
        at = time.monotonic()
        owner.kill()
        world.wait_owner(candidate)
        took.append(time.monotonic() - at)
        assert world.store.terms(limit=1)[0].how is OwnershipAction.TAKE_FROM_DEAD
        owner = candidate
    print("takeover after kill -9, seconds:", [round(t, 3) for t in took])
    world.check_audit()


def test_an_owner_that_leaves_alone_leaves_it_vacant(world: World) -> None:
    owner = world.serve()
    world.wait_owner(owner)
    owner.signal(signal.SIGTERM)
    assert owner.wait_end() == 0
    current = world.ownership()
    assert current.hold is OwnershipState.VACANT
    member = world.member(owner)
    assert member is not None
    assert member.left_at is not None
    assert not os.listdir(world.profile.folder.live)
