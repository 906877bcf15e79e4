"""Every name of Hermes that Tenure calls or replaces, in one place.

Used only by the plugin, inside Hermes' own processes. Modules are imported when they are needed: a
process that never uses its cron jobs does not load them for Tenure. What an older version does not
have is ``None``.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.inside.replacement import original_of
from tenure.host.local_zone import local_zone

REPLACED: Mapping[str, tuple[str, ...]] = {
    "cron.scheduler": (
        "tick", "get_due_jobs", "run_one_job", "run_job", "mark_job_run", "_get_lock_paths",
    ),
    "cron.scheduler_provider": ("CronScheduler.fire_due",),
    "cron.jobs": ("trigger_job",),
    "tools.cronjob_tools": ("_execute_job_now", "cronjob"),
    "hermes_cli.cron": ("_job_action",),
}  # fmt: skip
"""The functions that the plugin replaces, by module. What a version does not have is left out."""


@dataclass(frozen=True, slots=True)
class Originals:
    """Hermes' own functions, which are called once Tenure has said yes."""

    tick: Callable[..., int]
    body: Callable[..., Any]
    """``run_one_job``, or ``run_job`` where there is none."""
    whole: bool
    """Whether ``body`` is the whole of a run, with its delivery and its record."""


@dataclass(frozen=True, slots=True)
class TickerCall:
    """What Hermes' ticker passed to its last tick."""

    adapters: Any = None
    loop: Any = None
    can_dispatch: Callable[[], bool] | None = None
    """Hermes' own answer to whether it may start work; some versions have none."""

    @staticmethod
    def of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TickerCall:
        return TickerCall(
            adapters=kwargs.get("adapters", args[1] if len(args) > 1 else None),
            loop=kwargs.get("loop", args[2] if len(args) > 2 else None),
            can_dispatch=kwargs.get("can_dispatch"),
        )

    def delivery(self) -> dict[str, Any]:
        """The gateway's live adapters, as keyword arguments of Hermes' functions."""
        return {"adapters": self.adapters, "loop": self.loop}

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for another tick like it."""
        gate = {"can_dispatch": self.can_dispatch} if self.can_dispatch else {}
        return {**self.delivery(), **gate}

    def draining(self) -> bool:
        """Whether Hermes accepts no work at the moment because it is about to stop."""
        return self.can_dispatch is not None and not self.can_dispatch()


def jobs_module() -> Any:
    return importlib.import_module("cron.jobs")


def scheduler_module() -> Any:
    return importlib.import_module("cron.scheduler")


def originals() -> Originals:
    scheduler = scheduler_module()
    whole = hasattr(scheduler, "run_one_job")
    return Originals(
        tick=original_of(scheduler.tick),
        body=original_of(scheduler.run_one_job if whole else scheduler.run_job),
        whole=whole,
    )


def typed_tick(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a person typed this call of ``tick``: only ``hermes cron tick`` prints and waits."""
    verbose = kwargs.get("verbose", args[0] if args else True)
    sync = kwargs.get("sync", args[3] if len(args) > 3 else True)
    return bool(verbose and sync) and threading.current_thread() is threading.main_thread()


def home_of_jobs() -> HermesHome:
    """The profile that ``cron.jobs`` works on in this context."""
    jobs = jobs_module()
    current = getattr(jobs, "_current_cron_store", None)
    folder = current().cron_dir if current is not None else jobs.CRON_DIR
    return home_of(Path(folder).parent)


def home_of_tick() -> HermesHome:
    """The profile that a tick works on in this context."""
    # Not what ``cron.scheduler`` says itself: in some versions a job that asks for another profile
    # changes that for all threads while it runs.
    return home_of(importlib.import_module("hermes_constants").get_hermes_home())


def load_jobs() -> list[dict[str, Any]]:
    """The jobs as Hermes reads them. Raises what it raises for a damaged file."""
    return [job for job in jobs_module().load_jobs() if isinstance(job, dict)]


def find_job(ref: str) -> dict[str, Any] | None:
    """By id or name, as Hermes resolves it; an ambiguous name raises what Hermes raises."""
    jobs = jobs_module()
    resolve = getattr(jobs, "resolve_job_ref", None) or jobs.get_job
    job = resolve(ref)
    return job if isinstance(job, dict) else None


def zone() -> tzinfo:
    """The zone that Hermes is set to, with its rules where they are known."""
    # Where no zone is set, Hermes takes the machine's offset of the moment.
    now = datetime.now().astimezone()
    with contextlib.suppress(Exception):
        now = jobs_module()._hermes_now()
    found = now.tzinfo or UTC
    if getattr(found, "key", None) is None:
        with contextlib.suppress(Exception):
            ruled = ZoneInfo(local_zone())
            if now.astimezone(ruled).utcoffset() == now.utcoffset():
                return ruled
    return found


def zone_name() -> str:
    """The same as an IANA name; ``UTC`` where it has none."""
    return str(getattr(zone(), "key", None) or local_zone())


def cronjob(**what: Any) -> str:
    """The tool by which agents and the command line change jobs; its answer is JSON."""
    return str(importlib.import_module("tools.cronjob_tools").cronjob(**what))


def croniter() -> Any:
    return getattr(jobs_module(), "croniter", None)


def version() -> str | None:
    with contextlib.suppress(Exception):
        return str(importlib.import_module("hermes_cli").__version__)
    return None


def holds_gateway_lock() -> bool:
    """Whether this process says that it holds the gateway's lock; for display only."""
    status = sys.modules.get("gateway.status")
    return getattr(status, "_gateway_lock_handle", None) is not None


def running_job_ids() -> frozenset[str]:
    scheduler = scheduler_module()
    ask = getattr(scheduler, "get_running_job_ids", None)
    ids = ask() if ask is not None else getattr(scheduler, "_running_job_ids", ())
    return frozenset(map(str, tuple(ids)))


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


def claim_for_fire(job_id: str) -> bool:
    """Take Hermes' own claim of one run; False if the job is paused or gone."""
    return bool(jobs_module().claim_job_for_fire(job_id))


def advance(job_id: object) -> None:
    """Move a recurring job on to its next fire, as a tick does before it runs one."""
    jobs_module().advance_next_run(job_id)


def give_back(found: Sequence[Mapping[str, Any]]) -> None:
    """Make jobs due again that Hermes found due and that could not be claimed."""
    # Finding them has moved some on, and marked one-shots as running.
    before = {job.get("id"): job for job in found}

    def undo(job: dict[str, Any]) -> bool:
        before_job = before.get(job.get("id"))
        if before_job is None or any(
            job.get(key) != before_job.get(key) for key in ("schedule", "enabled")
        ):
            return False  # edited at this moment: the edit stays
        then = {"next_run_at": before_job.get("next_run_at")}
        if job.get("run_claim") is not None:
            then["run_claim"] = None
        changed = any(job.get(key) != value for key, value in then.items())
        job.update(then)
        return changed

    _rewrite(undo)


def drop_fire_claim(job_id: str) -> None:
    """Forget Hermes' own mark that a job is being fired."""

    def drop(job: dict[str, Any]) -> bool:
        if job.get("id") != job_id or not job.get("fire_claim"):
            return False
        job["fire_claim"] = None
        return True

    _rewrite(drop)


def _rewrite(change: Callable[[dict[str, Any]], bool]) -> None:
    """Under Hermes' own lock, by its own functions; written only if something has changed."""
    jobs = jobs_module()
    lock = getattr(jobs, "_jobs_lock", None)
    with lock() if lock is not None else jobs._jobs_file_lock:
        stored = jobs.load_jobs()
        changed = [change(job) for job in stored if isinstance(job, dict)]
        if any(changed):
            jobs.save_jobs(stored)


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
