"""Which lines of a YAML text begin a key or an item, and which go on with an earlier one.

Not a parser: it follows indentation, quotes, brackets and block scalars, no more, and gives up
(:class:`Unclear`, with the line) where it cannot be sure.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass

PATIENCE = 30.0
"""Seconds that Hermes' Python may take to read two texts."""
_OTHER_BREAKS = re.compile("\r(?!\n)|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_PROPERTY = re.compile(r"[&!][^\s\[\]{},]*(?:\s+|$)")
_KEY = re.compile(r"(?:(?! #).)*?(?=:(?:[ \t]|$))")
_SPECIAL = ("", *"&*!|>'\"%@`{}[],")


class Unclear(Exception):
    """This text is not edited. ``line`` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line
        self.text = text


@dataclass
class Line:
    """A line that begins something. ``number`` counts from 0, as columns do."""

    number: int
    indent: int
    dashes: tuple[int, ...]
    """Columns of the ``-`` before it."""
    key: str | None
    """None for an item that is no mapping."""
    value: str
    """What follows the key on this line, comment included; anchors and tags are left out."""
    value_at: int


@dataclass
class Text:
    """A text in lines, which keep their ends."""

    lines: list[str]
    begins: list[Line]
    open_scalar: bool
    """It ends inside a block scalar, whose value a further line break would change."""


def take_apart(text: str) -> Text:
    """Raises :class:`Unclear`."""
    strange = _OTHER_BREAKS.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        raise Unclear(line, "a line break that is neither LF nor CR LF")
    pieces = text.split("\n")
    lines = [piece + "\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
    reader = _Reader()
    begins = [begun for n, line in enumerate(lines) if (begun := reader.line(n, line))]
    if reader.quote or reader.depth:
        raise Unclear(len(lines), "a quote or bracket is still open at the end")
    return Text(lines, begins, reader.block is not None)


def is_comment(text: str) -> bool:
    """Whether there is nothing in it but blanks and a comment."""
    return not text.strip() or text.lstrip(" \t").startswith("#")


def without_comment(value: str) -> str:
    """A line's value without the comment behind it; for values that are not quoted."""
    return "" if value.startswith("#") else value.split(" #")[0].strip()


def unquote(text: str) -> str | None:
    """The value of a scalar on one line; None where that needs a real parser."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return None if "\\" in inner or text[0] in inner else inner
    return None if text[:1] in _SPECIAL else text


def quoted_end(text: str, at: int, quote: str) -> int:
    """The column behind the closing quote, looked for from ``at``; -1 if it is not here."""
    while at < len(text):
        if quote == '"' and text[at] == "\\":
            at += 2
            continue
        if text[at] == quote:
            if quote == "'" and text[at + 1 : at + 2] == "'":
                at += 2
                continue
            return at + 1
        at += 1
    return -1


class _Reader:
    """Goes through the lines, knowing what is still open from the ones before."""

    def __init__(self) -> None:
        self.quote = ""
        self.depth = 0
        self.block: int | None = None
        """Indent of what holds an open block scalar; its lines are indented further."""
        self.plain: int | None = None
        """The same for a plain scalar, which further lines may continue."""

    def line(self, number: int, text: str) -> Line | None:
        """What the line begins, or None if it is blank or goes on with something."""
        body = text.rstrip("\r\n")
        indent = len(body) - len(body.lstrip(" "))
        if self.quote or self.depth:
            self._flow(body, 0)
            return None
        if self.block is not None:
            if not body.strip() or indent > self.block:
                return None
            self.block = None
        if is_comment(body):
            if body.strip():
                self.plain = None
            return None
        if self.plain is not None and indent > self.plain:
            return None
        self.plain = None
        if body[indent] == "\t":
            raise Unclear(number + 1, "a tab where the indentation is")
        return self._begin(number, body, indent)

    def _begin(self, number: int, body: str, indent: int) -> Line:
        at, dashes = indent, []
        while body[at : at + 2] in ("- ", "-", "? ", "?"):
            dashes.append(at)
            rest = body[at + 1 :]
            at += 1 + len(rest) - len(rest.lstrip(" "))
        holder = dashes[-1] if dashes else indent
        key, value_at = self._key(body, at)
        if key is not None:
            holder = at
        while found := _PROPERTY.match(body, value_at):
            value_at = found.end()
        self._value(body, value_at, holder)
        return Line(number, indent, tuple(dashes), key, body[value_at:], value_at)

    def _key(self, body: str, at: int) -> tuple[str | None, int]:
        """The key that begins at ``at``, and where its value does; (None, at) without one."""
        first = body[at : at + 1]
        if first and first in "'\"":
            end = quoted_end(body, at + 1, first)
            after = body[end:].lstrip(" ") if end > 0 else ""
            if not after.startswith(":") or after[1:2].strip():
                return None, at
            colon = end + len(body[end:]) - len(after)
            key = body[at + 1 : end - 1]
        elif first in ("[", "{", "|", ">", "#", ""):
            return None, at
        else:
            found = _KEY.match(body, at)
            if not found:
                return None, at
            key, colon = found.group().rstrip(), found.end()
        rest = body[colon + 1 :]
        return key, colon + 1 + len(rest) - len(rest.lstrip(" \t"))

    def _value(self, body: str, at: int, holder: int) -> None:
        first = body[at : at + 1]
        if first in ("", "#", "*"):
            return
        if first in ("|", ">"):
            self.block = holder
        elif first in ("'", '"'):
            if quoted_end(body, at + 1, first) < 0:
                self.quote = first
        elif first in ("[", "{"):
            self._flow(body, at)
        elif " #" not in body[at:]:
            self.plain = holder

    def _flow(self, body: str, at: int) -> None:
        """Follow quotes and brackets to the end of the line. A quote opens only a new token."""
        fresh = True
        while at < len(body):
            char = body[at]
            if self.quote:
                end = quoted_end(body, at, self.quote)
                if end < 0:
                    return
                self.quote, at, fresh = "", end, body[end : end + 1] == ":"
                continue
            if char == "#" and (at == 0 or body[at - 1] in " \t"):
                return
            if fresh and char in "'\"":
                self.quote = char
            elif char in "[{":
                self.depth += 1
            elif char in "]}":
                self.depth = max(0, self.depth - 1)
                if not self.depth:
                    return
            ends_key = char == ":" and not body[at + 1 : at + 2].strip()
            fresh = char in "[{," or ends_key or (fresh and char in " \t:")
            at += 1


# -- a real parser ---------------------------------------------------------------------------------
_QUESTION = """
import json, sys, yaml
def lists(text):
    whole = yaml.safe_load(text)
    whole = {} if whole is None else whole
    plugins = whole.get("plugins") or {}
    found = [plugins.pop(name, None) or [] for name in ("enabled", "disabled")]
    if not plugins:
        whole.pop("plugins", None)
    return whole, found
asked = json.load(sys.stdin)
try:
    (before, b), (after, a) = lists(asked["before"]), lists(asked["after"])
    others = [[name for name in names if name != "tenure"] for names in a + b]
    answer = {"same": [before, *others[:2]] == [after, *others[2:]], "after": after}
    answer["enabled"] = "tenure" in a[0] and "tenure" not in a[1]
except Exception as error:
    answer = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(answer, default=str))
"""


def ask(python: str, before: str, after: str) -> dict[str, object]:
    """What the YAML parser of Hermes' own Python makes of two texts.

    ``same``: they differ at most by ``tenure`` in the two lists; ``enabled``: the second has it;
    ``after``: the rest of the second; or ``error``. Nothing of Hermes is imported. Raises OSError
    or SubprocessError if it cannot be asked.
    """
    done = subprocess.run(
        [python, "-I", "-c", _QUESTION],
        input=json.dumps({"before": before, "after": after}),
        capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    return answer if isinstance(answer, dict) else {"error": "no answer"}
