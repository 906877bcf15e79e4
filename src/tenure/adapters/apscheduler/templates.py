"""The command that calls a job's function, from a template.

``{code}`` is a line of Python that imports the module and calls the function with its arguments;
``{func}`` is ``module:name``; ``{args}`` and ``{kwargs}`` are JSON; ``{python}`` is the Python
that runs this. No shell reads it: each word of the template is one argument.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

from tenure.adapters.apscheduler.literals import call_arguments, is_json
from tenure.adapters.apscheduler.stored_job import StoredJob
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command

DEFAULT = "{python} -c {code}"
_PLACES = ("python", "code", "func", "args", "kwargs", "id", "name")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTemplate:
    """How a job is called. Raises InvalidInput for a template that names no function."""

    words: str = DEFAULT
    python: str
    cwd: str
    """Where the application's modules can be imported."""

    def __post_init__(self) -> None:
        named = {match[1] for match in _PLACE.finditer(self.words)}
        if unknown := sorted(named - set(_PLACES)):
            known = ", ".join(f"{{{name}}}" for name in _PLACES)
            raise InvalidInput(
                f"there is no {{{unknown[0]}}}", field="command-template", remedy=f"use {known}"
            )
        if not named & {"code", "func"}:
            raise InvalidInput(
                "it does not name the function to call",
                field="command-template",
                remedy=f"with {{code}} or {{func}}, such as {DEFAULT!r}",
            )
        try:
            shlex.split(self.words)
        except ValueError as error:
            raise InvalidInput(f"its quotes: {error}", field="command-template") from None

    def command(self, job: StoredJob) -> Command:
        """Raises InvalidInput where its arguments cannot be written."""
        values = {"python": self.python, "func": job.func, "id": job.id, "name": job.name}
        if "{code}" in self.words:
            values["code"] = code(job)
        for name, given in (("args", list(job.args)), ("kwargs", dict(job.kwargs))):
            if f"{{{name}}}" in self.words:
                if not is_json(given):
                    raise InvalidInput(f"its {name} are not JSON")
                values[name] = json.dumps(given)
        argv = [_PLACE.sub(lambda m: values[m[1]], word) for word in shlex.split(self.words)]
        return Command(argv=tuple(argv), cwd=self.cwd)


def code(job: StoredJob) -> str:
    """One line of Python; a coroutine function's coroutine is run to its end."""
    module, _, name = job.func.partition(":")
    call = f"{module}.{name}({call_arguments(job.args, job.kwargs)})"
    return f"import asyncio, {module}; r = {call}; asyncio.iscoroutine(r) and asyncio.run(r)"
