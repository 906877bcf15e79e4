"""A declared function in a process of its own: ``python -m tenure.runtime.callables.child``.

The call arrives on standard input as one JSON object: the module, the function's name in it, its
arguments, and ``sys.path``. A function of a program's main file is found by running that file
under another name, as multiprocessing does. Exit 0 when the function returned. When it raised:
exit 1, the traceback on standard error, the reason in the file that ``REASON_VARIABLE`` names.

The modules imported here are loaded for each such run: keep them few.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import runpy
import sys
import types
from collections.abc import Callable
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.domain.run import RunState
from tenure.runtime.run_context import REASON_VARIABLE, context_of_process, context_parameter
from tenure.runtime.tracebacks import one_line, outcome_of

MAIN = "__tenure_main__"


def describe(function: Callable[..., Any], args: dict[str, Any]) -> str:
    """The call as JSON for the child. Raises InvalidInput if no other process could find it."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    # A method of one object; a class method is found by its name as any function is.
    is_bound = inspect.ismethod(function) and not inspect.isclass(function.__self__)
    if module is None or name is None or is_bound:
        raise InvalidInput(
            f"{function!r} depends on an object that another process does not have",
            field="process",
            remedy="declare a function at the top level of a module that calls it",
        )
    if "<" in name:
        raise InvalidInput(
            f"{name} is defined inside a function: another process cannot find it",
            field="process",
            remedy="declare it at the top level of a module",
        )
    main = None
    if module == "__main__":
        main = getattr(sys.modules["__main__"], "__file__", None)
        if main is None:
            raise InvalidInput(
                "a function of an interactive session has no file",
                field="process",
                remedy="put it into a module",
            )
    call = {"module": module, "name": name, "main": main, "args": args, "path": sys.path}
    if main is not None:
        call["argv"] = sys.argv  # the file is run again: it may look at them
    return json.dumps(call)


def find(module: str, name: str, main: str | None) -> Callable[..., Any]:
    """The function; a decorator may have left another object under its name."""
    if main is not None:
        target: Any = types.SimpleNamespace(**runpy.run_path(main, run_name=MAIN))
    else:
        target = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    called: Callable[..., Any] = target
    return called


def main() -> int:
    """Call it; the exit status."""
    reason_file = os.environ.pop(REASON_VARIABLE, None)  # it is not the job's
    try:
        _call()
    except BaseException as error:  # noqa: BLE001  whatever a job raises is its result
        return _fail(error, reason_file)
    return 0


def _call() -> None:
    call = json.load(sys.stdin)
    sys.path[:] = call["path"]
    sys.argv[:] = call.get("argv") or sys.argv
    function = find(call["module"], call["name"], call["main"])
    args = dict(call["args"])
    parameter = context_parameter(function)
    if parameter is not None and parameter not in args:
        args[parameter] = context_of_process()
    result = function(**args)
    if inspect.isawaitable(result):
        asyncio.run(_await(result))


def _fail(error: BaseException, reason_file: str | None) -> int:
    """Say what ended the run: why in the file that its owner reads, all of it in the output."""
    state, reason, text = outcome_of(error)
    if state is RunState.SUCCEEDED:
        return 0
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text or f"{reason}\n")
        sys.stderr.flush()
    if reason_file is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(reason_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(one_line(reason))
    code = error.code if isinstance(error, SystemExit) else 1
    return code & 0xFF if isinstance(code, int) else 1


def is_child() -> bool:
    """Whether this process is one of these."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", None) == __name__


async def _await(result: Any) -> None:
    await result


if __name__ == "__main__":
    sys.exit(main())
