"""Each answer of the HTTP API is, byte for byte, what its golden file has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from goldenkit import HERE, Normaliser, check_none_is_left, compare
from scenes import Play, Scene, Shelf, answering
from starlette.testclient import TestClient

from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from webapp import make_app

pytestmark = pytest.mark.usefixtures("plain")
FOLDER = HERE / "http"
ORIGIN = "http://127.0.0.1:8787"
SHOWN = ("content-type", "location", "etag", "retry-after", "allow", "www-authenticate",
         "accept-ranges", "content-range", "x-tenure-dropped", "x-tenure-next")  # fmt: skip
"""Headers of every golden file; the case ``headers`` has all that do not vary."""
V = "/api/v1"
P = f"{V}/profiles/default"
FULL = {
    "name": "full", "schedule": "30 2 * * 1-5", "command": ["/bin/echo", "hello world"],
    "tz": "Europe/London", "dst": "gap=skip,fold=second", "protected": True,
    "requires": ["read:/etc"], "overlap": "cancel", "catch_up": "all:6h", "grace": "5m",
    "jitter": 30, "timeout": "10m", "retries": 3, "backoff": "2m", "retry_lost": True,
    "env": {"API_TOKEN": "abc", "LANG": "C"}, "cwd": "/", "stdin": "hello", "tags": ["a", "b"],
}  # fmt: skip
ANY = {"If-Match": "*"}
ONE = {"If-Match": '"1"'}


@dataclass(frozen=True)
class Case:
    """``{running}`` in the path is the id of a run in that state; ``{asked_done}`` of a request."""

    name: str
    scene: str
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    answer: str | None = None
    token: str | None = "full"

    @property
    def file(self) -> str:
        return f"{self.name}.txt"


def get(name: str, scene: str, path: str, **how: Any) -> Case:
    return Case(name, scene, "GET", path, **how)


def post(name: str, scene: str, path: str, body: Any = None, **how: Any) -> Case:
    return Case(name, scene, "POST", path, body, **how)


CASES = [
    # -- the dashboard
    get("openapi", "empty", f"{V}/openapi.json"),
    get("headers", "idle", f"{P}/owner"),
    get("problems", "empty", f"{V}/problems"),
    get("healthz", "empty", "/healthz", token=None),
    get("readyz", "idle", "/readyz", token=None),
    get("readyz-empty", "empty", "/readyz", token=None),
    get("readyz-damaged-file", "torn", "/readyz", token=None),
    get("metrics-idle", "idle", "/metrics"),
    get("metrics-owned", "owned", "/metrics"),
    get("metrics-empty", "empty", "/metrics"),
    get("no-token", "idle", f"{P}/status", token=None),
    get("wrong-token", "idle", f"{P}/status", token="wrong"),
    post("read-only-token", "idle", f"{P}/jobs/heartbeat/pause", token="read_only"),
    get("no-such-route", "idle", f"{V}/nothing"),
    Case("no-such-method", "idle", "DELETE", f"{P}/status"),
    get("wrong-host", "idle", f"{P}/status", headers={"Host": "evil.example"}),
    post("foreign-page", "idle", f"{P}/jobs/heartbeat/pause",
         headers={"Origin": "https://evil.example"}),
    post("not-json", "idle", f"{P}/jobs", "{", headers={"Content-Type": "application/json"}),
    post("wrong-media-type", "idle", f"{P}/jobs", "x", headers={"Content-Type": "text/plain"}),
    post("not-an-object", "idle", f"{P}/jobs", [1]),
    get("torn-store", "torn", f"{P}/jobs"),
    # -- profiles and how they stand
    get("profiles", "idle", f"{V}/profiles"),
    get("profiles-owned", "owned", f"{V}/profiles"),
    get("profiles-empty", "empty", f"{V}/profiles"),
    get("profiles-torn", "torn", f"{V}/profiles"),
    get("profile", "idle", P),
    get("profile-unknown", "idle", f"{V}/profiles/nothing"),
    *(get(f"status-{scene}", scene, f"{P}/status")
      for scene in ("idle", "owned", "fallback", "hung", "dead", "declared", "broken",
                    "repoliced", "damaged", "unadopted", "unmade")),
    *(get(f"unknown-profile-{what.replace('/', '-')}", "idle", f"{V}/profiles/nothing/{what}")
      for what in ("audit", "owner", "owner/policy", "processes", "requests")),
    get("next", "idle", f"{P}/next"),
    get("next-job", "idle", f"{P}/next?job=half-past-two&count=3"),
    get("next-unknown", "idle", f"{P}/next?job=nothing"),
    get("next-count", "idle", f"{P}/next?count=0"),
    # -- jobs
    get("jobs", "idle", f"{P}/jobs"),
    get("jobs-declared", "declared", f"{P}/jobs"),
    get("jobs-damaged", "damaged", f"{P}/jobs"),
    get("jobs-filter", "idle", f"{P}/jobs?state=active&q=a&tag=backup"),
    get("jobs-page", "idle", f"{P}/jobs?limit=1"),
    get("jobs-cursor", "idle", f"{P}/jobs?cursor=nonsense"),
    get("jobs-state", "idle", f"{P}/jobs?state=gone"),
    *(get(f"job-{name.replace(':', '-').replace(' ', '-')}", "idle", f"{P}/jobs/{name}")
      for name in ("photos-backup", "heartbeat", "move-house", "search index", "shop:nightly")),
    get("job-foreign", "declared", f"{P}/jobs/morning briefing"),
    get("job-damaged", "damaged", f"{P}/jobs/heartbeat"),
    get("job-unknown", "idle", f"{P}/jobs/heartbeet"),
    get("revisions", "idle", f"{P}/jobs/price-watch/revisions"),
    get("revisions-unknown", "idle", f"{P}/jobs/nothing/revisions"),
    get("explain-unknown", "idle", f"{P}/jobs/nothing/explain"),
    get("explain-idle", "idle", f"{P}/jobs/photos-backup/explain"),
    get("explain-owned", "owned", f"{P}/jobs/photos-backup/explain"),
    get("explain-dormant", "idle", f"{P}/jobs/shop:nightly/explain"),
    post("add", "idle", f"{P}/jobs", {"name": "n", "schedule": "@daily", "command": ["true"]}),
    post("add-full", "owned", f"{P}/jobs", FULL),
    post("add-shell", "idle", f"{P}/jobs", {"name": "n", "schedule": "every 5m", "shell": "ls"}),
    post("add-again", "idle", f"{P}/jobs",
         {"name": "heartbeat", "schedule": "@daily", "command": ["true"]}),
    post("add-schedule", "idle", f"{P}/jobs",
         {"name": "n", "schedule": "61 * * * *", "command": ["true"]}),
    post("add-unknown-field", "idle", f"{P}/jobs",
         {"name": "n", "shedule": "@daily", "command": ["true"]}),
    post("add-nothing", "idle", f"{P}/jobs", {}),
    Case("replace", "idle", "PUT", f"{P}/jobs/heartbeat",
         {"name": "heartbeat", "schedule": "every 2h", "command": ["true"]}, ONE),
    Case("replace-no-match", "idle", "PUT", f"{P}/jobs/heartbeat",
         {"name": "heartbeat", "schedule": "every 2h", "command": ["true"]}),
    Case("change", "idle", "PATCH", f"{P}/jobs/heartbeat",
         {"schedule": "every 2h", "retries": 2, "jitter": None, "tags": ["a"]}, ONE),
    Case("change-stale", "idle", "PATCH", f"{P}/jobs/heartbeat", {"retries": 2},
         {"If-Match": '"7"'}),
    Case("change-no-match", "idle", "PATCH", f"{P}/jobs/heartbeat", {"retries": 2}),
    Case("change-wrong", "idle", "PATCH", f"{P}/jobs/heartbeat", {"retries": -1}, ANY),
    Case("change-foreign", "declared", "PATCH", f"{P}/jobs/morning briefing",
         {"retries": 1}, ANY),
    Case("remove", "idle", "DELETE", f"{P}/jobs/heartbeat", headers=ONE),
    Case("remove-no-match", "idle", "DELETE", f"{P}/jobs/heartbeat"),
    Case("remove-unknown", "idle", "DELETE", f"{P}/jobs/nothing", headers=ANY),
    post("pause", "idle", f"{P}/jobs/heartbeat/pause"),
    post("pause-done", "idle", f"{P}/jobs/greet/pause"),
    post("resume", "idle", f"{P}/jobs/weekly-report/resume"),
    post("resume-unknown", "idle", f"{P}/jobs/nothing/resume"),
    post("restore", "idle", f"{P}/jobs/{{removed}}/restore"),
    post("restore-active", "idle", f"{P}/jobs/heartbeat/restore"),
    post("approve", "idle", f"{P}/jobs/photos-backup/approve", headers=ONE),
    post("approve-no-match", "idle", f"{P}/jobs/photos-backup/approve"),
    # -- runs
    get("runs", "idle", f"{P}/runs?limit=5"),
    get("runs-owned", "owned", f"{P}/runs?limit=3"),
    get("runs-all", "idle", f"{P}/runs?all=true&job=invoices&limit=30"),
    get("runs-filter", "idle",
        f"{P}/runs?state=succeeded&job=invoices&since=2026-03-28T12:00:00Z&term=3&limit=2"),
    get("runs-since", "idle", f"{P}/runs?since=yesterday"),
    *(get(f"run-{state.replace('_', '-')}", "idle", f"{P}/runs/{{{state}}}")
      for state in ("claimed", "running", "retrying", "succeeded", "failed", "timed_out",
                    "cancelled", "lost", "never_ran")),
    get("run-unknown", "idle", f"{P}/runs/r1kmtsmn910d1bsdn00"),
    get("run-no-id", "idle", f"{P}/runs/nonsense"),
    get("output", "idle", f"{P}/runs/{{running}}/output"),
    get("output-attempt", "idle", f"{P}/runs/{{failed}}/output?attempt=2&lines=2"),
    get("output-range", "idle", f"{P}/runs/{{running}}/output", headers={"Range": "bytes=2-9"}),
    get("output-no-range", "idle", f"{P}/runs/{{running}}/output",
        headers={"Range": "bytes=900-"}),
    get("output-follow", "idle", f"{P}/runs/{{failed}}/output?follow=true&attempt=2"),
    get("output-none", "idle", f"{P}/runs/{{never_ran}}/output"),
    get("output-no-attempt", "idle", f"{P}/runs/{{failed}}/output?attempt=9"),
    post("cancel", "owned", f"{P}/runs/{{running}}/cancel", answer="accept",
         headers={"Idempotency-Key": "k1"}),
    post("cancel-idle", "idle", f"{P}/runs/{{running}}/cancel"),
    post("cancel-ended", "owned", f"{P}/runs/{{failed}}/cancel"),
    post("retry", "owned", f"{P}/runs/{{timed_out}}/retry", answer="accept"),
    post("retry-active", "owned", f"{P}/runs/{{running}}/retry"),
    # -- requests
    post("trigger", "owned", f"{P}/jobs/photos-backup/trigger", answer="accept"),
    post("trigger-wait", "owned", f"{P}/jobs/move-house/trigger?wait=10", answer="accept"),
    post("trigger-no-wait", "owned", f"{P}/jobs/move-house/trigger?wait=0"),
    post("trigger-refused", "owned", f"{P}/jobs/weekly-report/trigger", answer="accept"),
    post("trigger-idle", "idle", f"{P}/jobs/heartbeat/trigger"),
    post("trigger-queue", "idle", f"{P}/jobs/invoices/trigger?queue=true"),
    post("trigger-key", "idle", f"{P}/jobs/heartbeat/trigger", headers={"Idempotency-Key": ""}),
    get("requests", "idle", f"{P}/requests"),
    get("requests-filter", "idle", f"{P}/requests?state=done&limit=1"),
    *(get(f"request-{state}", "idle", f"{P}/requests/{{asked_{state}}}")
      for state in ("pending", "accepted", "done", "refused", "expired", "withdrawn")),
    get("request-unknown", "idle", f"{P}/requests/q1kmtsmn910d1bsdn00"),
    Case("withdraw", "idle", "DELETE", f"{P}/requests/{{asked_pending}}"),
    Case("withdraw-done", "idle", "DELETE", f"{P}/requests/{{asked_done}}"),
    # -- processes and owners
    get("processes", "idle", f"{P}/processes"),
    get("processes-owned", "owned", f"{P}/processes"),
    get("process", "idle", f"{P}/processes/{{gateway}}"),
    get("process-unknown", "idle", f"{P}/processes/p1kmtsmn910d1bsdn00"),
    get("owner-idle", "idle", f"{P}/owner"),
    get("owner-owned", "owned", f"{P}/owner?limit=1"),
    get("terms", "idle", f"{P}/owner/terms?limit=2"),
    get("terms-cursor", "idle", f"{P}/owner/terms?cursor=nonsense"),
    get("policy", "idle", f"{P}/owner/policy"),
    get("policy-repoliced", "repoliced", f"{P}/owner/policy"),
    get("policy-broken", "broken", f"{P}/owner/policy"),
    post("hand-over-idle", "idle", f"{P}/owner/hand-over", {}),
    post("hand-over-unknown", "owned", f"{P}/owner/hand-over", {"to": "p-nothing"}),
    post("hand-over", "owned", f"{P}/owner/hand-over?wait=0", {}),
    # -- reports
    get("audit", "idle", f"{P}/audit"),
    get("events", "idle", f"{P}/events?limit=1000"),
    get("events-after", "idle", f"{P}/events?after=60&limit=2"),
    get("events-wrong", "idle", f"{P}/events?after=-1"),
    post("preview", "empty", f"{V}/schedules/preview", {"text": "30 2 * * *",
         "timezone": "Europe/Berlin"}),
    post("preview-interval", "empty", f"{V}/schedules/preview",
         {"text": "every 90m", "timezone": "UTC"}),
    post("preview-wrong", "empty", f"{V}/schedules/preview",
         {"text": "61 * * * *", "timezone": "UTC"}),
]  # fmt: skip


LOOKING = [case for case in CASES if case.method == "GET" and "metrics" not in case.name]
ACTING = [case for case in CASES if case not in LOOKING]


class Web:
    """A site over a scene, and a client without a network."""

    def __init__(self, scene: Scene, stack: ExitStack) -> None:
        self.scene = scene
        self.tokens = Tokens.in_memory()
        site = stack.enter_context(closing(Site(scene.home, self.tokens, clock=scene.clock)))
        self.client = stack.enter_context(TestClient(make_app(site), base_url=ORIGIN))

    def check(self, case: Case) -> None:
        headers = dict(case.headers)
        if case.token is not None:
            token = getattr(self.tokens.pair, case.token, case.token)
            headers["Authorization"] = f"Bearer {token}"
        kind = "content" if isinstance(case.body, str) else "json"
        body = {} if case.body is None else {kind: case.body}
        path = case.path.format(**self.scene.names())
        answer = self.client.request(case.method, path, headers=headers, **body)
        compare(FOLDER / case.file, shown(case, answer, self.scene.normaliser()))


@pytest.fixture(scope="module")
def webs(shelf: Shelf) -> Iterator[Callable[[str], Web]]:
    with ExitStack() as stack:
        yield cache(lambda name: Web(shelf(name), stack))


@pytest.mark.parametrize("case", LOOKING, ids=lambda case: case.name)
def test_what_is_shown(case: Case, webs: Callable[[str], Web]) -> None:
    webs(case.scene).check(case)


@pytest.mark.timeout(20)  # the clock is stopped: a wait for a deadline would never end
@pytest.mark.parametrize("case", ACTING, ids=lambda case: case.name)
def test_what_is_done(case: Case, play: Play) -> None:
    with ExitStack() as stack:
        scene = stack.enter_context(play(case.scene))
        stack.enter_context(answering(scene.home, case.answer))
        Web(scene, stack).check(case)


def shown(case: Case, answer: Any, normaliser: Normaliser) -> str:
    heads = {
        name: value
        for name, value in answer.headers.items()
        if name in SHOWN or (case.name == "headers" and name != "content-length")
    }
    head = f"{case.method} {case.path}\n{answer.status_code}\n"
    head += normaliser.text("".join(f"{name}: {value}\n" for name, value in heads.items()))
    body = answer.text
    if re.match(r"application/(\S+\+)?json", answer.headers.get("content-type", "")):
        loose = "problem" in answer.headers["content-type"]
        body = normaliser.json(body, separators=(", ", ": ") if loose else (",", ":"))
    body = re.sub(r"^(process_\w+) [\d.e+-]+$", r"\1 <value>", body, flags=re.MULTILINE)
    return f"{head}\n{normaliser.text(body)}"


def test_each_file_belongs_to_a_case() -> None:
    check_none_is_left(FOLDER, {case.file for case in CASES})


def test_each_operation_has_a_good_answer_and_a_problem() -> None:
    """Each of the OpenAPI document; those that cannot fail by themselves have the good one."""
    document = (FOLDER / "openapi.txt").read_text().partition("\n\n")[2]
    paths = json.loads(document)["paths"]
    for path, operations in paths.items():
        pattern = re.sub(r"\{\w+\}", r"[^/?]+", path)
        for method in operations:
            said = [
                int((FOLDER / case.file).read_text().split("\n", 2)[1])
                for case in CASES
                if case.method == method.upper()
                and re.fullmatch(pattern, case.path.partition("?")[0])
            ]
            assert [status for status in said if status < 300], (method, path)
            assert [status for status in said if status >= 400] or path in CANNOT_FAIL, path


CANNOT_FAIL = {"/healthz", "/metrics", "/api/v1/problems", "/api/v1/profiles"}
