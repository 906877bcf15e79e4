"""Names in every script, as people type them; what is hidden or turns text is refused."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.names import escape_hidden, is_shown, look_of
from testkit.factories import make_definition

GOOD = [
    "backup", "täglich", "cafe\u0301", "Привет", "日本語", "한국어", "ไทย", "عربي", "עברית",
    "क\u094d\u200dष", "می\u200cخواهم", "❤\ufe0f", "👩\u200d👩\u200d👧", "🧑🏽\u200d🚀", "🇩🇪",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001fae9",
    "a b", "100 %", "#1",
]  # fmt: skip
HIDDEN = [
    "a\x00b", "a\x1b[31m", "a\nb", "a\x7f", "a\x85b", "a\u00a0b", "a\u200bb", "\u200dx",
    "a\u200db", "a\u202eb", "a\u202ab", "a\u2066b", "a\u2069b", "a\u200eb", "a\u200fb",
    "a\u061cb", "a\u2028b", "a\ufeffb", "a\ue000b", "a\U000e0061", "a\udcff",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_it_is_a_name_and_is_kept_as_typed(name: str) -> None:
    assert make_definition(name).name == name
    assert escape_hidden(name) == name


@pytest.mark.parametrize("name", HIDDEN, ids=ascii)
def test_what_is_hidden_or_turns_text_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        make_definition(name)
    assert raised.value.field == "name"
    assert is_shown(raised.value.remedy), "the refusal shows it escaped"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("backup", "Backup"), ("straße", "STRASSE"), ("café", "cafe\u0301"), ("fi", "ﬁ"),
        ("hello", "ｈｅｌｌｏ"), ("❤", "❤\ufe0f"), ("Σας", "σαΣ"), ("क्ष", "क्\u200dष"), ("①", "1"),
    ],
)  # fmt: skip
def test_these_look_alike(one: str, other: str) -> None:
    assert look_of(one) == look_of(other)


@given(st.text())
def test_the_look_is_that_of_every_normal_form(name: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert look_of(unicodedata.normalize(form, name)) == look_of(name)
    assert look_of(look_of(name)) == look_of(name)


@given(st.text())
def test_what_is_escaped_is_shown(text: str) -> None:
    assert is_shown(escape_hidden(text))
