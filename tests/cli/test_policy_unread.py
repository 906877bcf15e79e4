"""A profile.toml that cannot be read, and one that is there before the database is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clikit import Tenure, World

WRONG = '[[owner]]\nservice = "x"\nservcie = "y"\n'
WHERE = "profile.toml, line 3"
REMEDY = 'did you mean "service"?'


@pytest.fixture
def toml(home: Path) -> Path:
    folder = home / "profiles" / "default"
    folder.mkdir(parents=True)
    return folder / "profile.toml"


def test_serve_refuses_and_makes_no_database(tenure: Tenure, toml: Path) -> None:
    toml.write_text(WRONG)
    done = tenure("serve")
    assert done.code == 3
    assert WHERE in done.err
    assert REMEDY in done.err
    assert not (toml.parent / "tenure.db").exists()


@pytest.mark.parametrize(
    "content", [b"[[owner", WRONG.encode(), b"[[owner]]\nuser = true\n", b"\xff\xfe", b"a\xff = 1"]
)
def test_before_the_database_each_report_fails_closed(
    tenure: Tenure, toml: Path, content: bytes
) -> None:
    toml.write_bytes(content)
    status = tenure("status", "--json")
    assert status.code == 1
    assert status.json["in_the_making"]
    assert not status.json["policy"]["open"]
    (warning,) = status.json["warnings"]
    assert warning["code"] == "policy_file_problem"
    assert "profile.toml, line " in warning["text"]
    assert warning["remedy"]
    whoami = tenure("whoami", "--json").json
    assert not whoami["admitted"]
    assert "profile.toml, line " in whoami["why"]
    policy = tenure("owner", "policy", "--json")
    assert (policy.code, policy.json["open"]) == (1, False)
    assert tenure("owner").code == 0
    assert not (toml.parent / "tenure.db").exists(), "reading creates nothing"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_before_the_database_a_valid_file_is_read(
    tenure: Tenure, toml: Path, encoding: str
) -> None:
    toml.write_bytes('[[owner]]\r\nexecutable = "/no/such"\r\n'.encode(encoding))
    status = tenure("status")
    assert status.code == 0
    assert "no database yet" in status.out
    assert not tenure("whoami", "--json").json["admitted"]
    policy = tenure("owner", "policy", "--json").json
    assert [rule["number"] for rule in policy["rules"]] == [1]
    assert "/no/such" in tenure("owner").out
    toml.write_text('[[owner]]\nuser = "me"\n')
    assert tenure("whoami", "--json").json["authoritative"]
    assert tenure("owner", "policy", "--accept").code == 4, "there is nothing to keep it in"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_fails_closed(tenure: Tenure, toml: Path) -> None:
    toml.write_text('[[owner]]\nuser = "me"\n')
    toml.chmod(0)
    assert tenure("serve").code == 3
    assert "chmod 600" in tenure("whoami").out
    toml.chmod(0o600)
    assert tenure("whoami", "--json").json["admitted"]


VERBS = [
    ("add", "@daily", "--name", "other", "--", "true"),
    ("list",),
    ("show", "n"),
    ("edit", "n", "--tag", "x"),
    ("pause", "n"),
    ("resume", "n"),
    ("runs",),
    ("next",),
    ("export",),
    ("explain", "n"),
    ("owner",),
    ("requests",),
    ("audit",),
    ("remove", "n"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_works_and_names_the_line(
    tenure: Tenure, world: World, verb: tuple[str, ...]
) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    world.profile.folder.toml.write_text(WRONG)
    done = tenure(*verb)
    assert done.code in (0, 1), done.err
    assert WHERE in done.err
    assert REMEDY in done.err


def test_a_trigger_is_refused_with_the_line(tenure: Tenure, world: World) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    world.profile.folder.toml.write_text(WRONG)
    done = tenure("trigger", "n", "--json")
    assert done.code == 3
    assert WHERE in done.json["error"]["text"]
    assert REMEDY in done.json["error"]["remedy"]


def test_clear_waits_until_the_file_can_be_read(tenure: Tenure, world: World) -> None:
    world.profile.folder.toml.write_text(WRONG)
    done = tenure("owner", "policy", "--clear", "--yes")
    assert done.code == 2
    assert WHERE in done.err
    assert world.store.policy().version == 0


def test_a_job_file_of_any_editor_is_applied_and_its_error_names_the_line(
    tenure: Tenure, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.toml"
    text = '[[job]]\r\nname = "b"\r\nschedule = "@daily"\r\ncommand = ["true"]\r\n'
    file.write_bytes(text.encode("utf-16"))
    assert tenure("apply", str(file)).code == 0
    file.write_text(text.replace("command", "comand"))
    done = tenure("apply", str(file))
    assert (done.code, "line 4" in done.err) == (2, True)
    file.write_text(text.replace('"b"', "“b”"))
    done = tenure("apply", str(file))
    assert (done.code, "line 2" in done.err, "straight quotes" in done.err) == (2, True, True)
