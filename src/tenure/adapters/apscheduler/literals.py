"""Arguments of a stored job as Python source, or why they cannot be written."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterator, Mapping
from typing import Any
from unicodedata import normalize

from tenure.adapters.apscheduler.pickles import Made
from tenure.domain.errors import InvalidInput

DEEPEST = 50
LONGEST = 20_000
"""Characters of one call's arguments."""


def source_of(value: Any) -> str:
    """An expression that gives this value again. Raises InvalidInput for what has none."""
    parts: list[str] = []
    length = 0
    for part in _write(value, 0):
        length += len(part)
        if length > LONGEST:
            raise InvalidInput(f"its arguments are longer than {LONGEST} characters")
        parts.append(part)
    return "".join(parts)


def call_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What stands between the brackets of a call."""
    return ", ".join([*map(source_of, args), *keywords(kwargs)])


def keywords(kwargs: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as in a call; as ``**{...}`` where the language would not have a name."""
    if all(_may_be_written(name) for name in kwargs):
        return [f"{name}={source_of(value)}" for name, value in kwargs.items()]
    return [f"**{source_of(dict(kwargs))}"]


def _may_be_written(name: str) -> bool:
    """Whether ``name=`` means this name: Python reads identifiers in their NFKC form."""
    reserved = keyword.iskeyword(name) or name == "__debug__"
    return name.isidentifier() and not reserved and normalize("NFKC", name) == name


def is_json(value: Any, depth: int = 0) -> bool:
    """Whether JSON gives exactly this value again."""
    if depth > DEEPEST:
        return False
    if isinstance(value, float):
        return math.isfinite(value)
    if value is None or isinstance(value, bool | int | str):
        return True
    if isinstance(value, list):
        return all(is_json(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_json(v, depth + 1) for k, v in value.items())
    return False


def _write(value: Any, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise InvalidInput("its arguments are nested too deeply to be written as code")
    if (
        value is None
        or isinstance(value, bool | int | str | bytes)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        yield quoted(value) if isinstance(value, str) else repr(value)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _items(value, depth)
    elif isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield ", " if number else ""
            yield (quoted(key) if isinstance(key, str) else repr(key)) + ": "
            yield from _write(item, depth + 1)
        yield "}"
    else:
        what = value.of if isinstance(value, Made) else type(value).__name__
        raise InvalidInput(f"its arguments contain a {what}, which cannot be written as code")


def quoted(text: str) -> str:
    """A literal in double quotes where that needs no further escapes."""
    plain = repr(text)
    return plain if set("'\"\\") & set(text) else f'"{plain[1:-1]}"'


def _items(value: Any, depth: int) -> Iterator[str]:
    before, behind = "[", "]"
    if isinstance(value, tuple):
        before, behind = "(", ",)" if len(value) == 1 else ")"
    elif isinstance(value, set):
        before, behind = ("{", "}") if value else ("set(", ")")
    elif isinstance(value, frozenset):
        before, behind = ("frozenset({", "})") if value else ("frozenset(", ")")
    yield before
    for number, item in enumerate(value):
        yield ", " if number else ""
        yield from _write(item, depth + 1)
    yield behind
