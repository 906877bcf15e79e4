"""C2: a rule for a lock, with schedulers that hold it, nearly hold it, take it late and lose it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from kit import Canary, World, now

from tenure.domain.job import Command, Definition
from tenure.domain.ownership import OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.schedule.model import every_schedule
from waiting import eventually

pytestmark = pytest.mark.real

OPEN = "import fcntl, os, subprocess, sys\nfile = open(sys.argv[1], 'a')\n"
LOCK = "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
SERVE = "from tenure.surfaces.cli.main import main\nsys.exit(main(['serve']))\n"
NEARLY = {
    "open": SERVE,
    "shared": "fcntl.flock(file, fcntl.LOCK_SH)\n" + SERVE,
    "forked": LOCK + "if os.fork(): os.wait(); sys.exit()\n" + SERVE,
    "handed down": LOCK
    + f"serve = [sys.executable, '-c', 'import sys\\n' + {SERVE!r}]\n"
    + "sys.exit(subprocess.run(serve, pass_fds=[file.fileno()]).returncode)\n",
}
WHEN_TOLD = (
    "import threading\n"
    "def take():\n"
    "    sys.stdin.readline()\n"
    "    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "threading.Thread(target=take, daemon=True).start()\n"
)


@pytest.fixture
def lock(world: World) -> Path:
    path = world.folder.resolve() / "gateway.lock"
    world.policy(f'[[owner]]\nholds = "{path}"\n')
    return path


def test_of_two_schedulers_the_one_that_holds_the_lock_owns(world: World, lock: Path) -> None:
    other = world.serve()
    row = world.wait_standing(other, ProcessStatus.REFUSED)
    assert f"asks for a lock on {lock}, but it holds no lock on {lock}" in row.why
    holder = world.script(OPEN + LOCK + SERVE, lock)
    world.wait_owner(holder)
    assert world.ownership().authoritative
    document = world.tenure("status", "--json").json
    (seen,) = [p for p in document["processes"] if p["pid"] == holder.pid]
    assert str(lock) in seen["evidence"]["locks"]
    assert f"it holds the lock on {lock}" in seen["why"]
    holder.kill()
    again = world.script(OPEN + LOCK + SERVE, lock)
    world.wait_owner(again)
    world.wait_standing(other, ProcessStatus.REFUSED)
    world.check_audit()


@pytest.mark.parametrize("how", sorted(NEARLY))
def test_who_nearly_holds_it_is_refused(how: str, world: World, lock: Path) -> None:
    world.script(OPEN + NEARLY[how], lock)

    def look() -> str:
        (row,) = world.store.processes(gone=True) or [None]
        return row.why if row and row.standing is ProcessStatus.REFUSED else ""

    eventually(lambda: "it holds no lock on" in look(), "the scheduler to be refused")
    assert world.ownership().term == 0


def test_a_lock_taken_late_admits_and_one_whose_file_was_replaced_no_longer(
    world: World, lock: Path, canary: Canary
) -> None:
    late = world.script(OPEN + WHEN_TOLD + SERVE, lock, stdin=subprocess.PIPE)
    world.wait_standing(late, ProcessStatus.REFUSED)
    assert late.process.stdin is not None
    with late.process.stdin as told:
        told.write(b"now\n")
    world.wait_owner(late)
    wants = Definition(
        name="work",
        schedule=every_schedule(timedelta(seconds=1), now()),
        action=Command(argv=(canary.sing,), shell=True, cwd=str(world.folder)),
        protected=True,
    )
    world.store.add_job(wants, by="test", now=now())
    world.nudge()
    canary.wait()
    lock.unlink()
    lock.touch()
    replaced = now()
    eventually(lambda: world.ownership().hold is OwnershipState.VACANT, "it to let go")
    assert "it holds no lock on" in world.wait_standing(late, ProcessStatus.REFUSED).why
    later = [r for r in world.runs() if r.claimed_at > replaced + timedelta(seconds=1.5)]
    assert later == [], "its evidence is a second old at most"
    world.check_audit()
