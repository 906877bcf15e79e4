"""Between a run and the function that was declared for it.

What a function turns out to be only when it is called in a run's thread:

* It makes a coroutine, though nothing told so beforehand: a decorator that is no coroutine function
  itself stands before it, or a lambda does. The coroutine is run, on a loop of this thread.
* It makes a generator: nothing of it ran, and its run must not be a success.
* It forks, and the child comes back from it: the child is no thread of the pool. It ends there, as
  a forked child of any other thread would.

And coroutines that are not done when their process stops: they are cancelled, and their runs say
so. Nobody else would end them, and a loop that goes away under them complains of it.
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

    # Not its attributes: what a decorator or a mock keeps there is not this function's.
    @functools.wraps(function, updated=())
    def call(**arguments: Any) -> Any:
        pid = os.getpid()
        try:
            made = _see_through(function(**arguments))
        except BaseException as error:
            if os.getpid() != pid:
                _end_child(error)
            raise
        if os.getpid() != pid:
            _end_child(None)
        return made

    return call


class CoroutineGroup:
    """Those of one instance that are under way. Thread-safe."""

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
        """Cancel what is under way; whether there was any."""
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


def _see_through(made: Any) -> Any:
    if inspect.iscoroutine(made):
        import asyncio

        return asyncio.run(made)
    if inspect.isgenerator(made) or inspect.isasyncgen(made):
        raise RunFailed("it returned a generator: nothing of it ran; go through it in the function")
    return made


def _end_child(error: BaseException | None) -> None:
    """Without what the interpreter's end would call: that is the parent's."""
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
