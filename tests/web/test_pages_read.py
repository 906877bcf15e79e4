"""Every page of a profile with a believable history: sound, small, and saying what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from believable import fill
from pagekit import Shown, shown
from starlette.testclient import TestClient
from webkit import ORIGIN, now

from tenure.domain.run import RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from tenure.surfaces.web import assets
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from webapp import make_app

MOST = 150_000


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Profile]]:
    """A client with the cookie, and the profile that it looks at."""
    home: Path = tmp_path_factory.mktemp("pages") / "home"
    at = now()
    profile = Profile.open("office", home=home, create=True, now=at - timedelta(days=4))
    fill(profile, at, foreign=True)
    other = Profile.open("other", home=home, create=True, now=at)
    other.close()
    tokens = Tokens.in_memory()
    with TestClient(make_app(Site(home, tokens)), base_url=ORIGIN) as client:
        client.get(f"/?token={tokens.pair.full}", follow_redirects=False)
        yield client, profile
    profile.close()


def page(office: tuple[TestClient, Profile], path: str, status: int = 200) -> Shown:
    return shown(office[0].get(path), status)


def paths(profile: Profile) -> list[str]:
    jobs, _ = profile.store.jobs()
    runs, _ = profile.store.runs(RunFilter())
    each = {run.state: run for run in runs}.values()
    requests = profile.store.requests()
    return [
        "/",
        *(f"/p/office{p}" for p in ("/", "/jobs", "/jobs/new", "/runs", "/requests", "/owner")),
        *(f"/p/office/runs?show={show}" for show in ("bad", "not-run", "active", "succeeded")),
        *(f"/p/office/jobs/{job.id}{end}" for job in jobs for end in ("", "/edit")),
        *(f"/p/office/runs/{run.id}" for run in each),
        *(f"/p/office/requests/{request.id}" for request in requests),
        "/p/office/jobs?q=tag:mail",
        "/p/other/",
        "/p/other/jobs",
        "/p/other/runs",
        "/p/other/requests",
        "/p/other/owner",
    ]


def test_every_page_is_sound_and_small(office: tuple[TestClient, Profile]) -> None:
    files = sum(
        len(assets.assets()[name].packed)
        for name in assets.assets()
        if not name.endswith((".txt", "dark.css"))
    )
    for path in paths(office[1]):
        found = page(office, path)
        assert len(found.text.encode()) + files < MOST, path


def test_the_stylesheet_is_small_and_every_icon_is_there() -> None:
    assert len(assets.assets()["app.css"].content) < 22_000
    sprite = assets.assets()["icons.svg"].content.decode()
    known = set(re.findall(r'<symbol id="([a-z_]+)"', sprite))
    assert {str(state) for state in RunState} <= known
    templates = Path(assets.__file__).parent / "templates"
    asked = {
        name
        for file in templates.iterdir()
        for name in re.findall(r"icon\('([a-z_]+)'", file.read_text())
    }
    assert asked <= known


def test_a_file_is_kept_by_browsers_under_its_own_digest_alone() -> None:
    from fastapi import FastAPI

    app = FastAPI()
    app.include_router(assets.router)
    client = TestClient(app)
    kept = client.get(assets.addresses()["app.css"])
    assert "immutable" in kept.headers["cache-control"]
    assert kept.headers["content-encoding"] == "gzip"
    plain = client.get("/static/app.css", headers={"accept-encoding": "identity"})
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.content == kept.content
    tag = {"if-none-match": plain.headers["etag"]}
    assert client.get("/static/app.css", headers=tag).status_code == 304


def test_the_overview_says_who_owned_and_what_ran(office: tuple[TestClient, Profile]) -> None:
    said = page(office, "/p/office/").said()
    for words in (
        "This profile has no owner",
        "gateway owned from",
        "desktop owned from",
        "No owner from",
    ):
        assert words in said
    assert re.search(r"invoices, the last 24 hours", said)
    assert re.search(r"\d+ ok, \d+ held", said)
    assert "17 missed" in said or "16 missed" in said
    assert "morning briefing" in said  # another scheduler decides


def test_the_overview_marks_what_ended_badly_by_shape_and_leads_there(
    office: tuple[TestClient, Profile],
) -> None:
    found = page(office, "/p/office/")
    bad, _ = office[1].store.runs(
        RunFilter(states=frozenset({RunState.FAILED}), since=now() - timedelta(hours=23))
    )
    assert bad
    for run in bad:
        (link,) = found.all("a", href=f"/p/office/runs/{run.id}")
        assert "failed" in link["aria-label"]
    assert [attrs for attrs in found.all("use") if attrs["href"].endswith("#failed")]


def test_jobs_are_found_by_words_tags_and_kinds(office: tuple[TestClient, Profile]) -> None:
    def names(query: str) -> set[str]:
        found = page(office, f"/p/office/jobs?{query}")
        return {a["href"] for a in found.all("a") if re.search(r"/jobs/j[^/]+$", a.get("href", ""))}

    assert len(names("q=tag:mail")) == 2
    assert len(names("q=is:protected")) == 2
    assert len(names("q=restic+photos")) == 1
    assert len(names("q=is:foreign")) == 1
    assert len(names("state=paused")) == 1
    assert names("q=nothing+like+this") == set()


def test_secrets_are_on_no_page(office: tuple[TestClient, Profile]) -> None:
    for path in paths(office[1]):
        assert "hunter2" not in office[0].get(path).text, path
    job = office[1].store.job("photos-backup")
    assert "RESTIC_PASSWORD=********" in page(office, f"/p/office/jobs/{job.id}").said()


def test_a_foreign_job_is_told_as_one_and_offers_no_edit(
    office: tuple[TestClient, Profile],
) -> None:
    job = office[1].store.job("morning briefing")
    found = page(office, f"/p/office/jobs/{job.id}")
    assert "hermes cron edit b41f" in found.said()
    assert "Hermes decides when it is due" in found.said()
    assert not found.all("a", href=f"/p/office/jobs/{job.id}/edit")
    assert "not edited here" in page(office, f"/p/office/jobs/{job.id}/edit").said()


def test_a_run_tells_who_ran_it_on_which_evidence(office: tuple[TestClient, Profile]) -> None:
    lost, _ = office[1].store.runs(RunFilter(states=frozenset({RunState.LOST})))
    said = page(office, f"/p/office/runs/{lost[0].id}").said()
    for words in ("Lost", "gateway", "term 1", "gateway.service (systemd)", "begin, fire of"):
        assert words in said


def test_output_is_escaped_and_without_the_colours_of_a_terminal(
    office: tuple[TestClient, Profile],
) -> None:
    runs, _ = office[1].store.runs(RunFilter())
    folder = office[1].folder.logs / runs[0].id
    (folder / "1.log").write_bytes(
        b"\x1b[31mred\x1b[0m <script>alert(1)</script>\r\nbad \xff\x07\n"
    )
    answer = office[0].get(f"/p/office/runs/{runs[0].id}")
    assert "red &lt;script&gt;alert(1)&lt;/script&gt;\nbad \ufffd\ufffd" in answer.text
    assert "\x1b" not in answer.text


def test_only_the_end_of_a_long_output_is_on_the_page(office: tuple[TestClient, Profile]) -> None:
    runs, _ = office[1].store.runs(RunFilter())
    folder = office[1].folder.logs / runs[1].id
    (folder / "1.log").write_text("".join(f"line {n}\n" for n in range(100_000)))
    found = page(office, f"/p/office/runs/{runs[1].id}")
    assert "line 99999" in found.text
    assert "line 10\n" not in found.text
    assert "MB before this are left out here" in found.said()
    assert len(found.text) < MOST - 50_000


def test_what_is_not_there_is_a_page_that_says_so(office: tuple[TestClient, Profile]) -> None:
    for path in ("/p/office/jobs/nothing", "/p/office/runs/nothing", "/p/nobody/", "/p/office/x"):
        found = page(office, path, 404)
        assert found.all("a", href="/")


def test_without_a_token_only_the_way_to_it_is_shown(office: tuple[TestClient, Profile]) -> None:
    stranger = TestClient(office[0].app, base_url=ORIGIN)
    found = shown(stranger.get("/p/office/"), 401)
    assert "tenure dashboard" in found.said()
    assert "photos-backup" not in found.text
    assert not found.all("script")


def test_what_to_type_names_the_profile(office: tuple[TestClient, Profile]) -> None:
    """A command that is copied from a warning is about the profile of the page."""
    toml = office[1].folder.toml
    before = toml.read_text()
    toml.write_text(before + '\n[[owner]]\nservice = "another"\n')
    try:
        said = page(office, "/p/office/").said()
    finally:
        toml.write_text(before)
    assert "tenure owner policy --accept --profile office" in said


def test_a_held_fire_leads_to_the_run_that_it_became(office: tuple[TestClient, Profile]) -> None:
    found = page(office, "/p/office/runs?show=not-run")
    assert "Ended in this run" in found.said()
    assert not re.search(r"\brun r1[0-9a-z]{12,}", found.said()), "an id is told to nobody"
