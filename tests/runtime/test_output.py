"""Capped output: bounded, the latest kept, what was cut counted, followed across rotations."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.runtime import output as output_module
from tenure.runtime.output import (
    OutputCap,
    follow,
    layout_of,
    marker,
    read_from,
    read_output,
    tail,
)


class Job:
    """Writes as a job does: append only, through a descriptor it keeps."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "1.log"
        self.descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.written = b""

    def write(self, text: bytes) -> None:
        self.written += text
        os.write(self.descriptor, text)

    def output(self) -> bytes:
        return b"".join(read_output(self.log))


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    it = Job(tmp_path)
    yield it
    os.close(it.descriptor)


def test_below_the_cap_nothing_happens(job: Job) -> None:
    cap = OutputCap(job.log, 10)
    job.write(b"0123456789")
    assert not cap.check()
    assert job.output() == b"0123456789"
    assert os.listdir(job.log.parent) == ["1.log"]


def test_the_first_rotation_loses_nothing_up_to_the_cap(job: Job) -> None:
    cap = OutputCap(job.log, 10)
    job.write(b"0123456789a")
    assert cap.check()
    assert job.output() == marker(1) + b"123456789a"
    job.write(b"bcd")
    assert job.log.read_bytes() == b"bcd", "the writer goes on at the front"
    assert job.output() == marker(1) + b"123456789abcd"


def test_rotations_keep_the_latest_and_count_the_rest(job: Job) -> None:
    cap = OutputCap(job.log, 10)
    for number in range(20):
        job.write(b"line %03d\n" % number)
        # Another owner goes on with the same cap: nothing is kept in memory.
        cap = OutputCap(job.log, 10)
        cap.check()
        kept = job.output()
        dropped = layout_of(job.log).dropped
        assert kept == (marker(dropped) if dropped else b"") + job.written[dropped:]
        assert layout_of(job.log).end == len(job.written)
        assert layout_of(job.log).rotated + layout_of(job.log).current <= 20


def test_far_past_the_cap_the_end_is_kept(job: Job) -> None:
    job.write(bytes(range(256)) * 100)
    OutputCap(job.log, 50).check()
    assert job.output() == marker(25_600 - 50) + job.written[-50:]


def test_a_missing_log_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "none.log"
    assert not OutputCap(log, 10).check()
    assert list(read_output(log)) == []
    assert tail(log, 5) == b""
    assert read_from(log, 7) == (7, b"")


def test_a_cap_is_at_least_one_byte(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        OutputCap(tmp_path / "log", 0)


def test_a_rotation_that_died_is_made_good_by_the_next(job: Job) -> None:
    (job.log.parent / "1.log.1.new").write_bytes(b"half")
    job.write(b"x" * 20)
    assert OutputCap(job.log, 10).check()
    assert job.output() == marker(10) + b"x" * 10
    assert not (job.log.parent / "1.log.1.new").exists()


@pytest.mark.parametrize("lines", [1, 2, 5, 100])
def test_the_last_lines(job: Job, lines: int) -> None:
    for number in range(10):
        job.write(b"line %d\n" % number)
        OutputCap(job.log, 30).check()
    kept = job.written[layout_of(job.log).dropped :]
    assert tail(job.log, lines) == b"".join(kept.splitlines(keepends=True)[-lines:])


def test_the_last_lines_of_much(job: Job) -> None:
    job.write(b"".join(b"%d\n" % number for number in range(200_000)))
    assert tail(job.log, 3) == b"199997\n199998\n199999\n"
    assert tail(job.log, 100_000).splitlines()[0] == b"100000"
    job.write(b"unfinished")
    assert tail(job.log, 2) == b"199999\nunfinished"
    assert tail(job.log, 0) == b""


def test_following_across_rotations_repeats_and_loses_nothing(job: Job) -> None:
    steps = iter(range(30))
    ended = False

    def wait() -> None:
        nonlocal ended
        step = next(steps, None)
        if step is None:
            ended = True
        else:
            job.write(b"step %d\n" % step)
            OutputCap(job.log, 12).check()

    seen = b"".join(follow(job.log, ended=lambda: ended, wait=wait))
    assert seen == job.written


def test_a_follower_that_was_away_is_told_what_it_missed(job: Job) -> None:
    stream = follow(job.log, ended=lambda: True, wait=lambda: None, offset=2)
    job.write(b"0123456789" * 5)
    OutputCap(job.log, 10).check()
    assert b"".join(stream) == marker(40) + b"0123456789"


def test_what_is_written_last_is_not_missed(job: Job) -> None:
    def ended() -> bool:
        job.write(b"last words")
        return True

    assert b"".join(follow(job.log, ended=ended, wait=lambda: None)) == b"last words"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_the_log_is_emptied_and_all_of_it_counted(
    job: Job, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.write(b"x" * 20)
    cap = OutputCap(job.log, 10)
    with monkeypatch.context() as patch:
        patch.setattr(output_module, "_write_all", lambda *_: raise_(OSError(code, "full")))
        assert cap.check()
    assert job.output() == marker(20)
    job.write(b"after")
    assert job.output() == marker(20) + b"after"


def test_another_failure_of_the_disk_is_not_hidden(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.write(b"x" * 20)
    monkeypatch.setattr(output_module, "_write_all", lambda *_: raise_(OSError(errno.EIO, "bad")))
    with pytest.raises(OSError, match="bad"):
        OutputCap(job.log, 10).check()
    assert job.log.read_bytes() == b"x" * 20


def raise_(error: OSError) -> None:
    raise error


@pytest.mark.real
def test_a_fast_writer_is_kept_within_bounds(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    cap, total = 1 << 20, 64 << 20
    rotated = log.with_name("1.log.1")
    it = OutputCap(log, cap)
    rotations = 0
    with open(log, "ab") as file:
        half = ["head", "-c", str(total // 2), "/dev/zero"]
        assert subprocess.run(half, stdout=file, check=False).returncode == 0
        rotations += it.check()  # however fast the rest is written, this much was seen
        writer = subprocess.Popen(half, stdout=file)
    with writer:
        while writer.poll() is None:
            rotations += it.check()
            with contextlib.suppress(FileNotFoundError):
                assert rotated.stat().st_size <= 3 * cap + 1024
    it.check()
    layout = layout_of(log)
    assert rotations > 0
    assert layout.rotated <= 3 * cap
    assert layout.current <= cap
    # What is written between the last count and the emptying is not counted, and this writer
    # does gigabytes a second: the count is a lower bound.
    assert 2 * cap < layout.end <= total


@pytest.mark.real
def test_following_a_fast_writer_from_another_thread(tmp_path: Path) -> None:
    job = Job(tmp_path)
    done = threading.Event()
    got: list[bytes] = []
    reader = threading.Thread(
        target=lambda: got.extend(
            follow(job.log, ended=done.is_set, wait=lambda: done.wait(0.0005))
        )
    )
    reader.start()
    cap = OutputCap(job.log, 4000)
    for number in range(5000):
        os.write(job.descriptor, b"%07d\n" % number)
        if number % 10 == 0:
            cap.check()
    done.set()
    reader.join()
    os.close(job.descriptor)
    lines = re.sub(rb"\[tenure: [^]]*\]\n", b"", b"".join(got)).split()
    numbers = [int(one) for one in lines if len(one) == 7]
    assert len(numbers) == len(lines), "no line is torn"
    assert numbers == sorted(set(numbers)), "none twice, none out of order"
    assert numbers[-1] == 4999
