"""Where a crontab comes from: ``crontab -l``, a file, or standard input; and which cron is here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tenure.adapters.crontab.times import Dialect
from tenure.domain.errors import InvalidInput, NotFound, OutcomeUnknown, Refused
from tenure.domain.file_text import decode_file, end_lines
from tenure.domain.schedule.zones import load_zone
from tenure.host.local_zone import local_zone

SYSTEM = Path("/etc/crontab")
_SYSTEM_FOLDER = "/etc/cron.d/"
LARGEST = 4_000_000
_PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Source:
    """A crontab's text, and what to type to see it again."""

    text: str
    """Bytes that are not UTF-8 are lone surrogates."""
    name: str
    """``crontab -l``, a path, or ``-``."""
    path: Path | None = None
    system: bool = False


def read_source(file: str | None, *, system: bool, user: str | None) -> Source:
    """The crontab of ``user`` (None: the caller), or a file; ``-`` is standard input.

    Raises NotFound, InvalidInput for what is too large or a folder, Refused without the right.
    """
    if file == "-":
        return Source(_decode(sys.stdin.buffer.read(LARGEST + 1)), "-", system=system)
    if file is None and system:
        file = str(SYSTEM)
    if file is not None:
        path = Path(os.path.abspath(file))
        in_system = path == SYSTEM or str(path).startswith(_SYSTEM_FOLDER)
        return Source(_read(path), file, path, system or in_system)
    return _of_user(user)


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return _decode(file.read(LARGEST + 1))
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", field="file") from None
    except PermissionError:
        raise Refused(
            f"{path} is not readable for this user", remedy=f"sudo cat {path} | ... -"
        ) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", field="file") from None


def _of_user(user: str | None) -> Source:
    argv = ["crontab", *(["-u", user] if user else []), "-l"]
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise NotFound(
            "the crontab command is not installed", remedy="give a file: tenure import crontab FILE"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutcomeUnknown(f"`{shown}` did not answer: {error}") from None
    if done.returncode == 0:
        return Source(_decode(done.stdout), shown)
    message = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
    if "no crontab for" in message:
        raise NotFound(message.splitlines()[-1], remedy="give a file: tenure import crontab FILE")
    raise OutcomeUnknown(f"`{shown}` failed: {message}")


def _decode(content: bytes) -> str:
    if len(content) > LARGEST:
        raise InvalidInput(f"larger than {LARGEST} bytes", field="file")
    try:
        text = decode_file(content, errors="surrogateescape")
    except InvalidInput as error:
        # UTF-16 that is cut short.
        raise InvalidInput(error.text, field="file", remedy=error.remedy) from None
    # Of an old Macintosh.
    return text if "\n" in text else end_lines(text)


def machine_zone(localtime: Path = Path("/etc/localtime")) -> tuple[str, str]:
    """The zone that cron goes by, and why that may not be it: only its data may be known."""
    name = local_zone(localtime)
    try:
        with open(localtime, "rb") as file:
            data = ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return name, ""
    named, year = load_zone(name), datetime.now(UTC).year
    for month in range(1, 13):
        at = datetime(year, month, 15, tzinfo=UTC)
        if at.astimezone(data).utcoffset() != at.astimezone(named).utcoffset():
            return name, f"the machine's time zone is not {name}, and its name is unknown"
    return name, ""


def dialect_here() -> Dialect:
    """That of the ``crontab`` command which is installed; Debian's if that cannot be determined."""
    try:
        done = subprocess.run(
            ["crontab", "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Dialect.DEBIAN
    version = (done.stdout + done.stderr).lower()
    return Dialect.CRONIE if b"cronie" in version else Dialect.DEBIAN
