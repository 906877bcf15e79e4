"""``NAME = value`` in a crontab, as both crons read it; nothing in a value is expanded.

Authority: ``load_env`` of Debian's cron and of cronie, a state machine that is here two patterns.
Blanks around name and value fall away, quotes around either keep them; a quoted value ends at its
closing quote, and whatever stands behind it makes the line no variable. Debian's cron then cuts
trailing blanks and a second pair of quotes off all the same.
"""

from __future__ import annotations

import re

from tenure.adapters.crontab.dialect import Dialect
from tenure.domain.errors import InvalidInput

_BLANKS = " \t\v\f\r"
_NAME = re.compile(r"""(?:"([^"=]*)"|'([^'=]*)'|([^=\s"'][^=\s]*|))\s*=\s*""", re.ASCII)
_MEANT = re.compile(r"""(?:[A-Za-z_]\w*|"[^"]*"|'[^']*')?\s*=""", re.ASCII)


def read_variable(text: str, dialect: Dialect) -> tuple[str, str] | None:
    """Name and value; None if the line is none and was not meant as one.

    Raises InvalidInput for one that cron does not read as a variable, nor as anything else.
    """
    match = _NAME.match(text)
    value = None if match is None else _value(text[match.end() :], dialect)
    if match is not None and value is not None:
        name = match[1] or match[2] or match[3]
        if not name:
            raise InvalidInput("a variable without a name", remedy="NAME=value")
        return name, value
    if _MEANT.match(text):
        raise _not_read(text)
    return None


def _value(rest: str, dialect: Dialect) -> str | None:
    """None: cron takes the line for no variable."""
    rest = rest.rstrip(_BLANKS)
    quote = rest[:1]
    if quote not in ("'", '"'):
        return rest or None
    inner, closing, behind = rest[1:].partition(quote)
    if not closing or behind:
        return None
    if dialect is Dialect.DEBIAN:
        inner = inner.rstrip(_BLANKS)
        if len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "'\"":
            inner = inner[1:-1]
    return inner


def _not_read(text: str) -> InvalidInput:
    name = text.partition("=")[0].strip()
    if not text.partition("=")[2].strip():
        return InvalidInput(
            "cron does not read a variable with an empty value", remedy=f'write {name}=""'
        )
    return InvalidInput(
        "the closing quote is not at the end of the line, so cron does not read it as a variable",
        remedy=f"quote all of the value, or nothing of it: {name}='...'",
    )
