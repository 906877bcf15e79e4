"""jobs.json is written from all sides at once, and nothing of it is lost.

Three processes create jobs through Hermes' own functions, the command line edits and pauses, and
the owning gateway advances, runs and marks jobs and mirrors them in Tenure.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest
from adoptionkit import TENURE_PROFILE, adopt, asked, wait_owner
from hermesvenv import HermesVenv
from hermesworld import PROFILE, HermesWorld

from waiting import DEADLINE, eventually

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]
WRITERS, EACH = 3, 40
WRITER = """
import os, sys, time
os.environ["HERMES_HOME"] = sys.argv[1]
from cron.jobs import create_job
for n in range(int(sys.argv[3])):
    create_job(prompt="", schedule="0 5 1 1 *", name=f"{sys.argv[2]}-{n}",
               script="seldom.py", no_agent=True, deliver="local")
    time.sleep(0.1)  # so that ticks, runs and edits fall in between
"""


def test_nothing_is_lost(worlds: Callable[..., HermesWorld], hermes_19: HermesVenv) -> None:
    world = worlds(hermes_19, tick=0.5)
    ticking = [world.add(f"mail-{n}", f"* * * * * {n}-59/2") for n in range(6)]
    still = [world.add(f"still-{n}", "0 5 1 1 *") for n in range(4)]
    adopt(world)
    gateway = world.gateway()
    wait_owner(world, gateway.pid)
    world.wait_runs(6)
    began = time.time()

    writers = [
        subprocess.Popen(
            [world.venv.python, "-c", WRITER, world.profile, f"writer-{n}", str(EACH)],
            env=world.environ(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for n in range(WRITERS)
    ]  # fmt: skip
    for id in ticking[:3]:
        world.hermes("cron", "pause", id)
    for n, id in enumerate(still):
        world.hermes("cron", "edit", id, "--name", f"renamed-{n}", "--schedule", "0 6 1 1 *")
    for writer in writers:
        said, _ = writer.communicate(timeout=2 * DEADLINE)
        assert writer.returncode == 0, said
    after = {job["name"]: job for job in world.jobs()}

    wanted = {f"writer-{w}-{n}" for w in range(WRITERS) for n in range(EACH)}
    assert wanted - after.keys() == set()
    assert {after[f"mail-{n}"]["state"] for n in range(3)} == {"paused"}
    assert {after[f"mail-{n}"]["enabled"] for n in range(3, 6)} == {True}
    assert {after[f"renamed-{n}"]["schedule"]["expr"] for n in range(4)} == {"0 6 1 1 *"}
    assert len(world.runs(since=began)) >= 3, "the gateway ran jobs meanwhile"

    def mirrored() -> bool:
        page = asked(world, "list", "-n", "1000")
        there = {job["name"]: job["state"] for job in page["jobs"]}
        paused = {there.get(f"mail-{n}") for n in range(3)}
        return after.keys() <= there.keys() and paused == {"paused"}

    eventually(mirrored, f"all of {PROFILE} to be mirrored in {TENURE_PROFILE}")
    assert asked(world, "audit")["clean"]
