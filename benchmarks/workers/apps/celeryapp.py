"""``celery -A celeryapp worker``; its broker is a folder, so that no server is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import beat
from celery import Celery
from celery.signals import worker_init, worker_process_init

FOLDER = Path(os.environ["BEAT_STORE"]).with_name("broker")
for name in ("messages", "control"):
    (FOLDER / name).mkdir(parents=True, exist_ok=True)

app = Celery("celeryapp", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER / "messages"),
    "data_folder_out": str(FOLDER / "messages"),
    "control_folder": str(FOLDER / "control"),
    "polling_interval": 0.1,
}
if how := os.environ.get("BEAT_POOL_START"):
    app.conf.worker_pool_start_method = how
app.conf.worker_proc_alive_timeout = 30.0  # of 4 s: several hosts start here at the same time


@app.task
def note(fire: float) -> None:
    """``T pid time fire``: what a job has sent, done."""
    beat.note("T", fire)


if beat.tenure is not None:
    from tenure import Context, every

    @beat.tenure.job(every("1s"))
    def send(context: Context) -> None:
        """In the place of celery beat."""
        note.delay(context.fire_time.timestamp())

    @worker_init.connect
    @worker_process_init.connect
    def start(**_: Any) -> None:
        beat.start()

else:
    beat.start()
