"""Commands that are imported when they are used: ``tenure status`` must not pay for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from tenure.surfaces.cli.where import common_options


class Verb(click.Command):
    """A command that also takes the common options. What it returns is the exit code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()


class VerbGroup(click.Group):
    """A verb with verbs below it; alone it does what its own function does."""

    command_class = Verb

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()


class ReaderGone(Exception):
    """Nobody reads our output any more. Not an OSError: click would end with 1 for that."""


_MEANT = {
    "create": "add", "new": "add", "delete": "remove", "rm": "remove", "ls": "list",
    "jobs": "list", "run": "trigger", "start": "serve", "daemon": "serve", "log": "logs",
    "history": "runs", "ps": "status", "stop": "cancel", "kill": "cancel", "disable": "pause",
    "enable": "resume", "policy": "owner policy", "profiles": "profile list", "why": "explain",
    "web": "dashboard", "ui": "dashboard", "doctor": "status", "check": "status",
    "version": "--version", "info": "show", "reload": "apply", "update": "edit",
}  # fmt: skip
"""What other schedulers call it."""


class LazyGroup(VerbGroup):
    """A group whose commands are named with their module and one line of help."""

    verbs: Mapping[str, tuple[str, str]] = {}

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:  # its help was being printed
            raise ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self.verbs.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            from difflib import get_close_matches

            meant = _MEANT.get(args[0])
            if args[0] == "help":
                known = args[1] if len(args) > 1 and args[1] in self.verbs else ""
                meant = f"tenure {known} --help".replace("  ", " ")
            near = [meant] if meant else get_close_matches(args[0], self.verbs, 3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"there is no verb {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in self.verbs.items()])
