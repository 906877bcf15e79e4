"""gunicorn's gevent workers: where threads are greenlets, and where they become so only later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.workers import faults
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import HOSTS, Host, smaller
from benchmarks.workers.running import Running, wait_for

pytest.importorskip("gevent")
pytestmark = pytest.mark.real
Start = Callable[..., Running]

APP = """
import os, beat, alone
from tenure import every
beat.tenure.job(every("1s"), alone.leaves_a_file, process=True)
from wsgi import app
"""
ALONE = """
import os
def leaves_a_file():
    open(os.environ["ALONE_FILE"], "w").close()
"""


def gevents(preload: bool) -> Host:
    sync = smaller(HOSTS[f"gunicorn -w 8{' --preload' if preload else ''} (sync)"], 3)
    words = {"sync": "gevent", "wsgi:app": "greenapp:app"}
    return replace(sync, argv=lambda port: [words.get(word, word) for word in sync.argv(port)])


@pytest.mark.parametrize("preload", [False, True], ids=["loaded in each", "preloaded"])
def test_each_fire_once_and_the_next_owner_in_time(
    preload: bool, start: Start, tmp_path: Path
) -> None:
    """Preloaded, a worker is patched after it was forked, with Tenure in it: it once owned then
    and ran nothing."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "greenapp.py").write_text(APP)
    (code / "alone.py").write_text(ALONE)
    ran = tmp_path / "ran"
    running = start(gevents(preload), PYTHONPATH=str(code), ALONE_FILE=str(ran))
    running.settle()
    first = whole_second(1.0)
    until(first + 2.7)
    assert running.fires(first, first + 2).exact
    turns = faults.in_time(lambda: faults.kill(running, seconds=3), 0.5)
    assert turns[-1].exact, turns
    assert turns[-1].late < 0.5
    wait_for("a run in a process of its own", ran.exists)
    assert running.stop() == 0
    assert "Exception ignored" not in running.said()
    assert "Traceback" not in running.said()
    assert running.findings() == []
