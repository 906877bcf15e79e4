"""``celery -A celeryapp worker``; its broker is a folder, so that no server is needed."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import beat
from celery import Celery
from celery.signals import worker_init, worker_process_init
from kombu.transport import filesystem

FOLDER = Path(os.environ["BEAT_STORE"]).with_name("broker")
for name in ("messages", "control"):
    (FOLDER / name).mkdir(parents=True, exist_ok=True)


class Channel(filesystem.Channel):
    """Whose messages appear whole: kombu's own can be read before they are written, and the worker
    that reads one then ends."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{time.monotonic_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        written = FOLDER / "messages" / f"{name}.new"
        written.write_text(json.dumps(payload))
        written.rename(written.with_suffix(""))


filesystem.Transport.Channel = Channel

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
