"""Asking over HTTP: 202 and a request to follow, or a refusal that says what to do (C7)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from webkit import Web, accept, answer, now

from answering import Answering
from tenure.client.presence import requester
from tenure.domain.process import ProcessStatus
from tenure.domain.request import RequestKind, RequestState
from tenure.domain.run import RunState


class TestTrigger:
    def test_the_owner_accepts(self, web: Web) -> None:
        """C7: accepting a trigger and claiming its run is one commit."""
        job = web.add()
        web.world.owner()
        with Answering(web.world.profile.folder.home, accept):
            said = web.ask("POST", "/jobs/job/trigger")
        assert said.status_code == 202
        request = said.json()["request"]
        assert (request["state"], request["job"]) == ("accepted", job["id"])
        assert said.headers["location"] == f"{web.base}/requests/{request['id']}"
        assert web.get(said.headers["location"])["request"] == request
        run = web.get(f"/runs/{request['run']}")["run"]
        assert run["request"] == request["id"]
        assert run["requested_by"].endswith("tenure dashboard, API")

    def test_nobody_owns(self, web: Web) -> None:
        """C7: a refusal that says who should own, why nobody does, and what to type."""
        web.add()
        found = web.problem("POST", "/jobs/job/trigger", 409)
        assert found["code"] == "no_owner"
        assert "profile 'default' has no owner" in found["detail"]
        assert "start `tenure serve`" in found["remedy"]
        assert "queue=true" in found["remedy"]
        assert found["facts"]["should_own"]
        assert [p["standing"] for p in found["facts"]["processes"]] == ["observer"]
        recorded = web.get(f"/requests/{found['facts']['request']}")["request"]
        assert recorded["state"] == "refused"
        assert web.store.runs_after(0)[0] == ()

    def test_queued_for_the_owner_to_come(self, web: Web) -> None:
        web.add()
        said = web.ask("POST", "/jobs/job/trigger?queue=true").json()["request"]
        assert (said["state"], said["queued"]) == ("pending", True)
        (pending,) = web.get("/requests?state=pending")["requests"]
        assert pending["id"] == said["id"]

    def test_an_owner_that_does_not_answer_is_not_waited_for(self, web: Web) -> None:
        """The request goes on and is there to be followed."""
        web.add()
        web.world.owner()
        said = web.ask("POST", "/jobs/job/trigger?wait=0")
        assert said.status_code == 202
        assert said.json()["request"]["state"] == "pending"

    def test_the_same_key_is_one_request(self, web: Web) -> None:
        web.add()
        web.add("other")
        key = {"Idempotency-Key": "once-1"}
        first = web.ask("POST", "/jobs/job/trigger?queue=true", headers=key).json()["request"]
        again = web.ask("POST", "/jobs/job/trigger?queue=true", headers=key).json()["request"]
        assert first["id"] == again["id"]
        assert first["key"] == "once-1"
        found = web.problem("POST", "/jobs/other/trigger?queue=true", 409, headers=key)
        assert found["code"] == "conflict"

    def test_the_owner_says_no(self, web: Web) -> None:
        web.add()
        web.world.owner()
        no = answer(RequestState.REFUSED, "the job is paused", "resume it")
        with Answering(web.world.profile.folder.home, no):
            found = web.problem("POST", "/jobs/job/trigger", 409)
        assert (found["code"], found["detail"], found["remedy"]) == (
            "refused", "the job is paused", "resume it",
        )  # fmt: skip

    def test_a_job_that_is_not_there(self, web: Web) -> None:
        web.add("mail")
        found = web.problem("POST", "/jobs/mial/trigger", 404)
        assert found["facts"]["near"] == ["mail"]

    @pytest.mark.parametrize("query", ["wait=11", "wait=-1", "wait=x", "queue=maybe"])
    def test_what_is_wrong(self, web: Web, query: str) -> None:
        web.add()
        found = web.problem("POST", f"/jobs/job/trigger?{query}", 422)
        assert found["field"] == query.partition("=")[0]

    def test_a_key_that_is_none(self, web: Web) -> None:
        web.add()
        found = web.problem("POST", "/jobs/job/trigger", 422, headers={"Idempotency-Key": "a b"})
        assert found["field"] == "Idempotency-Key"


class TestRuns:
    def test_cancel(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", end=None)
        with Answering(
            web.world.profile.folder.home, answer(RequestState.DONE, "it is being ended")
        ):
            said = web.ask("POST", f"/runs/{run.id}/cancel")
        assert said.status_code == 202
        assert said.json()["request"]["state"] == "done"

    def test_what_has_ended_is_not_cancelled(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job")
        found = web.problem("POST", f"/runs/{run.id}/cancel", 409)
        assert found["facts"]["state"] == "succeeded"

    def test_retry(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", end=RunState.FAILED, exit_code=1)
        with Answering(web.world.profile.folder.home, accept):
            said = web.ask("POST", f"/runs/{run.id}/retry").json()["request"]
        assert said["kind"] == "retry"
        assert said["run"] not in (None, run.id)

    def test_what_is_active_is_not_retried(self, web: Web) -> None:
        web.add()
        web.world.owner()
        run = web.run_of("job", end=None)
        assert web.problem("POST", f"/runs/{run.id}/retry", 409)["code"] == "conflict"

    def test_a_run_that_is_not_there(self, web: Web) -> None:
        for verb in ("cancel", "retry"):
            web.problem("POST", f"/runs/nothing/{verb}", 404)


class TestHandOver:
    def test_to_a_candidate(self, web: Web) -> None:
        web.world.owner()
        web.world.join("p-next", standing=ProcessStatus.CANDIDATE)
        with Answering(web.world.profile.folder.home, answer(RequestState.DONE, "handed over")):
            said = web.ask("POST", "/owner/hand-over", json={"to": "p-next"})
        assert said.status_code == 202
        assert said.json()["request"]["to_process"] == "p-next"

    def test_to_nobody(self, web: Web) -> None:
        web.world.owner()
        found = web.problem("POST", "/owner/hand-over", 422, json={"to": "p-none"})
        assert found["field"] == "to"
        web.problem("POST", "/owner/hand-over", 422, json={"to": 7})
        web.problem("POST", "/owner/hand-over", 422, json={"from": "x"})

    def test_nobody_owns(self, web: Web) -> None:
        assert web.problem("POST", "/owner/hand-over", 409, json={})["code"] == "no_owner"


class TestRequests:
    def test_withdraw(self, web: Web) -> None:
        web.add()
        asked = web.ask("POST", "/jobs/job/trigger?queue=true").json()["request"]
        gone = web.ask("DELETE", f"/requests/{asked['id']}").json()["request"]
        assert gone["state"] == "withdrawn"
        found = web.problem("DELETE", f"/requests/{asked['id']}", 409)
        assert found["facts"]["state"] == "withdrawn"
        web.problem("GET", "/requests/nothing", 404)

    def test_pages_newest_first(self, web: Web) -> None:
        web.add()
        ids = [
            web.ask("POST", "/jobs/job/trigger?queue=true").json()["request"]["id"]
            for _ in range(3)
        ]
        first = web.get("/requests?state=pending&limit=2")
        assert [one["id"] for one in first["requests"]] == [ids[2], ids[1]]
        second = web.get("/requests", params={"limit": 2, "cursor": first["next"]})
        assert [one["id"] for one in second["requests"]] == [ids[0]]
        assert second["next"] is None
        assert web.problem("GET", "/requests?cursor=x", 422)["field"] == "cursor"

    def test_past_its_deadline_it_is_expired(self, web: Web) -> None:
        """Never a pending request for ever, whatever the owner does."""
        job = web.add()
        asked = web.store.create_request(
            kind=RequestKind.TRIGGER, key="k", requester=requester("test"), job=job["id"],
            now=now() - timedelta(minutes=2), deadline=timedelta(seconds=30),
        )  # fmt: skip
        assert web.get(f"/requests/{asked.id}")["request"]["state"] == "expired"
