"""The stand-in itself: what runs in it takes the paths of Darwin."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.real


def test_the_interpreter_looks_like_darwins(run, mac) -> None:
    source = """
        import os, select, selectors, sys, time
        assert sys.platform == "darwin"
        assert not hasattr(os, "pidfd_open") and not hasattr(select, "epoll")
        assert hasattr(time, "CLOCK_UPTIME_RAW") and not hasattr(time, "CLOCK_BOOTTIME")
        assert selectors.DefaultSelector is selectors.KqueueSelector
        assert not os.path.exists("/proc/self/stat")
        print(os.uname().sysname)
    """
    assert run(source) == "Darwin"
    assert mac.calls("touched") == ["touched /proc/self/stat"]


def test_a_death_is_reported_by_kqueue(run) -> None:
    source = """
        import subprocess
        from tenure.host import processes
        from tenure.host.death import DeathWatch
        child = subprocess.Popen(["sleep", "600"])
        identity = processes.identity_of(child.pid)
        with DeathWatch.open(identity) as watch:
            assert watch.verifiable and watch.fileno() >= 0
            assert not watch.wait(0)
            child.kill()
            assert watch.wait(30)
        child.wait()
        assert processes.is_alive(identity) is False
        assert DeathWatch.open(identity) is None
        print("seen")
    """
    assert run(source) == "seen"


def test_clocks_locks_and_paths_have_darwins_answers(run, mac, tmp_path) -> None:
    source = """
        import fcntl, sys
        from tenure.host.clocks import SystemClock
        from tenure.host.macos.locks import own_locks
        clock = SystemClock()
        assert clock.awake() <= clock.awake()
        file = open(sys.argv[1], "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        print(*own_locks().paths)
    """
    lock = tmp_path.resolve() / "gateway.lock"
    assert run(source, str(lock)) == str(lock)
    assert mac.calls("touched") == []


def test_no_code_of_linux_is_touched(run, mac) -> None:
    source = """
        from tenure.host import processes
        evidence = processes.observe()
        assert evidence.identity.boot_id and evidence.identity.start < 10**14
        assert evidence.chain[-1].pid == 1 or "chain" in evidence.unknown
        print(evidence.signature, evidence.host)
    """
    answer = run(source, signature="valid:ABCDE12345")
    assert answer == "ABCDE12345 10111213-1415-1617-1819-1A1B1C1D1E1F"
    assert mac.calls("touched") == []
