"""``tenure backup``, ``restore`` and ``migrate``: the store as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.client import maintenance
from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.store.folder.layout import ProfileFolder
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where, now


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Overwrite an existing file.")
@click.pass_obj
def backup(where: Where, file: Path, replace: bool) -> None:
    """Write a consistent backup of the store; the profile can stay in use.

    It has the jobs, history and accepted policy, but not profile.toml and the logs.
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
    if where.json:
        output.print_json({"file": str(file.absolute()), "bytes": size, "term": term})
    else:
        output.say(f"wrote {file}: {size} bytes, term {term}")


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def restore(where: Where, file: Path, yes: bool) -> None:
    """Put a backup in the store's place. The old store is kept beside it.

    All processes of the profile must have stopped. Jobs stay stopped until you confirm with
    `tenure profile adopt --restored`.
    """
    if not file.is_file():
        raise NotFound(f"{file} does not exist", field="file")
    folder = ProfileFolder.open(where.name, where.home_folder(), create=True)
    output.confirm(f"Replace the store of {folder.path}?", yes=yes)
    done = maintenance.restore(folder, file, now())
    if where.json:
        output.print_json(
            {
                "restored": str(file.absolute()),
                "aside": str(done.aside) if done.aside else None,
                "jobs": done.jobs,
                "term": done.term,
            }
        )
        return
    output.say(f"restored {file}: {done.jobs} jobs, term {done.term}")
    if done.aside is not None:
        output.say(f"the previous store is kept as {done.aside}")
    output.say("→ jobs stay stopped until you run: tenure profile adopt --restored")


@click.command(cls=Verb)
@click.pass_obj
def migrate(where: Where) -> None:
    """Bring the store to this version's schema. All processes of the profile must have stopped."""
    folder = ProfileFolder.open(where.name, where.home_folder())
    before, after = maintenance.migrate(folder, now())
    if where.json:
        output.print_json({"before": before, "after": after})
    elif before == after:
        output.say(f"the store already has schema {after}")
    else:
        output.say(f"migrated from schema {before} to {after}")
