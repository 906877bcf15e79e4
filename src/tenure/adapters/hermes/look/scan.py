"""Every process as the operating system shows it, and who holds a lock file of Hermes.

Opens only files of ``/proc``, takes no lock, sends no signal. A process that ends meanwhile gives
empty answers; one that may not be read gives None. Arguments and environment are passed on as
stated; the callers decide what they are worth beside what is *observed* (open files, locks,
threads).

Source: proc(5): ``cmdline``, ``environ``, ``fd``, ``fdinfo`` (the ``lock:`` lines), ``task``,
``/proc/locks``; flock(2).
"""

from __future__ import annotations

import abc
import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from tenure.domain.errors import PASSING, OutcomeUnknown
from tenure.host.linux.proc import parse_stat

_DELETED = " (deleted)"
_MACOS = sys.platform == "darwin"


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


class Scan(abc.ABC):
    """One system's answers. Safe from any thread."""

    @abc.abstractmethod
    def pids(self) -> list[int]: ...

    @abc.abstractmethod
    def argv(self, pid: int) -> tuple[str, ...]:
        """The arguments it was started with; () if it is gone or has none."""

    @abc.abstractmethod
    def environ(self, pid: int) -> Mapping[str, str] | None:
        """The environment it was started with; None if that may not be read."""

    @abc.abstractmethod
    def folder(self, pid: int) -> str | None:
        """Its working folder."""

    @abc.abstractmethod
    def user(self, pid: int) -> int | None:
        """Its uid; None if the process does not exist, or it is unknown."""

    @abc.abstractmethod
    def start(self, pid: int) -> ProcessStart | None: ...

    @abc.abstractmethod
    def files(self, pid: int) -> tuple[OpenFile, ...] | None:
        """Its open files that have a path; None if they may not be read."""

    def threads(self, pid: int) -> frozenset[str]:
        """The names of its threads, where the system keeps any; cut to 15 letters on Linux."""
        return frozenset()

    def file_id(self, pid: int, file: OpenFile) -> tuple[int, int] | None:
        """Device and inode of an open file, whatever is at its path here."""
        try:
            state = os.stat(file.path)
        except OSError:
            return None
        return state.st_dev, state.st_ino

    def locks(self, pid: int, file: OpenFile) -> bool | None:
        """Whether this process took an ``flock`` through that open file; None: unknown."""
        return None

    def same_folder(self, pid: int, path: str, ours: str) -> bool | None:
        """Whether ``path``, as that process sees it, is our ``ours``; None: unknown."""
        return os.path.realpath(path) == os.path.realpath(ours)

    def shares_paths(self, pid: int) -> bool:
        """Whether a path means the same to that process and to us."""
        return True


def _unseen(error: OSError) -> OutcomeUnknown:
    return OutcomeUnknown(f"the processes cannot be listed now: {error.strerror or error}")


class LinuxScan(Scan):
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
            process = parse_stat(text.decode("utf-8", "backslashreplace"))
            if not process.dead:
                at = datetime.fromtimestamp(self._boot + process.start / self._ticks, UTC)
                return ProcessStart(process.start, at)
        return None

    def threads(self, pid: int) -> frozenset[str]:
        names = set()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"{self._proc}/{pid}/task"):
                name = self._read(pid, f"task/{thread}/comm")
                names.add((name or b"").decode("utf-8", "replace").strip())
        return frozenset(names - {""})

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
            state = os.stat(f"{self._proc}/{pid}/fd/{file.descriptor}")
        except OSError:
            return None
        return state.st_dev, state.st_ino

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
            return super().same_folder(pid, path, ours)
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


class PsutilScan(Scan):
    """macOS and Windows, by psutil. Untested on real machines; what fails is 'not to be read'."""

    def pids(self) -> list[int]:
        import psutil

        return sorted(psutil.pids())

    def argv(self, pid: int) -> tuple[str, ...]:
        return tuple(_ask_psutil(pid, "cmdline") or ())

    def environ(self, pid: int) -> Mapping[str, str] | None:
        return cast("Mapping[str, str] | None", _ask_psutil(pid, "environ"))

    def folder(self, pid: int) -> str | None:
        return cast("str | None", _ask_psutil(pid, "cwd"))

    def user(self, pid: int) -> int | None:
        uids = _ask_psutil(pid, "uids")
        return None if uids is None else int(uids.effective)

    def start(self, pid: int) -> ProcessStart | None:
        created = _ask_psutil(pid, "create_time")
        if created is None:
            return None
        # Hermes records hundredths of a second without /proc.
        return ProcessStart(round(created * 100), datetime.fromtimestamp(created, UTC))

    def files(self, pid: int) -> tuple[OpenFile, ...] | None:
        opened = _ask_psutil(pid, "open_files")
        return None if opened is None else tuple(OpenFile(f.fd, f.path) for f in opened)


def _ask_psutil(pid: int, what: str) -> Any:
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


# -- locks -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file at one moment."""

    known: bool
    held: bool | None = None
    """None: unknown."""
    pid: int | None = None
    """The holder; None also where it is held by a process that is hidden from here."""
    named: bool = True
    """False where the system says that it is held, but not by which process."""
    fence: bool = False
    """The path is a folder: no ticker can open it, so none can lock it."""


UNKNOWN = Lock(known=False)


def read_lock(
    path: Path,
    *,
    proc: str = "/proc",
    holders: Sequence[int] | None = None,
    linux: bool = sys.platform == "linux",
) -> Lock:
    """The lock at ``path``. ``holders``: pids seen to hold it by their own descriptors.

    On Linux ``/proc/locks`` names the holder of every ``flock`` by device and inode. macOS says
    whether it is held. Elsewhere the answer is 'unknown': to find out one would have to take the
    lock, and a tick that finds it taken is skipped.
    """
    try:
        file = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Lock(known=True, held=False)
    except OSError:
        return UNKNOWN
    if stat.S_ISDIR(file.st_mode):
        return Lock(known=True, held=False, fence=True)
    if holders:
        return Lock(known=True, held=True, pid=holders[0])
    if not linux:
        held = _is_held(path)
        return UNKNOWN if held is None else Lock(known=True, held=held, named=False)
    try:
        table = Path(proc, "locks").read_text("ascii", "replace")
    except OSError:
        return UNKNOWN
    doubtful = False
    for pid, device, inode in _flocks(table.splitlines()):
        if inode != file.st_ino:
            continue
        if device == file.st_dev:
            return Lock(known=True, held=True, pid=pid if pid > 0 else None)
        # btrfs and overlays show a file another device number than the kernel's lock table does.
        doubtful = True
    return UNKNOWN if doubtful else Lock(known=True, held=False)


def _is_held(path: Path) -> bool | None:
    if not _MACOS:
        return None
    from tenure.host.macos.calls import is_locked

    return is_locked(str(path))


def _flocks(lines: Iterable[str]) -> Iterable[tuple[int, int, int]]:
    """Pid, device and inode of every ``flock`` that is held; those that wait are left out."""
    for line in lines:
        fields = line.split()
        if len(fields) < 6 or fields[1] != "FLOCK":
            continue
        try:
            major, minor, inode = fields[5].split(":")
            yield int(fields[4]), os.makedev(int(major, 16), int(minor, 16)), int(inode)
        except ValueError:
            continue
