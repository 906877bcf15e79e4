"""Programs that a signal ends: what their exit status is, and what the profile says afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure import Tenure
from tenure.domain.errors import InvalidInput, TenureError
from tenure.domain.run import RunState
from tenure.runtime.hosting import exits
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

BEGIN = """
import os, signal, sys, time
from tenure import Tenure, every
tenure = Tenure("shop", home=sys.argv[1])
@tenure.job(every("1s"))
def tick(): print("ran", flush=True)
"""
BLOCK = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})\n"
HANDLER = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
WAIT = "with tenure:\n    signal.sigwait({signal.SIGINT, signal.SIGTERM})"
PROGRAMS = {
    "run_forever": ("tenure.run_forever()", 0, 0),
    "with, sigwait": (WAIT, 0, 0),
    "with, sigwait, a mask": (BLOCK + WAIT, 0, 0),
    "with, work of its own": ("with tenure:\n    while True: time.sleep(600)", 143, -2),
    "with, a handler of its own": (HANDLER + "with tenure:\n    signal.pause()", 5, -2),
    "it inherits an ignored SIGINT": (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\ntenure.run_forever()",
        0,
        0,
    ),
    "it inherits blocked signals": (BLOCK + "tenure.run_forever()", 0, 0),
}
"""What follows the declarations; the exit status after SIGTERM, and after SIGINT."""


class Program:
    def __init__(self, folder: Path, text: str) -> None:
        self.home, self.said = folder / "home", folder / "said"
        (folder / "program.py").write_text(BEGIN + text + "\n")
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, folder / "program.py", self.home],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
            )  # fmt: skip

    def wait_run(self, word: str = "ran") -> None:
        eventually(lambda: word in self.said.read_text() or self.process.poll(), "a run")
        assert self.process.poll() is None, self.said.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    made: list[Program] = []

    def program(text: str) -> Program:
        made.append(Program(tmp_path, text))
        return made[-1]

    yield program
    for one in made:
        one.process.kill()
        one.process.wait()


def assert_left(home: Path) -> None:
    """Handed over and gone, by its own word; nothing was lost."""
    profile = Profile.open("shop", home=home)
    try:
        assert profile.store.processes() == ()
        assert profile.store.ownership().authority is None
        events = profile.store.events(limit=1000)
        kinds = [event.kind for event in events]
        assert "process_left" in kinds
        assert "process_died" not in kinds
        assert {r.state for r in profile.store.runs(RunFilter())[0]} == {RunState.SUCCEEDED}
    finally:
        profile.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_signal_ends_it_as_asked(
    name: str, number: signal.Signals, start: Callable[[str], Program]
) -> None:
    text, *codes = PROGRAMS[name]
    program = start(text)
    program.wait_run()
    program.process.send_signal(number)
    code = program.process.wait(DEADLINE)
    assert code == codes[number is signal.SIGINT], program.said.read_text()
    assert_left(program.home)


def test_a_second_signal_waits_for_no_run(start: Callable[[str], Program]) -> None:
    program = start(
        "@tenure.job(every('1s'))\n"
        "def long():\n    print('LONG', flush=True); time.sleep(3600)\n"
        "tenure.run_forever(drain=3600)"
    )
    program.wait_run("LONG")
    program.process.send_signal(signal.SIGTERM)
    profile = Profile.open("shop", home=program.home)
    try:
        eventually(lambda: profile.store.ownership().authority is None, "it to hand over")
    finally:
        profile.close()
    assert program.process.poll() is None, "it waits for its run"
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(DEADLINE) == 143


def test_a_job_that_stops_its_scheduler_ends_the_program(start: Callable[[str], Program]) -> None:
    program = start(
        "tenure.job(every('1s'), lambda: tenure.stop(), name='last')\ntenure.run_forever()"
    )
    assert program.process.wait(DEADLINE) == 0
    assert_left(program.home)


def test_a_program_that_has_lost_its_store_ends_and_says_so(
    start: Callable[[str], Program],
) -> None:
    program = start("tenure.run_forever()")
    program.wait_run()
    shutil.rmtree(program.home)
    assert program.process.wait(DEADLINE) == 75, program.said.read_text()
    assert "stopped by itself" in program.said.read_text()


def test_a_forked_child_is_ended_by_the_signal_itself(start: Callable[[str], Program]) -> None:
    """It inherits the handlers, and must neither wait nor leave its parent's block."""
    program = start(
        "come, ready = os.pipe()\n"
        "with tenure:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.write(ready, b'.')  # Python drops what comes while it forks\n"
        "        try: time.sleep(60)\n"
        "        finally: print('UNWOUND', flush=True)\n"
        "    os.read(come, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
        "print('left')"
    )
    assert program.process.wait(DEADLINE) == 0
    assert program.said.read_text().splitlines()[-2:] == ["child -15", "left"]
    assert "UNWOUND" not in program.said.read_text()


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(n) for n in exits.ENDING]
    tenure = Tenure("shop", home=tmp_path)
    with tenure:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert [signal.getsignal(n) for n in exits.ENDING] == before
    stops = threading.Thread(
        target=lambda: eventually(lambda: tenure._asked, "it to wait") and tenure.stop()
    )
    stops.start()
    tenure.run_forever()
    stops.join()
    assert [signal.getsignal(n) for n in exits.ENDING] == before


def test_it_cannot_wait_for_signals_in_another_thread(tmp_path: Path) -> None:
    tenure = Tenure("shop", home=tmp_path)
    caught: list[TenureError] = []

    def call() -> None:
        try:
            tenure.run_forever()
        except TenureError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(DEADLINE)
    assert "main thread" in str(caught[0])
    assert tenure._scheduler is None
    with tenure:  # a block in another thread changes no signal
        pass


class Application:
    """What a framework hands to its shutdown hooks: NiceGUI and Sanic do."""


@pytest.mark.parametrize("given", [Application(), object(), {}, lambda: None])
def test_stop_may_be_a_hook_that_is_given_an_application(given: object, tmp_path: Path) -> None:
    tenure = Tenure("shop", home=tmp_path).start()
    assert tenure.stop(given)  # type: ignore[arg-type]
    assert tenure._scheduler is None


@pytest.mark.parametrize("given", ["10", b"10", None, True, -1, float("nan")])
def test_what_is_meant_as_seconds_and_is_none_changes_nothing(
    given: object, tmp_path: Path
) -> None:
    tenure = Tenure("shop", home=tmp_path).start()
    try:
        with pytest.raises(InvalidInput, match="seconds"):
            tenure.stop(given)  # type: ignore[arg-type]
        assert tenure._scheduler is not None
    finally:
        tenure.stop()
