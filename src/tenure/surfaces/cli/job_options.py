"""The options that describe a job, shared by ``add`` and ``edit``.

Values stay text: :mod:`tenure.client.fields` checks what they mean.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from tenure.client.job_fields import FIELDS, FLAG, NUMBER, JobField, Option
from tenure.domain.errors import InvalidInput
from tenure.store.folder.user_home import expand

F = TypeVar("F", bound=Callable[..., Any])


def job_options(function: F) -> F:
    """Add the options of :data:`tenure.client.job_fields.FIELDS` to a command."""
    for field in reversed(FIELDS):
        if field.option is not None:
            function = _option(field, field.option)(function)
    return function


def _option(field: JobField, option: Option) -> Callable[[F], F]:
    word = (option.name or field.name).replace("_", "-")
    attributes: dict[str, Any] = {"help": option.help, "metavar": option.metavar}
    if field.type is FLAG:
        return click.option(f"--{word}/--no-{word}", field.name, default=None, **attributes)
    if field.type is NUMBER:
        attributes["type"] = int
    if option.flag:
        attributes["is_flag"] = True
    return click.option(f"--{word}", field.name, multiple=option.repeatable, **attributes)


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
