"""Definitions are valid by construction; jobs say when they fire next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.errors import IllegalTransition, InvalidInput
from tenure.domain.job import (
    TRANSITIONS,
    Call,
    CatchUp,
    Command,
    Definition,
    Job,
    JobState,
    Runner,
    check_state,
    jitter_of,
)
from testkit.factories import START, after, cron, each, make_definition, once

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("command", {"argv": ()}),
        ("command", {"argv": ("",)}),
        ("command", {"argv": ("a", "b"), "shell": True}),
        ("command", {"argv": ("a" * 200_000,)}),
        ("command", {"argv": ("a\0b",)}),
        ("env", {"argv": ("a",), "env": {"": "x"}}),
        ("env", {"argv": ("a",), "env": {"A=B": "x"}}),
        ("env", {"argv": ("a",), "env": {"A\0": "x"}}),
        ("env", {"argv": ("a",), "env": {"A": "\0"}}),
        ("env", {"argv": ("a",), "env": {f"V{n}": "" for n in range(1001)}}),
        ("cwd", {"argv": ("a",), "cwd": "relative"}),
        ("stdin", {"argv": ("a",), "stdin": "x" * (1024 * 1024 + 1)}),
        ("command", {"argv": ("echo", "\udcff")}),
        ("env", {"argv": ("a",), "env": {"A": "\udcff"}}),
        ("cwd", {"argv": ("a",), "cwd": "/tmp/\udcff"}),
        ("stdin", {"argv": ("a",), "stdin": "\udcff"}),
    ],
)
def test_a_bad_command_names_the_field(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as error:
        Command(**values)
    assert error.value.field == field


def test_good_commands() -> None:
    assert Command(argv=("echo | cat",), shell=True).describe() == "echo | cat"
    command = Command(argv=("echo", "a b", "it's", ""), env={"A": ""}, cwd="/", stdin="x")
    assert command.describe() == "echo 'a b' 'it'\\''s' ''"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("target", {"target": "shop"}),
        ("target", {"target": ":a"}),
        ("target", {"target": "shop:"}),
        ("runner", {"target": "shop:a", "runner": Runner.COMMAND}),
        ("args", {"target": "shop:a", "args": {"x": object()}}),
        ("args", {"target": "shop:a", "args": {"x": float("nan")}}),
        ("args", {"target": "shop:a", "args": {"x": "y" * 200_000}}),
        ("args", {"target": "shop:a", "args": {"x": "\udcff"}}),
        ("args", {"target": "shop:a", "args": ["a", "b"]}),
    ],
)
def test_a_bad_call_names_the_field(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as error:
        Call(**values)
    assert error.value.field == field


def test_a_call_belongs_to_its_app() -> None:
    call = Call(target="shop:report", runner=Runner.ASYNC, args={"x": [1, None]})
    assert (call.app, call.describe()) == ("shop", "shop:report()")
    assert make_definition(action=call).runner is Runner.ASYNC
    assert make_definition().runner is Runner.COMMAND


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "   "}),
        ("name", {"name": " a"}),
        ("name", {"name": "a\n"}),
        ("name", {"name": "x" * 201}),
        ("grace", {"grace": timedelta(0)}),
        ("grace", {"grace": timedelta(days=3661)}),
        ("jitter", {"jitter": -SECOND}),
        ("backoff", {"backoff": -SECOND}),
        ("timeout", {"timeout": timedelta(0)}),
        ("window", {"window": timedelta(milliseconds=1)}),
        ("retries", {"retries": -1}),
        ("retries", {"retries": 101}),
        ("requires", {"requires": ("a",) * 21}),
        ("tags", {"tags": ("a",) * 51}),
        ("tags", {"tags": ("",)}),
        ("tags", {"tags": ("a\tb",)}),
        ("tags", {"tags": ("x" * 101,)}),
        ("requires", {"requires": ("",)}),
        ("requires", {"requires": ("a\nb",)}),
    ],
)
def test_a_bad_definition_names_the_field(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as error:
        make_definition(**values)
    assert error.value.field == field


def test_changes_are_checked_too() -> None:
    definition = make_definition()
    assert definition.with_changes(retries=2).retries == 2
    with pytest.raises(InvalidInput):
        definition.with_changes(retries=-2)


@pytest.mark.parametrize(
    ("changes", "needs"),
    [({}, False), ({"protected": True}, True), ({"requires": ("disk",)}, True)],
)
def test_what_needs_authority(changes: dict[str, Any], needs: bool) -> None:
    """C8: a job marked protected, or that requires a capability."""
    assert make_definition(**changes).needs_authority is needs


@pytest.mark.parametrize(
    ("schedule", "catch_up", "in_force"),
    [
        (each(minutes=1), None, CatchUp.NONE),
        (cron("0 3 * * *"), None, CatchUp.LATEST),
        (once(START), None, CatchUp.LATEST),
        (each(minutes=1), CatchUp.ALL, CatchUp.ALL),
        (once(START), CatchUp.NONE, CatchUp.NONE),
    ],
)
def test_catch_up_in_force(schedule: Any, catch_up: CatchUp | None, in_force: CatchUp) -> None:
    """C5: Catch-up by default: cron and one-shot the latest, intervals none."""
    assert make_definition(schedule=schedule, catch_up=catch_up).catching_up is in_force


def test_retries_back_off_up_to_an_hour() -> None:
    definition = make_definition(backoff=timedelta(seconds=10))
    delays = [definition.retry_delay(n) / SECOND for n in (1, 2, 3, 10, 100)]
    assert delays == [10, 20, 40, 3600, 3600]
    longest = make_definition(backoff=timedelta(days=3660))
    assert longest.retry_delay(100) == timedelta(hours=1)


def make_job(definition: Definition, state: JobState = JobState.ACTIVE) -> Job:
    return Job(
        id="j1",
        definition=definition,
        revision=1,
        state=state,
        created_at=START,
        edited_at=START,
        edited_by="ada",
        watermark=START,
        due_at=None,
    )


def test_the_next_fire_follows_the_watermark() -> None:
    job = make_job(make_definition())
    assert (job.name, job.next_fire) == ("report", after(minutes=1))
    assert replace(job, watermark=after(minutes=1)).next_fire == after(minutes=2)
    for state in set(JobState) - {JobState.ACTIVE}:
        assert make_job(make_definition(), state).next_fire is None
    assert make_job(make_definition(schedule=once(START))).next_fire is None


@pytest.mark.parametrize("now", list(JobState))
@pytest.mark.parametrize("then", list(JobState))
def test_states_follow_one_table(now: JobState, then: JobState) -> None:
    if then in TRANSITIONS.get(now, frozenset()):
        assert then is not JobState.DONE
        check_state(now, then)
    else:
        with pytest.raises(IllegalTransition):
            check_state(now, then)


@settings(max_examples=50, derandomize=True)
@given(job=st.text(min_size=1), seconds=st.floats(0, 10**6))
def test_jitter_is_fixed_and_below_its_bound(job: str, seconds: float) -> None:
    bound = timedelta(seconds=seconds)
    delay = jitter_of(job, bound)
    assert delay == jitter_of(job, bound)
    assert timedelta(0) <= delay
    assert delay < bound or not bound


def test_jitter_spreads_jobs() -> None:
    delays = sorted(jitter_of(f"j{n}", timedelta(seconds=100)) / SECOND for n in range(200))
    assert all(delays[n * 10] < n * 5 + 20 for n in range(20))
    assert len(set(delays)) == 200
