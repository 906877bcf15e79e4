"""Texts of the page: instants in a zone, durations, states and outcomes.

Nothing here is markup. Instants are aware; a zone is an IANA key. Thread-safe.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenure.client.foreign_jobs import planner_of
from tenure.domain.job import Job, JobState
from tenure.domain.omission import Omission
from tenure.domain.ownership import OwnershipAction
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import Cause, Run, RunState
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.schedule.zones import load_zone

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

RUN_STATES = {
    RunState.CLAIMED: "about to start",
    RunState.RUNNING: "running",
    RunState.RETRYING: "will be retried",
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.TIMED_OUT: "timed out",
    RunState.CANCELLED: "cancelled",
    RunState.LOST: "lost",
    RunState.NEVER_RAN: "never ran",
}
TONES = {
    RunState.CLAIMED: "busy",
    RunState.RUNNING: "busy",
    RunState.RETRYING: "busy",
    RunState.SUCCEEDED: "ok",
    RunState.FAILED: "bad",
    RunState.TIMED_OUT: "bad",
    RunState.CANCELLED: "quiet",
    RunState.LOST: "bad",
    RunState.NEVER_RAN: "warn",
}
"""How a state is coloured; its icon has the state's own name and shape."""

CAUSES = {
    Cause.SCHEDULE: "its schedule",
    Cause.CATCH_UP: "catch-up of a missed run",
    Cause.HELD: "a held run, started under an authoritative owner",
    Cause.REQUEST: "a request",
}
ASKS = {
    RequestKind.TRIGGER: "run now",
    RequestKind.CANCEL: "cancel",
    RequestKind.RETRY: "run again",
    RequestKind.HAND_OVER: "hand over",
}
REQUEST_STATES = {
    **{state: str(state) for state in RequestState},
    RequestState.PENDING: "waiting for an answer",
}
REQUEST_TONES = {
    RequestState.PENDING: "busy",
    RequestState.ACCEPTED: "busy",
    RequestState.DONE: "ok",
    RequestState.REFUSED: "bad",
    RequestState.EXPIRED: "warn",
    RequestState.WITHDRAWN: "quiet",
}
STANDING_TONES = {
    ProcessStatus.OWNER: "own",
    ProcessStatus.CANDIDATE: "busy",
    ProcessStatus.REFUSED: "warn",
    ProcessStatus.OBSERVER: "quiet",
    ProcessStatus.FOREIGN: "bad",
}
JOB_TONES = {
    JobState.ACTIVE: "ok",
    JobState.PAUSED: "warn",
    JobState.DORMANT: "quiet",
    JobState.DONE: "quiet",
    JobState.REMOVED: "bad",
}
TAKEN = {
    OwnershipAction.TAKE: "the profile had no owner",
    OwnershipAction.TAKE_FROM_DEAD: "the previous owner was dead",
    OwnershipAction.TAKE_BY_FORCE: "taken by force",
    OwnershipAction.REAFFIRM: "reaffirmed",
    OwnershipAction.HAND_OVER: "handed over",
    OwnershipAction.STEP_DOWN: "stepped down",
}


# -- times -----------------------------------------------------------------------------------------


def span(value: timedelta) -> str:
    """About how long: ``80 ms``, ``4.2 s``, ``4 min``, ``2 h 10 min``, ``3 d``."""
    seconds = abs(value.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds >= 0.001 else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if 60 <= seconds < 600:
        minutes, rest = divmod(int(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if 3600 <= seconds < 36000:
        hours, rest = divmod(int(seconds / 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    raise AssertionError(seconds)


def relative(at: datetime, now: datetime) -> str:
    """``in 4 min``, ``2 h ago``, ``now``: the largest unit alone."""
    away = at - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    seconds = abs(away.total_seconds())
    size, unit = next((s, u) for s, u in _UNITS if seconds >= s)
    words = f"{int(seconds / size)} {unit}"
    return f"in {words}" if away > timedelta(0) else f"{words} ago"


def until(at: datetime, now: datetime) -> str:
    """``in 2 h 10 min``, ``in 8 s``, ``now``: no parts of seconds."""
    away = timedelta(seconds=int((at - now).total_seconds()))
    return f"in {span(away)}" if away else "now"


def day_and_time(at: datetime, zone: str, now: datetime, *, seconds: bool = False) -> str:
    """``14:03 CET`` today, ``Tue 14:03 CET`` within a week, ``3 Mar 14:03 CET`` beyond."""
    there, here = at.astimezone(load_zone(zone)), now.astimezone(load_zone(zone))
    clock = f"{there:%H:%M:%S}" if seconds or there.second else f"{there:%H:%M}"
    days = (there.date() - here.date()).days
    if days == 0:
        day = ""
    elif -6 <= days <= 6:
        day = f"{there:%a} "
    elif there.year == here.year:
        day = f"{there.day} {there:%b} "
    else:
        day = f"{there.day} {there:%b} {there.year} "
    return f"{day}{clock} {_abbreviation(there)}"


def whole(at: datetime, zone: str) -> str:
    """``2030-01-31 09:00:00 CET``, for titles and details."""
    there = at.astimezone(load_zone(zone))
    return f"{there:%Y-%m-%d %H:%M:%S} {_abbreviation(there)}"


def calendar_time(local: datetime, now: datetime) -> str:
    """``Sun 29 Mar, 02:30 CET``, with the year where that is another one."""
    day = f"{local:%a} {local.day} {local:%b}"
    year = "" if local.year == now.year else f" {local.year}"
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    return f"{day}{year}, {clock} {_abbreviation(local)}"


def _abbreviation(local: datetime) -> str:
    """``CET``; for zones without letters ``UTC+05:30``."""
    name = local.tzname() or "UTC"
    return name if name[:1].isalpha() else f"UTC{name[:3]}" + (f":{name[3:]}" if name[3:] else "")


def machine_time(at: datetime) -> str:
    """UTC, as a ``datetime`` attribute has it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# -- runs, jobs, processes -------------------------------------------------------------------------


def outcome(run: Run) -> str:
    """Why a run ended as it did, in a few words; empty where there is nothing to add."""
    code = "" if run.exit_code is None else f"exit code {run.exit_code}"
    if run.state is RunState.SUCCEEDED and run.exit_code == 0:
        code = ""
    if not run.reason or not code or code in run.reason:
        return run.reason or code
    return f"{code}: {run.reason}"


def took(run: Run, now: datetime) -> timedelta | None:
    """How long it ran, or has been running."""
    if run.started_at is None:
        return None
    return (run.finished_at or now) - run.started_at


def who(process: Process) -> str:
    """A process as its user knows it: what it calls itself, and its pid."""
    pid = f"pid {process.evidence.identity.pid}"
    return f"{process.role}, {pid}" if process.role else f"{program(process)}, {pid}"


def process_label(process: Process) -> str:
    """The same in one word: its role, else its program."""
    return process.role or program(process)


def program(process: Process) -> str:
    """The program's name without its folder."""
    path = process.evidence.executable or ""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or "a process"


def decided_elsewhere(job: Job) -> str | None:
    """``Hermes decides``, where an active job is not planned here."""
    if job.state is JobState.ACTIVE and job.definition.schedule.kind is ScheduleKind.FOREIGN:
        return f"{planner_of(job)} decides"
    return None


def schedule_words(job: Job, zone: str) -> str:
    """What the schedule says, with its zone where that is not ``zone``."""
    return capitalised(job.definition.schedule.describe().removesuffix(f" ({zone})"))


def omission_words(omission: Omission, zone: str, now: datetime) -> str:
    """``3 scheduled runs held, Mon 22:00 CET to Tue 04:00 CET``."""
    kind = omission.kind
    first = day_and_time(omission.first, zone, now)
    if omission.count == 1:
        return f"1 scheduled run {kind}, {first}"
    last = day_and_time(omission.last, zone, now)
    return f"{omission.count} scheduled runs {kind}, {first} to {last}"


def request_words(request: Request) -> str:
    """What was asked: ``run now``, ``cancel``..."""
    return ASKS[request.kind] + (" (queued)" if request.queued else "")


def capitalised(text: str) -> str:
    """With a capital; a file's name at the beginning stays as it is written."""
    first = text.partition(" ")[0].rstrip(".,:;")
    return text if "." in first or "/" in first else text[:1].upper() + text[1:]


def zone_name(zone: str) -> str:
    """A zone as people say it: ``Etc/UTC`` is UTC."""
    return "UTC" if zone in ("Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu") else zone


def size(count: int) -> str:
    """About how much: ``812 bytes``, ``48 kB``, ``2.7 MB``."""
    if count < 1000:
        return plural(count, "byte")
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"


def plural(number: int, one: str, many: str = "") -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def visible(text: str, lines: bool = True) -> str:
    """With what would deceive the eye written out: what has no looks of its own, looks like a
    space, or turns the text around it. ``lines``: it may have several, and tabs."""
    kept = "\n\t" if lines else "\t"
    return "".join(c if c.isprintable() or c in kept else _written(c) for c in text)


def _written(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
