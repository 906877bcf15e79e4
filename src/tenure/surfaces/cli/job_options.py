"""The options that describe a job, shared by ``add`` and ``edit``.

Values stay text: what they mean is checked in one place, :mod:`tenure.client.fields`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from tenure.domain.errors import InvalidInput
from tenure.store.folder.user_home import expand

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--protected/--no-protected",),
     {"default": None, "help": "Only an authoritative owner may run it."}),
    (("--requires",), {"multiple": True, "metavar": "CAP",
     "help": "A capability the owner must have (repeatable)."}),
    (("--tz",), {"metavar": "ZONE", "help": "Time zone of the schedule (profile: the profile's)."}),
    (("--dst",), {"metavar": "RULE", "help": "cron; or gap=skip|shift,fold=first|second|both."}),
    (("--overlap",), {"metavar": "HOW",
     "help": "While the previous run is active: skip, queue, allow, cancel."}),
    (("--catch-up", "catch_up"), {"metavar": "WHAT",
     "help": "Missed fires: none, latest[:WINDOW], all[:WINDOW]."}),
    (("--grace",), {"metavar": "TIME", "help": "How late a fire may start (1m)."}),
    (("--jitter",), {"metavar": "TIME", "help": "Delay each fire by a fixed part of this."}),
    (("--timeout",), {"metavar": "TIME", "help": "End the command after so long."}),
    (("--retries",), {"type": int, "metavar": "N", "help": "Try again so often if it fails."}),
    (("--backoff",), {"metavar": "TIME",
     "help": "Pause before the first retry; doubles each time."}),
    (("--retry-lost/--no-retry-lost", "retry_lost"),
     {"default": None, "help": "Also retry a run whose end is not known."}),
    (("--env",), {"multiple": True, "metavar": "K=V", "help": "A variable (repeatable)."}),
    (("--cwd",), {"metavar": "DIR", "help": "Working folder (the home folder)."}),
    (("--stdin",), {"metavar": "TEXT", "help": "What it reads; - reads it from here."}),
    (("--shell",), {"is_flag": True, "help": "COMMAND is one line for /bin/sh."}),
    (("--tag", "tags"), {"multiple": True, "help": "A word to find it by (repeatable)."}),
]  # fmt: skip


def job_options(function: F) -> F:
    """Add the options above to a command."""
    for names, attributes in reversed(_OPTIONS):
        function = click.option(*names, **attributes)(function)
    return function


def given_fields(options: Mapping[str, Any], command: Sequence[str]) -> dict[str, Any]:
    """The fields that the options and the words after ``--`` give; those not given are absent."""
    given: dict[str, Any] = {}
    for key, value in options.items():
        if key in ("env", "shell") or value is None or value == ():
            continue
        given[key] = list(value) if isinstance(value, tuple) else value
    if options.get("env"):
        given["env"] = _variables(options["env"])
    if "cwd" in given:
        if not given["cwd"]:
            raise InvalidInput("must not be empty", field="cwd", remedy="--cwd /some/folder")
        given["cwd"] = os.path.abspath(expand(given["cwd"], "cwd"))
    if given.get("stdin") == "-":
        given["stdin"] = sys.stdin.read(1024 * 1024 + 1)
    for requirement in given.get("requires", ()):
        from tenure.host.capabilities import check_requirement

        check_requirement(requirement)
    if command and options.get("shell"):
        if len(command) != 1:
            raise InvalidInput(
                "a shell job takes one line",
                field="shell",
                remedy="quote the line: --shell -- 'a | b'",
            )
        given["shell"] = command[0]
    elif command:
        given["command"] = list(command)
    elif options.get("shell"):
        raise InvalidInput("there is no line to run", field="shell", remedy="--shell -- 'a | b'")
    return given


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    env = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput(
                f"{name[:40]!r} has no value" if name else "a variable needs a name",
                field="env",
                remedy="write --env NAME=VALUE",
            )
        env[name] = value
    return env
