"""The end of this process, as it is told to somebody who wants to leave before it.

``atexit`` tells most, uWSGI's workers too. Not told by it are children of multiprocessing, which
has finalizers of its own, and those of Celery's pool, which has a signal.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

TakeBack = Callable[[], object]


def tell(leave: Callable[[], object]) -> list[TakeBack]:
    """Have it called, once or more, when this process comes to its end; what takes that back."""
    atexit.register(leave)
    taken: list[TakeBack] = [lambda: atexit.unregister(leave)]
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        taken.append(Finalize(None, leave, exitpriority=100).cancel)
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        taken.append(_with_celerys_pool(signals.worker_process_shutdown, leave))
    return taken


def _with_celerys_pool(signal: Any, leave: Callable[[], object]) -> TakeBack:
    """A process of the pool ends by ``os._exit``: recycled, superfluous, or with its worker."""

    def shut_down(**_: Any) -> None:
        leave()

    signal.connect(shut_down, weak=False)
    return lambda: signal.disconnect(shut_down)
