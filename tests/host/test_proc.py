"""/proc's text, also as a hostile process would have it."""

from __future__ import annotations

import pytest

from tenure.host.linux.proc import holds_flock, parse_cgroup, parse_stat, parse_status

TAIL = "{state} 77 5 6 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 {threads} 0 {start} 100 2"


def stat(name: str = "sh", state: str = "S", threads: int = 1) -> str:
    return f"42 ({name}) " + TAIL.format(state=state, threads=threads, start=118625)


@pytest.mark.parametrize("name", ["sh", "a) R 1 1 1", ") (", "", "x\n1 (y) S 1", "tab\there"])
def test_a_name_forges_no_field(name: str) -> None:
    parsed = parse_stat(stat(name))
    assert parsed.name == name
    assert (parsed.pid, parsed.parent, parsed.session, parsed.start) == (42, 77, 6, 118625)


def test_a_zombie_is_dead_but_a_stopped_one_is_not() -> None:
    assert parse_stat(stat(state="Z")).dead
    assert parse_stat(stat(state="X")).dead
    assert not parse_stat(stat(state="T")).dead
    assert not parse_stat(stat(state="Z", threads=3)).dead, "only its first thread has ended"


STATUS = (
    "Name:\t{name}\nState:\tS (sleeping)\nUid:\t1000\t1001\t1002\t1003\n"
    "Gid:\t50\t51\t52\t53\nGroups:\t4 51 27 \nNoNewPrivs:\t1\nSeccomp:\t2\n"
)


def test_status_tells_the_effective_ids_and_what_confines() -> None:
    status = parse_status(STATUS.format(name="sh"))
    assert status.uid == 1001
    assert status.groups == (51, 4, 27)
    assert status.confinement == ("no_new_privs", "seccomp")


@pytest.mark.parametrize("separator", ["\v", "\f", "\x1c", "\x85", "\u2028", "\r"])
def test_a_name_forges_no_line(separator: str) -> None:
    text = "Name:\t{name}\nUid:\t5\t5\t5\t5\nSeccomp:\t0\nNoNewPrivs:\t0\n"
    status = parse_status(text.format(name=f"x{separator}Gid:\t0 0{separator}Groups:\t0"))
    assert status.uid == 5
    assert status.groups is None


def test_what_an_old_kernel_leaves_out_is_none() -> None:
    status = parse_status("Name:\tsh\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\n")
    assert status.uid == 0
    assert status.groups == (0,)
    assert status.confinement is None
    assert parse_status("") == type(status)(uid=None, groups=None, confinement=None)


@pytest.mark.parametrize(
    ("text", "path", "version"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service", 2),
        ("4:memory:/x\n1:name=systemd:/system.slice/a.service\n", "/system.slice/a.service", 1),
        # hybrid: both alike; or only the named one is used
        ("1:name=systemd:/a.service\n0::/a.service\n", "/a.service", 2),
        ("9:name=systemd:/\n4:memory:/deep/er\n0::/\n", "/", 1),
        ("1:name=systemd:/a.service\n0::/\n", "/a.service", 1),
        ("0::/odd:name=systemd:/b.service\n", "/odd:name=systemd:/b.service", 2),
        ("1:name=systemd:/x:0::/y\n", "/x:0::/y", 1),
    ],
)
def test_the_hierarchy_that_systemd_manages(text: str, path: str, version: int) -> None:
    cgroup = parse_cgroup(text)
    assert cgroup is not None
    assert (cgroup.path, cgroup.version) == (path, version)


def test_no_such_hierarchy() -> None:
    assert parse_cgroup("4:memory:/system.slice/a.service\n") is None
    assert parse_cgroup("") is None


FDINFO = "pos:\t0\nflags:\t0100002\nmnt_id:\t27\nino:\t9\n"
LISTED = FDINFO + "lock:\t1: FLOCK  ADVISORY  WRITE 42 fe:00:9 0 EOF\n"


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (LISTED, True),
        (FDINFO + "lock:\t1: POSIX  ADVISORY  READ 42 fe:00:9 0 EOF\n" + LISTED, True),
        (FDINFO, False),
        ("", False),
        (LISTED.replace("42", "421"), False),
        (LISTED.replace("42", "0"), False),
        (LISTED.replace("WRITE", "READ "), False),
        (LISTED.replace("FLOCK ", "POSIX "), False),
        (LISTED.replace("FLOCK ", "OFDLCK"), False),
        (LISTED.replace("FLOCK  ADVISORY ", "LEASE  ACTIVE   "), False),
        (LISTED.replace("lock:\t1:", "lock:\t1: ->"), False),
        (LISTED.replace("lock:", "name:"), False),
        ("lock:\t1: FLOCK", False),
    ],
)
def test_a_lock_of_exactly_this_kind_and_taker(text: str, held: bool) -> None:
    assert holds_flock(text, "42") is held
