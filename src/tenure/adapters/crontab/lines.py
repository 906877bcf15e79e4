"""What a crontab says: its variables and its lines, and which of them are wrong.

Authority: Debian's cron (3.0pl1) and cronie (1.5), as their sources read a file; where they part,
the :class:`Dialect` decides. Stricter than both where they accept what cannot be meant: a
range that runs backwards, a command that is missing, characters that are skipped in silence.

Pure. Any text is taken: each line is a comment, a variable, a :class:`Line` or an
:class:`~tenure.adapters.importer.InvalidLine`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenure.adapters.crontab.times import Dialect, check_times
from tenure.adapters.importer import InvalidLine
from tenure.domain.errors import InvalidInput
from tenure.domain.file_text import odd_space

REBOOT = "@reboot"
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One job of a crontab."""

    number: int
    """Counted from 1."""
    when: str
    """Five fields, or a word with ``@``."""
    command: str
    """As written, with its percent signs."""
    user: str | None = None
    """Of a system crontab."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What the lines above it set."""
    windows: bool = False
    """It ends in a carriage return, which is not in ``command``."""
    unended: bool = False
    """The file ends behind it, without a newline."""

    @property
    def text(self) -> str:
        user = () if self.user is None else (self.user,)
        return " ".join((self.when, *user, self.command))

    @property
    def fields(self) -> tuple[str, ...]:
        """The five fields; none for ``@reboot``."""
        return tuple(MACROS.get(self.when, "" if self.when == REBOOT else self.when).split())


@dataclass(frozen=True, slots=True)
class Crontab:
    """What was read, in the order of its lines."""

    lines: tuple[Line, ...] = ()
    wrong: tuple[InvalidLine, ...] = ()


def read_crontab(text: str, *, system: bool = False, dialect: Dialect = Dialect.DEBIAN) -> Crontab:
    """Read a crontab; ``system``: with a column for the user, as /etc/crontab has.

    Bytes that were not UTF-8 are to be lone surrogates in ``text``. Raises nothing.
    """
    lines: list[Line] = []
    wrong: list[InvalidLine] = []
    env: dict[str, str] = {}
    rows = text.removeprefix("\ufeff").split("\n")
    for number, row in enumerate(rows, 1):
        plain = row.rstrip("\r").lstrip(" \t")
        if not plain or plain.startswith("#"):
            continue
        try:
            _check_characters(plain)
            variable = read_variable(plain, dialect)
            if variable is not None:
                env = {**env, variable[0]: variable[1]}
                continue
            when, user, command = _split(plain, system, dialect)
        except InvalidInput as error:
            remedy = odd_space(plain) or error.remedy
            wrong.append(InvalidLine(number=number, text=plain, why=error.text, remedy=remedy))
            continue
        lines.append(
            Line(
                number=number,
                when=when,
                user=user,
                command=command,
                env=env,
                windows=row.endswith("\r"),
                unended=number == len(rows),
            )
        )
    return Crontab(tuple(lines), tuple(wrong))


def _check_characters(text: str) -> None:
    if "\0" in text:
        raise InvalidInput("it contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "it contains bytes that are not UTF-8", remedy="write it in UTF-8"
        ) from None


def _split(text: str, system: bool, dialect: Dialect) -> tuple[str, str | None, str]:
    """When, the user, the command. Raises InvalidInput."""
    if text.startswith("-") and dialect is Dialect.CRONIE:
        # Only says that the start of the job is not to be logged.
        text = text[1:]
    count = 1 if text.startswith("@") else 5
    words, rest = _words(text, count)
    when = " ".join(words)
    if count == 1:
        _check_macro(when)
    elif len(words) < count:
        raise InvalidInput(
            f"expected five fields and a command, found {len(words)} words",
            remedy="minute hour day-of-month month day-of-week command",
        )
    else:
        check_times(words, dialect)
    user = None
    if system:
        users, rest = _words(rest, 1)
        if not users:
            raise InvalidInput("a system crontab names a user before the command")
        user = users[0]
    if user is None and rest.startswith("*"):
        raise InvalidInput(
            "a star is not a command; cron has no sixth field", remedy="leave the seconds out"
        )
    if not rest.strip():
        raise InvalidInput("the line has no command", remedy=_no_command(user))
    return when, user, rest


def _words(text: str, count: int) -> tuple[list[str], str]:
    """At most ``count`` words, and the rest after the blanks behind them."""
    words: list[str] = []
    rest = text.lstrip(" \t")
    while rest and len(words) < count:
        end = min((i for i in (rest.find(" "), rest.find("\t")) if i >= 0), default=len(rest))
        words.append(rest[:end])
        rest = rest[end:].lstrip(" \t")
    return words, rest


def _check_macro(word: str) -> None:
    if word not in MACROS and word != REBOOT:
        known = f"{REBOOT} {' '.join(MACROS)}"
        lower = word.lower()
        remedy = f"write {lower}" if lower in MACROS else f"cron knows {known}"
        raise InvalidInput(f"{word[:40]!r} is not known", remedy=remedy)


def _no_command(user: str | None) -> str:
    if user is None:
        return ""
    return f"if {user!r} is the command, this is not a system crontab: omit --system"


# -- variables ------------------------------------------------------------------------------------
# Authority: ``load_env`` of Debian's cron and of cronie, a state machine that is here two patterns.
# Blanks around name and value fall away, quotes around either keep them; a quoted value ends at its
# closing quote, and with anything behind that the line is not a variable. Debian's cron then still
# cuts trailing blanks and a second pair of quotes off. Nothing in a value is expanded.
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
