"""Which home the commands use, and what they say where HOME names another one."""

from __future__ import annotations

import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from clikit import Tenure

from tenure import Tenure as Embedded

ADD = ("add", "every 1h", "--name", "x", "--", "true")


@pytest.fixture
def passwd(tmp_path: Path, tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of the passwd entry; HOME is another folder, and TENURE_HOME is not set."""
    folder = tmp_path / "passwd"
    folder.mkdir()
    entry = SimpleNamespace(pw_dir=str(folder), pw_name="someone")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    monkeypatch.delenv("TENURE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "sandbox"))
    return folder


def test_a_home_variable_that_differs_is_named_when_a_profile_is_made(
    passwd: Path, tenure: Tenure, tmp_path: Path
) -> None:
    first = tenure(*ADD)
    assert first.code == 0
    assert f"profiles are in {passwd / '.tenure'}" in first.err
    assert f"TENURE_HOME={tmp_path / 'sandbox' / '.tenure'}" in first.err
    again = tenure("add", "every 1h", "--name", "y", "--", "true")
    assert "profiles are in" not in again.err, "the second job needs no second notice"
    assert "profiles are in" in tenure("status").err


def test_a_profile_that_is_not_found_says_where_it_was_looked_for(
    passwd: Path, tenure: Tenure
) -> None:
    missing = tenure("list")
    assert missing.code == 4
    assert "TENURE_HOME=" in missing.err


def test_two_homes_in_use_are_named_each_time(passwd: Path, tenure: Tenure, tmp_path: Path) -> None:
    tenure(*ADD)
    (tmp_path / "sandbox" / ".tenure" / "profiles").mkdir(parents=True)
    assert "TENURE_HOME=" in tenure("add", "every 1h", "--name", "y", "--", "true").err


def test_documents_and_certain_homes_carry_no_notice(
    passwd: Path, tenure: Tenure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tenure("--json", *ADD).json["job"]["name"] == "x"
    assert "profiles are in" not in tenure("--json", "status").err
    named = tmp_path / "named"
    assert "profiles are in" not in tenure("--home", str(named), *ADD).err
    monkeypatch.setenv("TENURE_HOME", str(tmp_path / "third"))
    assert "profiles are in" not in tenure(*ADD).err


def test_an_embedded_scheduler_says_it_too(passwd: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Embedded(profile="shop")
    first.profile.close()
    assert [r for r in caplog.records if "TENURE_HOME=" in r.getMessage()]
    caplog.clear()
    second = Embedded(profile="shop")
    second.profile.close()
    assert not caplog.records


def test_a_user_without_an_entry_is_told_of_tenure_home(
    tenure: Tenure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("HOME", "/no/such/home")
    made = tenure(*ADD)
    assert made.code == 0, made
    assert "the command runs in /" in made.err
    monkeypatch.delenv("TENURE_HOME")
    refused = tenure("status")
    assert refused.code == 2
    assert "TENURE_HOME" in refused.err
    for verb in (("hermes", "status"), ("import", "hermes")):
        answer = tenure(*verb)
        assert answer.code in (2, 4), answer
        assert "internal error" not in answer.err


def test_the_notice_of_a_home_folder_that_is_gone(
    passwd: Path, tenure: Tenure, tmp_path: Path
) -> None:
    passwd.rmdir()
    made = tenure("--home", str(tmp_path / "h"), *ADD)
    assert f"{passwd} cannot be entered: the command runs in /" in made.err
