"""``tenure add``, ``edit``, ``apply`` and ``export``: definitions from options and TOML files.

Option values stay text: :mod:`tenure.client.definitions` checks what they mean.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from tenure.client import edits
from tenure.client import warnings as advisor
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
from tenure.client.definitions import build, next_fires
from tenure.client.documents import instant
from tenure.client.documents.jobs import job_document
from tenure.client.job_fields import FIELDS, FLAG, NUMBER, JobField, Option
from tenure.client.presence import editor, nudge_owner
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.job import Command, Definition, Job, JobState
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.store.folder.user_home import expand
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import DRY_RUN, JOB, Verb, Where, now
from tenure.surfaces.cli.output import when

F = TypeVar("F", bound=Callable[..., Any])


# -- options --------------------------------------------------------------------------------------
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
        raise InvalidInput("no command line was given", field="shell", remedy="--shell -- 'a | b'")
    return given


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    env = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput(
                f"variable {name[:40]!r} has no value" if name else "a variable needs a name",
                field="env",
                remedy="write --env NAME=VALUE",
            )
        env[name] = value
    return env


# -- add ------------------------------------------------------------------------------------------
@click.command(cls=Verb, options_metavar="[OPTIONS]")
@click.argument("schedule")
@click.option("--name", metavar="NAME", help="The job's name (default: from the command).")
@job_options
@click.option("--paused", is_flag=True, help="Add the job paused.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def add(
    where: Where,
    /,
    schedule: str,
    name: str | None,
    paused: bool,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Add a job: tenure add SCHEDULE [OPTIONS] -- COMMAND...

    SCHEDULE is cron with five or six fields (seconds first), '@daily', 'every 90s',
    'every monday 9am', 'in 30m' or an ISO instant. The command runs in the home folder, with the
    PATH of the profile's [env] or else of the owner.
    """
    _check_words(schedule, command)
    given = {**given_fields(options, command), "schedule": schedule, "name": name}
    at = now()
    # What is wrong is said before anything is created.
    build(given, now=at, timezone="UTC")
    with where.open(create=True) as profile:
        job = edits.create(profile, {**given, "paused": paused}, via="tenure add", now=at)
        profile.refresh_policy(editor("tenure add"), at)
        warnings = advisor.advice(profile, job)
        if "tz" not in given:
            warnings += advisor.about_the_zone(profile, job.definition.schedule, at)
    lines = [f"added {output.safe(job.name)} ({job.id}): {job.definition.schedule.describe()}"]
    if job.state is JobState.PAUSED:
        lines.append(f"  paused; `tenure resume {shlex.quote(job.name)}` starts it")
    _report(where, job, at, lines, warnings)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _check_words(schedule: str, command: tuple[str, ...]) -> None:
    """Refuse a schedule that the shell split: its rest must not become the command."""
    lone = not (set(schedule) - set("0123456789*/,-")) and not _DATE.fullmatch(schedule)
    if (lone and len(schedule) < 12) or schedule in ("every", "in", "at"):
        raise InvalidInput(
            f"{schedule!r} is not a complete schedule",
            field="schedule",
            remedy="quote it as one word: tenure add '0 7 * * *' -- COMMAND",
        )
    if not command:
        raise InvalidInput(
            "no command given",
            field="command",
            remedy=f"put the command last: tenure add {shlex.quote(schedule)} -- COMMAND",
        )


def _report(
    where: Where,
    job: Job,
    at: datetime,
    lines: Sequence[str],
    warnings: Sequence[ProfileWarning],
    *,
    fires_shown: bool = True,
) -> None:
    upcoming = next_fires(job, at, 3)
    if where.json:
        output.print_json(
            {
                "job": job_document(job),
                "next": [instant(fire) for fire in upcoming],
                "warnings": output.warning_documents(warnings),
            }
        )
        return
    for line in lines:
        output.say(line)
    for fire in upcoming if fires_shown else ():
        output.say(f"  next  {when(fire, job.definition.schedule.timezone, at)}")
    for warning in warnings:
        output.warn(warning.text, warning.remedy)


# -- edit -----------------------------------------------------------------------------------------
@click.command(cls=Verb)
@click.argument("job", type=JOB)
@click.option("--schedule", metavar="SCHEDULE", help="A new schedule.")
@click.option("--rename", metavar="NAME", help="A new name.")
@job_options
@click.option("--unset-env", multiple=True, metavar="K", help="Remove a variable (repeatable).")
@click.option(
    "--reset",
    "resets",
    multiple=True,
    metavar="FIELD",
    help="Reset a field to its default (repeatable).",
)
@click.option("--approve", is_flag=True, help="Approve the revision for protected runs.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def edit(
    where: Where,
    /,
    job: str,
    schedule: str | None,
    rename: str | None,
    unset_env: tuple[str, ...],
    resets: tuple[str, ...],
    approve: bool,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Change a job. Only the given options change; --env adds to the existing variables.

    Each edit is a revision that names its editor. Concurrent edits of different fields are both
    kept.
    """
    _check_command(command, bool(options.get("shell")))
    given = given_fields(options, command)
    given |= {k: v for k, v in (("schedule", schedule), ("name", rename)) if v is not None}
    if not (given or unset_env or resets or approve):
        raise InvalidInput("no change was given", remedy="`tenure edit --help` lists the options")
    with where.open() as profile:
        at, via = now(), "tenure edit"
        before = after = profile.store.job(job)
        if given or unset_env or resets:
            after = edits.edit(
                profile,
                before.id,
                _with_env(given, before.definition, unset_env),
                revision=before.revision,
                via=via,
                now=at,
                merge=True,
                resets=resets,
            )
        if approve:
            after = edits.approve(profile, after.id, after.revision, via=via, now=at)
        warnings = advisor.advice(profile, after)
        if "schedule" in given and "tz" not in given:
            warnings += advisor.about_the_zone(profile, after.definition.schedule, at)
        _report_edit(where, before, after, at, warnings)


def _check_command(command: tuple[str, ...], shell: bool) -> None:
    """Refuse ``edit JOB 'every 30s'``: it means the schedule, and would replace the command."""
    if shell or len(command) != 1 or not (" " in command[0] or command[0].startswith("@")):
        return
    try:
        parse_schedule(command[0], now=now(), timezone="UTC")
    except InvalidInput:
        return
    raise InvalidInput(
        f"{command[0]!r} is a schedule, not a command",
        field="command",
        remedy=f"--schedule {shlex.quote(command[0])}",
    )


def _with_env(
    given: dict[str, Any], definition: Definition, unset: tuple[str, ...]
) -> dict[str, Any]:
    """``--env`` adds to the existing variables; ``--unset-env`` removes some."""
    if "env" not in given and not unset:
        return given
    action = definition.action
    standing = dict(action.env) if isinstance(action, Command) else {}
    for name in unset:
        if name not in standing:
            raise InvalidInput(
                f"the job has no variable {name!r}", field="unset-env", remedy="see `tenure show`"
            )
        del standing[name]
    return {**given, "env": {**standing, **given.get("env", {})}}


def _report_edit(
    where: Where, before: Job, after: Job, at: datetime, warnings: list[ProfileWarning]
) -> None:
    name, schedule = output.safe(after.name), after.definition.schedule
    lines, edited = [], after.revision != before.revision
    if after.approved_revision != before.approved_revision:
        lines.append(f"approved revision {after.revision} of {name}")
    elif not edited:
        lines.append(f"{name} already has this definition; nothing changed")
    if edited:
        lines.append(f"edited {name}: revision {after.revision}, {schedule.describe()}")
    # People see warnings of an edit; --json has them always.
    shown = warnings if edited or where.json else []
    changed = schedule != before.definition.schedule
    _report(where, after, at, lines, shown, fires_shown=changed)


# -- apply and export -----------------------------------------------------------------------------
@click.command(cls=Verb)
@click.argument("file", metavar="FILE")
@click.option(
    "--prune", is_flag=True, help="Remove jobs that this file added before and no longer has."
)
@DRY_RUN
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
        warnings = _zone_warnings(profile, entries, work, at)
    if_applied = " if applied" if dry_run else ""
    where.answer(
        {
            "applied": not dry_run,
            "changes": [{"change": str(step.change), "name": step.name} for step in steps],
        },
        *(f"{_done(step, dry_run)}: {output.safe(step.name)}" for step in work),
        f"{len(steps) - len(work)} unchanged, {len(work)} changed{if_applied}",
    )
    for warning in () if where.json else warnings:
        output.warn(warning.text, warning.remedy)


def _done(step: Step, dry_run: bool) -> str:
    """``would add``, ``added``: every word of a change is a regular verb."""
    word = str(step.change)
    return f"would {word}" if dry_run else word.removesuffix("e") + "ed"


def _zone_warnings(
    profile: Profile, entries: Sequence[Entry], work: Sequence[Step], at: datetime
) -> list[ProfileWarning]:
    """Once for the file: where TZ differs from the zone of jobs that name none."""
    silent = {entry.name for entry in entries if "tz" not in entry.fields}
    for step in work:
        if step.name in silent and step.definition is not None:
            warnings = advisor.about_the_zone(profile, step.definition.schedule, at)
            if warnings:
                return warnings
    return []


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
    "-o", "--output", "target", metavar="FILE", help="The file to write (default: standard output)."
)
@click.option("--show-secrets", is_flag=True, help="Write secrets unmasked.")
@click.pass_obj
def export(where: Where, jobs: tuple[str, ...], target: str | None, show_secrets: bool) -> None:
    """Write jobs as a TOML file that `tenure apply` reads.

    Masked secrets can be applied again to a profile that has them.
    """
    with where.open(readonly=True) as profile:
        if jobs:
            chosen = [profile.store.job(name) for name in dict.fromkeys(jobs)]
        else:
            states = frozenset({JobState.ACTIVE, JobState.PAUSED, JobState.DONE})
            chosen = all_jobs(profile.store, states)
    text = write_entries(chosen, show_secrets=show_secrets)
    output.warn_of_unreadable(chosen, where.name)
    if target is not None:
        # Private from the start: the file may hold secrets.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
