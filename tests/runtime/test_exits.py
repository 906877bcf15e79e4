"""The exit record: whole lines count, nothing else, and a blank one proves only what it can."""

from __future__ import annotations

import errno
import os
import re
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.runtime.commands.child import (
    SPACE,
    Outcome,
    RecordUnreadable,
    Stage,
    parse_exit,
    read_exit,
    signal_of,
)
from tenure.store.folder import files

THEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def padded(text: bytes) -> bytes:
    return text.ljust(SPACE, b"\0")


@pytest.mark.parametrize("code", [0, 1, 126, 127, 255])
def test_an_exit(code: int) -> None:
    exit_ = parse_exit(padded(b"open\nexit %d\n" % code), finished_at=THEN)
    assert (exit_.outcome, exit_.stage) == (Outcome.EXITED, Stage.DONE)
    assert (exit_.exit_code, exit_.finished_at) == (code, THEN)


@pytest.mark.parametrize(
    ("code", "number"), [(143, 15), (137, 9), (129, 1), (128, None), (255, None)]
)
def test_above_128_both_are_reported(code: int, number: int | None) -> None:
    exit_ = parse_exit(padded(b"open\nexit %d\n" % code), finished_at=THEN)
    assert (exit_.exit_code, exit_.signal) == (code, number)


def test_never_is_proof_by_itself() -> None:
    exit_ = parse_exit(padded(b"never\n"), finished_at=THEN)
    assert (exit_.outcome, exit_.stage, exit_.exit_code) == (Outcome.NEVER_RAN, Stage.DONE, None)


@pytest.mark.parametrize(
    ("gone", "outcome"), [(True, Outcome.NEVER_RAN), (False, Outcome.NO_RECORD)]
)
def test_blank_proves_only_with_the_shell_known_dead(gone: bool, outcome: Outcome) -> None:
    exit_ = parse_exit(bytes(SPACE), finished_at=THEN, shell_gone=gone)
    assert (exit_.outcome, exit_.stage) == (outcome, Stage.GATE)


def test_an_empty_file_is_not_a_blank_record() -> None:
    """A truncated or never written file says nothing, whoever is dead."""
    exit_ = parse_exit(b"", finished_at=THEN, shell_gone=True)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.MISSING)


def test_open_is_lost_even_with_the_shell_dead() -> None:
    exit_ = parse_exit(padded(b"open\n"), finished_at=THEN, shell_gone=True)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.OPEN)


FULL = b"open\nexit 137\n"


@given(st.sets(st.integers(0, len(FULL) - 1), min_size=1))
def test_a_torn_record_is_never_taken_for_another(missing: set[int]) -> None:
    """Bytes that have not arrived yet are NUL, anywhere: 137 must not read as 13 or 1."""
    torn = bytes(0 if place in missing else byte for place, byte in enumerate(FULL))
    exit_ = parse_exit(padded(torn), finished_at=THEN, shell_gone=True)
    if torn.rstrip(b"\0"):
        assert (exit_.outcome, exit_.exit_code) == (Outcome.NO_RECORD, None)


@given(st.binary(max_size=SPACE))
def test_anything_else_is_no_record(text: bytes) -> None:
    exit_ = parse_exit(text, finished_at=THEN)
    assert exit_.outcome is Outcome.NO_RECORD or text.rstrip(b"\0").endswith(b"\n")


@pytest.mark.parametrize(
    "text",
    [
        b"open\nexit 1\nexit 2\n",
        b"exit 1\n",
        b"open\nexit -1\n",
        b"open\nexit \n",
        b"open\nexit 1000\n",
    ],
)
def test_lines_nobody_of_us_wrote(text: bytes) -> None:
    assert parse_exit(padded(text), finished_at=THEN).outcome is Outcome.NO_RECORD


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "1.exit"
    assert read_exit(path).stage is Stage.MISSING
    path.write_bytes(padded(b"open\nexit 7\n"))
    os.utime(path, (THEN.timestamp(), THEN.timestamp()))
    assert read_exit(path).finished_at == THEN
    assert read_exit(tmp_path).stage is Stage.MISSING


@pytest.mark.parametrize(
    "fault",
    ["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM", "EINTR", "ESTALE", "EPERM", "ETIMEDOUT"],
)
def test_a_fault_in_reading_is_no_missing_record(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: no fault in reading a record may be reported as a different result."""
    path = tmp_path / "1.exit"
    path.write_bytes(padded(b"open\nexit 0\n"))
    number = getattr(errno, fault)

    def refuse(*args: object, **options: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "open", refuse)
        with pytest.raises(RecordUnreadable, match=re.escape(os.strerror(number))):
            read_exit(path, shell_gone=True)
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fstat", refuse)
        with pytest.raises(RecordUnreadable):
            read_exit(path)
    assert read_exit(path).exit_code == 0


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    for path in (tmp_path / "none", tmp_path / "file" / "1.exit", tmp_path / "circle"):
        assert read_exit(path).stage is Stage.MISSING, path


def test_signal_of_knows_only_real_signals() -> None:
    assert signal_of(128 + signal.SIGTERM) == signal.SIGTERM
    assert {signal_of(code) for code in (0, 1, 127, 128, 200, 255)} == {None}
