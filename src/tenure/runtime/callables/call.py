"""Calls the function that was declared for a run.

Some properties of a function show only when it is called in a run's thread:

* It returns a coroutine, although it is not a coroutine function: a decorator or a lambda hides
  that. The coroutine is run, on a loop of this thread.
* It returns a generator: nothing of it ran, so the run must not succeed.
* It forks, and the child returns from it: the child is not a thread of the pool. It exits there,
  as a forked child of any other thread would.

Coroutines that are not done when their process stops are cancelled, and their runs say so. Nothing
else would end them, and closing a loop under them logs an error.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import RunFailed

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none


def in_a_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, to be called in a thread for a run; its signature stays."""

    # Without its attributes: those of a decorator or a mock are not this function's.
    @functools.wraps(function, updated=())
    def call(**arguments: Any) -> Any:
        pid = os.getpid()
        try:
            result = _see_through(function(**arguments))
        except BaseException as error:
            if os.getpid() != pid:
                _end_child(error)
            raise
        if os.getpid() != pid:
            _end_child(None)
        return result

    return call


class CoroutineGroup:
    """The coroutines of one instance that are running. Thread-safe."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()

    def following(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, to be awaited for a run; its signature stays."""

        @functools.wraps(function, updated=())
        async def call(**arguments: Any) -> Any:
            import asyncio

            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                return await function(**arguments)
            except asyncio.CancelledError:
                if task in self._cut:
                    raise RunFailed("its process stopped before it was done") from None
                raise
            finally:
                self._tasks.discard(task)
                self._cut.discard(task)

        return call

    def cut(self) -> bool:
        """Cancel all of them; returns whether there were any."""
        tasks = list(self._tasks)
        for task in tasks:
            self._cut.add(task)
            with contextlib.suppress(RuntimeError):  # its loop has ended
                task.get_loop().call_soon_threadsafe(task.cancel)
        return bool(tasks)

    def under_way(self) -> bool:
        return bool(self._tasks)

    def forget_in_child(self) -> None:
        """After a fork, in the child: they are its parent's."""
        self._tasks.clear()
        self._cut.clear()


def _see_through(result: Any) -> Any:
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise RunFailed("it returned a generator, so nothing ran; iterate over it in the function")
    return result


def _end_child(error: BaseException | None) -> None:
    """Exit without the interpreter's exit functions: they are the parent's."""
    code: int = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    elif error is not None:
        code = 1
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # none, or closed
            continue
    os._exit(code & 0xFF)
