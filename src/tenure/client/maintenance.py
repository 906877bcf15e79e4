"""Restore, migrate, adopt, remove: changes of a whole profile, while no process uses it.

A database that is replaced is kept aside, never overwritten. After a restore no process may own
until a person confirms it with ``adopt``: what ran since the backup is not in it. Adopting a
restored or a copied profile therefore records everything that was due before as missed, so that
no fire of the past is run a second time (C4), and withdraws the requests that were still waiting.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tenure.client.apply import all_jobs
from tenure.domain.errors import (
    Conflict,
    CorruptStore,
    InvalidInput,
    NotFound,
    Refused,
    TenureError,
)
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.ownership import HolderLife, OwnershipAction, OwnershipState
from tenure.domain.request import RequestState
from tenure.domain.run import ACTIVE, Result, RunState
from tenure.domain.schedule.model import ScheduleKind
from tenure.host.live import life_of
from tenure.host.processes import machine_id
from tenure.runtime.members import life_of_process
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.store.folder import identity as profile_id
from tenure.store.folder.files import sync_folder
from tenure.store.folder.identity import AdoptionReason
from tenure.store.folder.layout import ProfileFolder
from tenure.store.sqlite import SqliteStore

_PARTS = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. ``aside`` is where the old database lies now, None if there was none."""

    aside: Path | None
    jobs: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What adopting did. ``term`` is the floor: every term from now on is above it."""

    how: AdoptionReason
    term: int
    settled: int
    """Jobs whose past was accounted for as missed."""


def living(folder: ProfileFolder) -> tuple[str, ...]:
    """The ids of the processes that hold a live lock in this profile; needs no database."""
    try:
        names = sorted(os.listdir(folder.live))
    except FileNotFoundError:
        return ()
    ids = []
    for name in names:
        with contextlib.suppress(InvalidInput):
            if life_of(folder.live, name, None) is HolderLife.ALIVE:
                ids.append(name)
    return tuple(ids)


def check_unused(folder: ProfileFolder, what: str) -> None:
    """Raise Refused while any process of the profile lives."""
    processes = living(folder)
    if processes:
        count, them = f"{len(processes)} processes are", "them"
        if len(processes) == 1:
            count, them = "1 process is", "it"
        raise Refused(
            f"{count} still using profile {folder.name!r}; stop {them} before {what}",
            remedy=f"`tenure status` lists {them}",
            processes=list(processes),
        )


def restore(folder: ProfileFolder, file: Path, now: datetime) -> Restored:
    """Put a backup in the place of the database, which is kept aside.

    Raises NotFound, CorruptStore for a file that is not a sound store (then nothing is changed),
    Refused while a process of the profile lives, StoreUnwritable.
    """
    if not file.is_file():
        raise NotFound(f"{file} does not exist", field="file")
    if file.resolve() == folder.database.resolve():
        raise InvalidInput("that is the store itself", field="file", remedy="name a backup of it")
    check_unused(folder, "restoring")
    draft = folder.path / "tenure.db.restoring"
    for part in _PARTS:
        draft.with_name(draft.name + part).unlink(missing_ok=True)
    with SqliteStore.open(file, readonly=True, outdated=True) as backup:
        _check_sound(backup, file, "use another backup")
        term = backup.facts().term
        jobs = sum(n for s, n in backup.counts().jobs.items() if s is not JobState.REMOVED)
        backup.backup(draft)
    # SQLite folds the log of a killed process into the old database, if that is sound.
    with contextlib.suppress(TenureError):
        SqliteStore.open(folder.database, outdated=True, patience=timedelta(seconds=1)).close()
    aside = _move_aside(folder.database, now)
    os.rename(draft, folder.database)
    sync_folder(folder.path)
    if profile_id.read(folder) is not None:
        # Also a backup of the current term is old: a process may own only after it is adopted.
        profile_id.commit_term(folder, profile_id.reserve_term(folder, term))
    return Restored(aside=aside, jobs=jobs, term=term)


def _check_sound(store: SqliteStore, path: Path, remedy: str) -> None:
    findings = store.verify()
    if findings:
        raise CorruptStore(f"{path} is damaged: {findings[0]}", remedy=remedy, findings=findings)


def _move_aside(database: Path, now: datetime) -> Path | None:
    stem = f"{database.name}.replaced-{now:%Y%m%dT%H%M%SZ}"
    aside, number = database.with_name(stem), 1
    while any(aside.with_name(aside.name + part).exists() for part in _PARTS):
        number += 1
        aside = database.with_name(f"{stem}-{number}")
    moved = False
    for part in _PARTS:
        old = database.with_name(database.name + part)
        if old.exists():
            os.rename(old, aside.with_name(aside.name + part))
            moved = True
    return aside if moved else None


def migrate(folder: ProfileFolder, now: datetime) -> tuple[int, int]:
    """Bring the store to this version's schema; the schema before and after.

    Raises Refused while a process of the profile lives.
    """
    check_unused(folder, "migrating")
    with SqliteStore.open(folder.database, outdated=True) as store:
        before = store.facts().schema
        return before, store.migrate(now)


def adopt(profile: Profile, how: AdoptionReason, *, by: str, now: datetime) -> Adopted:
    """Make folder, ``profile.id`` and database belong together again.

    Raises Conflict if they do already; Refused while an owner lives.
    """
    problem = profile.identity_problem()
    if problem is None:
        raise Conflict(
            f"profile {profile.name} does not need to be adopted",
            remedy="its folder and database belong together",
        )
    store, folder = profile.store, profile.folder
    if how is not AdoptionReason.MOVED:
        # A file put in place by hand may have met the log of the one before it.
        remedy = "put a backup in its place with `tenure restore FILE`"
        _check_sound(store, folder.database, remedy)
    _vacate(profile, how, now)
    _leave_behind(profile, how, now)
    facts = store.facts()
    settled = 0 if how is AdoptionReason.MOVED else _settle_the_past(profile, by, now)
    floor = profile_id.adopt(
        folder,
        how,
        facts.term,
        machine=machine_id() or "",
        now=now,
        database_id=facts.profile_id,
    )
    store.raise_term_floor(floor)
    known = profile_id.read(folder)
    if known is not None and known.id != facts.profile_id:
        store.set_profile_id(known.id)
    store.record_event(
        EventKind.PROFILE_ADOPTED,
        now,
        facts={"how": str(how), "by": by, "term": floor, "problem": problem.text},
    )
    return Adopted(how=how, term=floor, settled=settled)


def _vacate(profile: Profile, how: AdoptionReason, now: datetime) -> None:
    """End the ownership that came along; refuse if its holder lives here."""
    current = profile.store.ownership()
    if current.hold is not OwnershipState.HELD or current.authority is None:
        return
    holder = profile.store.process(current.authority.process)
    if life_of_process(profile, holder) is HolderLife.ALIVE and holder.id in living(profile.folder):
        raise Refused(
            f"the owner (pid {holder.evidence.identity.pid}) lives",
            remedy="stop it first; `tenure status` shows it",
        )
    profile.store.end_term(
        current.authority,
        act=OwnershipAction.STEP_DOWN,
        why=f"the profile was adopted: {how}",
        now=now,
    )


def _leave_behind(profile: Profile, how: AdoptionReason, now: datetime) -> None:
    """Processes of the other folder or the other time are not here; nor are a copy's runs.

    A run of the original goes on there: its command may well live, and must be neither adopted
    nor ended by the owner of the copy. After a restore the runs are this profile's own, and the
    next owner settles them.
    """
    store = profile.store
    for process in store.processes():
        if life_of_process(profile, process) is not HolderLife.ALIVE:
            store.leave(process.id, now, why=f"the profile was adopted: {how}")
    if how is not AdoptionReason.COPIED:
        return
    active, _ = store.runs(RunFilter(states=ACTIVE), Page(limit=1_000_000))
    ends = [
        Result(
            run=run.id,
            attempt=run.attempt,
            process=run.holder,
            state=RunState.LOST,
            at=now,
            reason="it belongs to the profile that this one was copied from",
        )
        for run in active
    ]
    store.finish(ends, now)


def _settle_the_past(profile: Profile, by: str, now: datetime) -> int:
    """Nothing that was due, or asked for, before this moment is run from here."""
    store = profile.store
    active = all_jobs(store, frozenset({JobState.ACTIVE}))
    reason = "the profile was restored or copied: whether they ran since is not known"
    held, _ = store.omissions(only_open=True, page=Page(limit=1_000_000))
    foreign = {
        job.id for job in all_jobs(store) if job.definition.schedule.kind is ScheduleKind.FOREIGN
    }
    with store.batch():
        for job_id in {hold.job for hold in held} | foreign:
            store.miss_held_fires(job_id, reason, now=now)
        for job in active:
            store.set_job_state(job.id, JobState.PAUSED, by=by, now=now)
            store.set_job_state(job.id, JobState.ACTIVE, by=by, now=now)
        waiting = frozenset({RequestState.PENDING})
        for request in store.requests(states=waiting, limit=1_000_000):
            store.resolve_request(
                request.id,
                RequestState.WITHDRAWN,
                authority=None,
                now=now,
                answer="the profile was restored or copied",
            )
        retrying = RunFilter(states=frozenset({RunState.RETRYING}))
        for run in store.runs(retrying, Page(limit=1_000_000))[0]:
            store.request_cancel(run.id, now)
    return len(active)


def remove(name: str, home: Path) -> Path:
    """Delete a profile with everything in it. Raises Refused while a process of it lives."""
    folder = ProfileFolder.open(name, home)
    stated = home / "profiles" / name
    if stated.is_symlink():
        raise Refused(
            f"{stated} is a link to {folder.path}",
            remedy="remove the link itself, or the profile that it leads to",
        )
    check_unused(folder, "removing it")
    shutil.rmtree(folder.path)
    return folder.path
