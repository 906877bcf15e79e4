"""A dashboard whose world is broken: the disk, the store, the clock, or its own time to run."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pagekit import shown
from starlette.testclient import TestClient
from test_web_server import PATIENCE, Dashboard
from test_web_streams import Stream
from webkit import ORIGIN, Web, now, problem_of

from freezing import freeze
from tenure.runtime.profile import Profile
from tenure.surfaces.web.site import Site
from testkit.clock import ManualClock
from webapp import make_app

PAGES = ("/", "/p/default/", "/p/default/jobs", "/p/default/runs", "/p/default/owner")


@contextmanager
def mounted(*words: str) -> Iterator[None]:
    """A mount; a skip where this user may not, or the system has no such thing."""
    if os.geteuid() or subprocess.run(["mount", *words], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", words[-1]], check=True)


def ask(one: Dashboard, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
    """Status, media type and text."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {one.token}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["content-type"] or "", text


@contextmanager
def running(home: Path, *options: str) -> Iterator[Dashboard]:
    one = Dashboard(home, *options)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.mark.root
@pytest.mark.real
def test_a_full_disk_is_told_and_nothing_shown_is_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with mounted("-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(home)):
        Profile.open("default", home=home, create=True, now=now()).close()
        with running(home) as one:
            jobs = "/api/v1/profiles/default/jobs"
            job = {"schedule": "@daily", "command": ["true"]}
            assert ask(one, "POST", jobs, {"name": "before", **job})[0] == 201
            _fill(home)
            wide = {**job, "stdin": "x" * 500_000}
            found = [ask(one, "POST", jobs, {"name": f"n{i}", **wide}) for i in range(2)]
            status, kind, text = found[-1]
            assert (status, kind) == (503, "application/problem+json"), text
            assert "disk" in text
            assert json.loads(text)["remedy"]
            for path in PAGES:
                assert ask(one, "GET", path)[0] == 200, path
            assert json.loads(ask(one, "GET", jobs)[2])["jobs"][0]["name"] == "before"
            (home / "filling").unlink()
            assert ask(one, "POST", jobs, {"name": "after", **job})[0] == 201
            code, said = one.end()
            assert code == 0
            assert "Traceback" not in said


def _fill(home: Path) -> None:
    with open(home / "filling", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


@pytest.mark.root
@pytest.mark.real
def test_a_home_that_can_only_be_read(tmp_path: Path) -> None:
    """By the link of before. SQLite's log cannot be read where its index cannot be made: the page
    says that instead of an empty list."""
    home = tmp_path / "home"
    Profile.open("default", home=home, create=True, now=now()).close()
    jobs = "/api/v1/profiles/default/jobs"
    job = {"name": "job", "schedule": "@daily", "command": ["true"]}
    with running(home) as before:
        assert ask(before, "POST", jobs, job)[0] == 201
        assert before.end()[0] == 0
    with mounted("--bind", str(home), str(home)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(home)], check=True)
        with running(home) as one:
            assert one.token == before.token
            _told(one, jobs)
            code, said = one.end()
            assert code == 0
            assert "Traceback" not in said


def _told(one: Dashboard, jobs: str) -> None:
    status, _, text = ask(one, "GET", "/")
    assert status == 200
    assert "cannot be opened" in text
    assert "mounted read-only" in text
    for path in PAGES[1:]:
        status, _, text = ask(one, "GET", path)
        assert status == 503, (path, text)
        assert "cannot be opened" in text
    for method, path in (("GET", jobs), ("POST", f"{jobs}/job/pause")):
        status, kind, text = ask(one, method, path)
        assert (status, kind) == (503, "application/problem+json")
        assert json.loads(text)["code"] == "store_unwritable"
        assert json.loads(text)["remedy"]


@pytest.mark.real
def test_a_dashboard_that_stood_still_goes_on_where_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    profile = Profile.open("default", home=home, create=True, now=now())
    base = "/api/v1/profiles/default"
    with running(home) as one, running(home) as other:
        bearer = {"Authorization": f"Bearer {one.token}", "Accept": "text/event-stream"}
        stream = Stream(one.port, f"{base}/events", bearer)
        stream.event("owner")
        freeze(one.process.pid)
        job = {"name": "meanwhile", "schedule": "@daily", "command": ["true"]}
        assert ask(other, "POST", f"{base}/jobs", job)[0] == 201, "the other one serves on"
        one.process.send_signal(signal.SIGCONT)
        assert stream.event("job_added")["event"]["facts"]["name"] == "meanwhile"
        assert "meanwhile" in ask(one, "GET", "/p/default/jobs")[2]
        stream.close()
    profile.close()


@pytest.mark.parametrize("days", [-4000, -1, 1, 4000])
def test_a_clock_that_is_wrong(web: Web, days: int) -> None:
    """Everything happened in the future, or long ago: it is shown, and the tokens are good."""
    web.add(schedule="every 1s")
    web.world.owner()
    web.run_of("job")
    running = web.run_of("job", end=None, output="text")
    clock = ManualClock(datetime.now(UTC) + timedelta(days=days))
    with TestClient(make_app(Site(web.site.home, web.tokens, clock=clock)), base_url=ORIGIN) as it:
        it.get(f"/?token={web.tokens.pair.full}")
        job = web.store.job("job")
        for path in (*PAGES, f"/p/default/jobs/{job.id}", f"/p/default/runs/{running.id}"):
            shown(it.get(path))
        for path in ("status", "jobs", "runs?all=true", "next", "processes", "owner"):
            assert it.get(f"{web.base}/{path}").status_code == 200, path
        assert it.get("/metrics").status_code == 200


def test_a_damaged_store_hides_no_other_profile(web: Web) -> None:
    other = Profile.open("other", home=web.site.home, create=True, now=now())
    web.add()
    database = web.world.profile.folder.database
    aside = database.with_name("aside")
    for text in (b"no database" * 1000, b"", database.read_bytes()[:3000]):
        database.rename(aside)
        database.write_bytes(text)
        found = problem_of(web.ask("GET", "/jobs"), 503)
        assert found["remedy"], text[:20]
        browser = web.browser()
        assert browser.get("/p/default/").status_code == 503
        rows = shown(browser.get("/")).said()
        assert "other" in rows
        assert found["detail"][:40] in rows
        assert browser.get("/p/other/").status_code == 200
        assert web.client.get("/readyz").status_code in (200, 503)
        aside.rename(database)
        assert web.get("/jobs")["jobs"][0]["name"] == "job"
    other.close()
