"""Typed values out of a parsed TOML table, each refusal naming its field.

``tomllib`` yields plain dictionaries; nothing in them is to be trusted for type or range. A
:class:`Table` hands out one key at a time and, at :meth:`Table.done`, refuses unknown
keys: a misspelt rule that is silently ignored would admit the wrong process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from tenure.domain.durations import LONGEST, parse_duration
from tenure.domain.errors import InvalidInput

E = TypeVar("E", bound=StrEnum)

LONGEST_TEXT = 4096


def kind_of(value: object) -> str:
    """What a TOML value is, in TOML's words."""
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def check_text(value: object, field: str) -> str:
    """``value`` if it is text that can stand in a rule: not empty, no control characters."""
    if not isinstance(value, str):
        raise InvalidInput(f"text expected, not {kind_of(value)}", field=field)
    if not value.strip():
        raise InvalidInput("must not be empty", field=field)
    if len(value) > LONGEST_TEXT:
        raise InvalidInput(f"longer than {LONGEST_TEXT} characters", field=field)
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value):
        raise InvalidInput("contains a control character", field=field)
    return value


class Table:
    """One TOML table under inspection. Not thread-safe; used within one call."""

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self._values = values
        self._where = where
        self._asked: list[str] = []

    def field(self, key: str) -> str:
        """The full name of ``key``, as an error names it."""
        return f"{self._where}.{key}" if self._where else key

    def raw(self, key: str) -> object | None:
        """The value as parsed, or None. TOML has no null, so None is always 'not there'."""
        self._asked.append(key)
        return self._values.get(key)

    def text(self, key: str) -> str | None:
        value = self.raw(key)
        return None if value is None else check_text(value, self.field(key))

    def flag(self, key: str) -> bool | None:
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        raise InvalidInput(f"true or false expected, not {kind_of(value)}", field=self.field(key))

    def number(self, key: str, *, least: int, most: int) -> int | None:
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidInput(
                f"a whole number expected, not {kind_of(value)}", field=self.field(key)
            )
        if not least <= value <= most:
            raise InvalidInput(f"must be from {least} to {most}", field=self.field(key))
        return value

    def duration(
        self,
        key: str,
        *,
        least: timedelta = timedelta(0),
        most: timedelta = LONGEST,
    ) -> timedelta | None:
        value = self.raw(key)
        if value is None:
            return None
        return parse_duration(value, self.field(key), minimum=least, maximum=most)

    def choice(self, key: str, choices: type[E]) -> E | None:
        value = self.raw(key)
        if value is None:
            return None
        names = [str(c) for c in choices]
        if isinstance(value, str) and value in names:
            return choices(value)
        raise InvalidInput(
            "must be one of " + ", ".join(f'"{n}"' for n in names), field=self.field(key)
        )

    def table(self, key: str) -> Table:
        """The table under ``key``; an empty one where there is none."""
        value = self.raw(key)
        if value is None:
            return Table({}, self.field(key))
        if not isinstance(value, dict):
            raise InvalidInput(f"a table expected, not {kind_of(value)}", field=self.field(key))
        return Table(value, self.field(key))

    def items(self) -> list[tuple[str, object]]:
        """All pairs, for tables whose keys are the user's own."""
        self._asked.extend(self._values)
        return list(self._values.items())

    def done(self) -> None:
        """Refuses the first key that was never asked for, with its nearest known name."""
        for key in self._values:
            if key not in self._asked:
                near = get_close_matches(str(key), self._asked, n=1)
                raise InvalidInput(
                    "no such key",
                    field=self.field(str(key)),
                    remedy=f'did you mean "{near[0]}"?'
                    if near
                    else "known keys: " + ", ".join(sorted(set(self._asked))),
                )
