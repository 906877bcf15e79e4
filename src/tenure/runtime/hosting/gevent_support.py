"""gevent's and eventlet's patching, where it happens after the start of this process.

A program that patches first, as both require, has greenlets as threads and needs nothing here. But
the workers that gunicorn forks of a preloaded app are patched only after the fork. A thread started
before that would create patched locks and threads outside the event loop, which would never run. So
such a worker joins after it is patched. gevent has an event for that; eventlet has none, so its
``monkey_patch`` is wrapped until it is called.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def is_to_be_patched() -> bool:
    """Whether this is gunicorn with gevent or eventlet workers, not patched yet."""
    return (_gunicorn_uses_gevent() or _gunicorn_uses_eventlet()) and not is_patched()


def is_patched() -> bool:
    """Whether threads are greenlets here."""
    return _is_patched_by_gevent() or _is_patched_by_eventlet()


def call_later(seconds: float, then: Callable[[], object], *, name: str) -> None:
    """Call ``then`` in the background: in a thread of that name, or in a greenlet where threads are
    greenlets or will be, after the patching."""
    if is_to_be_patched():
        after_monkey_patch(lambda: call_later(seconds, then, name=name))
    elif is_patched():
        _spawn_later(seconds, then)
    else:
        timer = threading.Timer(seconds, then)
        timer.name, timer.daemon = name, True
        timer.start()


def frames_below() -> Iterator[FrameType]:
    """The top frames of the greenlets that started this one: the thread's own stack continues
    there. Empty without greenlets."""
    greenlet: Any = sys.modules.get("greenlet")
    parent = greenlet.getcurrent().parent if greenlet is not None else None
    while parent is not None:
        if parent.gr_frame is not None:
            yield parent.gr_frame
        parent = parent.parent


def _spawn_later(seconds: float, then: Callable[[], object]) -> None:
    """Unlike the start of a patched thread, this does not switch greenlets, so it is safe in a
    forked child that is about to exec."""
    if _is_patched_by_gevent():
        import gevent  # type: ignore[import-untyped,import-not-found,unused-ignore]

        gevent.spawn_later(seconds, then)
    else:
        sys.modules["eventlet"].spawn_after(seconds, then)


def after_monkey_patch(then: Callable[[], object]) -> None:
    """Call ``then`` when the patching is done, in the thread that does it."""
    if _gunicorn_uses_gevent():
        _once_gevent_patched(then)
    else:
        _once_eventlet_patched(then)


def _gunicorn_uses_gevent() -> bool:
    return "gunicorn.workers.ggevent" in sys.modules and "gevent.monkey" in sys.modules


def _gunicorn_uses_eventlet() -> bool:
    return "gunicorn.workers.geventlet" in sys.modules and "eventlet.patcher" in sys.modules


def _is_patched_by_gevent() -> bool:
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _is_patched_by_eventlet() -> bool:
    patcher: Any = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def _once_gevent_patched(then: Callable[[], object]) -> None:
    from gevent import events  # type: ignore[import-untyped,import-not-found,unused-ignore]

    def heard(event: object) -> None:
        if isinstance(event, events.GeventDidPatchAllEvent):
            events.subscribers.remove(heard)
            then()

    events.subscribers.append(heard)


def _once_eventlet_patched(then: Callable[[], object]) -> None:
    eventlet: Any = sys.modules["eventlet"]
    original = eventlet.monkey_patch

    @functools.wraps(original)
    def patch(*args: Any, **kwargs: Any) -> Any:
        eventlet.monkey_patch = original
        done = original(*args, **kwargs)
        then()
        return done

    eventlet.monkey_patch = patch
