"""Whether the OS lets this process do what a job requires: granted, denied or unknown.

A requirement is text, ``kind:argument``:

==================  =====================================================================
``read:/path``      read a byte of the file, or list the folder; ``~/`` is the user's home
``write:/path``     make a nameless file in the folder, or open the file for writing
``exec:NAME``       find a program, by its name on ``PATH`` or its absolute path
``fda``             macOS: Full Disk Access
==================  =====================================================================

A probe *acts*: it reads, because ``access(2)`` does not see TCC or Landlock. It answers for the
calling process, so it has to run in the owner. It never changes anything, never blocks on a
pipe and never makes the OS ask the user: on macOS the places whose first touch opens a dialog
(Desktop, Documents, Downloads, other apps' containers, removable and network volumes) are not
touched, and answered unknown.

'Denied' is the answer only where the OS refused (EACCES, EPERM, a read-only file system), or a
program is not there. What does not exist is unknown: it may be hidden.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from enum import StrEnum
from pathlib import PurePosixPath

from tenure.domain.errors import InvalidInput

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PROMPTING = (
    "~/Desktop",
    "~/Documents",
    "~/Downloads",
    "~/Library/Containers",
    "~/Library/Group Containers",
    "~/Library/Mobile Documents",
    "~/Library/CloudStorage",
    "~/Pictures/Photos Library.photoslibrary",
    "/Volumes",
    "/Network",
)
_TCC_DATABASE = "/Library/Application Support/com.apple.TCC/TCC.db"
_TCC_FOLDERS = ("~/Library/Safari", "~/Library/Mail", "~/Library/Messages")
_SQLITE_MAGIC = b"SQLite format 3\0"


class ProbeAnswer(StrEnum):
    """What a probe found out."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


def check_requirement(requirement: str) -> None:
    """Raise InvalidInput unless ``requirement`` is one that can be probed. Touches nothing."""
    kind, _, argument = requirement.partition(":")
    if requirement == "fda":
        return
    if kind not in ("read", "write", "exec"):
        raise InvalidInput(
            f"{requirement!r} is not a known capability",
            remedy="use read:/path, write:/path, exec:NAME or fda",
            field="requires",
        )
    plain = argument.isprintable() and argument == argument.strip()
    if not argument or not plain or (kind == "exec" and argument.startswith("-")):
        raise InvalidInput(f"{requirement!r} does not say what to {kind}", field="requires")
    if kind != "exec" and not argument.startswith(("/", "~/")):
        raise InvalidInput(
            f"{requirement!r} needs an absolute path", remedy="or one with ~/", field="requires"
        )


def probe(requirement: str) -> ProbeAnswer:
    """Try what ``requirement`` asks for, here and now. Never raises; safe from any thread."""
    try:
        check_requirement(requirement)
    except InvalidInput:
        return ProbeAnswer.UNKNOWN
    if requirement == "fda":
        return _full_disk_access() if _is_mac() else ProbeAnswer.UNKNOWN
    kind, _, argument = requirement.partition(":")
    if kind == "exec":
        if argument.startswith("/") and not os.path.lexists(argument):
            return ProbeAnswer.UNKNOWN
        return ProbeAnswer.GRANTED if shutil.which(argument) else ProbeAnswer.DENIED
    path = _expand(argument)
    if _prompts(path):
        return ProbeAnswer.UNKNOWN
    try:
        return _read_one(path) if kind == "read" else _open_to_write(path)
    except OSError as error:
        return ProbeAnswer.DENIED if error.errno in _REFUSALS else ProbeAnswer.UNKNOWN


def _read_one(path: str) -> ProbeAnswer:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path) as entries:
                next(entries, None)
            return ProbeAnswer.GRANTED
        if not stat.S_ISREG(status.st_mode):
            return ProbeAnswer.GRANTED  # a device, pipe or socket: reading would take something
        # Some macOS versions show a protected file as if it were at its end.
        whole = os.read(descriptor, 1) or not status.st_size
        return ProbeAnswer.GRANTED if whole else ProbeAnswer.UNKNOWN
    finally:
        os.close(descriptor)


def _open_to_write(path: str) -> ProbeAnswer:
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        os.close(os.open(path, os.O_WRONLY))  # no truncation: nothing is changed
        return ProbeAnswer.GRANTED
    if not stat.S_ISDIR(status.st_mode):
        return ProbeAnswer.UNKNOWN
    nameless = getattr(os, "O_TMPFILE", 0)
    if nameless:  # Linux: a file without a name vanishes with its descriptor
        os.close(os.open(path, nameless | os.O_WRONLY, 0o600))
        return ProbeAnswer.GRANTED
    return ProbeAnswer.UNKNOWN if os.access(path, os.W_OK | os.X_OK) else ProbeAnswer.DENIED


def _full_disk_access() -> ProbeAnswer:
    """Read what only Full Disk Access opens. Untested on a real Mac.

    Granted if one such folder can be listed or the system's TCC database be read as what it is;
    denied on EPERM (TCC's answer; EACCES is the file's mode); else unknown, also where newer
    versions hide the files.
    """
    answers = set()
    for folder in _TCC_FOLDERS:
        try:
            os.listdir(_expand(folder))
            answers.add(ProbeAnswer.GRANTED)
        except OSError as error:
            answers.add(ProbeAnswer.DENIED if error.errno == errno.EPERM else ProbeAnswer.UNKNOWN)
    try:
        with open(_TCC_DATABASE, "rb") as file:
            genuine = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
        answers.add(ProbeAnswer.GRANTED if genuine else ProbeAnswer.UNKNOWN)
    except OSError as error:
        answers.add(ProbeAnswer.DENIED if error.errno == errno.EPERM else ProbeAnswer.UNKNOWN)
    if ProbeAnswer.DENIED in answers:
        return ProbeAnswer.DENIED
    return ProbeAnswer.GRANTED if ProbeAnswer.GRANTED in answers else ProbeAnswer.UNKNOWN


def _expand(path: str) -> str:
    """``~/`` by the passwd entry and not by ``HOME``, so that all processes mean one place."""
    if not path.startswith("~/"):
        return path
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_dir + path[1:]
    except (ImportError, KeyError):  # Windows; a uid without an entry
        return os.path.expanduser(path)


def _prompts(path: str) -> bool:
    """Whether macOS may open a dialog when ``path`` is touched."""
    if not _is_mac():
        return False
    # Its file systems ignore case, and a link may lead there.
    places = {
        PurePosixPath(form.casefold()) for form in (os.path.normpath(path), os.path.realpath(path))
    }
    areas = {form for area in map(_expand, _PROMPTING) for form in (area, os.path.realpath(area))}
    return any(place.is_relative_to(area.casefold()) for place in places for area in areas)


def _is_mac() -> bool:
    return sys.platform == "darwin"
