"""What a loss of power leaves of a folder: every write is recorded, and the disk is built again.

:func:`recording` notes each change of the files in one folder, in order, together with the marks
that a test sets where the program acts on what it wrote::

    with recording(folder) as journal:
        authority = store.take_ownership(...)
        journal.mark("took", authority.term)
    for state in journal.crash_states(random.Random(1)):
        state.write_to(somewhere)        # what the disk held at that instant
        ... state.marks                  # what the program had acted on by then

A write is on the disk for certain once its file was synced, a name once its folder was synced.
Of what came later a crash keeps nothing, all of it, or any part: each write is kept, lost or torn
at a sector, each change of names kept or lost.

SQLite's own files are seen through a VFS that wraps the default one (by ``ctypes``, so that no
compiler is needed); Python's through ``os``. The wrapped VFS can also be made to fail: see
:class:`Faults`. Every mark and every operation of this process goes into one list, so that "acted
on before it was synced" is a matter of order. Other processes are not seen.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

SECTOR_BYTES = 512
WRITES_TRIED = 0.2
"""The share of writes after which a crash is tried, too."""


# -- what happened -----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset of a file; ``file`` is a number of its own, never used twice."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    file: int


@dataclass(frozen=True, slots=True)
class Names:
    """Names that now lead to a file, or to none; one rename is one change."""

    to: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class SyncFolder:
    pass


@dataclass(frozen=True, slots=True)
class Mark:
    """What the program did, or was answered, at this point."""

    what: str
    value: Any


Step = Write | Truncate | Sync | Names | SyncFolder | Mark


@dataclass(slots=True)
class State:
    """The folder after a crash, and what had been acted on before it."""

    files: dict[str, bytes]
    marks: tuple[Mark, ...]
    after: int
    """How many steps of the journal came before the crash."""
    kept: str
    """Of what was not synced: none, all, or a part."""

    def write_to(self, folder: Path) -> None:
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def marked(self, what: str) -> list[Any]:
        return [mark.value for mark in self.marks if mark.what == what]


@dataclass(slots=True)
class Journal:
    """The steps in their order. Thread-safe: appending is atomic."""

    steps: list[Step] = field(default_factory=list)
    recording: bool = True

    def add(self, step: Step) -> None:
        if self.recording:
            self.steps.append(step)

    def mark(self, what: str, value: Any) -> None:
        self.add(Mark(what, value))

    def crash_states(self, chance: random.Random, parts: int = 1) -> Iterator[State]:
        """A crash after each step, of writes that follow each other after some: with nothing kept
        of what was not synced, with all of it, and ``parts`` times with a part of it. A state that
        is the same as before comes once."""
        seen: set[tuple[tuple[tuple[str, bytes], ...], int]] = set()
        for count in range(len(self.steps) + 1):
            steps = self.steps[:count]
            if steps and isinstance(steps[-1], Write) and chance.random() > WRITES_TRIED:
                continue
            marks = tuple(step for step in steps if isinstance(step, Mark))
            ways: list[tuple[str, Callable[[], float]]] = [
                ("none", lambda: 0.0),
                ("all", lambda: 1.0),
            ]
            ways += [("a part", chance.random)] * parts
            for kept, way in ways:
                files = _disk(steps, way)
                key = (tuple(sorted(files.items())), len(marks))
                if key not in seen:
                    seen.add(key)
                    yield State(files, marks, count, kept)


def _disk(steps: list[Step], way: Callable[[], float]) -> dict[str, bytes]:
    """``way`` is asked for each step that was not synced: 0 loses it, 1 keeps it; a number between
    is the share of a write that is kept, and half or more keeps a change of names."""
    synced = {step.file: n for n, step in enumerate(steps) if isinstance(step, Sync)}
    folder = max((n for n, step in enumerate(steps) if isinstance(step, SyncFolder)), default=-1)
    names: dict[str, int | None] = {}
    contents: dict[int, bytearray] = {}
    for n, step in enumerate(steps):
        if isinstance(step, Names):
            if n < folder or way() >= 0.5:
                names.update(step.to)
        elif isinstance(step, Write | Truncate):
            content = contents.setdefault(step.file, bytearray())
            share = 1.0 if n < synced.get(step.file, -1) else way()
            if isinstance(step, Truncate):
                if share >= 0.5:
                    _cut(content, step.size)
            elif share > 0:
                _put(content, step.offset, _torn(step.data, share))
    return {
        name: bytes(contents.get(file, b"")) for name, file in names.items() if file is not None
    }


def _torn(data: bytes, share: float) -> bytes:
    """Whole where three quarters or more are kept, lost below a quarter: a part is rare."""
    if share >= 0.75:
        return data
    if share < 0.25:
        return b""
    return data[: int(len(data) * (share - 0.25) * 2) // SECTOR_BYTES * SECTOR_BYTES]


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if not data:
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _cut(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


# -- recorded ----------------------------------------------------------------------------------
class _Recorder:
    """Gives each file of the folder its number, and notes what is done to it."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = os.path.realpath(folder)
        self.journal = journal
        self._next = 0
        self._numbers: dict[tuple[int, int], int] = {}
        self._contents: dict[int, bytes] = {}
        """Of files that Python writes, as last noted."""
        for name in sorted(os.listdir(folder)):
            path = os.path.join(self.folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                self.named(path)
                self.note_content(path)
                journal.add(Sync(self.number(path)))
        journal.add(SyncFolder())

    def concerns(self, path: Any) -> bool:
        text = os.path.abspath(os.fsdecode(path))
        return os.path.dirname(text) == self.folder

    def number(self, path: Any) -> int:
        return self.number_of(os.stat(path))

    def number_of(self, status: os.stat_result) -> int:
        key = (status.st_dev, status.st_ino)
        if key not in self._numbers:
            self._numbers[key] = self._next = self._next + 1
        return self._numbers[key]

    def path_of(self, status: os.stat_result) -> str | None:
        """Where in the folder that file is, if it is there."""
        with os.scandir(self.folder) as entries:
            found = (entry.path for entry in entries if entry.inode() == status.st_ino)
            return next(found, None)

    def named(self, path: Any) -> int:
        """A name was given to a file, or leads to it again."""
        file = self.number(path)
        self.journal.add(Names(((os.path.basename(os.fsdecode(path)), file),)))
        return file

    def moved(self, old: Any, new: Any) -> None:
        names = [(os.path.basename(os.fsdecode(new)), self.number(new))]
        if self.concerns(old):
            names.append((os.path.basename(os.fsdecode(old)), None))
        self.journal.add(Names(tuple(names)))

    def removed(self, path: Any, status: os.stat_result) -> None:
        if status.st_nlink == 1:  # its inode may be given to another file
            self._numbers.pop((status.st_dev, status.st_ino), None)
        self.journal.add(Names(((os.path.basename(os.fsdecode(path)), None),)))

    def wrote(self, path: Any, offset: int, data: bytes) -> None:
        file = self.number(path)
        content = bytearray(self._contents.get(file, b""))
        _put(content, offset, data)
        self._contents[file] = bytes(content)
        self.journal.add(Write(file, offset, data))

    def note_content(self, path: Any) -> None:
        """What Python wrote into a file since that was last noted, as one write."""
        file = self.number(path)
        with open(path, "rb") as opened:
            content = opened.read()
        if content != self._contents.get(file, b""):
            self._contents[file] = content
            self.journal.add(Truncate(file, 0))
            self.journal.add(Write(file, 0, content))


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[Journal]:
    """Record what this process does to the files that lie in ``folder`` itself."""
    journal = Journal()
    recorder = _Recorder(folder, journal)
    with _python_recorded(recorder), _sqlite_wrapped(recorder, Faults()):
        try:
            yield journal
        finally:
            journal.recording = False


@contextlib.contextmanager
def _python_recorded(recorder: _Recorder) -> Iterator[None]:
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "unlink", "link")}
    moving = {name: getattr(os, name) for name in ("replace", "rename")}

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        new = flags & os.O_CREAT and recorder.concerns(path) and not os.path.lexists(path)
        descriptor: int = real["open"](path, flags, *more, **named)
        if new:
            recorder.named(path)
        return descriptor

    def written(descriptor: int, data: Any) -> int:
        status = os.fstat(descriptor)
        path = recorder.path_of(status) if stat.S_ISREG(status.st_mode) else None
        offset = os.lseek(descriptor, 0, os.SEEK_CUR) if path else 0
        count: int = real["write"](descriptor, data)
        if path:
            recorder.wrote(path, offset, bytes(data)[:count])
        return count

    def synced(descriptor: int) -> None:
        real["fsync"](descriptor)
        status = os.fstat(descriptor)
        if os.path.samestat(status, os.stat(recorder.folder)):
            recorder.journal.add(SyncFolder())
        elif path := recorder.path_of(status):
            recorder.note_content(path)
            recorder.journal.add(Sync(recorder.number_of(status)))

    def unlinked(path: Any, **named: Any) -> None:
        status = os.lstat(path) if not named and recorder.concerns(path) else None
        real["unlink"](path, **named)
        if status is not None:
            recorder.removed(path, status)

    def linked(old: Any, new: Any, **named: Any) -> None:
        real["link"](old, new, **named)
        if recorder.concerns(new):
            recorder.named(new)

    def mover(name: str) -> Callable[..., None]:
        def moved(old: Any, new: Any, **named: Any) -> None:
            if recorder.concerns(old):
                recorder.note_content(old)
            moving[name](old, new, **named)
            if recorder.concerns(new):
                recorder.moved(old, new)

        return moved

    with mock.patch.multiple(
        os,
        open=opened,
        write=written,
        fsync=synced,
        unlink=unlinked,
        remove=unlinked,
        link=linked,
        replace=mover("replace"),
        rename=mover("rename"),
    ):
        yield


# -- SQLite's files ----------------------------------------------------------------------------
class Faults:
    """What SQLite's files are to answer instead of doing it: a SQLite result code, 0 to go on."""

    def before(self, call: str, name: str) -> int:
        """``call`` is open, write, sync, truncate or delete; ``name`` the file's. Nothing is done
        where this gives a code."""
        return 0

    def after(self, call: str, name: str) -> int:
        """The same once it was done."""
        return 0


_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        *((f"other{n}", _POINTER) for n in range(14)),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        *((name, _POINTER) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"other{n}", _POINTER) for n in range(13)),
    ]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_Methods))]


_kept: list[object] = []
"""SQLite may call what it was given for as long as a connection is open: kept for ever."""

_CREATED = 0x04
_LOG_OR_JOURNAL = 0x80000 | 0x800 | 0x4000
_IS_SQLITE_OK = 0


def sqlite_library() -> ctypes.CDLL | None:
    """The SQLite that the ``sqlite3`` module uses; None where its functions are hidden."""
    try:
        found = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        found.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        found.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        found.sqlite3_vfs_register.argtypes = [_POINTER, ctypes.c_int]
    except (AttributeError, OSError):
        return None
    return found


WHY_NOT = "" if sqlite_library() is not None else "this Python hides the functions of its SQLite"
"""The reason for a skip; empty where SQLite's writes can be seen."""


@contextlib.contextmanager
def failing(folder: Path, faults: Faults) -> Iterator[None]:
    """Let SQLite's files in ``folder`` fail as ``faults`` says, for connections opened inside."""
    journal = Journal(recording=False)
    with _sqlite_wrapped(_Recorder(folder, journal), faults):
        yield


@contextlib.contextmanager
def _sqlite_wrapped(recorder: _Recorder, faults: Faults) -> Iterator[None]:
    library = sqlite_library()
    assert library is not None, WHY_NOT
    default = library.sqlite3_vfs_find(None)
    wrapped = _wrap(default, recorder, faults)
    library.sqlite3_vfs_register(ctypes.byref(wrapped), 1)
    try:
        yield
    finally:
        library.sqlite3_vfs_register(default, 1)


def _wrap(default: Any, recorder: _Recorder, faults: Faults) -> _Vfs:
    vfs = _Vfs.from_buffer_copy(default.contents)
    vfs.name = f"recorded {len(_kept)}".encode()
    real_open, real_delete = _OPEN(vfs.open), _DELETE(vfs.delete)
    files: dict[int, tuple[str, bool]] = {}
    """By the address of SQLite's own record: the path, and whether its folder is to be synced."""
    methods: dict[int, _Methods] = {}

    # A path stays the pointer that it is: SQLite reads what lies behind it, and keeps it.
    def opened(_: Any, path: int | None, file: int, flags: int, out: Any) -> int:
        name = os.fsdecode(ctypes.string_at(path)) if path else ""
        watched = path is not None and recorder.concerns(name)
        if watched and (code := faults.before("open", os.path.basename(name))):
            ctypes.cast(file, ctypes.POINTER(_File)).contents.methods = None
            return code
        new = watched and flags & _CREATED and not os.path.exists(name)
        code = real_open(default_address, path, file, flags, out)
        if code != _IS_SQLITE_OK or not watched:
            return code
        if new:
            recorder.named(name)
        files[file] = (name, bool(flags & _CREATED and flags & _LOG_OR_JOURNAL))
        record = ctypes.cast(file, ctypes.POINTER(_File)).contents
        address = ctypes.addressof(record.methods.contents)
        if address not in methods:
            methods[address] = _wrap_methods(record.methods.contents, files, recorder, faults)
        record.methods = ctypes.pointer(methods[address])
        return code

    def deleted(_: Any, path: int, sync: int) -> int:
        name = os.fsdecode(ctypes.string_at(path))
        if not recorder.concerns(name):
            return real_delete(default_address, path, sync)
        if code := faults.before("delete", os.path.basename(name)):
            return code
        status = os.lstat(name) if os.path.lexists(name) else None
        code = real_delete(default_address, path, sync)
        if code == _IS_SQLITE_OK and status is not None:
            recorder.removed(name, status)
            if sync:
                recorder.journal.add(SyncFolder())
        return code or faults.after("delete", os.path.basename(name))

    default_address = ctypes.addressof(default.contents)
    calls = (_OPEN(opened), _DELETE(deleted))
    vfs.open, vfs.delete = (ctypes.cast(call, _POINTER).value for call in calls)
    _kept.extend((vfs, calls, methods, files))
    return vfs


def _wrap_methods(
    real: _Methods, files: dict[int, tuple[str, bool]], recorder: _Recorder, faults: Faults
) -> _Methods:
    made = _Methods.from_buffer_copy(real)
    real_write, real_truncate = _WRITE(made.write), _TRUNCATE(made.truncate)
    real_sync, real_close = _SYNC(made.sync), _CLOSE(made.close)

    def carry(call: str, file: int, do: Callable[[], int], note: Callable[[str], None]) -> int:
        path = files[file][0]
        name = os.path.basename(path)
        if code := faults.before(call, name):
            return code
        code = do()
        if code == _IS_SQLITE_OK and recorder.journal.recording and os.path.exists(path):
            note(path)
        return code or faults.after(call, name)

    def written(file: int, data: int, amount: int, offset: int) -> int:
        def note(path: str) -> None:
            content = ctypes.string_at(data, amount)
            recorder.journal.add(Write(recorder.number(path), offset, content))

        return carry("write", file, lambda: real_write(file, data, amount, offset), note)

    def truncated(file: int, size: int) -> int:
        def note(path: str) -> None:
            recorder.journal.add(Truncate(recorder.number(path), size))

        return carry("truncate", file, lambda: real_truncate(file, size), note)

    def synced(file: int, flags: int) -> int:
        def note(path: str) -> None:
            recorder.journal.add(Sync(recorder.number(path)))
            if files[file][1]:  # SQLite syncs the folder of a log at its first sync, and once
                files[file] = (path, False)
                recorder.journal.add(SyncFolder())

        return carry("sync", file, lambda: real_sync(file, flags), note)

    def closed(file: int) -> int:
        files.pop(file, None)
        return real_close(file)

    calls = (_WRITE(written), _TRUNCATE(truncated), _SYNC(synced), _CLOSE(closed))
    made.write, made.truncate, made.sync, made.close = (
        ctypes.cast(call, _POINTER).value for call in calls
    )
    _kept.append(calls)
    return made
