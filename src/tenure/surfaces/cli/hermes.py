"""``tenure hermes``: show, adopt and release the profiles of Hermes Agent.

Below this group ``--profile`` names *Hermes'* profile. Tenure's own is derived from it;
``--tenure-profile`` and ``--home`` name another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from tenure.domain.durations import parse_duration
from tenure.domain.errors import Conflict, OutcomeUnknown, Refused
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import (
    DRY_RUN,
    YES,
    LazyGroup,
    Verb,
    Where,
    common_options,
    now,
    where_of,
)

if TYPE_CHECKING:
    from tenure.adapters.hermes.adopt.carry_out import AdoptionResult
    from tenure.adapters.hermes.adopt.plan import AdoptionOptions, AdoptionPlan
    from tenure.adapters.hermes.back.release import Released
    from tenure.adapters.hermes.facts.home import HermesHome
    from tenure.adapters.hermes.look.report import Survey

_CLI = "tenure.surfaces.cli.hermes"
_META = "tenure.hermes"

VERBS = {
    "status": (
        _CLI + "_status:status",
        "Show which processes tick, hold the locks and ran the last jobs, and problems.",
    ),
    "adopt": (_CLI + ":adopt", "Make one process the owner: by default the gateway."),
    "release": (_CLI + ":release", "Undo an adoption, byte for byte."),
    "protect": (_CLI + ":protect", "Run jobs only under the authoritative owner."),
    "unprotect": (_CLI + ":unprotect", "Let fallback owners run the jobs again."),
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

    def find(self) -> HermesHome:
        """The Hermes profile. Raises NotFound with those that are there."""
        from tenure.adapters.hermes.facts.home import find_home

        return find_home(self.hermes_home, self.hermes_profile)


def hermes_where(context: click.Context) -> HermesWhere:
    """What was said so far; one for a whole command line."""
    shared = context.meta.setdefault(_META, HermesWhere(where_of(context)))
    assert isinstance(shared, HermesWhere)
    return shared


def hermes_options() -> list[click.Parameter]:
    """New for each command, before the verb or after it; they replace the common options."""
    return [
        click.Option(
            ["--hermes-home"], metavar="DIR", expose_value=False, callback=_keep,
            help="Hermes' root or a profile's folder (default: $HERMES_HOME, or ~/.hermes).",
        ),
        click.Option(
            ["--profile", "hermes_profile"], metavar="NAME", expose_value=False, callback=_keep,
            shell_complete=_complete_profiles, help="Hermes' profile (default: 'default').",
        ),
        click.Option(
            ["--tenure-profile"], metavar="NAME", expose_value=False, callback=_keep,
            help="Tenure's profile for it (default: named after Hermes').",
        ),
        *common_options()[1:],
    ]  # fmt: skip


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and parameter.name is not None:
        setattr(hermes_where(context), parameter.name, value)


def _complete_profiles(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from tenure.adapters.hermes.facts.home import default_root, home_of, profiles_of

    named = hermes_where(context).hermes_home
    root = home_of(named or default_root()).root
    return [h.profile for h in profiles_of(root) if h.profile.startswith(incomplete)]


class HermesVerb(Verb):
    """A verb of this group. Its return value is the exit code."""

    options = staticmethod(hermes_options)


class Hermes(LazyGroup):
    options = staticmethod(hermes_options)
    verbs = VERBS
    command_class = HermesVerb


@click.group(cls=Hermes, invoke_without_command=True)
@click.pass_context
def hermes(context: click.Context) -> None:
    """Show which process executes a Hermes profile's cron jobs, and make one process the owner.

    Here --profile is the name of a Hermes profile.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# -- adopt, release, protect, unprotect -----------------------------------------------------------
@click.command(cls=HermesVerb)
@click.option(
    "--owner", "owners", multiple=True, metavar="WHO",
    help="The process that may run the jobs: gateway (the default), 'service LABEL' or "
    "'executable PATH'; repeat it for fallbacks, the best first.",
)  # fmt: skip
@click.option(
    "--fallback-after", metavar="SPAN",
    help="Let any of your processes run unprotected jobs after this time without a better owner.",
)  # fmt: skip
@click.option("--protect", multiple=True, metavar="JOB", help="A job that only the owner may run.")
@click.option("--hermes-python", metavar="PATH", help="The Python that Hermes is installed in.")
@DRY_RUN
@click.option("--force", is_flag=True, help="Adopt even what was not verified.")
@YES
@click.pass_context
def adopt(context: click.Context, /, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Make one process the owner of a Hermes profile's cron jobs: by default its gateway.

    Hermes' own files are not edited: a plugin is added and enabled, and a folder at
    cron/.tick.lock keeps every other ticker out. Each change is recorded, and `tenure hermes
    release` undoes it. Adopting again repairs what was lost since.
    """
    from tenure.adapters.hermes.adopt.carry_out import adopt as carry_out
    from tenure.adapters.hermes.adopt.plan import plan_adoption
    from tenure.adapters.hermes.look.survey import survey

    where = hermes_where(context)
    home = where.find()
    survey_result = survey(home)
    plan = plan_adoption(home, _options(where, **asked), survey_result)
    if dry_run:
        _print_plan(where, plan)
        return
    if not where.json:
        _print_plan(where, plan)
    output.confirm(f"Adopt {home.path}?", yes=yes)
    _print_adopted(where, carry_out(plan, now()), survey_result)


def _options(
    where: HermesWhere,
    owners: tuple[str, ...],
    fallback_after: str | None,
    protect: tuple[str, ...],
    hermes_python: str | None,
    force: bool,
) -> AdoptionOptions:
    from tenure.adapters.hermes.adopt.plan import AdoptionOptions
    from tenure.adapters.hermes.adopt.profile import GATEWAY

    after = None
    if fallback_after is not None:
        after = parse_duration(fallback_after, "fallback-after", minimum=timedelta(seconds=1))
    return AdoptionOptions(
        tenure_home=where.where.home_folder(),
        tenure_profile=where.tenure_profile,
        owners=owners or (GATEWAY,),
        fallback_after=after,
        protect=protect,
        hermes_python=hermes_python,
        force=force,
    )


def _print_plan(where: HermesWhere, plan: AdoptionPlan) -> None:
    from tenure.adapters.hermes.adopt.plan import plan_document, plan_words

    if where.json:
        output.print_json(plan_document(plan))
        return
    version = plan.adoption.hermes_version or "of an unknown version"
    output.say(
        output.safe(f"hermes profile {plan.home.profile}, {plan.home.path}, Hermes {version}")
    )
    for line in plan_words(plan):
        output.paragraph(f"  {output.safe(line)}")
    if plan.profile.text is not None:
        output.say(output.paint(f"  in {output.safe(plan.profile.toml)}:", "dim"))
        for line in plan.profile.text.rstrip().splitlines():
            output.say(output.paint(f"    {output.safe(line)}", "dim"))
    for note in plan.notes:
        output.paragraph(f"note: {output.safe(note)}")


def _print_adopted(where: HermesWhere, result: AdoptionResult, survey_result: Survey) -> None:
    from tenure.adapters.hermes.adopt.plan import next_steps

    adoption, steps = result.adoption, next_steps(survey_result)
    if where.json:
        output.print_json(
            {
                "adopted": str(adoption.hermes_home),
                "tenure_profile": adoption.tenure_profile,
                "done": result.done,
                "notes": result.notes,
                "next": steps,
            }
        )
        return
    output.say()
    for line in result.done:
        output.paragraph(output.safe(line))
    for note in result.notes:
        output.paragraph(f"note: {output.safe(note)}")
    word = output.paint("adopted", "green bold")
    output.say(
        f"{word}: {output.safe(adoption.hermes_home)}" + ("" if result.done else ", as before")
    )
    if result.done:
        output.paragraph(
            "Running processes have not loaded the plugin: nothing runs until the owner is "
            "restarted."
        )
        for step in steps:
            output.paragraph(f"→ {output.safe(step)}")


@click.command(cls=HermesVerb)
@click.option(
    "--copied", is_flag=True, help="Release this copy of an adopted home, not the original."
)
@DRY_RUN
@YES
@click.pass_context
def release(context: click.Context, copied: bool, dry_run: bool, yes: bool) -> int:
    """Undo an adoption: remove what Tenure wrote, and restore what it changed, byte for byte.

    This also works after an adoption or a release that was interrupted. The Tenure profile and
    its history are kept. Exit code 1 if something had to be left in the Hermes home.
    """
    where = hermes_where(context)
    home = where.find()
    folder = str(home.path)
    plan = _release(folder, copied=copied, dry_run=True)
    if not plan.done:
        nothing = f"Tenure has written nothing in {output.safe(folder)}"
        where.where.answer({"released": None, "done": [], "stays": []}, nothing)
        return 0
    for line in () if where.json else plan.done:
        output.paragraph(f"  {output.safe(line)}")
    if dry_run:
        where.where.answer({"released": None, "would": plan.done})
        return 0
    output.confirm(f"Release {folder}?", yes=yes)
    from tenure.adapters.hermes.facts.adoption_record import read_adoption

    adoption = read_adoption(home)
    done = _release(folder, copied=copied, dry_run=False)
    if where.json:
        output.print_json({"released": folder, "done": done.done, "stays": done.stays})
        return 1 if done.stays else 0
    output.say()
    for line in done.done:
        output.paragraph(output.safe(line))
    for line in done.stays:
        output.warn(line)
    output.say(f"{output.paint('released', 'green bold')}: {output.safe(folder)}")
    if adoption is not None and not copied:
        profile = f"{adoption.tenure_profile} in {adoption.tenure_home}"
        output.paragraph(f"the Tenure profile {output.safe(profile)} is kept, with its history")
    output.paragraph(
        "→ restart the gateway and the desktop app when convenient: until then the plugin stays "
        "loaded in them, and lets them run jobs as before"
    )
    return 1 if done.stays else 0


def _release(folder: str, *, copied: bool, dry_run: bool) -> Released:
    from tenure.adapters.hermes.back.release import OwnerTicking, Refusal, ReleaseInProgress
    from tenure.adapters.hermes.back.release import release as undo

    try:
        return undo(folder, copied=copied, dry_run=dry_run)
    except ReleaseInProgress as error:
        raise Conflict(error.text, remedy=error.remedy) from error
    except OwnerTicking as error:
        raise OutcomeUnknown(error.text, remedy=error.remedy) from error
    except Refusal as error:
        raise Refused(error.text, remedy=error.remedy) from error


@click.command(cls=HermesVerb)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option(
    "--requires",
    multiple=True,
    metavar="CAP",
    help="A capability the owner must have (repeatable).",
)
@click.pass_context
def protect(context: click.Context, jobs: tuple[str, ...], requires: tuple[str, ...]) -> None:
    """Run jobs of Hermes only under the authoritative owner.

    JOB is Hermes' id or name. Without such an owner their scheduled runs are on hold.
    """
    from tenure.adapters.hermes.facts import protection

    where = hermes_where(context)
    changed = protection.protect(where.find(), jobs, requires, now())
    where.where.answer(
        {"protected": [{"id": job.id, "name": job.name} for job in changed]},
        *(
            f"{output.safe(job.name)} ({job.id}) is protected from the owner's next tick on"
            for job in changed
        ),
    )


@click.command(cls=HermesVerb)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.pass_context
def unprotect(context: click.Context, jobs: tuple[str, ...]) -> None:
    """Let fallback owners run jobs of Hermes again."""
    from tenure.adapters.hermes.facts import protection

    where = hermes_where(context)
    ids = protection.unprotect(where.find(), jobs)
    where.where.answer(
        {"unprotected": ids},
        *(f"{output.safe(id)} is no longer protected, from the owner's next tick on" for id in ids),
    )
