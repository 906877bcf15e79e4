"""What a form, an address or a job's own words could do to whoever looks at the page."""

from __future__ import annotations

from typing import Any

import pytest
from pagekit import Shown, shown
from webkit import ORIGIN, Web

from tenure.domain.job import Command
from tenure.surfaces.web.words import visible

BASE = "/p/default"
OVERRIDE, ISOLATE, CSI = "\u202e", "\u2066", "\x9b"


def post(web: Web, path: str, **fields: str) -> Any:
    client = web.browser()
    csrf = shown(client.get(f"{BASE}/jobs/new")).value("csrf")
    return client.post(f"{BASE}{path}", data={**fields, "csrf": csrf}, headers={"Origin": ORIGIN})


def blank(web: Web) -> dict[str, str]:
    filled = shown(web.browser().get(f"{BASE}/jobs/new")).form()
    return {**filled, "command": "true", "schedule": "@daily", "name": "job"}


def text_of(page: Shown) -> str:
    return "".join(page.words)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", f"report{OVERRIDE}gpj.exe", "no control characters"),
        ("name", "two\nlines", "no control characters"),
        ("name", "a\0b", "no control characters"),
        ("name", "unseen\u200bspace", "no control characters"),
        ("name", "n" * 10_000, "1 to 200 characters"),
        ("command", "echo a\0b", "contains a NUL character"),
        ("command", "echo " + "x" * 200_000, "longer than 131072 characters"),
        ("schedule", "* " * 5000, "the limit is 200"),
        ("tags", "x" * 10_000, "is not a valid tag: 1 to 100 printable characters"),
        ("tags", f"mail{OVERRIDE}", "is not a valid tag"),
        ("env", "=3", "has no name"),
        ("cwd", "../../etc", "is not an absolute path"),
        ("tz", "../../etc/passwd", "time zone"),
    ],
)
def test_what_cannot_be_a_job_is_said_at_its_field_and_kept(
    web: Web, field: str, value: str, says: str
) -> None:
    page = shown(post(web, "/jobs/new", **{**blank(web), field: value}), 422)
    assert says in page.said()
    assert len(page.said()) - page.said().count("x") < 10_000  # said in short, whatever was sent
    assert page.value(field) == value
    assert not web.store.jobs()[0]


@pytest.mark.parametrize("name", ["تقرير يومي", "../../etc/passwd", ".", "new", "a/b/state", "💩"])
def test_any_name_that_can_be_printed_is_only_a_name(web: Web, name: str) -> None:
    page = shown(post(web, "/jobs/new", **{**blank(web), "name": name}))
    assert name in text_of(page)
    (job,) = web.store.jobs()[0]
    client = web.browser()
    for path in ("/", "/jobs", f"/jobs/{job.id}", f"/jobs/{job.id}/edit", "/runs", "/owner"):
        shown(client.get(BASE + path))


def test_a_command_that_would_deceive_the_eye_is_written_out(web: Web) -> None:
    """Who approves a command must see what it does (CVE-2021-42574)."""
    line = f"rm -rf /data {OVERRIDE}# {ISOLATE}ohce{CSI}"
    job = web.add("deceiving", command=["sh", "-c", line], env={"NOTE": f"a\nPATH=/evil{OVERRIDE}"})
    web.world.owner()
    run = web.run_of("deceiving")
    client = web.browser()
    for path in (f"/jobs/{job['id']}", f"/runs/{run.id}"):
        text = text_of(shown(client.get(BASE + path)))
        assert r"rm -rf /data \u202e# \u2066ohce\x9b" in text, path
        assert r"NOTE=a\nPATH=/evil\u202e" in text, path
        assert not {OVERRIDE, ISOLATE, CSI} & set(text), path
    held = web.store.job(job["id"]).definition.action
    assert isinstance(held, Command)
    assert held.argv == ("sh", "-c", line)


def test_what_is_printable_is_shown_as_it_is() -> None:
    assert visible("printf 'grüße\\n'\n\techo تقرير 💩") == "printf 'grüße\\n'\n\techo تقرير 💩"
    assert visible("a\nb\tc", lines=False) == "a\\nb\tc"
    assert visible("a\u00a0b\r") == r"a\xa0b\r"


@pytest.mark.parametrize("revision", ["", "-1", "0", "2", "1e0", "9" * 5000, "\0"])
def test_an_approval_is_of_the_revision_that_was_read(web: Web, revision: str) -> None:
    """Without one that can be read nothing is approved, least of all whatever is there now."""
    web.world.profile.folder.toml.write_text("approve_protected = true\n")
    job = web.add("guarded", protected=True)
    answer = post(web, f"/jobs/{job['id']}/approve", revision=revision)
    shown(answer, 422)
    assert "waits for approval" in shown(web.browser().get(f"{BASE}/jobs/{job['id']}")).said()


@pytest.mark.parametrize("revision", ["", "-1", "2", "9" * 5000])
def test_an_edit_is_of_a_revision_too(web: Web, revision: str) -> None:
    job = web.add("edited")
    sent = {**blank(web), "name": "other", "revision": revision}
    shown(post(web, f"/jobs/{job['id']}/edit", **sent), 422)
    assert web.store.job(job["id"]).name == "edited"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/p/%00/", 404),
        ("/p/..%2f..%2fetc/", 404),
        ("/p/CON/", 404),
        ("/p/default/jobs/%00", 404),
        ("/p/default/jobs/..%2f..%2fprofile.toml", 404),
        ("/p/default/jobs/%ff%fe", 404),
        ("/p/default/runs/%2e%2e%2f%2e%2e", 404),
        ("/p/default/runs/..%5c..%5cweb.json", 404),
        ("/p/default/requests/%0d%0aSet-Cookie:%20a=b", 404),
        ("/p/default/jobs/" + "a" * 5000, 414),
        ("/p/default/runs?job=%00", 404),
        ("/p/default/runs?cursor=../../x", 422),
        ("/p/default/runs/x?attempt=" + "9" * 90, 404),
        ("/p/default/jobs?q=" + "a" * 300, 422),
        ("/p/default/jobs?q=%00&tag=%00&state=%00&cursor=%FF", 200),
        ("/p/default/jobs?done=%3Cb%3E&job=../x", 200),
        ("/p/default/requests?state=%00&done=%3Cb%3E", 200),
    ],
)
def test_an_address_that_means_no_good(web: Web, path: str, status: int) -> None:
    answer = web.browser().get(path, follow_redirects=False)
    shown(answer, status)
    assert "set-cookie" not in answer.headers
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("tz", ["../../etc/passwd", "%00", "Europe/../UTC", "/etc/localtime"])
def test_a_zone_is_no_path(web: Web, tz: str) -> None:
    answer = web.browser().get(f"{BASE}/jobs/preview?schedule=@daily&tz={tz}")
    assert answer.status_code == 200
    assert "time zone" in answer.text or "zone" in answer.text
    assert "root:" not in answer.text
    assert "<li" not in answer.text  # no fires of a zone that is none
