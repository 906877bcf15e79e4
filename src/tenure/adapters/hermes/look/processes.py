"""Which processes of Hermes belong to a profile: by the store they have open, else by their word.

Authority: a process is *observed* to belong to a profile if it has a file of that profile's store
open: the lock, the logs, the databases, the cron folder. Where it keeps nothing open (a dashboard
of 0.16 before its first request) its arguments and environment are all there is: then it
is *stated*. What is observed wins: a process that names our profile and has another home's log
open belongs to that other home.

``--profile`` sets Hermes' home inside the process, so that the environment that the system shows
still names the root; both are read together here, as Hermes itself does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import (
    Invocation,
    Role,
    is_python,
    read_invocation,
    role_of,
    stated_home,
)
from tenure.adapters.hermes.look.scan import OpenFile, ProcessStart, Scan

_STORE_FOLDERS = ("cron", "logs")
_STORE_FILES = ("gateway.lock", "state.db", "state.db-wal", "state.db-shm")
_TELLING = ("gui.log", "gateway.log", "agent.log", "executions.db", "gateway.lock", "state.db")
"""The open files that identify the home of a process, the most telling first."""


class HomeEvidence(StrEnum):
    """How it is known which home a process works in."""

    OBSERVED = "observed"
    STATED = "stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesCandidate:
    """A process of this profile that may have to do with jobs."""

    pid: int
    start: ProcessStart
    role: Role
    store: HomeEvidence
    seen: str
    """How it was identified, as text."""
    environ_known: bool
    threads: frozenset[str]
    holds_gateway_lock: bool | None
    """By its own open files; None where the system does not say."""
    python: str | None
    """The interpreter it was started with, if its arguments name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHomeProcess:
    """A scheduler-capable process of another home. ``home``: '' if it is unknown."""

    pid: int
    role: Role
    home: str
    store: HomeEvidence
    same_name: bool
    """Its profile has the same name as ours, so it is easily mistaken for one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    members: tuple[HermesCandidate, ...]
    elsewhere: tuple[OtherHomeProcess, ...]
    hidden: tuple[int, ...]
    """Processes of Hermes by their arguments, whose home cannot be examined (root's, contained).
    Those of users who cannot open our home are left out."""


def find_processes(home: HermesHome, scan: Scan, *, skip: frozenset[int] = frozenset()) -> Found:
    """Every process of ``home`` that can tick or run jobs, and those that only look so.

    ``skip``: pids to leave out; the caller's own always is.
    """
    finder = _Finder(home, scan)
    skip |= {os.getpid()}
    for pid in scan.pids():
        if pid not in skip:
            finder.look(pid)
    return Found(
        members=tuple(finder.members),
        elsewhere=tuple(finder.elsewhere),
        hidden=tuple(finder.hidden),
    )


class _Finder:
    def __init__(self, home: HermesHome, scan: Scan) -> None:
        self.home, self.scan = home, scan
        self.prefixes = tuple(f"{home.path / name}{os.sep}" for name in _STORE_FOLDERS)
        self.paths = frozenset(str(home.path / name) for name in _STORE_FILES)
        self.ids = dict(_ids_of(home))
        self.members: list[HermesCandidate] = []
        self.elsewhere: list[OtherHomeProcess] = []
        self.hidden: list[int] = []

    def look(self, pid: int) -> None:
        argv = self.scan.argv(pid)
        invocation = read_invocation(argv)
        if invocation is None and not (argv and is_python(argv[0])):
            return  # tail, an editor, a shell: they look at the store and run nothing
        start = self.scan.start(pid)
        files = self.scan.files(pid)
        if start is None:
            return
        if files is None:
            # Its home may not be looked at: that there is such a process is all there is to say.
            if invocation is not None and role_of(invocation, None) is not None:
                self._hide(pid)
            return
        environ = self.scan.environ(pid) if invocation else None
        own = self._own(pid, files, thorough=invocation is not None)
        if invocation is not None:
            role = role_of(invocation, environ)
        else:  # a program that has only logs open does not work on the jobs
            working = any("/logs/" not in file.path.replace(os.sep, "/") for file in own)
            role = Role.PROGRAM if working else None
        if role is None:
            return
        locks = [self.scan.locks(pid, f) for f in own if _base(f.path) == "gateway.lock"]
        locked = True if True in locks else None if None in locks else False
        other, seen = None, "it holds gateway.lock"
        if not locked:
            other = self._other_home(pid, own, files, invocation, environ)
            seen = "its arguments and environment name this home; it has no file of it open"
            if own:
                seen = f"it has {_short(own[0].path, self.home)} open"
        if other is not None:
            self._leave_out(pid, role, *other)
            return
        candidate = HermesCandidate(
            pid=pid,
            start=start,
            role=Role.GATEWAY if locked else role,
            store=HomeEvidence.OBSERVED if own else HomeEvidence.STATED,
            seen=seen,
            environ_known=environ is not None,
            threads=self.scan.threads(pid),
            holds_gateway_lock=locked,
            python=argv[0] if is_python(argv[0]) else None,
        )
        again = self.scan.start(pid)
        if again is not None and again.stamp == start.stamp:  # else it was two processes
            self.members.append(candidate)

    def _hide(self, pid: int) -> None:
        user = self.scan.user(pid)
        try:
            home = self.home.path.stat()
        except OSError:
            return
        if user in (None, 0, home.st_uid) or home.st_mode & 0o077:
            self.hidden.append(pid)

    def _own(self, pid: int, files: tuple[OpenFile, ...], *, thorough: bool) -> list[OpenFile]:
        """Its open files that belong to our store, the most telling first."""
        shared = self.scan.shares_paths(pid) if files else True
        own = []
        for file in files:
            by_path = shared and (file.path in self.paths or file.path.startswith(self.prefixes))
            # It may have another name there: a container's, or a path through a link.
            if by_path or (
                (thorough or not shared)
                and _base(file.path) in self.ids.values()
                and self.scan.file_id(pid, file) in self.ids
            ):
                own.append(file)
        return sorted(own, key=_rank)

    def _other_home(
        self,
        pid: int,
        own: list[OpenFile],
        files: tuple[OpenFile, ...],
        invocation: Invocation | None,
        environ: Mapping[str, str] | None,
    ) -> tuple[str, HomeEvidence] | None:
        """The other home that it works in, ``""`` for an unknown one; None if it works in ours."""
        other = _home_of_files([file for file in files if file not in own])
        if own and (other is None or _rank(own[0])[0] <= other[0]):
            return None
        if other is not None:
            return other[1], HomeEvidence.OBSERVED
        stated = stated_home(invocation, environ, self.scan.folder(pid)) if invocation else None
        if stated is None:
            return "", HomeEvidence.STATED
        same = self.scan.same_folder(pid, stated, str(self.home.path))
        if same:
            return None
        return "" if same is None else stated, HomeEvidence.STATED

    def _leave_out(self, pid: int, role: Role, where: str, store: HomeEvidence) -> None:
        if not where:
            self._hide(pid)
            return
        path = PurePath(where)
        name = path.name if path.parent.name == "profiles" else "default"
        other = OtherHomeProcess(
            pid=pid, role=role, home=where, store=store, same_name=name == self.home.profile
        )
        self.elsewhere.append(other)


def _ids_of(home: HermesHome) -> Iterator[tuple[tuple[int, int], str]]:
    """Device and inode of the files of the store, with their names."""
    files = [home.path / name for name in _STORE_FILES]
    for folder in _STORE_FOLDERS:
        try:
            files += [Path(entry.path) for entry in os.scandir(home.path / folder)]
        except OSError:
            continue
    for path in files:
        try:
            state = path.stat()
        except OSError:
            continue
        yield (state.st_dev, state.st_ino), path.name


def _home_of_files(files: Sequence[OpenFile]) -> tuple[int, str] | None:
    """The home of the most telling of these files, and the rank of that file."""
    for file in sorted(files, key=_rank):
        path = PurePath(file.path)
        if path.name in _TELLING:
            inside = path.parent.name in _STORE_FOLDERS
            return _rank(file)[0], str(path.parent.parent if inside else path.parent)
    return None


def _rank(file: OpenFile) -> tuple[int, int, str]:
    """How telling: its own log and ledger first. Other homes' files may be open in passing."""
    name = _base(file.path)
    order = _TELLING.index(name) if name in _TELLING else len(_TELLING)
    kind = 0 if ".log" in name else 1 if name.startswith("executions.db") else 2
    return kind, order, name


def _base(path: str) -> str:
    return PurePath(path).name


def _short(path: str, home: HermesHome) -> str:
    inside = PurePath(path)
    return str(inside.relative_to(home.path)) if inside.is_relative_to(home.path) else path
