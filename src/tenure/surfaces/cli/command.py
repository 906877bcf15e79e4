"""What every verb shares: the profile it is about, how it prints, and its common options.

``--profile``, ``--home`` and ``--json`` may come before the verb, after it, or both; the last one
counts. The module of a verb is imported when the verb is used: ``tenure status`` does not pay for
the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pathlib import Path

    from tenure.client.status import NewProfile
    from tenure.runtime.profile import Profile

    _ParamType = click.ParamType[str, str]
else:
    # Generic only in newer versions.
    _ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])


def now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Where:
    """The values of the common options."""

    profile: str | None = None
    home: str | None = None
    json: bool = False
    _said_home: bool = False

    @property
    def name(self) -> str:
        # An empty one is not a profile name.
        if self.profile is not None:
            return self.profile
        return os.environ.get("TENURE_PROFILE") or "default"

    def home_folder(self) -> Path:
        from tenure.store.folder.layout import home

        return home(self.home, os.environ)

    def say_home(self) -> None:
        """Print once, on stderr, which home is used, where ``HOME`` names another one."""
        from tenure.store.folder.user_home import which_home
        from tenure.surfaces.cli.output import note

        if self.json or self._said_home or self.home is not None:
            return
        self._said_home = True
        notice = which_home(self.home_folder(), os.environ)
        if notice is not None:
            note(*notice)

    def answer(self, document: Mapping[str, Any], *lines: str) -> None:
        """Print the document with ``--json``, the lines without."""
        from tenure.surfaces.cli import output

        if self.json:
            output.print_json(document)
        else:
            for line in lines:
                output.say(line)

    def new_profile(self) -> NewProfile | None:
        """The profile if it has its file and no database yet."""
        from tenure.client.status import NewProfile

        return NewProfile.find(self.name, home=self.home)

    @contextmanager
    def open(
        self,
        *,
        create: bool = False,
        readonly: bool = False,
        to_own: bool = False,
        warns: bool = True,
    ) -> Iterator[Profile]:
        """The profile, closed at the end. Raises what ``Profile.open`` raises.

        A profile.toml that cannot be read is a warning on standard error, unless the verb says it
        in its own answer (``warns=False``).
        """
        from tenure.domain.errors import NotFound
        from tenure.runtime.profile import Profile
        from tenure.store.folder.user_home import other_home

        if create and self.home is None:
            other = other_home(os.environ)
            new = not (self.home_folder() / "profiles" / self.name).exists()
            if other is not None and (new or (other / "profiles").exists()):
                self.say_home()
        try:
            profile = Profile.open(
                self.name,
                home=self.home,
                environ=os.environ,
                create=create,
                now=now() if create else None,
                readonly=readonly,
                to_own=to_own,
            )
        except NotFound:
            self.say_home()
            raise
        try:
            if warns:
                _warn_of_file(profile)
            yield profile
        finally:
            profile.close()


def _warn_of_file(profile: Profile) -> None:
    from tenure.domain.policy.change import KeepCurrent, PolicyProblem, reconcile_policy
    from tenure.surfaces.cli import output

    file = profile.policy_file()
    if isinstance(file, PolicyProblem) and file.wrong:
        policy = profile.store.policy()
        change = reconcile_policy(policy if policy.version else None, file)
        if isinstance(change, KeepCurrent) and change.warning is not None:
            output.warn(change.warning.text, change.warning.remedy)


def where_of(context: click.Context) -> Where:
    return context.ensure_object(Where)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value not in (None, False) and parameter.name is not None:
        setattr(where_of(context), parameter.name, value)


def common_options() -> list[click.Parameter]:
    """New for each command; they store their values in the shared :class:`Where`."""
    return [
        click.Option(
            ["--profile"], metavar="NAME", expose_value=False, callback=_keep,
            shell_complete=_complete_profiles,
            help="The profile (default: $TENURE_PROFILE, or 'default').",
        ),
        click.Option(
            ["--home"], metavar="DIR", expose_value=False, callback=_keep,
            help="The folder of all profiles (default: $TENURE_HOME, or ~/.tenure).",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_keep,
            help="Print a JSON document.",
        ),
    ]  # fmt: skip


def _complete_profiles(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from tenure.store.folder.layout import list_profiles

    return [n for n in list_profiles(where_of(context).home_folder()) if n.startswith(incomplete)]


class JobName(_ParamType):
    """A job's name or id, completed from the profile."""

    name = "job"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        from click.shell_completion import CompletionItem

        from tenure.client.apply import all_jobs
        from tenure.domain.errors import TenureError

        try:
            with where_of(ctx).open(readonly=True) as profile:
                names = [job.name for job in all_jobs(profile.store)]
        except TenureError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


JOB = JobName()


class Verb(click.Command):
    """A command with the common options. Its return value is the exit code."""

    options = staticmethod(common_options)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += self.options()


class VerbGroup(Verb, click.Group):
    """A verb with subcommands; without one, its own function runs."""

    command_class = Verb


# -- options of several verbs -------------------------------------------------------------------
YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only show what would change.")
SHOW_SECRETS = click.option("--show-secrets", is_flag=True, help="Do not mask secrets.")
CURSOR = click.option(
    "--cursor", metavar="CURSOR", help="Continue after the previous page (its 'next')."
)


def limit_option(
    default: int | None = None, help: str = "Maximum number to show."
) -> Callable[[F], F]:
    return click.option(
        "-n", "--limit", type=click.IntRange(1, 1000), metavar="N", help=help,
        default=default, show_default=default is not None,
    )  # fmt: skip


class ReaderGone(Exception):
    """The output pipe is closed. Not an OSError: click would exit with 1 for that."""


_MEANT = {
    "create": "add", "new": "add", "delete": "remove", "rm": "remove", "ls": "list",
    "jobs": "list", "run": "trigger", "start": "serve", "daemon": "serve", "log": "logs",
    "history": "runs", "ps": "status", "stop": "cancel", "kill": "cancel", "disable": "pause",
    "enable": "resume", "policy": "owner policy", "profiles": "profile list", "why": "explain",
    "web": "dashboard", "ui": "dashboard", "doctor": "status", "check": "status",
    "version": "--version", "info": "show", "reload": "apply", "update": "edit",
}  # fmt: skip
"""Verbs of other schedulers."""


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
        except BrokenPipeError as error:
            # Its help was being printed.
            raise ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.verbs.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
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
            hint = f". Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"unknown command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.verbs.items()])
