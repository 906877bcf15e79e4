"""Callbacks for the exit of this process.

``atexit`` covers most processes, uWSGI's workers too, but not the children of multiprocessing,
which has finalizers of its own, nor those of Celery's pool, which has a signal.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

Unregister = Callable[[], object]


def register(leave: Callable[[], object]) -> list[Unregister]:
    """Call ``leave``, once or more, when this process exits; returns how to unregister it."""
    atexit.register(leave)
    hooks: list[Unregister] = [lambda: atexit.unregister(leave)]
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        hooks.append(Finalize(None, leave, exitpriority=100).cancel)
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        hooks.append(_with_celerys_pool(signals.worker_process_shutdown, leave))
    return hooks


def _with_celerys_pool(signal: Any, leave: Callable[[], object]) -> Unregister:
    """A process of the pool ends by ``os._exit``: recycled, not needed, or with its worker."""

    def shut_down(**_: Any) -> None:
        leave()

    signal.connect(shut_down, weak=False)
    return lambda: signal.disconnect(shut_down)
