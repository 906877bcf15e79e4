"""Whether this process serves the application that it has loaded.

An application object says nothing of what its process is for: a server loads it, and so do its
tests, a migration, ``flask shell``, a worker of a task queue, the parent of a reloader. Only one
that serves is to run its jobs. It serves where a server that is known has its thread, and where a
request came in, whichever server brought it; so an unknown server starts the jobs with its first
request. The main thread is looked at now and then: most servers load the application first.

A test serves nothing, whatever it sends: neither a test client's request counts, nor one of a
server that a test has started.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from itertools import chain, repeat
from types import FrameType
from typing import Any

from tenure.runtime.hosting import gevent_support, supervisors

LOOKS: tuple[float, ...] = (0.05, 0.1, 0.1, 0.25)
"""Seconds between the first looks."""
LOOK_EVERY = 0.5
"""Seconds between the later ones."""

log = logging.getLogger("tenure")

_ANY: frozenset[str] = frozenset()
_SERVERS: dict[str, frozenset[str]] = {
    "werkzeug/serving.py": frozenset({"serve_forever"}),
    "werkzeug/_reloader.py": frozenset({"run"}),  # the child's; its parent is in another function
    "django/utils/autoreload.py": frozenset({"start_django"}),  # the same
    "management/commands/runserver.py": frozenset({"inner_run"}),
    "waitress/server.py": frozenset({"run"}),
    "uvicorn/server.py": _ANY,
    "uvicorn/_subprocess.py": frozenset({"subprocess_started"}),
    "hypercorn/asyncio/run.py": _ANY,
    "hypercorn/trio/run.py": _ANY,
    "granian/server/mp.py": frozenset(
        f"_spawn_{kind}_worker" for kind in ("asgi", "asgi_lifespan", "rsgi", "wsgi")
    ),
    "daphne/server.py": frozenset({"run"}),
    "cheroot/server.py": frozenset({"serve"}),
    "gevent/baseserver.py": frozenset({"serve_forever"}),
    "eventlet/wsgi.py": frozenset({"server"}),
    "bjoern.py": frozenset({"run"}),
}
"""Functions in which the main thread of a process is that serves, by the end of their file."""
_GUNICORNS_WORKERS = os.path.join("gunicorn", "workers", "")
_SOCKETSERVER = "socketserver.py"
_TESTS = (
    os.path.join("_pytest", "main.py"),
    os.path.join("_pytest", "config", "__init__.py"),
    os.path.join("unittest", "main.py"),
    os.path.join("unittest", "runner.py"),
    os.path.join("unittest", "suite.py"),
    os.path.join("unittest", "case.py"),
    os.path.join("twisted", "trial", "runner.py"),
    os.path.join("behave", "runner.py"),
)
_TEST_CLIENTS: dict[str, frozenset[str]] = {
    "werkzeug/test.py": frozenset({"open"}),
    "starlette/testclient.py": _ANY,
    "litestar/testing/": _ANY,
    "django/test/client.py": _ANY,
    "asgi_lifespan/_manager.py": _ANY,
    "httpx/_transports/wsgi.py": _ANY,
    "httpx/_transports/asgi.py": _ANY,
    "webtest/app.py": _ANY,
}


class ServerDetector:
    """Calls ``start`` once, in the background, when this process is found to serve. Thread-safe.

    ``start`` is given to a thread, and must not raise.
    """

    def __init__(self, start: Callable[[], object]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._served = False

    def begin(self, after: float = 0.0) -> None:
        """Find out, beginning ``after`` that many seconds. Returns at once."""
        if after:
            gevent_support.call_later(after, self._find_out, name="tenure-serving")
            return
        why = why_not()
        if why is not None:
            log.info("not started in pid %s: %s", os.getpid(), why)
            supervisors.in_workers(self.begin)
        elif not self._is_found():
            gevent_support.call_later(LOOKS[0], self._find_out, name="tenure-serving")

    def notice_request(self) -> None:
        """A request came in, in this thread."""
        if not self._served and in_a_test() is None:
            self._found("a request")

    def noticing(self, application: Callable[..., Any]) -> Callable[..., Any]:
        """The WSGI application, whose requests are noticed."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.notice_request()
            return application(*args, **kwargs)

        return call

    def forget_in_child(self) -> None:
        """After a fork, in the child: a thread that is not here may hold its parent's lock."""
        self._lock = threading.Lock()

    def _find_out(self) -> None:
        for seconds in chain(LOOKS, repeat(LOOK_EVERY)):
            if self._served or why_not() is not None or self._is_found():
                return
            threading.Event().wait(seconds)

    def _is_found(self) -> bool:
        server = what_serves()
        if server is not None:
            self._found(server)
        return server is not None

    def _found(self, what: str) -> None:
        with self._lock:
            if self._served:
                return
            self._served = True
        log.debug("pid %s serves: %s", os.getpid(), what)
        gevent_support.call_later(0.0, self._start, name="tenure-join")


def why_not() -> str | None:
    """Why an application that is loaded here is not served here; None where that is open."""
    return in_a_test() or supervisors.why_not()


def in_a_test() -> str | None:
    """Why what is asked of the application here is a test."""
    runs_tests = any(f.f_code.co_filename.endswith(_TESTS) for f in supervisors.frames())
    if runs_tests or is_test_client():
        return "it is in a test: call start() where the test needs it"
    return None


def is_test_client() -> bool:
    """Whether this thread is that of a test client, which has called the application."""
    return any(_is_of(frame, _TEST_CLIENTS) for frame in supervisors.frames())


def what_serves() -> str | None:
    """The server that has the main thread, or this one; None if none that is known has."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is not None and uwsgi.worker_id() > 0:
        return "uWSGI"
    if hasattr(sys.modules.get("mod_wsgi"), "process_group"):  # only inside Apache
        return "mod_wsgi"
    return next((f.f_code.co_filename for f in supervisors.frames() if _serves(f)), None)


def _serves(frame: FrameType) -> bool:
    file, name = frame.f_code.co_filename, frame.f_code.co_name
    if _GUNICORNS_WORKERS in file:
        return True
    if name == "serve_forever" and file.endswith(_SOCKETSERVER):  # the standard library's
        return hasattr(frame.f_locals.get("self"), "get_app")
    return _is_of(frame, _SERVERS)


def _is_of(frame: FrameType, places: dict[str, frozenset[str]]) -> bool:
    file, name = frame.f_code.co_filename.replace(os.sep, "/"), frame.f_code.co_name
    return any(
        (not names or name in names)
        and (file.endswith(f"/{place}") or (place.endswith("/") and f"/{place}" in file))
        for place, names in places.items()
    )
