"""The protected jobs of Hermes: ``<home>/tenure/jobs.json``, by Hermes' job id.

Apart from Hermes' own ``jobs.json``, which Hermes rewrites. The owner reads it at each tick; it is
changed here, by one process at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.back.disk import Disk, lock, unlock
from tenure.adapters.hermes.facts.adoption_record import ADOPTED, ADOPTING, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.jobs_file import HermesJob, read_jobs
from tenure.domain.errors import Conflict, InvalidInput, NotFound, Refused

VERSION = 1


Protection = Mapping[str, tuple[str, ...]]
"""The protected jobs by Hermes' id, and what each requires."""


def read_protection(home: HermesHome) -> Protection:
    """Without the file no job is protected. Raises InvalidInput for a damaged file, or one that a
    newer Tenure wrote."""
    with _readable(home):
        return {id: _capabilities(entry.get("requires", [])) for id, entry in _read(home).items()}


def _capabilities(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{found!r} is not a list of capabilities")
    return tuple(found)


Entries = dict[str, dict[str, Any]]
LOCK_WAIT_S = 10.0
"""A change takes milliseconds, so a process that holds the lock for longer hangs."""


def find_job(home: HermesHome, ref: str) -> HermesJob:
    """The job that an id or a name means. Raises NotFound, Conflict, Refused."""
    file = read_jobs(home)
    if file.problem is not None:
        raise Refused(f"{home.jobs_file} cannot be read: {file.problem}")
    for job in file.jobs:
        if job.id == ref:
            return job
    named = [job for job in file.jobs if job.name == ref]
    if len(named) > 1:
        raise Conflict(
            f"{len(named)} jobs of Hermes are named {ref!r}",
            remedy=f"name one by its id: {', '.join(job.id for job in named)}",
        )
    if not named:
        raise NotFound(
            f"Hermes has no job {ref!r} in {home.jobs_file}",
            remedy=f"`{home.command} cron list` shows them",
        )
    return named[0]


def protect(
    home: HermesHome, refs: Sequence[str], requires: Sequence[str], now: datetime
) -> list[HermesJob]:
    """Jobs that only an authoritative owner may run. ``now`` is UTC.

    Raises Refused for a home that is not adopted, and what :func:`find_job` raises; then nothing
    is changed. One that is protected already keeps since when, and gets the new requirements.
    """
    check_capabilities(requires)
    jobs = [find_job(home, ref) for ref in refs]
    since = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def add(entries: Entries) -> None:
        for job in jobs:
            kept = entries.get(job.id, {}).get("since", since)
            entries[job.id] = {"since": kept, "requires": list(requires)}

    _change(home, add)
    return jobs


def unprotect(home: HermesHome, refs: Sequence[str]) -> list[str]:
    """The ids that are not protected any more. One that Hermes has no more is found by its id."""
    with _readable(home):
        protected = _read(home)
    ids = [ref if ref in protected else find_job(home, ref).id for ref in refs]
    for ref, id in zip(refs, ids, strict=True):
        if id not in protected:
            raise NotFound(f"the job {ref!r} is not protected")

    def take(entries: Entries) -> None:
        for id in ids:
            entries.pop(id, None)

    _change(home, take)
    return ids


def check_capabilities(requires: Sequence[str]) -> None:
    """Raises InvalidInput."""
    for capability in requires:
        if not capability.strip() or len(capability) > 100 or not capability.isprintable():
            raise InvalidInput(f"{capability!r} is not a valid capability", field="requires")
    if len(requires) > 20:
        raise InvalidInput("too many", field="requires")


def _change(home: HermesHome, change: Callable[[Entries], None]) -> None:
    adoption = read_adoption(home)
    if adoption is None or adoption.state not in (ADOPTING, ADOPTED) or not adoption.is_of(home):
        raise Refused(
            f"{home.path} is not adopted, so nothing would protect the job",
            remedy=f"tenure hermes adopt --hermes-home {home.path}",
        )
    # Read under the lock: two commands at once must not lose each other's change.
    with _locked(home):
        with _readable(home):
            entries = _read(home)
        change(entries)
        content = json.dumps({"v": 1, "protected": entries}, indent=1).encode()
        Disk().write(str(home.sidecar), content)


def _read(home: HermesHome) -> Entries:
    try:
        document = json.loads(home.sidecar.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if document["v"] != VERSION:
        raise ValueError(f"version {document['v']!r} was written by another version of Tenure")
    return {str(id): dict(entry) for id, entry in document["protected"].items()}


@contextmanager
def _readable(home: HermesHome) -> Iterator[None]:
    """Raises InvalidInput, with the remedy, for what reading the file raises."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            f"{home.sidecar}, which says which jobs are protected, cannot be read: {error}",
            remedy="restore it, or delete it and protect the jobs again: tenure hermes protect JOB",
        ) from error


@contextmanager
def _locked(home: HermesHome) -> Iterator[None]:
    """Alone. Raises Conflict where another one stays at it."""
    path = str(home.tenure / ".sidecar.lock")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    descriptor = lock(path, LOCK_WAIT_S)
    if descriptor is None:
        raise Conflict(
            f"another process changes which jobs are protected, and has not ended for "
            f"{LOCK_WAIT_S:g} seconds; nothing was changed",
            remedy=f"if it hangs, end it: `fuser -v {path}` shows its pid",
        )
    try:
        yield
    finally:
        unlock(descriptor)
