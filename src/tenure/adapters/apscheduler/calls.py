"""How a stored job calls its function: its arguments as Python source, or a command that does.

In a command's template ``{code}`` is a line of Python that imports the module and calls the
function with its arguments; ``{func}`` is ``module:name``; ``{args}`` and ``{kwargs}`` are JSON;
``{python}`` is the Python that runs this. No shell reads it: each word of the template is one
argument.
"""

from __future__ import annotations

import json
import keyword
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from tenure.adapters.apscheduler.pickles import Made
from tenure.adapters.apscheduler.stored_job import StoredJob
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command

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


# -- as a command ---------------------------------------------------------------------------------
DEFAULT = "{python} -c {code}"
_PLACES = ("python", "code", "func", "args", "kwargs", "id", "name")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTemplate:
    """How a job is called. Raises InvalidInput for a template that names no function."""

    words: str = DEFAULT
    python: str
    cwd: str
    """Where the application's modules can be imported."""

    def __post_init__(self) -> None:
        named = {match[1] for match in _PLACE.finditer(self.words)}
        if unknown := sorted(named - set(_PLACES)):
            known = ", ".join(f"{{{name}}}" for name in _PLACES)
            raise InvalidInput(
                f"{{{unknown[0]}}} is unknown", field="command-template", remedy=f"use {known}"
            )
        if not named & {"code", "func"}:
            raise InvalidInput(
                "it does not name the function to call",
                field="command-template",
                remedy=f"with {{code}} or {{func}}, such as {DEFAULT!r}",
            )
        try:
            shlex.split(self.words)
        except ValueError as error:
            raise InvalidInput(f"its quotes: {error}", field="command-template") from None

    def command(self, job: StoredJob) -> Command:
        """Raises InvalidInput where its arguments cannot be written."""
        values = {"python": self.python, "func": job.func, "id": job.id, "name": job.name}
        if "{code}" in self.words:
            values["code"] = code(job)
        for name, given in (("args", list(job.args)), ("kwargs", dict(job.kwargs))):
            if f"{{{name}}}" in self.words:
                if not is_json(given):
                    raise InvalidInput(f"its {name} are not JSON")
                values[name] = json.dumps(given)
        argv = [_PLACE.sub(lambda m: values[m[1]], word) for word in shlex.split(self.words)]
        return Command(argv=tuple(argv), cwd=self.cwd)


def code(job: StoredJob) -> str:
    """One line of Python; a coroutine function's coroutine is run to its end."""
    module, _, name = job.func.partition(":")
    call = f"{module}.{name}({call_arguments(job.args, job.kwargs)})"
    return f"import asyncio, {module}; r = {call}; asyncio.iscoroutine(r) and asyncio.run(r)"
