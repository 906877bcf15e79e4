"""``tenure hermes``: Hermes Agent's profiles, looked at and made to obey the contract.

Below this group ``--profile`` names *Hermes'* profile. Tenure's own is derived from it;
``--tenure-profile`` and ``--home`` name another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tenure.surfaces.cli.command import LazyGroup, Verb, Where, where_of

if TYPE_CHECKING:
    from tenure.adapters.hermes.facts.home import HermesHome

_CLI = "tenure.surfaces.cli."
_META = "tenure.hermes"

VERBS = {
    "status": (
        _CLI + "hermes_status:status",
        "Show who ticks, who holds the locks, who ran the last jobs, and what is wrong.",
    ),
    "adopt": (_CLI + "hermes_adopt:adopt", "Make one process the owner: by default the gateway."),
    "release": (_CLI + "hermes_adopt:release", "Undo an adoption, byte for byte."),
    "protect": (_CLI + "hermes_adopt:protect", "Have jobs run under that owner or not at all."),
    "unprotect": (_CLI + "hermes_adopt:unprotect", "Let fallback owners run them again."),
}


@dataclass(slots=True)
class HermesWhere:
    """Which Hermes profile a command is about, and beside it what the common options said."""

    where: Where
    hermes_home: str | None = None
    hermes_profile: str | None = None
    tenure_profile: str | None = None

    @property
    def json(self) -> bool:
        return self.where.json

    @property
    def home(self) -> str | None:
        """Tenure's home, if one was named."""
        return self.where.home

    def find(self) -> HermesHome:
        """The Hermes profile. Raises NotFound with those that are there."""
        from tenure.adapters.hermes.facts.home import find_home

        return find_home(self.hermes_home, self.hermes_profile)


def hermes_where(context: click.Context) -> HermesWhere:
    """What was said so far; one for a whole command line."""
    found = context.meta.setdefault(_META, HermesWhere(where_of(context)))
    assert isinstance(found, HermesWhere)
    return found


class HermesVerb(Verb):
    """A verb of this group. What it returns is the exit code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = _with_hermes_options(self.params)


class Hermes(LazyGroup):
    verbs = VERBS
    command_class = HermesVerb

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = _with_hermes_options(self.params)


def _with_hermes_options(params: list[click.Parameter]) -> list[click.Parameter]:
    """The options of this group, in the place of those of all other verbs that they redefine."""
    own = hermes_options()
    spelled = {spelling for option in own for spelling in option.opts}
    return [option for option in params if not spelled.intersection(option.opts)] + own


def hermes_options() -> list[click.Parameter]:
    """Fresh ones for each command. They may stand before the verb or after it."""
    return [
        click.Option(
            ["--hermes-home"], metavar="DIR", expose_value=False, callback=_keep,
            help="Hermes' root or a profile's folder (HERMES_HOME; ~/.hermes).",
        ),
        click.Option(
            ["--profile", "hermes_profile"], metavar="NAME", expose_value=False, callback=_keep,
            shell_complete=_complete_profiles, help="Hermes' profile ('default').",
        ),
        click.Option(
            ["--tenure-profile"], metavar="NAME", expose_value=False, callback=_keep,
            help="Tenure's profile beside it (by default named after Hermes').",
        ),
        click.Option(
            ["--home"], metavar="DIR", expose_value=False, callback=_keep_common,
            help="Where Tenure's profiles live (TENURE_HOME; ~/.tenure).",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_keep_common,
            help="Print a JSON document.",
        ),
    ]  # fmt: skip


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and parameter.name is not None:
        setattr(hermes_where(context), parameter.name, value)


def _keep_common(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value not in (None, False) and parameter.name is not None:
        setattr(where_of(context), parameter.name, value)


def _complete_profiles(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from tenure.adapters.hermes.facts.home import default_root, home_of, profiles_of

    named = hermes_where(context).hermes_home
    root = home_of(named or default_root()).root
    return [h.profile for h in profiles_of(root) if h.profile.startswith(incomplete)]


@click.group(cls=Hermes, invoke_without_command=True)
@click.pass_context
def hermes(context: click.Context) -> None:
    """Hermes Agent: who executes a profile's cron jobs, and how to have one process own them.

    Here --profile is the name of a Hermes profile.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
