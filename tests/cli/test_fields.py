"""Fields as people give them become valid definitions, or an error that names the field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenure.client.definitions import build, default_name, reset
from tenure.client.job_fields import MASK, is_secret, masked
from tenure.domain.errors import InvalidInput
from tenure.domain.job import CatchUp, Command, Overlap
from tenure.domain.schedule.model import ScheduleKind

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEAST: dict[str, Any] = {"schedule": "@daily", "command": ["/bin/true"]}


def made(**fields: Any) -> Any:
    return build({**LEAST, **fields}, now=NOW, timezone="Europe/Berlin")


def test_the_least_has_the_defaults_of_the_profile() -> None:
    wants = build(LEAST, now=NOW, timezone="Europe/Berlin", grace=timedelta(minutes=7))
    assert wants.name == "true"
    assert wants.schedule.timezone == "Europe/Berlin"
    assert wants.grace == timedelta(minutes=7)
    assert wants.action == Command(argv=("/bin/true",))


def test_every_field_arrives() -> None:
    wants = made(
        name="n", tz="Asia/Tokyo", dst="gap=skip,fold=both", protected=True, requires=["x"],
        overlap="queue", catch_up="all:2h", grace="5m", jitter="30s", timeout="1h", retries=3,
        backoff="1m", retry_lost=True, tags=["a", "b"], env={"A": "1"}, cwd="/tmp", stdin="in",
    )  # fmt: skip
    assert (wants.name, wants.schedule.timezone) == ("n", "Asia/Tokyo")
    assert str(wants.schedule.dst) == "gap=skip,fold=both"
    assert (wants.protected, wants.requires, wants.overlap) == (True, ("x",), Overlap.QUEUE)
    assert (wants.catch_up, wants.window) == (CatchUp.ALL, timedelta(hours=2))
    assert (wants.grace, wants.jitter) == (timedelta(minutes=5), timedelta(seconds=30))
    assert (wants.timeout, wants.retries) == (timedelta(hours=1), 3)
    assert (wants.backoff, wants.retry_lost, wants.tags) == (timedelta(minutes=1), True, ("a", "b"))
    assert wants.action == Command(
        argv=("/bin/true",), env={"A": "1"}, cwd="/tmp", stdin="in", shell=False
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schedule": "whenever"}, "schedule"),
        ({"schedule": ""}, "schedule"),
        ({"tz": "Mars/Olympus"}, "timezone"),
        ({"dst": "perhaps"}, "dst"),
        ({"command": []}, "command"),
        ({"command": "echo"}, "command"),
        ({"command": ["a\0b"]}, "command"),
        ({"command": ["\udcff"]}, "command"),
        ({"command": ["x" * 200_000]}, "command"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"grace": "5"}, "grace"),
        ({"grace": "0s"}, "grace"),
        ({"jitter": "-1s"}, "jitter"),
        ({"timeout": "soon"}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": "3"}, "retries"),
        ({"retries": 101}, "retries"),
        ({"overlap": "maybe"}, "overlap"),
        ({"catch_up": "some"}, "catch_up"),
        ({"catch_up": "none:1h"}, "catch_up"),
        ({"catch_up": "all:never"}, "catch_up"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": {"A": MASK}}, "env.A"),
        ({"env": ["A"]}, "env"),
        ({"cwd": "relative"}, "cwd"),
        ({"stdin": "x" * (1 << 21)}, "stdin"),
        ({"tags": ["a\n"]}, "tags"),
        ({"protected": "yes"}, "protected"),
        ({"anchor": "yesterday"}, "anchor"),
        ({"at": "2030-01-01T00:00:00"}, "at"),
        ({"colour": "red"}, "colour"),
        ({"shell": "a | b"}, "shell"),
    ],
)
def test_what_is_wrong_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(**fields)
    assert caught.value.field == field


def test_the_same_words_keep_the_anchor_and_the_instant() -> None:
    later = NOW + timedelta(seconds=61)
    for words in ("every 90s", "in 30m"):
        first = made(schedule=words)
        again = build({"schedule": words}, now=later, timezone="UTC", base=first)
        assert again.schedule == first.schedule


def test_a_new_zone_moves_a_wall_clock_and_leaves_an_interval() -> None:
    cron = build({"tz": "UTC"}, now=NOW, timezone="UTC", base=made(schedule="0 9 * * *"))
    assert cron.schedule.next_after(NOW) == datetime(2026, 3, 2, 9, tzinfo=UTC)
    wall = build({"tz": "UTC"}, now=NOW, timezone="UTC", base=made(schedule="2026-03-05T09:00"))
    assert wall.schedule.at == datetime(2026, 3, 5, 9, tzinfo=UTC)
    every = made(schedule="every 90s")
    moved = build({"tz": "UTC"}, now=NOW + timedelta(1), timezone="UTC", base=every).schedule
    assert (moved.anchor, moved.timezone) == (every.schedule.anchor, "UTC")


def test_a_changed_command_keeps_its_environment() -> None:
    base = made(env={"A": "1"}, cwd="/tmp")
    wants = build({"shell": "a | b"}, now=NOW, timezone="UTC", base=base)
    assert wants.action == Command(argv=("a | b",), shell=True, env={"A": "1"}, cwd="/tmp")


def test_a_masked_value_keeps_the_secret_that_stands() -> None:
    base = made(env={"API_TOKEN": "s3cret"})
    wants = build({"env": {"API_TOKEN": MASK}}, now=NOW, timezone="UTC", base=base)
    assert wants.action.env == {"API_TOKEN": "s3cret"}  # type: ignore[union-attr]


def test_reset_goes_back_to_the_default() -> None:
    wants = made(retries=3, catch_up="all:2h", env={"A": "1"}, timeout="1h", tags=["x"], dst="skip")
    fields = ["retries", "catch-up", "env", "timeout", "tags", "dst"]
    plain = reset(wants, fields, grace=timedelta(minutes=1))
    assert plain == made()
    with pytest.raises(InvalidInput) as caught:
        reset(wants, ["command"], grace=timedelta(minutes=1))
    assert caught.value.field == "reset"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (Command(argv=("/usr/bin/make", "all")), "make"),
        (Command(argv=("curl -s x | sh",), shell=True), "curl"),
        (Command(argv=("/opt/my tool/run it",)), "runit"),
        (Command(argv=("///",)), "job"),
    ],
)
def test_a_name_comes_from_the_command(command: Command, name: str) -> None:
    assert default_name(command) == name


def test_intervals_are_anchored_at_the_moment_they_are_said() -> None:
    schedule = made(schedule="every 90s").schedule
    assert (schedule.kind, schedule.anchor) == (ScheduleKind.EVERY, NOW)


@pytest.mark.parametrize(
    "name",
    ["API_TOKEN", "api_key", "DB_PASSWORD", "PASSWD", "GH_PAT", "MY_PW", "AWS_SECRET", "AUTH",
     "SENTRY_DSN", "COOKIE", "aws_credentials", "SSH_PRIVATE"],
)  # fmt: skip
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert is_secret(name)
    assert masked({name: "x"}) == {name: MASK}
    assert masked({name: "x"}, show=True) == {name: "x"}


def test_what_is_no_secret_is_shown() -> None:
    plain = {"PATH": "/bin", "PWD": "/", "LANG": "C", "URL": "https://example.org/a?b"}
    assert masked(plain) == plain
    assert masked({"URL": "postgres://me:pw@db/x"}) == {"URL": MASK}
