"""Celery, and Tenure in the place of its beat: ``celery -A app worker``, as many as you like."""

from pathlib import Path

from celery import Celery
from celery.signals import worker_init, worker_process_init

from tenure import Tenure, every

app = Celery("example", broker="filesystem://")  # a folder will do here: put your own broker there
folder = Path.home() / ".cache" / "tenure-example-celery"
folder.mkdir(parents=True, exist_ok=True)
app.conf.broker_transport_options = {
    "data_folder_in": str(folder),
    "data_folder_out": str(folder),
    "control_folder": str(folder / "control"),
}

tenure = Tenure(profile="example-celery")


@app.task
def add(x: int, y: int) -> int:
    print(f"{x} + {y} = {x + y}", flush=True)
    return x + y


@tenure.job(every("2s"))
def send() -> None:
    add.delay(2, 3)


@worker_init.connect
@worker_process_init.connect
def start(**_: object) -> None:
    tenure.start()
