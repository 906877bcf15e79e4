"""The functions of Hermes that Tenure replaces: those that run a job, and those that ask for it.

Each call finds the host of the home that it is about: one for each adopted home that this process
works on. In a home that is not adopted Hermes works as without Tenure.

Hermes' callers look these names up when they call, so replacing them in their modules is enough;
nothing on disk changes. A module that is not loaded yet is patched when it loads, so a process
that never uses its jobs pays nothing. A name that another module imported before is replaced there
too.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.facts.adoption_record import AdoptionLink, read_link
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.replacement import replace

if TYPE_CHECKING:  # loaded with the first host: most processes of Hermes never need it
    from tenure.adapters.hermes.inside.host import HermesHost

log = logging.getLogger("tenure.hermes")

DRAIN_AFTER_RELEASE_S = 3600.0
"""How long active runs may take to report their end when their home is released."""
Make = Callable[[Any], Callable[..., Any]]


class HostRegistry:
    """Thread-safe. Each call reads whether the home is adopted: one small file."""

    def __init__(self) -> None:
        self._hosts: dict[HermesHome, HermesHost] = {}
        self._leaving: list[HermesHost] = []
        self._lock = threading.Lock()

    def of(self, home: HermesHome) -> HermesHost | None:
        """None where the home is not adopted: Hermes then works as without Tenure."""
        link = read_link(home)
        # A record that changed (released, adopted again, into another profile) needs another host.
        with self._lock:
            old = self._hosts.get(home)
            if old is not None and old.link == link:
                return old
            self._hosts.pop(home, None)
            host = None
            if link is not None:
                host = self._hosts[home] = _make_host(link)
        if old is not None:
            self._leave(old)
        return host

    def marked(self, job_id: str, *how: Any) -> None:
        """Hermes has recorded how a run of one of the homes ended."""
        for host in (*list(self._hosts.values()), *self._leaving):
            host.handoff.marked(job_id, *how)

    def _leave(self, host: HermesHost) -> None:
        if not host.handoff.active():
            host.close()
            return
        self._leaving.append(host)
        threading.Thread(
            target=self._close_later, args=(host,), name="tenure-hermes-leaving", daemon=True
        ).start()

    def _close_later(self, host: HermesHost) -> None:
        try:
            host.close(DRAIN_AFTER_RELEASE_S)
        finally:
            self._leaving.remove(host)

    def close(self) -> None:
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            host.close()

    def forget_in_child(self) -> None:
        self._lock = threading.Lock()
        hosts, self._hosts = [*self._hosts.values(), *self._leaving], {}
        self._leaving = []
        for host in hosts:
            host.forget_in_child()


def _make_host(link: AdoptionLink) -> HermesHost:
    """Raises RuntimeError if a part cannot be loaded: then nothing runs."""
    try:
        from tenure.adapters.hermes.inside.host import HermesHost
    except Exception as error:
        why = f"Tenure cannot be loaded here ({type(error).__name__}: {error})"
        raise RuntimeError(f"refused: {why}; run: tenure hermes status") from error
    return HermesHost(link, hermes_api.originals())


hosts = HostRegistry()


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


def _in_a_tick(act: Callable[..., Any]) -> Make:
    return _when_adopted(hermes_api.home_of_tick, act)


# -- runs --------------------------------------------------------------------------------------
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
    """The owner's answer to this thread's request."""

    text: str | None = None
    refused: bool = False

    def clear(self) -> None:
        self.text, self.refused = None, False


_answer = _Answer()


def _fire_due(host: HermesHost, original: Any, provider: Any, job_id: str, **kwargs: Any) -> bool:
    job = hermes_api.find_job(job_id)
    if job is None:
        return False
    try:
        log.info("job %s: %s", job_id, _queued(host, job, "fire_due"))
    except RuntimeError as error:  # this is called in the background
        log.warning("job %s: %s", job_id, error)
    return False  # it was not run here


def _trigger(host: HermesHost, original: Any, job_id: str) -> Any:
    job = hermes_api.find_job(job_id)
    if job is None:
        return None
    try:
        answer = _answer.text = _queued(host, job, "trigger")
    except RuntimeError as error:
        if "hermes_cli.web_server" not in sys.modules:
            raise
        from fastapi import HTTPException  # type: ignore[import-not-found,unused-ignore]

        raise HTTPException(status_code=409, detail=str(error)) from None  # as its API answers
    return {**(hermes_api.find_job(job["id"]) or job), "tenure": answer}


def _cronjob(original: Any) -> Callable[..., Any]:
    def cronjob(*args: Any, **kwargs: Any) -> Any:
        _answer.clear()
        text = original(*args, **kwargs)
        if _answer.text is None:
            return text
        result = json.loads(text)
        if isinstance(result.get("job"), dict):
            # The reason why nothing ran here: Hermes' own text would be wrong.
            result["job"]["execution_skipped"] = _answer.text
        return json.dumps(result, indent=2)

    return cronjob


def _execute(host: HermesHost, original: Any, job: Mapping[str, Any]) -> Any:
    if host.owns():  # its own agent asks, and waits for the end as without Tenure
        good, why = _asked(host, lambda: host.refusals.run_by_owner(job))
        return {"claimed": True, "success": good, "error": None if good else why}
    _answer.text = _queued(host, job, "run")
    return {"claimed": False, "success": False, "error": _answer.text}


def _job_action(
    host: HermesHost, original: Any, action: str, job_id: str, success_verb: str
) -> Any:
    """``hermes cron run`` prints which process runs the job, and exits with 3 if none does."""
    if action != "run":
        return original(action, job_id, success_verb)
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


def _queued(host: HermesHost, job: Mapping[str, Any], via: str) -> str:
    """Ask the owner; which process runs it, as text. Raises RuntimeError for a refusal."""
    return str(_asked(host, lambda: host.refusals.queued(job, via)))


def _asked(host: HermesHost, request: Callable[[], Any]) -> Any:
    try:
        return request()
    except Exception as error:  # noqa: BLE001  Hermes prints a RuntimeError
        _answer.refused = True
        raise RuntimeError(f"refused: {host.refusals.text_of(error)}") from None


_REPLACEMENTS: dict[str, Make] = {
    # ticks and runs
    "tick": _in_a_tick(lambda host, _, *args, **kwargs: host.tick(args, kwargs)),
    "get_due_jobs": _in_a_tick(lambda host, original: host.handoff.claimed(original)),
    "_get_lock_paths": _in_a_tick(lambda host, original: host.lock_paths(*original())),
    "run_one_job": _in_a_tick(
        lambda host, _, job, *args, **kwargs: host.handoff.body(job, args, kwargs)
    ),
    "run_job": _in_a_tick(
        lambda host, original, job, *args, **kwargs: host.handoff.part(original, job, args, kwargs)
    ),
    "mark_job_run": _mark,
    # requests
    "fire_due": _when_adopted(hermes_api.home_of_jobs, _fire_due),
    "trigger_job": _when_adopted(hermes_api.home_of_jobs, _trigger),
    "_execute_job_now": _when_adopted(hermes_api.home_of_jobs, _execute),
    "cronjob": _cronjob,
    "_job_action": _when_adopted(hermes_api.home_of_jobs, _job_action),
}


def _patch(module: Any) -> None:
    for path in hermes_api.REPLACED[module.__name__]:
        owner, _, name = path.rpartition(".")
        replace(getattr(module, owner) if owner else module, name, _REPLACEMENTS[name])


PATCHES: dict[str, Callable[[Any], None]] = dict.fromkeys(hermes_api.REPLACED, _patch)
"""What is done to a module of Hermes when it is loaded."""
