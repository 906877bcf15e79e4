"""A profile as a whole: ``tenure profile``, ``backup``, ``restore``, ``migrate``, ``audit``."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.client import maintenance
from tenure.client.presence import editor
from tenure.domain.errors import Conflict, InvalidInput, NotFound, TenureError
from tenure.domain.job import JobState
from tenure.runtime.profile import Profile
from tenure.store.folder.identity import AdoptionReason
from tenure.store.folder.layout import ProfileFolder, list_profiles
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import YES, Verb, VerbGroup, Where, now

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(cls=Verb)
@_FILE
@click.option("--replace", is_flag=True, help="Overwrite an existing file.")
@click.pass_obj
def backup(where: Where, file: Path, replace: bool) -> None:
    """Write a consistent backup of the store; the profile can stay in use.

    It contains the jobs, the history and the accepted owner rules, but not profile.toml and the
    logs.
    """
    if file.is_dir():
        raise InvalidInput(f"{file} is a folder", field="file", remedy="name a file in it")
    if file.exists() and not replace:
        raise Conflict(f"{file} already exists", remedy="choose another name or pass --replace")
    if not file.absolute().parent.is_dir():
        raise InvalidInput(f"folder {file.absolute().parent} does not exist", field="file")
    with where.open() as profile:
        profile.store.backup(file)
        term = profile.store.facts().term
    size = file.stat().st_size
    where.answer(
        {"file": str(file.absolute()), "bytes": size, "term": term},
        f"wrote {file}: {size} bytes, term {term}",
    )


@click.command(cls=Verb)
@_FILE
@YES
@click.pass_obj
def restore(where: Where, file: Path, yes: bool) -> None:
    """Replace the store by a backup. The old store is kept beside it.

    All processes of the profile must have stopped. Jobs stay stopped until you confirm with
    `tenure profile adopt --restored`.
    """
    if not file.is_file():
        raise NotFound(f"{file} does not exist", field="file")
    folder = ProfileFolder.open(where.name, where.home_folder(), create=True)
    output.confirm(f"Replace the store of {folder.path}?", yes=yes)
    done = maintenance.restore(folder, file, now())
    kept = [f"the previous store is kept as {done.aside}"] if done.aside is not None else []
    where.answer(
        {
            "restored": str(file.absolute()),
            "aside": str(done.aside) if done.aside else None,
            "jobs": done.jobs,
            "term": done.term,
        },
        f"restored {file}: {done.jobs} jobs, term {done.term}",
        *kept,
        "→ jobs stay stopped until you run: tenure profile adopt --restored",
    )


@click.command(cls=Verb)
@click.pass_obj
def migrate(where: Where) -> None:
    """Upgrade the store to this version's schema.

    All processes of the profile must have stopped.
    """
    folder = ProfileFolder.open(where.name, where.home_folder())
    before, after = maintenance.migrate(folder, now())
    done = f"migrated from schema {before} to {after}"
    where.answer(
        {"before": before, "after": after},
        f"the store already has schema {after}" if before == after else done,
    )


@click.command(cls=Verb)
@click.pass_obj
def audit(where: Where) -> int:
    """Check the recorded history against the contract. Exit code 1 when there are findings."""
    from tenure.audit.reader import audit_store, render_report
    from tenure.client.documents import to_json
    from tenure.client.documents.reports import audit_document

    with where.open(readonly=True) as profile:
        report = audit_store(profile.store, now())
    where.answer(to_json(audit_document(report)), *render_report(report))
    return 0 if report.clean else 1


# -- profile --------------------------------------------------------------------------------------
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
    entries = [_profile_entry(name, str(home)) for name in list_profiles(home)]
    if where.json:
        output.print_json({"home": str(home), "profiles": entries, "next": None})
        return
    if not entries:
        output.say(f"no profiles in {home}; `tenure add` creates one")
        return
    rows = [
        [
            entry["name"],
            "-" if entry["jobs"] is None else entry["jobs"],
            entry["error"] or (f"pid {entry['owner_pid']}" if entry["owner_pid"] else "none"),
        ]
        for entry in entries
    ]
    output.table(["profile", "jobs", "owner"], rows)


def _profile_entry(name: str, home: str) -> dict[str, object]:
    from tenure.client.health import examine

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

    Its next term is above every earlier one. Runs that were due before a restored or copied
    profile is adopted are recorded as missed, so that nothing runs twice.
    """
    if how is None:
        raise InvalidInput("pass one of --moved, --copied, --restored", field="how")
    with where.open() as opened:
        by = editor("tenure profile adopt")
        done = maintenance.adopt(opened, AdoptionReason(how), by=by, now=now())
        name = opened.name
    lines = [f"{name!r} marked as {done.how}; the next term will be {done.term + 1} or higher"]
    if done.settled:
        jobs = "1 job" if done.settled == 1 else f"{done.settled} jobs"
        lines.append(f"runs of {jobs} that were due before now are recorded as missed")
    document = {"how": str(done.how), "term": done.term, "jobs_settled": done.settled}
    where.answer(document, *lines)


@profile.command("remove", short_help="Delete a profile.")
@click.argument("name")
@YES
@click.pass_obj
def remove_one(where: Where, name: str, yes: bool) -> None:
    """Delete a profile: its jobs, its history, its logs and its profile.toml."""
    folder = ProfileFolder.open(name, where.home_folder())
    output.confirm(f"Delete {folder.path} with everything in it?", yes=yes)
    removed = maintenance.remove(name, where.home_folder())
    where.answer({"removed": str(removed)}, f"removed {removed}")
