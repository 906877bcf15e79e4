"""Runs and their output over HTTP (C5, C6, C10)."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest
from webkit import Web, now

from tenure.client.documents import instant
from tenure.domain.job import JobState
from tenure.domain.run import RunState
from tenure.runtime.output import OutputCap


class TestListing:
    def test_newest_first_with_who_ran_it(self, web: Web) -> None:
        web.add(schedule="every 1s")
        web.world.owner()
        ids = [web.run_of("job").id for _ in range(3)]
        found = web.get("/runs")["runs"]
        assert [run["id"] for run in found] == ids[::-1]
        assert {run["process"] for run in found} == {"p-gateway"}
        assert found[0]["evidence"]["chain"][0]["pid"] == found[0]["evidence"]["pid"]

    def test_pages(self, web: Web) -> None:
        web.add(schedule="every 1s")
        web.world.owner()
        ids = [web.run_of("job").id for _ in range(3)]
        first = web.get("/runs?limit=2")
        second = web.get("/runs", params={"limit": 2, "cursor": first["next"]})
        assert [run["id"] for run in first["runs"] + second["runs"]] == ids[::-1]
        assert second["next"] is None

    def test_filters(self, web: Web) -> None:
        web.add("a", schedule="every 1s")
        web.add("b", schedule="every 1s")
        web.world.owner()
        good = web.run_of("a")
        bad = web.run_of("b", end=RunState.FAILED, exit_code=7)

        def ids(**query: str | list[str]) -> list[str]:
            return [run["id"] for run in web.get("/runs", params=query)["runs"]]

        assert ids(job="a") == [good.id]
        assert ids(job=good.job) == [good.id]
        assert ids(state="failed") == [bad.id]
        assert ids(state=["failed", "succeeded"]) == [bad.id, good.id]
        assert ids(term="1") == [bad.id, good.id]
        assert ids(term="2") == []
        assert ids(process="p-gateway", job="b") == [bad.id]
        assert ids(since=str(instant(bad.claimed_at))) == [bad.id]
        assert ids(since=str(instant(now() + timedelta(hours=1)))) == []

    def test_what_did_not_run_in_ranges(self, web: Web) -> None:
        """C5: with all=true as `tenure runs --all` has it."""
        job = web.add(schedule="every 1s")
        web.world.owner()
        run = web.run_of("job")
        later = run.fire_time + timedelta(seconds=10)
        web.store.set_job_state(job["id"], JobState.PAUSED, by="test", now=later)
        page = web.get("/runs?all=true&limit=1")
        assert [one["id"] for one in page["runs"]] == [run.id]
        (missed,) = page["not_run"]
        assert (missed["kind"], missed["count"]) == ("missed", 10)
        assert page["next"] is None
        again = web.get("/runs", params={"all": True, "limit": 1, "job": "job"})
        assert "not_run" in again
        assert "not_run" not in web.get("/runs")

    def test_pages_of_both_lists(self, web: Web) -> None:
        for name in ("a", "b"):
            job = web.add(name, schedule="every 1s")
            web.store.set_job_state(
                job["id"], JobState.PAUSED, by="test", now=now() + timedelta(seconds=5)
            )
        first = web.get("/runs?all=true&limit=1")
        assert (len(first["runs"]), len(first["not_run"])) == (0, 1)
        second = web.get("/runs", params={"all": True, "limit": 1, "cursor": first["next"]})
        assert second["not_run"][0]["job_name"] == "a"
        assert second["next"] is None

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=9999999999999999999999", "limit"),
            ("state=wrong", "state.0"),
            ("since=yesterday", "since"),
            ("since=2026-01-01T00:00:00", "since"),
            ("cursor=%5B%5D", "cursor"),
            ("all=true&cursor=%5B1%2C2%5D", "cursor"),
            (f"term={2**70}", "term"),
        ],
    )
    def test_what_is_wrong(self, web: Web, query: str, field: str) -> None:
        assert web.problem("GET", f"/runs?{query}", 422)["field"] == field

    def test_of_a_job_that_is_not_there(self, web: Web) -> None:
        web.problem("GET", "/runs?job=nothing", 404)


class TestOutput:
    def test_all_of_it(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="hello\nwörld\n")
        answer = web.ask("GET", f"/runs/{run.id}/output")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.text == "hello\nwörld\n"
        assert web.ask("GET", f"/runs/{run.id}/output?lines=1").text == "wörld\n"

    @pytest.mark.parametrize(
        ("asked", "text", "said"),
        [
            ("bytes=0-4", "01234", "bytes 0-4/10"),
            ("bytes=8-", "89", "bytes 8-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=-99", "0123456789", "bytes 0-9/10"),
            ("bytes=5-99", "56789", "bytes 5-9/10"),
        ],
    )
    def test_ranges(self, web: Web, asked: str, text: str, said: str) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="0123456789")
        answer = web.ask("GET", f"/runs/{run.id}/output", headers={"Range": asked})
        assert (answer.status_code, answer.text) == (206, text)
        assert answer.headers["content-range"] == said

    @pytest.mark.parametrize("asked", ["lines=0-4", "bytes=0-1,3-4", "bytes=-", "bytes=x"])
    def test_ranges_that_are_none_are_all_of_it(self, web: Web, asked: str) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="0123456789")
        answer = web.ask("GET", f"/runs/{run.id}/output", headers={"Range": asked})
        assert (answer.status_code, answer.text) == (200, "0123456789")

    @pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=5-4", "bytes=-0"])
    def test_ranges_that_are_not_there(self, web: Web, asked: str) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="0123456789")
        answer = web.ask("GET", f"/runs/{run.id}/output", headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == "bytes */10"

    def test_what_was_dropped_is_said(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="x" * 100)
        path = web.world.profile.folder.logs / run.id / "1.log"
        OutputCap(path, 10).check()
        answer = web.ask("GET", f"/runs/{run.id}/output")
        assert answer.headers["x-tenure-dropped"] == "90"
        assert (
            answer.text == "[tenure: the first 90 bytes of this output were dropped]\n" + "x" * 10
        )
        gone = web.problem("GET", f"/runs/{run.id}/output", 416, headers={"Range": "bytes=0-9"})
        assert gone["facts"] == {"first": 90, "end": 100}
        kept = web.ask("GET", f"/runs/{run.id}/output", headers={"Range": "bytes=95-"})
        assert kept.text == "xxxxx"

    def test_none(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job")
        answer = web.ask("GET", f"/runs/{run.id}/output")
        assert (answer.status_code, answer.text) == (200, "")
        web.problem("GET", f"/runs/{run.id}/output?attempt=2", 404)

    def test_bytes_that_are_no_text(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", output="")
        (web.world.profile.folder.logs / run.id / "1.log").write_bytes(b"\xff\x00<script>\r\n")
        answer = web.ask("GET", f"/runs/{run.id}/output")
        assert answer.content == b"\xff\x00<script>\r\n"
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("name", ["../../profile.id", "%2e%2e", "a/b", "a\\b", "\0"])
    def test_ids_are_no_paths(self, web: Web, name: str) -> None:
        """Section 9: job ids are no path components from outside."""
        for path in (f"/runs/{quote(name, safe='')}/output", f"/runs/{quote(name, safe='')}"):
            answer = web.ask("GET", path)
            assert answer.status_code in (404, 405)
            assert "profile_id" not in answer.text


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"abc", b"abc"),
        ("zwö".encode()[:3], b"zw"),
        ("a€".encode()[:-1], b"a"),
        (b"line\r", b"line"),
        (b"red \x1b[3", b"red "),
        (b"red \x1b", b"red "),
        (b"title \x1b]0;x", b"title "),
        (b"red \x1b[31m", b"red \x1b[31m"),
        (b"no text \xff", b"no text \xff"),
        (b"", b""),
    ],
)
def test_what_may_go_on_is_left_to_the_stream(data: bytes, shown: bytes) -> None:
    """The page's own part ends before it, and follows from there: nothing is shown in halves."""
    from tenure.surfaces.web.pages.runs import whole

    assert whole(data) == shown


def test_the_page_of_a_run_follows_from_its_own_end(web: Web) -> None:
    web.add(schedule="every 1s")
    web.world.owner()
    running = web.run_of("job", end=None, output="first\n")
    ended = web.run_of("job", output="all\n")
    browser = web.browser()
    page = browser.get(f"/p/default/runs/{running.id}").text
    assert "follow=true&amp;attempt=1&amp;offset=" in page.replace(
        "&attempt", "&amp;attempt"
    ).replace("&offset", "&amp;offset")
    assert 'data-from="6"' in page
    assert "data-tail" not in browser.get(f"/p/default/runs/{ended.id}").text


def test_where_there_are_too_many_profiles_to_watch_the_page_looks(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenure.surfaces.web.pages import profiles

    assert "data-every" not in web.browser().get("/").text
    monkeypatch.setattr(profiles, "MAX_PROFILES", 0)
    assert 'data-every="5"' in web.browser().get("/").text
