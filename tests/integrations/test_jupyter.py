"""A Jupyter kernel as a host: cells that compute, are executed again, are interrupted; restarts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kernels import Kernel

from benchmarks.workers.running import DEADLINE, wait_for
from tenure.audit.reader import audit_store
from tenure.domain.process import ProcessStatus

pytestmark = pytest.mark.real

CELL = """
from tenure import Context, Tenure, every
tenure = Tenure("notebook")

ran = []

@tenure.job(every("1s"))
def beat():
    ran.append("beat")
    print("beat of VERSION")

@tenure.job(every("1s"))
async def wave():
    ran.append("wave")
    print("wave of VERSION")

tenure.start()
"""


COMPUTES = """
import time
ran.clear()
until = time.monotonic() + 50
while min(ran.count("beat"), ran.count("wave")) < 2 and time.monotonic() < until:
    time.sleep(0.01)
print("mine")
"""
"""For as long as it takes both jobs to run and to begin again."""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    made.close()


def test_jobs_run_while_it_idles_and_while_a_cell_computes(kernel: Kernel) -> None:
    """Both kinds, once a fire; what they print is their run's, and the cell's stays its own."""
    assert kernel.execute(CELL.replace("VERSION", "one")) == ("", "")
    wait_for("it to own", lambda: kernel.value("tenure.owns"))
    kernel.wait_runs(2)
    before = kernel.runs()
    printed, error = kernel.execute(COMPUTES)
    assert error == ""
    assert "mine" in printed
    during = [run for run in kernel.runs() if run not in before]
    assert {run.job_name for run in during} == {"notebook:beat", "notebook:wave"}
    fires = [(run.job_name, run.fire_time) for run in kernel.runs()]
    assert len(set(fires)) == len(fires)
    for run in during:
        assert kernel.output(run) == f"{run.job_name.partition(':')[2]} of one\n"
    assert kernel.execute("print('still there')")[0].endswith("still there\n")
    assert audit_store(kernel.profile.store, datetime.now(UTC)).clean


def test_a_cell_that_is_executed_again(kernel: Kernel) -> None:
    """The newest definition wins, whether of a job alone or of all; one owner, and nobody left."""
    kernel.execute(CELL.replace("VERSION", "one"))
    kernel.wait_runs(1)
    assert kernel.execute(CELL.replace("VERSION", "two"))[1] == ""
    wait_for("the new one to own", lambda: kernel.value("tenure.owns"))
    wait_for("the old one to leave", lambda: len(kernel.profile.store.processes()) == 1)
    kernel.wait_runs(2)
    assert kernel.output(kernel.runs()[0]).endswith("of two\n")
    again = '@tenure.job(every("1s"))\ndef beat():\n    print("beat of three")'
    assert kernel.execute(again)[1] == ""
    kernel.wait_runs(2, lambda run: run.job_name == "notebook:beat")
    newest = next(run for run in kernel.runs() if run.job_name == "notebook:beat")
    assert kernel.output(newest) == "beat of three\n"
    assert kernel.value("repr(tenure)") == "<Tenure 'notebook': owner>"
    fires = [(run.job_name, run.fire_time) for run in kernel.runs()]
    assert len(set(fires)) == len(fires)
    assert audit_store(kernel.profile.store, datetime.now(UTC)).clean


def test_an_interrupted_cell_ends_no_run(kernel: Kernel, tmp_path: Path) -> None:
    """Also none in a process of its own, which the signal would reach by its group."""
    (tmp_path / "slowly.py").write_text("import time\ndef slow():\n    time.sleep(1)\n")
    code = """
from tenure import Tenure, every
import slowly, time
tenure = Tenure("notebook")
tenure.job(every("1s"), slowly.slow, name="thread")
tenure.job(every("1s"), slowly.slow, name="process", process=True)
tenure.start()
"""
    assert kernel.execute(code)[1] == ""
    kernel.wait_runs(1)
    cell = kernel.client.execute("open('begun', 'w').close(); time.sleep(600)")
    wait_for("the cell to begin", (tmp_path / "begun").exists)
    active = wait_for("both to run", lambda: len(a := kernel.active()) == 2 and a)
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=DEADLINE)
    while reply["parent_header"].get("msg_id") != cell:
        reply = kernel.client.get_shell_msg(timeout=DEADLINE)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    wait_for("both to succeed", lambda: active <= {run.id for run in kernel.runs()})
    kernel.wait_runs(1)
    assert kernel.value("tenure.owns")
    assert audit_store(kernel.profile.store, datetime.now(UTC)).clean


def test_a_kernel_that_is_restarted_leaves_no_owner_behind(kernel: Kernel) -> None:
    """Told or killed: the next one owns at once."""
    terms = []
    for now in (False, True):
        kernel.execute(CELL)
        kernel.wait_runs(1)
        terms.append(kernel.profile.store.ownership().term)
        kernel.restart(now=now)
        if not now:
            assert kernel.profile.store.ownership().authority is None, "it did not say goodbye"
            assert kernel.profile.store.processes() == ()
    kernel.execute(CELL)
    wait_for("the next to own", lambda: kernel.value("tenure.owns"))
    assert kernel.profile.store.ownership().term == terms[-1] + 1
    wait_for("the killed one to be found", lambda: len(kernel.profile.store.processes()) == 1)
    (left,) = kernel.profile.store.processes()
    assert left.standing is ProcessStatus.OWNER
    assert "Exception ignored" not in kernel.log.read_text()
    assert "Traceback" not in kernel.log.read_text()


def test_coroutines_on_the_notebooks_own_loop(kernel: Kernel) -> None:
    """Where they are to share something with what the cells await."""
    code = """
import asyncio
from tenure import Tenure, every
tenure, mine, seen = Tenure("notebook", on_host_loop=True), asyncio.get_running_loop(), []
told = asyncio.Event()

@tenure.job(every("1s"))
async def tell():
    seen.append(asyncio.get_running_loop() is mine)
    told.set()

tenure.start()
await asyncio.wait_for(told.wait(), 50)
"""
    assert kernel.execute(code)[1] == ""
    assert kernel.value("seen")[0] is True
