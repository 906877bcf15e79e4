"""gevent's and eventlet's patching, where it comes after this process began.

Patched first, as both ask for, threads are greenlets and all is well. But the workers that
gunicorn forks of a preloaded app are patched only then, and a thread that was started before would
make its locks and threads of the patched kind in a thread that has no part in the loop: they would
never run. So such a worker joins once it is patched, which gevent announces; eventlet announces
nothing, so its ``monkey_patch`` is wrapped until it was called.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def is_to_be_patched() -> bool:
    """Whether this is gunicorn, with gevent or eventlet for its workers, and not patched yet."""
    return (_gunicorn_uses_gevent() or _gunicorn_uses_eventlet()) and not is_patched()


def is_patched() -> bool:
    """Whether threads are greenlets here."""
    return _is_patched_by_gevent() or _is_patched_by_eventlet()


def call_later(seconds: float, then: Callable[[], object], *, name: str) -> None:
    """Call it in the background: in a thread of that name, or in a greenlet where threads are
    greenlets or are to become so; then once they are."""
    if is_to_be_patched():
        once_patched(lambda: call_later(seconds, then, name=name))
    elif is_patched():
        _spawn_later(seconds, then)
    else:
        threading.Thread(
            target=_wait_and_call, args=(seconds, then), name=name, daemon=True
        ).start()


def frames_below() -> Iterator[FrameType]:
    """The top frames of the greenlets that this one was started by: the thread's own stack goes on
    there. None where there are no greenlets."""
    greenlet: Any = sys.modules.get("greenlet")
    one = greenlet.getcurrent().parent if greenlet is not None else None
    while one is not None:
        if one.gr_frame is not None:
            yield one.gr_frame
        one = one.parent


def _wait_and_call(seconds: float, then: Callable[[], object]) -> None:
    threading.Event().wait(seconds)
    then()


def _spawn_later(seconds: float, then: Callable[[], object]) -> None:
    """Unlike the start of a patched thread it lets no other run meanwhile, so that it may be called
    in a forked child that is about to become another program."""
    if _is_patched_by_gevent():
        import gevent  # type: ignore[import-untyped,import-not-found,unused-ignore]

        gevent.spawn_later(seconds, then)
    else:
        sys.modules["eventlet"].spawn_after(seconds, then)


def once_patched(then: Callable[[], object]) -> None:
    """Have it called when that is done, by the thread that does it."""
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
