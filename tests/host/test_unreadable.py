"""What cannot be looked at now is unknown: never gone, never dead, never remembered as absent."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import uuid
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

import pytest

from descriptors import no_descriptors
from tenure.domain.errors import InvalidInput, OutcomeUnknown, StoreUnwritable
from tenure.domain.ownership import HolderLife
from tenure.domain.schedule.zones import load_zone
from tenure.host import live, processes
from tenure.host.death import DeathWatch
from tenure.host.linux import proc as linux_proc
from tenure.host.linux import processes as linux_processes
from tenure.host.live import LiveLock, life_of
from tenure.host.local_zone import local_zone
from tenure.runtime.output import OutputUnreadable, layout_of, read_from, read_output, tail
from tenure.store.folder import identity as profile_id
from tenure.store.folder.layout import ProfileFolder
from tenure.store.sqlite.store import SqliteStore
from waiting import DEADLINE, eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc"),
]

WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"


def test_a_process_that_cannot_be_looked_at_is_not_gone(spawn) -> None:
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    with no_descriptors():
        with pytest.raises(OutcomeUnknown, match="Too many open files"):
            processes.identity_of(child.pid)
        with pytest.raises(OutcomeUnknown):
            processes.own_identity()
        assert processes.is_alive(identity) is None
    assert processes.is_alive(identity) is True


def test_a_watch_that_began_without_descriptors_tells_the_death(spawn) -> None:
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    with no_descriptors():
        watch = DeathWatch.open(identity)
        assert watch is not None, "not taken for dead"
        assert watch.wait(0) is False
    with watch:
        child.kill()
        assert watch.wait(DEADLINE) is True


def test_a_live_lock_that_cannot_be_asked_says_nothing(tmp_path: Path) -> None:
    identity = processes.own_identity()
    elsewhere = dataclasses.replace(identity, boot_id="another boot, or another name of it")
    lock = LiveLock.hold(tmp_path, "me", identity)
    with no_descriptors():
        for who in (identity, elsewhere, None):
            assert life_of(tmp_path, "me", who) is HolderLife.UNVERIFIABLE
    assert life_of(tmp_path, "me", identity) is HolderLife.ALIVE
    lock.release()


@pytest.mark.parametrize(
    "fault", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOMEM, errno.ESTALE]
)
def test_no_fault_makes_a_living_process_dead(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = processes.own_identity()
    elsewhere = dataclasses.replace(identity, boot_id="another boot")
    lock = LiveLock.hold(tmp_path, "me", identity)

    def refuse(*args: object, **options: object) -> int:
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patched:
        patched.setattr(live.os, "open", refuse)
        assert life_of(tmp_path, "me", elsewhere) is HolderLife.UNVERIFIABLE
        assert life_of(tmp_path, "me", identity) is HolderLife.UNVERIFIABLE
    lock.release()


def test_what_could_not_be_read_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    boot, machine = linux_proc.boot_id(), linux_proc.machine_id()
    monkeypatch.setattr(linux_proc, "_boot_id", "")
    monkeypatch.setattr(linux_proc, "_machine_id", None)
    with no_descriptors():
        with pytest.raises(OutcomeUnknown):
            linux_proc.boot_id()
        assert linux_proc.machine_id() is None
        assert processes.is_alive(processes.Identity(boot_id=boot, pid=1, start=1)) is None
    assert (linux_proc.boot_id(), linux_proc.machine_id()) == (boot, machine)


def test_the_machines_zone_is_not_utc_for_want_of_a_descriptor(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Africa/Tunis")
    zoneinfo.ZoneInfo.clear_cache()
    with no_descriptors(), pytest.raises(OutcomeUnknown, match="Too many open files"):
        local_zone(link)
    assert local_zone(link) == "Africa/Tunis"


def test_a_zone_is_not_unknown_for_want_of_a_descriptor() -> None:
    with no_descriptors(), pytest.raises(OutcomeUnknown, match="Too many open files"):
        load_zone("Africa/Ndjamena")
    load_zone("Africa/Ndjamena")
    with pytest.raises(InvalidInput, match="unknown time zone"):
        load_zone("Africa/Nowhere")


def test_profile_id_is_not_damaged_for_want_of_a_descriptor(tmp_path: Path) -> None:
    folder = ProfileFolder.open("la", tmp_path, create=True)
    profile_id.create(folder, machine="m", id=str(uuid.uuid4()))
    with no_descriptors(), pytest.raises(OutcomeUnknown, match="cannot be read: Too many open"):
        profile_id.read(folder)
    assert profile_id.read(folder) is not None


def test_a_store_says_that_no_descriptor_is_free(tmp_path: Path) -> None:
    path = tmp_path / "tenure.db"
    SqliteStore.create(path, profile_id="p", now=datetime(2026, 1, 1, tzinfo=UTC)).close()
    with no_descriptors(), pytest.raises((StoreUnwritable, OSError)) as caught:
        SqliteStore.open(path)
    assert "Too many open files" in str(caught.value)
    SqliteStore.open(path).close()


def test_output_that_cannot_be_read_is_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    path.write_bytes(b"one\ntwo\n")
    with no_descriptors():
        for look in (
            lambda: layout_of(path),
            lambda: read_from(path, 0),
            lambda: b"".join(read_output(path)),
            lambda: tail(path, 1),
        ):
            with pytest.raises(OutputUnreadable, match="Too many open files"):
                look()
    assert tail(path, 1) == b"two\n"
    assert layout_of(tmp_path / "none.log").end == 0


def test_a_cgroup_that_cannot_be_read_makes_no_chain_whole(
    spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: evidence that cannot be read is unknown. A manager adopts what others forked."""
    child = spawn(WAIT)
    child.line()
    stat = linux_proc.stat_of(child.pid)
    manager = linux_proc.stat_of(os.getpid())
    assert stat is not None
    assert manager is not None
    manager = dataclasses.replace(manager, pid=1, session=stat.session)
    assert not linux_processes._is_adopted(stat, manager)

    def refuse(pid: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(linux_processes, "service_of_process", refuse)
    assert linux_processes._is_adopted(stat, manager)


def test_a_death_watch_looks_again_after_a_look_that_failed(spawn) -> None:
    """Also where it had verified its process before."""
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    watch = DeathWatch(identity)
    os.close(watch._descriptor)
    watch._descriptor = -1
    with no_descriptors():
        assert watch.wait(0) is False
    child.kill()
    eventually(lambda: watch.wait(0.01), "the death")
