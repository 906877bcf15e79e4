"""Which home folder counts: the passwd entry's, and what holds for a user without an entry."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from tenure.domain.errors import InvalidInput
from tenure.store.folder.file_system import check_file_system
from tenure.store.folder.layout import home
from tenure.store.folder.policy_file import read_policy_file
from tenure.store.folder.user_home import default_home, expand, job_folder, other_home, which_home


@pytest.fixture
def no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """This uid has no passwd entry, as after `docker run --user 54321`."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.fixture
def passwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of this uid's passwd entry."""
    folder = tmp_path / "passwd"
    folder.mkdir()
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(folder)))
    return folder


@pytest.mark.usefixtures("no_entry")
def test_without_an_entry_a_home_variable_of_this_user_counts(tmp_path: Path) -> None:
    assert default_home({"HOME": str(tmp_path)}) == tmp_path / ".tenure"
    assert home(None, {"HOME": str(tmp_path)}) == tmp_path / ".tenure"
    assert home("~/t", {"HOME": str(tmp_path)}) == tmp_path / "t"
    assert home(None, {"TENURE_HOME": "/srv/t"}) == Path("/srv/t")


@pytest.mark.root
@pytest.mark.usefixtures("no_entry")
@pytest.mark.parametrize("said", [None, "", "relative", "/no/such/folder", "/proc/1/task", "a\0b"])
def test_without_an_entry_and_a_home_of_ones_own_the_error_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    if said == "/proc/1/task" and os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(InvalidInput, match="no passwd entry") as caught:
        default_home({} if said is None else {"HOME": said})
    assert "TENURE_HOME" in caught.value.remedy


@pytest.mark.usefixtures("no_entry")
def test_without_an_entry_a_profile_can_be_made_and_a_rule_in_the_home_folder_cannot(
    tmp_path: Path,
) -> None:
    """C2: HOME is no evidence, so a rule that begins with ~/ is an error and not a guess."""
    check_file_system(tmp_path)
    toml = tmp_path / "profile.toml"
    toml.write_text('[[owner]]\nexecutable = "/usr/bin/true"\n[[owner]]\nexecutable = "~/bin/x"\n')
    problem = read_policy_file(toml)
    assert problem.field == "owner[2].executable"
    assert "full path" in problem.remedy


def test_a_home_variable_that_differs_is_named_with_the_remedy(
    passwd: Path, tmp_path: Path
) -> None:
    used = passwd / ".tenure"
    said = which_home(used, {"HOME": str(tmp_path)})
    assert said is not None
    text, remedy = said
    assert str(used) in text
    assert str(tmp_path) in text
    assert f"TENURE_HOME={tmp_path / '.tenure'}" in remedy


def test_there_is_nothing_to_say_where_the_home_is_certain(passwd: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(passwd)
    used = passwd / ".tenure"
    for environ in (
        {},
        {"HOME": ""},
        {"HOME": "relative"},
        {"HOME": str(passwd)},
        {"HOME": f"{passwd}/"},
        {"HOME": str(link)},
        {"HOME": str(tmp_path), "TENURE_HOME": str(used)},
    ):
        assert other_home(environ) is None, environ
        assert which_home(used, environ) is None, environ
    assert which_home(tmp_path / "named", {"HOME": str(tmp_path)}) is None


def test_a_job_runs_in_the_first_folder_that_can_be_entered(passwd: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    environ = {"HOME": str(other)}
    assert job_folder(environ) == str(passwd)
    passwd.rmdir()
    assert job_folder(environ) == str(other)
    assert job_folder({}) == "/"
    assert job_folder({"HOME": "other"}) == "/"
    other.rmdir()
    assert job_folder(environ) == "/"


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters every folder")
def test_a_shut_home_folder_is_not_where_jobs_run(passwd: Path) -> None:
    passwd.chmod(0)
    try:
        assert job_folder({}) == "/"
    finally:
        passwd.chmod(0o700)


def test_a_tilde_of_an_unknown_user_is_an_error_and_no_folder() -> None:
    assert expand("~", "cwd") == os.path.expanduser("~")
    assert expand("./~x", "cwd") == "./~x"
    with pytest.raises(InvalidInput, match="no-such-user") as caught:
        expand("~no-such-user/x", "cwd")
    assert caught.value.field == "cwd"
