"""The text of a file that a person wrote, as the editors of every system save it.

UTF-8, with or without a byte order mark, and UTF-16 with one; lines that end with LF, CRLF or a
lone CR. Where TOML does not parse, the error names the line, and what looks right there but is
not: a curly quote, a no-break space.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

from tenure.domain.errors import InvalidInput

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_CORRECT = "correct it in the file"
_CURLY = {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'"}
_ODD_SPACES = {
    "\u00a0": "a no-break space",
    "\u2007": "a figure space",
    "\u202f": "a narrow no-break space",
    "\u3000": "an ideographic space",
    "\u200b": "a zero-width space",
    "\ufeff": "a byte order mark",
}


def decode_file(content: bytes, *, errors: str = "strict") -> str:
    """The text of a file, without its byte order mark; lines end as they are.

    ``errors`` is what to do with bytes that are not UTF-8, as for :meth:`bytes.decode`. Raises
    :class:`InvalidInput` that names the line.
    """
    if content in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise InvalidInput(
            "line 1: a byte order mark and nothing behind it",
            remedy="save it again as UTF-8",
            line=1,
        )
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding, errors if encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = encoding.upper().removesuffix("-SIG")
        raise InvalidInput(
            f"line {line}: it holds bytes that are not {name}",
            remedy="save it as UTF-8",
            line=line,
        ) from None


def end_lines(text: str) -> str:
    """``text`` with each of its lines ended by LF alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(content: bytes | str) -> tuple[dict[str, Any], str]:
    """The document of a TOML file, and its text for :func:`line_of`.

    Raises :class:`InvalidInput`; its text begins with the line, which ``facts["line"]`` has too.
    """
    text = end_lines(content if isinstance(content, str) else decode_file(content))
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        text_of_error = str(error)
        found = _AT.search(text_of_error)
        line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
        what = text_of_error[: found.start()] if found else text_of_error
        column = f", column {found[2]}" if found and found[2] else ""
        raise InvalidInput(
            f"line {line}{column}: not TOML: {what[:1].lower()}{what[1:]}",
            remedy=_remedy(text, line),
            line=line,
        ) from None
    except (ValueError, RecursionError) as error:  # a number of too many digits; too many brackets
        raise InvalidInput(f"not TOML: {error}", remedy=_CORRECT) from None


def line_of(text: str, field: str | None) -> int | None:
    """The line of a TOML text that sets ``field``, as errors name fields: ``owner[2].user``.

    Where the field itself is missing: the line of its table. None if neither is found.
    """
    if field is None:
        return None
    lines = _lines_of_fields(text)
    while field and field not in lines:
        field = re.sub(r"(^|\.)[^.\[\]]*$|\[\d+\]$", "", field)
    return lines.get(field)


_HEADER = re.compile(r"\s*\[(\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\"' -]+?)\s*=")


def _lines_of_fields(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table, in_long_string = "", False
    for number, row in enumerate(text.split("\n"), 1):
        inside = in_long_string
        in_long_string ^= (row.count('"""') + row.count("'''")) % 2 == 1
        if inside:
            continue
        if header := _HEADER.match(row):
            name = header[2].replace('"', "").replace("'", "")
            if header[1]:
                lines.setdefault(name, number)
                counts[name] = counts.get(name, 0) + 1
                table = f"{name}[{counts[name]}]"
            else:
                first, dot, rest = name.partition(".")
                table = f"{first}[{counts[first]}]{dot}{rest}" if first in counts else name
            lines.setdefault(table, number)
        elif key := _KEY.match(row):
            name = re.sub(r"[\"' ]", "", key[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def odd_space(row: str) -> str:
    """What to do about a character of a line that looks like a blank and is none; "" for none."""
    for space, name in _ODD_SPACES.items():
        if space in row:
            return f"it holds {name} (U+{ord(space):04X}): write an ordinary blank there"
    return ""


def _remedy(text: str, line: int) -> str:
    rows = text.split("\n")
    row = rows[line - 1] if line <= len(rows) else ""
    for curly, straight in _CURLY.items():
        if curly in row:
            return f"write straight quotes there: {straight} and not {curly}"
    if odd := odd_space(row):
        return odd
    if "\0" in row:
        return "it holds a NUL character: save it as UTF-8"
    return _CORRECT
