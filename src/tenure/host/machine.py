"""Which machine this is."""

from __future__ import annotations

import sys
from functools import cache


@cache
def machine_id() -> str | None:
    """The OS's own id of this installation; None where there is none that can be read."""
    return _linux() if sys.platform == "linux" else None


def _linux() -> str | None:
    from tenure.host.linux.proc import machine_id as read

    return read()
