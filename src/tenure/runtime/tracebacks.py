"""An exception of a job's function: a line for its run's reason, a traceback for its output.

The traceback begins with the job's own frames: those of what called it (this package, and the event
loop or the interpreter under it) say nothing of the job. Nothing here raises, whatever the
exception's own methods do.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tenure.domain.errors import RunFailed
from tenure.domain.run import RunState

LONGEST_REASON = 1000
"""Characters of a reason: what is shown in a list of runs."""
_LONGEST_TRACEBACK = 1_000_000
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_CALLERS = (
    _OURS,
    f"{_LIBRARY}asyncio{os.sep}",
    *(f"{_LIBRARY}{module}.py" for module in ("functools", "runpy", "threading")),
    "<frozen ",
)


def outcome_of(error: BaseException) -> tuple[RunState, str, str]:
    """The state, the reason, and the traceback (or "") of a run whose function raised ``error``."""
    if isinstance(error, RunFailed):
        return RunState.FAILED, _text_of(error) or "RunFailed", ""
    if isinstance(error, SystemExit):
        if error.code is None or (isinstance(error.code, int) and error.code == 0):
            return RunState.SUCCEEDED, "", ""
        return RunState.FAILED, reason_of(error), ""
    return RunState.FAILED, reason_of(error), traceback_of(error)


def reason_of(error: BaseException) -> str:
    """The last line of the traceback: ``KeyError: 'missing'``. Of a group its parts too."""
    name, text = _name_of(error), one_line(_text_of(error))
    reason = f"{name}: {text}" if text else f"{name}{_where(error)}"
    parts = "; ".join(_parts(error))
    return one_line(f"{reason}: {parts}" if parts else reason)


def traceback_of(error: BaseException) -> str:
    """The whole traceback, the job's own frames first, its causes and parts with it."""
    try:
        found = traceback.TracebackException.from_exception(error)
        _drop_callers(found, set())
        text = "".join(found.format())
    except BaseException as trouble:  # noqa: BLE001  what the exception's own methods do
        text = f"{reason_of(error)}\n[its traceback cannot be shown: {_name_of(trouble)}]\n"
    return _cut(storable(text), _LONGEST_TRACEBACK)


def one_line(text: str) -> str:
    """``text`` in one line that can be stored and shown; its middle is cut where it is long."""
    return _cut(" ".join(storable(text[: 4 * _LONGEST_TRACEBACK]).split()), LONGEST_REASON)


def storable(text: str) -> str:
    """``text`` without what UTF-8 does not have: half a surrogate pair is written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, most: int) -> str:
    """The beginning and the end of a long text."""
    if len(text) <= most:
        return text
    return f"{text[: most // 4]} [...] {text[-most * 3 // 4 :]}"


def _name_of(error: BaseException) -> str:
    kind = type(error)
    name, module = kind.__qualname__, kind.__module__
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _text_of(error: BaseException) -> str:
    def text() -> str:
        return str(error.code) if isinstance(error, SystemExit) else str(error)

    return _tried(text, "its text cannot be shown")


def _tried(text: Callable[[], str], otherwise: str) -> str:
    try:
        return text()
    except BaseException as trouble:  # noqa: BLE001  the job's own __str__
        return f"<{otherwise}: {_name_of(trouble)}>"


def _where(error: BaseException) -> str:
    """Of an exception without a text, such as an assertion: where it was raised."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return "" if not frames else f" in {frames[-1].name}, line {frames[-1].lineno}"


def _parts(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions[:5]:
            yield reason_of(part)
        if len(error.exceptions) > 5:
            yield f"and {len(error.exceptions) - 5} more"


def _drop_callers(found: traceback.TracebackException, seen: set[int]) -> None:
    """Leave out the frames before the job's own first one, here and in causes and parts."""
    if id(found) in seen:
        return
    seen.add(id(found))
    own = next((n for n, f in enumerate(found.stack) if not f.filename.startswith(_CALLERS)), 0)
    del found.stack[:own]
    for other in (found.__cause__, found.__context__, *(found.exceptions or ())):
        if other is not None:
            _drop_callers(other, seen)
