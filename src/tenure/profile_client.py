"""A profile from any process: view, edit and pause jobs, request runs.

Nothing is executed here. Edits are transactions of the store; trigger, cancel, retry and hand-over
are requests that the owner answers. It works with or without an owner, in a process that is
started or not, and inside a job.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from tenure.declarations import When, check_schedule
from tenure.domain.errors import CorruptStore, InvalidInput, NotFound

if TYPE_CHECKING:
    # Loaded with the first call: a program that only declares jobs does not wait for them.
    from tenure.domain.job import Job
    from tenure.domain.request import Request
    from tenure.domain.run import Run
    from tenure.models import (
        JobExplanation,
        JobFields,
        JobInfo,
        JobState,
        ProfileStatus,
        RequestInfo,
        RequestOptions,
        RequestState,
        RunInfo,
        RunState,
        ScheduledRun,
    )
    from tenure.runtime.profile import Profile

VIA = "Python API"
"""How edits and requests name this interface in the record."""
LOG_LIMIT_BYTES = 1_000_000

Timeout = Literal[True] | float | timedelta | str
"""Seconds, or a duration such as ``"1h30m"``; True: without a limit."""


class ProfileClient:
    """The part of :class:`tenure.Tenure` that views, edits and requests. Thread-safe.

    Every method raises a :class:`~tenure.errors.TenureError` whose ``text`` says what is wrong and
    whose ``remedy`` says what to do: NotFound (no such profile, job, run or request), InvalidInput
    (names the ``field``; nothing was changed), Conflict (changed meanwhile, or the wrong state),
    Refused (by ownership or policy), StoreBlocked (another process blocks the store),
    CorruptStore. Methods block the calling thread: on an event loop use :mod:`tenure.aio`.
    """

    def __init__(self, profile: str, home: str | os.PathLike[str] | None, app: str) -> None:
        self.name = profile
        self.app = app
        self._home = home
        self._client_lock = threading.Lock()
        self._client_profile: Profile | None = None
        self._client_close: weakref.finalize[Any, Any] | None = None

    # -- jobs --------------------------------------------------------------------------------
    def jobs(
        self, *, state: JobState | str | None = None, tag: str | None = None
    ) -> tuple[JobInfo, ...]:
        """The jobs by name; removed ones only with ``state="removed"``."""
        from tenure import models
        from tenure.client.apply import all_jobs
        from tenure.domain.job import JobState

        states = None if state is None else frozenset({_member(JobState, state, "state")})
        with self._opened() as profile:
            jobs = all_jobs(profile.store, states)
        tagged = (job for job in jobs if tag is None or tag in job.definition.tags)
        return tuple(map(models.job_info, tagged))

    def get_job(self, job: str | JobInfo) -> JobInfo:
        """One job, by name or id (:meth:`tenure.Tenure.job` declares one). The name of a job that
        this app declares may be given without ``app:``, here and in all calls. Raises NotFound."""
        from tenure import models

        with self._opened() as profile:
            return models.job_info(self._find(profile, job))

    def add(
        self,
        name: str,
        schedule: str | When,
        command: Sequence[str] | None = None,
        *,
        shell: str | None = None,
        paused: bool = False,
        **fields: Unpack[JobFields],
    ) -> JobInfo:
        """Add a job that runs a command: ``command`` is the argument vector, ``shell`` one line
        for ``/bin/sh`` instead. Creates the profile if there never was one.

        ``schedule`` is text as on the command line (``"0 3 * * *"``, ``"every 5m"``,
        ``"in 30m"``), or :func:`tenure.cron`, :func:`tenure.every`, :func:`tenure.at`. Raises
        InvalidInput naming the field; Conflict if the name is taken.
        """
        from tenure import models
        from tenure.client import edits

        now = datetime.now(UTC)
        given = _given(fields, name=name, paused=paused, command=command, shell=shell)
        with self._opened(create=True) as profile:
            given |= _schedule_fields(profile, schedule, now)
            job = edits.create(profile, given, via=VIA, now=now)
        return models.job_info(job)

    def edit(
        self,
        job: str | JobInfo,
        *,
        name: str | None = None,
        schedule: str | When | None = None,
        command: Sequence[str] | None = None,
        shell: str | None = None,
        reset: Sequence[str] = (),
        **fields: Unpack[JobFields],
    ) -> JobInfo:
        """Change the given fields, and no others; ``reset`` names fields that get their default.

        Given a :class:`~tenure.models.JobInfo`, the edit is one of the revision that it shows:
        what others changed since is kept, and Conflict is raised where both changed the same
        field. Raises Refused for a job that another scheduler plans.
        """
        from tenure import models
        from tenure.client import edits

        now = datetime.now(UTC)
        given = _given(fields, name=name, command=command, shell=shell)
        with self._opened() as profile:
            if schedule is not None:
                given |= _schedule_fields(profile, schedule, now)
            edited = edits.edit(
                profile,
                self._find(profile, job).id,
                given,
                revision=job.revision if isinstance(job, models.JobInfo) else None,
                via=VIA,
                now=now,
                merge=True,
                resets=tuple(reset),
            )
        return models.job_info(edited)

    def pause(self, job: str | JobInfo) -> JobInfo:
        """Pause a job: scheduled runs while it is paused are recorded as skipped. Raises Conflict
        for a job that is done or removed."""
        return self._set_state(job, "paused")

    def resume(self, job: str | JobInfo) -> JobInfo:
        """Resume a paused job, from now on."""
        return self._set_state(job, "active")

    def remove(self, job: str | JobInfo) -> JobInfo:
        """Remove a job. Its history stays; a run that is active goes on."""
        return self._set_state(job, "removed")

    def _set_state(self, job: str | JobInfo, state: str) -> JobInfo:
        from tenure import models
        from tenure.client import edits
        from tenure.domain.job import JobState

        now = datetime.now(UTC)
        with self._opened() as profile:
            ref = self._find(profile, job).id
            changed = edits.set_state(profile, ref, JobState(state), via=VIA, now=now)
        return models.job_info(changed)

    def next(
        self, job: str | JobInfo | None = None, *, limit: int = 10
    ) -> tuple[ScheduledRun, ...]:
        """The runs to come, the earliest first, of one job or of all active ones."""
        from tenure import models
        from tenure.client.status import next_runs

        now = datetime.now(UTC)
        with self._opened() as profile:
            only = None if job is None else self._find(profile, job)
            upcoming = next_runs(profile, now, _limit(limit), only)
        return tuple(models.scheduled_run(job, at) for at, job in upcoming)

    # -- runs --------------------------------------------------------------------------------
    def runs(
        self,
        job: str | JobInfo | None = None,
        *,
        state: RunState | str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[RunInfo, ...]:
        """Runs, the newest first, of one job or of all. ``since``: an aware datetime; only runs
        claimed at or after it."""
        from tenure import models
        from tenure.domain.run import RunState
        from tenure.store.contract import Page, RunFilter

        if since is not None and since.tzinfo is None:
            raise InvalidInput(
                "a datetime without a zone", field="since", remedy="pass an aware datetime"
            )
        states = None if state is None else frozenset({_member(RunState, state, "state")})
        runs: list[Run] = []
        cursor: str | None = None
        with self._opened() as profile:
            only = None if job is None else self._find(profile, job).id
            where = RunFilter(job=only, states=states, since=since)
            while len(runs) < _limit(limit):
                page = Page(limit=min(1000, limit - len(runs)), cursor=cursor)
                part, cursor = profile.store.runs(where, page)
                runs += part
                if cursor is None:
                    break
        return tuple(map(models.run_info, runs))

    def run(self, run: str | RunInfo) -> RunInfo:
        """One run, by its id. Raises NotFound."""
        from tenure import models
        from tenure.client.requests import find_run

        with self._opened() as profile:
            return models.run_info(find_run(profile, _id(run)))

    @overload
    def logs(
        self,
        run: str | RunInfo,
        *,
        follow: Literal[False] = False,
        attempt: int | None = None,
        lines: int | None = None,
        limit: int = LOG_LIMIT_BYTES,
    ) -> str: ...
    @overload
    def logs(
        self, run: str | RunInfo, *, follow: Literal[True], attempt: int | None = None
    ) -> Iterator[str]: ...

    def logs(
        self,
        run: str | RunInfo,
        *,
        follow: bool = False,
        attempt: int | None = None,
        lines: int | None = None,
        limit: int = LOG_LIMIT_BYTES,
    ) -> str | Iterator[str]:
        """What a run wrote, or a job's latest run: the end of it, at most ``limit`` bytes, or only
        the last ``lines``. Bytes that are not UTF-8 are replaced. Of the last attempt unless
        ``attempt`` says otherwise. Raises NotFound.

        With ``follow`` an iterator over all of it, in pieces as they are written, which ends when
        the run ends (with ``attempt``, when that attempt ends) and includes the retries until
        then: ``for text in t.logs(run, follow=True): print(text, end="")``.
        """
        from tenure.client.logs import find_run_or_latest, log_path
        from tenure.runtime.output import layout_of, read_output, tail

        if follow and lines is not None:
            raise InvalidInput("cannot be combined with lines", field="follow")
        with self._opened() as profile:
            record = find_run_or_latest(profile, _id(run))
            path = log_path(profile, record, attempt)
        if follow:
            return self._follow(record, attempt)
        if lines is not None:
            return tail(path, _limit(lines, "lines")).decode("utf-8", "replace")
        begin = max(0, layout_of(path).end - _limit(limit))
        return b"".join(read_output(path, begin)).decode("utf-8", "replace")

    def _follow(self, run: Run, attempt: int | None) -> Iterator[str]:
        from tenure.client.logs import follow_run

        # A piece may end within a character.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._opened() as profile:
            for part in follow_run(profile, run, attempt, sleep=_sleep):
                if text := decoder.decode(part):
                    yield text
        if text := decoder.decode(b"", final=True):
            yield text

    # -- requests to the owner ---------------------------------------------------------------
    @overload
    def trigger(
        self,
        job: str | JobInfo,
        *,
        wait: Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo: ...
    @overload
    def trigger(
        self, job: str | JobInfo, *, wait: Timeout, **options: Unpack[RequestOptions]
    ) -> RunInfo: ...

    def trigger(
        self,
        job: str | JobInfo,
        *,
        wait: Timeout | Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo | RunInfo:
        """Ask the owner to run a job now.

        Returns the accepted request, whose ``run_id`` names the run. With ``wait`` (seconds, a
        duration, or True for no limit) waits for the run's end and returns the run, succeeded or
        not: ``t.trigger("report", wait=60).state``. ``key`` makes repeated calls one request.

        Raises Refused if no process owns the profile, or if the owner refuses (paused, already
        running, protected), with the remedy; with ``queue`` the request is left for the owner for
        24 hours instead, and may still be pending when this returns. Raises OutcomeUnknown if the
        owner does not answer within 30 s: the request will not be carried out. Raises WaitTimeout
        when ``wait`` is over: the run goes on.
        """
        from tenure.client import requests
        from tenure.domain.request import RequestKind

        return self._request(
            wait,
            lambda profile, **how: requests.ask(
                profile, RequestKind.TRIGGER, job=self._find(profile, job).id, **how
            ),
            options,
        )

    @overload
    def retry(
        self,
        run: str | RunInfo,
        *,
        wait: Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo: ...
    @overload
    def retry(
        self, run: str | RunInfo, *, wait: Timeout, **options: Unpack[RequestOptions]
    ) -> RunInfo: ...

    def retry(
        self,
        run: str | RunInfo,
        *,
        wait: Timeout | Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo | RunInfo:
        """Ask the owner to run the job of a finished run again, as a new run. Otherwise as
        :meth:`trigger`. Raises Conflict while the run is active."""
        from tenure.client import requests

        return self._request(
            wait, lambda profile, **how: requests.retry(profile, _id(run), **how), options
        )

    @overload
    def cancel(
        self,
        run: str | RunInfo,
        *,
        wait: Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo: ...
    @overload
    def cancel(
        self, run: str | RunInfo, *, wait: Timeout, **options: Unpack[RequestOptions]
    ) -> RunInfo: ...

    def cancel(
        self,
        run: str | RunInfo,
        *,
        wait: Timeout | Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> RequestInfo | RunInfo:
        """Ask the owner to cancel a run: a command is ended with its whole process group. With
        ``wait`` waits for its end and returns the run. Otherwise as :meth:`trigger`. Raises
        Conflict if the run has ended."""
        from tenure.client import requests

        return self._request(
            wait, lambda profile, **how: requests.cancel(profile, _id(run), **how), options
        )

    def hand_over(self, to: str | int | None = None, *, key: str | None = None) -> RequestInfo:
        """Ask the owner to hand over to the candidate with this process id or pid, else to the
        best one. Returns when the successor owns. Raises InvalidInput if ``to`` is not a living
        candidate; Refused; OutcomeUnknown after 30 s."""
        from tenure import models
        from tenure.client import requests
        from tenure.client.presence import requester

        target = None if to is None else str(to)
        with self._opened() as profile:
            done = requests.hand_over(profile, by=requester(VIA), to=target, key=key)
        return models.request_info(done)

    def requests(
        self, *, state: RequestState | str | None = None, limit: int = 100
    ) -> tuple[RequestInfo, ...]:
        """Requests to the owner, the newest first."""
        from tenure import models
        from tenure.domain.request import RequestState

        states = None if state is None else frozenset({_member(RequestState, state, "state")})
        with self._opened() as profile:
            newest = profile.store.requests(states=states, limit=_limit(limit), newest_first=True)
        return tuple(map(models.request_info, newest))

    def request(self, request: str | RequestInfo) -> RequestInfo:
        """One request, by its id: to see what became of one that was queued. Raises NotFound."""
        from tenure import models

        with self._opened() as profile:
            return models.request_info(profile.store.request(_id(request)))

    def withdraw(self, request: str | RequestInfo) -> RequestInfo:
        """Cancel a pending request. Raises NotFound; Conflict if it was answered."""
        from tenure import models
        from tenure.client import requests

        with self._opened() as profile:
            withdrawn = requests.withdraw(profile, _id(request), now=datetime.now(UTC))
        return models.request_info(withdrawn)

    # -- the profile -------------------------------------------------------------------------
    def status(self) -> ProfileStatus:
        """The owner, every process of the profile, what is wrong, and what runs next."""
        from tenure import models
        from tenure.client.status import read_status

        with self._opened() as profile:
            return models.profile_status(read_status(profile, datetime.now(UTC)))

    def explain(self, job: str | JobInfo) -> JobExplanation:
        """Whether a job would run if it were due now, under which process, and if not, why not.
        Raises NotFound."""
        from tenure import models
        from tenure.client.explain import explain

        with self._opened() as profile:
            ref = self._find(profile, job).id
            return models.job_explanation(explain(profile, ref, datetime.now(UTC)))

    # -- inside ------------------------------------------------------------------------------
    def _request(
        self,
        wait: Timeout | Literal[False],
        send: Callable[..., Request],
        options: RequestOptions,
    ) -> RequestInfo | RunInfo:
        """Send a request; its info, or with ``wait`` the run's once that has ended."""
        from tenure import models
        from tenure.client.presence import requester
        from tenure.client.requests import Waiting, await_run

        waiting = Waiting(patience=_patience(wait), sleep=_sleep)
        until = None if waiting.patience is None else waiting.now() + waiting.patience
        with self._opened() as profile:
            request = send(profile, by=requester(VIA), waiting=waiting, **options)
            if wait is False:
                return models.request_info(request)
            return models.run_info(await_run(profile, request, waiting, until))

    def _find(self, profile: Profile, job: str | JobInfo) -> Job:
        try:
            return profile.store.job(_id(job))
        except NotFound:
            with contextlib.suppress(NotFound):
                return profile.store.job(f"{self.app}:{_id(job)}")
            raise

    @contextlib.contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[Profile]:
        """The profile, opened with the first call."""
        # Over a connection of its own: the scheduler's would not notice what this process commits.
        from tenure.runtime.profile import Profile

        with self._client_lock:
            profile = self._client_profile
            if profile is None:
                profile = Profile.open(
                    self.name, home=self._home, create=create, now=datetime.now(UTC)
                )
                self._client_profile = profile
                self._client_close = weakref.finalize(self, profile.close)
        try:
            yield profile
        except CorruptStore:
            # If its files were replaced, the next call opens the new ones.
            self._close_client(profile)
            raise

    def _close_client(self, opened: Profile | None = None) -> None:
        with self._client_lock:
            if opened in (None, self._client_profile):
                close, self._client_close = self._client_close, None
                self._client_profile = None
                if close is not None:
                    close()

    def _forget_client_in_child(self) -> None:
        """In a forked child: the connection stays the parent's."""
        self._client_lock = threading.Lock()
        profile, self._client_profile = self._client_profile, None
        close, self._client_close = self._client_close, None
        if close is not None:
            close.detach()
        if profile is not None:
            profile.store.forget_in_child()


CALL_CANCELLED: ContextVar[threading.Event | None] = ContextVar("CALL_CANCELLED", default=None)
"""Set by :mod:`tenure.aio`: ends the wait of a call whose task was cancelled."""


class CallCancelled(Exception):
    """Never leaves :mod:`tenure.aio`."""


def _sleep(seconds: float) -> None:
    cancelled = CALL_CANCELLED.get()
    if cancelled is None:
        time.sleep(seconds)
    elif cancelled.wait(seconds):
        raise CallCancelled


# -- input ---------------------------------------------------------------------------------------
def _id(value: Any) -> str:
    """The id of a record, or the text that names one. Raises InvalidInput."""
    ref = getattr(value, "id", value)
    if not isinstance(ref, str):
        raise InvalidInput(f"{value!r} is not a name or an id", field="id")
    return ref


def _limit(value: int, field: str = "limit") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{value!r} is not a whole number above 0", field=field)
    return value


def _member(kind: Any, value: object, field: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise InvalidInput(f"{value!r} is not one of {known}", field=field) from None


def _patience(wait: object) -> timedelta | None:
    """How long to wait; None: without a limit. Raises InvalidInput."""
    from tenure.domain.durations import parse_duration

    if wait is True or wait is False:
        return None
    if isinstance(wait, timedelta):
        return wait
    # NaN fails this too.
    if isinstance(wait, int | float) and 0 <= wait < 1e9:
        return timedelta(seconds=wait)
    if isinstance(wait, str):
        return parse_duration(wait, "wait")
    raise InvalidInput(
        f"{wait!r} is not a number of seconds",
        field="wait",
        remedy='pass True, a number of seconds, a timedelta or a duration such as "5m"',
    )


def _given(fields: JobFields, **more: Any) -> dict[str, Any]:
    """``fields``, and those of ``more`` that are not None."""
    given = {**fields, **{name: value for name, value in more.items() if value is not None}}
    if isinstance(given.get("command"), Sequence) and not isinstance(given["command"], str):
        given["command"] = list(given["command"])
    return given


def _schedule_fields(profile: Profile, schedule: str | When, now: datetime) -> dict[str, Any]:
    made = check_schedule(schedule)
    if isinstance(made, str):
        return {"schedule": made}
    from tenure.client.definitions import schedule_fields

    fields = schedule_fields(made(now, profile.timezone()))
    if made(now, "UTC").timezone != made(now, "Asia/Tokyo").timezone:
        # It names no zone, so it follows the profile's.
        fields.pop("tz", None)
    return fields
