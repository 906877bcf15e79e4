"""C4, C6: the owner killed at each place where a command's life can be cut.

    claim ── spawn ── commit started ── open the gate ── job ── exit ── record
          ^        ^                 ^                 ^     ^       ^

A real owner kills itself there (scripted.py), a real ``tenure serve`` follows. Whatever the
place, the job's first instruction runs once or never, and the record says which.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

import pytest
from kit import Canary, Started, World

from tenure.domain.run import RunState
from tenure.runtime.commands.terminate import members_of
from waiting import eventually

pytestmark = pytest.mark.real

SLOW = os.environ.get("TENURE_SLOW") == "1"


def cut(world: World, place: str, line: str) -> tuple[Started, Started]:
    """An owner that claims the job and kills itself at the place; and the next owner."""
    first = world.scripted(place)
    world.wait_owner(first)
    world.job(line)
    assert first.wait_end() == -signal.SIGKILL
    second = world.serve()
    world.wait_owner(second)
    return first, second


@pytest.mark.parametrize("place", ["before_spawn", "before_started", "at_gate"])
def test_killed_before_the_gate_opens_it_never_ran(
    place: str, world: World, canary: Canary
) -> None:
    """C4: a crash between claim and start is proved ('never ran')."""
    cut(world, place, canary.sing)
    run = world.wait_end()
    assert run.state is RunState.NEVER_RAN
    assert "gate" in run.reason
    assert run.exit_code is None
    assert canary.times == 0
    world.check_audit()


@pytest.mark.parametrize("place", ["opened", "before_record"])
def test_killed_after_the_gate_opened_its_exit_code_is_recorded(
    place: str, world: World, canary: Canary
) -> None:
    """C6: a command that outlives its owner keeps its output and its true exit status."""
    first, second = cut(world, place, f"{canary.sing}; echo here I am; exit 7")
    run = world.wait_end()
    assert (run.state, run.exit_code) == (RunState.FAILED, 7)
    assert canary.times == 1
    assert world.tenure("logs", run.id).out == "here I am\n"
    holder = world.member(second)
    assert holder is not None
    assert run.holder == holder.id
    # C10: every run records the evidence of the process that ran it, not of who records its end.
    ran = world.store.provenance(run.id)
    assert (run.term, ran.identity.pid) == (1, first.pid)
    assert os.getpid() in [link.pid for link in ran.ancestors()]
    world.check_audit()


def test_killed_while_the_job_runs_the_next_owner_records_its_end(
    world: World, canary: Canary
) -> None:
    """C6, with the gateway restarted: SIGKILL, a new process, the job goes on past both."""
    beyond = 120.0 if SLOW else 2.0
    go = world.folder / "go"
    first = world.serve()
    world.wait_owner(first)
    world.job(f"{canary.sing}; until test -e {go}; do sleep 0.05; done; echo late; exit 7")
    world.wait_run(RunState.RUNNING)
    canary.wait()
    first.kill()
    second = world.serve()
    world.wait_owner(second)
    eventually(lambda: world.run().holder != world.run().process, "the adoption")
    restarted = time.monotonic()
    while time.monotonic() - restarted < beyond:
        assert world.run().state is RunState.RUNNING
        time.sleep(0.2)
    go.touch()
    run = world.wait_end()
    assert (run.state, run.exit_code) == (RunState.FAILED, 7)
    assert world.tenure("logs", run.id).out == "late\n"
    assert canary.times == 1
    world.check_audit()


if SLOW:
    test_killed_while_the_job_runs_the_next_owner_records_its_end = pytest.mark.timeout(300)(
        test_killed_while_the_job_runs_the_next_owner_records_its_end
    )


def test_its_shell_killed_too_it_is_lost_and_not_run_again(world: World, canary: Canary) -> None:
    """C4: what cannot be proved is recorded as lost, never silently run again."""
    first = world.serve()
    world.wait_owner(first)
    world.job(f"{canary.sing}; sleep 60")
    shell = world.wait_run(RunState.RUNNING).identity
    canary.wait()
    first.kill()
    assert shell is not None
    os.kill(shell.pid, signal.SIGKILL)
    second = world.serve()
    world.wait_owner(second)
    run = world.wait_end()
    assert run.state is RunState.LOST
    assert run.exit_code is None
    assert "still live" in run.reason or "no exit record" in run.reason
    assert canary.times == 1
    world.check_audit()


def test_lost_is_run_again_where_the_user_chose_so(world: World, canary: Canary) -> None:
    """C4: `retry_lost` is the user's explicit choice."""
    first = world.serve()
    world.wait_owner(first)
    line = f"{canary.sing}; test $TENURE_ATTEMPT = 2 && exit 0; sleep 60"
    world.job(line, retry_lost=True, retries=1, backoff=timedelta(seconds=0))
    shell = world.wait_run(RunState.RUNNING).identity
    canary.wait()
    first.kill()
    assert shell is not None
    os.kill(shell.pid, signal.SIGKILL)
    second = world.serve()
    world.wait_owner(second)
    run = world.wait_end()
    assert (run.state, run.attempt) == (RunState.SUCCEEDED, 2)
    assert "no exit record" in run.earlier[0].reason
    assert canary.times == 2
    for member in members_of(shell):
        os.kill(member.pid, signal.SIGKILL)
    world.check_audit()


def test_owners_that_die_one_after_the_other_run_nothing_twice(
    world: World, canary: Canary
) -> None:
    go = world.folder / "go"
    owner = world.serve()
    world.wait_owner(owner)
    world.job(f"{canary.sing}; until test -e {go}; do sleep 0.05; done; exit 3")
    world.wait_run(RunState.RUNNING)
    for _ in range(3):
        candidate = world.serve()
        eventually(lambda c=candidate: world.member(c), "the next candidate")
        owner.kill()
        world.wait_owner(candidate)
        owner = candidate
    go.touch()
    run = world.wait_end()
    assert (run.state, run.exit_code) == (RunState.FAILED, 3)
    assert canary.times == 1
    world.check_audit()
