"""SQL in named files: ``claims.sql`` holds ``-- name: claimable`` and so on.

``{name}`` in a statement stands for another section of the same file or of ``shared.sql``, for
column lists that several statements share. A file is read when its first statement is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
_SECTION = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Statements:
    """The statements of one file, as attributes. Thread-safe: reading twice gives the same."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, wanted: str) -> str:
        if wanted.startswith("_"):
            raise AttributeError(wanted)
        own = _sections(self._name)
        shared = own if self._name == "shared" else {**_sections("shared"), **own}
        for name, body in own.items():
            setattr(self, name, _expand(body, shared))
        if wanted not in own:
            raise AttributeError(f"{self._name}.sql has no statement {wanted!r}")
        found: str = self.__dict__[wanted]
        return found


def _sections(name: str) -> dict[str, str]:
    parts = _SECTION.split((_HERE / f"{name}.sql").read_text(encoding="utf-8"))
    return {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}


def _expand(text: str, sections: dict[str, str]) -> str:
    while True:
        grown = re.sub(r"\{(\w+)\}", lambda m: sections[m[1]], text)
        if grown == text:
            return text
        text = grown
