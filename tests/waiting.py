"""Waiting for the real world: with a deadline that says what it waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 60.0
"""Seconds. What is awaited comes at once on an idle machine; a busy one is no reason to fail."""


def eventually(reached: Callable[[], T], what: str, within: float = DEADLINE) -> T:
    """Ask again until it is true; AssertionError, saying what was waited for, at the deadline."""
    until = time.monotonic() + within
    while not (value := reached()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {within} s in vain for {what}; last seen: {value!r}")
        time.sleep(0.005)
    return value
