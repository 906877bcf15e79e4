"""Flask: whether an application that is made here is served here.

An application object says nothing of what its process is for: ``flask run`` loads it, and so do
``flask shell``, a command of the user's own, the parent of the reloader, a test. What can be told
is told at once; the parent of a reloader shows itself a moment later, by what its main thread does.
"""

from __future__ import annotations

import os
import sys

DELAY = 0.5
"""Seconds after which a process has shown what it is."""


def why_not() -> str | None:
    """Why an application that is made here is not served here; None if it may be."""
    if "pytest" in sys.modules and os.environ.get("PYTEST_CURRENT_TEST"):
        return "it is made in a test: call start() where the test needs it"
    command = _flask_command()
    if command is None:
        return None
    if command != "run":
        return f"{f'`flask {command}`' if command else 'a command of the app'} does not serve"
    if _reloads() and os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        return "it is the parent of a reloader: the child that serves starts"
    return None


def _flask_command() -> str | None:
    """The ``flask`` command that runs here; empty if it is one of the app's own, for the sake of
    which the app is loaded before the command is known."""
    cli = sys.modules.get("flask.cli")
    click = sys.modules.get("click")
    if cli is None or click is None:
        return None
    context = click.get_current_context(silent=True)
    found = None
    while context is not None:
        if isinstance(context.command, cli.FlaskGroup):
            return found or ""
        found = context.info_name
        context = context.parent
    return None


def _reloads() -> bool:
    click, cli = sys.modules["click"], sys.modules["flask.cli"]
    chosen = click.get_current_context().params.get("reload")
    return bool(cli.get_debug_flag() if chosen is None else chosen)
