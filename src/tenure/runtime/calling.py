"""What a declared function turns out to be only when it is called in a run's thread.

* It makes a coroutine, though nothing told so beforehand: a decorator that is no coroutine function
  itself stands before it, or a lambda does. The coroutine is run, on a loop of this thread.
* It makes a generator: nothing of it ran, and its run must not be a success.
* It forks, and the child comes back from it: the child is no thread of the pool. It ends there, as
  a forked child of any other thread would.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tenure.domain.errors import RunFailed


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
