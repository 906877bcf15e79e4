"""What a job's function can know about its run: a parameter of its signature requests it.

    def nightly(context: Context): ...      a parameter with this annotation, of any name
    def nightly(context): ...               or a parameter of this name without an annotation

A context belongs to one attempt. A thread cannot be ended from outside, so cancelling it is
cooperative: the function checks :attr:`Context.cancelled`, or waits on it instead of sleeping.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from tenure.domain.run import Run

CHILD_ARGUMENTS = ("-m", "tenure.runtime.callables.child")
"""Interpreter arguments that run a declared function in a process of its own."""
REASON_VARIABLE = "TENURE_REASON"
"""Environment variable: the file in which such a process writes why it failed."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A token with which the job's own database can reject late effects of a former owner.

    ``term`` only increases: store the highest term seen for each ``job`` in a table beside the
    data, raise it in the same transaction as the effect, and give up if it is already higher. See
    docs/fencing.md for the statements.
    """

    job: str
    term: int
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One attempt of one run, as its function sees it. Instants are UTC. Thread-safe."""

    run: str
    job: str
    fire_time: datetime
    """The instant of the schedule; for a triggered run, the instant of the claim."""
    term: int
    attempt: int = 1
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the run is cancelled or out of time: ``cancelled.wait(5)`` sleeps until then."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("tenure.job"))
    """Named ``tenure.job.<job>``; its records are part of the run's output."""

    @property
    def fence(self) -> Fence:
        return Fence(self.job, self.term, self.run)


def fence(context: Context) -> Fence:
    """The fencing token of a run: its job, term and run id."""
    return context.fence


def context_of(run: Run, cancelled: threading.Event) -> Context:
    return Context(
        run=run.id,
        job=run.job_name,
        fire_time=run.fire_time,
        term=run.term,
        attempt=run.attempt,
        cancelled=cancelled,
        logger=logging.getLogger(f"tenure.job.{run.job_name}"),
    )


def context_of_process(environ: Mapping[str, str] | None = None) -> Context:
    """The context of a run in a process of its own, from its environment.

    Raises KeyError if this process is not a run.
    """
    variables = os.environ if environ is None else environ
    return Context(
        run=variables["TENURE_RUN"],
        job=variables["TENURE_JOB"],
        fire_time=datetime.fromisoformat(variables["TENURE_FIRE_TIME"]).astimezone(UTC),
        term=int(variables["TENURE_TERM"]),
        attempt=int(variables["TENURE_ATTEMPT"]),
        logger=logging.getLogger(f"tenure.job.{variables['TENURE_JOB']}"),
    )


def context_parameter(function: Callable[..., Any]) -> str | None:
    """The name of the parameter that receives the context; None without such a parameter."""
    try:
        return _find_parameter(function)
    except TypeError:  # an object that cannot be hashed
        return _find_parameter.__wrapped__(function)


@lru_cache(maxsize=1024)
def _find_parameter(function: Callable[..., Any]) -> str | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # for example a builtin
        return None
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = parameter.annotation
        if _is_context(annotation):
            return parameter.name
        if annotation is parameter.empty and parameter.name == "context":
            return parameter.name
    return None


def _is_context(annotation: Any) -> bool:
    """Also ``Context | None``, for a function that is called elsewhere too, and as text."""
    if isinstance(annotation, str):
        words = annotation.strip("'\"").removesuffix("]").rpartition("Optional[")[2].split("|")
        return any(word.strip().rpartition(".")[2] == "Context" for word in words)
    either = get_origin(annotation) in (Union, UnionType)
    return annotation is Context or (either and Context in get_args(annotation))
