"""Count work instead of timing it: a function makes the same calls on every machine."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls(act: Callable[[], Any]) -> Counter[str]:
    """The calls of Python and of C functions that `act` makes in this thread, by their names."""
    made: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            made[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            made[getattr(argument, "__qualname__", repr(argument))] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
    return made
