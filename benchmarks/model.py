"""What a measurement is: sides that give figures, and rows that compare them.

A *side* is a function that runs alone in a fresh process and returns *figures*, numbers by name.
A *row* shows one figure of a measured side beside others, with the goal it is held against. Times
are in milliseconds, rates in things a second, sizes in megabytes of 10**6 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, float]
Side = Callable[[Path, Mapping[str, Any]], Figures]
"""Called with an empty work folder and the measurement's sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound on the row's figure: a number, or another figure times ``factor`` plus ``plus``."""

    limit: float | None = None
    side: str | None = None
    figure: str | None = None
    """Of the other side; by default the row's own."""
    measurement: str | None = None
    """Of the other side; by default the row's own."""
    factor: float = 1.0
    plus: float = 0.0
    at_least: bool = False
    """A lower bound (rates); otherwise an upper one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table for each side it is compared with."""

    title: str
    figure: str
    unit: str
    side: str = "tenure"
    beside: tuple[str, ...] = ()
    """Sides shown for comparison; a goal's own side is shown anyway."""
    goals: tuple[Goal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """``sizes`` by scale: ``full`` is what the goals speak of, ``tiny`` tests the harness."""

    name: str
    about: str
    sides: Mapping[str, Side]
    rows: tuple[Row, ...]
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timeout: float = 240.0
    """Seconds after which a side is given up."""
