"""Every operation of the API's own description, with inputs that it allows and that it forbids.

No 5xx, and no answer that is not described: no other status, media type, header or shape. What is
sent is drawn by schemathesis from the OpenAPI document that the application serves, half of it for
things that are there; the draws are fixed, so that a failure can be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from webkit import ORIGIN, Web, World, accept, answer, now

from answering import Answering
from tenure.domain.job import JobState
from tenure.domain.process import ProcessStatus
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import RunState
from tenure.runtime.profile import Profile
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from testkit.factories import ended
from webapp import make_app

schemathesis.checks.load_all_checks()
HELD_TO = schemathesis.checks.CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
EXAMPLES = 18
SLOW = {"GET /api/v1/profiles/{profile}/audit": 4}
"""A process each."""
WANTS = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(["@daily", "every 90s", "in 5m", "0 3 * * MON"]),
        "command": st.just(["true"]),
    },
    optional={
        "name": st.sampled_from(["a", "ä b", "there"]),
        "env": st.sampled_from([{}, {"API_KEY": "********"}, {"A": None}, {"A": "b"}]),
        "timeout": st.sampled_from(["5m", None, 5]),
        "paused": st.booleans(),
        "tags": st.lists(st.text(max_size=5), max_size=3),
        "tz": st.sampled_from(["Europe/Berlin", "UTC", "Mars"]),
    },
)
"""Bodies that a person would send; schemathesis draws schedules that no one can read."""


class WithoutLifespan:
    """Each call has a client of its own, whose end is not to be the site's."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        await self.app(scope, receive, send)


class Described:
    """The application with something of everything in it, and its description."""

    def __init__(self, web: Web, app: FastAPI) -> None:
        self.web, self.app = web, WithoutLifespan(app)
        self.headers = {"Authorization": f"Bearer {web.tokens.pair.full}"}
        self.schema = schemathesis.openapi.from_dict(web.get("/api/v1/openapi.json"))
        self.there = self._fill()
        self.seen: dict[str, list[int]] = defaultdict(list)

    def _fill(self) -> dict[str, str]:
        """The ids of things that are there."""
        web = self.web
        job = web.add("there", schedule="every 1s", env={"API_KEY": "x"})
        web.world.owner()
        web.world.join("p-next", standing=ProcessStatus.CANDIDATE)
        run = web.run_of("there", output="hello\n")
        web.run_of("there", end=RunState.FAILED, exit_code=1)
        asked = web.ask("POST", "/jobs/there/trigger?queue=true&wait=0").json()["request"]
        return {
            "profile": "default",
            "job": job["id"],
            "run": run.id,
            "request": asked["id"],
            "process": "p-next",
        }


def answer_all(profile: Profile, request: Request) -> None:
    """An owner that does what it can, and ends at once what it claims."""
    if request.kind not in (RequestKind.TRIGGER, RequestKind.RETRY):
        answer(RequestState.DONE, "done")(profile, request)
        return
    accept(profile, request)
    run = profile.store.request(request.id).run
    if run is not None:
        profile.store.finish([ended(profile.store.run(run))], now())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    home: Path = tmp_path_factory.mktemp("described") / "home"
    profile = Profile.open("default", home=home, create=True, now=now())
    world, tokens = World(profile), Tokens.in_memory()
    site = Site(home, tokens)
    app = make_app(site)
    with (
        TestClient(app, base_url=ORIGIN) as client,
        Answering(world.profile.folder.home, answer_all),
    ):
        yield Described(Web(site, world, client, tokens), app)
    for lock in world.locks.values():
        lock.release()
    profile.close()


def operations() -> list[str]:
    """Named as the description names them, without a store."""
    site = Site(Path("/nowhere"), Tokens.in_memory())
    paths = make_app(site).openapi()["paths"]
    return [f"{method.upper()} {path}" for path, of in paths.items() for method in of]


@pytest.mark.parametrize("label", operations())
def test_no_answer_that_is_not_described(described: Described, label: str) -> None:
    """Issue: no 5xx, no undocumented answer."""
    operation = described.schema.find_operation_by_label(label)
    assert operation is not None
    known = dict(described.there)
    if label.startswith("DELETE") or label.endswith("/restore"):
        known["job"] = described.web.add(f"gone after {label}")["id"]
    if label.endswith(("/retry", "/trigger")):  # what the others did to their job may refuse it
        name = f"of its own for {label}"
        known |= {"job": described.web.add(name)["id"]}
        known |= {"run": described.web.run_of(name, end=RunState.FAILED, exit_code=1).id}
    if label.endswith("/restore"):
        described.web.store.set_job_state(known["job"], JobState.REMOVED, by="test", now=now())
    known = {name: id for name, id in known.items() if f"{{{name}}}" in label}
    ways = [
        operation.as_strategy(mode, **how)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for how in ({"path_parameters": known}, {})
    ]
    ways.append(ways[0])
    if label.endswith(("/jobs", "/jobs/{job}")) and not label.startswith(("GET", "DELETE")):
        how = {
            "path_parameters": known,
            "headers": {"If-Match": "*"},
            "media_type": "application/json",
        }
        ways += [WANTS.flatmap(lambda body: operation.as_strategy(body=body, **how))] * 2
    cases = st.one_of(ways)

    @settings(
        max_examples=SLOW.get(label, EXAMPLES), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=cases)
    def answered(case: Any) -> None:
        said = case.call(base_url=ORIGIN, app=described.app, headers=described.headers)
        described.seen[label].append(said.status_code)
        case.validate_response(said, checks=HELD_TO)

    answered()


def test_what_was_asked_was_also_answered(described: Described) -> None:
    """The test above is worth something only if it also came through."""
    never = [
        label for label, seen in described.seen.items() if not any(status < 300 for status in seen)
    ]
    assert never == [
        "POST /api/v1/profiles/{profile}/runs/{run}/cancel",
        "DELETE /api/v1/profiles/{profile}/requests/{request}",
    ], "the run has ended, the request is answered"
    statuses = {status for seen in described.seen.values() for status in seen}
    assert {400, 401, 404, 409, 422} <= statuses
    assert 429 not in statuses
