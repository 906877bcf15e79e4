"""Who only supervises is told by what its main thread does. Real servers: tests/integrations."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from tenure.runtime.hosting import supervisors


def inside(file: str, name: str) -> Callable[..., Any]:
    """A function of that name in that file, which calls what it is given."""
    made: dict[str, Any] = {}
    exec(compile(f"def {name}(self, call):\n    return call()\n", file, "exec"), made)
    function: Callable[..., Any] = made[name]
    return function


def why_in(file: str, name: str, itself: object = None) -> str | None:
    return inside(f"/srv/venv/lib/site-packages/{file}", name)(itself, supervisors.why_not)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("werkzeug/_reloader.py", "restart_with_reloader"),
        ("django/utils/autoreload.py", "restart_with_reloader"),
        ("uvicorn/supervisors/basereload.py", "run"),
        ("uvicorn/supervisors/multiprocess.py", "run"),
        ("multiprocessing/forkserver.py", "main"),
        ("celery/beat.py", "run"),
    ],
)
def test_a_parent_is_known(file: str, name: str) -> None:
    why = why_in(file, name)
    assert why is not None
    assert "join" in why


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("werkzeug/_reloader.py", "run_with_reloader"),
        ("django/utils/autoreload.py", "start_django"),
        ("uvicorn/_subprocess.py", "subprocess_started"),
        ("myapp/arbiter.py", "run"),
    ],
)
def test_a_process_that_serves_is_none(file: str, name: str) -> None:
    assert why_in(file, name) is None


def test_gunicorns_arbiter_is_told_from_its_workers() -> None:
    """In a worker the arbiter's frames are there too: they name the arbiter's pid."""
    for pid in (None, 0, os.getpid()):
        assert why_in("gunicorn/arbiter.py", "run", types.SimpleNamespace(pid=pid)) is not None
    worker = types.SimpleNamespace(pid=os.getppid())
    assert why_in("gunicorn/arbiter.py", "spawn_worker", worker) is None


@pytest.mark.parametrize(
    ("pool", "supervises"),
    [
        ("prefork", True),
        ("processes", True),
        (type("TaskPool", (), {"__module__": "celery.concurrency.prefork"}), True),
        (type("TaskPool", (), {"__module__": "celery.concurrency.thread"}), False),
        ("solo", False),
        ("threads", False),
    ],
)
def test_celerys_main_process_is_one_if_others_run_its_tasks(
    pool: object, supervises: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of the pool its frames are there too, below the process's own."""
    worker = types.SimpleNamespace(pool_cls=pool)
    here = types.SimpleNamespace(_parent_pid=None)
    billiard = types.SimpleNamespace(current_process=lambda: here)
    monkeypatch.setitem(sys.modules, "billiard.process", billiard)
    assert (why_in("celery/worker/worker.py", "start", worker) is not None) is supervises
    here._parent_pid = os.getppid()
    assert why_in("celery/worker/worker.py", "start", worker) is None


def test_what_the_fork_server_forked_is_none() -> None:
    file = "/usr/lib/python3.11/multiprocessing/forkserver.py"
    serve = inside(file, "_serve_one")
    main = inside(file, "main")
    assert main(None, supervisors.why_not) is not None
    assert main(None, lambda: serve(None, supervisors.why_not)) is None


class Uwsgi(types.ModuleType):
    """What uWSGI puts into the Python that it embeds."""

    def __init__(self, worker: int, master: int) -> None:
        super().__init__("uwsgi")
        self.worker_id = lambda: worker
        self.masterpid = lambda: master


def test_uwsgis_master_has_its_workers_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forks them without Python's knowledge."""
    called: list[str] = []
    uwsgi: Any = Uwsgi(worker=0, master=os.getpid())
    uwsgi.post_fork_hook = lambda: called.append("somebody else's")
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    assert supervisors.why_not() is not None
    supervisors.in_workers(lambda: called.append("ours"))
    uwsgi.post_fork_hook()
    assert called == ["somebody else's", "ours"]


@pytest.mark.parametrize(("worker", "master"), [(1, 4242), (0, 0), (0, 4242)])
def test_uwsgis_workers_and_mules_join(
    worker: int, master: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uwsgi: Any = Uwsgi(worker, master)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    assert supervisors.why_not() is None
    supervisors.in_workers(lambda: None)
    assert not hasattr(uwsgi, "post_fork_hook")
