"""The functions of Hermes that Tenure replaces: those that run a job, and those that ask for it.

Hermes' callers look these names up when they call, so replacing them in their modules is enough;
nothing on disk changes. A module that is not loaded yet is patched when it loads, so a process
that never uses its jobs pays nothing. A name that another module imported before is replaced there
too.

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

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.host_registry import hosts
from tenure.adapters.hermes.inside.replacement import replace

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import HermesHost

log = logging.getLogger("tenure.hermes")

Make = Callable[[Any], Callable[..., Any]]


def _when_adopted(home: Callable[[], HermesHome], act: Callable[..., Any]) -> Make:
    """Make a replacement that calls ``act(host, original, *args, **kwargs)`` where ``home()`` is
    adopted, and the original elsewhere."""

    def make(original: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            host = hosts.of(home())
            if host is None:
                return original(*args, **kwargs)
            return act(host, original, *args, **kwargs)

        return call

    return make


# -- cron.scheduler ----------------------------------------------------------------------------
def patch_scheduler(module: Any) -> None:
    replacements: dict[str, Callable[..., Any]] = {
        "tick": lambda host, _, *args, **kwargs: host.tick(args, kwargs),
        "get_due_jobs": lambda host, original: host.due_jobs.claimed(original),
        "run_job": _body,
        "_get_lock_paths": lambda host, original: host.lock_paths(*original()),
    }
    if hasattr(module, "run_one_job"):
        replacements.update(run_one_job=_body, run_job=_part)
    for name, act in replacements.items():
        replace(module, name, _when_adopted(hermes_api.home_of_tick, act))
    replace(module, "mark_job_run", _mark)


def _body(host: HermesHost, original: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
    return host.handoff.body(job, args, kwargs)


def _part(host: HermesHost, original: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
    return host.handoff.part(original, job, args, kwargs)


def _mark(original: Any) -> Callable[..., Any]:
    def mark_job_run(
        job_id: str, success: bool, error: Any = None, delivery_error: Any = None
    ) -> Any:
        try:
            return original(job_id, success, error, delivery_error=delivery_error)
        finally:
            hosts.marked(job_id, success, error, delivery_error)

    return mark_job_run


# -- requests --------------------------------------------------------------------------------
class _Answer(threading.local):
    """The owner's answer to this thread's request: Hermes' own texts would be wrong."""

    text: str | None = None
    refused: bool = False


_answer = _Answer()


def patch_provider(module: Any) -> None:
    replace(module.CronScheduler, "fire_due", _when_adopted(hermes_api.home_of_jobs, _fire_due))


def _fire_due(host: HermesHost, original: Any, provider: Any, job_id: str, **kwargs: Any) -> bool:
    job = hermes_api.find_job(job_id)
    if job is None:
        return False
    try:
        log.info("job %s: %s", job_id, _queued(host, job, "fire_due"))
    except RuntimeError as error:  # this is called in the background
        log.warning("job %s: %s", job_id, error)
    return False  # it was not run here


def patch_jobs(module: Any) -> None:
    replace(module, "trigger_job", _when_adopted(hermes_api.home_of_jobs, _trigger))


def _trigger(host: HermesHost, original: Any, job_id: str) -> Any:
    job = hermes_api.find_job(job_id)
    if job is None:
        return None
    try:
        answer = _answer.text = _queued(host, job, "trigger")
    except RuntimeError as error:
        raise _in_a_dashboard(error) from None
    return {**(hermes_api.find_job(job["id"]) or job), "tenure": answer}


def patch_tools(module: Any) -> None:
    replace(module, "_execute_job_now", _when_adopted(hermes_api.home_of_jobs, _execute))
    replace(module, "cronjob", _cronjob)


def _cronjob(original: Any) -> Callable[..., Any]:
    def cronjob(*args: Any, **kwargs: Any) -> Any:
        _answer.text, _answer.refused = None, False
        return _with_answer(original(*args, **kwargs), _answer.text)

    return cronjob


def _execute(host: HermesHost, original: Any, job: Mapping[str, Any]) -> Any:
    if host.owns():  # its own agent asks, and waits for the end as without Tenure
        good, why = _ask(host, lambda requests: requests.run_by_owner(host, job))
        return {"claimed": True, "success": good, "error": None if good else why}
    _answer.text = _queued(host, job, "run")
    return {"claimed": False, "success": False, "error": _answer.text}


def patch_cli(module: Any) -> None:
    replace(module, "_job_action", _when_adopted(hermes_api.home_of_jobs, _job_action))


def _job_action(
    host: HermesHost, original: Any, action: str, job_id: str, success_verb: str
) -> Any:
    return _cron_run(job_id) if action == "run" else original(action, job_id, success_verb)


def _cron_run(job_id: str) -> int:
    """``hermes cron run``: it prints which process runs the job, and exits with 3 if none does."""
    result = json.loads(hermes_api.cronjob(action="run", job_id=job_id))
    if not result.get("success"):
        print(f"Failed to run job: {result.get('error', 'unknown error')}")
        if _answer.refused:
            sys.stdout.flush()
            raise SystemExit(3)
        return 1
    job = result.get("job") or {}
    print(f"Triggered job: {job.get('name', job_id)} ({job_id})")
    how = "succeeded" if job.get("execution_success") else "failed"
    print(f"  {_answer.text or f'Ran now: {how}.'}")
    return 0


def _with_answer(text: str, answer: str | None) -> str:
    """The tool's JSON, with the owner's answer as the reason why nothing ran here."""
    if answer is None:
        return text
    result = json.loads(text)
    if isinstance(result.get("job"), dict):
        result["job"]["execution_skipped"] = answer
    return json.dumps(result, indent=2)


def _queued(host: HermesHost, job: Mapping[str, Any], via: str) -> str:
    """Ask the owner; which process runs it, as text. Raises RuntimeError for a refusal."""
    return str(_ask(host, lambda requests: requests.queued(host, job, via)))


def _ask(host: HermesHost, request: Callable[[Any], Any]) -> Any:
    from tenure.adapters.hermes.inside import owner_requests

    try:
        return request(owner_requests)
    except Exception as error:  # noqa: BLE001  Hermes prints a RuntimeError
        _answer.refused = True
        raise RuntimeError(f"refused: {owner_requests.refusal_text(host, error)}") from None


def _in_a_dashboard(error: RuntimeError) -> Exception:
    """Its API's error in a dashboard; the same error elsewhere."""
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
