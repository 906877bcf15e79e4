"""``tenure apply`` and ``tenure export``: jobs from a TOML file, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from tenure.client.apply import (
    LARGEST,
    Change,
    Entry,
    Step,
    all_jobs,
    applier,
    carry_out,
    plan_apply,
    read_entries,
    write_entries,
)
from tenure.client.presence import editor, nudge_owner
from tenure.client.warnings import about_the_zone
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.job import JobState
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where, now
from tenure.surfaces.cli.jobs import warn_of_unreadable


@click.command(cls=Verb)
@click.argument("file", metavar="FILE")
@click.option(
    "--prune", is_flag=True, help="Remove jobs that this file added before and no longer has."
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.pass_obj
def apply(where: Where, file: str, prune: bool, dry_run: bool) -> None:
    """Make the jobs match a TOML file of [[job]] tables; - reads standard input.

    Applying a file twice changes nothing. Jobs that it does not name are left alone.
    """
    entries = read_entries(_read(file))
    path = "-" if file == "-" else os.path.realpath(file)
    if prune and path == "-":
        raise InvalidInput("needs a file, not standard input", field="prune")
    with where.open(create=not dry_run) as profile:
        at = now()
        steps = plan_apply(
            profile.store,
            entries,
            path=path,
            prune=prune,
            timezone=profile.timezone(),
            grace=profile.settings().grace,
            now=at,
        )
        work = [step for step in steps if step.change is not Change.KEEP]
        if work and not dry_run:
            by = applier(editor("tenure"), path)
            carry_out(profile.store, work, by=by, now=at)
            nudge_owner(profile, "jobs")
        warnings = _about_the_zone(profile, entries, work, at)
    if where.json:
        changes = [{"change": str(s.change), "name": s.name} for s in steps]
        output.print_json({"applied": not dry_run, "changes": changes})
        return
    for step in work:
        output.say(f"{'would ' if dry_run else ''}{step.change}: {output.safe(step.name)}")
    output.say(f"{len(steps) - len(work)} unchanged, {len(work)} changed" + _dry(dry_run))
    for warning in warnings:
        output.warn(warning.text, warning.remedy)


def _about_the_zone(
    profile: Profile, entries: Sequence[Entry], work: Sequence[Step], at: datetime
) -> list[ProfileWarning]:
    """Once for the file: where TZ differs from the zone of jobs that name none."""
    silent = {entry.name for entry in entries if "tz" not in entry.fields}
    for step in work:
        if step.name in silent and step.definition is not None:
            found = about_the_zone(profile, step.definition.schedule, at)
            if found:
                return found
    return []


def _dry(dry_run: bool) -> str:
    return " if applied" if dry_run else ""


def _read(file: str) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(file, "rb") as opened:
                content = opened.read(LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"{file} does not exist", field="file") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", field="file") from None
    if len(content) > LARGEST:
        raise InvalidInput(f"larger than {LARGEST} bytes", field="file")
    return content


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.option(
    "-o", "--output", "target", metavar="FILE", help="Write to this file (standard output)."
)
@click.option("--show-secrets", is_flag=True, help="Write secrets unmasked.")
@click.pass_obj
def export(where: Where, jobs: tuple[str, ...], target: str | None, show_secrets: bool) -> None:
    """Write jobs as a TOML file that `tenure apply` reads.

    Masked secrets can be applied again to a profile that has them.
    """
    with where.open(readonly=True) as profile:
        if jobs:
            found = [profile.store.job(name) for name in dict.fromkeys(jobs)]
        else:
            states = frozenset({JobState.ACTIVE, JobState.PAUSED, JobState.DONE})
            found = all_jobs(profile.store, states)
    text = write_entries(found, show_secrets=show_secrets)
    warn_of_unreadable(found, where)
    if target is not None:
        mode = 0o600
        descriptor = os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            error.filename = target
            raise
    elif where.json:
        output.print_json({"toml": text})
    else:
        sys.stdout.write(text)
