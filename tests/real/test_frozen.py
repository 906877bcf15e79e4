"""C3: an owner frozen at each place of a command's life, deposed, and woken.

A forced take needs no kill: the term fences the loser when it wakes. So the frozen one is always
woken again here, and has to have changed nothing.
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from kit import Canary, Started, World

from freezing import is_frozen
from tenure.domain.ownership import OwnershipAction
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Run, RunState
from waiting import eventually

pytestmark = pytest.mark.real

SLOW = os.environ.get("TENURE_SLOW") == "1"


def freeze(world: World, place: str, line: str) -> tuple[Started, Started]:
    """An owner frozen at the place with its one command, and a candidate beside it."""
    owner = world.scripted(place, signal.SIGSTOP)
    world.wait_owner(owner)
    candidate = world.serve()
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    world.job(line)
    owner.wait_frozen()
    return owner, candidate


def depose(world: World, candidate: Started) -> int:
    """By force, from the command line; the new term."""
    said = world.tenure("owner", "take", "--force")
    assert said.code == 0, said.err
    world.wait_owner(candidate)
    return world.ownership().term


def wake_and_look(world: World, woken: Started, before: Run) -> None:
    """It wakes, notices, and has changed nothing of the run."""
    woken.wake()
    member = world.wait_standing(woken, ProcessStatus.CANDIDATE)
    assert member.id != world.ownership().process
    # What it still had in hand is offered and refused within a turn or two of its dispatcher.
    second = world.tenure("trigger", "again", "--wait")
    assert second.code == 0, second.err
    again = world.store.run(before.id)
    assert (again.state, again.exit_code, again.reason) == (
        before.state,
        before.exit_code,
        before.reason,
    )
    assert woken.process.poll() is None


def end(world: World) -> Run:
    run = eventually(
        lambda: next((r for r in world.runs() if r.job_name == "work" and r.finished_at), None),
        "the end of the run",
    )
    assert run is not None
    return run


def add_another(world: World) -> None:
    """A job that only a request runs: to see that the new owner works."""
    world.job("true", name="again", soon=86400)


@pytest.mark.parametrize("place", ["before_spawn", "before_started", "at_gate"])
def test_frozen_before_the_gate_opens_it_never_runs(
    place: str, world: World, canary: Canary
) -> None:
    """C3: a stale one changes nothing, whoever holds it and however late it wakes."""
    add_another(world)
    owner, candidate = freeze(world, place, canary.sing)
    depose(world, candidate)
    run = end(world)
    assert is_frozen(owner.pid), "the outcome needs no word of the frozen owner"
    assert run.state is RunState.NEVER_RAN
    wake_and_look(world, owner, run)
    assert canary.times == 0
    world.check_audit()


def test_frozen_with_the_gate_open_its_successor_records_the_end(
    world: World, canary: Canary
) -> None:
    """C6: the result is fenced by its run, not by who owns now; nobody waits for a frozen one."""
    go = world.folder / "go"
    add_another(world)
    owner, candidate = freeze(
        world, "opened", f"{canary.sing}; until test -e {go}; do sleep 0.05; done; exit 7"
    )
    canary.wait()
    depose(world, candidate)
    go.touch()
    run = end(world)
    assert is_frozen(owner.pid)
    assert (run.state, run.exit_code) == (RunState.FAILED, 7)
    wake_and_look(world, owner, run)
    assert canary.times == 1
    world.check_audit()


def test_frozen_between_exit_and_record(world: World, canary: Canary) -> None:
    add_another(world)
    owner, candidate = freeze(world, "before_record", f"{canary.sing}; exit 7")
    depose(world, candidate)
    run = end(world)
    assert is_frozen(owner.pid)
    assert (run.state, run.exit_code) == (RunState.FAILED, 7)
    wake_and_look(world, owner, run)
    assert canary.times == 1
    world.check_audit()


def test_woken_without_having_been_deposed_it_goes_on(world: World, canary: Canary) -> None:
    """A slow owner is no dead one."""
    owner = world.scripted("at_gate", signal.SIGSTOP)
    world.wait_owner(owner)
    world.job(f"{canary.sing}; exit 7")
    owner.wait_frozen()
    assert canary.times == 0
    owner.wake()
    run = world.wait_end()
    assert (run.state, run.exit_code, run.term) == (RunState.FAILED, 7, 1)
    assert canary.times == 1
    world.check_audit()


def test_a_hung_owner_is_replaced_where_the_profile_says_so(world: World, canary: Canary) -> None:
    """C9, C11: ``hung = "replace"``: a candidate takes by force; the woken one steps back."""
    world.policy('hung = "replace"\n')
    owner = world.scripted("at_gate", signal.SIGSTOP)
    world.wait_owner(owner)
    world.job(canary.sing)
    owner.wait_frozen()
    # Only now: it would take a busy machine's slow owner for hung before it stands still.
    hung_after = {} if SLOW else {"SCRIPTED_HUNG_AFTER": "1.5"}
    candidate = world.scripted("-", **hung_after)
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    world.job("true", name="again")
    world.wait_owner(candidate)
    assert world.store.terms(limit=1)[0].how is OwnershipAction.TAKE_BY_FORCE
    run = end(world)
    assert run.state is RunState.NEVER_RAN
    owner.wake()
    world.wait_standing(owner, ProcessStatus.CANDIDATE)
    eventually(
        lambda: [r for r in world.runs() if r.job_name == "again" and r.finished_at],
        "the run of the due fire that the hung owner had left",
    )
    assert canary.times == 0
    world.check_audit()


def test_status_names_a_hung_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: an owner that makes no progress while a fire is due is a warning."""
    from kit import now

    from tenure.client import health, status

    owner = world.serve()
    world.wait_owner(owner)
    eventually(lambda: world.ownership().progress_at, "the owner's first progress")
    world.freeze_outside_a_transaction(owner)
    world.job("true")
    if not SLOW:
        monkeypatch.setattr(health, "HUNG_AFTER", timedelta(seconds=0.5))

    def hung() -> list[str]:
        found = status.read_status(world.profile, now())
        return [w.text for w in found.warnings if w.code == "hung"]

    (text,) = eventually(hung, "the warning of a hung owner")
    assert str(owner.pid) in text
    owner.wake()
    eventually(lambda: not hung(), "the warning to go")


def test_frozen_while_it_takes_the_ownership(world: World) -> None:
    """C1: it keeps nobody from it, and takes no term that another has."""
    frozen = world.scripted("taking", signal.SIGSTOP)
    frozen.wait_frozen()
    owner = world.serve()
    world.wait_owner(owner)
    world.job("true")
    run = world.wait_end()
    frozen.wake()
    world.wait_standing(frozen, ProcessStatus.CANDIDATE)
    assert world.owns(owner)
    assert (run.state, run.term) == (RunState.SUCCEEDED, world.ownership().term)
    world.check_audit()


def test_frozen_inside_a_write_transaction(world: World) -> None:
    """Design, part 5: named as store_blocked; ended by ``owner take --kill`` alone."""
    owner = world.scripted("in_transaction", signal.SIGSTOP)
    world.wait_owner(owner)
    candidate = world.serve()
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    world.job("true")
    owner.wait_frozen()

    status = world.tenure("status", "--json")
    assert status.code == 1
    warnings = {w["code"]: w for w in status.json["warnings"]}
    assert str(owner.pid) in warnings["store_blocked"]["text"]
    assert "tenure owner take --kill" in warnings["store_blocked"]["remedy"]

    blocked = world.tenure("pause", "work")
    assert blocked.code == 75
    assert str(owner.pid) in blocked.err
    assert is_frozen(owner.pid), "naming it is not ending it"

    taken = world.tenure("owner", "take", "--kill", "--json")
    assert taken.code == 0, taken.err
    assert taken.json["killed"] == owner.pid
    assert owner.wait_end() == -signal.SIGKILL
    world.wait_owner(candidate)
    run = world.wait_end()
    assert run.state is RunState.SUCCEEDED, "the claim that never was committed is made anew"
    assert run.term == world.ownership().term
    world.check_audit()


def test_somebody_else_who_blocks_the_store_is_named_and_not_killed(world: World) -> None:
    owner = world.serve()
    world.wait_owner(owner)
    candidate = world.serve()
    world.wait_standing(candidate, ProcessStatus.CANDIDATE)
    world.job("true", soon=86400)
    blocker = world.script(
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n",
        world.profile.folder.database,
    )
    blocker.wait_frozen()
    status = world.tenure("status", "--json")
    warnings = {w["code"]: w for w in status.json["warnings"]}
    assert str(blocker.pid) in warnings["store_blocked"]["text"]
    taken = world.tenure("owner", "take", "--kill")
    assert taken.code == 3, taken
    assert is_frozen(blocker.pid)
    assert owner.process.poll() is None, "who does not block is not killed for it"
    blocker.kill()
    assert world.tenure("pause", "work").code == 0
