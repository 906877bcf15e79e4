"""A pipe where a file is expected blocks no reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenure.domain.errors import CorruptStore
from tenure.domain.policy.change import PolicyProblem, ProblemKind
from tenure.runtime.callables.capture import Capture
from tenure.runtime.commands.child import Stage, read_exit
from tenure.runtime.output import layout_of, read_output, tail
from tenure.store.folder import identity
from tenure.store.folder.files import open_regular
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.policy_file import read_policy_file
from waiting import promptly


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Its other end is not open."""
    made = tmp_path / "1.log"
    os.mkfifo(made)
    return made


def test_a_file_or_a_link_to_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"text"


def test_what_is_no_file_is_refused(tmp_path: Path, pipe: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        promptly(lambda: open_regular(pipe), "opening")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_pipe_that_is_written_to_is_not_read(pipe: Path) -> None:
    other_end = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(OSError, match="not a regular file"):
            promptly(lambda: open_regular(pipe), "opening")
    finally:
        os.close(other_end)


def test_as_profile_toml_it_is_a_warning(pipe: Path) -> None:
    """The keeper reads it, and must look on."""
    found = promptly(lambda: read_policy_file(pipe), "reading profile.toml")
    assert isinstance(found, PolicyProblem)
    assert found.kind is ProblemKind.UNREADABLE
    assert "not a regular file" in found.text


def test_as_profile_id_it_is_damage(tmp_path: Path) -> None:
    folder = ProfileFolder.open("la", tmp_path, create=True)
    os.mkfifo(folder.id_file)
    with pytest.raises(CorruptStore, match="not a regular file"):
        promptly(lambda: identity.read(folder), "reading profile.id")
    with pytest.raises(CorruptStore, match="not a regular file"):
        promptly(lambda: identity.reserve_term(folder), "reserving a term")


def test_as_an_exit_record_it_says_nothing(pipe: Path) -> None:
    assert promptly(lambda: read_exit(pipe), "reading the record").stage is Stage.MISSING


def test_as_output_it_is_empty(tmp_path: Path, pipe: Path) -> None:
    os.mkfifo(tmp_path / "1.log.1")
    assert promptly(lambda: layout_of(pipe), "looking at the output").end == 0
    assert promptly(lambda: b"".join(read_output(pipe)), "reading the output") == b""
    assert promptly(lambda: tail(pipe, 5), "reading the end of the output") == b""


def test_a_function_whose_output_it_is_to_be_goes_on_without(pipe: Path) -> None:
    capture = Capture(pipe, 1000)
    promptly(lambda: (capture.write("text"), capture.close()), "writing")
