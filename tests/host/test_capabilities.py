"""Probes act and answer granted, denied or unknown (C8)."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from scenario import landlock
from tenure.domain.errors import InvalidInput
from tenure.host import capabilities
from tenure.host.capabilities import ProbeAnswer, check_requirement, probe

GRANTED, DENIED, UNKNOWN = ProbeAnswer.GRANTED, ProbeAnswer.DENIED, ProbeAnswer.UNKNOWN


@pytest.mark.parametrize(
    "text", ["read:/etc", "read:~/x", "write:/tmp", "exec:sh", "exec:/bin/sh", "fda", "read:/a:b"]
)
def test_requirements_that_can_be_probed(text: str) -> None:
    check_requirement(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "read", "read:", "read:relative", "read:~user/x", "write:", "exec:", "exec:-x",
        "fda:x", "calendar", "READ:/x", "read:/x\n", "read: /x", "read:/x\0", " fda",
    ],
)  # fmt: skip
def test_others_are_refused_at_definition_and_unknown_when_probed(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_requirement(text)
    assert refusal.value.field == "requires"
    assert probe(text) is UNKNOWN


def test_what_can_be_read_or_written_is_granted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    (tmp_path / "empty").touch()
    assert probe(f"read:{file}") is GRANTED
    assert probe(f"read:{tmp_path / 'empty'}") is GRANTED
    assert probe(f"read:{tmp_path}") is GRANTED
    assert probe(f"write:{file}") is GRANTED
    assert file.read_text() == "content"
    if sys.platform == "linux":
        assert probe(f"write:{tmp_path}") is GRANTED
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"], "nothing is left behind"


def test_what_is_not_there_is_unknown(tmp_path: Path) -> None:
    for kind in ("read", "write"):
        assert probe(f"{kind}:{tmp_path}/none") is UNKNOWN
        assert probe(f"{kind}:{tmp_path}/none/none") is UNKNOWN
    assert probe("exec:/no/such/program") is UNKNOWN
    assert probe("exec:tenure-no-such-program") is DENIED


def test_programs(tmp_path: Path) -> None:
    assert probe("exec:sh") is GRANTED
    assert probe("exec:/bin/sh") is GRANTED
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert probe(f"exec:{script}") is DENIED, "it is not executable"


def test_a_pipe_does_not_block_and_loses_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert probe(f"read:{tmp_path / 'pipe'}") is GRANTED
    assert probe(f"write:{tmp_path / 'pipe'}") is UNKNOWN


def test_home_is_the_users_not_the_environments(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/no/such/home")
    assert probe("read:~/") is GRANTED


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (errno.EPERM, DENIED),
        (errno.EACCES, DENIED),
        (errno.EROFS, DENIED),
        (errno.ENOENT, UNKNOWN),
        (errno.EIO, UNKNOWN),
        (errno.EOPNOTSUPP, UNKNOWN),
    ],
)
def test_only_a_refusal_is_a_denial(monkeypatch, code: int, answer: ProbeAnswer) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(capabilities.os, "open", refuse)
    assert probe("read:/etc/passwd") is answer


def test_a_file_that_reads_as_empty_and_is_not_is_unknown(monkeypatch, tmp_path: Path) -> None:
    file = tmp_path / "hidden"
    file.write_text("42")
    monkeypatch.setattr(capabilities.os, "read", lambda *_: b"")
    assert probe(f"read:{file}") is UNKNOWN


@pytest.mark.real
@pytest.mark.skipif(not landlock.available(), reason="this kernel has no Landlock")
def test_the_probe_acts_and_so_sees_what_access_does_not(spawn, tmp_path: Path) -> None:
    denied = tmp_path / "protected"
    denied.mkdir()
    (denied / "secret").write_text("42")
    child = spawn(
        "import os, sys; from pathlib import Path; from scenario import landlock\n"
        "from tenure.host.capabilities import probe\n"
        "landlock.deny_beneath(Path(sys.argv[1])); secret = sys.argv[1] + '/secret'\n"
        "print(os.access(secret, os.R_OK), probe('read:' + secret), probe('write:' + secret),"
        " flush=True)",
        str(denied),
        environment={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert child.line() == "True denied denied"
    assert probe(f"read:{denied / 'secret'}") is GRANTED


def test_full_disk_access_is_unknown_elsewhere() -> None:
    if sys.platform != "darwin":
        assert probe("fda") is UNKNOWN


class Mac:
    """What a Mac answers to the three folders and the database."""

    def __init__(self, folders: int, database: int | bytes) -> None:
        self.folders, self.database = folders, database

    def listdir(self, path: str) -> list[str]:
        assert path.endswith(("Safari", "Mail", "Messages")), f"{path} must not be touched"
        if self.folders:
            raise OSError(self.folders, os.strerror(self.folders))
        return []


@pytest.mark.parametrize(
    ("folders", "database", "answer"),
    [
        (0, b"SQLite format 3\0", GRANTED),
        (0, errno.EACCES, GRANTED),
        (errno.ENOENT, b"SQLite format 3\0", GRANTED),
        (errno.EPERM, errno.EPERM, DENIED),
        (errno.EPERM, errno.ENOENT, DENIED),
        (errno.ENOENT, b"", UNKNOWN),
        (errno.ENOENT, errno.EACCES, UNKNOWN),
    ],
)
def test_full_disk_access_by_recorded_answers(
    monkeypatch, tmp_path: Path, folders: int, database: int | bytes, answer: ProbeAnswer
) -> None:
    mac = Mac(folders, database)
    path = tmp_path / "TCC.db"
    if isinstance(database, bytes):
        path.write_bytes(database)

    def opened(name: str, mode: str):
        assert name == str(path)
        if isinstance(database, int):
            raise OSError(database, os.strerror(database))
        return Path(name).open(mode)

    monkeypatch.setattr(capabilities, "_TCC_DATABASE", str(path))
    monkeypatch.setattr(capabilities, "open", opened, raising=False)
    monkeypatch.setattr(capabilities.os, "listdir", mac.listdir)
    assert capabilities._full_disk_access() is answer


def test_a_mac_is_never_made_to_ask(monkeypatch, tmp_path: Path) -> None:
    def touched(*_: object) -> int:
        raise AssertionError("a dialog would open")

    link = tmp_path / "link"
    link.symlink_to(Path(capabilities._expand("~/Desktop")))
    monkeypatch.setattr(capabilities, "_is_mac", lambda: True)
    monkeypatch.setattr(capabilities.os, "open", touched)
    for place in ("~/Desktop/x", "~/desktop", "/Volumes/Stick/x", "~/x/../Downloads/y", link):
        assert probe(f"read:{place}") is UNKNOWN
        assert probe(f"write:{place}") is UNKNOWN
