"""Where Tenure stands in Hermes' way: the functions that run a job, and those that ask for it.

Hermes' callers look these names up when they call, so replacing them in their modules is enough;
nothing on disk is touched. A module that is not loaded yet is patched as soon as it is, so that a
process that never touches its jobs pays nothing; a name that another module has taken before is
replaced there too.

    cron.scheduler      tick, get_due_jobs, run_one_job, run_job, mark_job_run, _get_lock_paths
    cron.scheduler_provider  CronScheduler.fire_due
    cron.jobs           trigger_job
    tools.cronjob_tools _execute_job_now, cronjob
    hermes_cli.cron     _job_action
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.host_registry import seats
from tenure.adapters.hermes.inside.replacement import replace

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import Seat

log = logging.getLogger("tenure.hermes")


# -- cron.scheduler ----------------------------------------------------------------------------
def patch_scheduler(module: Any) -> None:
    replace(module, "tick", _tick)
    replace(module, "get_due_jobs", _due)
    if hasattr(module, "run_one_job"):
        replace(module, "run_one_job", _body)
        replace(module, "run_job", _part)
    else:
        replace(module, "run_job", _body)
    replace(module, "mark_job_run", _mark)
    replace(module, "_get_lock_paths", _lock_paths)


def _tick(original: Any) -> Callable[..., Any]:
    def tick(*args: Any, **kwargs: Any) -> Any:
        seat = seats.of(hermes_api.home_of_tick())
        return original(*args, **kwargs) if seat is None else seat.tick(args, kwargs)

    return tick


def _due(original: Any) -> Callable[..., Any]:
    def get_due_jobs() -> Any:
        seat = seats.of(hermes_api.home_of_tick())
        return original() if seat is None else seat.dues.claimed(original)

    return get_due_jobs


def _body(original: Any) -> Callable[..., Any]:
    def run(job: Any, *args: Any, **kwargs: Any) -> Any:
        seat = seats.of(hermes_api.home_of_tick())
        if seat is None:
            return original(job, *args, **kwargs)
        return seat.carrying.body(job, args, kwargs)

    return run


def _part(original: Any) -> Callable[..., Any]:
    def run_job(job: Any, *args: Any, **kwargs: Any) -> Any:
        seat = seats.of(hermes_api.home_of_tick())
        if seat is None:
            return original(job, *args, **kwargs)
        return seat.carrying.part(original, job, args, kwargs)

    return run_job


def _mark(original: Any) -> Callable[..., Any]:
    def mark_job_run(
        job_id: str, success: bool, error: Any = None, delivery_error: Any = None
    ) -> Any:
        try:
            return original(job_id, success, error, delivery_error=delivery_error)
        finally:
            seats.marked(job_id, success, error, delivery_error)

    return mark_job_run


def _lock_paths(original: Any) -> Callable[..., Any]:
    def lock_paths() -> Any:
        folder, path = original()
        seat = seats.of(hermes_api.home_of_tick())
        return (folder, path) if seat is None else seat.lock_paths(folder, path)

    return lock_paths


# -- who asks --------------------------------------------------------------------------------
class _Said(threading.local):
    """What this thread was answered: Hermes has texts of its own for it, which are not so."""

    answer: str | None = None
    refused: bool = False


_said = _Said()


def patch_provider(module: Any) -> None:
    replace(module.CronScheduler, "fire_due", _fire_due)


def _fire_due(original: Any) -> Callable[..., Any]:
    def fire_due(self: Any, job_id: str, **kwargs: Any) -> Any:
        seat = seats.of(hermes_api.home_of_jobs())
        if seat is None:
            return original(self, job_id, **kwargs)
        job = hermes_api.find_job(job_id)
        if job is None:
            return False
        try:
            log.info("job %s: %s", job_id, _queued(seat, job, "fire_due"))
        except RuntimeError as error:  # this is called in the background: it is logged
            log.warning("job %s: %s", job_id, error)
        return False  # it was not run here; by whom it is, the record says

    return fire_due


def patch_jobs(module: Any) -> None:
    replace(module, "trigger_job", _trigger)


def _trigger(original: Any) -> Callable[..., Any]:
    def trigger_job(job_id: str) -> Any:
        seat = seats.of(hermes_api.home_of_jobs())
        if seat is None:
            return original(job_id)
        job = hermes_api.find_job(job_id)
        if job is None:
            return None
        try:
            answer = _said.answer = _queued(seat, job, "trigger")
        except RuntimeError as error:
            raise _in_a_dashboard(error) from None
        return {**(hermes_api.find_job(job["id"]) or job), "tenure": answer}

    return trigger_job


def patch_tools(module: Any) -> None:
    replace(module, "_execute_job_now", _execute)
    replace(module, "cronjob", _cronjob)


def _cronjob(original: Any) -> Callable[..., Any]:
    def cronjob(*args: Any, **kwargs: Any) -> Any:
        _said.answer, _said.refused = None, False
        return _with_answer(original(*args, **kwargs), _said.answer)

    return cronjob


def _execute(original: Any) -> Callable[..., Any]:
    def execute_job_now(job: Mapping[str, Any]) -> Any:
        seat = seats.of(hermes_api.home_of_jobs())
        if seat is None:
            return original(job)
        if seat.owns():  # an agent of its own asks it, and waits for the end, as ever
            good, why = _refused_in_words(seat, lambda requests: requests.run_by_owner(seat, job))
            return {"claimed": True, "success": good, "error": None if good else why}
        _said.answer = _queued(seat, job, "run")
        return {"claimed": False, "success": False, "error": _said.answer}

    return execute_job_now


def patch_cli(module: Any) -> None:
    replace(module, "_job_action", _job_action)


def _job_action(original: Any) -> Callable[..., Any]:
    def job_action(action: str, job_id: str, success_verb: str) -> Any:
        if action != "run" or seats.of(hermes_api.home_of_jobs()) is None:
            return original(action, job_id, success_verb)
        return _cron_run(job_id)

    return job_action


def _cron_run(job_id: str) -> int:
    """``hermes cron run``: it says who runs it, and ends with 3 if nobody does."""
    result = json.loads(hermes_api.cronjob(action="run", job_id=job_id))
    if not result.get("success"):
        print(f"Failed to run job: {result.get('error', 'unknown error')}")
        if _said.refused:
            sys.stdout.flush()
            raise SystemExit(3)
        return 1
    job = result.get("job") or {}
    print(f"Triggered job: {job.get('name', job_id)} ({job_id})")
    how = "succeeded" if job.get("execution_success") else "failed"
    print(f"  {_said.answer or f'Ran now: {how}.'}")
    return 0


def _with_answer(text: str, answer: str | None) -> str:
    """The tool's JSON, with the answer where it tells why nothing was run here."""
    if answer is None:
        return text
    result = json.loads(text)
    if isinstance(result.get("job"), dict):
        result["job"]["execution_skipped"] = answer
    return json.dumps(result, indent=2)


def _queued(seat: Seat, job: Mapping[str, Any], via: str) -> str:
    """Ask the owner; who runs it, in words. Raises RuntimeError for a refusal."""
    return str(_refused_in_words(seat, lambda requests: requests.queued(seat, job, via)))


def _refused_in_words(seat: Seat, ask: Callable[[Any], Any]) -> Any:
    from tenure.adapters.hermes.inside import owner_requests

    try:
        return ask(owner_requests)
    except Exception as error:  # noqa: BLE001  raised as what Hermes knows to print
        _said.refused = True
        raise RuntimeError(f"refused: {owner_requests.in_words(seat, error)}") from None


def _in_a_dashboard(error: RuntimeError) -> Exception:
    """An answer of its API; the same error elsewhere."""
    if "hermes_cli.web_server" not in sys.modules:
        return error
    from fastapi import HTTPException  # type: ignore[import-not-found,unused-ignore]

    refused: Exception = HTTPException(status_code=409, detail=str(error))
    return refused


PATCHES: dict[str, Callable[[Any], None]] = {
    "cron.scheduler": patch_scheduler,
    "cron.scheduler_provider": patch_provider,
    "cron.jobs": patch_jobs,
    "tools.cronjob_tools": patch_tools,
    "hermes_cli.cron": patch_cli,
}
