"""Two versions of an app side by side: the newer goes first, and nothing of either is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.audit.reader import audit_store
from tenure.client.explain import explain
from tenure.domain.job import Call, Definition, JobState, Runner
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import PREEMPT_AFTER, Authority
from tenure.domain.process import ProcessStatus
from tenure.domain.run import ACTIVE, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import Declaration, RunFilter
from testkit.cluster import Cluster, Node
from waiting import eventually

OLD = {"beat": 60, "old": 60}
NEW = {"beat": 30, "new": 60}


class Deploy(Cluster):
    """Processes of one app, of two versions; what each ran and reconciled is noted."""

    def __init__(self, home: Path, **options: str) -> None:
        super().__init__(home, **options)
        self.ran: list[tuple[str, str]] = []
        self.reconciled: list[str] = []

    def process(self, name: str, version: str, jobs: Mapping[str, int]) -> Node:
        declared = [self._declaration(job, seconds) for job, seconds in jobs.items()]

        def owning(authority: Authority) -> None:
            self.reconciled.append(name)
            now = self.clock.now()
            self.profile.store.reconcile(authority, "app", version, declared, now)

        return self.node(
            name,
            functions={f"app:{job}": self._function(name, job) for job in jobs},
            app="app",
            app_version=version,
            on_owning=owning,
        )

    def _function(self, name: str, job: str):  # type: ignore[no-untyped-def]
        return lambda: self.ran.append((name, job))

    def _declaration(self, job: str, seconds: int) -> Declaration:
        schedule = every_schedule(timedelta(seconds=seconds), self.clock.now())
        call = Call(target=f"app:{job}", runner=Runner.THREAD)
        return Declaration(definition=Definition(name=f"app:{job}", schedule=schedule, action=call))

    def states(self) -> dict[str, JobState]:
        return {job.name: job.state for job in self.profile.store.jobs()[0]}

    def pass_time(self, seconds: float) -> None:
        """In steps of a second, everybody looking."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.settle(1)
            self.work_off()

    def work_off(self) -> None:
        def over() -> bool:
            if not self.profile.store.runs(RunFilter(states=ACTIVE))[0]:
                return True
            self.settle(1)
            return False

        eventually(over, "the end of every run")

    def check(self) -> None:
        assert audit_store(self.profile.store, self.clock.now()).findings == ()


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    with Deploy(tmp_path) as one:
        yield one


def test_a_newer_version_takes_over_once_it_has_lived(deploy: Deploy) -> None:
    old, new = deploy.process("old", "1", OLD), deploy.process("new", "2", NEW)
    deploy.settle()
    assert old.owns
    deploy.pass_time(PREEMPT_AFTER.total_seconds() + 2)
    assert new.owns
    assert deploy.states() == {
        "app:beat": JobState.ACTIVE, "app:new": JobState.ACTIVE, "app:old": JobState.DORMANT,
    }  # fmt: skip
    deploy.pass_time(30)
    assert new.owns, "the older one does not come back while the newer one lives"
    assert deploy.reconciled == ["old", "new"]
    deploy.check()


def test_of_the_candidates_of_a_dead_owner_the_newer_goes_first(deploy: Deploy) -> None:
    """Whoever looks first: declarations do not flap through a rolling deploy."""
    owner = deploy.process("new1", "1.10", NEW)
    deploy.settle()
    older, newer = deploy.process("old", "1.9", OLD), deploy.process("new2", "1.10", NEW)
    deploy.settle()
    deploy.kill(owner)
    older.look()
    assert not older.owns
    assert older.standing is ProcessStatus.CANDIDATE
    assert "newer version" in older.why
    deploy.settle()
    assert newer.owns
    assert set(deploy.reconciled) == {"new1", "new2"}
    deploy.check()


def test_it_waits_for_a_frozen_newer_one_only_for_a_while(deploy: Deploy) -> None:
    owner = deploy.process("new1", "2", NEW)
    deploy.settle()
    older = deploy.process("old", "1", OLD)
    frozen = deploy.process("new2", "2", NEW)
    deploy.settle()
    deploy.kill(owner)
    for _ in range(8):
        older.look()
        deploy.clock.advance(1)
    assert older.owns
    assert not frozen.owns


def test_what_only_the_newer_declares_is_held_from_an_older_owner(deploy: Deploy) -> None:
    """After the newer one has gone: its job neither fails nor is missed without a word."""
    newer = deploy.process("new", "2", NEW)
    deploy.settle()
    older = deploy.process("old", "1", OLD)
    deploy.settle()
    deploy.kill(newer)
    deploy.settle()
    assert older.owns
    deploy.ran.clear()
    deploy.pass_time(120)
    assert {job for _, job in deploy.ran} == {"beat", "old"}
    (held,) = [o for o in deploy.profile.store.omissions()[0] if o.job_name == "app:new"]
    assert held.kind is OmissionKind.HELD
    assert "version 2 declares it" in held.reason
    assert held.count == 2
    said = explain(deploy.profile, "app:new", deploy.clock.now())
    (code,) = [check for check in said.checks if check.name == "code"]
    assert code.ok is False
    assert "version 2" in code.text
    deploy.check()

    deploy.process("new again", "2", NEW)
    deploy.pass_time(PREEMPT_AFTER.total_seconds() + 3)
    assert ("new again", "new") in deploy.ran
    runs = deploy.profile.store.runs(RunFilter())[0]
    assert {r.state for r in runs} == {RunState.SUCCEEDED}
    deploy.check()


def test_without_versions_nobody_goes_first(deploy: Deploy) -> None:
    first, second = deploy.process("a", "0", OLD), deploy.process("b", "0", OLD)
    deploy.settle()
    deploy.pass_time(PREEMPT_AFTER.total_seconds() + 2)
    assert first.owns
    assert second.standing is ProcessStatus.CANDIDATE
