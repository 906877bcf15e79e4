"""The Hermes that this process is: every name of Hermes that Tenure calls, in one place.

Used only by the plugin, inside Hermes' own processes. Modules are asked for when they are needed:
a process that never touches its cron jobs does not load them for Tenure's sake. What is not there
in an older version is answered by ``None``.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.home import HermesHome, home_of


def jobs_module() -> Any:
    return importlib.import_module("cron.jobs")


def scheduler_module() -> Any:
    return importlib.import_module("cron.scheduler")


def home_of_jobs() -> HermesHome:
    """The profile whose jobs ``cron.jobs`` would read at this moment, in this context."""
    jobs = jobs_module()
    current = getattr(jobs, "_current_cron_store", None)
    folder = current().cron_dir if current is not None else jobs.CRON_DIR
    return home_of(Path(folder).parent)


def home_of_tick() -> HermesHome:
    """The profile that a tick would run at this moment, in this context."""
    return home_of(scheduler_module()._get_hermes_home())


def load_jobs() -> list[dict[str, Any]]:
    """The jobs as Hermes reads them. Raises what it raises for a damaged file."""
    return [job for job in jobs_module().load_jobs() if isinstance(job, dict)]


def find_job(ref: str) -> dict[str, Any] | None:
    """By id or name, as Hermes resolves it; an ambiguous name raises what Hermes raises."""
    jobs = jobs_module()
    resolve = getattr(jobs, "resolve_job_ref", None) or jobs.get_job
    found = resolve(ref)
    return found if isinstance(found, dict) else None


def zone() -> tzinfo:
    """The zone that Hermes is set to."""
    with contextlib.suppress(Exception):
        found = jobs_module()._hermes_now().tzinfo
        if isinstance(found, tzinfo):
            return found
    return datetime.now().astimezone().tzinfo or UTC


def zone_name() -> str:
    """The same as an IANA name; ``UTC`` where it has none."""
    name = getattr(zone(), "key", None)
    if name is None:
        from tenure.host.local_zone import local_zone

        name = local_zone()
    return str(name)


def croniter() -> Any:
    return getattr(jobs_module(), "croniter", None)


def version() -> str | None:
    with contextlib.suppress(Exception):
        return str(importlib.import_module("hermes_cli").__version__)
    return None


def holds_gateway_lock() -> bool:
    """Whether this process believes to be the gateway. For names only: the policy asks the
    kernel."""
    status = sys.modules.get("gateway.status")
    return getattr(status, "_gateway_lock_handle", None) is not None


def running_job_ids() -> frozenset[str]:
    scheduler = scheduler_module()
    ask = getattr(scheduler, "get_running_job_ids", None)
    found = ask() if ask is not None else getattr(scheduler, "_running_job_ids", ())
    return frozenset(found)


@contextlib.contextmanager
def marked_as_running(job_id: str) -> Iterator[bool]:
    """Count a run among those that Hermes waits for when it stops; False if it is one already."""
    scheduler = scheduler_module()
    with scheduler._running_lock:
        taken = job_id in scheduler._running_job_ids
        scheduler._running_job_ids.add(job_id)
    try:
        yield not taken
    finally:
        if not taken:
            with scheduler._running_lock:
                scheduler._running_job_ids.discard(job_id)


def advance(job_id: str) -> None:
    """Move a recurring job on to its next fire, as a tick does before it runs one."""
    jobs_module().advance_next_run(job_id)


def create_execution(job_id: str, source: str) -> str | None:
    """An entry in Hermes' own ledger of attempts; None where it keeps none."""
    try:
        executions = importlib.import_module("cron.executions")
    except ImportError:
        return None
    return str(executions.create_execution(job_id, source=source)["id"])


def close_execution(execution: object, why: str) -> None:
    """Say in Hermes' ledger that an attempt was refused."""
    if isinstance(execution, str):
        with contextlib.suppress(Exception):
            executions = importlib.import_module("cron.executions")
            executions.finish_execution(execution, success=False, error=why)


@contextlib.contextmanager
def scoped(home: HermesHome) -> Iterator[None]:
    """Have Hermes work on this profile in this thread, whatever the process was started for."""
    constants = importlib.import_module("hermes_constants")
    with contextlib.ExitStack() as stack:
        if home_of(constants.get_hermes_home()) != home:
            token = constants.set_hermes_home_override(str(home.path))
            stack.callback(constants.reset_hermes_home_override, token)
        use = getattr(jobs_module(), "use_cron_store", None)
        if use is not None:
            stack.enter_context(use(home.path))
        yield
