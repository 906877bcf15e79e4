"""The settings of a profile: defaults, every key, and every way to get one wrong."""

from __future__ import annotations

import tomllib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.settings import Hung, Retention, Settings, Slots, parse_size, read_settings

FULL = """
timezone = "Europe/Berlin"
hung = "replace"
approve_protected = true
grace = "2m"
catch_up_rate = 5
[slots]
commands = 2
callables = 0
[retention]
runs = 10
days = 7
log_size = "64KiB"
events = 100
[env]
PATH = "/opt/bin:/usr/bin"
_EMPTY = ""
[[owner]]
user = "me"
"""


def test_an_empty_file_is_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert Settings().grace == timedelta(minutes=1)
    assert Settings().hung is None


def test_every_key() -> None:
    settings = read_settings(tomllib.loads(FULL))
    assert settings == Settings(
        timezone="Europe/Berlin",
        hung=Hung.REPLACE,
        approve_protected=True,
        grace=timedelta(minutes=2),
        catch_up_rate=5,
        slots=Slots(commands=2, callables=0),
        retention=Retention(runs=10, days=7, log_size=65536, events=100),
        env=(("PATH", "/opt/bin:/usr/bin"), ("_EMPTY", "")),
    )
    assert settings.environment() == {"PATH": "/opt/bin:/usr/bin", "_EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("timezon = 1", "timezon", 'did you mean "timezone"'),
        ('timezone = "Mars/Base"', "timezone", ""),
        ('timezone = "../../etc/passwd"', "timezone", ""),
        ('timezone = "America"', "timezone", ""),
        ("timezone = 2", "timezone", "text expected, not an integer"),
        ('hung = "kill"', "hung", '"warn", "replace"'),
        ("hung = []", "hung", "must be one of"),
        ('approve_protected = "yes"', "approve_protected", "true or false"),
        ("grace = 60", "grace", "unit"),
        ("catch_up_rate = 0", "catch_up_rate", "from 1 to"),
        ("catch_up_rate = 1.5", "catch_up_rate", "a whole number expected, not a number"),
        ("slots = 4", "slots", "a table expected"),
        ("[slots]\ncommands = true", "slots.commands", "whole number"),
        ("[slots]\ncommand = 4", "slots.command", 'did you mean "commands"'),
        ("[retention]\nlog_size = 1", "retention.log_size", "from 1024"),
        ('[retention]\nlog_size = "1 parsec"', "retention.log_size", '"1 parsec"'),
        ("[retention]\nlog_size = 1.5", "retention.log_size", "not a number"),
        ("[retention]\nruns = 0", "retention.runs", "from 1"),
        ("[retention]\nforever = true", "retention.forever", ""),
        ("[env]\nPORT = 80", "env.PORT", "in quotes"),
        ('[env]\n"A=B" = "x"', "env.A=B", "not a name"),
        ('[env]\nA = "\\u0000"', "env.A", "NUL"),
    ],
)
def test_refuses(text: str, field: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_settings(tomllib.loads(text))
    assert caught.value.field == field
    assert said in str(caught.value)


def test_sizes() -> None:
    assert parse_size("10MB", "f", least=0, most=10**9) == 10_000_000
    assert parse_size("1 GiB", "f", least=0, most=2**40) == 2**30
    assert parse_size(5, "f", least=0, most=10) == 5
    with pytest.raises(InvalidInput, match="a size expected, not a boolean"):
        parse_size(True, "f", least=0, most=10)


NAMES = ["timezone", "hung", "approve_protected", "grace", "catch_up_rate"]
NAMES += ["slots", "retention", "env", "owner", "x"]
names = st.sampled_from(NAMES)
scalars = st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.sampled_from(["runs", "log_size", "commands"])), inner
        ),
    ),
    max_leaves=5,
)


@given(st.dictionaries(names, values, max_size=4))
def test_no_document_raises_anything_but_invalid_input(document: dict[str, object]) -> None:
    try:
        read_settings(document)
        named = True
    except InvalidInput as e:
        named = bool(e.field)
    # A key may be the empty text; the error then names that.
    assert named or "" in document
