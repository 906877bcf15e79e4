"""What editors write is read, and an error in TOML names its line and what looks right there."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.file_text import decode_file, end_lines, line_of, parse_toml

TEXT = '[[owner]]\nservice = "gw"\n\n[[owner]]\nuser = "me"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_every_line_end_is_read(encoding: str, end: str) -> None:
    document, text = parse_toml(TEXT.replace("\n", end).encode(encoding))
    assert document == {"owner": [{"service": "gw"}, {"user": "me"}]}
    assert text == TEXT


def test_big_endian_utf_16_is_read() -> None:
    content = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert parse_toml(content)[1] == TEXT


@pytest.mark.parametrize(
    ("content", "line", "remedy"),
    [
        (b"[[owner\n", 1, "correct it"),
        ("a = 1\nservice = “gw”\n".encode(), 2, 'straight quotes there: " and not “'),
        ("a = 1\nb =\u00a02\n".encode(), 2, "no-break space (U+00A0)"),
        ("a = 1\r\n\r\nb = ‘x’\r\n".encode("utf-16"), 3, "straight quotes"),
        (b"a = 1\nb = '\xff'\n", 2, "UTF-8"),
        (b"a\0 = 1\n", 1, "UTF-8"),
        (TEXT.encode("utf-16-le"), 1, "UTF-8"),
        (b"\xff\xfe", 1, "UTF-8"),
        (b"a = 1\nb = [1,\n", 2, "correct it"),
    ],
)
def test_an_error_names_the_line_and_the_remedy(content: bytes, line: int, remedy: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_toml(content)
    assert raised.value.facts["line"] == line
    assert raised.value.text.startswith(f"line {line}")
    assert remedy in raised.value.remedy


def test_the_line_of_a_field() -> None:
    text = (
        'hung = "warn"\n[slots]\ncommands = 1\n[[owner]]\nuser = "me"\n[[owner]]\n'
        'note = """\n[[owner]]\nuser = 1\n"""\n"user" = 2\n[owner.service]\nnam = "x"\n'
    )
    assert line_of(text, "hung") == 1
    assert line_of(text, "slots.commands") == 3
    assert line_of(text, "slots.missing") == 2
    assert line_of(text, "owner[1].user") == 5
    assert line_of(text, "owner[2].user") == 11
    assert line_of(text, "owner[2].service.nam") == 13
    assert line_of("owner = [{ usr = 1 }]\n", "owner[1].usr") == 1
    assert line_of(text, "nothing") is None
    assert line_of(text, None) is None


@given(st.binary())
def test_any_content_is_read_or_refused(content: bytes) -> None:
    text = None
    with contextlib.suppress(InvalidInput):
        text = parse_toml(content)[1]
    if text is not None:
        assert "\r" not in text
        assert end_lines(decode_file(content)) == text
