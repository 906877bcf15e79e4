"""What the page says in every state that an owner, a request and the history can be in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pagekit import Shown, shown
from starlette.testclient import TestClient
from webkit import ORIGIN, Web, now

from tenure.domain.job import Command, Definition
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Requester, RequestKind, RequestState
from tenure.domain.run import RunState
from tenure.domain.schedule.model import every_schedule
from tenure.domain.warnings import ProfileWarning
from tenure.surfaces.web import reports
from tenure.surfaces.web.pages import overview
from testkit.factories import ended, make_process


def page(web: Web, path: str = "/", status: int = 200) -> Shown:
    return shown(web.browser().get(f"/p/default{path}"), status)


def bar(found: Shown) -> str:
    """The line about the owner on top of each page."""
    said = found.said()
    return said[: said.index("As of")]


@pytest.mark.parametrize("path", ["/jobs/gone", "/runs/r1gone", "/nowhere/at/all"])
def test_a_page_that_is_not_there_keeps_the_ways_to_those_that_are(web: Web, path: str) -> None:
    ways = {found["href"] for tag, found in page(web, path, 404).tags if tag == "a"}
    assert {"/p/default/", "/p/default/jobs", "/p/default/runs", "/p/default/owner"} <= ways
    stranger = shown(TestClient(web.client.app, base_url=ORIGIN).get(f"/p/default{path}"), 401)
    assert "/p/default/jobs" not in stranger.text


def test_an_owner_that_lives(web: Web) -> None:
    web.world.owner(authoritative=True)
    assert "Owner: " in bar(page(web, "/jobs"))
    assert "term 1, authoritative" in bar(page(web, "/jobs"))
    assert "authoritative: runs protected jobs" in page(web).said()


def test_an_owner_that_is_not_authoritative(web: Web) -> None:
    web.world.owner()
    assert "not authoritative: protected jobs are held" in page(web).said()


def test_an_owner_that_died_and_what_happens_to_protected_jobs(web: Web) -> None:
    web.world.owner(authoritative=True)
    web.world.die("p-gateway")
    for path in ("/", "/jobs", "/runs", "/requests", "/owner", "/jobs/new"):
        said = bar(page(web, path))
        assert "is dead" in said
        assert "Protected jobs are held" in said
    assert "nothing new starts" in page(web).said()


def test_an_owner_that_makes_no_progress(web: Web) -> None:
    long = timedelta(minutes=10)
    often = every_schedule(timedelta(seconds=1), now() - long)
    wants = Definition(name="often", schedule=often, action=Command(argv=("true",)))
    web.store.add_job(wants, by="ada", now=now() - long)
    web.world.owner(awake=600)
    assert "makes no progress" in bar(page(web))


def test_a_profile_that_is_a_copy_may_be_owned_by_nobody(web: Web) -> None:
    import json

    path = web.world.profile.folder.path / "profile.id"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "term": 99}))
    assert "No process may become owner" in bar(page(web))


def test_a_foreign_scheduler_is_listed_with_why(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.world.owner()
    ticker: Process = make_process("foreign-1", pid=4711)
    object.__setattr__(ticker, "standing", ProcessStatus.FOREIGN)
    object.__setattr__(ticker, "why", "it ticks the jobs of Hermes")
    monkeypatch.setattr(reports, "foreign_in", lambda profile: (ticker,))
    for path in ("/", "/owner"):
        found = page(web, path)
        assert "foreign" in found.said()
        assert "It ticks the jobs of Hermes" in found.said()
    assert "is a scheduler that does not use Tenure" in page(web).said()


def test_each_process_is_held_against_each_rule(web: Web) -> None:
    toml = web.world.profile.folder.toml
    toml.write_text(
        '[[owner]]\nservice = "nothing"\n[[owner]]\nuser = "me"\nauthoritative = false\n'
    )
    web.world.profile.refresh_policy("ada", now())
    web.world.join("p-desktop", standing=ProcessStatus.CANDIDATE)
    said = page(web, "/owner").said()
    assert "Rule 1 does not match" in said
    assert "it asks for service nothing" in said
    assert "Rule 2 admits it" in said
    assert "fallback: no protected jobs" in said


def test_rules_that_are_not_in_force_yet_are_told(web: Web) -> None:
    web.world.profile.folder.toml.write_text('[[owner]]\nservice = "gateway"\n')
    said = page(web, "/owner").said()
    assert "No owner rules are set" in said
    assert "Rule 1 admits service gateway (authoritative)" in said


@pytest.mark.parametrize("state", [s for s in RunState if s.value not in ("claimed", "running")])
def test_a_run_in_each_state(web: Web, state: RunState) -> None:
    web.add("report")
    web.world.owner()
    run = web.run_of("report", end=None)
    retry = now() + timedelta(minutes=5) if state is RunState.RETRYING else None
    web.store.finish([ended(run, state, retry_at=retry, reason="so it was")], now())
    found = page(web, f"/runs/{run.id}")
    assert "So it was" in found.said()
    buttons = [a for t, a in found.tags if t == "button" and a.get("id", "").startswith("b-")]
    assert [a["id"] for a in buttons] == ["b-cancel" if state is RunState.RETRYING else "b-retry"]
    assert page(web).all("main")


def test_a_late_result_stands_beside_the_first(web: Web) -> None:
    web.add("report")
    web.world.owner()
    run = web.run_of("report", end=None)
    web.store.finish([ended(run, RunState.LOST)], now())
    web.store.finish([ended(run, RunState.SUCCEEDED)], now())
    said = page(web, f"/runs/{run.id}").said()
    assert "A result arrived after the run was declared lost" in said


def test_a_request_that_expired_says_that_it_is_not_carried_out(web: Web) -> None:
    job = web.add("report")
    asked = web.store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=Requester(pid=1),
        now=now() - timedelta(minutes=1),
        deadline=timedelta(seconds=30),
        job=job["id"],
    )
    assert "The deadline has passed" in page(web, f"/requests/{asked.id}").said()
    web.store.expire_requests(now())
    said = page(web, f"/requests/{asked.id}").said()
    assert "Expired" in said
    assert "not carried out" in said


def test_markup_in_names_and_commands_stays_text(web: Web) -> None:
    name = "<img src=x onerror=alert(1)> & \"quoted\" 'it'"
    job = web.add(name, command=["echo", "<script>alert(1)</script>"], tags=["<b>"])
    web.world.owner()
    run = web.run_of(name, end=None)
    web.store.finish([ended(run, RunState.FAILED, reason="<i>no</i>")], now())
    for path in ("/", "/jobs", f"/jobs/{job['id']}", f"/jobs/{job['id']}/edit", "/runs",
                 f"/runs/{run.id}", "/jobs?q=%3Cscript%3E"):  # fmt: skip
        found = page(web, path)
        assert not found.all("i"), path
        assert not [a for a in found.all("img") if a["src"] == "x"], path


def test_a_declared_job_is_shown_and_not_edited_here(web: Web) -> None:
    from tenure.domain.job import Call
    from tenure.store.contract import Declaration

    authority = web.world.owner()
    schedule = every_schedule(timedelta(minutes=5), now())
    wants = Definition(name="shop:sync", schedule=schedule, action=Call(target="shop:sync"))
    web.store.reconcile(authority, "shop", "1", [Declaration(definition=wants)], now())
    job = web.store.job("shop:sync")
    assert "the app shop, version 1" in page(web, f"/jobs/{job.id}").said()
    assert "declared by the code of the app 'shop'" in page(web, f"/jobs/{job.id}/edit").said()


def test_a_revision_that_waits_for_approval_can_be_approved(web: Web) -> None:
    web.world.profile.folder.toml.write_text("approve_protected = true\n")
    job = web.add("safe", protected=True)
    client = web.browser()
    found = shown(client.get(f"/p/default/jobs/{job['id']}"))
    assert "waits for approval" in found.said()
    fields = {"csrf": found.value("csrf"), "revision": "1"}
    headers = {"Origin": "http://127.0.0.1:8787"}
    answer = client.post(f"/p/default/jobs/{job['id']}/approve", data=fields, headers=headers,
                         follow_redirects=True)  # fmt: skip
    said = shown(answer).said()
    assert "Approved" in said
    assert "waits for approval" not in said


def test_why_a_process_is_refused_is_drop_repeated_reasons_at_the_top() -> None:
    why = "no rule admits it: rule 1 asks for service gateway"
    found = overview.drop_repeated_reasons(
        [
            ProfileWarning(code="no_owner",
                           text=f"nobody owns: pid 4711 is refused: {why}. Expected owner: x",
                    remedy=""),
            ProfileWarning(code="refused_executor", text=f"pid 4711 is refused: {why}", remedy=""),
            ProfileWarning(code="owner_dead",
                           text="the owner (pid 5) is dead: the owner (pid 5) is dead; "
                    "nobody is there", remedy=""),
        ]
    )  # fmt: skip
    assert [one.text for one in found] == [
        "nobody owns: pid 4711 is refused. Expected owner: x",
        f"pid 4711 is refused: {why}",
        "the owner (pid 5) is dead: nobody is there",
    ]


def test_a_trigger_after_a_death_says_that_the_owner_is_dead(web: Web) -> None:
    job = web.add("report")
    web.world.owner(authoritative=True)
    web.world.die("p-gateway")
    client = web.browser()
    csrf = shown(client.get("/p/default/jobs")).value("csrf")
    answer = client.post(f"/p/default/jobs/{job['id']}/trigger", data={"csrf": csrf},
                         headers={"Origin": "http://127.0.0.1:8787"})  # fmt: skip
    said = shown(answer, 409).said()
    assert "is dead." in said[said.index("so the request was refused") :]
    assert "Observer:" not in said


def test_a_run_whose_watcher_died_says_so(web: Web) -> None:
    web.add("report")
    web.world.owner()
    run = web.run_of("report", end=None)
    assert "that watched this run" not in page(web, f"/runs/{run.id}").said()
    web.world.die("p-gateway")
    assert "that watched this run" in page(web, f"/runs/{run.id}").said()


def test_an_answer_leads_to_its_run_by_a_link_and_not_by_an_id(web: Web) -> None:
    job = web.add("report")
    authority = web.world.owner()
    run = web.run_of("report", end=None)
    asked = web.store.create_request(
        kind=RequestKind.TRIGGER, key="k", requester=Requester(pid=1), now=now(),
        deadline=timedelta(seconds=30), job=job["id"],
    )  # fmt: skip
    text = f"run {run.id} timed_out"
    web.store.resolve_request(
        asked.id, RequestState.ACCEPTED, authority=authority, now=now(), answer=text, run=run.id
    )
    for path in ("/requests", f"/requests/{asked.id}"):
        found = page(web, path)
        assert "This run timed out" in found.said()
        assert found.all("a", href=f"/p/default/runs/{run.id}")


def test_a_process_that_a_rule_admits_and_that_is_refused_says_why(web: Web) -> None:
    web.world.profile.folder.toml.write_text('[[owner]]\nuser = "me"\n')
    web.world.profile.refresh_policy("ada", now())
    web.world.join("p-gateway", standing=ProcessStatus.REFUSED, why="a job is planned elsewhere")
    said = page(web, "/owner").said()
    assert "Rule 1 admits it" in said
    assert "A job is planned elsewhere." in said


def test_nobody_is_told_to_start_a_fallback_for_protected_jobs(web: Web) -> None:
    web.world.profile.folder.toml.write_text('[[owner]]\nuser = "me"\nauthoritative = false\n')
    web.world.profile.refresh_policy("ada", now())
    job = web.add("safe", protected=True)
    web.world.owner(rule=0)
    for path in ("/", f"/jobs/{job['id']}"):
        said = page(web, path).said()
        assert "write authoritative = true in the rule" in said
        assert "start the process that should own" not in said
