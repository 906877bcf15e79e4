"""Processes that only supervise others: they load the app, and must not run its jobs.

gunicorn's arbiter, with ``--preload``, imports the app and then forks its workers, as uWSGI's
master does. A reloader's parent imports it and then starts the child that serves. uvicorn's parent,
started by ``uvicorn.run``, was the app's main program. Celery's main process passes the tasks to
the processes of its prefork pool. None of them serves, and their code gets outdated while they
start new children. Environment and arguments of supervisor and child are alike; only what the main
thread is doing distinguishes them. Some show it only after the app was loaded, so callers check
again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tenure.runtime.hosting import gevent_support

_ARBITER = os.path.join("gunicorn", "arbiter.py")
_WHILE_IN = {
    (os.path.join("werkzeug", "_reloader.py"), "restart_with_reloader"): "a reloader",
    (os.path.join("django", "utils", "autoreload.py"), "restart_with_reloader"): "a reloader",
    (os.path.join("uvicorn", "supervisors", "basereload.py"), "run"): "a reloader",
    (os.path.join("uvicorn", "supervisors", "multiprocess.py"), "run"): "uvicorn's workers",
    (os.path.join("sanic", "worker", "manager.py"), "run"): "Sanic's workers",
    (os.path.join("litestar", "cli", "commands", "core.py"), "_run_uvicorn_in_subprocess"): (
        "uvicorn's workers"
    ),
    (os.path.join("watchfiles", "run.py"), "run_process"): "a reloader",
}
_HYPERCORN = os.path.join("hypercorn", "run.py")
_CELERY = os.path.join("celery", "worker", "worker.py")
_CELERYS_BEAT = os.path.join("celery", "beat.py")
_FORKSERVER = os.path.join("multiprocessing", "forkserver.py")


def why_not() -> str | None:
    """Why this process should leave the jobs to its children; None if it is not a supervisor."""
    if _is_uwsgi_master():
        return "it is uWSGI's master: its workers join"
    for frame in frames():
        why = _why(frame)
        if why is not None:
            return why
    return None


def in_workers(join: Callable[[], None]) -> None:
    """Call ``join`` in each worker of uWSGI, which forks them without Python's knowledge. For other
    servers Python's own fork hooks suffice."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None or not _is_uwsgi_master():
        return
    before = getattr(uwsgi, "post_fork_hook", None)

    def forked() -> None:
        if before is not None:
            before()
        join()

    uwsgi.post_fork_hook = forked


def _is_uwsgi_master() -> bool:
    """Only the Python embedded in uWSGI has this module."""
    uwsgi: Any = sys.modules.get("uwsgi")
    return uwsgi is not None and uwsgi.worker_id() == 0 and uwsgi.masterpid() == os.getpid()


def _why(frame: FrameType) -> str | None:
    file, name = frame.f_code.co_filename, frame.f_code.co_name
    if file.endswith(_ARBITER):
        return "it is gunicorn's arbiter: its workers join" if _is_arbiter(frame) else None
    if file.endswith(_HYPERCORN) and name == "run" and _has_workers(frame):
        return "it is hypercorn's main process: its workers join"
    if file.endswith(_CELERY):
        return "it is Celery's main process: its pool's join" if _has_a_pool(frame) else None
    if file.endswith(_CELERYS_BEAT) and name == "run":
        return "it is the beat of a Celery worker: the worker's processes join"
    if file.endswith(_FORKSERVER) and name == "main" and not _serves_one(frame):
        return "it is multiprocessing's fork server: the processes it forks join"
    for (ending, function), of in _WHILE_IN.items():
        if name == function and file.endswith(ending):
            return f"it is the parent of {of}: what it starts joins"
    return None


def _is_arbiter(frame: FrameType) -> bool:
    """In a worker the arbiter's frames lie below its own; they name another pid."""
    arbiter = frame.f_locals.get("self")
    return getattr(arbiter, "pid", None) in (None, 0, os.getpid())


def _has_workers(frame: FrameType) -> bool:
    """Whether hypercorn, whose frame this is, serves in other processes: always, unless configured
    with none. To reload them it loads the app itself, to know its files."""
    return getattr(frame.f_locals.get("config"), "workers", 1) != 0


def _has_a_pool(frame: FrameType) -> bool:
    """Whether Celery's worker, whose frame this is, runs its tasks in other processes, and this is
    not one of them: a forked process has its parent's frames below its own."""
    pool = getattr(frame.f_locals.get("self"), "pool_cls", None)  # a name first, a class later
    name = pool if isinstance(pool, str) else getattr(pool, "__module__", "")
    billiard: Any = sys.modules.get("billiard.process")  # Celery's multiprocessing
    if getattr(billiard and billiard.current_process(), "_parent_pid", None) is not None:
        return False
    return "prefork" in name or name == "processes"


def _serves_one(main: FrameType) -> bool:
    """A process that the fork server forked has its frames below its own."""
    return any(
        frame.f_code.co_name == "_serve_one" and frame.f_code.co_filename == main.f_code.co_filename
        for frame in frames()
    )


def frames() -> Iterator[FrameType]:
    """The frames of this thread and of the main thread."""
    tops = [sys._getframe(), *gevent_support.frames_below()]
    main = sys._current_frames().get(threading.main_thread().ident or 0)
    if main is not None and threading.current_thread() is not threading.main_thread():
        tops.append(main)
    for top in tops:
        frame: FrameType | None = top
        while frame is not None:
            yield frame
            frame = frame.f_back
