"""Every measurement, in the order of the table. Each file defines one ``MEASUREMENT``."""

from __future__ import annotations

import importlib

from benchmarks.model import Measurement

NAMES = (
    "lag_callables",
    "lag_commands",
    "drain_callables",
    "drain_commands",
    "due",
    "edits",
    "idle",
    "takeover",
    "imports",
    "status",
    "memory",
    "web_api",
    "web_listeners",
)


def load(name: str) -> Measurement:
    """The measurement of that name."""
    found: Measurement = importlib.import_module(f"{__name__}.{name}").MEASUREMENT
    return found
