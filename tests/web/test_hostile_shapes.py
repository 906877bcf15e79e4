"""Bytes that two programs could read differently, at a real dashboard: one answer, or none."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from test_web_server import PATIENCE, Dashboard, read_all, talk
from webkit import now

from tenure.runtime.profile import Profile

pytestmark = pytest.mark.real
SMUGGLED = b"DELETE /api/v1/profiles/default/jobs/job HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """One for all: none of these may bring it down. It has nothing to say about any of them."""
    home = tmp_path_factory.mktemp("shapes") / "home"
    Profile.open("default", home=home, create=True, now=now()).close()
    started = Dashboard(home)
    yield started
    assert started.end(signal.SIGTERM) == (0, "")


def answers(data: bytes) -> list[int]:
    """The status of each answer in what came back."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def asked(dashboard: Dashboard, head: bytes, body: bytes = b"", close: bool = True) -> list[int]:
    ending = b"Connection: close\r\n" if close else b""
    head = head.replace(b"TOKEN", dashboard.token.encode())
    return answers(talk(dashboard.port, head + ending + b"\r\n" + body))


POST = (
    b"POST /api/v1/schedules/preview HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Authorization: Bearer TOKEN\r\nContent-Type: application/json\r\n"
)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost.", b"127.0.0.1.", b"127.1", b"2130706433", b"0x7f000001", b"0177.0.0.1",
        b"[::1%25lo]", b"[::1]x", b"::1", b"[::1]:", b"127.0.0.1, evil.example", b"127.0.0.1 ",
        b"evil.example\x00127.0.0.1", b"\xe2\x93\x9bocalhost", b"localhost\xff", b"xn--n3h.example",
        b"127.0.0.1:8787:8787", b"http://127.0.0.1", b"user@127.0.0.1", b"localhost/", b"*",
        b"[::]",
    ],
)  # fmt: skip
def test_hosts_that_only_look_like_ours(shared: Dashboard, host: bytes) -> None:
    """A resolver may take some of them for loopback: that is no reason to."""
    found = asked(shared, b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n")
    allowed = [200] if host == b"127.0.0.1 " else [400], [421]  # spaces around it are no part of it
    assert found in allowed, found


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 2 2\r\n",
        b"Content-Length : 2\r\n",
        b"Content-Length: 2\r\n Content-Length: 3\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding\x00: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Host: 127.0.0.1\r\n",
        b"Host: evil.example\r\n",
    ],
)
def test_lengths_that_can_be_read_in_two_ways(shared: Dashboard, headers: bytes) -> None:
    """Refused, and the connection is closed: what follows is not taken for a request."""
    found = asked(shared, POST + headers, b"{}" + SMUGGLED + SMUGGLED, close=False)
    assert found in ([400], [501], [411]), found


def test_a_length_beside_chunks(shared: Dashboard) -> None:
    """By RFC 9112 the chunks count; what follows them is not carried out as somebody's."""
    body = b"2\r\n{}\r\n0\r\n\r\n"
    headers = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    found = asked(shared, POST + headers, body + SMUGGLED)
    assert found in ([400], [422]), found


@pytest.mark.parametrize(
    "body",
    [
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2 \t2\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffffffffff\r\n{}",
        b"2\r\n{}xx0\r\n\r\n",
        b"\r\n\r\n",
        b"2;" + b"a" * 70_000 + b"\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_are_none(shared: Dashboard, body: bytes) -> None:
    found = asked(shared, POST + b"Transfer-Encoding: chunked\r\n", body + SMUGGLED)
    assert found in ([400], [413], [422], []), found
    assert asked(shared, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n") == [200]


def test_chunks_without_an_end(shared: Dashboard) -> None:
    """As fast as they are taken: more than a body may have is thrown away, and soon cut off."""
    head = POST.replace(b"TOKEN", shared.token.encode()) + b"Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", shared.port), timeout=PATIENCE) as sock:
        sock.sendall(head)
        cut = threading.Event()

        def send() -> None:
            part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            until = time.monotonic() + PATIENCE
            try:
                while time.monotonic() < until:
                    sock.sendall(part)
            except OSError:
                cut.set()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        found = answers(read_all(sock))
        sender.join(PATIENCE * 2)
    assert found in ([413], []), found  # none where the answer was lost in what still came
    assert cut.is_set(), "it was listened to for ever"
    assert asked(shared, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n") == [200]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /p/default/%00 HTTP/1.1", b"GET /p/default/jobs/..%2f..%2fweb.json HTTP/1.1",
        b"GET /p/..%2f..%2fetc%2fpasswd/jobs HTTP/1.1", b"GET //evil.example/ HTTP/1.1",
        b"GET /p/default/..;/..;/web.json HTTP/1.1", b"GET \\..\\web.json HTTP/1.1",
        b"GET /%ff%fe HTTP/1.1", b"GET ?token=x HTTP/1.1", b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example:80 HTTP/1.1", b"TRACE / HTTP/1.1", b"GET /#x HTTP/1.1",
        b"get /healthz HTTP/1.1", b"GET /p/default/?a=%00 HTTP/1.1", b"GET /\xe2\x80\xae HTTP/1.1",
    ],
)  # fmt: skip
def test_lines_that_lead_nowhere(shared: Dashboard, line: bytes) -> None:
    data = line + b"\r\nHost: 127.0.0.1\r\nX-Mine: secret\r\nAuthorization: Bearer TOKEN\r\n"
    raw = data.replace(b"TOKEN", shared.token.encode()) + b"Connection: close\r\n\r\n"
    answer = talk(shared.port, raw)
    (status,) = answers(answer)
    assert status in (200, 303, 400, 401, 404, 405, 422), answer[:300]
    for secret in (b"X-Mine", b"root:", b'"tokens"', shared.token.encode()):
        assert secret not in answer


@pytest.mark.parametrize("path", [b"/", b"/live", b"/p/default/live", b"/api/v1/profiles"])
def test_upgrades_are_not_taken(shared: Dashboard, path: bytes) -> None:
    """To a websocket, nor to HTTP/2 in the clear (by which proxies' rules were gone around)."""
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    for more in (
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key,
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    ):
        head = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more
        assert asked(shared, head) == [401], path


def test_two_requests_at_once_get_two_answers(shared: Dashboard) -> None:
    """Each by its own rights: what the first one was allowed says nothing of the second."""
    first = (
        b"GET /api/v1/profiles HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer TOKEN\r\n\r\n"
    )
    second = b"GET /api/v1/profiles HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert asked(shared, first + second) == [200, 401]
