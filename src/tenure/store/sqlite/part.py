"""What the parts of :class:`~tenure.store.sqlite.store.SqliteStore` share."""

from __future__ import annotations

import json
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.store.contract import Page
from tenure.store.sqlite.connection import Connection


class Part:
    """A group of verbs, mixed into the store."""

    _db: Connection


def limit_of(page: Page | None) -> int:
    limit = 100 if page is None else page.limit
    if limit < 1:
        raise InvalidInput(f"{limit} is not at least 1", field="limit")
    return limit


def cursor_of(page: Page | None, shape: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The position that a cursor names; InvalidInput for one that no list gave."""
    if page is None or page.cursor is None:
        return None
    try:
        values = tuple(json.loads(page.cursor))
    except (TypeError, ValueError):
        values = ()
    if tuple(type(v) for v in values) != shape:
        raise InvalidInput(
            f"{page.cursor!r} is no cursor", field="cursor", remedy="use the `next` of a page"
        )
    return values


def cursor(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))
