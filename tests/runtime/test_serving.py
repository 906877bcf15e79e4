"""What serves shows in what the main thread does, and in requests. Real servers and programs
that only import: tests/integrations/test_not_serving.py and test_serving_hosts.py."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tenure.runtime.hosting import gevent_support, supervisors
from tenure.runtime.hosting import servers as serving
from waiting import eventually


def inside(file: str, name: str) -> Callable[..., Any]:
    """A function of that name in that file, which calls what it is given."""
    made: dict[str, Any] = {}
    path = f"/srv/venv/lib/site-packages/{file}"
    exec(compile(f"def {name}(self, call):\n    return call()\n", path, "exec"), made)
    function: Callable[..., Any] = made[name]
    return function


@pytest.fixture
def not_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program of which no test runner is a part."""
    monkeypatch.setattr(serving, "_TESTS", ("no test runner",))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("werkzeug/serving.py", "serve_forever"),
        ("werkzeug/_reloader.py", "run"),
        ("django/utils/autoreload.py", "start_django"),
        ("django/core/management/commands/runserver.py", "inner_run"),
        ("daphne/management/commands/runserver.py", "inner_run"),
        ("waitress/server.py", "run"),
        ("gunicorn/workers/sync.py", "run_for_one"),
        ("gunicorn/workers/base.py", "init_process"),
        ("uvicorn/server.py", "_serve"),
        ("uvicorn/_subprocess.py", "subprocess_started"),
        ("hypercorn/asyncio/run.py", "asyncio_worker"),
        ("hypercorn/trio/run.py", "trio_worker"),
        ("granian/server/mp.py", "_spawn_wsgi_worker"),
        ("daphne/server.py", "run"),
        ("cheroot/server.py", "serve"),
        ("gevent/baseserver.py", "serve_forever"),
        ("eventlet/wsgi.py", "server"),
    ],
)
def test_a_server_is_known(file: str, name: str) -> None:
    assert inside(file, name)(None, serving.what_serves) is not None


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("werkzeug/serving.py", "run_simple"),
        ("werkzeug/_reloader.py", "restart_with_reloader"),
        ("granian/server/mp.py", "_spawn_worker"),
        ("waitress/runner.py", "run"),
        ("hypercorn/run.py", "run"),
        ("celery/worker/worker.py", "start"),
        ("rq/worker.py", "work"),
        ("alembic/script/base.py", "run_env"),
        ("flask/cli.py", "shell_command"),
        ("myapp/waitress/client.py", "run"),
    ],
)
def test_what_loads_an_application_and_does_not_serve_it_is_not_taken_for_a_server(
    file: str, name: str
) -> None:
    assert inside(file, name)(None, serving.what_serves) is None


def test_the_standard_librarys_server_serves_if_it_has_an_application() -> None:
    serve = inside("../python3.13/socketserver.py", "serve_forever")
    assert serve(types.SimpleNamespace(get_app=None), serving.what_serves) is not None
    assert serve(types.SimpleNamespace(), serving.what_serves) is None, "a socket server of theirs"


@pytest.mark.parametrize(
    ("config", "supervises"),
    [({"workers": 4}, True), ({"workers": 1}, True), ({"workers": 0}, False)],
)
def test_hypercorns_main_process_leaves_the_jobs_to_its_workers(
    config: dict[str, int], supervises: bool
) -> None:
    """With --reload it loads the application, to know its files; the old code stays in it."""
    made: dict[str, Any] = {}
    path = "/srv/venv/lib/site-packages/hypercorn/run.py"
    exec(compile("def run(config, call):\n    return call()\n", path, "exec"), made)
    why = made["run"](types.SimpleNamespace(**config), supervisors.why_not)
    assert (why is not None) is supervises


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("_pytest/main.py", "wrap_session"),
        ("unittest/suite.py", "run"),
        ("werkzeug/test.py", "open"),
        ("starlette/testclient.py", "lifespan"),
        ("litestar/testing/client/sync_client.py", "__enter__"),
        ("httpx/_transports/wsgi.py", "handle_request"),
    ],
)
def test_a_test_runner_and_a_test_client_are_known(
    file: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tuple(ending for ending in serving._TESTS if file.endswith(ending))
    monkeypatch.setattr(serving, "_TESTS", tests or ("no test runner",))
    if not tests or not ending_of_this_run(tests):
        assert serving.in_a_test() is None
    assert "test" in inside(file, name)(None, serving.in_a_test)


def ending_of_this_run(endings: tuple[str, ...]) -> bool:
    return any(f.f_code.co_filename.endswith(endings) for f in supervisors.frames())


@pytest.fixture
def started() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(60)


def test_a_test_starts_neither_the_instance_nor_a_thread() -> None:
    calls: list[int] = []
    once = serving.ServerDetector(lambda: calls.append(1))
    before = threading.active_count()
    once.begin()
    once.notice_request()
    assert threading.active_count() == before
    assert calls == []


@pytest.mark.usefixtures("not_a_test")
def test_a_server_that_is_known_starts_it_at_once_and_only_once() -> None:
    calls: list[int] = []
    once = serving.ServerDetector(lambda: calls.append(1))
    serve = inside("waitress/server.py", "run")
    serve(None, once.begin)
    serve(None, once.begin)
    eventually(lambda: calls, "the start")
    assert calls == [1]


@pytest.mark.usefixtures("not_a_test")
def test_a_server_that_shows_only_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    serves = threading.Event()
    looked = threading.Semaphore(0)

    def what_serves() -> str | None:
        looked.release()
        return "a server" if serves.is_set() else None

    monkeypatch.setattr(serving, "what_serves", what_serves)
    once = serving.ServerDetector(lambda: calls.append(1))
    once.begin()
    for _ in range(3):
        assert looked.acquire(timeout=60)
    assert calls == []
    serves.set()
    eventually(lambda: calls, "the start")


@pytest.mark.usefixtures("not_a_test")
def test_a_request_of_an_unknown_server_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    once = serving.ServerDetector(lambda: calls.append(1))
    application = once.noticing(lambda environ, start_response: ["hello"])
    inside("werkzeug/test.py", "open")(None, lambda: application({}, None))
    assert not once._served, "a test client's"
    assert application({}, None) == ["hello"]
    assert application({}, None) == ["hello"]
    eventually(lambda: calls, "the start")
    assert calls == [1]


@pytest.mark.usefixtures("not_a_test")
def test_a_process_that_turns_out_to_supervise_is_not_looked_at_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why: list[str | None] = [None]
    monkeypatch.setattr(supervisors, "why_not", lambda: why[0])
    monkeypatch.setattr(serving, "what_serves", lambda: None)
    serving.ServerDetector(lambda: None).begin()
    named = lambda: [t for t in threading.enumerate() if t.name == "tenure-serving"]  # noqa: E731
    assert named()
    why[0] = "it is the parent of a reloader"
    eventually(lambda: not named(), "the thread to end")


def test_eventlets_patching_is_awaited_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn patches a preloaded worker only after the fork: a thread that was started before
    would wait for ever."""
    import sys

    patched: list[str] = []
    later: list[tuple[float, Callable[[], object]]] = []
    eventlet: Any = types.ModuleType("eventlet")
    eventlet.monkey_patch = original = lambda **which: patched.append("thread")
    eventlet.spawn_after = lambda seconds, then: later.append((seconds, then))
    patcher: Any = types.ModuleType("eventlet.patcher")
    patcher.is_monkey_patched = lambda name: name in patched
    for name, module in {
        "eventlet": eventlet,
        "eventlet.patcher": patcher,
        "gunicorn.workers.geventlet": types.ModuleType("geventlet"),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    calls: list[int] = []
    before = threading.active_count()
    gevent_support.call_later(0.2, lambda: calls.append(1), name="tenure-join")
    assert (later, threading.active_count()) == ([], before)
    eventlet.monkey_patch(all=True)
    assert eventlet.monkey_patch is original
    [(seconds, then)] = later
    assert seconds == 0.2
    then()
    assert calls == [1]
