"""What a test does with a Hermes that has the plugin."""

from __future__ import annotations

import json
from typing import Any

from minihermes import MiniHermes

from waiting import eventually


def cronjob(mini: MiniHermes, id: str = "a") -> Any:
    """The agent's tool."""
    return json.loads(mini.module("tools.cronjob_tools").cronjob("run", id))


def first_ended(mini: MiniHermes) -> Any:
    def one() -> Any:
        runs = mini.runs()
        return runs[0] if runs and runs[0].finished_at else None

    return eventually(one, "the run to end")


def tick(mini: MiniHermes, **more: Any) -> int:
    found: int = mini.scheduler.tick(**{"verbose": False, "sync": True, **more})
    return found


def ended(mini: MiniHermes, count: int = 1) -> list[Any]:
    """The runs, once so many have ended."""
    done = eventually(
        lambda: [r for r in mini.runs() if r.finished_at is not None][count - 1 :] and mini.runs(),
        f"{count} runs to have ended",
    )
    return list(done)
