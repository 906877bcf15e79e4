"""A link of the ancestry counts only if it is one beyond doubt (C2): pids are used again.

The launcher of a process started before it. Where the process at the parent's pid is younger, the
pid was given to another one since, and that one launched nothing. The table of processes is made
up here, because a pid cannot be made to be used again at will.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tenure.domain.policy.evidence import ChainLink
from tenure.host.linux import processes as linux_processes
from tenure.host.linux.proc import Executable, Stat
from tenure.host.psutil_host import PsutilHost

JOB, LAUNCHER, ABOVE = 40, 30, 20
INIT = 1
Table = dict[int, tuple[int, int]]
"""By pid: the parent and the start."""
WHOLE: Table = {JOB: (LAUNCHER, 400), LAUNCHER: (ABOVE, 300), ABOVE: (INIT, 200), INIT: (0, 1)}
"""Ordinary: each started after its parent."""


@dataclass
class Made:
    """Answers as /proc would; ``stat_of`` can be made to change while it is read."""

    table: Table
    then: Callable[[int, Table], None] = lambda pid, table: None

    def stat_of(self, pid: int) -> Stat | None:
        found = self.table.get(pid)
        if found is None:
            return None
        parent, start = found
        stat = Stat(
            pid=pid, name=f"p{pid}", state="S", parent=parent, session=pid, threads=1, start=start
        )
        self.then(pid, self.table)
        return stat


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[int], bool]]:
    def ask(table: Table, **more: object) -> tuple[list[int], bool]:
        made = Made(dict(table), **more)  # type: ignore[arg-type]
        monkeypatch.setattr(linux_processes, "stat_of", made.stat_of)
        monkeypatch.setattr(
            linux_processes,
            "executable_of",
            lambda pid: (Executable(path=f"/opt/p{pid}", deleted=False), True),
        )
        monkeypatch.setattr(linux_processes, "service_of_process", lambda pid: (None, None))
        lineage = linux_processes.lineage_of(JOB)
        return [link.pid for link in lineage.links], lineage.complete

    return ask


def test_an_ordinary_chain_is_whole(chain: Callable[..., tuple[list[int], bool]]) -> None:
    assert chain(WHOLE) == ([JOB, LAUNCHER, ABOVE, INIT], True)


@pytest.mark.parametrize(
    ("pid", "listed"),
    [(LAUNCHER, [JOB]), (ABOVE, [JOB, LAUNCHER]), (INIT, [JOB, LAUNCHER, ABOVE])],
)
def test_a_younger_parent_is_no_launcher(
    chain: Callable[..., tuple[list[int], bool]], pid: int, listed: list[int]
) -> None:
    """At any link: it and all above it are not of this lineage, and that is said."""
    child = listed[-1]
    younger = WHOLE | {pid: (WHOLE[pid][0], WHOLE[child][1] + 1)}
    assert chain(younger) == (listed, False)


def test_a_parent_of_the_same_tick_may_be_the_launcher(
    chain: Callable[..., tuple[list[int], bool]],
) -> None:
    """A tick is a hundredth of a second: a shell and its command share one as a rule."""
    same = WHOLE | {LAUNCHER: (ABOVE, WHOLE[JOB][1])}
    assert chain(same) == ([JOB, LAUNCHER, ABOVE, INIT], True)


@pytest.mark.parametrize("new", [None, (INIT, 400), (LAUNCHER, 500)])
def test_a_link_that_changed_while_it_was_read_is_none(
    chain: Callable[..., tuple[list[int], bool]], new: tuple[int, int] | None
) -> None:
    """The child ended, was adopted, or its pid was given to another process meanwhile: what was
    read at the parent's pid may be of a third one."""

    def then(pid: int, table: Table) -> None:
        if pid == LAUNCHER:
            if new is None:
                table.pop(JOB, None)
            else:
                table[JOB] = new

    assert chain(WHOLE, then=then) == ([JOB], False)


def test_a_parent_that_is_gone_ends_the_chain(
    chain: Callable[..., tuple[list[int], bool]],
) -> None:
    without = {pid: entry for pid, entry in WHOLE.items() if pid != LAUNCHER}
    assert chain(without) == ([JOB], False)


class FakePsutil(PsutilHost):
    """The same table as macOS and Windows would tell it."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def _link(self, process: object) -> ChainLink:
        pid: int = process.pid  # type: ignore[attr-defined]
        start = self._table[pid][1]
        return ChainLink(pid=pid, name=f"p{pid}", executable=f"/opt/p{pid}", start=start)


@pytest.mark.parametrize(
    ("pid", "start", "listed", "whole"),
    [
        (INIT, 1, [JOB, LAUNCHER, ABOVE, INIT], True),
        (LAUNCHER, 401, [JOB], False),
        (ABOVE, 301, [JOB, LAUNCHER], False),
        (INIT, 201, [JOB, LAUNCHER, ABOVE], False),
        (LAUNCHER, None, [JOB], False),
    ],
)
def test_the_other_platforms_say_the_same(
    monkeypatch: pytest.MonkeyPatch, pid: int, start: int | None, listed: list[int], whole: bool
) -> None:
    table = WHOLE | {pid: (WHOLE[pid][0], start)}  # type: ignore[dict-item]

    class Process:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def ppid(self) -> int:
            return table[self.pid][0]

    import psutil

    monkeypatch.setattr(psutil, "Process", Process)
    links, complete = FakePsutil(table).chain_of(JOB)
    assert ([link.pid for link in links], complete) == (listed, whole)
