"""Reading profile.toml, resolving its rules, and what a changed file may change."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.change import (
    Accept,
    KeepCurrent,
    PolicyFile,
    PolicyProblem,
    ProblemKind,
    policy_in_force,
    reconcile_policy,
)
from tenure.domain.policy.text import make_policy
from tenure.domain.policy.warnings import policy_warnings
from tenure.store.folder.policy_file import _parse, read_policy_file, resolve_policy

RULES = '[[owner]]\nservice = "gw"\n'


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "profile.toml"


def found(toml: Path, text: str) -> PolicyFile:
    toml.write_text(text)
    read = read_policy_file(toml)
    assert isinstance(read, PolicyFile)
    return read


def problem(toml: Path) -> PolicyProblem:
    read = read_policy_file(toml)
    assert isinstance(read, PolicyProblem)
    assert str(toml) in read.text
    assert read.remedy
    return read


def accepted(toml: Path, text: str = RULES, version: int = 3) -> Policy:
    return make_policy(found(toml, text).rules, version=version)


def test_reads_settings_and_rules(toml: Path) -> None:
    read = found(toml, 'timezone = "UTC"\n' + RULES)
    assert read.settings.timezone == "UTC"
    assert [r.service for r in read.rules] == ["gw"]
    # The hash is of the rules alone: a comment or a setting is no new policy.
    assert found(toml, "# hello\n" + RULES).hash == read.hash
    assert found(toml, RULES + "user = 5\n").hash != read.hash


def test_each_way_to_be_unusable(toml: Path) -> None:
    assert problem(toml).kind is ProblemKind.MISSING
    assert problem(toml / "below").kind is ProblemKind.MISSING
    for text in ("", "# only a comment\n"):
        toml.write_text(text)
        assert problem(toml).kind is ProblemKind.EMPTY
    for content in (b"[[owner", b"\xff\xfe", b"a = " + b"[" * 100_000):
        toml.write_bytes(content)
        assert problem(toml).kind is ProblemKind.NOT_TOML
    toml.write_text('[[owner]]\nservce = "x"\n')
    wrong = problem(toml)
    assert (wrong.kind, wrong.field) == (ProblemKind.INVALID, "owner[1].servce")
    assert "owner[1].servce" in wrong.text
    assert 'did you mean "service"' in wrong.remedy
    toml.write_text("hung = 1\n" + RULES)
    assert problem(toml).field == "hung"
    toml.write_bytes(b"#" * 1_000_001)
    assert problem(toml).kind is ProblemKind.INVALID
    toml.unlink()
    toml.mkdir()
    assert problem(toml).kind is ProblemKind.UNREADABLE


def test_rules_are_resolved(toml: Path, tmp_path: Path) -> None:
    base = tmp_path / "python3.11"
    base.write_text("")
    venv = tmp_path / "venv" / "python"
    venv.parent.mkdir()
    venv.symlink_to(base)
    group = grp.getgrgid(os.getegid())
    read = found(
        toml,
        f'[[owner]]\nexecutable = "{venv}"\nancestor = "~/bin/x"\n'
        f'[[owner]]\ngroup = "{group.gr_name}"\n[[owner]]\ngroup = "no such group"\n'
        "[[owner]]\ngroup = 7\n",
    )
    home = os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir)
    first = read.rules[0]
    assert first.executable_paths == (str(venv), os.path.realpath(base))
    assert first.ancestor_paths[-1] == os.path.realpath(f"{home}/bin/x")
    assert [r.group_id for r in read.rules] == [None, group.gr_gid, None, 7]
    unresolved = make_policy(read.rules, version=1)
    codes = [w.code for w in policy_warnings(unresolved)]
    assert "executable_resolves_elsewhere" in codes
    assert "group_unknown" in codes


def test_an_interpreter_is_known_by_what_a_link_leads_to(toml: Path, tmp_path: Path) -> None:
    """As in a virtual environment, whose Python is a link to a link to the system's."""
    (tmp_path / "python3.11").write_text("")
    (tmp_path / "python3").symlink_to("python3.11")
    (tmp_path / "run-the-shop").symlink_to("python3")
    (tmp_path / "python").write_text("#!/bin/sh\n")
    read = found(
        toml,
        f'[[owner]]\nexecutable = "{tmp_path}/run-the-shop"\n'
        f'[[owner]]\nexecutable = "{tmp_path}/python"\nauthoritative = true\n',
    )
    warnings = policy_warnings(make_policy(read.rules, version=1))
    assert [w.code for w in warnings] == ["rule_names_interpreter", "executable_is_script"]
    real = os.path.realpath(tmp_path / "python3.11")
    assert f"{tmp_path}/run-the-shop ({real}) is an interpreter" in warnings[0].text


def test_a_lock_file_is_spelt_as_written_and_as_resolved(toml: Path, tmp_path: Path) -> None:
    """Also one that is not there yet."""
    (tmp_path / "link").symlink_to(tmp_path / "home")
    read = found(
        toml,
        f'[[owner]]\nholds = "{tmp_path}/link/../link/gw.lock"\n[[owner]]\nholds = "~/gw.lock"\n',
    )
    real = os.path.realpath(tmp_path)
    assert read.rules[0].holds_paths == (f"{tmp_path}/link/gw.lock", f"{real}/home/gw.lock")
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert read.rules[1].holds_paths[0] == f"{home}/gw.lock"
    assert f'holds = "{tmp_path}/link/../link/gw.lock"' in read.text, "the text is as written"


def test_a_script_is_never_what_runs(toml: Path, tmp_path: Path) -> None:
    script = tmp_path / "hermes"
    script.write_text("#!/bin/sh\n")
    (tmp_path / "link").symlink_to(script)
    os.mkfifo(tmp_path / "pipe")
    text = "".join(
        f'[[owner]]\n{key} = "{path}"\n'
        for key, path in [
            ("executable", tmp_path / "link"),
            ("ancestor", script),
            ("executable", tmp_path),
            ("executable", tmp_path / "pipe"),
            ("executable", tmp_path / "none"),
        ]
    )
    read = found(toml, text)
    assert [r.scripts for r in read.rules] == [("executable",), ("ancestor",), (), (), ()]
    warned = policy_warnings(make_policy(read.rules, version=1))
    scripts = [w.text for w in warned if w.code == "executable_is_script"]
    assert [text.partition(":")[0] for text in scripts] == ["rule 1", "rule 2"]


def test_resolving_an_accepted_policy_keeps_its_name(toml: Path) -> None:
    policy = accepted(toml, '[[owner]]\nexecutable = "/bin/../bin/true"\n')
    again = resolve_policy(policy)
    assert (again.hash, again.version, again.text) == (policy.hash, policy.version, policy.text)
    assert again.rules[0].executable_paths[0] == "/bin/true"


# -- reconciling -----------------------------------------------------------------------------


def test_new_rules_are_accepted_with_the_next_version(toml: Path) -> None:
    read = found(toml, RULES)
    for before, version in ((None, 1), (OPEN, 1), (accepted(toml, "[[owner]]\nuser = 1\n"), 4)):
        change = reconcile_policy(before, read)
        assert isinstance(change, Accept)
        assert change.policy.version == version
        assert change.policy.rules == read.rules
        assert (change.policy.hash, change.policy.text) == (read.hash, read.text)


def test_the_same_rules_change_nothing(toml: Path) -> None:
    assert reconcile_policy(accepted(toml), found(toml, "grace = '5m'\n" + RULES)) == KeepCurrent()


def test_a_file_that_lost_its_rules_keeps_the_accepted_ones(toml: Path) -> None:
    policy = accepted(toml)
    without = reconcile_policy(policy, found(toml, "grace = '5m'\n"))
    assert isinstance(without, KeepCurrent)
    assert without.warning is not None
    assert "--clear" in without.warning.remedy
    for text in (None, "", "[[owner", '[[owner]]\nservce = "x"\n'):
        toml.unlink(missing_ok=True)
        if text is not None:
            toml.write_text(text)
        kept = reconcile_policy(policy, read_policy_file(toml))
        assert isinstance(kept, KeepCurrent)
        assert kept.warning is not None
        assert kept.warning.code.startswith("profile_file_")
        assert "the accepted rules stay in force" in kept.warning.text


def test_an_open_profile_is_warned_only_of_what_is_wrong(toml: Path) -> None:
    for before in (None, OPEN):
        toml.unlink(missing_ok=True)
        assert reconcile_policy(before, read_policy_file(toml)) == KeepCurrent()
        assert reconcile_policy(before, found(toml, "grace = '5m'\n")) == KeepCurrent()
        toml.write_text("[[owner")
        wrong = reconcile_policy(before, read_policy_file(toml))
        assert isinstance(wrong, KeepCurrent)
        assert wrong.warning is not None
        assert "no owner rules were ever accepted" in wrong.warning.text


def test_before_the_first_acceptance_the_file_decides_and_fails_closed(toml: Path) -> None:
    """C2: rules that cannot be read, where none were ever accepted: no process can own."""
    assert policy_in_force(OPEN, read_policy_file(toml)).open, "a file that is missing"
    assert policy_in_force(OPEN, found(toml, "grace = '5m'\n")).open
    assert [r.service for r in policy_in_force(OPEN, found(toml, RULES)).rules] == ["gw"]
    for text in (
        "[[owner",
        '[[owner]]\nservcie = "x"\n',
        "[[owner]]\nuser = true\n",
        "[owner]\nuser = 1\n",
        '[[ower]]\nuser = "me"\n',
        "owner = 3\n",
        'grace = "x"\n' + RULES,
    ):
        toml.write_text(text)
        closed = policy_in_force(OPEN, read_policy_file(toml))
        assert (closed.open, closed.closed, closed.rules) == (False, True, ()), text
        assert f"{toml}, line " in closed.unread
        assert closed.remedy
        kept = make_policy((), version=2)
        assert policy_in_force(kept, read_policy_file(toml)) == kept, "what was accepted stays"


def test_a_wrong_setting_hides_no_rules(toml: Path) -> None:
    """A slip in a setting does not stop a profile that never had rules."""
    toml.write_text('catch_up_rate = "20"\n')
    wrong = problem(toml)
    assert (wrong.wrong, wrong.hides_rules, wrong.line) == (True, False, 1)
    assert policy_in_force(OPEN, wrong).open


def test_what_is_in_the_place_of_the_file_is_not_missing(toml: Path) -> None:
    toml.symlink_to(toml.parent / "nowhere")
    assert problem(toml).kind is ProblemKind.UNREADABLE
    assert "remove the link" in problem(toml).remedy
    toml.unlink()
    os.mkfifo(toml)
    assert problem(toml).kind is ProblemKind.UNREADABLE
    assert policy_in_force(OPEN, problem(toml)).closed


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_no_content_raises(content: bytes) -> None:
    read = _parse(content, Path("profile.toml"))
    change = reconcile_policy(Policy(rules=make_policy((), version=1).rules), read)
    assert isinstance(change, (Accept, KeepCurrent))
