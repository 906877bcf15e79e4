"""Reports over HTTP are the command line's documents; the shapes that describe them are held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clikit import World
from pydantic import TypeAdapter
from webkit import Web

from tenure.client.documents import Document
from tenure.client.documents.jobs import (
    JobList,
    JobReply,
    PreviewReply,
    RevisionList,
    UpcomingList,
)
from tenure.client.documents.processes import (
    OwnerReply,
    PolicyReply,
    ProcessList,
    ProcessReply,
    TermList,
)
from tenure.client.documents.reports import (
    AuditReply,
    EventList,
    ExplanationReply,
    ProfileList,
    ProfileReply,
    StatusReply,
)
from tenure.client.documents.runs import RequestList, RequestReply, RunList, RunReply
from tenure.domain.ownership import OwnershipAction
from tenure.domain.process import ProcessStatus
from tenure.surfaces.cli.main import main
from tenure.surfaces.web.api.bodies import EXAMPLES
from tenure.surfaces.web.api.system import HealthReply, ProblemTypes
from tenure.surfaces.web.problems import ProblemDocument

POLICY = '[[owner]]\nuser = "me"\n\n[[owner]]\nuser = "nobody"\n'
MOVING = frozenset({"at", "progress_at", "joined_at"})


@pytest.fixture
def lived(web: Web) -> Web:
    """A profile in which everything has happened once."""
    world: World = web.world
    world.profile.folder.toml.write_text(POLICY)
    world.profile.refresh_policy("test", world.now())
    web.add("job", schedule="every 1s", env={"API_KEY": "x"})
    web.add("held", schedule="every 1s", protected=True)
    world.owner(rule=0, authoritative=True)
    world.join("p-other", standing=ProcessStatus.REFUSED, age=60)
    web.run_of("job", output="hello\n")
    web.ask("POST", "/jobs/job/pause")
    web.ask("POST", "/jobs/job/trigger?queue=true&wait=0")
    return web


def cli(web: Web, capfd: pytest.CaptureFixture[str], *argv: str) -> Any:
    capfd.readouterr()
    main([*argv, "--json", "--home", str(web.site.home)])
    return json.loads(capfd.readouterr().out)


def settled(document: Any) -> Any:
    """Without what is different at each look."""
    if isinstance(document, dict):
        return {k: settled(v) for k, v in document.items() if k not in MOVING}
    return [settled(item) for item in document] if isinstance(document, list) else document


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        (("status",), "/status"),
        (("explain", "job"), "/jobs/job/explain"),
        (("runs",), "/runs"),
        (("runs", "--all"), "/runs?all=true"),
        (("requests",), "/requests"),
        (("owner", "policy"), "/owner/policy"),
        (("next",), "/next"),
    ],
)
def test_the_api_says_what_the_command_line_says(
    lived: Web, capfd: pytest.CaptureFixture[str], verb: tuple[str, ...], path: str
) -> None:
    """Section 7: JSON is stable and versioned, and the same on every surface."""
    assert settled(lived.get(path)) == settled(cli(lived, capfd, *verb))


def test_the_audit_is_that_of_the_command_line(
    lived: Web, capfd: pytest.CaptureFixture[str]
) -> None:
    """It runs in a process of its own, so that the dashboard pays neither time nor memory."""
    assert settled(lived.get("/audit")) == settled(cli(lived, capfd, "audit"))


def check(shape: type[Document], document: Any) -> None:
    """Raises ValidationError unless the document has exactly the fields of ``shape``."""
    TypeAdapter(shape).validate_python(document)


SHAPES: list[tuple[str, type[Document]]] = [
    ("/api/v1/profiles", ProfileList),
    ("/api/v1/profiles/default", ProfileReply),
    ("/api/v1/problems", ProblemTypes),
    ("/healthz", HealthReply),
    ("/status", StatusReply),
    ("/next", UpcomingList),
    ("/jobs", JobList),
    ("/jobs/job", JobReply),
    ("/jobs/job/revisions", RevisionList),
    ("/jobs/job/explain", ExplanationReply),
    ("/runs?all=true", RunList),
    ("/requests", RequestList),
    ("/processes", ProcessList),
    ("/owner", OwnerReply),
    ("/owner/terms", TermList),
    ("/owner/policy", PolicyReply),
    ("/events", EventList),
    ("/audit", AuditReply),
]


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_every_document_has_its_shape(lived: Web, path: str, shape: type[Document]) -> None:
    check(shape, lived.get(path))


def test_single_things_have_their_shapes(lived: Web) -> None:
    run = lived.get("/runs")["runs"][0]["id"]
    check(RunReply, lived.get(f"/runs/{run}"))
    request = lived.get("/requests")["requests"][0]["id"]
    check(RequestReply, lived.get(f"/requests/{request}"))
    check(ProcessReply, lived.get("/processes/p-gateway"))
    said = lived.ask("POST", "/api/v1/schedules/preview", json={"text": "@daily"})
    check(PreviewReply, said.json())


def test_every_example_has_its_shape(web: Web) -> None:
    """What the description shows is what the API says."""
    for shape, example in EXAMPLES.items():
        check(shape, example)
    document = web.get("/api/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    shown = {shape.__name__ for shape in EXAMPLES} | {"JobBody", "JobPatch", "ProblemDocument"}
    assert all("example" in schemas[name] for name in shown)
    check(ProblemDocument, schemas["ProblemDocument"]["example"])
    operations = [of for path in document["paths"].values() for of in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert {"list_jobs", "trigger_job", "get_status"} <= set(ids)
    assert all(operation["description"] for operation in operations)


def test_every_code_of_a_problem_is_explained(web: Web) -> None:
    from tenure.domain import errors

    explained = {one["code"]: one["status"] for one in web.get("/api/v1/problems")["problems"]}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, errors.TenureError)}
    assert codes - {"stale_term"} <= set(explained)


class TestProcesses:
    def test_which_rule_says_what_on_which_evidence(self, lived: Web) -> None:
        """C9: its standing and why. C2: admission is decided from evidence, rule by rule."""
        found = {p["id"]: p for p in lived.get("/processes")["processes"]}
        gateway = found["p-gateway"]
        assert (gateway["standing"], gateway["life"]) == ("owner", "alive")
        admission = gateway["admission"]
        assert (admission["admitted"], admission["rule"]) == (True, 1)
        first, second = admission["rules"]
        assert first["decides"]
        assert [(one["key"], one["answer"]) for one in first["findings"]] == [("user", "yes")]
        (finding,) = second["findings"]
        # Not by an executable: who started these tests may be gone, or not to be read.
        assert (finding["key"], finding["answer"], second["decides"]) == ("user", "no", False)

    def test_the_dashboard_is_seen(self, lived: Web) -> None:
        (mine,) = [p for p in lived.get("/processes")["processes"] if p["role"] == "dashboard"]
        assert (mine["standing"], mine["executes"]) == ("observer", False)
        assert not mine["admission"]["admitted"]
        assert "never runs jobs" in mine["why"]

    def test_one_that_has_gone(self, lived: Web) -> None:
        lived.store.leave("p-other", lived.world.now(), why="done")
        found = lived.get("/processes/p-other")["process"]
        assert found["life"] == "dead"
        lived.problem("GET", "/processes/nothing", 404)


class TestOwner:
    def test_nobody(self, web: Web) -> None:
        found = web.get("/owner")
        assert (found["owner"], found["terms"]) == (None, [])
        assert found["why_nobody"] == "no scheduler process is running"
        assert "any of your processes" in found["who_should"]

    def test_dead(self, lived: Web) -> None:
        lived.world.die("p-gateway")
        found = lived.get("/owner")
        assert found["life"] == "dead"
        assert "is dead" in found["why_nobody"]
        assert lived.get("/api/v1/profiles/default")["profile"]["state"] == "dead"
        assert lived.get("/status")["owner"]["life"] == "dead"

    def test_terms_are_paged(self, lived: Web) -> None:
        authority = lived.store.ownership().authority
        assert authority is not None
        lived.store.end_term(
            authority, act=OwnershipAction.STEP_DOWN, why="a test", now=lived.world.now()
        )
        lived.world.own("p-gateway", rule=0)
        first = lived.get("/owner/terms?limit=1")
        second = lived.get("/owner/terms", params={"limit": 1, "cursor": first["next"]})
        assert [t["term"] for t in first["terms"] + second["terms"]] == [2, 1]
        assert second["terms"][0]["ended_why"] == "a test"
        assert second["next"] is None


class TestPreview:
    def preview(self, web: Web, **asked: Any) -> Any:
        answer = web.ask("POST", "/api/v1/schedules/preview", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_words_and_ten_fires(self, web: Web) -> None:
        found = self.preview(web, text="0 3 * * *", timezone="Europe/Berlin")
        assert found["words"] == "at 03:00 every day (Europe/Berlin)"
        assert found["note"] is None
        assert len(found["fires"]) == 10
        assert {fire["local"][11:19] for fire in found["fires"]} == {"03:00:00"}

    def test_of_two_day_fields_either_suffices(self, web: Web) -> None:
        found = self.preview(web, text="0 9 1-7 * TUE", timezone="UTC")
        assert "or on Tuesday" in found["words"]
        assert "either day field is enough" in found["note"]["text"]
        assert "0 9 * * TUE#1" in found["note"]["remedy"]
        page = web.browser().get("/p/default/jobs/preview?schedule=0+9+1-7+*+TUE&tz=UTC").text
        assert "TUE#1" in page

    def test_clock_changes_are_marked(self, web: Web) -> None:
        found = self.preview(web, text="30 2 28 3 *", timezone="Europe/Berlin", dst="gap=shift")
        offsets = {fire["offset"] for fire in found["fires"]}
        assert offsets <= {"+01:00", "+02:00"}
        monthly = self.preview(web, text="0 12 1 1,7 *", timezone="Europe/Berlin")["fires"]
        changes = [fire["clock_change"] for fire in monthly if fire["clock_change"]]
        assert set(changes) == {3600, -3600}
        hours = self.preview(web, text="*/30 2 25 10 *", timezone="Europe/Berlin", dst="fold=both")[
            "fires"
        ]
        assert {"first", "second"} >= {fire["twice"] for fire in hours if fire["twice"]}

    def test_the_machines_zone_where_none_is_said(self, web: Web) -> None:
        assert self.preview(web, text="@daily")["schedule"]["timezone"]

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"text": "every"}, "schedule"),
            ({"text": ""}, "text"),
            ({}, "text"),
            ({"text": 5}, "text"),
            ({"text": "x" * 1001}, "text"),
            ({"text": "@daily", "timezone": "Berlin"}, "timezone"),
            ({"text": "@daily", "dst": "never"}, "dst"),
            ({"text": "@daily", "zone": "UTC"}, "zone"),
        ],
    )
    def test_what_is_wrong_names_its_field(self, web: Web, asked: Any, field: str) -> None:
        found = web.problem("POST", "/api/v1/schedules/preview", 422, json=asked)
        assert found["field"] == field


class TestProfiles:
    def test_one_that_cannot_be_opened_says_why(self, web: Web) -> None:
        broken = web.site.home / "profiles" / "broken"
        (broken / "live").mkdir(parents=True, mode=0o700)
        (broken / "tenure.db").write_bytes(b"no database")
        (web.site.home / "profiles" / "empty").mkdir(mode=0o700)
        rows = {row["name"]: row for row in web.get("/api/v1/profiles")["profiles"]}
        assert rows["default"]["state"] == "nobody"
        assert rows["broken"]["state"] == "error"
        assert "not a database" in rows["broken"]["error"]
        assert rows["empty"]["state"] == "empty"
        web.problem("GET", "/api/v1/profiles/broken/status", 503)
        web.problem("GET", "/api/v1/profiles/empty/status", 404)

    def test_a_profile_that_is_not_there(self, web: Web) -> None:
        for name in ("none", "..", "A", "a" * 100, "%00"):
            web.problem("GET", f"/api/v1/profiles/{name.replace('..', '%2e%2e')}/status", 404)
        assert sorted(p.name for p in (web.site.home / "profiles").iterdir()) == ["default"]

    def test_one_that_was_replaced_is_opened_anew(self, web: Web, tmp_path: Path) -> None:
        web.add("old")
        folder = web.site.home / "profiles" / "default"
        folder.rename(tmp_path / "away")
        web.problem("GET", "/jobs", 404)
        (tmp_path / "away").rename(folder)
        assert [job["name"] for job in web.get("/jobs")["jobs"]] == ["old"]


def test_ready_and_healthy_without_a_token(web: Web) -> None:
    web.client.cookies.clear()
    assert web.client.get("/healthz").json() == {"v": 1, "status": "ok"}
    assert web.client.get("/readyz").json() == {"v": 1, "status": "ok"}
    database = web.site.home / "profiles" / "default" / "tenure.db"
    database.rename(database.with_suffix(".gone"))
    assert web.client.get("/readyz").status_code == 503
    database.with_suffix(".gone").rename(database)
    assert web.client.get("/readyz").status_code == 200
