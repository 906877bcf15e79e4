"""Reading rules out of parsed TOML, writing them canonically, and the warnings about them."""

from __future__ import annotations

import dataclasses
import tomllib
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_making import policy

from tenure.domain.errors import InvalidInput
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import CONDITIONS, Rule
from tenure.domain.policy.text import make_policy, read_rules, write_rules
from tenure.domain.policy.warnings import policy_warnings

EVERYTHING = """
[[owner]]
service = "systemd:shop.service"
app = "com.example.shop"
executable = "/opt/shop/bin/shop"
ancestor = "~/bin/start"
holds = "~/.shop/shop.lock"
user = "me"
group = "shop"
cgroup = "/system.slice/shop.service"
init = false
signature = "anchor apple generic"
host = "lap"
role = 'quoted "role" \\ ü'
[[owner]]
service = { name = "launchd:odd" }
authoritative = true
after = "1h30m"
[[owner]]
user = 0
group = 5
refuse = true
"""


def test_reads_every_key() -> None:
    first, second, third = policy(EVERYTHING).rules
    assert set(first.conditions()) == set(CONDITIONS)
    assert (first.service, first.manager) == ("shop.service", Manager.SYSTEMD_SYSTEM)
    assert first.authoritative
    assert (second.service, second.manager) == ("launchd:odd", None)
    assert second.authoritative
    assert second.after == timedelta(minutes=90)
    assert third.refuse
    assert third.group_id == 5
    assert (first.rank, third.rank, third.number) == (0, 2, 3)


def test_writing_then_reading_gives_the_same_rules_and_hash() -> None:
    once = policy(EVERYTHING)
    again = make_policy(read_rules(tomllib.loads(once.text)), version=4)
    assert again == dataclasses.replace(once, version=4)
    assert write_rules(again.rules) == once.text
    resolved = [dataclasses.replace(r, executable_paths=("/x",)) for r in once.rules]
    assert make_policy(resolved, version=1).hash == once.hash


def test_the_first_rule_is_authoritative_unless_said_otherwise() -> None:
    def standing(text: str) -> list[bool]:
        return [r.authoritative for r in policy(text).rules]

    me = '[[owner]]\nuser = "me"\n'
    assert standing(me * 2) == [True, False]
    assert standing(me + "authoritative = false\n" + me) == [False, False]
    assert standing(me + me + "authoritative = true\n") == [True, True]
    assert standing(me + "refuse = true\n" + me) == [False, False]
    assert standing(me + "refuse = true\nauthoritative = false\n") == [False]


def no_rule(text: str) -> dict[str, object]:
    return tomllib.loads("[[owner]]\nuser = 1\n[[owner]]\n" + text)


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        (no_rule('servce = "x"'), "owner[2].servce", 'did you mean "service"'),
        (no_rule("qqqqqqq = 1\nuser = 1"), "owner[2].qqqqqqq", "known keys: "),
        (no_rule(""), "owner[2]", "asks for nothing"),
        (no_rule("refuse = true"), "owner[2]", "asks for nothing"),
        (no_rule("user = 1\nrefuse = 1"), "owner[2].refuse", "true or false"),
        (no_rule("user = 1\nrefuse = true\nauthoritative = true"), "owner[2].authoritative", ""),
        (no_rule('user = 1\nrefuse = true\nafter = "0s"'), "owner[2].after", "refuses"),
        (no_rule("user = 1\nafter = 5"), "owner[2].after", "unit"),
        (no_rule('user = 1\nafter = "-5m"'), "owner[2].after", "negative"),
        (no_rule("service = 5"), "owner[2].service", "text expected"),
        (no_rule('service = ""'), "owner[2].service", "empty"),
        (no_rule('service = "launchd:"'), "owner[2].service", "empty"),
        (no_rule('service = "gui/501/x"'), "owner[2].service", "not a path"),
        (no_rule('service = {manager = "launchd"}'), "owner[2].service.name", "name"),
        (no_rule('service = {name = "a", manager = "upstart"}'), "owner[2].service.manager", ""),
        (no_rule('service = {name = "a", mangler = "x"}'), "owner[2].service.mangler", "manager"),
        (no_rule('executable = "python3"'), "owner[2].executable", "full path"),
        (no_rule('executable = "/"'), "owner[2].executable", "every program"),
        (no_rule('ancestor = "~/"'), "owner[2].ancestor", "every program"),
        (no_rule('holds = "gateway.lock"'), "owner[2].holds", "full path"),
        (no_rule('holds = "./gateway.lock"'), "owner[2].holds", "full path"),
        (no_rule('holds = "~/"'), "owner[2].holds", "names no file"),
        (no_rule('holds = ["/a"]'), "owner[2].holds", "text expected"),
        (no_rule('hold = "/a"'), "owner[2].hold", 'did you mean "holds"'),
        (no_rule("executable = 'C:\\'"), "owner[2].executable", "every program"),
        (no_rule('executable = "/a\\u0007"'), "owner[2].executable", "control"),
        (no_rule(f'host = "{"x" * 5000}"'), "owner[2].host", "longer"),
        (no_rule('cgroup = "gw.service"'), "owner[2].cgroup", "root of the hierarchy"),
        (no_rule('cgroup = "/a/../b"'), "owner[2].cgroup", "root of the hierarchy"),
        (no_rule('cgroup = "/"'), "owner[2].cgroup", "every process"),
        (no_rule('user = "1000"'), "owner[2].user", "without quotes"),
        (no_rule("user = -1"), "owner[2].user", "no such id"),
        (no_rule("group = true"), "owner[2].group", "text expected"),
        (no_rule("init = 1979-05-27"), "owner[2].init", "a date"),
        (no_rule('role = "gateway"'), "owner[2].role", "own word"),
        (no_rule('role = "g"\nuser = "me"\nauthoritative = true'), "owner[2].role", "own word"),
        (no_rule('role = "g"\ninit = false'), "owner[2].role", "own word"),
        ({"owner": {}}, "owner", "[[owner]]"),
        ({"owner": [1]}, "owner[1]", "a table expected, not an integer"),
        ({"owner": [{"user": 1}] * 65}, "owner", "more than 64"),
    ],
)
def test_refuses(document: dict[str, object], field: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_rules(document)
    assert caught.value.field == field
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'role = "g"\nauthoritative = false',
        'role = "g"\nrefuse = true\nuser = "me"\nauthoritative = false',
        'role = "g"\ninit = true',
        'role = "g"\nservice = "x"',
        'role = "g"\nholds = "/x.lock"',
        "executable = 'C:\\Apps\\Hermes'",
    ],
)
def test_accepts(line: str) -> None:
    assert len(read_rules(no_rule(line))) == 2


def test_no_rules() -> None:
    assert read_rules({}) == read_rules({"owner": []}) == ()
    assert policy_warnings(Policy()) == []


def codes(text: str) -> list[str]:
    return [w.code for w in policy_warnings(policy(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[owner]]\nservice = "x"\n', []),
        ('[[owner]]\nuser = "me"\n', ["unattested_authority"]),
        ('[[owner]]\nservice = "systemd-user:x"\n', ["unattested_authority"]),
        ('[[owner]]\nservice = "systemd-user:x"\nexecutable = "/x"\n', []),
        ('[[owner]]\nholds = "/x.lock"\n', ["unattested_authority"]),
        ('[[owner]]\nholds = "/x.lock"\nuser = "me"\nrole = "g"\n', ["unattested_authority"]),
        (
            '[[owner]]\nholds = "/x.lock"\nservice = "systemd-user:x"\n',
            ["unattested_authority"],
        ),
        ('[[owner]]\nholds = "/x.lock"\nservice = "launchd:x"\n', []),
        ('[[owner]]\nservice = "x"\n[[owner]]\nholds = "/x.lock"\nafter = "5m"\n', []),
        (
            '[[owner]]\nholds = "/x"\n[[owner]]\nholds = "/x"\nuser = 1\n',
            ["unattested_authority", "rule_never_reached"],
        ),
        ('[[owner]]\nservice = "x"\nauthoritative = false\n', ["no_authoritative_rule"]),
        ('[[owner]]\nservice = "x"\ngroup = "g"\n', ["group_unknown"]),
        ('[[owner]]\nancestor = "/sbin/launchd"\n', ["rule_matches_nothing"]),
        (
            '[[owner]]\nservice = "x"\n[[owner]]\nservice = "x"\nuser = 1\n',
            ["rule_never_reached"],
        ),
        ('[[owner]]\nservice = "x"\n[[owner]]\nservice = "launchd:x"\n', []),
        # Unknown evidence reaches the rule that refuses, so it is not covered by one that admits.
        ('[[owner]]\nservice = "x"\n[[owner]]\nservice = "x"\nrefuse = true\n', []),
        (
            (
                '[[owner]]\nservice = "x"\nrefuse = true\n'
                '[[owner]]\nservice = "x"\nuser = 1\nauthoritative = true\n'
            ),
            ["rule_never_reached"],
        ),
    ],
)
def test_warnings(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_refusing_first_rule_is_told_in_the_warning() -> None:
    text = '[[owner]]\nuser = 0\nrefuse = true\n[[owner]]\nservice = "x"\n'
    (warning,) = policy_warnings(policy(text))
    assert "the first rule refuses" in warning.text
    assert "authoritative = true" in warning.remedy


def test_a_lock_alone_is_warned_of_with_what_to_add() -> None:
    (warning,) = policy_warnings(policy('[[owner]]\nholds = "/x.lock"\n'))
    assert "could take the lock on /x.lock while no other process holds it" in warning.text
    assert "name the service" in warning.remedy


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), 0),
        (("/opt/x",), 0),
        (("/bin/gw", "/usr/bin/gw"), 0),
        (("/var/x", "/private/var/x"), 0),
        (("/home/a/bin/gateway", "/opt/gw/gateway-3"), 1),
    ],
)
def test_an_executable_that_is_really_another_is_warned_of(
    paths: tuple[str, ...], expected: int
) -> None:
    rule = Rule(rank=0, authoritative=True, executable="/e", executable_paths=paths)
    found = policy_warnings(Policy(rules=(rule,)))
    assert [w.code for w in found] == ["executable_resolves_elsewhere"] * expected
    assert all("virtual environment" in w.text for w in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('executable = "/usr/bin/python3.11"', ["every script that it runs"]),
        ('ancestor = "/usr/bin/dash"', ["all that any of its scripts starts"]),
        ('executable = "/opt/node"\nancestor = "/bin/sh"\nuser = "me"', ["every", "all"]),
        # Other facts tell one script from another.
        ('executable = "/opt/node"\nservice = "systemd-user:x"', []),
        ('executable = "/opt/node"\nancestor = "/opt/gateway"', []),
        ('executable = "/opt/node"\nholds = "/x.lock"', []),
        ('executable = "/usr/local/bin/python3.12"\ninit = true', []),
        ('executable = "/opt/gateway"', []),
    ],
)
def test_a_rule_that_names_only_an_interpreter(text: str, expected: list[str]) -> None:
    warnings = policy_warnings(policy(f"[[owner]]\n{text}\n"))
    assert [w.code for w in warnings] == ["rule_names_interpreter"] * len(expected)
    for warning, what in zip(warnings, expected, strict=True):
        assert f"is an interpreter: {what}" in warning.text
        assert "name the service, launcher or lock" in warning.remedy


def test_an_interpreter_may_be_refused_or_a_fallback() -> None:
    fallback = 'executable = "/usr/bin/python3.11"\nauthoritative = false\n'
    assert codes(f'[[owner]]\nservice = "x"\n[[owner]]\n{fallback}') == []
    assert (
        codes(
            '[[owner]]\nexecutable = "/bin/sh"\nrefuse = true\n[[owner]]\nservice = "x"\n'
            "authoritative = true\n"
        )
        == []
    )


# -- fuzz ------------------------------------------------------------------------------------

scalars: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["/x", "~/x", "me", "5m", "launchd:x", "/", "..", "C:\\x", "\x00"]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.dates().map(lambda d: date(d.year, d.month, d.day)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.one_of(
    st.sampled_from([*CONDITIONS, "refuse", "authoritative", "after"]), st.text(max_size=8)
)
tables = st.dictionaries(keys, values, max_size=5)


@given(st.one_of(st.lists(st.one_of(tables, values), max_size=4), values))
def test_no_document_raises_anything_but_invalid_input(entries: object) -> None:
    try:
        rules = read_rules({"owner": entries})
    except InvalidInput as e:
        field = e.field or ""
    else:
        field = "owner"
        assert read_rules(tomllib.loads(write_rules(rules))) == rules
        policy_warnings(Policy(rules=rules))
        assert all(rule.describe() for rule in rules)
    assert field.startswith("owner")
