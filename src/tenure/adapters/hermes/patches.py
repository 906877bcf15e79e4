"""Where Tenure stands in Hermes' way: the functions that run a job, and those that ask for it.

Hermes' callers look these names up when they call, so replacing them in their modules is enough;
nothing on disk is touched. A module that is not loaded yet is patched as soon as it is, so that a
process that never touches its jobs pays nothing.

    cron.scheduler      tick, get_due_jobs, run_one_job (or run_job), mark_job_run, _get_lock_paths
    cron.scheduler_provider  CronScheduler.fire_due
    cron.jobs           trigger_job
    tools.cronjob_tools _execute_job_now, cronjob
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from tenure.adapters.hermes import inside
from tenure.adapters.hermes.home import HermesHome
from tenure.adapters.hermes.link import read_link
from tenure.adapters.hermes.seat import Originals, Seat
from tenure.domain.errors import TenureError
from tenure.domain.run import RunState
from tenure.runtime.client.asking import await_end

log = logging.getLogger("tenure.hermes")

MARK = "__tenure__"


class Seats:
    """The seats of this process, one for each adopted home that it works on. Thread-safe."""

    def __init__(self) -> None:
        self._seats: dict[HermesHome, Seat] = {}
        self._lock = threading.Lock()
        self.originals: dict[str, Any] = {}

    def of(self, home: HermesHome) -> Seat | None:
        """None where the home is not adopted (any more): Hermes then does as it always did."""
        link = read_link(home)
        with self._lock:
            seat = self._seats.get(home)
            if seat is not None and seat.link == link:
                return seat
            if seat is not None:
                del self._seats[home]
            if link is None:
                fresh = None
            else:
                fresh = self._seats[home] = Seat(link, self._originals())
        if seat is not None:
            seat.close()
        return fresh

    def _originals(self) -> Originals:
        scheduler = inside.scheduler_module()
        jobs = inside.jobs_module()
        whole = hasattr(scheduler, "run_one_job")
        body = scheduler.run_one_job if whole else scheduler.run_job
        return Originals(
            tick=_original(scheduler.tick),
            body=_original(body),
            whole=whole,
            trigger=_original(jobs.trigger_job),
        )

    def close(self) -> None:
        with self._lock:
            seats, self._seats = list(self._seats.values()), {}
        for seat in seats:
            seat.close()

    def forget_in_child(self) -> None:
        self._lock = threading.Lock()
        for seat in self._seats.values():
            seat.forget_in_child()
        self._seats = {}


seats = Seats()


def _original(function: Any) -> Any:
    return getattr(function, MARK, function)


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Put a function in the place of another, once."""
    original = getattr(owner, name, None)
    if original is None or hasattr(original, MARK):
        return
    wrapped = functools.wraps(original)(make(original))
    setattr(wrapped, MARK, original)
    setattr(owner, name, wrapped)


# -- cron.scheduler ----------------------------------------------------------------------------
def patch_scheduler(module: Any) -> None:
    replace(module, "tick", _tick)
    replace(module, "get_due_jobs", _due)
    replace(module, "run_one_job" if hasattr(module, "run_one_job") else "run_job", _body)
    replace(module, "mark_job_run", _mark)
    replace(module, "_get_lock_paths", _lock_paths)
    package = sys.modules.get("cron")
    if package is not None and hasattr(package, "tick"):
        package.tick = module.tick  # type: ignore[attr-defined]


def _tick(original: Any) -> Callable[..., Any]:
    def tick(*args: Any, **kwargs: Any) -> Any:
        seat = seats.of(inside.home_of_tick())
        return original(*args, **kwargs) if seat is None else seat.tick(args, kwargs)

    return tick


def _due(original: Any) -> Callable[..., Any]:
    def get_due_jobs() -> Any:
        found = original()
        seat = seats.of(inside.home_of_tick())
        return found if seat is None else seat.due(found)

    return get_due_jobs


def _body(original: Any) -> Callable[..., Any]:
    def run(job: Any, *args: Any, **kwargs: Any) -> Any:
        seat = seats.of(inside.home_of_tick())
        return original(job, *args, **kwargs) if seat is None else seat.body(job, args, kwargs)

    return run


def _mark(original: Any) -> Callable[..., Any]:
    def mark_job_run(
        job_id: str, success: bool, error: Any = None, delivery_error: Any = None
    ) -> Any:
        seat = seats.of(inside.home_of_tick())
        if seat is not None:
            seat.marked(bool(success), error, delivery_error)
        return original(job_id, success, error, delivery_error=delivery_error)

    return mark_job_run


def _lock_paths(original: Any) -> Callable[..., Any]:
    def lock_paths() -> Any:
        folder, path = original()
        seat = seats.of(inside.home_of_tick())
        return (folder, path) if seat is None else seat.lock_paths(folder, path)

    return lock_paths


# -- who asks --------------------------------------------------------------------------------
def patch_provider(module: Any) -> None:
    replace(module.CronScheduler, "fire_due", _fire_due)


def _fire_due(original: Any) -> Callable[..., Any]:
    def fire_due(self: Any, job_id: str, **kwargs: Any) -> Any:
        seat = seats.of(inside.home_of_jobs())
        if seat is None:
            return original(self, job_id, **kwargs)
        job = inside.find_job(job_id)
        if job is None:
            return False
        try:
            log.info("job %s: %s", job_id, seat.who_runs(seat.ask(job, "fire_due")))
        except TenureError as error:
            log.warning("job %s: refused: %s", job_id, _in_words(seat, error))
        return False  # it was not run here; by whom it is, the record says

    return fire_due


def patch_jobs(module: Any) -> None:
    replace(module, "trigger_job", _trigger)


def _trigger(original: Any) -> Callable[..., Any]:
    def trigger_job(job_id: str) -> Any:
        seat = seats.of(inside.home_of_jobs())
        if seat is None:
            return original(job_id)
        job = inside.find_job(job_id)
        if job is None:
            return None
        try:
            request = seat.ask(job, "trigger")
        except TenureError as error:
            raise _refusal(f"refused: {_in_words(seat, error)}") from None
        answer = _said.answer = seat.who_runs(request)
        return {**(inside.find_job(job["id"]) or job), "tenure": answer}

    return trigger_job


def patch_tools(module: Any) -> None:
    replace(module, "_execute_job_now", _execute)
    replace(module, "cronjob", _cronjob)


class _Said(threading.local):
    """What this thread was answered: some versions have a text of their own for it, and a wrong
    one."""

    answer: str | None = None


_said = _Said()


def _cronjob(original: Any) -> Callable[..., Any]:
    def cronjob(*args: Any, **kwargs: Any) -> Any:
        _said.answer = None
        text = original(*args, **kwargs)
        return _with_answer(text, _said.answer)

    return cronjob


def _execute(original: Any) -> Callable[..., Any]:
    def execute_job_now(job: Mapping[str, Any]) -> Any:
        seat = seats.of(inside.home_of_jobs())
        if seat is None:
            return original(job)
        try:
            request = seat.ask(job, "run")
        except TenureError as error:
            raise RuntimeError(f"refused: {_in_words(seat, error)}") from None
        scheduler, profile = seat.scheduler, seat.profile
        if scheduler is None or profile is None or not scheduler.keeper.authority:
            answer = _said.answer = seat.who_runs(request)
            return {"claimed": False, "success": False, "error": answer}
        # The owner itself was asked, by an agent of its own: it waits for the end, as ever.
        run = await_end(profile, request.run or "")
        good = run.state is RunState.SUCCEEDED
        return {"claimed": True, "success": good, "error": None if good else run.reason}

    return execute_job_now


def _with_answer(text: str, answer: str | None) -> str:
    """The tool's JSON, with the answer where it tells why nothing was run here."""
    if answer is None:
        return text
    result = json.loads(text)
    if isinstance(result.get("job"), dict):
        result["job"]["execution_skipped"] = answer
    return json.dumps(result, indent=2)


def _in_words(seat: Seat, error: TenureError) -> str:
    """The refusal, and what a user of Hermes types."""
    if "should_own" in error.facts:
        who = seat.home.profile
        return (
            f"no process that may run the jobs of {who} is there; the gateway may: "
            f"start it with: {seat.home.command} gateway start "
            f"(`tenure status --profile {seat.link.tenure_profile}` says more)"
        )
    return f"{error.text} ({error.remedy})" if error.remedy else error.text


def _refusal(text: str) -> Exception:
    """In a dashboard an answer of its API, else a plain error."""
    if "hermes_cli.web_server" in sys.modules:
        from fastapi import HTTPException  # type: ignore[import-not-found,unused-ignore]

        refused: Exception = HTTPException(status_code=409, detail=text)
        return refused
    return RuntimeError(text)


# -- as modules are loaded -----------------------------------------------------------------------
PATCHES: dict[str, Callable[[Any], None]] = {
    "cron.scheduler": patch_scheduler,
    "cron.scheduler_provider": patch_provider,
    "cron.jobs": patch_jobs,
    "tools.cronjob_tools": patch_tools,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Patches a module when it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = (
                find(name, path, target) if find is not None else None
            )
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        PATCHES[module.__name__](module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def install() -> None:
    """Patch what is loaded, and what will be. Doing it twice does nothing more."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, patch in PATCHES.items():
        module = sys.modules.get(name)
        if module is not None and getattr(module.__spec__, "_initializing", False) is False:
            patch(module)
