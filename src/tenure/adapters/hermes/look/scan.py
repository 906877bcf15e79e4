"""Every process as the operating system shows it: arguments, open files, locks, threads.

Opens only files of ``/proc``, takes no lock, sends no signal. A process that ends meanwhile gives
empty answers; one that may not be read gives None.
Arguments and environment are passed on as stated; the callers decide what they are worth beside
what is *observed* (open files, locks, threads).

Source: proc(5): ``cmdline``, ``environ``, ``fd``, ``fdinfo`` (the ``lock:`` lines), ``task``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from tenure.domain.errors import PASSING, OutcomeUnknown
from tenure.host.linux.proc import parse_stat

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file by the path that the system names; ``deleted`` if that path is gone."""

    descriptor: int
    path: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """When a process started: the stamp that Hermes too records, and the instant (UTC)."""

    stamp: int
    at: datetime


class Scan(Protocol):
    """One system's answers. Safe from any thread."""

    def pids(self) -> list[int]: ...
    def argv(self, pid: int) -> tuple[str, ...]:
        """The arguments it was started with; () if it is gone or has none."""

    def environ(self, pid: int) -> Mapping[str, str] | None:
        """The environment it was started with; None if that may not be read."""

    def folder(self, pid: int) -> str | None:
        """Its working folder."""

    def user(self, pid: int) -> int | None:
        """Its uid; None if the process does not exist, or it is unknown."""

    def start(self, pid: int) -> ProcessStart | None: ...
    def threads(self, pid: int) -> frozenset[str]:
        """The names of its threads, where the system keeps any; cut to 15 letters on Linux."""

    def files(self, pid: int) -> tuple[OpenFile, ...] | None:
        """Its open files that have a path; None if they may not be read."""

    def file_id(self, pid: int, file: OpenFile) -> tuple[int, int] | None:
        """Device and inode of an open file, wherever its path may lead from here."""

    def locks(self, pid: int, file: OpenFile) -> bool | None:
        """Whether this process took an ``flock`` through that open file; None: unknown."""

    def same_folder(self, pid: int, path: str, ours: str) -> bool | None:
        """Whether ``path``, as that process sees it, is our ``ours``; None: unknown."""

    def shares_paths(self, pid: int) -> bool:
        """Whether a path means the same to that process and to us."""


def _unseen(error: OSError) -> OutcomeUnknown:
    return OutcomeUnknown(f"the processes cannot be listed now: {error.strerror or error}")


class LinuxScan:
    """``/proc``, or a recorded tree of the same form. ``boot`` is the instant of the boot, UTC.

    What has ended, or is another user's, is left out; raises OutcomeUnknown where the look itself
    fails (no descriptor free): processes that were not seen are not gone.
    """

    def __init__(self, proc: str = "/proc", boot: float | None = None) -> None:
        self._proc = proc
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._boot = _booted() if boot is None else boot

    def pids(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self._proc) if name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unseen(error) from error

    def argv(self, pid: int) -> tuple[str, ...]:
        text = self._read(pid, "cmdline")
        return tuple(os.fsdecode(text).rstrip("\0").split("\0")) if text else ()

    def environ(self, pid: int) -> Mapping[str, str] | None:
        text = self._read(pid, "environ")
        if text is None:
            return None
        pairs = (entry.partition("=") for entry in os.fsdecode(text).split("\0"))
        return {name: value for name, equals, value in pairs if equals}

    def folder(self, pid: int) -> str | None:
        return self._link(f"{self._proc}/{pid}/cwd")

    def user(self, pid: int) -> int | None:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid
        except OSError:
            return None

    def start(self, pid: int) -> ProcessStart | None:
        text = self._read(pid, "stat")
        if not text:
            return None
        with contextlib.suppress(ValueError, IndexError):
            stat = parse_stat(text.decode("utf-8", "backslashreplace"))
            if not stat.dead:
                at = datetime.fromtimestamp(self._boot + stat.start / self._ticks, UTC)
                return ProcessStart(stat.start, at)
        return None

    def threads(self, pid: int) -> frozenset[str]:
        found = set()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"{self._proc}/{pid}/task"):
                name = self._read(pid, f"task/{thread}/comm")
                found.add((name or b"").decode("utf-8", "replace").strip())
        return frozenset(found - {""})

    def files(self, pid: int) -> tuple[OpenFile, ...] | None:
        try:
            names = os.listdir(f"{self._proc}/{pid}/fd")
        except PermissionError:
            return None
        except (FileNotFoundError, ProcessLookupError):
            return ()
        except OSError as error:
            raise _unseen(error) from error
        return tuple(self._files(pid, names))

    def _files(self, pid: int, names: list[str]) -> Iterator[OpenFile]:
        for name in names:
            path = self._link(f"{self._proc}/{pid}/fd/{name}")
            if path is not None and path.startswith("/") and not path.startswith("/dev/"):
                yield OpenFile(int(name), path.removesuffix(_DELETED), path.endswith(_DELETED))

    def file_id(self, pid: int, file: OpenFile) -> tuple[int, int] | None:
        try:
            found = os.stat(f"{self._proc}/{pid}/fd/{file.descriptor}")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def locks(self, pid: int, file: OpenFile) -> bool | None:
        text = self._read(pid, f"fdinfo/{file.descriptor}")
        if text is None:
            return None
        # The kernel names who took it: a child that was handed the open file did not.
        return any(
            fields[:1] == [b"lock:"] and fields[2:6:3] == [b"FLOCK", b"%d" % pid]
            for fields in map(bytes.split, text.splitlines())
        )

    def same_folder(self, pid: int, path: str, ours: str) -> bool | None:
        if self.shares_paths(pid):
            return os.path.realpath(path) == os.path.realpath(ours)
        try:
            return os.path.samestat(os.stat(f"{self._proc}/{pid}/root{path}"), os.stat(ours))
        except FileNotFoundError:
            return False
        except OSError:
            return None

    def shares_paths(self, pid: int) -> bool:
        theirs = self._link(f"{self._proc}/{pid}/ns/mnt")
        return theirs is None or theirs == self._link(f"{self._proc}/self/ns/mnt")

    def _read(self, pid: int, name: str) -> bytes | None:
        try:
            with open(f"{self._proc}/{pid}/{name}", "rb", buffering=0) as file:
                return b"".join(iter(lambda: file.read(1 << 17), b""))
        except OSError as error:
            if error.errno in PASSING:
                raise _unseen(error) from error
            return None

    def _link(self, path: str) -> str | None:
        try:
            return os.readlink(path)
        except OSError:
            return None


class PsutilScan:
    """macOS and Windows, by psutil. Untested on real machines; what fails is 'not to be read'."""

    def pids(self) -> list[int]:
        import psutil

        return sorted(psutil.pids())

    def argv(self, pid: int) -> tuple[str, ...]:
        return tuple(self._ask(pid, "cmdline") or ())

    def environ(self, pid: int) -> Mapping[str, str] | None:
        found: Mapping[str, str] | None = self._ask(pid, "environ")
        return found

    def folder(self, pid: int) -> str | None:
        found: str | None = self._ask(pid, "cwd")
        return found

    def user(self, pid: int) -> int | None:
        found = self._ask(pid, "uids")
        return None if found is None else int(found.effective)

    def start(self, pid: int) -> ProcessStart | None:
        created = self._ask(pid, "create_time")
        if created is None:
            return None
        # Hermes records hundredths of a second without /proc.
        return ProcessStart(round(created * 100), datetime.fromtimestamp(created, UTC))

    def threads(self, pid: int) -> frozenset[str]:
        return frozenset()

    def files(self, pid: int) -> tuple[OpenFile, ...] | None:
        found = self._ask(pid, "open_files")
        return None if found is None else tuple(OpenFile(f.fd, f.path) for f in found)

    def file_id(self, pid: int, file: OpenFile) -> tuple[int, int] | None:
        try:
            found = os.stat(file.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def locks(self, pid: int, file: OpenFile) -> bool | None:
        return None

    def same_folder(self, pid: int, path: str, ours: str) -> bool | None:
        return os.path.realpath(path) == os.path.realpath(ours)

    def shares_paths(self, pid: int) -> bool:
        return True

    def _ask(self, pid: int, what: str) -> Any:
        import psutil

        try:
            return getattr(psutil.Process(pid), what)()
        except (psutil.Error, OSError, AttributeError, ValueError):
            return None


def system_scan() -> Scan:
    """The one for this system."""
    return LinuxScan() if sys.platform == "linux" else PsutilScan()


def _booted() -> float:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - time.monotonic()
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
