"""The one-second job, under the scheduler that ``BEAT_WITH`` names, as each is documented.

Every start of a scheduler and every run adds a line to the file ``BEAT_FILE``::

    S pid time              a scheduler was started in this process
    B pid time fire         a run began; ``fire`` is the instant it is for, if it knows it
    T pid time fire         a task that was sent for that instant was done (Celery)
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

WITH = os.environ["BEAT_WITH"]
FILE = os.environ["BEAT_FILE"]
VERSION = os.environ.get("BEAT_VERSION", "1")


def note(kind: str, fire: float | None = None) -> None:
    now = time.time()
    line = f"{kind} {os.getpid()} {now:.6f} {now if fire is None else fire:.6f}\n"
    descriptor = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def beat() -> None:
    """APScheduler does not tell a job what instant it is for."""
    note("B")


def _tenure() -> Any:
    from tenure import Context, Tenure, every
    from tenure.domain import ownership

    if hung := os.environ.get("BEAT_HUNG_AFTER"):  # of 30 s: so that tests need not wait
        ownership.HUNG_AFTER = timedelta(seconds=float(hung))
    if drain := os.environ.get("BEAT_DRAIN"):  # of 10 s: who waits for nothing does not see it
        Tenure.stop.__defaults__ = (float(drain),)
    # On a machine that stands still for a second a fire is superseded by the next: not here.
    each = {"catch_up": "all", "overlap": "allow"} if "BEAT_EACH" in os.environ else {}
    made = Tenure("beat", home=os.environ["BEAT_HOME"], version=VERSION)

    @made.job(every(os.environ.get("BEAT_EVERY", "1s")), name="beat", **each)
    def beat_of_tenure(context: Context) -> None:
        note("B", context.fire_time.timestamp())

    return made


def _apscheduler(url: str | None) -> Any:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    stores = {"default": SQLAlchemyJobStore(url=url)} if url else {}
    made = BackgroundScheduler(jobstores=stores)
    made.add_job(beat, "cron", second="*", id="beat", replace_existing=True)
    return made


tenure = _tenure() if WITH == "tenure" else None
scheduler = None
if WITH == "aps-memory":
    scheduler = _apscheduler(None)
elif WITH == "aps-sqlite":
    scheduler = _apscheduler("sqlite:///" + os.environ["BEAT_STORE"])


def start() -> None:
    """Where a program starts its scheduler by itself."""
    if scheduler is not None:
        note("S")
        scheduler.start()
    if tenure is not None:
        tenure.start()


def stop() -> None:
    if scheduler is not None:
        scheduler.shutdown(wait=False)
