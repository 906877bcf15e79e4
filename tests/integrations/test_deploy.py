"""A rolling deploy with real processes: two versions side by side, each fire once, no flapping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.running import wait_for
from freezing import freeze_between_transactions
from tenure.audit.reader import audit_store
from tenure.domain.job import JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.run import ACTIVE, FINAL, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
PROGRAM = Path(__file__).parent / "deployed.py"


class Deploy:
    """Processes of both versions on one profile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.profile = Profile.open("app", home=folder / "home", create=True, now=datetime.now(UTC))
        self.store = self.profile.store

    def start(self, version: str, count: int = 1) -> list[int]:
        made = [
            subprocess.Popen(
                [sys.executable, PROGRAM, self.folder / "home", version, self.folder],
                stdin=subprocess.DEVNULL,
            )
            for _ in range(count)
        ]
        self.processes += made
        pids = [process.pid for process in made]
        wait_for(f"version {version} to join", lambda: set(pids) <= set(self.standings()))
        return pids

    def end(self, pid: int, number: signal.Signals = signal.SIGTERM) -> None:
        (process,) = [p for p in self.processes if p.pid == pid]
        if number is signal.SIGKILL:  # what is killed with it is another story
            self._stop_between_runs(pid)
        process.send_signal(number)
        process.wait(DEADLINE)

    def _stop_between_runs(self, pid: int) -> None:
        def stopped() -> bool:
            freeze_between_transactions(pid, self.profile.folder.database)
            if not self.store.runs(RunFilter(states=ACTIVE))[0]:
                return True
            os.kill(pid, signal.SIGCONT)
            return False

        eventually(stopped, f"a moment between two runs of pid {pid}")

    def standings(self) -> dict[int, str]:
        found = self.store.processes()
        return {p.evidence.identity.pid: str(p.standing) for p in found if p.why != "just joined"}

    def owner(self) -> int | None:
        current = self.store.ownership()
        if current.authority is None or current.process is None:
            return None
        return self.store.process(current.process).evidence.identity.pid

    def states(self) -> dict[str, JobState]:
        return {job.name: job.state for job in self.store.jobs()[0]}

    def lines(self, job: str) -> list[tuple[str, int, float]]:
        path = self.folder / job
        texts = path.read_text().splitlines() if path.exists() else []
        return [(v, int(pid), float(fire)) for v, pid, fire in map(str.split, texts)]

    def changes(self) -> Counter[str]:
        """How often each job was added, edited, or changed its state."""
        events = self.store.events(limit=100_000)
        names = {job.id: job.name for job in self.store.jobs()[0]}
        return Counter(
            f"{names[e.job]} {e.kind}" for e in events if e.job and e.kind.startswith("job_")
        )

    def check(self) -> None:
        report = audit_store(self.store, datetime.now(UTC))
        assert report.clean, report.findings
        runs, _ = self.store.runs(RunFilter(states=frozenset(FINAL)), Page(limit=10_000))
        assert {run.state for run in runs} == {RunState.SUCCEEDED}
        for job in ("beat", "old", "new"):
            fires = [fire for _, _, fire in self.lines(job)]
            assert len(fires) == len(set(fires)), f"{job} ran twice for a fire"

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.profile.close()


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    one = Deploy(tmp_path)
    yield one
    one.close()


def test_workers_are_replaced_one_by_one(deploy: Deploy) -> None:
    """Old ones leave, and die; the declarations change once, when the newer version first owns."""
    old = deploy.start("1", 2)
    wait_for("version 1 to own", lambda: deploy.owner() in old)
    wait_for("its jobs", lambda: deploy.lines("old") and deploy.lines("beat"))
    new = deploy.start("2", 2)
    deploy.end(_other(old, deploy.owner()))
    first = deploy.owner()
    assert first in old
    deploy.end(first, signal.SIGKILL)
    wait_for("version 2 to own", lambda: deploy.owner() in new)
    wait_for("its new job", lambda: deploy.lines("new"))

    # One of each: the owner dies, the old version's candidate is there as well.
    (back,) = deploy.start("1")
    deploy.end(deploy.owner() or 0, signal.SIGKILL)
    wait_for("the other of version 2 to own", lambda: deploy.owner() in new)
    begin = whole_second()
    until(begin + 3.5)
    assert deploy.standings()[back] == "candidate"
    assert {v for v, _, fire in deploy.lines("beat") if fire >= begin} == {"2"}
    assert deploy.states() == {
        "app:beat": JobState.ACTIVE, "app:old": JobState.DORMANT, "app:new": JobState.ACTIVE,
    }  # fmt: skip
    assert deploy.changes() == {
        "app:beat job_added": 1, "app:old job_added": 1, "app:old job_state": 1,
        "app:new job_added": 1,
    }  # fmt: skip
    deploy.check()


def test_the_newer_one_takes_over_while_the_older_lives(deploy: Deploy) -> None:
    """After ten seconds of life, so that one that crashes at once does not."""
    old = deploy.start("1")
    wait_for("version 1 to own", lambda: deploy.owner() in old)
    new = deploy.start("2")
    wait_for("version 2 to own", lambda: deploy.owner() in new)
    begin = whole_second()
    until(begin + 2.5)
    settled = {old[0]: "candidate", new[0]: "owner"}
    wait_for("the old one to stand by", lambda: deploy.standings() == settled)

    def each() -> bool:
        seen = sorted(fire for _, _, fire in deploy.lines("beat"))
        return seen[-1] >= begin + 2 and seen == [seen[0] + i for i in range(len(seen))]

    wait_for("each fire to have run: none was missed as it handed over", each)
    deploy.check()


def test_an_older_owner_loses_nothing_of_the_newer(deploy: Deploy) -> None:
    """A roll-back: what only version 2 has is held, and runs when somebody has its code again."""
    new = deploy.start("2")
    wait_for("the new job", lambda: deploy.lines("new"))
    old = deploy.start("1")
    deploy.end(new[0])
    wait_for("version 1 to own", lambda: deploy.owner() in old)
    wait_for("its own jobs", lambda: deploy.lines("old"))
    held = wait_for("the new job to be held", lambda: deploy.store.omissions(only_open=True)[0])
    assert {(o.job_name, o.kind) for o in held} == {("app:new", OmissionKind.HELD)}
    assert "version 2" in held[0].reason
    assert deploy.states()["app:new"] is JobState.ACTIVE
    deploy.check()

    deploy.start("2")
    deploy.end(old[0])
    ran = len(deploy.lines("new"))
    wait_for("the new job to run again", lambda: len(deploy.lines("new")) > ran + 1)
    wait_for("nothing to be held", lambda: not deploy.store.omissions(only_open=True)[0])
    deploy.check()


def _other(pids: list[int], but: int | None) -> int:
    (other,) = [pid for pid in pids if pid != but]
    return other
