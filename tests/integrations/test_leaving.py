"""Hosts that end: handed over and left, within the drain time, and not a word on standard error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.workers.hosts import HOSTS, smaller
from benchmarks.workers.running import DEADLINE, Running, wait_for
from tenure.audit.reader import audit_store
from tenure.domain.run import RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter

pytestmark = pytest.mark.real

NOISE = ("Exception ignored", "Traceback", "coroutine", "never awaited", "unclosed event loop",
         "unclosed database", "unclosed file", "Fatal Python error")  # fmt: skip
SERVERS = (
    "gunicorn -w 8 (sync)",
    "gunicorn -w 8 --preload (gthread)",
    "gunicorn -w 8 (uvicorn worker)",
    "uvicorn --workers 4",
    "uvicorn (Litestar)",
    "uwsgi -p 4 --enable-threads",
    "celery worker -c 4 --pool prefork",
    "celery worker -c 4 --pool threads",
    "a script",
)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_told_to_end(name: str, start: Callable[..., Running]) -> None:
    """SIGTERM to its first process, as a service manager does: it gives no run a time that none
    needs. python -X dev hides nothing."""
    running = start(smaller(HOSTS[name], 3), PYTHONDEVMODE="1", BEAT_DRAIN="3600")
    running.settle()
    running.stop()
    wait_for("its workers to end", lambda: not running.standings())
    events = running.profile.store.events(limit=100_000)
    assert not [e for e in events if e.kind == "process_died"], "each said goodbye"
    assert running.profile.store.ownership().authority is None
    assert [word for word in NOISE if word in running.said()] == []
    assert running.findings() == []


SCRIPT = """
import asyncio, atexit, signal, sys, threading, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tenure import Tenure, at

seen = Path(sys.argv[2])
tenure = Tenure("ends", home=sys.argv[1])
soon = lambda: datetime.now(UTC) + timedelta(seconds=1)

@tenure.job(at(soon()))
def sync():
    (seen / "sync").touch()
    time.sleep(float(sys.argv[4]))

@tenure.job(at(soon()))
async def coroutine():
    (seen / "async").touch()
    await asyncio.sleep(float(sys.argv[4]))

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
tenure.start()
while not ((seen / "sync").exists() and (seen / "async").exists()):
    time.sleep(0.01)
if sys.argv[3] == "sigterm":
    (seen / "ready").touch()
    signal.pause()
elif sys.argv[3] == "exception":
    raise LookupError("the program's own")
# else: the main thread comes to its end
"""


COROUTINE = """
import asyncio, sys, threading
from tenure import Tenure, every
tenure, runs = Tenure("ends", home=sys.argv[1]), threading.Event()
@tenure.job(every("1s"))
async def long():
    runs.set()
    try:
        await asyncio.sleep(100)
    finally:
        print("tidied up")
tenure.start()
assert runs.wait(60)
tenure.stop(drain=0.2)
"""


@pytest.mark.parametrize("how", ["end", "exception", "sigterm"])
def test_an_interpreter_that_ends_while_jobs_run(how: str, tmp_path: Path) -> None:
    """They are given their time, a thread and a coroutine alike."""
    code, said = ended(tmp_path, how, 0.5)
    assert code == {"end": 0, "exception": 1, "sigterm": 3}[how]
    noise = [word for word in NOISE if word in said]
    assert noise == (["Traceback"] if how == "exception" else []), said
    profile = Profile.open("ends", home=tmp_path / "home")
    try:
        runs = profile.store.runs(RunFilter())[0]
        assert [run.state for run in runs] == [RunState.SUCCEEDED] * 2
        assert profile.store.processes() == ()
    finally:
        profile.close()


def test_a_thread_that_does_not_end_keeps_nobody(tmp_path: Path) -> None:
    """After the drain time the interpreter ends; what became of the run is told by the next
    owner."""
    code, said = ended(tmp_path, "end", 3600)
    assert code == 0
    assert [word for word in NOISE if word in said] == [], said


def test_a_coroutine_that_does_not_end_is_cancelled_and_its_run_says_so(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-c", COROUTINE, tmp_path / "home"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (0, "")
    profile = Profile.open("ends", home=tmp_path / "home")
    try:
        [run] = profile.store.runs(RunFilter())[0]
        assert (run.state, run.reason) == (
            RunState.FAILED,
            "its process stopped before it was done",
        )
        assert process.stdout == "tidied up\n"
    finally:
        profile.close()


def ended(folder: Path, how: str, seconds: float) -> tuple[int, str]:
    """The exit code of the script, and what it said on standard error."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", SCRIPT, folder / "home", folder, how, str(seconds)],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
    )
    try:
        if how == "sigterm":
            wait_for("the jobs to run", (folder / "ready").exists)
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, said


CHILDREN = """
import multiprocessing, sys, time
from tenure import Tenure, every
tenure = Tenure("many", home=sys.argv[1])
tenure.job(every("1h"), print, name="hourly")

def child(home):
    tenure.start()
    time.sleep(1.0)

if __name__ == "__main__":
    how = multiprocessing.get_context(sys.argv[2])
    children = [how.Process(target=child, args=(sys.argv[1],)) for _ in range(3)]
    for one in children:
        one.start()
    for one in children:
        one.join()
    sys.exit(max(one.exitcode for one in children))
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_multiprocessings_children_say_goodbye(how: str, tmp_path: Path) -> None:
    """They end without atexit."""
    script = tmp_path / "program.py"
    script.write_text(CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "dev", script, tmp_path / "home", how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [word for word in NOISE if word in done.stderr] == [], done.stderr
    profile = Profile.open("many", home=tmp_path / "home")
    try:
        kinds = [event.kind for event in profile.store.events(limit=1000)]
        assert kinds.count("process_joined") == 3
        assert kinds.count("process_left") == 3
        assert kinds.count("process_died") == 0
        terms = profile.store.terms()
        assert all("its process stops" in term.ended_why for term in terms)
        assert audit_store(profile.store, datetime.now(UTC)).clean
    finally:
        profile.close()
