"""Mistakes in what a program declares are told where they are made, in words, with a remedy."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tenure import Tenure, at, cron, every
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Call, Runner


class Thing:
    def method(self) -> None: ...
    async def slow(self) -> None: ...
    def __call__(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...


class Slow:
    async def __call__(self) -> None: ...


def plain() -> None: ...
async def slow() -> None: ...
def wants(a: int, b: int = 2) -> None: ...
def positional(a: int, /) -> None: ...


def yields() -> Iterator[int]:
    yield 1


async def yields_later() -> AsyncIterator[int]:
    yield 1


@pytest.fixture
def tenure(tmp_path: Path) -> Tenure:
    return Tenure("shop", home=tmp_path)


@pytest.mark.parametrize(
    ("declare", "field", "says"),
    [
        (lambda t: t.job(plain), "schedule", r"@tenure\.job\(every"),
        (lambda t: t.job(None, plain), "schedule", "every"),
        (lambda t: t.job(30, plain), "schedule", "every"),
        (lambda t: t.job(timedelta(seconds=30), plain), "schedule", "every"),
        (lambda t: t.job(every(cast(Any, 30)), plain), "schedule", "timedelta"),
        (lambda t: t.job(at(cast(Any, "noon")), plain), "schedule", "not a datetime"),
        (lambda t: t.job(every("1h"), 42), "function", "cannot be called"),
        (lambda t: t.job(every("1h"), Thing()), "name", "pass name"),
        (lambda t: t.job(every("1h"), functools.partial(plain)), "name", "pass name"),
        (lambda t: t.job(every("1h"), yields), "function", "generator"),
        (lambda t: t.job(every("1h"), yields_later), "function", "generator"),
        (lambda t: t.job(every("1h"), wants), "args", "'a'"),
        (lambda t: t.job(every("1h"), wants, args={"c": 1}), "args", "args={"),
        (lambda t: t.job(every("1h"), positional, args={"a": 1}), "args", "'a'"),
        (lambda t: t.job(every("1h"), Thing.method), "args", "thing.method"),
        (lambda t: t.job(every("1h"), plain, args=[1]), "args", "by name"),
        (lambda t: t.job(every("1h"), plain, args={1: 2}), "args", "by name"),
        (lambda t: t.job(every("1h"), plain, timeout=10), "timeout", "90s"),
        (lambda t: t.job(every("1h"), plain, timeout="0s"), "timeout", "must be from"),
        (lambda t: t.job(every("1h"), plain, timeout=timedelta(-1)), "timeout", "must be from"),
        (lambda t: t.job(every("1h"), plain, retries="3"), "retries", "whole number"),
        (lambda t: t.job(every("1h"), plain, protected="no"), "protected", "true or false"),
        (lambda t: t.job(every("1h"), plain, process="no"), "process", "true or false"),
        (lambda t: t.job(every("1h"), plain, tags=5), "tags", "a list of texts"),
        (lambda t: t.job(every("1h"), plain, requires=[5]), "requires", "expected text"),
        (lambda t: t.job(every("1h"), plain, retrys=3), "retrys", "retries"),
        (
            lambda t: t.job(every("1h"), Thing().method, process=True),
            "process",
            "top level of a module",
        ),
        (
            lambda t: t.job(every("1h"), functools.partial(plain), name="p", process=True),
            "process",
            "top level of a module",
        ),
        (lambda t: Tenure("shop", version=cast(Any, 2024.10)), "version", "as text"),
    ],
)
def test_a_mistake_is_reported_where_it_is_made(
    tenure: Tenure, declare: Callable[[Any], Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as raised:
        declare(tenure)
    assert raised.value.field == field
    tenure.job(every("1h"), plain)  # nothing was declared


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(1, *args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "args", "runner"),
    [
        (plain, None, Runner.THREAD),
        (lambda: None, {}, Runner.THREAD),
        (wants, {"a": 1}, Runner.THREAD),
        (decorated(wants), {}, Runner.THREAD),  # who knows what it passes on
        (Thing().method, {}, Runner.THREAD),
        (Thing.of_class, {}, Runner.THREAD),
        (Thing(), {}, Runner.THREAD),
        (functools.partial(wants, 1), {}, Runner.THREAD),
        (print, {"end": ""}, Runner.THREAD),
        (slow, {}, Runner.ASYNC),
        (Thing().slow, {}, Runner.ASYNC),
        (Slow(), {}, Runner.ASYNC),
        (functools.partial(slow), {}, Runner.ASYNC),
    ],
)
def test_whatever_can_be_called_can_be_declared(
    tenure: Tenure, function: Callable[..., Any], args: dict[str, Any], runner: Runner
) -> None:
    assert tenure.job(every("1h"), function, name="it", args=args) is function
    (found,) = tenure._declared.values()
    action = found.define(found.at, "UTC").action
    assert isinstance(action, Call)
    assert action.runner is runner


def test_what_is_none_was_not_said(tenure: Tenure) -> None:
    """Options that come from somebody's settings."""
    tenure.job(cron("0 3 * * *"), plain, timeout=None, grace=None, retries=None, tags=None)
    assert [Tenure("shop", version=v).version for v in (None, "", 7, "1.2")] == [
        "0",
        "0",
        "7",
        "1.2",
    ]


def test_a_frozen_program_refuses_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would start there is the whole program once more."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(InvalidInput, match="frozen"):
        Tenure("shop").job(every("1s"), list, process=True)
    Tenure("shop").job(every("1s"), list)
