"""Jobs over HTTP: what the command line may do with definitions, by revision (C7, C12)."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest
from webkit import Web

from tenure.client.documents import to_json
from tenure.client.documents.jobs import job_document
from tenure.domain.job import Call, Command, Definition, JobState, Runner
from tenure.domain.schedule.model import foreign_schedule


def match(revision: int) -> dict[str, str]:
    return {"If-Match": f'"{revision}"'}


class TestCreating:
    def test_a_job_is_in_the_store_at_once(self, web: Web) -> None:
        answer = web.ask(
            "POST", "/jobs",
            json={"name": "mail", "schedule": "0 7 * * *", "tz": "Europe/Berlin",
                  "command": ["read-mail", "--new"], "protected": True, "timeout": "10m"},
        )  # fmt: skip
        assert answer.status_code == 201
        said = answer.json()["job"]
        job = web.store.job("mail")
        assert said == to_json(job_document(job))
        assert answer.headers["etag"] == '"1"'
        assert answer.headers["location"] == f"{web.base}/jobs/{job.id}"
        assert web.get(answer.headers["location"])["job"] == said
        assert job.definition.protected
        assert job.edited_by.endswith("tenure dashboard, API")

    def test_what_its_user_should_know_is_said(self, web: Web) -> None:
        answer = web.ask(
            "POST", "/jobs", json={"schedule": "@daily", "command": ["no-such"], "protected": True}
        )
        codes = [warning["code"] for warning in answer.json()["warnings"]]
        assert codes == ["no_command", "protected_but_open", "no_owner"]
        assert len(answer.json()["next"]) == 3

    def test_paused(self, web: Web) -> None:
        assert web.add(paused=True)["state"] == "paused"

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"schedule": "0 7 * *", "command": ["a"]}, "schedule"),
            ({"schedule": "@daily"}, "command"),
            ({"command": ["a"]}, "schedule"),
            ({"schedule": "@daily", "command": "a"}, "command"),
            ({"schedule": "@daily", "command": ["a"], "retries": "3"}, "retries"),
            ({"schedule": "@daily", "command": ["a"], "timeout": 5}, "timeout"),
            ({"schedule": "@daily", "command": ["a"], "cwd": "here"}, "cwd"),
            ({"schedule": "@daily", "command": ["a"], "wrong": 1}, "wrong"),
            ({"schedule": "@daily", "command": ["a"], "paused": "yes"}, "paused"),
            ({"schedule": "@daily", "command": ["a"], "env": {"K": "********"}}, "env.K"),
            ({"schedule": "@daily", "command": ["a"], "tz": "Berlin"}, "timezone"),
        ],
    )
    def test_what_is_wrong_names_its_field(
        self, web: Web, fields: dict[str, Any], field: str
    ) -> None:
        """Section 9: bad input gets an error that names the field and changes nothing."""
        found = web.problem("POST", "/jobs", 422, json=fields)
        assert (found["code"], found["field"]) == ("invalid", field)
        assert web.store.jobs()[0] == ()

    def test_a_taken_name(self, web: Web) -> None:
        web.add("mail")
        found = web.problem(
            "POST", "/jobs", 409, json={"name": "mail", "schedule": "@daily", "command": ["a"]}
        )
        assert found["code"] == "conflict"


class TestReplacing:
    def test_what_is_not_said_has_its_default(self, web: Web) -> None:
        job = web.add(timeout="5m", tags=["a"])
        wants = {"name": "job", "schedule": "@hourly", "command": ["false"]}
        answer = web.ask("PUT", f"/jobs/{job['id']}", json=wants, headers=match(1))
        assert answer.status_code == 200
        now = answer.json()["job"]
        assert (now["timeout"], now["tags"], now["command"]) == (None, [], ["false"])
        assert answer.headers["etag"] == '"2"'

    def test_the_same_again_changes_nothing(self, web: Web) -> None:
        """An interval keeps the grid that it began with."""
        job = web.add(schedule="every 90s")
        wants = {"name": "job", "schedule": "every 90s", "command": ["true"]}
        answer = web.ask("PUT", f"/jobs/{job['id']}", json=wants, headers=match(1))
        assert answer.json()["job"]["revision"] == 1

    def test_without_if_match(self, web: Web) -> None:
        web.add()
        for method in ("PUT", "PATCH", "DELETE"):
            found = web.problem(method, "/jobs/job", 428, json={})
            assert found["code"] == "if_match_needed"

    @pytest.mark.parametrize("value", ["3", '"x"', 'W/"1"', '"1', "", '"1";"2"'])
    def test_an_if_match_that_names_no_revision(self, web: Web, value: str) -> None:
        web.add()
        found = web.problem("DELETE", "/jobs/job", 400, headers={"If-Match": value})
        assert (found["code"], found["field"]) == ("malformed", "If-Match")

    def test_of_two_editors_the_second_is_told(self, web: Web) -> None:
        """C12: nothing is lost; the problem has both revisions."""
        web.add()
        first = web.ask("PATCH", "/jobs/job", json={"timeout": "1m"}, headers=match(1))
        assert first.status_code == 200
        found = web.problem("PATCH", "/jobs/job", 412, json={"timeout": "2m"}, headers=match(1))
        assert found["code"] == "overtaken"
        assert (found["facts"]["expected"], found["facts"]["current"]) == (1, 2)
        assert found["facts"]["edited_by"].endswith("API")
        assert web.get("/jobs/job")["job"]["timeout"] == 60
        for method, json in (("PUT", {"schedule": "@daily", "command": ["x"]}), ("DELETE", None)):
            web.problem(method, "/jobs/job", 412, json=json, headers=match(1))
        assert web.store.job("job").revision == 2

    def test_any_revision_and_one_of_several(self, web: Web) -> None:
        web.add()
        star = web.ask("PATCH", "/jobs/job", json={"tags": ["a"]}, headers={"If-Match": "*"})
        assert star.status_code == 200
        some = {"If-Match": '"1", "2"'}
        assert web.ask("PATCH", "/jobs/job", json={"tags": []}, headers=some).status_code == 200


class TestChanging:
    def test_only_what_is_said(self, web: Web) -> None:
        web.add(timeout="5m", env={"A": "1", "B": "2"}, tags=["x"])
        answer = web.ask(
            "PATCH", "/jobs/job",
            json={"timeout": None, "env": {"A": None, "C": "3"}, "paused": True},
            headers={**match(1), "Content-Type": "application/merge-patch+json"},
        )  # fmt: skip
        now = answer.json()["job"]
        assert (now["timeout"], now["env"], now["tags"]) == (None, {"B": "2", "C": "3"}, ["x"])
        assert now["state"] == "paused"
        again = web.ask("PATCH", "/jobs/job", json={"paused": False}, headers=match(2))
        assert again.json()["job"]["state"] == "active"

    def test_what_has_no_default(self, web: Web) -> None:
        web.add()
        found = web.problem("PATCH", "/jobs/job", 422, json={"schedule": None}, headers=match(1))
        assert found["field"] == "schedule"

    def test_by_a_name_that_is_gone(self, web: Web) -> None:
        found = web.problem("PATCH", "/jobs/jbo", 404, json={}, headers=match(1))
        assert found["code"] == "not_found"

    def test_a_job_of_another_scheduler(self, web: Web) -> None:
        """It is changed there, and the problem says how."""
        action = Call(target="hermes:abc", runner=Runner.THREAD)
        wants = Definition(name="h", schedule=foreign_schedule("every day"), action=action)
        web.store.add_job(wants, by="test", now=web.world.now())
        for method, path, json in (
            ("PATCH", "/jobs/h", {"timeout": "1m"}),
            ("PUT", "/jobs/h", {"schedule": "@daily", "command": ["x"]}),
            ("DELETE", "/jobs/h", None),
            ("POST", "/jobs/h/pause", None),
        ):
            found = web.problem(method, path, 403, json=json, headers=match(1))
            assert found["remedy"].startswith("hermes cron ")


class TestStates:
    def test_pause_and_resume(self, web: Web) -> None:
        web.add()
        assert web.ask("POST", "/jobs/job/pause").json()["job"]["state"] == "paused"
        assert web.ask("POST", "/jobs/job/pause").status_code == 200
        assert web.ask("POST", "/jobs/job/resume").json()["job"]["state"] == "active"

    def test_remove_and_take_it_back(self, web: Web) -> None:
        job = web.add(env={"API_KEY": "s3cret"}, tags=["a"])
        gone = web.ask("DELETE", "/jobs/job", headers=match(1))
        assert gone.json()["job"]["state"] == "removed"
        web.problem("GET", "/jobs/job", 404)
        assert web.get(f"/jobs/{job['id']}")["job"]["state"] == "removed"
        back = web.ask("POST", f"/jobs/{job['id']}/restore")
        assert back.status_code == 201
        now = back.json()["job"]
        assert now["id"] != job["id"]
        assert now["tags"] == ["a"]
        action = web.store.job("job").definition.action
        assert isinstance(action, Command)
        assert action.env == {"API_KEY": "s3cret"}
        web.problem("POST", f"/jobs/{job['id']}/restore", 409)
        web.problem("POST", "/jobs/job/restore", 409)

    def test_a_removed_job_is_not_edited(self, web: Web) -> None:
        job = web.add()
        web.ask("DELETE", "/jobs/job", headers=match(1))
        for method, json in (("PATCH", {"tags": []}), ("DELETE", None)):
            web.problem(method, f"/jobs/{job['id']}", 404, json=json, headers=match(1))

    def test_approve(self, web: Web) -> None:
        web.add(protected=True)
        done = web.ask("POST", "/jobs/job/approve", headers=match(1)).json()["job"]
        assert done["approved_revision"] == 1
        web.ask("PATCH", "/jobs/job", json={"tags": ["a"]}, headers=match(1))
        web.problem("POST", "/jobs/job/approve", 412, headers=match(1))

    def test_an_arrow_that_is_not_there(self, web: Web) -> None:
        web.add(schedule="once", at="2020-01-01T00:00:00Z")
        assert web.get("/jobs/job")["job"]["state"] == "done"
        found = web.problem("POST", "/jobs/job/pause", 409)
        assert found["code"] == "illegal_transition"


class TestSecrets:
    def test_they_are_masked_everywhere(self, web: Web) -> None:
        """Section 9: secrets in a job's environment are masked on every surface."""
        env = {"API_KEY": "s3cret", "DB": "postgres://me:hidden@db/x", "LANG": "C"}
        job = web.add(env=env, stdin="typed by hand")
        web.ask("PATCH", "/jobs/job", json={"tags": ["a"]}, headers=match(1))
        for path in ("/jobs", "/jobs/job", "/jobs/job/revisions", f"/jobs/{job['id']}"):
            text = web.ask("GET", path).text
            assert "s3cret" not in text
            assert "hidden" not in text
            assert "typed by hand" not in text
            assert "********" in text
        assert web.get("/jobs/job")["job"]["env"]["LANG"] == "C"

    def test_a_masked_value_sent_back_keeps_the_old_one(self, web: Web) -> None:
        web.add(env={"API_KEY": "s3cret", "LANG": "C"}, stdin="typed by hand")
        shown = web.get("/jobs/job")["job"]["env"]
        stdin = web.get("/jobs/job")["job"]["stdin"]
        wants = {"name": "job", "schedule": "@daily", "command": ["true"], "stdin": stdin}
        web.ask("PUT", "/jobs/job", json={**wants, "env": shown}, headers=match(1))
        changed = {"env": {**shown, "LANG": "de"}}
        answer = web.ask("PATCH", "/jobs/job", json=changed, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text
        action = web.store.job("job").definition.action
        assert isinstance(action, Command)
        assert action.env == {"API_KEY": "s3cret", "LANG": "de"}
        assert action.stdin == "typed by hand"


class TestListing:
    def test_pages(self, web: Web) -> None:
        for i in range(5):
            web.add(f"job-{i}")
        first = web.get("/jobs?limit=2")
        second = web.get("/jobs", params={"limit": 2, "cursor": first["next"]})
        third = web.get("/jobs", params={"limit": 2, "cursor": second["next"]})
        names = [job["name"] for page in (first, second, third) for job in page["jobs"]]
        assert names == [f"job-{i}" for i in range(5)]
        assert third["next"] is None

    def test_search(self, web: Web) -> None:
        web.add("Mail", tags=["post"])
        web.add("report")
        web.ask("POST", "/jobs/report/pause")

        def names(query: str) -> list[str]:
            return [job["name"] for job in web.get(f"/jobs?{query}")["jobs"]]

        assert names("q=mail") == ["Mail"]
        assert names("tag=post") == ["Mail"]
        assert names("state=paused") == ["report"]
        assert names("state=paused&state=active") == ["Mail", "report"]
        assert names("q=%25") == []

    def test_each_with_its_last_run(self, web: Web) -> None:
        web.add("ran")
        web.add("idle")
        web.world.owner()
        run = web.run_of("ran")
        by_name = {job["name"]: job for job in web.get("/jobs")["jobs"]}
        assert by_name["ran"]["last_run"]["id"] == run.id
        assert by_name["ran"]["last_run"]["state"] == "succeeded"
        assert by_name["idle"]["last_run"] is None

    def test_a_cursor_that_no_page_gave(self, web: Web) -> None:
        assert web.problem("GET", "/jobs?cursor=x", 422)["field"] == "cursor"

    def test_revisions(self, web: Web) -> None:
        web.add()
        web.ask("PATCH", "/jobs/job", json={"tags": ["a"]}, headers=match(1))
        found = web.get("/jobs/job/revisions")["revisions"]
        assert [one["revision"] for one in found] == [1, 2]
        assert found[1]["definition"]["tags"] == ["a"]


def test_a_job_is_removed_by_name_where_the_name_has_a_slash_by_id(web: Web) -> None:
    job = web.add("a/b")
    web.problem("GET", "/jobs/a%2Fb", 404)
    gone = web.ask("DELETE", f"/jobs/{job['id']}", headers=match(1))
    assert gone.json()["job"]["state"] == JobState.REMOVED


class TestUnreadable:
    """C12: one job that cannot be read hides no other, and is named."""

    @pytest.fixture
    def broken(self, web: Web) -> Any:
        web.add("good")
        job = web.add("bad", "0 9 * * *", tz="Europe/Berlin")
        swap = "UPDATE job_revisions SET definition = replace(definition, ?, ?)"
        with (
            contextlib.closing(sqlite3.connect(web.world.profile.folder.database)) as db,
            db,
        ):
            db.execute(swap, ("Europe/Berlin", "Old/Gone"))
        web.store._db.definitions.clear()
        web.site.profile(web.world.profile.name).store._db.definitions.clear()
        return job

    def test_the_api_names_it_and_mends_it(self, web: Web, broken: Any) -> None:
        listed = {job["name"]: job for job in web.get("/jobs")["jobs"]}
        assert listed["good"]["unreadable"] is None
        assert "Old/Gone" in listed["bad"]["unreadable"]
        assert "unreadable_job" in {w["code"] for w in web.get("/status")["warnings"]}
        path = f"/jobs/{broken['id']}"
        assert web.get(path)["job"]["schedule"]["kind"] == "unreadable"
        fields = {"tz": "Europe/Paris"}
        mended = web.ask("PATCH", path, json=fields, headers=match(broken["revision"]))
        assert mended.status_code == 200, mended.text
        assert mended.json()["job"]["unreadable"] is None

    def test_the_pages_show_it(self, web: Web, broken: Any) -> None:
        browser, base = web.browser(), f"/p/{web.world.profile.name}"
        for page in ("/", "/jobs", "/owner", f"/jobs/{broken['id']}", f"/jobs/{broken['id']}/edit"):
            shown = browser.get(base + page)
            assert shown.status_code == 200, (page, shown.text[:500])
        assert "Old/Gone" in browser.get(f"{base}/jobs/{broken['id']}").text
        assert "cannot be read" in browser.get(base + "/").text
        assert "bad" in browser.get(base + "/jobs").text
