"""Jobs follow new rules of their zone and a new zone of the profile, under a running owner."""

from __future__ import annotations

import shutil
import sqlite3
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure.audit.reader import audit_store
from tenure.client.definitions import build
from tenure.domain.event import EventKind
from tenure.domain.job import Command, Job, JobState
from tenure.domain.schedule import zones
from tenure.domain.schedule.zones import reload_zones
from tenure.runtime.ownership import upkeep
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node

ZONE = "Test/Town"
HOUR = timedelta(hours=1)


@pytest.fixture
def cluster(tmp_path: Path, rules: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "home") as one:
        yield one
        assert not audit_store(one.profile.store, one.clock.now()).findings


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of zone files that is searched first; the test's zone is an hour ahead of UTC."""
    monkeypatch.setattr(zones, "_loaded", {})
    folder = tmp_path / "zoneinfo"
    (folder / "Test").mkdir(parents=True)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(folder), *before])
    write(folder, 1)
    yield folder
    zoneinfo.reset_tzpath(before)
    zones._stretches.cache_clear()


def write(folder: Path, hours: int) -> None:
    places = [Path(place, f"Etc/GMT-{hours}") for place in zoneinfo.TZPATH[1:]]
    shutil.copyfile(next(p for p in places if p.exists()), folder / "new")
    (folder / "new").rename(folder / ZONE)


def add(cluster: Cluster, schedule: str = "0 12 * * *", *, name: str = "job", **fields: str) -> Job:
    now = cluster.clock.now()
    given = {"schedule": schedule, "name": name, "command": ["true"], **fields}
    wants = build(given, now=now, timezone=cluster.profile.timezone())
    assert isinstance(wants.action, Command)
    return cluster.profile.store.add_job(wants, by="test", now=now)


def owner(cluster: Cluster) -> Node:
    node = cluster.node("owner")
    cluster.settle()
    assert node.owns
    return node


def due(cluster: Cluster, job: Job) -> datetime:
    found = cluster.profile.store.job(job.id).due_at
    assert found is not None
    return found


def claims(cluster: Cluster, job: Job) -> list[datetime]:
    found, _ = cluster.profile.store.runs(RunFilter(job=job.id))
    return sorted(run.fire_time for run in found)


def at(hour: int, *, day: int = 1) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def to(cluster: Cluster, instant: datetime) -> None:
    cluster.clock.advance((instant - cluster.clock.now()).total_seconds())


def test_an_owner_goes_by_new_rules_without_a_restart(cluster: Cluster, rules: Path) -> None:
    """C13: a government moves the clocks at three days' notice."""
    to(cluster, at(8))
    node = owner(cluster)
    job = add(cluster, tz=ZONE)
    assert due(cluster, job) == at(11)
    node.look()
    write(rules, 2)
    node.look()
    node.turn()
    assert due(cluster, job) == at(10)
    (event,) = (e for e in cluster.profile.store.events() if e.kind is EventKind.WARNING)
    assert event.facts["code"] == "zone_rules_replaced"
    assert ZONE in event.facts["text"]
    to(cluster, at(10))
    node.turn()
    assert claims(cluster, job) == [at(10)]


def test_a_fire_that_new_rules_moved_into_the_past_is_caught_up_once(
    cluster: Cluster, rules: Path
) -> None:
    """C5: it is not lost; C4: the time that the old rules gave does not run as well."""
    to(cluster, at(8))
    node = owner(cluster)
    job = add(cluster, tz=ZONE)
    node.look()
    to(cluster, at(10) + timedelta(minutes=30))
    write(rules, 2)
    node.look()
    node.turn()
    assert claims(cluster, job) == [at(10)]
    to(cluster, at(11))
    node.turn()
    assert claims(cluster, job) == [at(10)]
    assert cluster.profile.store.job(job.id).next_fire == at(10, day=2)


def test_an_owner_repairs_what_was_planned_by_older_rules(cluster: Cluster, rules: Path) -> None:
    """The rules changed while no owner was there, or another process wrote before it saw them."""
    to(cluster, at(8))
    job = add(cluster, tz=ZONE)
    assert due(cluster, job) == at(11)
    write(rules, 2)
    reload_zones([ZONE])
    node = owner(cluster)
    node.turn()
    assert due(cluster, job) == at(10)
    second = add(cluster, "0 13 * * *", name="second", tz=ZONE)
    with cluster.profile.store._db.writing() as db:
        db.execute("UPDATE jobs SET due_at = due_at + 3600000000 WHERE id = ?", (second.id,))
    node.look()
    assert due(cluster, second) == at(12)
    cluster.clock.advance(upkeep.EVERY_S)
    node.look()
    node.turn()
    assert due(cluster, second) == at(11)


def test_a_pass_over_many_jobs_is_done_in_parts(
    cluster: Cluster, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look of the owner takes long, however many jobs there are."""
    monkeypatch.setattr(upkeep, "JOBS_PER_LOOK", 3)
    to(cluster, at(8))
    jobs = [add(cluster, name=f"job-{n}", tz=ZONE) for n in range(8)]
    node = owner(cluster)
    for _ in range(4):
        node.look()
    write(rules, 2)
    moved = []
    for _ in range(3):
        node.look()
        node.turn()
        moved.append(sum(due(cluster, job) == at(10) for job in jobs))
    assert moved == [3, 6, 8]


def test_jobs_that_named_no_zone_follow_the_profiles(cluster: Cluster) -> None:
    """docs/profile.md: timezone is for jobs that do not say their own."""
    cluster.write_toml('timezone = "Europe/Berlin"\n')
    to(cluster, at(8))
    node = owner(cluster)
    follows = add(cluster)
    named = add(cluster, name="named", tz="Europe/Berlin")
    paused = add(cluster, name="paused")
    cluster.profile.store.set_job_state(paused.id, JobState.PAUSED, by="test", now=at(8))
    assert due(cluster, follows) == due(cluster, named) == at(11)
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    node.look()
    node.turn()
    assert due(cluster, follows) == at(3, day=2)
    assert due(cluster, named) == at(11)
    moved = cluster.profile.store.job(follows.id)
    assert (moved.definition.schedule.timezone, moved.edited_by) == ("Asia/Tokyo", "profile.toml")
    assert moved.revision == 2
    assert cluster.profile.store.job(paused.id).definition.schedule.timezone == "Asia/Tokyo"
    node.look()
    assert cluster.profile.store.job(follows.id).revision == 2, "once"
    cluster.write_toml("")
    node.look()
    kept = cluster.profile.store.job(follows.id).definition.schedule
    assert (kept.timezone, kept.follows_profile) == ("Asia/Tokyo", True)


def test_what_the_code_declares_is_brought_in_line_with_the_profiles_zone(
    cluster: Cluster,
) -> None:
    zones = []
    node = cluster.node(
        "owner", on_owning=lambda authority: zones.append(cluster.profile.timezone())
    )
    cluster.write_toml('timezone = "Europe/Berlin"\n')
    cluster.settle()
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    node.look()
    node.look()
    assert zones[-1] == "Asia/Tokyo"
    assert zones.count("Asia/Tokyo") == 1


def test_a_pass_that_finds_nothing_writes_nothing(cluster: Cluster) -> None:
    """An idle owner takes no write lock."""
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    node = owner(cluster)
    add(cluster)
    add(cluster, "0 12 * * *", name="named", tz="UTC")
    node.look()
    passes = node.scheduler.keeper._replanner
    passes.begin_again()
    authority = node.scheduler.keeper.authority
    assert authority is not None
    other = sqlite3.connect(cluster.profile.folder.database, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert not passes.look(authority), "it would raise StoreBlocked if it wanted to write"
    finally:
        other.close()


def test_a_fire_that_has_run_does_not_run_again_in_another_zone(cluster: Cluster) -> None:
    """C4, C12: a fire is an instant; the new revision plans from the moment of the edit."""
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    to(cluster, at(2))
    node = owner(cluster)
    job = add(cluster)
    to(cluster, at(3))
    node.turn()
    assert claims(cluster, job) == [at(3)]
    cluster.write_toml('timezone = "Europe/Berlin"\n')
    node.look()
    node.turn()
    assert claims(cluster, job) == [at(3)]
    assert due(cluster, job) == at(11)
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    node.look()
    node.turn()
    assert due(cluster, job) == at(3, day=2)


def test_a_job_that_would_never_fire_there_stays_as_it_is(cluster: Cluster) -> None:
    cluster.write_toml('timezone = "UTC"\n')
    node = owner(cluster)
    job = add(cluster, "30 2 29 3 *", name="gap", dst="skip")
    once = add(cluster, "2027-01-01T09:00", name="once")
    cluster.write_toml('timezone = "Asia/Tokyo"\n')
    node.look()
    assert cluster.profile.store.job(job.id).definition.schedule.timezone == "Asia/Tokyo"
    assert cluster.profile.store.job(once.id).definition == once.definition
