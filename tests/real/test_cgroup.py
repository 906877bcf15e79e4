"""C2, C8: a rule for a cgroup, with a cgroup of the kernel's that a process is moved out of.

Evidence that can change is read again before a protected claim.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from kit import TENURE, Canary, World, now

from tenure.domain.job import Command, Definition
from tenure.domain.ownership import OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.schedule.model import every_schedule
from tenure.host.processes import observe
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.root]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of our own in the hierarchy that the evidence is read from."""
    made = make_cgroup()
    if made is None:
        pytest.skip("no cgroup may be made here")
    yield made
    eventually(lambda: not (made / "cgroup.procs").read_text().strip(), "an empty cgroup")
    with contextlib.suppress(OSError):
        made.rmdir()


def make_cgroup() -> Path | None:
    mine = observe().cgroup
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if mine is not None and (root / "cgroup.procs").exists():
            made = root / mine.strip("/") / f"tenure-test-{os.getpid()}"
            with contextlib.suppress(OSError):
                made.mkdir()
                return made
    return None


def test_who_is_moved_out_of_its_cgroup_runs_nothing_protected(
    cgroup: Path, world: World, canary: Canary
) -> None:
    """C8: Evidence that can change (cgroup, uid, executable) is read again at takeover and before
    a protected claim."""
    mine = observe().cgroup or "/"
    world.policy(f'[[owner]]\ncgroup = "{mine.rstrip("/")}/{cgroup.name}"\n')
    outside = world.serve()
    assert "cgroup" in world.wait_standing(outside, ProcessStatus.REFUSED).why
    move = f"echo $$ > {cgroup}/cgroup.procs && exec {TENURE} serve"
    owner = world.start(["/bin/sh", "-c", move])
    world.wait_owner(owner)
    assert world.ownership().authoritative
    wants = Definition(
        name="work",
        schedule=every_schedule(timedelta(seconds=1), now()),
        action=Command(argv=(canary.sing,), shell=True, cwd=str(world.folder)),
        protected=True,
    )
    world.store.add_job(wants, by="test", now=now())
    world.nudge()
    canary.wait()
    home = cgroup.parent / "cgroup.procs"
    home.write_text(str(owner.pid))
    moved = now()
    world.wait_standing(owner, ProcessStatus.REFUSED)
    assert world.ownership().hold is OwnershipState.VACANT
    later = [r for r in world.runs() if r.claimed_at > moved + timedelta(seconds=1.5)]
    assert later == [], "its evidence is a second old at most"
    world.check_audit()
