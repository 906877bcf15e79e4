"""Every route there is, one by one, asked by whom it must refuse and with what it cannot mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from webkit import ORIGIN, Web, problem_of

from tenure.surfaces.web.guard import CHANGES_NOTHING, PUBLIC_PATHS
from tenure.surfaces.web.pages import router as pages
from tenure.surfaces.web.site import Site
from webapp import make_app

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOSTILE = [
    "..",
    "..%2f..%2fweb.json",
    "%2e%2e%2fweb.json",
    "..%5cweb.json",
    "%00",
    "a%00b",
    "%0d%0aSet-Cookie:a=b",
    "%ff%fe",
    "%ed%a0%80",
    "%e2%80%ae",
    "%3cscript%3e",
    "%7b%7b7*7%7d%7d",
    "%27%20or%201=1--",
    "a" * 3000,
    "-1",
    "*",
    "%20",
    "%f0%9f%92%a3",
]
"""Upwards, nothing, a header, no UTF-8, a lone surrogate, right to left, markup, a template ..."""


def operations(web: Web) -> list[tuple[str, str]]:
    """Each method and path of the OpenAPI document."""
    paths = web.get("/api/v1/openapi.json")["paths"]
    return [(m.upper(), path) for path, item in paths.items() for m in item if m.upper() in METHODS]


METHODS = MUTATING | {"GET"}


def page_routes() -> Iterator[tuple[str, str]]:
    """Each method and path of the page, forms included."""
    for route in walk(pages.routes):
        for method in route.methods or ():
            yield method, route.path


def walk(routes: list[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        yield from walk(getattr(inner, "routes", []) or [])


def filled(path: str, profile: str = "default", other: str = "job") -> str:
    return re.sub(r"\{(\w+)[^}]*\}", lambda m: profile if m[1] == "profile" else other, path)


class TestReadOnly:
    def test_each_operation_that_changes_something(self, web: Web) -> None:
        web.add()
        headers = {"Authorization": f"Bearer {web.tokens.pair.read_only}"}
        before = web.store.mark()
        asked = [(m, p) for m, p in operations(web) if m in MUTATING]
        assert len(asked) > 12
        for method, path in asked:
            if path in CHANGES_NOTHING:
                continue
            answer = web.ask(method, filled(path), headers=headers, json={})
            assert answer.status_code == 403, (method, path, answer.status_code)
            assert answer.json()["code"] == "read_only"
        assert web.store.mark() == before

    def test_each_form_of_the_page(self, web: Web) -> None:
        web.add()
        access = web.tokens.of_token(web.tokens.pair.read_only)
        assert access is not None
        browser = web.browser(web.tokens.pair.read_only)
        before = web.store.mark()
        asked = [path for method, path in page_routes() if method in MUTATING]
        assert len(asked) > 8
        for path in asked:
            answer = browser.post(
                filled(path), data={"csrf": access.csrf}, headers={"Origin": ORIGIN},
                follow_redirects=False,
            )  # fmt: skip
            wanted = 303 if path in CHANGES_NOTHING else 403
            assert answer.status_code == wanted, (path, answer.status_code)
        assert web.store.mark() == before


class TestNobody:
    def test_no_route_answers_without_a_token(self, web: Web) -> None:
        """But those for supervisors, and the page's own files."""
        routes = [*operations(web), *page_routes(), ("GET", "/p/{profile}/live"), ("GET", "/live")]
        web.client.cookies.clear()
        for method, path in routes:
            if path in PUBLIC_PATHS or path.startswith("/static/"):
                continue
            answer = web.client.request(method, filled(path), headers={"Accept": "*/*"})
            assert answer.status_code == 401, (method, path, answer.status_code)
            assert "set-cookie" not in answer.headers

    def test_no_form_is_taken_from_elsewhere(self, web: Web) -> None:
        """As the forms of another page can send them: the cookie goes along, the token does not."""
        web.add()
        before = web.store.mark()
        browser = web.browser()
        for path in [path for method, path in page_routes() if method in MUTATING]:
            for headers, content in (
                ({"Content-Type": "text/plain", "Origin": "http://evil.example"}, b"csrf=x"),
                ({"Content-Type": "text/plain", "Origin": ORIGIN}, b'{"csrf": "x"}'),
                ({"Content-Type": "text/plain"}, b"a=b"),
                ({"Content-Type": "application/x-www-form-urlencoded"}, b"csrf=%00"),
                ({"Content-Type": "application/x-www-form-urlencoded", "Origin": ORIGIN}, b"a=b"),
                ({"Content-Type": "multipart/form-data; boundary=x", "Origin": ORIGIN}, b"--x--"),
                ({"Origin": "null"}, b""),
            ):
                answer = browser.post(
                    filled(path), content=content, headers=headers, follow_redirects=False
                )
                assert answer.status_code in (400, 403), (path, headers, answer.status_code)
        assert web.store.mark() == before


class TestEverywhere:
    def test_methods_that_no_route_takes(self, web: Web) -> None:
        """Nothing is repeated of what was sent (cross-site tracing), and nothing is done."""
        before = web.store.mark()
        for path in sorted({path for _, path in [*operations(web), *page_routes()]}):
            for method in ("OPTIONS", "TRACE", "TRACK", "PROPFIND", "MKCOL"):
                answer = web.ask(method, "/api/v1/.." + filled(path), headers={"X-Mine": "secret"})
                answer = web.client.request(
                    method, filled(path), headers={**web._bearer, "X-Mine": "secret"}
                )
                assert answer.status_code == 405, (method, path, answer.status_code)
                assert "secret" not in answer.text
                assert web.tokens.pair.full not in answer.text
        assert web.store.mark() == before

    def test_names_that_mean_something_else(self, web: Web) -> None:
        """In place of each name of each address: refused or not found, never a fault."""
        web.add()
        reading = [p for m, p in [*operations(web), *page_routes()] if m == "GET" and "{" in p]
        assert len(reading) > 20
        for path in reading:
            for name in HOSTILE:
                for where in (filled(path, other=name), filled(path, profile=name)):
                    if where == filled(path):
                        continue
                    answer = web.client.get(
                        ORIGIN + where, headers={**web._bearer, "Range": "bytes=0-9"},
                        follow_redirects=False,
                    )  # fmt: skip
                    assert answer.status_code in (200, 303, 400, 404, 414, 422), (
                        where[:200],
                        answer.status_code,
                    )
                    assert "set-cookie" not in answer.headers
                    assert '"tokens"' not in answer.text
                    if "html" in answer.headers.get("content-type", "html"):
                        assert "<script>" not in answer.text
                    assert "Traceback" not in answer.text

    def test_headers_that_proxies_understand_change_nothing(self, web: Web) -> None:
        web.client.cookies.clear()
        for headers in (
            {"X-Forwarded-Host": "evil.example"},
            {"Forwarded": "host=evil.example;for=127.0.0.1"},
            {"X-Original-URL": "/healthz"},
            {"X-Rewrite-URL": "/healthz"},
            {"X-Forwarded-Prefix": "//evil.example"},
            {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        ):
            answer = web.client.get("/p/default/", headers=headers)
            assert answer.status_code == 401
            assert "evil.example" not in answer.text + str(answer.headers)

    def test_no_websocket_is_opened(self, web: Web) -> None:
        for path in ("/", "/live", "/p/default/live", "/api/v1/profiles"):
            with (
                pytest.raises(WebSocketDisconnect) as refused,
                web.client.websocket_connect(path, headers={**web._bearer, "Host": "127.0.0.1"}),
            ):
                pass
            assert refused.value.code == 1008


class TestCookies:
    def test_one_that_was_there_before_is_not_taken_over(self, web: Web) -> None:
        """Fixation: the link writes what is derived from the token, whatever stood there."""
        browser = web.browser()
        ((name, right),) = dict(browser.cookies).items()
        browser.cookies.clear()
        shown = browser.get(
            f"/?token={web.tokens.pair.full}", headers={"Cookie": f"{name}=chosen-by-another"},
            follow_redirects=False,
        )  # fmt: skip
        assert f"{name}={right};" in shown.headers["set-cookie"]
        assert "chosen-by-another" not in shown.headers["set-cookie"]

    def test_of_another_home_or_another_token(self, web: Web) -> None:
        from tenure.surfaces.web.tokens import Tokens

        strange = Tokens.in_memory()
        stranger = strange.of_token(strange.pair.full)
        assert stranger is not None
        browser = web.browser()
        ((name, right),) = dict(browser.cookies).items()
        browser.cookies.clear()
        for value in (
            stranger.cookie,
            web.tokens.pair.full,
            right[:-1],
            right + "0",
            "",
            right * 2,
        ):
            answer = browser.get(f"{web.base}/status", headers={"Cookie": f"{name}={value}"})
            assert answer.status_code in (401, 429), value
        answer = browser.get(f"{web.base}/status", headers={"Cookie": f"tenure_1={right}"})
        assert answer.status_code == 401

    def test_that_are_no_cookies(self, web: Web) -> None:
        web.client.cookies.clear()
        for cookie in (b"=", b";;;", b"a" * 20_000, b"\xff=\xfe", b'tenure="', b"a=b\x01"):
            answer = web.client.get(f"{web.base}/status", headers={"Cookie": cookie})
            assert answer.status_code in (400, 401)


class TestTexts:
    """What somebody who may add jobs writes is shown as text, and nothing else."""

    MARKUP = '"><img src=x onerror=alert(1)>\u202e{{7*7}}</textarea><script>alert(1)</script>'

    def test_in_every_field_of_a_job(self, web: Web) -> None:
        sent = web.ask(
            "POST", "/jobs",
            json={
                "name": "plain", "schedule": "@daily", "command": [self.MARKUP], "tags": ["a<b>"],
                "env": {"A": self.MARKUP}, "cwd": "/" + self.MARKUP, "stdin": self.MARKUP,
            },
        )  # fmt: skip
        assert sent.status_code in (201, 422), sent.text
        job = web.add("named" if sent.status_code == 422 else "other", command=[self.MARKUP])
        browser = web.browser()
        paths = ["/p/default/", "/p/default/jobs", f"/p/default/jobs/{job['id']}"]
        paths += [f"{paths[-1]}/edit", "/", f"/p/default/jobs?q={'%3Cscript%3E' * 9}"]
        for path in paths:
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert "<script>" not in answer.text
            assert "<img" not in answer.text.replace('<img src="/static/', "")
            assert "49" not in re.findall(r"\{\{.*?\}\}|49(?=</textarea>)", answer.text)

    def test_a_header_is_never_split(self, web: Web) -> None:
        headers = {"Idempotency-Key": "a%0d%0aSet-Cookie: a=b"}
        web.add("a b")
        web.world.owner()
        answer = web.ask("POST", "/jobs/a%20b/trigger?wait=0", headers=headers)
        assert answer.status_code in (202, 422)
        assert "set-cookie" not in answer.headers
        for name in ("a\r\nSet-Cookie: a=b", "a\x00b", "a\x1b[31m", "\u2028"):
            answer = web.ask(
                "POST", "/jobs", json={"name": name, "schedule": "@daily", "command": ["true"]}
            )
            assert answer.status_code in (201, 422), name
            assert "set-cookie" not in answer.headers


def test_a_token_is_in_no_log(
    web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a fault is logged with all that is known of the request."""

    def broken(self: object) -> list[str]:
        raise RuntimeError("what broke")

    monkeypatch.setattr(Site, "names", broken)
    with TestClient(make_app(web.site), base_url=ORIGIN) as client:
        shown = client.get(f"/?token={web.tokens.pair.full}")  # the page about it fails as well
        assert shown.status_code == 500
        assert shown.headers["content-security-policy"]
        assert "what broke" not in shown.text
        client.get(f"/api/v1/profiles?token={web.tokens.pair.full}", headers=web._bearer)
        client.get("/", headers={"Authorization": "Bearer wrong-but-secret-all-the-same"})
    assert "what broke" in caplog.text
    assert web.tokens.pair.full not in caplog.text
    assert "wrong-but-secret" not in caplog.text


def test_where_the_page_leads_says_nothing(web: Web) -> None:
    """No link of the page leaves this site, so that no Referer does either."""
    web.add()
    browser: Any = web.browser()
    for path in ("/", "/p/default/", "/p/default/jobs", "/p/default/owner"):
        answer = browser.get(path)
        assert answer.headers["referrer-policy"] == "same-origin"
        assert web.tokens.pair.full not in answer.text
        for there in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text):
            assert there.startswith(("/", "#", "?")), there
            assert not there.startswith("//")


def test_problems_are_no_pages(web: Web) -> None:
    answer = web.ask("GET", "/jobs/%3Cscript%3E")
    assert problem_of(answer, answer.status_code)
    assert answer.headers["x-content-type-options"] == "nosniff"
