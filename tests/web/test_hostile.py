"""Requests that mean no good, each with the answer that it gets (section 9)."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from webkit import ORIGIN, Web, problem_of

from tenure.surfaces.web.guard import CSP, MAX_BODY_BYTES, Attempts
from tenure.surfaces.web.site import Site
from testkit.clock import ManualClock
from webapp import make_app

EVERYWHERE = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def check_headers(answer: Any) -> None:
    for name, value in EVERYWHERE.items():
        assert answer.headers.get(name) == value, name
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8787",
            "192.168.1.7:8787",
            "0.0.0.0:8787",
            "[::ffff:8.8.8.8]:8787",
            "127.0.0.1@evil.example",
            "evil.example#127.0.0.1",
            "127.0.0.1:99999",
            "127.0.0.1:x",
            "127.0.0.1?x",
            "127.0.0.1#x",
            "127.0.0.1:",
            "-localhost",
            "[::1",
            "local host",
        ],
    )
    def test_a_name_that_is_not_ours(self, web: Web, host: str) -> None:
        """DNS rebinding: a stranger's name that was made to point here."""
        answer = web.ask("GET", "/status", headers={"Host": host})
        assert problem_of(answer, 421)["code"] == "wrong_host"
        check_headers(answer)
        assert web.client.get("/healthz", headers={"Host": host}).status_code == 421

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "127.0.0.1:1", "localhost:8787", "LOCALHOST", "[::1]:8787", "127.9.9.9"],
    )
    def test_names_of_this_machine(self, web: Web, host: str) -> None:
        assert web.ask("GET", "/status", headers={"Host": host}).status_code == 200

    def test_none_and_an_empty_one(self, web: Web) -> None:
        assert problem_of(web.ask("GET", "/status", headers={"Host": ""}), 400)

    def test_a_proxys_name(self, web: Web) -> None:
        site = Site(web.site.home, web.tokens, hosts={"tenure.example"})
        with TestClient(make_app(site), base_url="http://tenure.example") as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/healthz", headers={"Host": "other.example"}).status_code == 421

    def test_on_another_address_by_number_only(self, web: Web) -> None:
        """Nobody's name can be made to point at a number."""
        site = Site(web.site.home, web.tokens, hosts={"*"})
        with TestClient(make_app(site), base_url="http://192.168.1.7:8787") as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 421


class TestOrigin:
    @pytest.mark.parametrize(
        "origin",
        [
            "http://evil.example",
            "null",
            "http://127.0.0.1:9999",
            "http://127.0.0.1:8787.evil.example",
            "file://",
            "chrome-extension://abc",
            "",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_page_of_another_origin(self, web: Web, origin: str, method: str) -> None:
        """With a cookie or with a token, to read or to write."""
        path = "/status" if method == "GET" else "/jobs"
        headers = {"Origin": origin}
        answer = web.ask(method, path, headers=headers, json={} if method == "POST" else None)
        assert problem_of(answer, 403)["code"] == "foreign_origin"
        check_headers(answer)

    def test_a_preflight(self, web: Web) -> None:
        """No other origin is ever allowed anything."""
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        assert web.ask("OPTIONS", "/jobs", headers=headers).status_code == 403

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Origin": ORIGIN}, 200),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "none"}, 403),
            ({"X-CSRF-Token": "wrong"}, 403),
        ],
    )
    def test_a_change_with_a_cookie(self, web: Web, headers: dict[str, str], status: int) -> None:
        """CSRF: a browser sends the cookie by itself, so the change must come from our own page."""
        web.add()
        browser = web.browser()
        answer = browser.post(f"{web.base}/jobs/job/pause", headers=headers)
        assert answer.status_code == status, answer.text
        if status == 403:
            assert answer.json()["code"] == "csrf"
            assert web.store.job("job").state == "active"

    def test_a_change_with_the_pages_token(self, web: Web) -> None:
        web.add()
        access = web.tokens.of_token(web.tokens.pair.full)
        assert access is not None
        answer = web.browser().post(
            f"{web.base}/jobs/job/pause", headers={"X-CSRF-Token": access.csrf}
        )
        assert answer.status_code == 200


class TestTokens:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic dXNlcjpwYXNz"},
            {"Authorization": ""},
            {"Cookie": "tenure_00000000=wrong"},
            {"Authorization": "Bearer \xff\xfe"},
        ],
    )
    def test_none_or_a_wrong_one(self, web: Web, headers: dict[str, str]) -> None:
        web.client.cookies.clear()
        raw = {k: v.encode("latin-1") for k, v in headers.items()}
        for path in ("/api/v1/profiles", web.base + "/status", "/metrics", "/api/v1/nothing"):
            answer = web.client.get(path, headers=raw)
            assert problem_of(answer, 401)["code"] == "unauthenticated"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            check_headers(answer)

    def test_a_page_says_how_to_get_in(self, web: Web) -> None:
        web.client.cookies.clear()
        answer = web.client.get("/p/default/")
        assert answer.status_code == 401
        assert "text/html" in answer.headers["content-type"]
        assert "tenure dashboard" in answer.text
        check_headers(answer)

    def test_the_link_becomes_a_cookie(self, web: Web) -> None:
        web.client.cookies.clear()
        answer = web.client.get(
            f"/p/default/?a=1&token={web.tokens.pair.full}", follow_redirects=False
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == "/p/default/?a=1"
        cookie = answer.headers["set-cookie"]
        assert web.tokens.pair.full not in cookie
        for part in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
        assert "secure" not in cookie.lower()
        assert web.client.get(web.base + "/status").status_code == 200

    def test_behind_tls_the_cookie_stays_there(self, web: Web) -> None:
        answer = web.client.get(
            f"/?token={web.tokens.pair.full}",
            headers={"X-Forwarded-Proto": "https"},
            follow_redirects=False,
        )
        assert "secure" in answer.headers["set-cookie"].lower()

    def test_from_another_page_the_link_works_too(self, web: Web) -> None:
        """A Strict cookie is not sent along a redirect that another site began."""
        answer = web.client.get(
            f"/?token={web.tokens.pair.full}",
            headers={"Sec-Fetch-Site": "cross-site"},
            follow_redirects=False,
        )
        assert (answer.status_code, answer.headers["refresh"]) == (200, "0; url=/")

    @pytest.mark.parametrize(
        ("path", "there"),
        [
            ("//evil.example/", "/evil.example/"),
            ("/\\evil.example/", "/evil.example/"),
            ("/%0d%0aSet-Cookie:a=b", "/%0D%0ASet-Cookie%3Aa%3Db"),
        ],
    )
    def test_the_link_leads_nowhere_else(self, web: Web, path: str, there: str) -> None:
        """No open redirect, no header split."""
        answer = web.client.request(
            "GET", f"{ORIGIN}{path}?token={web.tokens.pair.full}", follow_redirects=False
        )
        assert answer.headers.get("location") == there
        assert "a" not in answer.cookies

    def test_tokens_in_the_address_are_for_the_link_only(self, web: Web) -> None:
        web.client.cookies.clear()
        answer = web.client.get(f"{web.base}/status?token={web.tokens.pair.full}")
        assert answer.status_code == 401

    def test_many_wrong_ones(self, web: Web) -> None:
        """After ten a minute no token from there is looked at, right or wrong."""
        web.browser()
        cookies = dict(web.client.cookies)
        for i in range(Attempts.LIMIT):
            wrong = {"Authorization": f"Bearer wrong-{i}"}
            assert web.ask("GET", "/status", headers=wrong).status_code == 401
        answer = web.ask("GET", "/status")
        assert problem_of(answer, 429)["code"] == "too_many_tokens"
        assert 0 < int(answer.headers["retry-after"]) <= 61
        shown = web.client.get(f"/?token={web.tokens.pair.full}", follow_redirects=False)
        assert shown.status_code == 429
        web.client.cookies.clear()
        web.client.cookies.update(cookies)
        assert web.client.get(web.base + "/status").status_code == 200, "who is in stays in"

    def test_wrong_cookies_count_too(self, web: Web) -> None:
        web.browser()
        (name,) = dict(web.client.cookies)
        web.client.cookies.clear()
        for i in range(Attempts.LIMIT):
            answer = web.client.get(web.base + "/status", headers={"Cookie": f"{name}=wrong-{i}"})
            assert answer.status_code == 401
        assert web.ask("GET", "/status").status_code == 429

    def test_an_old_one_that_comes_again_and_again_locks_nobody_out(self, web: Web) -> None:
        """A page that is still open somewhere after `--new-token`, or a program, polls with it."""
        browser = web.browser()
        ((name, right),) = dict(browser.cookies).items()
        for _ in range(Attempts.LIMIT * 3):
            browser.cookies.clear()
            old = {"Cookie": f"{name}={right[::-1]}"}
            assert browser.get(web.base + "/status", headers=old).status_code == 401
            stale = {"Authorization": "Bearer the-token-of-yesterday"}
            assert web.ask("GET", "/metrics", headers=stale).status_code == 401
        assert web.ask("GET", "/status").status_code == 200
        shown = browser.get(f"/?token={web.tokens.pair.full}", follow_redirects=False)
        assert shown.status_code == 303

    def test_the_minute_passes(self) -> None:
        clock = ManualClock()
        attempts = Attempts(clock)
        for i in range(Attempts.LIMIT):
            attempts.failed("a", str(i))
        assert attempts.wait("a") > 0
        assert attempts.wait("b") == 0
        clock.advance(Attempts.WINDOW + 1)
        assert attempts.wait("a") == 0

    def test_many_addresses_are_not_all_remembered(self) -> None:
        attempts = Attempts(ManualClock())
        for i in range(Attempts.ADDRESSES * 2):
            attempts.failed(str(i), "wrong")
        assert len(attempts._failed) == Attempts.ADDRESSES


class TestReadOnly:
    def test_it_may_look_and_nothing_else(self, web: Web) -> None:
        web.add()
        headers = {"Authorization": f"Bearer {web.tokens.pair.read_only}"}
        assert web.ask("GET", "/jobs", headers=headers).status_code == 200
        for method, path, json in (
            ("POST", "/jobs", {"schedule": "@daily", "command": ["a"]}),
            ("PUT", "/jobs/job", {}),
            ("PATCH", "/jobs/job", {}),
            ("DELETE", "/jobs/job", None),
            ("POST", "/jobs/job/trigger", None),
            ("POST", "/jobs/job/pause", None),
            ("POST", "/owner/hand-over", {}),
            ("DELETE", "/requests/x", None),
        ):
            found = web.problem(method, path, 403, json=json, headers=headers)
            assert found["code"] == "read_only"
        assert web.store.job("job").revision == 1

    def test_it_may_ask_what_a_schedule_means(self, web: Web) -> None:
        headers = {"Authorization": f"Bearer {web.tokens.pair.read_only}"}
        answer = web.ask(
            "POST", "/api/v1/schedules/preview", json={"text": "@daily"}, headers=headers
        )
        assert answer.status_code == 200

    def test_its_cookie_is_read_only_too(self, web: Web) -> None:
        web.add()
        browser = web.browser(web.tokens.pair.read_only)
        answer = browser.post(f"{web.base}/jobs/job/pause", headers={"Origin": ORIGIN})
        assert problem_of(answer, 403)["code"] == "read_only"


class TestBodies:
    def test_fifty_megabytes_announced(self, web: Web) -> None:
        """413 without reading them."""
        read = 0

        def parts() -> Any:
            nonlocal read
            for _ in range(50):
                read += 1
                yield b" " * 1_000_000

        headers = {"Content-Length": "50000000", "Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=parts(), headers=headers)
        assert problem_of(answer, 413)["code"] == "too_large"

    def test_more_than_announced_or_nothing_announced(self, web: Web) -> None:
        """In parts without a length: read no further than the bound."""
        body = b"[" + b" " * (MAX_BODY_BYTES + 1)
        headers = {"Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=iter([body]), headers=headers)
        assert problem_of(answer, 413)["code"] == "too_large"

    @pytest.mark.parametrize("length", ["-1", "x", "1e3", "", "99999999999999999999"])
    def test_a_length_that_is_none(self, web: Web, length: str) -> None:
        headers = {"Content-Length": length, "Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=b"{}", headers=headers)
        assert answer.status_code in (400, 413)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"{'a': 1}",
            b"\xff\xfe",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"name": "a", "name": "b"}',
            b'"\\ud800',
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"1" * 5000,
            b"\x00",
        ],
    )
    def test_json_that_is_none(self, web: Web, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=body, headers=headers)
        assert problem_of(answer, 400)["code"] == "malformed"

    @pytest.mark.parametrize("body", ["[]", '"a"', "1", "null", "true"])
    def test_json_that_is_no_object(self, web: Web, body: str) -> None:
        headers = {"Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=body, headers=headers)
        assert problem_of(answer, 422)["field"] == "body"

    @pytest.mark.parametrize(
        "kind",
        [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "",
            "application/json-seq",
        ],
    )
    def test_another_media_type(self, web: Web, kind: str) -> None:
        """Those that a form of another page could send are none of ours."""
        answer = web.ask(
            "POST", "/jobs", content=b'{"schedule": "@daily"}', headers={"Content-Type": kind}
        )
        assert problem_of(answer, 415)["code"] == "wrong_media_type"

    def test_texts_that_no_system_can_use(self, web: Web) -> None:
        for command in (["a\x00b"], [""], [], ["x" * 200_000]):
            web.problem("POST", "/jobs", 422, json={"schedule": "@daily", "command": command})
        lone = b'{"schedule": "@daily", "command": ["\\ud800"]}'
        headers = {"Content-Type": "application/json"}
        answer = web.ask("POST", "/jobs", content=lone, headers=headers)
        assert problem_of(answer, 422)["field"] == "command"

    def test_markup_is_text(self, web: Web) -> None:
        name = "<script>alert(1)</script>"
        job = web.add(name)
        assert job["name"] == name
        assert web.ask("GET", "/jobs").headers["content-type"] == "application/json"


class TestAddresses:
    def test_ten_thousand_parameters(self, web: Web) -> None:
        answer = web.ask("GET", "/runs?" + "a&" * 10_000)
        assert problem_of(answer, 414)["code"] == "too_long"
        assert web.ask("GET", "/runs?" + "a=1&" * 101).status_code == 414
        assert web.ask("GET", "/runs?a=" + "x" * 9000).status_code == 414

    def test_a_long_path(self, web: Web) -> None:
        assert web.ask("GET", "/jobs/" + "x" * 5000).status_code == 414
        assert web.ask("GET", "/jobs/" + "x" * 1000).status_code == 422

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "1e9", "99999999999999999999", "all", ""])
    @pytest.mark.parametrize("path", ["/jobs", "/runs", "/requests", "/events", "/owner/terms"])
    def test_pages_are_bounded(self, web: Web, path: str, limit: str) -> None:
        assert web.problem("GET", f"{path}?limit={limit}", 422)["field"] == "limit"

    @pytest.mark.parametrize(
        "path",
        ["/api/v2/profiles", "/api/v1", "/api", "/api/v1/", "/api/v1/profiles/default/", "/.env"],
    )
    def test_versions_and_addresses_that_are_not_there(self, web: Web, path: str) -> None:
        answer = (
            web.ask("GET", path)
            if path.startswith("/api")
            else web.client.get(path, headers={"Authorization": f"Bearer {web.tokens.pair.full}"})
        )
        assert answer.status_code == 404
        check_headers(answer)

    @pytest.mark.parametrize(
        "path",
        [
            "/static/%2e%2e/app.py",
            "/static/..%2f..%2fapp.py",
            "/static/%2fetc/passwd",
            "/static//etc/passwd",
            "/static/..%5capp.py",
            "/static/%00",
            "/static/vendor",
            "/static/",
        ],
    )
    def test_static_files_end_at_their_folder(self, web: Web, path: str) -> None:
        answer = web.client.get(path)
        assert answer.status_code in (404, 405)
        assert "import" not in answer.text
        assert "root:" not in answer.text

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
    def test_methods_that_are_not_taken(self, web: Web, method: str) -> None:
        answer = web.ask(method, "/status")
        assert problem_of(answer, 405)["code"] == "method_not_allowed"
        assert answer.headers["allow"] == "GET"

    def test_head_is_get_without_its_body(self, web: Web) -> None:
        for path in ("/status", "/jobs", "/runs"):
            answer = web.ask("HEAD", path)
            assert (answer.status_code, answer.content) == (200, b"")
        assert web.ask("HEAD", "/nothing").status_code == 404

    def test_options(self, web: Web) -> None:
        answer = web.ask("OPTIONS", "/status")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")

    def test_a_method_in_a_header_is_none(self, web: Web) -> None:
        web.add()
        web.ask("GET", "/jobs/job", headers={"X-HTTP-Method-Override": "DELETE"})
        assert web.store.job("job").state == "active"


class TestTrouble:
    def test_a_fault_tells_nothing(
        self, web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The traceback is in the log, and nowhere else."""

        def broken(self: object) -> list[str]:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(Site, "names", broken)
        answer = web.ask("GET", "/api/v1/profiles")
        found = problem_of(answer, 500)
        assert found["code"] == "internal"
        assert "secret detail" not in answer.text
        assert "secret detail" in caplog.text
        check_headers(answer)

    def test_a_store_that_another_process_blocks(
        self, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tenure.domain.errors import StoreBlocked
        from tenure.store.sqlite.edits import JobEdits

        def blocked(self: object, *a: object, **k: object) -> None:
            raise StoreBlocked("pid 7 holds the write lock", remedy="wait")

        monkeypatch.setattr(JobEdits, "add_job", blocked)
        answer = web.ask("POST", "/jobs", json={"schedule": "@daily", "command": ["a"]})
        assert problem_of(answer, 503)["code"] == "store_blocked"
        assert answer.headers["retry-after"] == "5"
