"""Processes that only look after others: they load the app, and must not run its jobs.

gunicorn's arbiter, with ``--preload``, imports the app and then forks its workers; a reloader's
parent imports it and then starts the child that serves. Neither serves, and gunicorn's arbiter
reaps every child of the process. What a process is, is told by what its main thread is doing: its
environment and its arguments are alike in both.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_ARBITER = os.path.join("gunicorn", "arbiter.py")
_RELOADER = os.path.join("werkzeug", "_reloader.py")


def why_not() -> str | None:
    """Why this process should leave the jobs to others; None if it is no supervisor."""
    if "TENURE_RUN" in os.environ:
        return "it is a run itself"
    for frame in _frames():
        file = frame.f_code.co_filename
        if file.endswith(_ARBITER) and _is_arbiter(frame):
            return "it is gunicorn's arbiter: its workers join"
        if file.endswith(_RELOADER) and frame.f_code.co_name == "restart_with_reloader":
            return "it is the parent of a reloader: the child that serves joins"
    return None


def _is_arbiter(frame: FrameType) -> bool:
    """In a worker the arbiter's frames are there too, below its own; they name another pid."""
    arbiter = frame.f_locals.get("self")
    return getattr(arbiter, "pid", None) in (None, 0, os.getpid())


def _frames() -> Iterator[FrameType]:
    """Those of this thread, and of the main one."""
    tops = [sys._getframe()]
    main = sys._current_frames().get(threading.main_thread().ident or 0)
    if main is not None and threading.current_thread() is not threading.main_thread():
        tops.append(main)
    for top in tops:
        frame: FrameType | None = top
        while frame is not None:
            yield frame
            frame = frame.f_back
