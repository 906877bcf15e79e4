"""What a command gets of its user, its owner, its profile and its job, each over the one before."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from commandkit import claimed_run

from tenure.domain.job import Command
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.commands.runner import CommandRunner
from tenure.store.folder import user_home
from testkit.clock import ManualClock

RUN = claimed_run("r1")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[CommandRunner]]:
    runners: list[CommandRunner] = []
    yield runners
    for runner in runners:
        runner.close()


def environment(
    made: list[CommandRunner],
    owner: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    profile: Mapping[str, str] | None = None,
    job: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    runner = CommandRunner(
        process="p",
        logs=Path("/nowhere"),
        slots=1,
        log_size=1,
        environment=lambda: profile or {},
        clock=ManualClock(),
        inbox=Inbox(),
    )
    made.append(runner)
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in owner.items():
        monkeypatch.setenv(name, value)
    action = Command(argv=("true",), env=job or {})
    return runner._environment.spec(RUN, action, Path("/nowhere/1.exit")).env


def test_a_service_without_any_gives_what_cron_gives(
    made: list[CommandRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    me = pwd.getpwuid(os.geteuid())
    seen = environment(made, {"PATH": "/bin"}, monkeypatch)
    given = {name: seen[name] for name in ("HOME", "LOGNAME", "USER", "SHELL")}
    assert given == {
        "HOME": me.pw_dir,
        "LOGNAME": me.pw_name,
        "USER": me.pw_name,
        "SHELL": "/bin/sh",
    }


def test_what_is_set_stays_and_what_is_empty_is_filled(
    made: list[CommandRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    me = pwd.getpwuid(os.geteuid())
    owner = {"HOME": "/srv/app", "SHELL": "/bin/zsh", "USER": "", "LOGNAME": "me", "EMPTY": ""}
    seen = environment(
        made, owner, monkeypatch, profile={"SHELL": "/bin/bash"}, job={"LOGNAME": ""}
    )
    assert (seen["HOME"], seen["USER"], seen["EMPTY"]) == ("/srv/app", me.pw_name, "")
    assert seen["SHELL"] == "/bin/bash", "the profile's goes over the owner's"
    assert seen["LOGNAME"] == "", "and what a job says goes over all, empty too"


def test_a_uid_without_a_passwd_entry_has_no_name_and_a_home(
    made: list[CommandRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_entry(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(user_home.pwd, "getpwuid", no_entry)
    seen = environment(made, {}, monkeypatch)
    assert (seen["HOME"], seen["SHELL"]) == ("/", "/bin/sh")
    assert not {"USER", "LOGNAME"} & set(seen)


def test_what_a_service_manager_says_to_the_owner_is_not_handed_on(
    made: list[CommandRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = environment(made, {"NOTIFY_SOCKET": "/run/x", "KEPT": "1"}, monkeypatch)
    assert "NOTIFY_SOCKET" not in seen
    assert seen["KEPT"] == "1"
