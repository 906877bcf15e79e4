"""The modules of a small Hermes, as text: what the plugin stands in the way of, and no more."""

CONSTANTS = """
from contextvars import ContextVar
from pathlib import Path
import os
_override = ContextVar("override", default=None)
def set_hermes_home_override(path): return _override.set(path)
def reset_hermes_home_override(token): _override.reset(token)
def get_hermes_home(): return Path(_override.get() or os.environ["HERMES_HOME"])
"""
JOBS = """
import contextlib, json, os, threading
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from hermes_constants import get_hermes_home
NEW = {new}
HERMES_DIR = get_hermes_home()
CRON_DIR = HERMES_DIR / "cron"
_jobs_file_lock = threading.RLock() if NEW else threading.Lock()
croniter = None
SAVED = []

class AmbiguousJobReference(LookupError): ...

def _hermes_now(): return datetime.now(timezone.utc)

if NEW:
    _store = ContextVar("store", default=None)
    def _current_cron_store():
        return SimpleNamespace(cron_dir=_store.get() or get_hermes_home() / "cron")
    @contextlib.contextmanager
    def use_cron_store(home):
        token = _store.set(Path(home) / "cron")
        try: yield
        finally: _store.reset(token)
    @contextlib.contextmanager
    def _jobs_lock():
        with _jobs_file_lock: yield

def _dir(): return _current_cron_store().cron_dir if NEW else CRON_DIR

def load_jobs():
    path = _dir() / "jobs.json"
    if not path.exists(): return []
    try: return json.loads(path.read_text())["jobs"]
    except ValueError as error: raise RuntimeError(f"corrupted: {{error}}") from error

def save_jobs(jobs):
    path = _dir() / "jobs.json"
    path.with_suffix(".tmp").write_text(json.dumps({{"jobs": jobs}}))
    os.replace(path.with_suffix(".tmp"), path)
    SAVED.append(len(jobs))

def get_job(id): return next((j for j in load_jobs() if j["id"] == id), None)

def resolve_job_ref(ref):
    found = get_job(ref)
    if found: return found
    named = [j for j in load_jobs() if j.get("name") == ref]
    if len(named) > 1: raise AmbiguousJobReference(ref)
    return named[0] if named else None

def update_job(id, updates):
    with _jobs_file_lock:
        jobs = load_jobs()
        for job in jobs:
            if job["id"] == id:
                job.update(updates)
                save_jobs(jobs)
                return job

def trigger_job(ref):
    job = resolve_job_ref(ref)
    return job and update_job(job["id"], dict(
        enabled=True, state="scheduled", next_run_at=_hermes_now().isoformat()))

def _next(job, base):
    if job["schedule"]["kind"] == "once": return None
    return (base + timedelta(minutes=job["schedule"]["minutes"])).isoformat()

def advance_next_run(id):
    job = get_job(id)
    if job and job["schedule"]["kind"] != "once":
        update_job(id, dict(next_run_at=_next(job, _hermes_now())))

def get_due_jobs():
    with _jobs_file_lock:
        jobs, due, now = load_jobs(), [], _hermes_now()
        for job in jobs:
            at = job.get("next_run_at")
            if not job.get("enabled", True) or not at or datetime.fromisoformat(at) > now: continue
            late = (now - datetime.fromisoformat(at)).total_seconds() > 120
            if job["schedule"]["kind"] == "once":
                claim = job.get("run_claim")
                if NEW and claim: continue
                if NEW: job["run_claim"] = dict(at=now.isoformat(), by="me")
                due.append(dict(job))
            elif late:
                if NEW: due.append(dict(job))
                job["next_run_at"] = _next(job, now)
            else:
                due.append(dict(job))
        save_jobs(jobs)
        return due

def mark_job_run(id, success, error=None, delivery_error=None):
    job = get_job(id)
    if job:
        nxt = _next(job, _hermes_now())
        update_job(id, dict(last_status="ok" if success else "error", last_error=error,
            last_delivery_error=delivery_error, next_run_at=nxt, fire_claim=None, run_claim=None,
            enabled=nxt is not None, state="scheduled" if nxt else "completed"))

if NEW:
    def claim_job_for_fire(id):
        job = get_job(id)
        if not job or not job.get("enabled", True) or job.get("fire_claim"): return False
        updates = dict(fire_claim=dict(at=_hermes_now().isoformat(), by="me"))
        if job["schedule"]["kind"] != "once": updates["next_run_at"] = _next(job, _hermes_now())
        update_job(id, updates)
        return True
"""
SCHEDULER = """
import concurrent.futures, contextvars, fcntl, threading
from hermes_constants import get_hermes_home
from cron.jobs import get_due_jobs, mark_job_run, advance_next_run
NEW = {new}
_running_job_ids = set()
_running_lock = threading.Lock()
_pool = concurrent.futures.ThreadPoolExecutor(4)
RAN = []
DELIVER = lambda job: None
def DO(job): return True, "text", "text", None

def _get_hermes_home(): return get_hermes_home()
def _get_lock_paths():
    folder = _get_hermes_home() / "cron"
    return folder, folder / ".tick.lock"

def run_job(job, **more):
    RAN.append((job["id"], threading.current_thread().name))
    return DO(job)

if NEW:
    def run_one_job(job, *, adapters=None, loop=None, verbose=False):
        try:
            success, output, final, error = run_job(job)
            mark_job_run(job["id"], success, error, delivery_error=DELIVER(job))
            return True
        except Exception as error:
            mark_job_run(job["id"], False, str(error))
            return False

def _process(job, adapters, loop, verbose):
    if NEW: return run_one_job(job, adapters=adapters, loop=loop, verbose=verbose)
    try:
        success, output, final, error = run_job(job)
        mark_job_run(job["id"], success, error, delivery_error=DELIVER(job))
        return True
    except Exception as error:
        mark_job_run(job["id"], False, str(error))
        return False

def tick(verbose=True, adapters=None, loop=None, sync=True, *, can_dispatch=None):
    folder, path = _get_lock_paths()
    lock = None
    try:
        lock = open(path, "w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if lock: lock.close()
        return 0
    try:
        if can_dispatch is not None and not can_dispatch(): return 0
        futures, due = [], get_due_jobs()
        for job in due: advance_next_run(job["id"])
        for job in due:
            with _running_lock:
                if job["id"] in _running_job_ids: continue
                _running_job_ids.add(job["id"])
            def run(job=job, context=contextvars.copy_context()):
                try: return context.run(_process, job, adapters, loop, verbose)
                finally:
                    with _running_lock: _running_job_ids.discard(job["id"])
            futures.append(_pool.submit(run))
        return sum(f.result() for f in futures) if sync else len(futures)
    finally:
        lock.close()
"""
PROVIDER = """
class CronScheduler:
    name = "builtin"
    def fire_due(self, job_id, *, adapters=None, loop=None):
        from cron.jobs import claim_job_for_fire, get_job
        from cron.scheduler import run_one_job
        return claim_job_for_fire(job_id) and run_one_job(get_job(job_id))
"""
EXECUTIONS = """
MADE, FINISHED = [], []
def create_execution(job_id, *, source):
    MADE.append((job_id, source))
    return dict(id=f"e{len(MADE)}")
def finish_execution(id, *, success, error): FINISHED.append((id, success, error))
"""
TOOLS = """
import json
from cron.jobs import trigger_job, resolve_job_ref
NEW = {new}
if NEW:
    def _execute_job_now(job):
        from cron.scheduler import run_one_job
        return dict(claimed=True, success=run_one_job(job), error=None)
def cronjob(action, job_id=None):
    try:
        job = resolve_job_ref(job_id)
        if job is None: return json.dumps(dict(success=False, error="not found"))
        if not NEW: return json.dumps(dict(success=True, job=trigger_job(job["id"])))
        done = _execute_job_now(job)
        job = dict(job, executed=done["claimed"], execution_success=done["success"])
        if not done["claimed"]: job["execution_skipped"] = done["error"]
        return json.dumps(dict(success=True, job=job))
    except Exception as error:
        return json.dumps(dict(success=False, error=str(error)))
"""
API = """
from cron.jobs import trigger_job as _cron_trigger
"""
CLI = """
def _job_action(action, job_id, success_verb):
    print(success_verb, job_id)
    return 0
"""
PACKAGE = """
from cron.jobs import trigger_job
from cron.scheduler import tick
"""
ONLY_NEW = {"cron/scheduler_provider.py": PROVIDER, "cron/executions.py": EXECUTIONS}
