"""Whether this process serves the application that it has loaded.

An application object does not show what its process is for: a server loads it, and so do tests, a
migration, ``flask shell``, a worker of a task queue, the parent of a reloader. Only a process that
serves should run its jobs. It serves where a known server runs in its main thread, and where a
request came in through any server; so an unknown server starts the jobs with its first request.
The main thread is checked repeatedly: most servers load the application before they serve.

A test never serves: a test client's request does not count, nor one to a server started by a test.
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

FIRST_LOOKS_S: tuple[float, ...] = (0.05, 0.1, 0.1, 0.25)
"""Delays between the first checks."""
LOOK_EVERY_S = 0.5
"""Delay between later checks."""

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
"""Functions that the main thread of a serving process is in, by the end of their file's path."""
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
    """Calls ``start`` once, in the background, when this process proves to serve. Thread-safe.

    ``start`` runs in a thread and must not raise.
    """

    def __init__(self, start: Callable[[], object]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._served = False

    def begin(self, after: float = 0.0) -> None:
        """Start to check, ``after`` this many seconds. Returns at once."""
        if after:
            gevent_support.call_later(after, self._find_out, name="tenure-serving")
            return
        why = why_not()
        if why is not None:
            log.info("not started in pid %s: %s", os.getpid(), why)
            supervisors.in_workers(self.begin)
        elif not self._is_found():
            gevent_support.call_later(FIRST_LOOKS_S[0], self._find_out, name="tenure-serving")

    def notice_request(self) -> None:
        """A request has arrived, in this thread."""
        if not self._served and in_a_test() is None:
            self._found("a request")

    def noticing(self, application: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps the WSGI application so that its requests are noticed."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.notice_request()
            return application(*args, **kwargs)

        return call

    def forget_in_child(self) -> None:
        """After a fork, in the child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _find_out(self) -> None:
        for seconds in chain(FIRST_LOOKS_S, repeat(LOOK_EVERY_S)):
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
    """Why an application loaded here is not served here; None where that is undecided."""
    return in_a_test() or supervisors.why_not()


def in_a_test() -> str | None:
    """Why requests to the application here are a test's; None if they are not."""
    runs_tests = any(f.f_code.co_filename.endswith(_TESTS) for f in supervisors.frames())
    if runs_tests or is_test_client():
        return "it is in a test: call start() where the test needs it"
    return None


def is_test_client() -> bool:
    """Whether a test client called the application in this thread."""
    return any(_is_of(frame, _TEST_CLIENTS) for frame in supervisors.frames())


def what_serves() -> str | None:
    """The known server that runs in the main thread or this one; None without one."""
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
