"""SQL in named files: ``claims.sql`` holds ``-- name: claimable`` and so on.

``{name}`` in a statement is replaced by another section of the same file or of ``shared.sql``, for
column lists that several statements share. A file is read when its first statement is asked for.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.store.contract import Page
from tenure.store.sqlite.connection import Connection

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


@cache
def _sections(name: str) -> dict[str, str]:
    parts = _SECTION.split((_HERE / f"{name}.sql").read_text(encoding="utf-8"))
    return {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}


def _expand(text: str, sections: dict[str, str]) -> str:
    while True:
        grown = re.sub(r"\{(\w+)\}", lambda m: sections[m[1]], text)
        if grown == text:
            return text
        text = grown


class TableVerbs:
    """The verbs about one group of tables."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection


def limit_of(page: Page | None) -> int:
    limit = 100 if page is None else page.limit
    if limit < 1:
        raise InvalidInput(f"{limit} is not at least 1", field="limit")
    return limit


def cursor_of(page: Page | None, shape: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The position that a cursor names; InvalidInput for any other text."""
    if page is None or page.cursor is None:
        return None
    try:
        values = tuple(json.loads(page.cursor))
    except (TypeError, ValueError):
        values = ()
    if tuple(type(v) for v in values) != shape:
        raise InvalidInput(
            f"{page.cursor!r} is not a valid cursor for this list",
            field="cursor",
            remedy="use the 'next' value of a page",
        )
    return values


def cursor(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))
