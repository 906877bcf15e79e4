"""Tenure's plugin for Hermes Agent, as a folder. Written by `tenure hermes adopt`; do not edit.

It loads Tenure, from Hermes' environment if it is installed there, else from the copy that was put
into this home; and if there is none that works, it lets this process run no cron job at all, for
whoever adopted this home said that only its owner may.
"""

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("tenure.hermes")


def register(ctx: Any) -> None:
    """Called by Hermes when it loads its plugins."""
    try:
        _tenure()(ctx)
    except Exception as error:  # noqa: BLE001  whatever it is, nothing may run then
        log.error("Tenure cannot be loaded, so this process runs no cron job: %s", error)
        _refuse_all(f"refused: Tenure cannot be loaded here ({error}); run: tenure hermes status")


def _tenure() -> Callable[[Any], None]:
    try:
        from tenure.adapters.hermes.plugin import register as found
    except ImportError:
        for name in [n for n in sys.modules if n == "tenure" or n.startswith("tenure.")]:
            del sys.modules[name]
        copy = str(Path(__file__).resolve().parents[2] / "tenure" / "lib")
        if copy not in sys.path:
            sys.path.append(copy)
        from tenure.adapters.hermes.plugin import register as found
    return found


def _refuse_all(why: str) -> None:
    """Close the ways to run a job that the fence does not close."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        log.error("%s", why)
        raise RuntimeError(why)

    for module, names in (
        ("cron.scheduler", ("run_job", "run_one_job")),
        ("tools.cronjob_tools", ("_execute_job_now",)),
    ):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        for name in names:
            if hasattr(found, name):
                setattr(found, name, refuse)
        if hasattr(found, "tick"):
            found.tick = lambda *args, **kwargs: 0  # type: ignore[attr-defined]
