"""What macOS answers, parsed: pure functions from recorded bytes and text to facts.

Written after the documented layouts; untested on a real Mac. None: the answer does not look as
documented, so it says nothing.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

UNIQUE_SIZE = 56
COALITION_SIZE = 40
TEAM_SIZE = 8 + 64
CODE_HASH_SIZE = 20
STATUS_SIZE = 4
_VALID, _ADHOC = 0x1, 0x2
_UNIQUE = struct.Struct("=16sQQi20x")
_COALITIONS = struct.Struct("=QQ24x")
_APP = re.compile(
    r"application\.(?P<bundle>.+?)\.\d+\.\d+(\.[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A process's number within the boot, and that of the process that launched it."""

    number: int
    launcher: int


def parse_unique(answer: bytes | None) -> Unique | None:
    """``proc_uniqidentifierinfo``: uuid, unique id, the launcher's unique id, version."""
    if answer is None or len(answer) != UNIQUE_SIZE:
        return None
    _, number, launcher, _ = _UNIQUE.unpack(answer)
    return Unique(number=number, launcher=launcher) if number else None


def parse_coalition(answer: bytes | None) -> int | None:
    """``proc_pidcoalitioninfo``: the resource coalition, which a launchd job's children share."""
    if answer is None or len(answer) != COALITION_SIZE:
        return None
    resource, _ = _COALITIONS.unpack(answer)
    return int(resource) or None


def parse_coalition_name(text: str | None, coalition: int | None) -> str | None:
    """The name of a coalition, from the ``resource coalition`` of ``launchctl print pid/N``.

    The block must be at the first level and name the coalition that the kernel reported, so that
    neither a nested block nor another process's text is taken for it.
    """
    if text is None or coalition is None:
        return None
    found: dict[str, str] = {}
    inside = False
    for depth, line in _indented_lines(text):
        if depth == 1:
            if line == "resource coalition = {" and found:
                # A line break in a variable of the environment can imitate a block.
                return None
            inside = line == "resource coalition = {"
        elif inside and depth == 2:
            key, equals, value = line.partition(" = ")
            if equals:
                found.setdefault(key, value)
    if found.get("ID") != str(coalition):
        return None
    return found.get("name") or None


def parse_job_pid(text: str | None) -> int | None:
    """The main process of a service, from ``launchctl print DOMAIN/LABEL``; None: none runs."""
    pids = [
        line.removeprefix("pid = ")
        for depth, line in _indented_lines(text or "")
        if depth == 1 and line.startswith("pid = ")
    ]
    # Two lines: one of them is a variable's value, and which one is not known.
    return int(pids[0]) if len(pids) == 1 and pids[0].isdecimal() else None


def app_of(coalition_name: str) -> str | None:
    """The bundle id in the name of an app's coalition, None for a launchd job.

    The numbers behind the id are new at each start of the app.
    """
    name = _APP.fullmatch(coalition_name)
    return None if name is None else name["bundle"]


def _indented_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line behind the first one with its depth, by its indentation.

    Brackets are not counted: values of variables may contain them.
    """
    unit = ""
    for line in text.splitlines()[1:]:
        content = line.lstrip(" \t")
        indentation = line[: len(line) - len(content)]
        unit = unit or indentation
        if unit and content:
            yield len(indentation) // len(unit), content.rstrip()


def parse_signature(
    status: bytes | None, team: bytes | None, code_hash: bytes | None
) -> tuple[str | None, bool]:
    """Who signed the running program, and whether that is known.

    The team id where there is one. Code with an ad hoc signature is identified by the
    hash that macOS itself uses: ``cdhash H"..."``. Unsigned, or no longer valid: None, known.
    """
    if status is None or len(status) != STATUS_SIZE:
        return None, False
    flags = int.from_bytes(status, "little")
    if not flags & _VALID:
        return None, True
    if not flags & _ADHOC and (name := _blob_text(team)):
        return name, True
    if code_hash is not None and len(code_hash) == CODE_HASH_SIZE and any(code_hash):
        return f'cdhash H"{code_hash.hex()}"', True
    return None, False


def parse_host(answer: bytes | None) -> str | None:
    """The machine's UUID as the OS writes it."""
    if answer is None or len(answer) != 16 or not any(answer):
        return None
    return str(uuid.UUID(bytes=answer)).upper()


def _blob_text(blob: bytes | None) -> str | None:
    """A text out of csops: type and length, big endian and the header included, then the text."""
    if blob is None or len(blob) < 9:
        return None
    length = int.from_bytes(blob[4:8], "big")
    if not 8 < length <= len(blob):
        return None
    text = blob[8:length].split(b"\0", 1)[0].decode("ascii", "replace")
    return text if text.isprintable() and text else None
