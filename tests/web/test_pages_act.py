"""What the forms do: they change, ask and undo, say what stands in the way, and lose nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pagekit import Shown, shown
from webkit import Web, accept, now

from answering import Answering
from tenure.client.job_fields import MASK
from tenure.domain.errors import NotFound
from tenure.domain.job import Command, Job, JobState
from tenure.domain.request import Requester, RequestKind, RequestState


class Sitting:
    """Somebody at a browser without scripts, at the default profile."""

    def __init__(self, web: Web, token: str | None = None) -> None:
        self.web = web
        self.client = web.browser(token)
        self.base = "/p/default"

    def get(self, path: str, status: int = 200) -> Shown:
        return shown(self.client.get(self.base + path), status)

    def post(self, path: str, fields: dict[str, str] | None = None) -> Any:
        """As a form of our own page is sent; nothing is followed."""
        page = self.client.get("/")
        csrf = Shown(page.text).value("csrf")
        headers = {"Origin": "http://127.0.0.1:8787", "Sec-Fetch-Site": "same-origin"}
        data = {"csrf": csrf, **(fields or {})}
        return self.client.post(
            self.base + path, data=data, headers=headers, follow_redirects=False
        )

    def done(self, path: str, fields: dict[str, str] | None = None) -> str:
        """Where a form that was accepted leads."""
        answer = self.post(path, fields)
        assert answer.status_code == 303, answer.text[:2000]
        return str(answer.headers["location"])

    def edit_form(self, job: Job) -> dict[str, str]:
        return self.get(f"/jobs/{job.id}/edit").form()


@pytest.fixture
def sitting(web: Web) -> Sitting:
    return Sitting(web)


def job_of(sitting: Sitting, **fields: str) -> Job:
    """A job made by the form."""
    form = sitting.get("/jobs/new").form()
    wants = {"name": "report", "command": "make report", "schedule": "0 3 * * *", **fields}
    where = sitting.done("/jobs/new", {**form, **wants})
    return sitting.web.store.job(where.partition("?")[0].rsplit("/", 1)[1])


def test_every_option_of_add_can_be_given(sitting: Sitting) -> None:
    job = job_of(
        sitting,
        command="/bin/echo 'two words' last",
        tz="America/New_York",
        dst="gap=skip,fold=both",
        protected="on",
        requires="read:/etc\nexec:sh",
        overlap="queue",
        catch_up="all",
        window="6h",
        grace="5m",
        jitter="30s",
        timeout="1h",
        retries="3",
        backoff="20s",
        retry_lost="on",
        cwd="/tmp",
        env="LANG=C\nTOKEN=a=b",
        stdin="one\r\ntwo",
        tags="mail, nightly",
        paused="on",
    )
    wants = job.definition
    assert isinstance(wants.action, Command)
    assert job.state is JobState.PAUSED
    assert wants.action.argv == ("/bin/echo", "two words", "last")
    assert wants.action.env == {"LANG": "C", "TOKEN": "a=b"}
    assert wants.action.stdin == "one\ntwo"
    assert (wants.action.cwd, wants.schedule.timezone) == ("/tmp", "America/New_York")
    assert str(wants.schedule.dst) == "gap=skip,fold=both"
    assert (wants.protected, wants.requires) == (True, ("read:/etc", "exec:sh"))
    assert (str(wants.overlap), str(wants.catch_up)) == ("queue", "all")
    assert (wants.window, wants.grace) == (timedelta(hours=6), timedelta(minutes=5))
    assert (wants.jitter, wants.timeout) == (timedelta(seconds=30), timedelta(hours=1))
    assert (wants.retries, wants.backoff) == (3, timedelta(seconds=20))
    assert (wants.retry_lost, wants.tags) == (True, ("mail", "nightly"))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schedule", "every foo", "is not a valid"),
        ("tz", "Mars/Olympus", "unknown time zone"),
        ("command", "echo 'open", "quote is not closed"),
        ("command", "", "no command given"),
        ("env", "NOVALUE", "'NOVALUE' has no value"),
        ("env", "=secret", "a value has no name"),
        ("retries", "many", "is not a whole number"),
        ("timeout", "10", "no unit"),
        ("requires", "magic", "is not a known capability"),
        ("cwd", "relative/path", "not an absolute path"),
        ("window", "2h", "needs a choice of what is caught up"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    sitting: Sitting, field: str, value: str, said: str
) -> None:
    form = sitting.get("/jobs/new").form()
    typed = {"name": "x", "command": "make all", "schedule": "@daily", "env": "A=1\nB=2"}
    typed[field] = value
    found = shown(sitting.post("/jobs/new", {**form, **typed}), 422)
    assert said in found.said()
    for name, text in typed.items():
        assert found.value(name) == text
    assert [a for _, a in found.tags if a.get("aria-invalid") == "true"]
    assert not sitting.web.store.jobs()[0]


def test_a_name_that_is_taken_is_a_conflict_at_the_name(sitting: Sitting) -> None:
    job_of(sitting)
    form = {**sitting.get("/jobs/new").form(), "name": "report", "command": "true"}
    found = shown(sitting.post("/jobs/new", {**form, "schedule": "@daily"}), 409)
    assert found.all("input", name="name")[0]["aria-invalid"] == "true"


def test_a_form_sent_untouched_changes_nothing(sitting: Sitting) -> None:
    store = sitting.web.store
    job = job_of(sitting, schedule="every 90s", env="TOKEN=secret\nA=1")
    awkward = Command(argv=("sh", "-c", "a\nb"), env={"TOKEN": "s", "MANY": "x\ny"}, stdin="a\r\nb")
    job = store.edit_job(
        job.id, 1, job.definition.with_changes(action=awkward), by="ada", now=now()
    )
    where = sitting.done(f"/jobs/{job.id}/edit", sitting.edit_form(job))
    assert where.endswith("?done=unchanged")
    assert store.job(job.id).definition == job.definition


def test_an_edit_changes_only_what_was_touched(sitting: Sitting) -> None:
    job = job_of(sitting, schedule="every 90s", env="TOKEN=secret\nA=1", timeout="5m")
    form = sitting.edit_form(job)
    assert form["env"] == f"TOKEN={MASK}\nA=1"
    changed = {"env": f"TOKEN={MASK}\nA=2", "timeout": "", "tags": "new"}
    assert sitting.done(f"/jobs/{job.id}/edit", {**form, **changed}).endswith("?done=edited")
    after = sitting.web.store.job(job.id).definition
    assert isinstance(job.definition.action, Command)
    action = replace(job.definition.action, env={"TOKEN": "secret", "A": "2"})
    assert after == job.definition.with_changes(action=action, timeout=None, tags=("new",))
    assert after.schedule.anchor == job.definition.schedule.anchor


def test_a_paused_job_stays_paused_when_it_is_edited(sitting: Sitting) -> None:
    job = job_of(sitting, paused="on")
    sitting.done(f"/jobs/{job.id}/edit", {**sitting.edit_form(job), "tags": "x"})
    assert sitting.web.store.job(job.id).state is JobState.PAUSED


def test_two_edits_of_different_parts_are_both_kept(sitting: Sitting) -> None:
    job = job_of(sitting)
    first, second = sitting.edit_form(job), sitting.edit_form(job)
    sitting.done(f"/jobs/{job.id}/edit", {**first, "timeout": "5m"})
    where = sitting.done(f"/jobs/{job.id}/edit", {**second, "retries": "2"})
    assert where.endswith("?done=merged")
    after = sitting.web.store.job(job.id).definition
    assert (after.timeout, after.retries) == (timedelta(minutes=5), 2)


@pytest.mark.parametrize("take", ["mine", "theirs"])
def test_two_edits_of_the_same_part_are_both_shown_and_one_is_chosen(
    sitting: Sitting, take: str
) -> None:
    job = job_of(sitting)
    first, second = sitting.edit_form(job), sitting.edit_form(job)
    sitting.done(f"/jobs/{job.id}/edit", {**first, "schedule": "0 4 * * *", "timeout": "5m"})
    asked = {**second, "schedule": "0 5 * * *", "retries": "2"}
    both = shown(sitting.post(f"/jobs/{job.id}/edit", asked), 409)
    for words in ("0 3 * * *", "0 4 * * *", "0 5 * * *", "5m"):
        assert words in both.said()
    form = {**both.form(), "take.schedule": take}
    assert form["revision"] == "2"
    sitting.done(f"/jobs/{job.id}/edit", form)
    after = sitting.web.store.job(job.id).definition
    assert after.schedule.text == ("0 5 * * *" if take == "mine" else "0 4 * * *")
    assert (after.timeout, after.retries) == (timedelta(minutes=5), 2)


def test_a_secret_that_both_changed_is_a_conflict_though_no_form_shows_it(
    sitting: Sitting,
) -> None:
    job = job_of(sitting, env="TOKEN=old")
    form = sitting.edit_form(job)
    sitting.done(f"/jobs/{job.id}/edit", {**form, "env": "TOKEN=theirs"})
    answer = sitting.post(f"/jobs/{job.id}/edit", {**form, "env": "TOKEN=mine"})
    assert answer.status_code == 409
    assert "theirs" not in answer.text.partition("<main")[2].replace('value="theirs"', "")


def test_a_job_that_was_renamed_meanwhile_is_still_the_one_that_is_edited(
    sitting: Sitting,
) -> None:
    job = job_of(sitting)
    form = sitting.edit_form(job)
    renamed = job.definition.with_changes(name="other")
    sitting.web.store.edit_job(job.id, 1, renamed, by="bob", now=now())
    sitting.done(f"/jobs/{job.id}/edit", {**form, "tags": "x"})
    after = sitting.web.store.job(job.id).definition
    assert (after.name, after.tags) == ("other", ("x",))


def test_the_schedule_is_told_without_a_script(sitting: Sitting) -> None:
    form = {**sitting.get("/jobs/new").form(), "schedule": "30 2 * * *", "tz": "Europe/Berlin"}
    found = shown(sitting.post("/jobs/new", {**form, "preview": "1"}))
    assert found.value("schedule") == "30 2 * * *"
    assert "At 02:30 every day (Europe/Berlin)" in found.said()
    assert "Next clock change" in found.said()
    assert not sitting.web.store.jobs()[0]


def test_the_search_follows_every_change(sitting: Sitting) -> None:
    def found(query: str) -> list[str]:
        rows = sitting.get(f"/jobs?q={query}")
        return sorted({a["href"].rsplit("/", 1)[1] for a in rows.all("a") if "jobs/j" in a["href"]})

    job, other = job_of(sitting, tags="mail"), job_of(sitting, name="other")
    assert found("tag:mail") == [job.id]
    sitting.done(f"/jobs/{other.id}/edit", {**sitting.edit_form(other), "tags": "Mail"})
    assert found("tag:mail") == sorted([job.id, other.id])
    sitting.done(f"/jobs/{job.id}/state", {"to": "remove"})
    assert found("tag:mail") == [other.id]
    third = job_of(sitting, name="third", command="send mail")
    assert found("mail") == sorted([other.id, third.id])
    assert found("mail+third") == [third.id]


def test_pause_resume_remove_and_undo(sitting: Sitting) -> None:
    job, store = job_of(sitting), sitting.web.store
    for verb, state in (("pause", JobState.PAUSED), ("resume", JobState.ACTIVE)):
        where = sitting.done(f"/jobs/{job.id}/state", {"to": verb})
        assert where.startswith(f"/p/default/jobs/{job.id}")
        assert store.job(job.id).state is state
    where = sitting.done(f"/jobs/{job.id}/state", {"to": "remove"})
    removed = shown(sitting.client.get(where))
    assert "Its history stays" in removed.said()
    with pytest.raises(NotFound):
        store.job("report")
    assert removed.all("form", action=f"/p/default/jobs/{job.id}/restore")
    sitting.done(f"/jobs/{job.id}/restore")
    assert store.job("report").definition == job.definition
    assert store.job("report").id != job.id
    assert "Removed by" in sitting.get(f"/jobs/{job.id}").said()


def test_a_trigger_that_nobody_can_do_says_who_should_and_what_to_do(sitting: Sitting) -> None:
    job = job_of(sitting)
    found = shown(sitting.post(f"/jobs/{job.id}/trigger"), 409)
    said = found.said()
    assert "Profile default has no owner, so the request was refused" in said
    assert "Expected owner: any of your processes" in said
    assert "tenure serve" in said
    assert "--queue" not in said, "there is a button for it"
    (asked,) = sitting.web.store.requests()
    assert asked.state is RequestState.REFUSED
    assert found.all("a", href=f"/p/default/requests/{asked.id}")

    where = sitting.done(f"/jobs/{job.id}/trigger", {"queue": "1"})
    waiting = shown(sitting.client.get(where))
    assert "It waits for an owner, until" in waiting.said()
    assert "in 23 h" in waiting.said()
    assert "1 request waits for an owner" in sitting.get("/").said()
    asked_id = where.rsplit("/", 1)[1]
    assert sitting.done(f"/requests/{asked_id}/withdraw").endswith("?done=withdrawn")
    assert sitting.web.store.request(asked_id).state is RequestState.WITHDRAWN
    again = shown(sitting.post(f"/requests/{asked_id}/withdraw"), 409)
    assert "was already withdrawn" in again.said()


def test_a_trigger_leads_to_its_run(sitting: Sitting, web: Web) -> None:
    job = job_of(sitting)
    web.world.owner()
    with Answering(web.world.profile.folder.home, accept):
        where = sitting.done(f"/jobs/{job.id}/trigger")
    (run,) = web.store.runs_held_by(web.store.ownership().process or "")
    assert where == f"/p/default/runs/{run.id}"
    found = shown(sitting.client.get(where))
    assert "asked by" in found.said()
    assert "tenure dashboard, page" in found.said()


def test_an_owner_that_does_not_answer_leaves_a_request_with_a_deadline(
    sitting: Sitting, web: Web
) -> None:
    job = job_of(sitting)
    web.world.owner()
    where = sitting.done(f"/jobs/{job.id}/trigger")
    assert "/requests/" in where
    found = shown(sitting.client.get(where))
    assert "The owner has until" in found.said()
    assert "after that it is not carried out" in found.said()


def test_what_the_owner_refuses_is_told_with_its_remedy(sitting: Sitting, web: Web) -> None:
    job = job_of(sitting, protected="on")
    web.world.owner(authoritative=False)
    with Answering(web.world.profile.folder.home, accept):
        found = shown(sitting.post(f"/jobs/{job.id}/trigger"), 403)
    assert "Not done: run report now" in found.said()
    assert "authoritative" in found.said()
    assert not found.all("input", name="queue")


def test_the_address_of_a_form_opened_anew_leads_back(sitting: Sitting) -> None:
    job = job_of(sitting)
    for verb in ("trigger", "state"):
        answer = sitting.client.get(f"/p/default/jobs/{job.id}/{verb}", follow_redirects=False)
        assert answer.headers["location"] == f"/p/default/jobs/{job.id}"
    sitting.get(f"/jobs/{job.id}/nothing", 404)


def test_a_form_without_its_token_changes_nothing(sitting: Sitting) -> None:
    job = job_of(sitting)
    answer = sitting.client.post(
        f"/p/default/jobs/{job.id}/state",
        data={"to": "pause"},
        headers={"Origin": "http://127.0.0.1:8787"},
        follow_redirects=False,
    )
    assert answer.status_code == 403
    assert sitting.web.store.job(job.id).state is JobState.ACTIVE


def test_who_may_only_look_is_offered_nothing_and_can_do_nothing(web: Web) -> None:
    job = job_of(Sitting(web))
    web.store.create_request(
        kind=RequestKind.TRIGGER, key="k", requester=Requester(pid=1), now=now(),
        deadline=timedelta(hours=1), job=job.id,
    )  # fmt: skip
    reader = Sitting(web, web.tokens.pair.read_only)
    for path in ("/", "/jobs", f"/jobs/{job.id}", "/owner", "/requests"):
        found = reader.get(path)
        forms = [a for a in found.all("form", method="post") if a.get("action") != "/theme"]
        assert forms == []
    assert reader.post(f"/jobs/{job.id}/state", {"to": "pause"}).status_code == 403
    assert web.store.job(job.id).state is JobState.ACTIVE


@pytest.mark.parametrize(
    ("where", "leads"),
    [("/p/default/jobs", "/p/default/jobs"), ("//evil.example", "/"), ("https://evil", "/"),
     ("/\\evil", "/"), ("", "/")],
)  # fmt: skip
def test_the_theme_is_remembered_and_leads_nowhere_else(
    sitting: Sitting, where: str, leads: str
) -> None:
    sitting.base = ""
    answer = sitting.post("/theme", {"theme": "dark", "next": where})
    assert answer.headers["location"] == leads
    assert "tenure_theme=dark" in answer.headers["set-cookie"]
    sheets = shown(sitting.client.get("/p/default/")).all("link", rel="stylesheet")
    assert [s for s in sheets if "dark.css" in s["href"] and "media" not in s]
