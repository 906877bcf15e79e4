"""Flask: start where the application is served, and nowhere else.

An application object says nothing of what its process is for: ``flask run`` loads it, and so do
``flask shell``, a command of the user's own, the parent of the reloader, a test. What can be told
is told at once; the parent of a reloader shows itself a moment later, by what its main thread does.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Protocol

log = logging.getLogger("tenure")

DELAY = 0.5
"""Seconds after which the process has shown what it is."""


class Startable(Protocol):
    def start(self) -> object: ...


def start_when_serving(tenure: Startable) -> None:
    """Start it soon in this process, if that serves."""
    why = why_not()
    if why is not None:
        log.info("not started in pid %s: %s", os.getpid(), why)
        return
    threading.Thread(target=_start, args=(tenure,), name="tenure-start", daemon=True).start()


def why_not() -> str | None:
    """Why an application that is made here is not served here; None if it may be."""
    if "pytest" in sys.modules and os.environ.get("PYTEST_CURRENT_TEST"):
        return "it is made in a test: call start() where the test needs it"
    command = _flask_command()
    if command is None:
        return None
    if command != "run":
        return f"`flask {command}` does not serve"
    if _reloads() and os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        return "it is the parent of a reloader: the child that serves starts"
    return None


def _flask_command() -> str | None:
    """The command of Flask's own that runs here."""
    cli = sys.modules.get("flask.cli")
    click = sys.modules.get("click")
    if cli is None or click is None:
        return None
    context = click.get_current_context(silent=True)
    found = None
    while context is not None:
        if isinstance(context.command, cli.FlaskGroup):
            return found
        found = context.info_name
        context = context.parent
    return None


def _reloads() -> bool:
    click, cli = sys.modules["click"], sys.modules["flask.cli"]
    chosen = click.get_current_context().params.get("reload")
    return bool(cli.get_debug_flag() if chosen is None else chosen)


def _start(tenure: Startable) -> None:
    threading.Event().wait(DELAY)
    try:
        tenure.start()
    except Exception:  # nobody is there to hear it
        log.exception("pid %s could not join", os.getpid())
