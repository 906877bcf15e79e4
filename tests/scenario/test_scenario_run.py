"""``make run`` works on this machine: the story's claims hold, and it cleans up after itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import DEADLINE, eventually

ROOT = Path(__file__).resolve().parents[2]
CANNOT = 75

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="supervisors' notes are read from /proc"),
]


def _scenario(*words: str, tmp: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scenario", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def long_tmp(tmp_path: Path) -> Path:
    """A temporary folder whose path is longer than a socket's may be."""
    folder = tmp_path / ("a folder of a long name " * 5).strip()
    folder.mkdir()
    return folder


@pytest.mark.timeout(300)
def test_the_story_holds_and_leaves_nothing(long_tmp: Path) -> None:
    done = _scenario("run", "--fast", tmp=long_tmp, timeout=290)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout)
    told = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for line in (
        r"Part one: a shared file lock",
        r"desktop-\d: candidates?: rule 2 admits it",
        r"gateway took over as authoritative owner \(term \d+\)",
        r"delegated, and executed by the gateway: gateway-launcher → gateway → job",
        r"stranger: refused: no rule admits it: rule 1 asks for",
        r"send-report is refused: can't run it: profile 'la' has no owner",
        r"desktop-\d took over as fallback \(term \d+\): the previous owner died",
        r"send-report is refused: send-report is protected: only an authoritative owner may run",
        r"read-mail is held: only an authoritative owner may run it",
        r"ran under desktop-\d: .*refresh-feed",
        r"term \d+ of desktop-\d ended: gateway ranks better",
        r"read-mail: \d+ were on hold: run \w+; \d+ missed",
        r"0 findings in",
    ):
        assert re.search(line, told), f"{line!r} is not in:\n{done.stdout}"
    sentence = told.partition("In one sentence")[2]
    assert re.search(r"[1-9]\d* protected runs, 0 of them outside the gateway's chain", sentence)
    assert "0 of them twice" in sentence
    assert "0 are unaccounted for" in sentence
    assert "\x1b" not in told, "colours are for terminals"
    assert list(long_tmp.iterdir()) == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_from_outside_ends_every_process(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "scenario", "soak", "--seconds", "60", "--seed", "3"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "ran under" in line or "owns" in line:
                break
        process.send_signal(number)
        told += process.stdout.read()
        code = process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    eventually(lambda: not _processes_that_name(str(tmp_path)), "every process to end")
    if number is signal.SIGINT:
        assert code == 130, told
        assert "every process that was started has been ended" in told
        assert list(tmp_path.iterdir()) == []


def _processes_that_name(text: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in command:
                found.append(f"{folder.name}: {command}")
    return found
