"""The library: a profile from inside a Python program.

    from tenure import Tenure, cron, every

    tenure = Tenure(profile="shop")

    @tenure.job(cron("0 3 * * *", tz="Europe/Berlin"), timeout="10m")
    def nightly_report(): ...

    tenure.start()        # in the background: a candidate that becomes owner, or stands by

Declared jobs are named ``app:name`` and never pickled; the owner finds them by name in its own
code, so only a process that carries the code may own a profile that has them. The owner brings
the declarations in line when it takes ownership.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tenure.declaring import Declared, When, at, check_schedule, cron, declared, every, is_async
from tenure.domain.errors import InvalidInput

if TYPE_CHECKING:
    # Loaded with the first start or look: a program that only declares jobs does not wait for it.
    from asyncio import AbstractEventLoop

    from tenure.domain.ownership import Authority
    from tenure.runtime.calling import Coroutines
    from tenure.runtime.failing import Failure
    from tenure.runtime.profile import Profile
    from tenure.runtime.scheduler import Scheduler

__all__ = ["Tenure", "When", "at", "cron", "every"]

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("tenure")

REJOIN_AFTER = 0.2
"""Seconds after which a forked child of a started instance joins by itself."""


class Tenure:
    """A profile, and this process's part in it. Thread-safe.

    ``execute=False`` makes an observer: it may look, edit and ask, and never runs a job.
    ``role`` is what this process calls itself; a policy rule may ask for it, but only together
    with something that the OS vouches for. ``app`` names the code that declares jobs (default:
    the profile's name) and ``version`` its version: an older one never overwrites a newer one.
    ``home`` is the folder of all profiles, by default ``~/.tenure``.

    Started before a fork, it is started in the child too: ownership, threads and connections stay
    the parent's, and the child joins as one more candidate; ``rejoin=False`` leaves it to the
    child to call :meth:`start`. A process that only supervises others (gunicorn's arbiter) never
    joins: its workers do.

    Coroutines run on a loop of their own, so that neither holds the other up; with
    ``on_host_loop`` on the one that :meth:`lifespan` was entered on or :meth:`start` was called
    on, beside what else it does.

    Where code is typed in (a notebook, a prompt) it is defined anew all the time: a job declared
    again replaces the one before, and an instance that is started takes the place of the one that
    was started before for the same profile.
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
        self.name = profile
        self._home = home
        self._execute = execute
        self._role = role
        self.app = app or profile
        self.version = _version(version)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._declared: dict[str, Declared] = {}
        self._coroutines: Coroutines | None = None
        self._profile: Profile | None = None
        self._scheduler: Scheduler | None = None
        self._rejoin = rejoin
        self._on_host_loop = on_host_loop
        self._host_loop: AbstractEventLoop | None = None
        self._said_zone = False
        self._wanted = False
        """Whether it was started, and so is to be in a forked child."""
        self._problem: str | None = None
        self._lock = threading.RLock()
        self._at_exit: list[Callable[[], object]] = []
        """What takes back that it is stopped at the end of this process."""
        _instances.add(self)
        if "TENURE_RUN" not in os.environ:  # a run declares jobs, and never starts any
            _load_runtime()

    def __repr__(self) -> str:
        stands = "stopped" if self._scheduler is None else "owner" if self.owns else "started"
        if self._problem is not None:
            stands = f"stopped by itself: {self._problem}"
        return f"<Tenure {self.name!r}: {stands}>"

    # -- declaring ---------------------------------------------------------------------------
    @overload
    def job(self, schedule: When | str, **options: Any) -> Callable[[F], F]: ...
    @overload
    def job(self, schedule: When | str, function: F, **options: Any) -> F: ...

    def job(
        self, schedule: When | str, function: Callable[..., Any] | None = None, **options: Any
    ) -> Any:
        """Declare a job: a decorator, or called with the function. The function stays as it is.

        ``schedule`` is :func:`cron`, :func:`every`, :func:`at` or a text as on the command line.
        Options: ``name``, ``args`` (JSON keyword arguments), ``protected``, ``requires``,
        ``overlap``, ``catch_up``, ``window``, ``grace``, ``jitter``, ``timeout``, ``retries``,
        ``backoff``, ``retry_lost``, ``tags``; durations as ``"10m"`` or timedelta. With
        ``process=True`` each run has a process of its own, which can be ended, outlives this one,
        and imports the function's module anew. A parameter annotated :class:`tenure.Context` is
        given the run's context. Raises InvalidInput naming what is wrong; a name twice is, too,
        except where code is typed in.
        """
        check_schedule(schedule)
        if function is not None:
            return self._declare(schedule, function, options)
        return lambda decorated: self._declare(schedule, decorated, options)

    def _declare(
        self, schedule: When | str, function: Callable[..., Any], options: dict[str, Any]
    ) -> Callable[..., Any]:
        found = declared(self.app, schedule, function, options)
        if found.name in self._functions and not _has_a_prompt():
            raise InvalidInput(
                f"{found.name} is declared twice",
                field="name",
                remedy="pass name=... to one of them",
            )
        self._functions[found.name] = self._as_called(function)
        self._declared[found.name] = found
        scheduler = self._scheduler
        if scheduler is not None:
            scheduler.keeper.declare_again()
        return function

    def _as_called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from tenure.runtime.calling import Coroutines, in_a_thread

        if not is_async(function):
            return in_a_thread(function)
        if self._coroutines is None:
            self._coroutines = Coroutines()
        return self._coroutines.following(function)

    # -- running -----------------------------------------------------------------------------
    def start(self) -> Tenure:
        """Join the profile in the background: a candidate, and owner when policy and term allow.

        Starting twice does nothing. Raises TenureError with the remedy when the profile cannot
        be opened; never waits for ownership.
        """
        from tenure.runtime import green, supervisors

        with self._lock:
            self._wanted = True
            self._problem = None
            if self._on_host_loop:
                self._host_loop = _running_loop() or self._host_loop
            if self._scheduler is None:
                why = supervisors.why_not()
                if why is None and green.is_to_be_patched():
                    green.once_patched(self.start)
                elif why is None:
                    self._take_the_place_of_earlier()
                    self._join()
                else:
                    log.info("not started in pid %s: %s", os.getpid(), why)
                    supervisors.in_workers(lambda: self._join_soon(REJOIN_AFTER))
        return self

    def _take_the_place_of_earlier(self) -> None:
        """Of an instance that a cell made before it was executed again: it hands over, and its runs
        get their time."""
        if not (self._execute and _has_a_prompt()):
            return
        for earlier in list(_instances):
            if earlier is not self and earlier._executes_as(self):
                log.info("%s takes the place of an earlier one in pid %s", self, os.getpid())
                threading.Thread(target=earlier.stop, name="tenure-leave", daemon=True).start()

    def _executes_as(self, other: Tenure) -> bool:
        mine, others = ((t.name, t.app, t._home and os.fspath(t._home)) for t in (self, other))
        return self._scheduler is not None and self._execute and mine == others

    def _join(self) -> None:
        profile = self.profile
        from tenure.domain.settings import Hung
        from tenure.runtime.scheduler import Scheduler

        scheduler = Scheduler(
            profile,
            role=self._role,
            executes=self._execute,
            default_hung=Hung.REPLACE,
            host_loop=lambda: self._host_loop,
            stays_out=self._why_not_here,
            cut=lambda: self._coroutines is not None and self._coroutines.cut(),
            on_failure=self._failed,
            **self.carried(profile),
        )
        self._scheduler = scheduler  # before it starts: a fork meanwhile is to forget it too
        try:
            scheduler.start()
        except BaseException:  # what did not start may be started again
            self._scheduler = None
            scheduler.stop(0.0, why="it could not start")
            raise
        from tenure.runtime import endings

        self._at_exit = endings.tell(self.stop)

    def _why_not_here(self) -> str | None:
        """Asked now and then: a process may show only later that it just supervises others, as
        the parent of a reloader does. It then leaves."""
        from tenure.runtime import supervisors

        why = supervisors.why_not()
        if why is not None and self._scheduler is not None:
            threading.Thread(target=self._leave, args=(why,), name="tenure-leave").start()
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
        """The term is given up; the host goes on without it. Not on the calling thread, which
        may be one of those that are stopped."""
        self._problem = f"{failure.text} ({failure.remedy})"
        threading.Thread(target=self._stop, args=(0.0,), name="tenure-leave", daemon=True).start()

    @property
    def problem(self) -> str | None:
        """Why this instance stopped by itself, and what to do about it: a file of the store was
        removed, replaced or cut short, or one of its threads ended. None while it is well, and
        after the next :meth:`start`."""
        return self._problem

    def stop(self, drain: float = 10.0) -> bool:
        """Hand over and leave, giving runs ``drain`` seconds; whether all of them had ended.

        Called by one of those runs it returns False at once and goes on in the background: it
        would wait for its own caller.
        """
        from tenure.runtime.capture import in_a_run

        if in_a_run():
            threading.Thread(target=self._stop, args=(drain,), name="tenure-leave").start()
            return False
        return self._stop(drain)

    def _stop(self, drain: float) -> bool:
        with self._lock:
            self._wanted = False
            scheduler, self._scheduler = self._scheduler, None
            at_exit, self._at_exit = self._at_exit, []
        for take_back in at_exit:
            take_back()
        ended = scheduler.stop(drain) if scheduler is not None else True
        with self._lock:
            if self._profile is not None:
                self._profile.close()
                self._profile = None
        return ended

    def __enter__(self) -> Tenure:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- in a web application ------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Started with an ASGI application and stopped with it: ``FastAPI(lifespan=t.lifespan)``,
        the same for Starlette, ``Litestar(lifespan=[t.lifespan])``. Blocks no event loop."""
        import asyncio

        self._host_loop = asyncio.get_running_loop() if self._on_host_loop else None
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self.stop)
            self._host_loop = None

    def init_app(self, app: Any) -> None:
        """Start with a Flask application; ``app.extensions["tenure"]`` is this instance.

        In processes that serve: not in ``flask shell`` or another command than ``flask run``, nor
        in the parent of a reloader. Returns at once; joins in the background.
        """
        app.extensions["tenure"] = self
        from tenure.runtime import serving

        why = serving.why_not()
        if why is not None:
            log.info("not started in pid %s: %s", os.getpid(), why)
            return
        self._wanted = True  # also in workers that are forked from here before that
        self._join_soon(serving.DELAY)

    @property
    def profile(self) -> Profile:
        """The opened profile; created where there never was one."""
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
        """Once, where TZ names another zone than jobs without one are read in."""
        from tenure.host.tz_variable import other_zone

        if self._said_zone:
            return
        said = other_zone(zone, os.environ, now)
        moving = (f for f in list(self._declared.values()) if f.reads_the_profiles_zone())
        if said is None or next(moving, None) is None:
            return
        self._said_zone = True
        log.warning(
            "%s; it does not decide: jobs that name no zone are read in %s; "
            "give them tz=..., or the profile a timezone",
            said.text,
            zone,
        )

    def _say_home(self) -> None:
        """Before a profile is created: where, if ``HOME`` names another place."""
        from tenure.store.user_home import default_home, other_home, which_home

        if other_home(os.environ) is None or (default_home() / "profiles" / self.name).exists():
            return
        notice = which_home(default_home(), os.environ)
        if notice is not None:
            log.warning("%s; %s", *notice)

    @property
    def owns(self) -> bool:
        """Whether this process is the owner at this moment. For information: it may change."""
        scheduler = self._scheduler
        return scheduler is not None and scheduler.keeper.authority is not None

    def carried(self, profile: Profile) -> dict[str, Any]:
        """What a scheduler of ``profile`` needs to run the jobs declared here."""
        return {
            "app": self.app if self._declared else None,
            "app_version": self.version,
            "functions": self._functions,
            "on_owning": lambda authority: self._reconcile(profile, authority),
        }

    def _reconcile(self, profile: Profile, authority: Authority) -> None:
        if not self._declared:
            return
        now, zone = datetime.now(UTC), profile.timezone()
        declarations = [found.declaration(zone) for found in list(self._declared.values())]
        self._say_zone(zone, now)
        profile.store.reconcile(authority, self.app, self.version, declarations, now)

    def _forget_in_child(self) -> None:
        """In a forked child: ownership, threads and connections stay the parent's."""
        self._lock = threading.RLock()
        self._at_exit = []
        self._host_loop = None  # it says that it is running, and nobody runs it here
        scheduler, self._scheduler = self._scheduler, None
        profile, self._profile = self._profile, None
        if self._coroutines is not None:
            self._coroutines.forget_in_child()
        if scheduler is not None:
            scheduler.forget_in_child()
        elif profile is not None:
            profile.store.forget_in_child()
        from tenure.runtime.capture import in_a_run

        # What a job forks is a part of its run, and no host.
        if self._wanted and self._rejoin and not in_a_run():
            # A child that becomes another program, or is soon over, does not join.
            self._join_soon(REJOIN_AFTER)

    def _join_soon(self, seconds: float) -> None:
        from tenure.runtime import green

        if green.is_to_be_patched():
            green.once_patched(lambda: self._join_soon(seconds))
        elif green.is_patched():
            green.spawn_later(seconds, lambda: self._join_later(0.0))
        else:
            threading.Thread(
                target=self._join_later, args=(seconds,), name="tenure-join", daemon=True
            ).start()

    def _join_later(self, seconds: float) -> None:
        threading.Event().wait(seconds)
        try:
            if self._wanted:
                self.start()
        except Exception:  # nobody is there to hear it
            log.exception("pid %s could not join %s", os.getpid(), self.name)


_instances: weakref.WeakSet[Tenure] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for instance in list(_instances):
        instance._forget_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _load_runtime() -> None:
    """Once a process, and not with the start: loading takes ten times as long as joining does."""
    from tenure.runtime import endings, green, scheduler, supervisors  # noqa: F401


def _has_a_prompt() -> bool:
    """Whether code is typed into this process: at Python's prompt, IPython's, into a notebook."""
    return hasattr(sys, "ps1")


def _running_loop() -> AbstractEventLoop | None:
    """The event loop that this thread runs: none, where nobody has loaded asyncio."""
    asyncio = sys.modules.get("asyncio")
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop() if asyncio is not None else None
    return None


def _version(version: object) -> str:
    """Raises InvalidInput for what loses digits on the way, as ``2024.10`` does."""
    if version is None or version == "":  # a variable that is not set
        return "0"
    if isinstance(version, str | int) and not isinstance(version, bool):
        return str(version)
    remedy = 'as text, version="2024.10", or a whole number'
    raise InvalidInput(f"{version!r} is no version", field="version", remedy=remedy)
