"""What happens, as it happens: streams of a real server over a real store (C9)."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webkit import Web, World, now

from tenure.domain.ownership import OwnershipAction
from tenure.runtime.profile import Profile
from tenure.surfaces.web.live import all_profiles
from tenure.surfaces.web.live import hub as live
from tenure.surfaces.web.live.hub import Hub, Listener, Update
from tenure.surfaces.web.reports import mark_text
from tenure.surfaces.web.server import BackgroundServer, listen
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from waiting import DEADLINE, eventually

PATIENCE = DEADLINE


class Stream:
    """A stream that is read in a thread, event by event."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", path, headers=headers)
        self._sock = self._connection.sock
        self.response = self._connection.getresponse()
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["content-type"].startswith("text/event-stream")
        self.events: list[tuple[str, str | None, Any]] = []
        self._news = threading.Condition()
        self.over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for raw in self.response:
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    with self._news:
                        self.events.append((fields["event"], fields.get("id"), fields.get("data")))
                        self._news.notify_all()
                    fields = {}
                else:
                    fields = {}
        except (OSError, ValueError, AttributeError):
            pass
        with self._news:
            self.over = True
            self._news.notify_all()

    def wait(self, wanted: Callable[[str, Any], bool], what: str) -> tuple[str, str | None, Any]:
        """The first event of that kind, since the last that was waited for."""
        until = time.monotonic() + PATIENCE
        with self._news:
            while True:
                for number, (kind, id, data) in enumerate(self.events):
                    if wanted(kind, data):
                        del self.events[: number + 1]
                        return kind, id, data
                left = until - time.monotonic()
                assert left > 0, f"waited in vain for {what}; there were {self.events}"
                assert not self.over or self.events, f"the stream ended before {what}"
                self._news.wait(left)

    def event(self, kind: str) -> Any:
        """The data of the next event of a kind."""
        return json.loads(self.wait(lambda k, _: k == kind, kind)[2])

    def events_of(self, *kinds: str) -> list[Any]:
        """The data of the next event of each kind, in whichever order they come."""
        found: dict[str, Any] = {}
        while len(found) < len(kinds):
            kind, _, data = self.wait(lambda k, _: k in kinds and k not in found, f"one of {kinds}")
            found[kind] = json.loads(data)
        return [found[kind] for kind in kinds]

    def wait_over(self) -> None:
        until = time.monotonic() + PATIENCE
        with self._news:
            while not self.over:
                assert time.monotonic() < until, "waited in vain for the stream's end"
                self._news.wait(0.5)
        self.close()

    def close(self) -> None:
        """Also while its thread reads: a buffered file that is being read cannot be closed."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self.response.close()
        self._connection.close()
        self._sock.close()


class Served:
    """A site served on a free port of loopback."""

    def __init__(self, site: Site, world: World, tokens: Tokens) -> None:
        self.site, self.world, self.tokens = site, world, tokens
        sock = listen("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        self.beside = BackgroundServer(site, sock)
        self.beside.start()
        self.base = "/api/v1/profiles/default"

    @property
    def hub(self) -> Hub:
        server = self.beside._server
        assert server is not None
        hub: Hub = server._tenure_app.state.hub
        return hub

    def wait_looked(self, profile: str = "default") -> None:
        """Until the watcher's first look, that a stream begins with, has been told."""

        def looked() -> bool:
            room = self.hub._watchers.get(profile)
            return room is not None and room._latest is not None

        eventually(looked, f"the first look at {profile}")

    def wait_left(self) -> None:
        """The server notices at the next write that nobody listens."""

        def left() -> bool:
            watchers = [t for t in threading.enumerate() if t.name.startswith("tenure-web-")]
            if not watchers and not self.hub.listeners and not self.hub._watchers:
                return True
            for profile in list(self.hub._watchers):
                add_to(self.site.profile(profile), f"n{time.monotonic()}")
            return False

        eventually(left, "the end of the watchers, the rooms and the listeners")

    def stream(self, path: str, **headers: str) -> Stream:
        bearer = {"Authorization": f"Bearer {self.tokens.pair.full}", **headers}
        return Stream(self.port, path, bearer)

    def events(self, query: str = "", **headers: str) -> Stream:
        return self.stream(f"{self.base}/events{query}", Accept="text/event-stream", **headers)


@pytest.fixture
def served(web_home: Path, web_world: World) -> Iterator[Served]:
    tokens = Tokens.in_memory()
    made = Served(Site(web_home, tokens), web_world, tokens)
    yield made
    made.beside.stop()


def add(world: World, name: str = "job") -> str:
    return add_to(world.profile, name)


def add_to(profile: Profile, name: str) -> str:
    from testkit.factories import each, make_definition

    wants = make_definition(name, schedule=each(seconds=1))
    return profile.store.add_job(wants, by="test", now=now()).id


class TestEvents:
    def test_each_event_and_each_run(self, served: Served) -> None:
        stream = served.events()
        assert stream.event("owner")["state"] == "nobody"
        add(served.world)
        _, id, data = stream.wait(lambda k, _: k == "job_added", "job_added")
        event = json.loads(data)["event"]
        assert str(event["number"]) == id
        assert event["facts"]["name"] == "job"
        authority = served.world.owner()
        taken, owner = stream.events_of("ownership_taken", "owner")
        assert taken["event"]["term"] == 1
        assert owner["owner"]["process"] == "p-gateway"
        run = served.world.run_of(authority, "job")
        assert stream.event("run")["run"]["id"] == run.id
        stream.close()

    def test_an_event_right_after_the_response_began(self, served: Served) -> None:
        stream = served.events()
        add(served.world)
        stream.wait(lambda k, _: k == "job_added", "job_added")
        stream.close()

    def test_a_run_is_told_when_it_ends(self, served: Served) -> None:
        add(served.world)
        authority = served.world.owner()
        run = served.world.run_of(authority, "job", end=None)
        stream = served.events()
        stream.event("owner")
        from tenure.domain.run import RunState
        from testkit.factories import ended

        current = served.world.store.run(run.id)
        served.world.store.finish([ended(current, RunState.FAILED)], served.world.now())
        told = stream.event("run")["run"]
        assert (told["id"], told["state"]) == (run.id, "failed")
        stream.close()

    def test_from_where_one_left_off(self, served: Served) -> None:
        """Last-Event-ID: what was missed comes first, and nothing twice."""
        for name in "abc":
            add(served.world, name)
        seen = served.world.store.events(limit=100)
        first = seen[0].seq
        stream = served.events(**{"Last-Event-ID": str(first)})
        numbers: list[int] = []
        add(served.world, "d")

        def last(kind: str, data: Any) -> bool:
            if kind in ("owner", "changed", "run", "reload"):
                return False
            event = json.loads(data)["event"]
            if event["number"] not in numbers:
                numbers.append(event["number"])
            return event["facts"].get("name") == "d"

        stream.wait(last, "the job d")
        told = [event.seq for event in served.world.store.events(after=first, limit=100)]
        assert numbers == told[: len(numbers)]
        stream.close()

    def test_after(self, served: Served) -> None:
        add(served.world, "a")
        stream = served.events("?after=0")
        assert stream.event("job_added")["event"]["facts"]["name"] == "a"
        stream.close()

    def test_the_owners_death_shows_where_nothing_is_written(self, served: Served) -> None:
        """The kernel is asked, not the store: kill -9 shows at the next look."""
        served.world.owner()
        stream = served.events()
        assert stream.event("owner")["state"] == "owned"
        served.world.die("p-gateway")
        assert stream.event("owner")["state"] == "dead"
        stream.close()

    def test_it_ends_with_the_server(self, served: Served) -> None:
        stream = served.events()
        stream.event("owner")
        served.beside.stop()
        stream.wait_over()

    def test_the_watcher_ends_with_its_last_listener(self, served: Served) -> None:
        stream = served.events()
        stream.event("owner")
        assert any(t.name == "tenure-web-default" for t in threading.enumerate())
        stream.close()
        served.wait_left()


class TestPages:
    def test_a_page_learns_what_changed(self, served: Served) -> None:
        mark = mark_text(served.site.profile("default").store.mark(), "nobody")
        stream = served.stream(f"/p/default/live?mark={mark}")
        add(served.world)
        # Where it came before the stream did, the stream begins with everything.
        first = stream.wait(lambda k, _: k == "changed", "changed")[2]
        assert first in ("jobs", "jobs runs owner requests")
        add(served.world, "second")
        assert stream.wait(lambda k, _: k == "changed", "changed")[2] == "jobs"
        stream.close()

    def test_a_page_that_is_behind_reloads(self, served: Served) -> None:
        stream = served.stream("/p/default/live?mark=0.0.0")
        everything = stream.wait(lambda k, _: k == "changed", "changed")
        assert everything[2] == "jobs runs owner requests"
        again = served.stream("/p/default/live", **{"Last-Event-ID": "0.0.0"})
        again.wait(lambda k, _: k == "changed", "changed")
        stream.close()
        again.close()

    def test_an_owner_that_died_before_the_stream_began(self, served: Served) -> None:
        """It leaves nothing in the store: the page's mark says how it stood."""
        add(served.world)
        served.world.owner()
        mark = mark_text(served.site.profile("default").store.mark(), "owned")
        served.world.die("p-gateway")
        stream = served.stream(f"/p/default/live?mark={mark}")
        assert stream.event("owner")["state"] == "dead"
        stream.close()

    def test_a_profile_that_cannot_be_read_any_more(self, served: Served) -> None:
        add(served.world)
        mark = mark_text(served.site.profile("default").store.mark(), "nobody")
        stream = served.stream(f"/p/default/live?mark={mark}")
        add(served.world, "second")
        stream.wait(lambda k, _: k == "changed", "changed")
        folder = served.world.profile.folder.path
        folder.rename(folder.with_name("elsewhere"))
        assert stream.wait(lambda k, _: k == "changed", "changed")[2].count(" ") == 3
        folder.with_name("elsewhere").rename(folder)
        assert stream.wait(lambda k, _: k == "changed", "changed")[2].count(" ") == 3
        stream.close()


class TestLockedOut:
    @pytest.mark.parametrize(
        "path", ["/live", "/p/default/live", "/api/v1/profiles/default/events"]
    )
    def test_a_stream_ends_with_its_token(
        self, web_home: Path, web_world: World, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        from tenure.surfaces.web import guard

        monkeypatch.setattr(guard, "TOKEN_CHECK_INTERVAL_S", 0.0)
        tokens = Tokens.of_home(web_home)
        served = Served(Site(web_home, tokens), web_world, tokens)
        try:
            stream = served.stream(path, Accept="text/event-stream")
            greeting = "owner" if path.startswith("/api/") else "changed"
            stream.wait(lambda k, _: k == greeting, "the greeting")
            add(web_world)
            stream.wait(lambda k, _: k == "changed", "the first news")
            Tokens.of_home(web_home, renew=True)
            add(web_world, "told-to-nobody")
            stream.wait_over()
            assert "told-to-nobody" not in str(stream.events)
        finally:
            served.beside.stop()


class TestProfiles:
    """One stream for the page of all of them."""

    def mark(self, served: Served, *names: str) -> str:
        from tenure.surfaces.web.live.all_profiles import mark_of_all

        opened = served.site.profile
        return mark_of_all({name: mark_text(opened(name).store.mark(), "nobody") for name in names})

    def other(self, served: Served, name: str = "other") -> World:
        return World(Profile.open(name, home=served.site.home, create=True, now=now()))

    def test_each_is_told_of(self, served: Served) -> None:
        other = self.other(served)
        stream = served.stream(f"/live?mark={self.mark(served, 'default', 'other')}")
        for world in (served.world, other, served.world):
            add(world, f"job-{world.now().timestamp()}")
            assert stream.wait(lambda k, _: k == "changed", "changed")[2] == "profiles"
        stream.close()
        other.profile.close()

    def test_an_owners_death_and_a_profile_that_is_made(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(all_profiles, "CHANGED_INTERVAL_S", 3600.0)
        monkeypatch.setattr(all_profiles, "FIRST_UPDATES_TIMEOUT_S", PATIENCE)
        add(served.world)
        served.world.owner()
        stream = served.stream("/live?mark=old")
        stream.wait(lambda k, _: k == "changed", "the greeting")
        served.world.die("p-gateway")
        stream.wait(lambda k, _: k == "changed", "the owner's death")
        monkeypatch.undo()
        other = self.other(served)
        stream.wait(lambda k, _: k == "changed", "the new profile")
        add(other)
        stream.wait(lambda k, _: k == "changed", "its first job")
        stream.close()
        other.profile.close()

    def test_it_is_one_listener_and_leaves_no_watcher(self, served: Served) -> None:
        other = self.other(served)
        stream = served.stream("/live")
        stream.wait(lambda k, _: k == "changed", "the greeting")
        hub = served.hub
        assert (hub.listeners, sorted(hub._watchers)) == (1, ["default", "other"])
        stream.close()
        served.wait_left()
        other.profile.close()

    def test_to_ask_for_its_head_alone_opens_none(self, served: Served) -> None:
        bearer = {"Authorization": f"Bearer {served.tokens.pair.full}"}
        for path in ("/live", "/p/default/live"):
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
            connection.request("HEAD", path, headers=bearer)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            connection.close()
        eventually(lambda: not served.hub.listeners, "the streams' end")

    def test_it_ends_with_the_server(self, served: Served) -> None:
        stream = served.stream("/live")
        stream.wait(lambda k, _: k == "changed", "the greeting")
        served.beside.stop()
        stream.wait_over()

    @pytest.mark.parametrize(("path", "told"), [("/", "profiles"), ("/p/default/", "jobs")])
    def test_pages_begin_where_their_stream_does(
        self, served: Served, path: str, told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing has changed since the page was made, so nothing is read again."""
        import re

        monkeypatch.setattr(all_profiles, "FIRST_UPDATES_TIMEOUT_S", PATIENCE)
        add(served.world)
        bearer = {"Authorization": f"Bearer {served.tokens.pair.full}"}
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        connection.request("GET", path, headers=bearer)
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(r'data-connect="([^"]+)"', text)
        assert found is not None
        stream = served.stream(found[1])
        served.wait_looked()  # a job that is added before is in the stream's beginning
        add(served.world, "after")
        _, id, data = stream.wait(lambda k, _: k == "changed", "changed")
        assert data == told, "more was told than had changed"
        if path == "/":
            assert id == self.mark(served, "default"), "it was told before anything had changed"
        stream.close()


class TestOutput:
    def test_it_is_followed_to_the_end(self, served: Served) -> None:
        from testkit.factories import ended

        add(served.world)
        authority = served.world.owner()
        run = served.world.run_of(authority, "job", end=None, output="one\n")
        stream = served.stream(f"{served.base}/runs/{run.id}/output?follow=1")
        assert stream.event("output")["text"] == "one\n"
        log = served.world.profile.folder.logs / run.id / "1.log"
        with open(log, "ab") as file:
            file.write("zwö".encode()[:3])
        _, id, data = stream.wait(lambda k, _: k == "output", "output")
        assert (id, json.loads(data)["text"]) == ("6", "zw"), "a part of a character is not counted"
        with open(log, "ab") as file:
            file.write("zwö".encode()[3:])
        assert stream.event("output")["text"] == "ö"
        served.world.store.finish([ended(served.world.store.run(run.id))], served.world.now())
        assert stream.event("end")["state"] == "succeeded"
        stream.wait_over()

    def test_from_an_offset(self, served: Served) -> None:
        add(served.world)
        authority = served.world.owner()
        run = served.world.run_of(authority, "job", output="0123456789")
        path = f"{served.base}/runs/{run.id}/output?follow=1"
        stream = served.stream(path, **{"Last-Event-ID": "7"})
        assert stream.event("output")["text"] == "789"
        stream.wait_over()

    def test_an_offset_in_the_address_until_there_is_an_id(self, served: Served) -> None:
        """As a page does: it carries the first part itself, and follows from there."""
        add(served.world)
        run = served.world.run_of(served.world.owner(), "job", output="0123456789")
        path = f"{served.base}/runs/{run.id}/output?follow=1&attempt=1&offset=4"
        stream = served.stream(path)
        assert stream.wait(lambda k, _: k == "output", "output") == (
            "output", "10", '{"v":1,"offset":10,"text":"456789"}',
        )  # fmt: skip
        stream.wait_over()
        again = served.stream(path, **{"Last-Event-ID": "8"})
        assert again.event("output")["text"] == "89"
        again.wait_over()
        ended = served.stream(path, **{"Last-Event-ID": "10"})
        ended.wait_over()
        assert [kind for kind, _, _ in ended.events] == ["end"]

    def test_what_was_dropped_meanwhile_is_told(self, served: Served) -> None:
        from tenure.runtime.output import OutputCap

        add(served.world)
        run = served.world.run_of(served.world.owner(), "job", end=None, output="a" * 50)
        log = served.world.profile.folder.logs / run.id / "1.log"
        stream = served.stream(f"{served.base}/runs/{run.id}/output?follow=1&offset=20")
        assert stream.event("output")["text"] == "a" * 30
        stream.close()
        for letter in "bc":  # at offsets 50 and 150; the cap keeps the last 100 bytes at least
            with open(log, "a", encoding="utf-8") as file:
                file.write(letter * 100)
            assert OutputCap(log, 80).check()
        again = served.stream(
            f"{served.base}/runs/{run.id}/output?follow=1&offset=20", **{"Last-Event-ID": "50"}
        )
        told = again.event("output")
        assert "of this output were dropped" in told["text"]
        rest = again.event("output")
        assert rest["text"] == "c" * (rest["offset"] - told["offset"])
        assert rest["offset"] == 250
        again.close()

    def test_each_attempt_in_turn_also_after_a_break(self, served: Served) -> None:
        """An id of the first attempt goes on there, though the third one has begun."""
        from dataclasses import replace

        from tenure.surfaces.web.live import output_tail

        add(served.world)
        run = served.world.run_of(served.world.owner(), "job", output="first")
        folder = served.world.profile.folder.logs / run.id
        (folder / "2.log").write_text("second")
        (folder / "3.log").write_text("third")
        run = replace(run, attempt=3)
        base = served.site.profile("default")

        class Store:
            def run(self, id: str) -> Any:
                return run

        class Shown:
            folder, name, store = base.folder, base.name, Store()

        async def told() -> list[bytes]:
            hub = Hub(served.site)
            hub.start()
            log = output_tail.Tail(profile=Shown(), run=run.id, attempt=1, offset=3)  # type: ignore[arg-type]
            found = [chunk async for chunk in output_tail.tail_stream(hub, log)]
            hub.close()
            return found

        parts = b"".join(asyncio.run(told())).decode().split("\n\n")[1:-1]
        heads = [part.split("\n")[:2] for part in parts]
        assert [*heads[0], *heads[1]] == ["id: 5", "event: output", "id: 2-0", "event: attempt"]
        texts = [json.loads(part.partition("data: ")[2]).get("text") for part in parts]
        assert [text for text in texts if text] == ["st", "second", "third"]
        assert heads[4][0] == "id: 3-5"
        assert output_tail.of_event_id("3-5") == (3, 5)
        assert output_tail.of_event_id("7") == (None, 7)
        for none in ("", "x", "-1", "0-1", "1-", "9" * 16, "\u0661"):
            assert output_tail.of_event_id(none) is None


class TestHub:
    """On an event loop of the test's, without a network."""

    def test_a_slow_listener_is_told_to_reload(self) -> None:
        async def slow() -> list[object]:
            listener = Listener()
            for i in range(live.QUEUE_SIZE * 3 + 1):
                listener.tell(Update(mark=str(i), owner=b""))
            listener.tell(None)
            return [update async for update in listener.updates()]

        found = asyncio.run(slow())
        assert isinstance(found[0], bytes)
        assert b"event: reload" in found[0]
        assert len(found) < live.QUEUE_SIZE

    def test_too_many_listeners(self, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "MAX_STREAMS", 0)
        found = web.problem("GET", "/events", 503, headers={"Accept": "text/event-stream"})
        assert found["code"] == "too_many_listeners"
        browser = web.browser()
        for path in ("/p/default/live", "/live"):
            assert browser.get(path).status_code == 503

    def test_a_closed_hub_ends_at_once(self, web: Web) -> None:
        async def listen_to(hub: Hub) -> list[bytes]:
            hub.start()
            hub.close()
            return [chunk async for chunk in hub.stream("default")]

        assert asyncio.run(listen_to(Hub(web.site))) == [b"retry: 1000\n\n"]


def test_a_takeover_is_measured(served: Served) -> None:
    """Without a living owner until the next term began."""
    from tenure.surfaces.web.live.changes import ChangePoller

    world = served.world
    authority = world.owner()
    looker = ChangePoller(served.site.profile("default"), served.site.clock)
    try:
        world.store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="x", now=world.now())
        assert looker.look().takeover is None
        world.own("p-gateway")
        news = looker.look()
        assert news.takeover is not None
        assert 0 <= news.takeover < PATIENCE
        world.join("p-next")
        world.die("p-gateway")
        dead = looker.look()
        assert dead.owner is not None
        assert dead.owner["state"] == "dead"
        world.take_from_dead("p-next")
        taken = looker.look()
        assert taken.takeover is not None
        assert 0 <= taken.takeover < PATIENCE
    finally:
        looker.close()


class TestLooking:
    """What is read in steps is told once each, whatever happens between the steps."""

    def test_an_end_between_two_reads_is_not_lost(
        self, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tenure.surfaces.web.live.changes import ChangePoller
        from testkit.factories import ended

        add(web.world)
        authority = web.world.owner()
        looker = ChangePoller(web.site.profile("default"), web.site.clock)
        try:
            run = web.world.run_of(authority, "job", end=None)
            read = looker._store.runs

            def late(*a: Any, **k: Any) -> Any:
                monkeypatch.undo()
                web.store.finish([ended(web.store.run(run.id))], web.world.now())
                return read(*a, **k)

            monkeypatch.setattr(looker._store, "runs", late)
            first = [str(r.state) for r in looker.look().runs]
            second = [str(r.state) for r in looker.look().runs]
        finally:
            looker.close()
        assert (first, second) == (["running"], ["succeeded"])

    def test_a_claim_between_two_reads_is_told_once(
        self, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tenure.surfaces.web.live.changes import ChangePoller

        add(web.world)
        add(web.world, "other")
        authority = web.world.owner()
        looker = ChangePoller(web.site.profile("default"), web.site.clock)
        try:
            run = web.world.run_of(authority, "job", end=None)
            read = looker._store.runs
            more: list[str] = []

            def late(*a: Any, **k: Any) -> Any:
                monkeypatch.undo()
                more.append(web.world.run_of(authority, "other", end=None).id)
                return read(*a, **k)

            monkeypatch.setattr(looker._store, "runs", late)
            told = [r.id for r in looker.look().runs] + [r.id for r in looker.look().runs]
        finally:
            looker.close()
        assert told == [run.id, *more]

    def test_a_store_that_was_set_back(self, web: Web) -> None:
        """After a restore its numbers are smaller: nothing is told, and nothing breaks."""
        from dataclasses import replace

        from tenure.surfaces.web.live.changes import ChangePoller

        add(web.world)
        looker = ChangePoller(web.site.profile("default"), web.site.clock)
        try:
            looker.mark = replace(looker.mark, event=10**6, run=10**6)
            add(web.world, "other")
            looker.look()
            add(web.world, "third")
            assert [e.facts["name"] for e in looker.look().events] == ["third"]
        finally:
            looker.close()
