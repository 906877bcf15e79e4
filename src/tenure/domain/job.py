"""A job: what its user wants run, when, and under which conditions.

A :class:`Definition` is the user's part. It is valid by construction: building one with bad
values raises :class:`~tenure.domain.errors.InvalidInput` naming the field, so that every way in
(command line, library, a TOML file, the store read back) checks the same things once.

A :class:`Job` is a definition with its history's edge: identity, revision, state, and the
*watermark*, the last instant up to which every fire is accounted for (C5). Revisions only grow;
every edit makes one, and names its editor (C14).

    active <--> paused        resume accounts for the fires in between as skipped
    active  --> done          a schedule with no fire left
    active <--> dormant       the app that declared it no longer does
    any     --> removed       a tombstone: the watermark outlives the job
    done    --> active        by an edit whose schedule has a fire
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tenure.domain.durations import format_duration
from tenure.domain.errors import Conflict, IllegalTransition, InvalidInput
from tenure.domain.names import escape_hidden, is_shown
from tenure.domain.schedule.model import Schedule, ScheduleKind

MAX_NAME = 200
_WORD = "1 to 100 printable characters"
MAX_COMMAND = 128 * 1024
MAX_ENV = 1000
MAX_RETRIES = 100
DEFAULT_GRACE = timedelta(minutes=1)
DEFAULT_BACKOFF = timedelta(seconds=10)
LONGEST = timedelta(days=3660)


class JobState(StrEnum):
    """The state of a job."""

    ACTIVE = "active"
    PAUSED = "paused"
    DORMANT = "dormant"
    DONE = "done"
    REMOVED = "removed"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.ACTIVE: frozenset({JobState.PAUSED, JobState.DORMANT, JobState.REMOVED}),
    JobState.PAUSED: frozenset({JobState.ACTIVE, JobState.REMOVED}),
    JobState.DORMANT: frozenset({JobState.ACTIVE, JobState.REMOVED}),
    JobState.DONE: frozenset({JobState.REMOVED}),
}
"""Changes that a user may request; only the schedule sets or leaves "done"."""


def check_state(now: JobState, then: JobState) -> None:
    """Raise IllegalTransition, changing nothing, unless the table has the arrow."""
    if then not in TRANSITIONS.get(now, frozenset()):
        remedy = "give it a schedule with runs left: edit it" if now is JobState.DONE else ""
        raise IllegalTransition(f"a job that is {now} cannot become {then}", remedy=remedy)


class Overlap(StrEnum):
    """What a fire does while the job's previous run is still active."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    CANCEL = "cancel"


class CatchUp(StrEnum):
    """Which missed fires run once an owner is back."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Runner(StrEnum):
    """What carries a run; each kind has its own slots."""

    COMMAND = "command"
    THREAD = "thread"
    ASYNC = "async"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to start: an argument vector, or one line for ``/bin/sh`` (``shell``)."""

    argv: tuple[str, ...]
    shell: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    """None: the home folder of the user."""
    stdin: str | None = None

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidInput(
                "no command given", field="command", remedy="put it after --: -- echo hello"
            )
        if self.shell and len(self.argv) != 1:
            raise InvalidInput(
                "a shell job takes one line",
                field="command",
                remedy="quote the line: --shell -- 'a | b'",
            )
        if sum(len(a) + 1 for a in self.argv) > MAX_COMMAND:
            raise InvalidInput(f"longer than {MAX_COMMAND} characters", field="command")
        if any("\0" in a for a in self.argv):
            raise InvalidInput("contains a NUL character", field="command")
        if len(self.env) > MAX_ENV:
            raise InvalidInput(f"more than {MAX_ENV} variables", field="env")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise InvalidInput(
                    f"{name!r} is not a valid variable name", field="env", remedy="K=V"
                )
        if self.cwd is not None and not self.cwd.startswith("/"):
            raise InvalidInput(
                f"{self.cwd!r} is not an absolute path",
                field="cwd",
                remedy="say it from the root on, as in /some/folder",
            )
        if self.stdin is not None and len(self.stdin) > 1024 * 1024:
            raise InvalidInput("longer than 1 MiB", field="stdin", remedy="read a file instead")
        self._check_text()

    def _check_text(self) -> None:
        """Half characters, of bytes that were no UTF-8, cannot be kept."""
        for name, words in (
            ("command", self.argv),
            ("env", (*self.env, *self.env.values())),
            ("cwd", (self.cwd or "",)),
            ("stdin", (self.stdin or "",)),
        ):
            if any(not w.isascii() and w != w.encode(errors="replace").decode() for w in words):
                raise InvalidInput(
                    "holds bytes that are not UTF-8", field=name, remedy="write it in UTF-8"
                )

    def describe(self) -> str:
        """The command as a person would type it."""
        if self.shell:
            return self.argv[0]
        return " ".join(
            a if a and _plain(a) else "'" + a.replace("'", "'\\''") + "'" for a in self.argv
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A Python callable that an app declares; found by name in the owner, never pickled."""

    target: str
    """``app:name``."""
    runner: Runner = Runner.THREAD
    args: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments, JSON values only."""

    def __post_init__(self) -> None:
        app, _, name = self.target.partition(":")
        if not app or not name:
            raise InvalidInput(f"{self.target!r} is not app:name", field="target")
        if self.runner is Runner.COMMAND:
            raise InvalidInput("a callable cannot use the command runner", field="runner")
        try:
            text = json.dumps(dict(self.args), allow_nan=False, ensure_ascii=False)
            # Half a character, of bytes that were no UTF-8, cannot be kept.
            text.encode()
        except (TypeError, ValueError) as error:
            remedy = "a dictionary of text, numbers, true, false, null, lists and dictionaries"
            raise InvalidInput(f"not JSON: {error}", field="args", remedy=remedy) from None
        if len(text) > MAX_COMMAND:
            raise InvalidInput(f"longer than {MAX_COMMAND} characters", field="args")

    @property
    def app(self) -> str:
        return self.target.partition(":")[0]

    def describe(self) -> str:
        return f"{self.target}()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Why a stored definition cannot be read whole. It never fires; it can be looked at, paused,
    removed, and mended by an edit."""

    reason: str
    fields: tuple[str, ...]
    """Of the definition, those that hold a placeholder; ``timezone`` if only a zone is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the user wants. Valid by construction; raises InvalidInput naming the field."""

    name: str
    schedule: Schedule
    action: Command | Call
    protected: bool = False
    requires: tuple[str, ...] = ()
    """Capabilities that the owner must not be denied; implies the authoritative owner (C8)."""
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp | None = None
    """None: the latest for cron and one-shot schedules, none for intervals."""
    window: timedelta | None = None
    """How far back catch-up reaches; None is without bound for 'latest', a day for 'all'."""
    grace: timedelta = DEFAULT_GRACE
    """A fire started later than this is a misfire, and goes by ``catch_up``."""
    jitter: timedelta = timedelta(0)
    """A delay below this bound, the same at each fire of one job, so that order is kept."""
    timeout: timedelta | None = None
    retries: int = 0
    backoff: timedelta = DEFAULT_BACKOFF
    """The pause before the first retry; it doubles each time, up to an hour."""
    retry_lost: bool = False
    """Also retry a run that is lost, or proved never to have run: may repeat its effects."""
    tags: tuple[str, ...] = ()
    damage: Damage | None = field(default=None, metadata={"stored": False})
    """Set where the store could not read it; never written."""

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > MAX_NAME:
            raise InvalidInput(f"must have 1 to {MAX_NAME} characters", field="name")
        if not is_shown(self.name) or self.name != self.name.strip():
            raise InvalidInput(
                "no control characters, none that turn the direction of text, no space at either "
                "end",
                field="name",
                remedy=f"leave them out of {escape_hidden(self.name)!r}",
            )
        for name, value, least in (
            ("grace", self.grace, timedelta(seconds=1)),
            ("jitter", self.jitter, timedelta(0)),
            ("backoff", self.backoff, timedelta(0)),
            ("timeout", self.timeout, timedelta(milliseconds=1)),
            ("window", self.window, timedelta(seconds=1)),
        ):
            if value is not None and not least <= value <= LONGEST:
                raise InvalidInput(
                    f"must be from {format_duration(least)} to {format_duration(LONGEST)}, "
                    f"not {format_duration(value)}",
                    field=name,
                )
        if not 0 <= self.retries <= MAX_RETRIES:
            raise InvalidInput(
                f"must be from 0 to {MAX_RETRIES}, not {self.retries}", field="retries"
            )
        if len(self.requires) > 20 or len(self.tags) > 50:
            raise InvalidInput("too many", field="tags" if len(self.tags) > 50 else "requires")
        for tag in self.tags:
            if not tag or len(tag) > 100 or not tag.isprintable():
                raise InvalidInput(f"{tag[:40]!r} is not a valid tag: {_WORD}", field="tags")
        for capability in self.requires:
            if not capability or len(capability) > 100 or not capability.isprintable():
                raise InvalidInput(
                    f"{capability[:40]!r} is not a valid capability: {_WORD}", field="requires"
                )
        lent = isinstance(self.action, Call) and self.overlap is Overlap.SKIP and not self.jitter
        if self.schedule.kind is ScheduleKind.FOREIGN and (
            not lent or self.catch_up is CatchUp.ALL
        ):
            text = (
                "what another scheduler plans is a call that skips, without jitter or catch-up all"
            )
            raise InvalidInput(text, field="schedule")

    @property
    def runner(self) -> Runner:
        return Runner.COMMAND if isinstance(self.action, Command) else self.action.runner

    @property
    def needs_authority(self) -> bool:
        """Whether only an authoritative owner may run it (C8)."""
        return self.protected or bool(self.requires)

    @property
    def catching_up(self) -> CatchUp:
        """The catch-up in force: what the user said, else the default for the kind (C5)."""
        if self.catch_up is not None:
            return self.catch_up
        return CatchUp.NONE if self.schedule.kind is ScheduleKind.EVERY else CatchUp.LATEST

    def retry_delay(self, attempt: int) -> timedelta:
        """The pause after the given failed attempt (1 is the first)."""
        doubled: timedelta = self.backoff * (1 << min(attempt - 1, 16))
        return min(doubled, timedelta(hours=1))

    def with_changes(self, **changes: Any) -> Definition:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A definition as the store keeps it. Instants are UTC."""

    id: str
    definition: Definition
    revision: int
    state: JobState
    created_at: datetime
    edited_at: datetime
    edited_by: str
    watermark: datetime
    """Every fire up to here is accounted for; the next is planned after it."""
    due_at: datetime | None
    """When the owner looks at it next: a fire plus jitter, or a deferred catch-up."""
    waiting: bool = False
    """A fire is due but waits for the previous run to end (overlap queue or cancel)."""
    deferred: bool = False
    """The due fire is a catch-up that already waited for its turn in the spread."""
    approved_revision: int = 0
    app: str | None = None
    app_version: str | None = None

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def damage(self) -> Damage | None:
        """Why its definition cannot be read; the owner runs none of its fires meanwhile."""
        return self.definition.damage

    @property
    def next_fire(self) -> datetime | None:
        """The next nominal fire after the watermark, in UTC; None when none is left."""
        if self.state is not JobState.ACTIVE or self.damage is not None:
            return None
        return self.definition.schedule.next_after(self.watermark)

    def watermark_after_change(self, definition: Definition, now: datetime) -> datetime:
        """The watermark once a user changed it to ``definition`` at ``now`` and its pending fires
        are accounted for. A foreign job keeps its: what is pending is unknown until announced."""
        kinds = {self.definition.schedule.kind, definition.schedule.kind}
        return self.watermark if kinds == {ScheduleKind.FOREIGN} else max(self.watermark, now)


def remedy_for_paused(job: Job) -> str:
    """How a paused job is resumed: a foreign one where it is defined."""
    if job.definition.schedule.kind is ScheduleKind.FOREIGN:
        return "resume it in the scheduler that plans it"
    return f"tenure resume {job.name}"


def looks_like(name: str, job: str) -> Conflict:
    """Why a new name is refused: a person would take it for the name of that other job."""
    return Conflict(
        f"it looks like the name of another job, {name!r}",
        field="name",
        remedy="choose a name that differs in more than case or look, or edit that job",
        job=job,
    )


def why_unreadable(job: Job) -> str:
    """One sentence for a person. For a job with damage."""
    assert job.damage is not None
    return f"the job {job.name} cannot be read: {job.damage.reason}"


def remedy_for_unreadable(job: Job, option: str = "") -> str:
    """What mends it; ``option`` names the profile, as ``--profile x`` with a blank before it."""
    assert job.damage is not None
    if job.app is not None:
        return "start a version of its app that declares it again"
    name = shlex.quote(job.name)
    if "timezone" in job.damage.fields:
        what = "--tz ZONE"
    elif "schedule" in job.damage.fields:
        what = "--schedule SCHEDULE"
    elif "action" in job.damage.fields:
        what = "-- COMMAND"
    else:
        what = f"--{job.damage.fields[0].replace('_', '-')} ..." if job.damage.fields else "..."
    zones = ", or newer zone data (tzdata)," if "timezone" in job.damage.fields else ""
    edit, remove = f"tenure edit {name}{option} {what}", f"tenure remove {name}{option}"
    return f"`{edit}`{zones} mends it, `{remove}` removes it"


def jitter_of(job_id: str, jitter: timedelta) -> timedelta:
    """The delay of one job: fixed by its id, evenly spread below ``jitter``."""
    if not jitter:
        return timedelta(0)
    part = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") / 2**64
    return timedelta(microseconds=int(jitter / timedelta(microseconds=1) * part))


def _plain(word: str) -> bool:
    return all(c.isalnum() or c in "_-./:=@%+," for c in word)
