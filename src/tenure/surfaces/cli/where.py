"""Which profile a command is about, and how its answer is to be printed.

``--profile``, ``--home`` and ``--json`` may stand before the verb, after it, or both; the last
one counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from tenure.client.unmade_profile import Unmade
    from tenure.runtime.profile import Profile

    _ParamType = click.ParamType[str, str]
else:
    _ParamType = click.ParamType  # generic only in newer versions


def now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Where:
    """What the common options said."""

    profile: str | None = None
    home: str | None = None
    json: bool = False
    _said_home: bool = False

    @property
    def name(self) -> str:
        if self.profile is not None:  # an empty one is not a profile name
            return self.profile
        return os.environ.get("TENURE_PROFILE") or "default"

    def home_folder(self) -> Path:
        from tenure.store.folder.layout import home

        return home(self.home, os.environ)

    def say_home(self) -> None:
        """Say once, on stderr, which home is used, where ``HOME`` names another one."""
        from tenure.store.folder.user_home import which_home
        from tenure.surfaces.cli.output import note

        if self.json or self._said_home or self.home is not None:
            return
        self._said_home = True
        notice = which_home(self.home_folder(), os.environ)
        if notice is not None:
            note(*notice)

    def unmade(self) -> Unmade | None:
        """The profile if it has its file and no database yet."""
        from tenure.client.unmade_profile import Unmade

        return Unmade.find(self.name, home=self.home)

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

    found = profile.policy_file()
    if isinstance(found, PolicyProblem) and found.wrong:
        policy = profile.store.policy()
        change = reconcile_policy(policy if policy.version else None, found)
        if isinstance(change, KeepCurrent) and change.warning is not None:
            output.warn(change.warning.text, change.warning.remedy)


def where_of(context: click.Context) -> Where:
    return context.ensure_object(Where)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value not in (None, False) and parameter.name is not None:
        setattr(where_of(context), parameter.name, value)


def common_options() -> list[click.Parameter]:
    """Fresh ones for each command; they store their values in the shared :class:`Where`."""
    return [
        click.Option(
            ["--profile"], metavar="NAME", expose_value=False, callback=_keep,
            shell_complete=_complete_profiles, help="The profile (TENURE_PROFILE; 'default').",
        ),
        click.Option(
            ["--home"], metavar="DIR", expose_value=False, callback=_keep,
            help="Where profiles live (TENURE_HOME; ~/.tenure).",
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
