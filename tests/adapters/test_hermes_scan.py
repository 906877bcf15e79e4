"""What is read of ``/proc``: of this very process, of a recorded one, and of one that vanishes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hermestree import BOOT, Tree

from descriptors import no_descriptors
from tenure.adapters.hermes.look.scan import LinuxScan, OpenFile, PsutilScan, system_scan
from tenure.domain.errors import OutcomeUnknown
from tenure.host.processes import own_identity

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
GONE = 2**22 + 17  # above the largest pid


@linux
class TestThisProcess:
    def test_arguments_environment_and_start(self) -> None:
        scan, me = LinuxScan(), os.getpid()
        assert me in scan.pids()
        assert any("pytest" in word for word in scan.argv(me))
        environ = scan.environ(me)
        assert environ is not None
        assert "PATH" in environ
        start = scan.start(me)
        assert start is not None
        assert start.stamp == own_identity().start
        assert scan.folder(me) == os.getcwd()
        assert scan.user(me) == os.geteuid()
        assert scan.threads(me)

    def test_open_files_and_their_locks(self, tmp_path: Path) -> None:
        scan, me, path = LinuxScan(), os.getpid(), tmp_path / "gateway.lock"
        with open(path, "w") as file:
            (found,) = self._open(scan, path)
            assert scan.locks(me, found) is False
            assert scan.file_id(me, found) == (path.stat().st_dev, path.stat().st_ino)
            fcntl.flock(file, fcntl.LOCK_EX)
            assert scan.locks(me, found) is True
            path.unlink()
            (found,) = self._open(scan, path)
            assert found.deleted
            assert scan.locks(me, found) is True
        assert self._open(scan, path) == []

    def _open(self, scan: LinuxScan, path: Path) -> list[OpenFile]:
        files = scan.files(os.getpid())
        assert files is not None
        return [file for file in files if file.path == str(path)]

    def test_a_lock_that_somebody_else_took_through_a_shared_file(self, tmp_path: Path) -> None:
        path = tmp_path / "gateway.lock"
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            argv = [sys.executable, "-c", "input()"]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=[file.fileno()]) as child:
                scan = LinuxScan()
                (shared,) = [f for f in scan.files(child.pid) or () if f.path == str(path)]
                assert scan.locks(child.pid, shared) is False
                child.communicate(b"\n")

    def test_a_folder_as_a_process_sees_it(self, tmp_path: Path) -> None:
        scan, link = LinuxScan(), tmp_path / "link"
        link.symlink_to(tmp_path)
        assert scan.same_folder(os.getpid(), str(link), str(tmp_path)) is True
        assert scan.same_folder(os.getpid(), "/", str(tmp_path)) is False


@linux
def test_a_process_that_vanished_answers_with_nothing() -> None:
    scan = LinuxScan()
    assert scan.argv(GONE) == ()
    assert scan.environ(GONE) is None
    assert scan.start(GONE) is None
    assert scan.files(GONE) == ()
    assert scan.threads(GONE) == frozenset()
    assert scan.folder(GONE) is None
    assert scan.user(GONE) is None
    assert scan.locks(GONE, OpenFile(3, "/x")) is None
    assert scan.file_id(GONE, OpenFile(3, "/x")) is None


def test_a_recorded_process(tree: Tree) -> None:
    log = tree.log("agent.log")[0]
    pid = tree.process("hermes", "chat", env={"A": "b=c"}, files=[log], threads=["cron-ticker"])
    scan = tree.scan
    assert scan.pids() == [pid]
    assert scan.argv(pid) == ("hermes", "chat")
    assert (scan.environ(pid) or {})["A"] == "b=c"
    assert scan.files(pid) == (OpenFile(3, str(log)),)
    assert scan.threads(pid) == {"cron-ticker"}
    start = scan.start(pid)
    assert start is not None
    assert (start.at - BOOT).total_seconds() == 3600


def test_a_zombie_has_ended(tree: Tree) -> None:
    pid = tree.gateway()
    stat = tree.proc / str(pid) / "stat"
    stat.write_text(stat.read_text().replace(") S ", ") Z "))
    assert tree.scan.start(pid) is None


def test_what_is_no_process_table(tmp_path: Path) -> None:
    assert LinuxScan(str(tmp_path / "none")).pids() == []
    broken = tmp_path / "5000001"
    broken.mkdir()
    (broken / "stat").write_text("what")
    assert LinuxScan(str(tmp_path)).start(5000001) is None


def test_psutil_tells_the_same_of_this_process(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    scan, me, path = PsutilScan(), os.getpid(), tmp_path / "gateway.lock"
    with open(path, "w"):
        assert me in scan.pids()
        assert any("pytest" in word for word in scan.argv(me))
        assert "PATH" in (scan.environ(me) or {})
        files = {file.path: file for file in scan.files(me) or ()}
        assert str(path) in files
        assert scan.file_id(me, files[str(path)]) == (path.stat().st_dev, path.stat().st_ino)
        assert scan.locks(me, files[str(path)]) is None
    start = scan.start(me)
    assert start is not None
    assert start.stamp == round(start.at.timestamp() * 100)
    assert scan.user(me) == os.geteuid()
    assert (scan.argv(GONE), scan.files(GONE), scan.start(GONE)) == ((), None, None)
    assert scan.shares_paths(me)
    assert scan.same_folder(me, str(tmp_path), str(tmp_path))


def test_each_system_has_its_own() -> None:
    assert isinstance(system_scan(), LinuxScan if sys.platform == "linux" else PsutilScan)


@linux
def test_processes_that_cannot_be_listed_now_are_not_gone() -> None:
    scan, me = LinuxScan(), os.getpid()
    with no_descriptors():
        for look in (scan.pids, lambda: scan.files(me), lambda: scan.argv(me)):
            with pytest.raises(OutcomeUnknown, match="Too many open files"):
                look()
    assert me in scan.pids()
