"""A real server process and real sockets: what comes slowly, broken or too large (section 9)."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webkit import now

from tenure.domain.errors import Conflict, InvalidInput
from tenure.runtime.profile import Profile
from tenure.surfaces.web import guard, server
from tenure.surfaces.web.server import BackgroundServer, is_loopback, link_to, listen
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from waiting import DEADLINE, eventually

TENURE = Path(sys.executable).with_name("tenure")
PATIENCE = DEADLINE


class Dashboard:
    """``tenure dashboard``, as a user starts it."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [TENURE, "dashboard", "--port", "0", "--home", home, "--json", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        document = ""
        for line in self.process.stdout:
            document += line
            if line == "}\n":
                break
        assert document, self.end()
        said = json.loads(document)
        self.url: str = said["url"]
        self.token = self.url.partition("token=")[2]
        self.port = int(self.url.partition("127.0.0.1:")[2].partition("/")[0])

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out + err


@pytest.fixture
def a_home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    Profile.open("default", home=home, create=True, now=now()).close()
    return home


@pytest.fixture
def dashboard(a_home: Path) -> Iterator[Dashboard]:
    started = Dashboard(a_home)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def unmoved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """One that hears everything that is broken, and prints nothing about it."""
    home = tmp_path_factory.mktemp("unmoved")
    Profile.open("default", home=home, create=True, now=now()).close()
    started = Dashboard(home)
    yield started
    assert started.end() == (0, "")


@pytest.fixture
def quick(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quick]:
    """A server in this process whose patience ends soon."""
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.4)
    monkeypatch.setattr(server, "LINGER_S", 0.4)
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.4)
    made = Quick(a_home)
    yield made
    made.beside.stop()


class Quick:
    """It takes connections only once the first words of one have been sent: whoever is slow to
    say them is not to be mistaken for who never does."""

    def __init__(self, home: Path) -> None:
        self.tokens = Tokens.in_memory()
        sock = listen("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        self.beside = BackgroundServer(Site(home, self.tokens), sock)

    def hears(self, data: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        sock.sendall(data)
        self.beside.start()
        return sock

    def talk(self, data: bytes) -> bytes:
        with self.hears(data) as sock:
            return read_all(sock)


def talk(port: int, data: bytes, *, wait: float = PATIENCE) -> bytes:
    """Everything that is answered to these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as sock:
        sock.sendall(data)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    found = b""
    try:
        while part := sock.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def request(dashboard: Dashboard, line: str, *headers: str, body: bytes = b"") -> bytes:
    text = "\r\n".join(
        [
            line,
            f"Host: 127.0.0.1:{dashboard.port}",
            f"Authorization: Bearer {dashboard.token}",
            "Connection: close",
            *headers,
            "",
            "",
        ]
    )
    return talk(dashboard.port, text.encode("latin-1") + body)


@pytest.mark.real
class TestSlow:
    """Slow loris: connections that say a little now and then, for ever."""

    def test_headers_that_never_end(self, quick: Quick) -> None:
        with quick.hears(b"GET /healthz HTTP/1.1\r\n") as sock:
            sock.settimeout(0.05)
            said = b""
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    sock.sendall(b"X-A: b\r\n")
                except OSError:  # it has closed; what it said is still to be read
                    sock.settimeout(PATIENCE)
                    said += read_all(sock)
                    break
                try:
                    part = sock.recv(1000)
                except TimeoutError:
                    assert time.monotonic() < until, "it listens for ever"
                    continue
                except ConnectionResetError:
                    break
                if not part:
                    break
                said += part
        assert said.startswith(b"HTTP/1.1 408")

    def test_a_connection_that_says_nothing(self, quick: Quick) -> None:
        assert quick.talk(b"").startswith(b"HTTP/1.1 408")

    def test_a_further_request_that_never_ends(self, quick: Quick) -> None:
        whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        found = quick.talk(whole + b"GET /healthz HTTP/1.1\r\n")
        assert found.startswith(b"HTTP/1.1 200")
        assert b"408" in found

    def test_a_body_that_never_comes(self, quick: Quick) -> None:
        head = (
            b"POST /api/v1/schedules/preview HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        # Without a token it is refused before its body is waited for.
        assert quick.talk(head).startswith(b"HTTP/1.1 401")


@pytest.mark.real
class TestBroken:
    def test_fifty_megabytes(self, unmoved: Dashboard) -> None:
        """413 at once, the body unread, the connection closed."""
        answer = request(
            unmoved, "POST /api/v1/profiles/default/jobs HTTP/1.1",
            "Content-Type: application/json", "Content-Length: 50000000", body=b" " * 100_000,
        )  # fmt: skip
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()

    def test_a_slow_body(self, quick: Quick) -> None:
        head = (
            "POST /api/v1/schedules/preview HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {quick.tokens.pair.full}\r\nConnection: close\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = quick.talk(head.encode())
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"too_slow" in answer

    @pytest.mark.parametrize(
        "data",
        [
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rb\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\nSet-Cookie: b\r\n\x00\r\n\r\n",
            b"GET /healthz\r\nHost: 127.0.0.1\r\n\r\n",
            b"GET  /healthz HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
            b"GET /healthz HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )  # fmt: skip
    def test_what_is_no_http(self, unmoved: Dashboard, data: bytes) -> None:
        """400 without a word of what was sent, and the connection is closed."""
        answer = talk(unmoved.port, data)
        assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
        assert b"aaaa" not in answer
        assert b"Set-Cookie" not in answer

    @pytest.mark.parametrize(
        ("line", "headers", "status"),
        [
            ("GET /healthz HTTP/1.1", ["X: " + "a" * 100_000], b"431"),
            ("GET /healthz HTTP/1.1", ["X: a"] * 20_000, b"431"),
            ("GET /" + "a" * 100_000 + " HTTP/1.1", [], b"414"),
            ("GET /healthz?" + "a=1&" * 10_000 + " HTTP/1.1", [], b"414"),
        ],
    )
    def test_what_is_too_long(
        self, unmoved: Dashboard, line: str, headers: list[str], status: bytes
    ) -> None:
        """Or 400, where it comes in parts and ends before its end is seen."""
        answer = request(unmoved, line, *headers)
        assert answer.startswith((b"HTTP/1.1 " + status, b"HTTP/1.1 400")), answer[:200]

    def test_without_a_host(self, unmoved: Dashboard) -> None:
        assert talk(unmoved.port, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400")

    @pytest.mark.parametrize(
        "path",
        [
            "/static/../../app.py",
            "/static/%2e%2e/%2e%2e/app.py",
            "/static/..%2f..%2fapp.py",
            "/static/....//app.py",
            "/static//etc/passwd",
            "/p/../../etc/passwd",
            "/api/v1/profiles/../../web.json/status",
            "/api/v1/profiles/..%2f../status",
            "/api/v1/profiles/default/runs/../../profile.id/output",
            "/api/v1/profiles/default/runs/..%2f..%2fprofile.id/output",
        ],
    )
    def test_paths_upwards(self, unmoved: Dashboard, path: str) -> None:
        answer = request(unmoved, f"GET {path} HTTP/1.1")
        assert answer.startswith(b"HTTP/1.1 404"), answer[:300]
        for secret in (b"root:", b"import ", b'"tokens"', b"machine"):
            assert secret not in answer

    def test_a_whole_address_is_held_to_its_host(self, unmoved: Dashboard) -> None:
        """Absolute form: what counts is Host, and that is ours; the path is that of the address."""
        answer = request(unmoved, "GET http://evil.example/api/v1/profiles HTTP/1.1")
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))

    def test_an_upgrade_is_not_taken(self, unmoved: Dashboard) -> None:
        answer = request(
            unmoved, "GET /healthz HTTP/1.1", "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        )  # fmt: skip
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.real
class TestLife:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_without_noise(self, dashboard: Dashboard, number: signal.Signals) -> None:
        assert request(dashboard, "GET /healthz HTTP/1.1").startswith(b"HTTP/1.1 200")
        stream = socket.create_connection(("127.0.0.1", dashboard.port), timeout=PATIENCE)
        head = (
            f"GET /api/v1/profiles/default/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Accept: text/event-stream\r\nAuthorization: Bearer {dashboard.token}\r\n\r\n"
        )
        stream.sendall(head.encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        assert dashboard.end(number) == (0, "")
        read_all(stream)
        stream.close()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_heeds_signals_once_its_link_is_told(
        self, a_home: Path, number: signal.Signals
    ) -> None:
        """Who reads the link may end it with the next line."""
        assert Dashboard(a_home).end(number) == (0, "")

    def test_it_is_seen_while_it_lives(self, dashboard: Dashboard, a_home: Path) -> None:
        """C9: `status` lists every process of the profile."""
        with_it = processes(a_home)
        assert [(p["role"], p["standing"], p["pid"]) for p in with_it] == [
            ("dashboard", "observer", dashboard.process.pid)
        ]
        dashboard.end()
        assert processes(a_home) == []

    def test_kill_leaves_nothing_to_repair(self, dashboard: Dashboard, a_home: Path) -> None:
        dashboard.end(signal.SIGKILL)
        assert processes(a_home) == []
        again = Dashboard(a_home)
        assert again.token == dashboard.token
        again.end()

    def test_a_port_that_is_taken(self, dashboard: Dashboard, a_home: Path) -> None:
        """No other port is taken silently."""
        done = subprocess.run(
            [TENURE, "dashboard", "--home", a_home, "--port", str(dashboard.port)],
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 5
        assert f"port {dashboard.port} of 127.0.0.1 is in use" in done.stderr
        assert f"--port {dashboard.port + 1}" in done.stderr
        assert done.stdout == ""

    def test_new_tokens_reach_a_dashboard_that_runs(
        self, dashboard: Dashboard, a_home: Path
    ) -> None:
        done = subprocess.run(
            [TENURE, "dashboard", "--home", a_home, "--new-token", "--port", str(dashboard.port)],
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0
        line = "GET /api/v1/profiles HTTP/1.1"
        assert request(dashboard, line).startswith(b"HTTP/1.1 401")
        dashboard.token = done.stdout.strip().partition("token=")[2]
        assert request(dashboard, line).startswith(b"HTTP/1.1 200")


def processes(home: Path) -> list[dict[str, object]]:
    done = subprocess.run(
        [TENURE, "status", "--json", "--home", home], capture_output=True, text=True, check=False
    )
    found: list[dict[str, object]] = json.loads(done.stdout)["processes"]
    return found


def printed_token(line: str, page: str) -> str:
    """What the command in the log prints: the link that the log does not hold."""
    words = shlex.split(line.partition(": tenure ")[2])
    done = subprocess.run([TENURE, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    link, _, token = done.stdout.strip().partition("?token=")
    assert page.rstrip().endswith(link)
    assert token
    assert token not in page + line
    return token


@pytest.mark.real
def test_the_token_goes_to_a_terminal_and_to_no_log(a_home: Path) -> None:
    """A service's output is a journal, which is read by others than those who may run jobs."""
    options = ["dashboard", "--port", "0", "--home", a_home, "--profile", "default"]
    for more in ([], ["--read-only"]):
        process = subprocess.Popen(
            [TENURE, *options, *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            page, how = process.stdout.readline(), process.stdout.readline()
            port = int(page.partition("127.0.0.1:")[2].partition("/")[0])
            token = printed_token(how, page)
            said = talk(port, f"GET /?token={token} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert said.startswith(b"HTTP/1.1 303"), said[:200]
        finally:
            process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE)
        assert token not in rest


@pytest.mark.real
def test_a_terminal_is_shown_the_whole_link(a_home: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [TENURE, "dashboard", "--port", "0", "--home", a_home],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        said = b""
        while b"\n" not in said:
            said += os.read(ours, 4096)
        assert b"/?token=" in said
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(ours)


@pytest.mark.real
class TestBesideTheScheduler:
    def serve(self, home: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [TENURE, "serve", "--home", home, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_line(self, process: subprocess.Popen[str], words: str) -> str:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if words in line:
                return line
        raise AssertionError(f"it ended without {words!r}: {said}")

    def test_it_owns_and_serves(self, a_home: Path) -> None:
        process = self.serve(a_home, "--web", "0")
        try:
            line = self.wait_line(process, "the page: ")
            port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
            token = printed_token(self.wait_line(process, "tenure dashboard --link"), line)
            head = (
                f"GET /api/v1/profiles/default/status HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            )

            def status() -> dict[str, Any] | None:
                found = json.loads(talk(port, head.encode()).partition(b"\r\n\r\n")[2])
                return found if found["owner"] else None

            document = eventually(status, "the page to tell of an owner")
            assert document is not None
            assert document["owner"]["life"] == "alive"
            assert [p["pid"] for p in document["processes"]] == [process.pid], "one entry, not two"
        finally:
            process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "Traceback" not in said

    def test_a_taken_port_does_not_touch_the_scheduler(self, a_home: Path) -> None:
        taken = listen("127.0.0.1", 0)
        process = self.serve(a_home, "--web", f"127.0.0.1:{taken.getsockname()[1]}")
        try:
            self.wait_line(process, "the scheduler continues")
            eventually(lambda: [p["standing"] for p in processes(a_home)] == ["owner"], "it to own")
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
            taken.close()
        assert process.returncode == 0

    def test_a_page_that_fails_does_not_either(
        self, a_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(site: Site) -> None:
            raise SystemExit(3)

        monkeypatch.setattr(server, "make_server", broken)
        beside = BackgroundServer(Site(a_home, Tokens.in_memory()), listen("127.0.0.1", 0))
        beside.start()
        eventually(lambda: "the scheduler continues without it" in caplog.text, "its failure")
        beside.stop()


class TestListening:
    def test_addresses_that_are_none(self) -> None:
        for host in ("no.such.host.invalid", "256.1.1.1", "192.0.2.1"):
            with pytest.raises(InvalidInput) as error:
                listen(host, 0)
            assert error.value.field == "host"

    def test_taken(self) -> None:
        first = listen("127.0.0.1", 0)
        with pytest.raises(Conflict):
            listen("127.0.0.1", first.getsockname()[1])
        first.close()

    def test_what_is_loopback(self) -> None:
        for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
            assert is_loopback(host)
        for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
            assert not is_loopback(host)

    def test_links(self) -> None:
        assert link_to("::1", 80, "t") == "http://[::1]:80/?token=t"
        assert link_to("0.0.0.0", 80, "t", "/p/a/") == "http://127.0.0.1:80/p/a/?token=t"


def test_nothing_else_loads_the_web() -> None:
    """`import tenure` and every other verb must not load any of it."""
    code = (
        "import sys, tenure, tenure.surfaces.cli.main as m, contextlib, io\n"
        "import tenure.surfaces.cli.serve\n"
        "with contextlib.redirect_stdout(io.StringIO()): m.main(['list', '--help'])\n"
        "bad = [n for n in ('fastapi', 'starlette', 'uvicorn', 'jinja2', 'pydantic',"
        " 'prometheus_client', 'asyncio') if n in sys.modules]\n"
        "assert not bad, bad"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
