"""A scheduler as programs commonly embed it: the process that gets a shared lock runs the job.

    plain.py STORE --seconds N --seed N

Every process of the program ticks. A tick tries the lock and ends if another process has it; else
it runs what is due and reschedules it. So each job runs once, in any of the processes.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

TICK = 0.5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    wish = parser.parse_args()
    chance = random.Random(wish.seed)
    until = time.monotonic() + wish.seconds
    while time.monotonic() < until:
        time.sleep(TICK * chance.uniform(0.5, 1.5))
        with only_one(wish.store) as won:
            if won:
                tick(wish.store)


@contextlib.contextmanager
def only_one(store: Path) -> Iterator[bool]:
    """The shared lock: True for the one who has it."""
    descriptor = os.open(store / ".tick.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def tick(store: Path) -> None:
    """Run what is due, here and now, under the lock."""
    jobs = json.loads((store / "jobs.json").read_text())
    for job in jobs:
        if job["due"] > time.time():
            continue
        fire, job["due"] = job["due"], max(job["due"] + job["every"], time.time())
        environment = {
            **os.environ,
            "SCENARIO_JOB": job["name"],
            "SCENARIO_RUN": f"{job['name']}@{fire:.2f}",
            "SCENARIO_FIRE": str(fire),
        }
        subprocess.run(job["command"], env=environment, check=False)
    new = store / f"jobs.{os.getpid()}"
    new.write_text(json.dumps(jobs))
    new.replace(store / "jobs.json")


if __name__ == "__main__":
    main()
