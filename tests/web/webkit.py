"""A site over a real store, asked without a network; processes are made by store verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from clikit import World

from tenure.domain.request import Request, RequestState
from tenure.domain.run import Run
from tenure.runtime.profile import Profile
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens

__all__ = ["Web", "World", "accept", "now"]

ORIGIN = "http://127.0.0.1:8787"


def now() -> datetime:
    return datetime.now(UTC)


class Web:
    """A site, its profile's world, and clients with one right or another."""

    def __init__(self, site: Site, world: World, client: TestClient, tokens: Tokens) -> None:
        self.site = site
        self.world = world
        self.store = world.store
        self.tokens = tokens
        self.client = client
        self.base = f"/api/v1/profiles/{world.profile.name}"
        self._bearer = {"Authorization": f"Bearer {tokens.pair.full}"}

    def ask(self, method: str, path: str, **how: Any) -> Any:
        """As a program that has the token; a path without a leading /api is the profile's."""
        headers = {**self._bearer, **how.pop("headers", {})}
        where = path if path.startswith(("/api", "/metrics", "/healthz")) else self.base + path
        self.client.cookies.clear()
        return self.client.request(method, where, headers=headers, **how)

    def get(self, path: str, status: int = 200, **how: Any) -> Any:
        """The document that a GET gives."""
        answer = self.ask("GET", path, **how)
        assert answer.status_code == status, answer.text
        return answer.json()

    def problem(self, method: str, path: str, status: int, **how: Any) -> Any:
        """The problem that the answer is, checked for what every problem has."""
        answer = self.ask(method, path, **how)
        return problem_of(answer, status)

    def add(self, name: str = "job", schedule: str = "@daily", **fields: Any) -> Any:
        """A job, by the API."""
        wants = {"name": name, "schedule": schedule, "command": ["true"], **fields}
        answer = self.ask("POST", "/jobs", json=wants)
        assert answer.status_code == 201, answer.text
        return answer.json()["job"]

    def browser(self, token: str | None = None) -> TestClient:
        """A client that came by the link, and so has the cookie and nothing else."""
        self.client.cookies.clear()
        shown = self.client.get(f"/?token={token or self.tokens.pair.full}", follow_redirects=False)
        assert shown.status_code == 303, shown.text
        return self.client

    def run_of(self, ref: str, **how: Any) -> Run:
        authority = self.store.ownership().authority
        assert authority is not None
        return self.world.run_of(authority, ref, **how)


def problem_of(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["v"] == 1
    assert found["type"] == f"/api/v1/problems#{found['code']}"
    assert found["detail"]
    assert found["title"]
    assert "Traceback" not in answer.text
    return found


def accept(profile: Profile, request: Request) -> None:
    authority = profile.store.ownership().authority
    assert authority is not None
    profile.store.claim_trigger(authority, request.id, now())


def answer(state: RequestState, text: str, remedy: str = "") -> Callable[[Profile, Request], None]:
    def say(profile: Profile, request: Request) -> None:
        authority = profile.store.ownership().authority
        profile.store.resolve_request(
            request.id, state, authority=authority, now=now(), answer=text, remedy=remedy
        )

    return say
