"""Wait for an event, with a deadline whose error names the event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 60.0
"""Seconds. On an idle machine the event comes at once; a busy machine must not fail a test."""


def eventually(reached: Callable[[], T], what: str, within: float = DEADLINE) -> T:
    """Poll until the value is true, and return it. AssertionError, which names the event, at the
    deadline."""
    until = time.monotonic() + within
    while not (value := reached()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {within} s in vain for {what}; last seen: {value!r}")
        time.sleep(0.005)
    return value


def promptly(call: Callable[[], T], what: str, within: float = 10.0) -> T:
    """The result or error of a call; AssertionError if it does not return (its thread stays)."""
    returned: list[T] = []
    raised: list[BaseException] = []

    def carry() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001  raised below
            raised.append(error)

    thread = threading.Thread(target=carry, name=what, daemon=True)
    thread.start()
    thread.join(within)
    if raised:
        raise raised[0]
    assert returned, f"{what} has not come back after {within} s"
    return returned[0]
