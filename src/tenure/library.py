"""The library: a profile from inside a Python program.

    from tenure import Tenure, cron, every

    tenure = Tenure(profile="shop")

    @tenure.job(cron("0 3 * * *", tz="Europe/Berlin"), timeout="10m")
    def nightly_report(): ...

    tenure.start()        # in the background: becomes owner, or waits as a candidate

Declared jobs are named ``app:name`` and never pickled. The owner finds them by name in its own
code, so only a process with that code can own a profile that has declared jobs. The owner
reconciles the declarations when it takes ownership.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tenure.declarations import Declared, When, at, check_schedule, cron, declared, every, is_async
from tenure.domain.errors import InvalidInput
from tenure.profile_client import ProfileClient

if TYPE_CHECKING:
    # Loaded when first needed: a program that only declares jobs does not wait for it.
    from asyncio import AbstractEventLoop

    from tenure.domain.ownership import Authority
    from tenure.runtime.callables.call import CoroutineGroup
    from tenure.runtime.dispatch.context import HostProgram
    from tenure.runtime.failure import Failure
    from tenure.runtime.hosting.exits import SigtermExit
    from tenure.runtime.hosting.servers import ServerDetector
    from tenure.runtime.profile import Profile
    from tenure.runtime.scheduler import Scheduler

__all__ = ["Tenure", "When", "at", "cron", "every"]

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("tenure")

DRAIN_S = 10.0
"""Seconds that runs get when an instance stops."""
REJOIN_AFTER_S = 0.2
"""Seconds after which a forked child of a started instance joins."""


class Tenure(ProfileClient):
    """A profile, and this process's part in it. Thread-safe.

    ``execute=False`` makes an observer: it can view, edit and request, and never executes jobs.
    ``role`` is a name that this process gives itself; a policy rule can require it, but only
    together with evidence of the OS. ``app`` names the code that declares jobs (by default the
    profile's name) and ``version`` its version: an older version never overwrites a newer one.
    ``home`` is the folder of all profiles, by default ``~/.tenure``.

    An instance that is started before a fork is started in the child too: ownership, threads and
    connections stay in the parent, and the child joins as another candidate. With ``rejoin=False``
    the child must call :meth:`start`. A process that only supervises others (gunicorn's arbiter)
    never joins; its workers do.

    Coroutines run on a loop of their own, so that they do not block the program's loop. With
    ``on_host_loop`` they run on the loop on which :meth:`lifespan` was entered or :meth:`start`
    was called.

    A started instance replaces an instance that was started before in this process for the same
    profile, app and home. So code that is executed repeatedly (a notebook, a page of Streamlit)
    has one scheduler, that of the newest instance. In interactive code, a job that is declared
    again replaces the earlier job.
    """

    def __init__(
        self,
        profile: str = "default",
        *,
        home: str | os.PathLike[str] | None = None,
        execute: bool = True,
        role: str | None = None,
        app: str | None = None,
        version: str | int | None = None,
        rejoin: bool = True,
        on_host_loop: bool = False,
    ) -> None:
        super().__init__(profile, home, app or profile)
        self._execute = execute
        self._role = role
        self.version = _version(version)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._declared: dict[str, Declared] = {}
        self._coroutines: CoroutineGroup | None = None
        self._profile: Profile | None = None
        self._scheduler: Scheduler | None = None
        self._rejoin = rejoin
        self._on_host_loop = on_host_loop
        self._host_loop: AbstractEventLoop | None = None
        self._said_zone = False
        self._wanted = False
        """Whether it was started; then it is started in a forked child too."""
        self._failure: Failure | None = None
        self._once_served: ServerDetector | None = None
        self._place: _Place | None = None
        self._unwinding: SigtermExit | None = None
        self._asked: threading.Event | None = None
        """Set to make :meth:`run_forever` return."""
        self._lock = threading.RLock()
        self._leaving = threading.RLock()
        """Held while it hands over and leaves."""
        self._at_exit: list[Callable[[], object]] = []
        """Each undoes the registration of a stop at the end of this process."""
        _instances.add(self)
        # In the child of a run the program declares its jobs, and never starts any.
        if "TENURE_RUN" not in os.environ:
            _load_runtime()

    def __repr__(self) -> str:
        state = "stopped" if self._scheduler is None else "owner" if self.owns else "started"
        if self._failure is not None:
            state = f"stopped by itself: {self.problem}"
        return f"<Tenure {self.name!r}: {state}>"

    # -- declaring ---------------------------------------------------------------------------
    @overload
    def job(self, schedule: When | str, **options: Any) -> Callable[[F], F]: ...
    @overload
    def job(self, schedule: When | str, function: F, **options: Any) -> F: ...

    def job(
        self, schedule: When | str, function: Callable[..., Any] | None = None, **options: Any
    ) -> Any:
        """Declare a job: a decorator, or called with the function. Returns the function unchanged.

        ``schedule`` is :func:`cron`, :func:`every`, :func:`at` or a text as on the command line.
        Options: ``name``, ``args`` (JSON keyword arguments), ``protected``, ``requires``,
        ``overlap``, ``catch_up``, ``window``, ``grace``, ``jitter``, ``timeout``, ``retries``,
        ``backoff``, ``retry_lost``, ``tags``; durations as ``"10m"`` or timedelta. With
        ``process=True`` each run has a process of its own, which can be ended, outlives this one,
        and imports the function's module again. A parameter annotated :class:`tenure.Context`
        receives the run's context.

        Raises InvalidInput with the option at fault, also if the name is already declared, except
        in interactive code.
        """
        check_schedule(schedule)
        if function is not None:
            return self._declare(schedule, function, options)
        return lambda decorated: self._declare(schedule, decorated, options)

    def _declare(
        self, schedule: When | str, function: Callable[..., Any], options: dict[str, Any]
    ) -> Callable[..., Any]:
        declaration = declared(self.app, schedule, function, options)
        name = declaration.name
        # In interactive code a cell is executed again and again.
        if name in self._functions and not _has_a_prompt():
            raise InvalidInput(
                f"{name} is declared twice",
                field="name",
                remedy="pass name=... to one of them",
            )
        self._functions[name] = self._as_called(function)
        self._declared[name] = declaration
        scheduler = self._scheduler
        if scheduler is not None:
            scheduler.keeper.declare_again()
        return function

    def _as_called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from tenure.runtime.callables.call import CoroutineGroup, in_a_thread

        if not is_async(function):
            return in_a_thread(function)
        if self._coroutines is None:
            self._coroutines = CoroutineGroup()
        return self._coroutines.following(function)

    # -- running -----------------------------------------------------------------------------
    def start(self) -> Tenure:
        """Join the profile in the background: as a candidate, and as owner once the policy admits
        it and the term is free.

        Does not wait for ownership. A second call has no effect. Raises TenureError, with the
        remedy, if the profile cannot be opened.
        """
        from tenure.runtime.hosting import gevent_support, supervisors

        with _starting, self._lock:
            self._wanted = True
            self._failure = None
            if self._on_host_loop:
                self._host_loop = _running_loop() or self._host_loop
            if self._scheduler is None:
                why = supervisors.why_not()
                if why is None and gevent_support.is_to_be_patched():
                    gevent_support.after_monkey_patch(self.start)
                elif why is None:
                    if not self._take_the_place_of_earlier():
                        self._join()
                else:
                    log.info("not started in pid %s: %s", os.getpid(), why)
                    supervisors.in_workers(lambda: self._join_soon(REJOIN_AFTER_S))
        return self

    def run_forever(self, drain: float = DRAIN_S) -> None:
        """Start, and return when SIGTERM or SIGINT (Ctrl-C) ends the program or :meth:`stop` is
        called. Before it returns, ownership is handed over and runs get ``drain`` seconds; a second
        signal ends the process at once.

        For a program that does nothing else: call it as the last line, in the main thread. Raises
        InvalidInput in another thread; what :meth:`start` raises; and, if the instance stopped by
        itself (for example because its store was removed), SystemExit with a status that makes a
        service manager start the program again.
        """
        with self._until_asked(drain) as asked:
            if asked is not None:
                self.start()
                while not asked.wait(3600):
                    pass

    @contextlib.contextmanager
    def _until_asked(self, drain: float) -> Iterator[threading.Event | None]:
        """The event that :meth:`run_forever` waits for. None in the child of a run, which loads
        this program for one of its functions."""
        from tenure.runtime.callables.child import is_child
        from tenure.runtime.hosting.exits import until_asked

        seconds = _seconds(drain)
        if threading.current_thread() is not threading.main_thread():
            raise InvalidInput(
                "signals come to the main thread only",
                field="run_forever",
                remedy="call run_forever() in the main thread, or start() here",
            )
        if is_child():
            yield None
            return
        with until_asked() as asked:
            self._asked = asked
            try:
                yield asked
            finally:
                self._asked = None
                self.stop(seconds)
        if self._failure is not None:
            log.error("pid %s stopped by itself: %s", os.getpid(), self.problem)
            raise SystemExit(self._failure.exit_code)

    def _take_the_place_of_earlier(self) -> bool:
        """Whether this instance took over the scheduler of an earlier one. It does not if they
        differ in what a process declares when it joins: then the earlier one hands over, and its
        runs get their drain time."""
        if not self._execute:
            return False
        for earlier in list(_instances):
            if earlier is self or not earlier._executes_as(self):
                continue
            lost = sorted(set(earlier._declared) - set(self._declared))
            log.log(
                logging.WARNING if lost else logging.INFO,
                "%s replaces an earlier instance in pid %s%s",
                self,
                os.getpid(),
                f", and does not declare {', '.join(lost)}" if lost else "",
            )
            if earlier._joins_like(self) and self._inherit(earlier):
                return True
            _in_leaving_thread(earlier.stop)
        return False

    def _executes_as(self, newer: Tenure) -> bool:
        """Whether this instance executes the same app in the same profile as the newer one."""
        scheduler = self._scheduler
        if scheduler is None or not self._execute or self.app != newer.app:
            return False
        return _folder_key(newer) == scheduler.profile.folder.key

    def _joins_like(self, other: Tenure) -> bool:
        mine, others = (
            (t._role, t.version, t._rejoin, t._on_host_loop, bool(t._declared))
            for t in (self, other)
        )
        return mine == others

    def _inherit(self, earlier: Tenure) -> bool:
        """Take over its scheduler, with the jobs declared here; False if it has none."""
        with earlier._lock:
            scheduler, earlier._scheduler = earlier._scheduler, None
            if scheduler is None or earlier._place is None:
                return False
            profile, earlier._profile = earlier._profile, None
            self._at_exit, earlier._at_exit = earlier._at_exit, []
            self._place, earlier._place = earlier._place, None
            earlier._wanted = False
        if profile is not None and profile is not scheduler.profile:
            profile.close()
        self._scheduler = scheduler
        self._profile = self._profile or scheduler.profile
        self._place.give_to(self)
        scheduler.keeper.declare_again()
        return True

    def _join(self) -> None:
        profile = self.profile
        from tenure.domain.settings import Hung
        from tenure.runtime.dispatch.context import HostProgram
        from tenure.runtime.scheduler import Scheduler

        self._place = place = _Place(self)
        program = HostProgram(
            default_hung=Hung.REPLACE,
            host_loop=lambda: place.tenure._host_loop,
            stays_out=lambda: place.tenure._why_not_here(),
            cut=place.cut,
            app=self.app if self._declared else None,
            app_version=self.version,
            functions=place.functions,
            on_owning=lambda authority: place.tenure._reconcile(profile, authority),
        )
        scheduler = Scheduler(
            profile,
            program,
            role=self._role,
            executes=self._execute,
            on_failure=lambda failure: place.tenure._failed(failure),
        )
        # Before it starts, so that a fork meanwhile forgets it too.
        self._scheduler = scheduler
        try:
            scheduler.start()
        except BaseException:
            # So that it can be started again.
            self._scheduler = self._place = None
            scheduler.stop(0.0, why="it could not start")
            raise
        from tenure.runtime.hosting import exits

        self._at_exit = exits.call_at_exit(lambda: place.tenure.stop())

    def _why_not_here(self) -> str | None:
        """Called at each poll: a process may turn into a supervisor later, as the parent of a
        reloader does. It then leaves."""
        from tenure.runtime.hosting import supervisors

        why = supervisors.why_not()
        if why is not None and self._scheduler is not None:
            _in_leaving_thread(lambda: self._leave(why))
        return why

    def _leave(self, why: str) -> None:
        with self._lock:
            wanted = self._wanted
            if self._scheduler is None:
                return
        log.info("pid %s leaves: %s", os.getpid(), why)
        self.stop()
        self._wanted = wanted

    def _failed(self, failure: Failure) -> None:
        """Give up the term; the host continues without it. Not on the calling thread, which may be
        one of the threads that are stopped."""
        self._failure = failure
        _in_leaving_thread(lambda: self._stop(0.0), exit_waits=False)

    @property
    def problem(self) -> str | None:
        """Why this instance stopped by itself, with the remedy: a file of the store was removed,
        replaced or cut short, or one of its threads ended. None while the instance works, and after
        the next :meth:`start`."""
        failed = self._failure
        return None if failed is None else f"{failed.text} ({failed.remedy})"

    def stop(self, drain: float = DRAIN_S) -> bool:
        """Hand over, give runs ``drain`` seconds, and leave. Returns whether all runs had ended.

        If a run calls it, it returns False at once and continues in the background, because it
        would wait for its own caller. It can be the shutdown hook of a framework: an application
        passed as ``drain`` is ignored. Raises InvalidInput, and does nothing, for text and for
        negative seconds.
        """
        from tenure.runtime.callables.capture import in_a_run

        seconds = _seconds(drain)
        if in_a_run():
            _in_leaving_thread(lambda: self._stop(seconds))
            return False
        return self._stop(seconds)

    def _stop(self, drain: float) -> bool:
        with self._lock:
            self._wanted = False
            asked = self._asked
        if asked is not None:
            asked.set()
        # A second call returns when the first is done.
        with self._leaving:
            return self._leave_now(drain)

    def _leave_now(self, drain: float) -> bool:
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            at_exit, self._at_exit = self._at_exit, []
            self._place = None
        for take_back in at_exit:
            take_back()
        ended = scheduler.stop(drain) if scheduler is not None else True
        with self._lock:
            profiles = {self._profile, scheduler.profile if scheduler is not None else None}
            self._profile = None
        for profile in profiles:
            if profile is not None:
                profile.close()
        self._close_client()
        return ended

    def __enter__(self) -> Tenure:
        """Start; :meth:`stop` when the block is left. SIGTERM leaves the block too, as SystemExit
        with 143, unless the program has a handler of its own for SIGTERM."""
        from tenure.runtime.hosting.exits import SigtermExit

        self._unwinding = SigtermExit()
        try:
            return self.start()
        except BaseException:
            self._unwinding.close()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self._unwinding is not None:
                self._unwinding.close()

    # -- in a web application ------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Start and stop with an ASGI application: ``FastAPI(lifespan=t.lifespan)``, the same for
        Starlette, ``Litestar(lifespan=[t.lifespan])``. Does not block the event loop. Starts
        nothing under a test client."""
        import asyncio

        from tenure.runtime.hosting import servers

        if servers.is_test_client():
            log.info("not started in pid %s: a test client does not serve", os.getpid())
            yield
            return
        self._host_loop = asyncio.get_running_loop() if self._on_host_loop else None
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self.stop)
            self._host_loop = None

    def init_app(self, app: Any) -> None:
        """Start with a Flask application; ``app.extensions["tenure"]`` is this instance.

        It starts only in a process that serves the application: when a known server runs in the
        main thread, else with the first request. It does not start in tests, ``flask shell`` or
        another command, a migration, a worker of a task queue, the parent of a reloader, or any
        other process that imports the module. Returns at once; joins in the background.
        """
        app.extensions["tenure"] = self
        once_served = self._start_once_served()
        if callable(getattr(app, "wsgi_app", None)):
            app.wsgi_app = once_served.noticing(app.wsgi_app)
        once_served.begin()

    def _start_once_served(self) -> ServerDetector:
        """Detects whether this process serves, and then starts this instance."""
        from tenure.runtime.hosting.servers import ServerDetector

        if self._once_served is None:

            def start() -> None:
                # Also in a child that is forked before it has joined.
                self._wanted = True
                self._join_wanted()

            self._once_served = ServerDetector(start)
        return self._once_served

    @property
    def profile(self) -> Profile:
        """The opened profile; created if it does not exist."""
        with self._lock:
            if self._profile is None:
                from tenure.runtime.profile import Profile

                if self._home is None:
                    self._say_home()
                self._profile = Profile.open(
                    self.name, home=self._home, create=True, now=datetime.now(UTC)
                )
            return self._profile

    def _say_zone(self, zone: str, now: datetime) -> None:
        """Once, if TZ names another zone than the one used for jobs without a zone."""
        from tenure.host.local_zone import other_zone

        if self._said_zone:
            return
        other = other_zone(zone, os.environ, now)
        if other is None or not any(
            job.reads_the_profiles_zone() for job in list(self._declared.values())
        ):
            return
        self._said_zone = True
        log.warning(
            "%s; it has no effect: jobs without a zone use %s; "
            "give them tz=..., or the profile a timezone",
            other.text,
            zone,
        )

    def _say_home(self) -> None:
        """Before a profile is created: log its folder, if ``HOME`` names another."""
        from tenure.store.folder.user_home import default_home, other_home, which_home

        if other_home(os.environ) is None or (default_home() / "profiles" / self.name).exists():
            return
        notice = which_home(default_home(), os.environ)
        if notice is not None:
            log.warning("%s; %s", *notice)

    @property
    def owns(self) -> bool:
        """Whether this process is the owner now. It can change at any moment."""
        scheduler = self._scheduler
        return scheduler is not None and scheduler.keeper.authority is not None

    def _host_program(self, profile: Profile) -> HostProgram:
        """For a scheduler of ``profile`` in another program: the jobs declared here."""
        from tenure.runtime.dispatch.context import HostProgram

        return HostProgram(
            app=self.app if self._declared else None,
            app_version=self.version,
            functions=self._functions,
            on_owning=lambda authority: self._reconcile(profile, authority),
        )

    def _reconcile(self, profile: Profile, authority: Authority) -> None:
        if not self._declared:
            return
        now, zone = datetime.now(UTC), profile.timezone()
        declarations = [job.declaration(zone) for job in list(self._declared.values())]
        self._say_zone(zone, now)
        profile.store.reconcile(authority, self.app, self.version, declarations, now)

    def _forget_in_child(self) -> None:
        """In a forked child: ownership, threads and connections stay the parent's."""
        self._lock = threading.RLock()
        self._leaving = threading.RLock()
        self._forget_client_in_child()
        self._at_exit = []
        self._place = self._asked = None
        # The loop claims to be running, and does not run in the child.
        self._host_loop = None
        scheduler, self._scheduler = self._scheduler, None
        profile, self._profile = self._profile, None
        if self._coroutines is not None:
            self._coroutines.forget_in_child()
        if scheduler is not None:
            scheduler.forget_in_child()
        if profile is not None and (scheduler is None or profile is not scheduler.profile):
            profile.store.forget_in_child()
        if self._once_served is not None:
            self._once_served.forget_in_child()
        from tenure.runtime.callables.capture import in_a_run

        # A process that a job forks is part of its run, not a host.
        if self._wanted and self._rejoin and not in_a_run():
            # A child that soon becomes another program, or ends, does not join.
            self._join_soon(REJOIN_AFTER_S)
        elif self._once_served is not None and not in_a_run():
            self._once_served.begin(REJOIN_AFTER_S)

    def _join_soon(self, seconds: float) -> None:
        from tenure.runtime.hosting import gevent_support

        gevent_support.call_later(seconds, self._join_wanted, name="tenure-join")

    def _join_wanted(self) -> None:
        try:
            if self._wanted:
                self.start()
        except Exception:  # no caller could handle it
            log.exception("pid %s could not join %s", os.getpid(), self.name)


class _Place:
    """Where a scheduler finds the instance that it works for; a newer instance can take it over."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.functions = _Functions(self)
        self._coroutines: list[CoroutineGroup] = []

    def give_to(self, newer: Tenure) -> None:
        """Active coroutines stay with the earlier instance."""
        if self.tenure._coroutines is not None:
            self._coroutines = [c for c in self._coroutines if c.under_way()]
            self._coroutines.append(self.tenure._coroutines)
        self.tenure = newer

    def cut(self) -> bool:
        """Cancel active coroutines. Returns whether there were any."""
        groups = [*self._coroutines, self.tenure._coroutines]
        # A list: each is cut, also after the first that had any.
        had_some = [group.cut() for group in groups if group is not None]
        return any(had_some)


class _Functions(Mapping[str, Callable[..., Any]]):
    """The functions of the instance that has the place now."""

    def __init__(self, place: _Place) -> None:
        self._place = place

    def __getitem__(self, target: str) -> Callable[..., Any]:
        return self._place.tenure._functions[target]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._place.tenure._functions))

    def __len__(self) -> int:
        return len(self._place.tenure._functions)


_instances: weakref.WeakSet[Tenure] = weakref.WeakSet()
_starting = threading.RLock()
"""Held while one instance starts: two of the same profile would not see each other."""


def _after_fork_in_child() -> None:
    global _starting
    _starting = threading.RLock()
    for instance in list(_instances):
        instance._forget_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _load_runtime() -> None:
    """Once per process, before the start: loading takes ten times as long as joining."""
    from tenure.runtime import scheduler  # noqa: F401
    from tenure.runtime.hosting import exits, supervisors  # noqa: F401
    from tenure.store.sqlite import load_verbs

    load_verbs()


def _in_leaving_thread(leave: Callable[[], object], *, exit_waits: bool = True) -> None:
    """``exit_waits``: whether the interpreter's end waits for it, also if a daemon thread starts
    it."""
    threading.Thread(target=leave, name="tenure-leave", daemon=not exit_waits).start()


def _folder_key(tenure: Tenure) -> tuple[int, int] | None:
    """Device and inode of its profile's folder; None if that does not exist yet."""
    from tenure.store.folder.layout import home as home_folder

    try:
        status = os.stat(home_folder(tenure._home, os.environ) / "profiles" / tenure.name)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _seconds(drain: object) -> float:
    """The default for an object that is not meant as a number, such as a framework's application.
    Raises InvalidInput."""
    if isinstance(drain, int | float) and not isinstance(drain, bool):
        if drain >= 0 and not math.isnan(drain):
            return float(drain)
    elif not isinstance(drain, str | bytes | bool | None):
        return DRAIN_S
    raise InvalidInput(
        f"{drain!r} is not a number of seconds", field="drain", remedy="stop(drain=10.0), or stop()"
    )


def _has_a_prompt() -> bool:
    """Whether this process is interactive: Python's prompt, IPython, a notebook."""
    return hasattr(sys, "ps1")


def _running_loop() -> AbstractEventLoop | None:
    """The event loop that this thread runs; None without one, or if asyncio is not loaded."""
    asyncio = sys.modules.get("asyncio")
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop() if asyncio is not None else None
    return None


def _version(version: object) -> str:
    """Raises InvalidInput for a float: ``2024.10`` would lose its last digit."""
    # An environment variable that is not set gives an empty text.
    if version is None or version == "":
        return "0"
    if isinstance(version, str | int) and not isinstance(version, bool):
        return str(version)
    remedy = 'as text, version="2024.10", or a whole number'
    raise InvalidInput(f"{version!r} is not a version", field="version", remedy=remedy)
