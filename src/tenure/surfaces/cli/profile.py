"""``tenure profile``: list, adopt, remove."""

from __future__ import annotations

import click

from tenure.client.health import examine
from tenure.client.maintenance import adopt as adopt_profile
from tenure.client.maintenance import remove as remove_profile
from tenure.client.presence import editor
from tenure.domain.errors import InvalidInput, TenureError
from tenure.domain.job import JobState
from tenure.runtime.profile import Profile
from tenure.store.folder.identity import AdoptionReason
from tenure.store.folder.layout import list_profiles
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import VerbGroup, Where, now


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def profile(context: click.Context) -> None:
    """List the profiles; adopt one that was moved, copied or restored; remove one."""
    if context.invoked_subcommand is None:
        context.invoke(list_all)


@profile.command("list")
@click.pass_obj
def list_all(where: Where) -> None:
    """List the profiles of this home."""
    home = where.home_folder()
    found = [_look(name, str(home)) for name in list_profiles(home)]
    if where.json:
        output.print_json({"home": str(home), "profiles": found, "next": None})
        return
    if not found:
        output.say(f"no profiles in {home}; `tenure add` creates one")
        return
    rows = [
        [
            entry["name"],
            "-" if entry["jobs"] is None else entry["jobs"],
            entry["error"] or (f"pid {entry['owner_pid']}" if entry["owner_pid"] else "none"),
        ]
        for entry in found
    ]
    output.table(["profile", "jobs", "owner"], rows)


def _look(name: str, home: str) -> dict[str, object]:
    entry: dict[str, object] = {"name": name, "jobs": None, "owner_pid": None, "error": None}
    try:
        opened = Profile.open(name, home=home, readonly=True)
        try:
            counts = opened.store.counts().jobs
            entry["jobs"] = sum(n for s, n in counts.items() if s is not JobState.REMOVED)
            health = examine(opened, now())
            if health.owner is not None and health.owned:
                entry["owner_pid"] = health.owner.process.pid
            problem = opened.identity_problem()
            entry["error"] = problem.text if problem else None
        finally:
            opened.close()
    except TenureError as error:
        entry["error"] = error.text
    return entry


@profile.command()
@click.option(
    "--moved", "how", flag_value="moved", help="The profile is in a new place, with no copy left."
)
@click.option("--copied", "how", flag_value="copied", help="The original is still in use.")
@click.option("--restored", "how", flag_value="restored", help="Its database is a backup.")
@click.pass_obj
def adopt(where: Where, how: str | None) -> None:
    """Confirm that a profile was moved, copied or restored.

    Its next term is above every earlier one. What was due before a restored or copied profile is
    adopted is recorded as missed, so that nothing runs twice.
    """
    if how is None:
        raise InvalidInput("pass one of --moved, --copied, --restored", field="how")
    with where.open() as opened:
        done = adopt_profile(
            opened, AdoptionReason(how), by=editor("tenure profile adopt"), now=now()
        )
        name = opened.name
    if where.json:
        output.print_json({"how": str(done.how), "term": done.term, "jobs_settled": done.settled})
        return
    output.say(f"{name!r} marked as {done.how}; the next term will be {done.term + 1} or higher")
    if done.settled:
        output.say(f"what was due before now is recorded as missed, for {done.settled} jobs")


@profile.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def remove_one(where: Where, name: str, yes: bool) -> None:
    """Delete a profile: its jobs, its history, its logs and its profile.toml."""
    from tenure.store.folder.layout import ProfileFolder

    folder = ProfileFolder.open(name, where.home_folder())
    output.confirm(f"Delete {folder.path} with everything in it?", yes=yes)
    removed = remove_profile(name, where.home_folder())
    if where.json:
        output.print_json({"removed": str(removed)})
    else:
        output.say(f"removed {removed}")
