"""The text files of Linux' /proc, parsed: pure functions, given what was read.

What a process can write itself (its name in ``stat``, its environment, its arguments) is either
not read at all or, as the name, only carried for display.
"""

from __future__ import annotations

from dataclasses import dataclass

_DEAD_STATES = frozenset("ZXx")
_STOPPED_STATES = frozenset("Tt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What is needed of ``/proc/<pid>/stat`` (proc_pid_stat(5))."""

    pid: int
    name: str
    """The comm. A process sets it as it likes."""
    state: str
    parent: int
    session: int
    threads: int
    start: int
    """Clock ticks from boot to the start, as the reader's time namespace sees it."""

    @property
    def dead(self) -> bool:
        """Ended, whether reaped or not. A leader that left its threads running is alive."""
        return self.state in _DEAD_STATES and self.threads <= 1

    @property
    def stopped(self) -> bool:
        """By a signal, or by a debugger."""
        return self.state in _STOPPED_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcStatus:
    """What is needed of ``/proc/<pid>/status``; None where the kernel does not say it."""

    uid: int | None
    groups: tuple[int, ...] | None
    confinement: tuple[str, ...] | None


def parse_stat(text: str) -> Stat:
    """Parse ``stat``. The name is in parentheses and may hold anything, also `` ) 1 (``."""
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 1 :].split()
    return Stat(
        pid=int(text[:opening]),
        name=text[opening + 1 : closing],
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start=int(fields[19]),
    )


def parse_status(text: str) -> ProcStatus:
    """Parse ``status``: effective uid, effective and supplementary groups, confinement.

    The name stands in the first line; the kernel escapes line feeds in it. Lines are split at
    line feeds alone: ``splitlines`` would also take a vertical tab in the name for an end, and
    let a process forge lines.
    """
    lines = dict(line.split(":", 1) for line in text.split("\n") if ":" in line)
    uid = lines["Uid"].split()[1] if "Uid" in lines else None
    groups: tuple[int, ...] | None = None
    if "Gid" in lines and "Groups" in lines:
        effective = int(lines["Gid"].split()[1])
        groups = tuple(dict.fromkeys((effective, *map(int, lines["Groups"].split()))))
    return ProcStatus(
        uid=None if uid is None else int(uid), groups=groups, confinement=_confinement(lines)
    )


def _confinement(lines: dict[str, str]) -> tuple[str, ...] | None:
    if "NoNewPrivs" not in lines or "Seccomp" not in lines:
        return None
    flags = (("no_new_privs", "NoNewPrivs"), ("seccomp", "Seccomp"))
    return tuple(name for name, key in flags if lines[key].strip() != "0")


def holds_flock(text: str, pid: str) -> bool:
    """Whether ``/proc/<pid>/fdinfo/<n>`` lists an exclusive flock that process ``pid`` took.

    ``lock: 1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF``, for this open file alone.
    """
    for line in text.split("\n"):
        words = line.split()
        if words[:1] == ["lock:"] and words[2:6] == ["FLOCK", "ADVISORY", "WRITE", pid]:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """Where a process stands in the hierarchy that systemd manages."""

    path: str
    version: int


def parse_cgroup(text: str) -> Cgroup | None:
    """The cgroup of ``/proc/<pid>/cgroup``: version 2's, else that of ``name=systemd``.

    Where both exist (the hybrid layout) systemd keeps both alike; a version 2 path of ``/``
    beside a longer ``name=systemd`` one means that systemd uses only the latter.
    """
    unified: str | None = None
    named: str | None = None
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if number == "0" and not controllers:
            unified = path
        elif controllers == "name=systemd":
            named = path
    if named is not None and unified in (None, "/"):
        return Cgroup(path=named, version=1)
    return None if unified is None else Cgroup(path=unified, version=2)
