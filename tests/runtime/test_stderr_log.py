"""Log lines never keep who logs waiting for who reads them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tenure.runtime import daemon
from tenure.runtime.daemon import MAX_WAITING_LINES, StderrLog
from waiting import eventually, promptly


@dataclass
class Pipe:
    reads: int
    writes: int

    def fill(self) -> int:
        """Until not one byte goes in; how many did."""
        os.set_blocking(self.writes, False)
        count = 0
        for size in (4096, 1):
            try:
                while True:
                    count += os.write(self.writes, b"x" * size)
            except BlockingIOError:
                pass
        os.set_blocking(self.writes, True)
        return count

    def drain(self, until: bytes) -> bytes:
        text = b""
        while until not in text:
            text += promptly(lambda: os.read(self.reads, 1 << 16), "reading")
        return text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe(*os.pipe())
    yield made
    os.close(made.reads)
    os.close(made.writes)


@pytest.fixture
def log(pipe: Pipe) -> Iterator[logging.Logger]:
    made = logging.Logger("made")
    handler = StderrLog(pipe.writes)
    made.addHandler(handler)
    yield made
    handler.close()


def test_lines_come_in_order_and_are_written_when_it_is_flushed(
    pipe: Pipe, log: logging.Logger
) -> None:
    for number in range(100):
        log.info("line %d ü", number)
    log.handlers[0].flush()
    expected = "".join(f"line {number} ü\n" for number in range(100)).encode()
    assert os.read(pipe.reads, 1 << 16) == expected


def test_when_nobody_reads_it_goes_on_and_says_later_what_was_dropped(
    pipe: Pipe, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "FLUSH_TIMEOUT_S", 0.05)
    filled = pipe.fill()

    def say_much() -> int:
        for number in range(MAX_WAITING_LINES + 100):
            log.info("line %d", number)
        log.handlers[0].flush()
        return 1

    promptly(say_much, "logging")
    text = pipe.drain(until=b"line 990\n")
    assert text.startswith(b"x" * filled + b"line 0\nline 1\n")
    (handler,) = log.handlers
    assert isinstance(handler, StderrLog)
    lines = handler._lines
    eventually(lambda: lines.empty(), "the rest to be written")
    log.info("the next")
    rest = pipe.drain(until=b"the next\n")
    assert b"lines were dropped: no process read them)\nthe next\n" in rest


def test_a_descriptor_that_somebody_made_nonblocking_loses_nothing(
    pipe: Pipe, log: logging.Logger
) -> None:
    filled = pipe.fill()
    os.set_blocking(pipe.writes, False)
    log.info("late")
    assert pipe.drain(until=b"late\n") == b"x" * filled + b"late\n"


def test_no_reader_at_all_is_no_error() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    handler = StderrLog(writes)
    handler.handle(logging.makeLogRecord({"msg": "unheard"}))
    promptly(lambda: [handler.flush()], "flushing")
    os.close(writes)


def test_without_a_thread_to_be_had_it_writes_by_itself(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        handler = StderrLog(pipe.writes)
    handler.handle(logging.makeLogRecord({"msg": "said"}))
    handler.flush()
    assert os.read(pipe.reads, 100) == b"said\n"
