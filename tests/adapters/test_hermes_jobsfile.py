"""``jobs.json`` in all the shapes that Hermes accepts, and in those that it does not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hermestree import NOW, Tree

from tenure.adapters.hermes.facts.jobs_file import (
    instant_of,
    read_heartbeats,
    read_jobs,
)


def write(tree: Tree, text: str, encoding: str = "utf-8") -> None:
    tree.home.jobs_file.write_bytes(text.encode(encoding))


def test_none(tree: Tree) -> None:
    found = read_jobs(tree.home)
    assert (found.present, found.jobs, found.problem, found.next()) == (False, (), None, None)


def test_as_hermes_writes_it(tree: Tree) -> None:
    tree.jobs(
        {"name": "late", "next_run_at": "2030-01-01T13:00:00+00:00"},
        {"name": "soon", "next_run_at": "2030-01-01T12:30:00+01:00",
         "schedule": {"kind": "interval", "minutes": 5}, "schedule_display": "every 5m"},
        {"name": "off", "enabled": False, "next_run_at": "2030-01-01T01:00:00+00:00"},
        {"name": "never", "next_run_at": None, "schedule": {"kind": "once"}},
    )  # fmt: skip
    found = read_jobs(tree.home)
    assert (len(found.jobs), found.enabled, found.odd) == (4, 3, 0)
    first = found.next()
    assert first is not None
    assert (first.name, first.kind, first.schedule) == (
        "soon",
        "interval",
        "every 5m",
    )
    assert first.due == datetime(2030, 1, 1, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_mark_and_a_bare_list(tree: Tree, encoding: str, bare: bool) -> None:
    jobs = [{"id": "a1", "name": "ä"}]
    write(tree, json.dumps(jobs if bare else {"jobs": jobs}, ensure_ascii=False), encoding)
    assert [job.name for job in read_jobs(tree.home).jobs] == ["ä"]


def test_raw_control_characters(tree: Tree) -> None:
    write(tree, '{"jobs": [{"id": "a1", "name": "two\nlines"}]}')
    assert [job.name for job in read_jobs(tree.home).jobs] == ["two\nlines"]


def test_entries_that_are_no_jobs(tree: Tree) -> None:
    write(tree, '[1, null, {}, {"id": "a1", "schedule": "* * * * *", "enabled": 0}]')
    found = read_jobs(tree.home)
    assert (len(found.jobs), found.odd) == (1, 3)
    assert (found.jobs[0].kind, found.jobs[0].enabled, found.jobs[0].name) == (
        "unknown", False, "a1",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "   ", "{", '"jobs"', "3", "null", '{"jobs": 3}', "[" * 100_000]
)
def test_damaged(tree: Tree, text: str) -> None:
    write(tree, text)
    found = read_jobs(tree.home)
    assert found.present
    assert found.problem
    assert found.jobs == ()


def test_not_utf_8(tree: Tree) -> None:
    tree.home.jobs_file.write_bytes(b'{"jobs": "\xff\xfe"}')
    assert read_jobs(tree.home).problem == "it is not UTF-8"


def test_a_folder_in_its_place(tree: Tree) -> None:
    tree.home.jobs_file.mkdir()
    assert read_jobs(tree.home).problem


class TestInstants:
    def test_offsets(self) -> None:
        east = timezone(timedelta(hours=2))
        assert instant_of("2030-01-01T14:00:00+02:00") == NOW.astimezone(east)

    def test_without_one_it_is_the_machines_time(self) -> None:
        found = instant_of("2030-01-01T12:00:00")
        assert found == datetime(2030, 1, 1, 12).astimezone()

    @pytest.mark.parametrize("value", [None, "", "soon", 3, {}, "2030-13-01T00:00:00"])
    def test_none(self, value: object) -> None:
        assert instant_of(value) is None


class TestHeartbeats:
    def test_what_stands_in_them(self, tree: Tree) -> None:
        (tree.home.cron / "ticker_heartbeat").write_text(str(NOW.timestamp() - 12.5))
        found = read_heartbeats(tree.home, NOW)
        assert (found.ticked, found.succeeded) == (timedelta(seconds=12.5), None)

    def test_their_date_where_nothing_stands_in_them(self, tree: Tree) -> None:
        path = Path(tree.home.cron, "ticker_last_success")
        path.write_text("what")
        os.utime(path, (0, NOW.timestamp() - 60))
        assert read_heartbeats(tree.home, NOW).succeeded == timedelta(seconds=60)

    def test_one_of_the_future_is_of_now(self, tree: Tree) -> None:
        (tree.home.cron / "ticker_heartbeat").write_text(str(NOW.timestamp() + 99))
        assert read_heartbeats(tree.home, NOW).ticked == timedelta(0)
