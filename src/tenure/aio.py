"""The library for an event loop: the names of :class:`tenure.Tenure`, as coroutines.

    from tenure.aio import Tenure

    tenure = Tenure(profile="shop")
    run = await tenure.trigger("report", wait=60)

No call blocks the loop: each runs in a thread of its own, so that many may wait at once.
Cancelling a call ends its wait, and cancels no run.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from tenure.declarations import When
from tenure.domain.errors import InvalidInput
from tenure.library import DRAIN_S
from tenure.library import Tenure as BlockingTenure
from tenure.models import RunInfo
from tenure.profile_client import CALL_CANCELLED, LOG_LIMIT_BYTES

__all__ = ["Tenure"]

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")


def _awaitable(
    method: Callable[Concatenate[BlockingTenure, P], T],
) -> Callable[Concatenate[AsyncTenure, P], Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    async def call(self: AsyncTenure, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _in_thread(lambda: method(self.blocking, *args, **kwargs))

    return call


class AsyncTenure:
    """A profile, and this process's part in it, for one event loop or many. Imported as
    ``tenure.aio.Tenure``; arguments and errors are those of :class:`tenure.Tenure`."""

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
        self.blocking = BlockingTenure(
            profile,
            home=home,
            execute=execute,
            role=role,
            app=app,
            version=version,
            rejoin=rejoin,
            on_host_loop=on_host_loop,
        )
        """The same instance for threads."""
        self.name = profile

    def __repr__(self) -> str:
        return repr(self.blocking)

    # -- declaring and running ---------------------------------------------------------------
    @overload
    def job(self, schedule: When | str, **options: Any) -> Callable[[F], F]: ...
    @overload
    def job(self, schedule: When | str, function: F, **options: Any) -> F: ...

    def job(
        self, schedule: When | str, function: Callable[..., Any] | None = None, **options: Any
    ) -> Any:
        """Declare a job, as :meth:`tenure.Tenure.job` does. Not a coroutine."""
        if function is None:
            return self.blocking.job(schedule, **options)
        return self.blocking.job(schedule, function, **options)

    async def start(self) -> Self:
        """Join the profile in the background, as :meth:`tenure.Tenure.start` does."""
        if self.blocking._on_host_loop:
            self.blocking._host_loop = asyncio.get_running_loop()
        await _in_thread(self.blocking.start)
        return self

    stop = _awaitable(BlockingTenure.stop)

    async def run_forever(self, drain: float = DRAIN_S) -> None:
        """Start, and return when SIGTERM or SIGINT asks the program to end, as
        :meth:`tenure.Tenure.run_forever` does: ``asyncio.run(tenure.run_forever())``. The loop
        stays free meanwhile. Raises InvalidInput outside the main thread."""
        with self.blocking._until_asked(drain) as asked:
            if asked is None:
                return
            try:
                await self.start()
                await _in_thread(asked.wait)
            finally:
                # Ends the waiting thread where the task was cancelled.
                asked.set()
                await self.stop(drain)

    @property
    def owns(self) -> bool:
        """Whether this process is the owner at this moment. For information: it may change."""
        return self.blocking.owns

    @property
    def problem(self) -> str | None:
        """Why this instance stopped by itself, and the remedy; None while it is well."""
        return self.blocking.problem

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Started and stopped with an ASGI application: ``FastAPI(lifespan=t.lifespan)``."""
        async with self.blocking.lifespan(app):
            yield

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- jobs --------------------------------------------------------------------------------
    jobs = _awaitable(BlockingTenure.jobs)
    get_job = _awaitable(BlockingTenure.get_job)
    add = _awaitable(BlockingTenure.add)
    edit = _awaitable(BlockingTenure.edit)
    pause = _awaitable(BlockingTenure.pause)
    resume = _awaitable(BlockingTenure.resume)
    remove = _awaitable(BlockingTenure.remove)
    next = _awaitable(BlockingTenure.next)

    # -- runs and the profile ----------------------------------------------------------------
    runs = _awaitable(BlockingTenure.runs)
    run = _awaitable(BlockingTenure.run)
    status = _awaitable(BlockingTenure.status)
    explain = _awaitable(BlockingTenure.explain)

    @overload
    async def logs(
        self,
        run: str | RunInfo,
        *,
        follow: Literal[False] = False,
        attempt: int | None = None,
        lines: int | None = None,
        limit: int = LOG_LIMIT_BYTES,
    ) -> str: ...
    @overload
    async def logs(
        self, run: str | RunInfo, *, follow: Literal[True], attempt: int | None = None
    ) -> AsyncIterator[str]: ...

    async def logs(
        self,
        run: str | RunInfo,
        *,
        follow: bool = False,
        attempt: int | None = None,
        lines: int | None = None,
        limit: int = LOG_LIMIT_BYTES,
    ) -> str | AsyncIterator[str]:
        """What a run wrote, as :meth:`tenure.Tenure.logs` says. With ``follow`` an asynchronous
        iterator: ``async for text in await t.logs(run, follow=True)``."""
        logs = self.blocking.logs
        if not follow:
            return await _in_thread(lambda: logs(run, attempt=attempt, lines=lines, limit=limit))
        if lines is not None:
            raise InvalidInput("cannot be combined with lines", field="follow")
        return _in_threads(await _in_thread(lambda: logs(run, follow=True, attempt=attempt)))

    # -- requests to the owner ---------------------------------------------------------------
    trigger = _awaitable(BlockingTenure.trigger)
    retry = _awaitable(BlockingTenure.retry)
    cancel = _awaitable(BlockingTenure.cancel)
    hand_over = _awaitable(BlockingTenure.hand_over)
    requests = _awaitable(BlockingTenure.requests)
    request = _awaitable(BlockingTenure.request)
    withdraw = _awaitable(BlockingTenure.withdraw)


Tenure = AsyncTenure


async def _in_threads(items: Iterator[T]) -> AsyncIterator[T]:
    """The same items; the loop stays free while the next one is waited for."""
    while True:
        following = await _in_thread(lambda: list(islice(items, 1)))
        if not following:
            return
        yield following[0]


async def _in_thread(call: Callable[[], T]) -> T:
    # Not in the loop's executor: its few threads would all be taken by calls that wait.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    cancelled = threading.Event()
    context = contextvars.copy_context()
    context.run(CALL_CANCELLED.set, cancelled)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(call)
        except BaseException as raised:  # noqa: BLE001 - the caller raises it
            error = raised
        # RuntimeError: the loop is closed, because the program ends.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name="tenure-call", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        cancelled.set()
        raise
