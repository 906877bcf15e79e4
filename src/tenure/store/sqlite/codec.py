"""Domain values to JSON-safe ones and back, exactly.

Instants are integers: microseconds since 1970, UTC. Durations are microseconds. Dataclasses are
objects of all their fields, so that a later change of a default does not change what was stored.
Reading ignores keys that it does not know and takes the default for those that are missing:
within a major version a newer writer may only add.

A value that cannot be read raises :class:`~tenure.domain.errors.CorruptStore`, which names the
type.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tenure.domain.errors import CorruptStore, InvalidInput, TenureError
from tenure.domain.job import MAX_NAME, Call, Command, Damage, Definition, Runner
from tenure.domain.policy.evidence import Evidence
from tenure.domain.schedule.model import Schedule, unreadable_schedule
from tenure.store.sqlite.connection import instant, micros

T = TypeVar("T")

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
_MICROSECOND = timedelta(microseconds=1)


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
        return {f.name: to_json(getattr(value, f.name)) for f in _stored(value.__class__)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    return [to_json(item) for item in value]


def from_json(cls: type[T], data: Any) -> T:
    """The value of type ``cls`` that :func:`to_json` wrote. Raises CorruptStore."""
    try:
        return _reader(cls)(data)  # type: ignore[no-any-return, arg-type]
    except _UNREADABLE as error:
        raise CorruptStore(
            f"a stored {cls.__name__} cannot be read: {_said(error)}",
            remedy="`tenure audit` says what else is wrong; `tenure restore` brings back a backup",
        ) from error


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return error.text.rstrip(".") if isinstance(error, TenureError) else str(error)


def pack(value: Any) -> str:
    """A domain value as compact JSON text."""
    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)


def unpack(cls: type[T], text: str, *, other: T | None = None) -> T:
    """The value that :func:`pack` wrote. Raises CorruptStore, or returns ``other`` where given."""
    try:
        return from_json(cls, json.loads(text))
    except CorruptStore:
        if other is None:
            raise
    except (TypeError, ValueError, RecursionError) as error:
        if other is None:
            raise CorruptStore(f"a stored {cls.__name__} is not JSON: {error}") from error
    return other


def salvage(text: str | None, error: Exception, *, name: str, runner: str) -> Definition:
    """What can be read of a stored definition that as a whole cannot, with its damage.

    ``name`` and ``runner`` are those of the job's row. Raises nothing.
    """
    try:
        data = json.loads(text or "")
    except ValueError:
        data = {}
    data = data if isinstance(data, dict) else {}
    schedule = data.get("schedule")
    kept: dict[str, Any] = {"name": name}
    lost: list[str] = []
    hints = get_type_hints(Definition)
    for stored in _stored(Definition):
        try:
            kept[stored.name] = _reader(hints[stored.name])(data[stored.name])
        except KeyError:
            if stored.name in ("schedule", "action"):
                lost.append(stored.name)
        except _UNREADABLE:
            lost.append(stored.name)
    kept.setdefault("schedule", unreadable_schedule(schedule))
    kept.setdefault("action", _placeholder(runner))
    if "schedule" in lost and _lacks_zone_alone(schedule):
        lost[lost.index("schedule")] = "timezone"
    reason = (error.text if isinstance(error, CorruptStore) else str(error)).removeprefix(
        "a stored Definition "
    )
    reason = reason.removeprefix("cannot be read: ")
    reason = f"its record {reason}" if reason.startswith("is not") else reason
    reason = reason[:1].lower() + reason[1:]
    while True:
        damage = Damage(reason=reason, fields=tuple(lost))
        try:
            return Definition(**kept, damage=damage)
        except _UNREADABLE as wrong:
            field = wrong.field if isinstance(wrong, InvalidInput) else None
            field = field if field in kept else None
            if field in (None, "schedule", "action", "name"):
                kept = {"name": job_name(name), "schedule": unreadable_schedule(schedule)}
                kept["action"] = _placeholder(runner)
                lost = ["schedule", "action"]
            else:
                del kept[field]
                lost.append(str(field))


def job_name(text: object) -> str:
    """``text`` as a name that a job can have."""
    plain = "".join(c if c.isprintable() else "?" for c in str(text)).strip()
    return plain[:MAX_NAME].strip() or "unreadable"


def _placeholder(runner: str) -> Command | Call:
    if runner in (Runner.THREAD, Runner.ASYNC):
        return Call(target="unreadable:unreadable", runner=Runner(runner))
    return Command(argv=("unreadable",))


def _lacks_zone_alone(data: object) -> bool:
    """Whether a stored schedule would be readable if its zone were UTC."""
    try:
        Schedule.from_json({**data, "timezone": "UTC"})  # type: ignore[dict-item]
    except (TypeError, InvalidInput):
        return False
    return True


@cache
def _stored(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(f for f in dataclasses.fields(kind) if f.metadata.get("stored", True))


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """How to read a value of a declared type."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union_reader([a for a in get_args(kind) if a is not type(None)])
    if origin is tuple:
        item = _reader(get_args(kind)[0])
        return lambda data: tuple(item(d) for d in _of(list, data))
    if origin is frozenset:
        item = _reader(get_args(kind)[0])
        return lambda data: frozenset(item(d) for d in _of(list, data))
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
    if kind in (str, int, bool):
        return lambda data: _of(kind, data)
    return lambda data: data


def _of(kind: type[T], data: Any) -> T:
    if not isinstance(data, kind):
        raise TypeError(f"{kind.__name__} expected, not {type(data).__name__}")
    return data


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
        evidence = read(data)
        if "locks" in data:
            return evidence
        return dataclasses.replace(evidence, unknown=evidence.unknown | {"locks"})

    return read_of_any_age


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in _stored(kind)}

    def read(data: Any) -> Any:
        return kind(**{name: readers[name](data[name]) for name in data if name in readers})

    return read
