"""Domain values to JSON-safe ones and back, exactly.

Instants are integers: microseconds since 1970, UTC. Durations are microseconds. Dataclasses are
objects of all their fields, so that a later change of a default does not change what was stored.
Reading ignores keys that it does not know and takes the default for those that are missing:
within a major version a newer writer may only add.

What cannot be read raises :class:`~tenure.domain.errors.Damaged`, naming the type.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tenure.domain.errors import Damaged
from tenure.domain.evidence import Evidence
from tenure.domain.job import Call, Command
from tenure.domain.schedule import Schedule

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Microseconds since 1970; TypeError for an instant without a zone."""
    span = instant - _EPOCH
    return (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds


def micros_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else micros(instant)


def instant(number: int) -> datetime:
    """The UTC instant of :func:`micros`."""
    return _EPOCH + timedelta(microseconds=number)


def instant_or_none(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + timedelta(microseconds=number)


def to_json(value: Any) -> Any:
    """A domain value as JSON-safe data."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    if isinstance(value, Schedule):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    return [to_json(item) for item in value]


def from_json(cls: type[T], data: Any) -> T:
    """The value of type ``cls`` that :func:`to_json` wrote. Raises Damaged."""
    try:
        return _reader(cls)(data)  # type: ignore[no-any-return, arg-type]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Damaged(
            f"a stored {cls.__name__} cannot be read: {error}",
            remedy="`tenure audit` says what else is wrong; `tenure restore` brings back a backup",
        ) from error


def pack(value: Any) -> str:
    """A domain value as compact JSON text."""
    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)


def unpack(cls: type[T], text: str) -> T:
    """The value that :func:`pack` wrote. Raises Damaged."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Damaged(f"a stored {cls.__name__} is no JSON: {error}") from error
    return from_json(cls, data)


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """How to read a value of a declared type."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union_reader([a for a in get_args(kind) if a is not type(None)])
    if origin is tuple:
        item = _reader(get_args(kind)[0])
        return lambda data: tuple(item(d) for d in data)
    if origin is frozenset:
        item = _reader(get_args(kind)[0])
        return lambda data: frozenset(item(d) for d in data)
    if kind is datetime:
        return instant
    if kind is timedelta:
        return lambda data: timedelta(microseconds=data)
    if kind is Schedule:
        return Schedule.from_json
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if kind is Evidence:
        return _evidence_reader(_dataclass_reader(kind))
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    return lambda data: data


def _union_reader(options: list[Any]) -> Callable[[Any], Any]:
    if set(options) == {Command, Call}:
        command, call = _reader(Command), _reader(Call)
        return lambda data: (call if "target" in data else command)(data)
    if len(options) > 1:
        return lambda data: data
    inner = _reader(options[0])
    return lambda data: None if data is None else inner(data)


def _evidence_reader(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of a process that was seen before locks were looked at, they are unknown, not none."""

    def read_of_any_age(data: Any) -> Any:
        found = read(data)
        if "locks" in data:
            return found
        return dataclasses.replace(found, unknown=found.unknown | {"locks"})

    return read_of_any_age


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}

    def read(data: Any) -> Any:
        return kind(**{name: readers[name](data[name]) for name in data if name in readers})

    return read
