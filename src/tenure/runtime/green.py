"""gevent's patching, where it comes after this process began: gunicorn's gevent workers, preloaded.

Patched first, as gevent asks for, threads are greenlets and all is well. But the workers that
gunicorn forks of a preloaded app are patched only then, and a thread that was started before would
make its locks and threads of the patched kind in a thread that has no part in the loop: they would
never run. So such a worker joins once it is patched, which gevent announces.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def is_to_be_patched() -> bool:
    """Whether this is gunicorn, with gevent for its workers, and not patched yet."""
    loaded = "gunicorn.workers.ggevent" in sys.modules and "gevent.monkey" in sys.modules
    return loaded and not is_patched()


def is_patched() -> bool:
    """Whether threads are greenlets here."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def spawn_later(seconds: float, then: Callable[[], object]) -> None:
    """Where threads are greenlets. Unlike the start of one it lets no other run meanwhile, so that
    it may be called in a forked child that is about to become another program."""
    import gevent  # type: ignore[import-untyped,import-not-found,unused-ignore]

    gevent.spawn_later(seconds, then)


def once_patched(then: Callable[[], object]) -> None:
    """Have it called when that is done, by the thread that does it."""
    from gevent import events  # type: ignore[import-untyped,import-not-found,unused-ignore]

    def heard(event: object) -> None:
        if isinstance(event, events.GeventDidPatchAllEvent):
            events.subscribers.remove(heard)
            then()

    events.subscribers.append(heard)
