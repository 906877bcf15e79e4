"""Keys and scalars of a YAML text, as far as they stand on one line.

Not a parser. A text that needs one raises :class:`NotEditable`, with the line. What cannot be seen
line by line, such as a key inside a quoted text, is found by :func:`ask`, which compares the texts
as Hermes' own parser reads them.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass

PARSER_WAIT_S = 30.0
"""How long Hermes' Python may take to read two texts."""
_OTHER_BREAKS = re.compile("\r(?!\n)|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_PLAIN = r"(?![-?:](?:\s|$))[^\s&*!|>'\"%@`#,\[\]{}](?:[^:#,\[\]{}]|:(?=\S)|(?<=\S)\#)*?"
SCALAR = rf"(?:'[^'\\]*'|\"[^\"\\]*\"|{_PLAIN})"
"""A pattern: a quoted or plain scalar whose value is its text."""
_KEY = re.compile(rf"( *)({SCALAR}) *:(?=[ \t]|$)[ \t]*")
_VALUE = re.compile(rf"({SCALAR})(?:\s+#.*|\s*)$")


class NotEditable(Exception):
    """This text is not edited. ``line`` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line
        self.text = text


@dataclass
class KeyLine:
    """A line with a key. ``number`` counts from 0, as columns do."""

    number: int
    indent: int
    key: str
    value: str
    """The text behind the key on this line, comment included."""
    value_at: int


def split_lines(text: str) -> list[str]:
    """The lines with their ends. Raises :class:`NotEditable` for unusual line ends."""
    unusual = _OTHER_BREAKS.search(text)
    if unusual:
        line = text.count("\n", 0, unusual.start()) + 1
        raise NotEditable(line, "a line break that is neither LF nor CR LF")
    pieces = text.split("\n")
    return [piece + "\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def key_line(number: int, line: str) -> KeyLine | None:
    """None for a line that does not begin with a key."""
    body = line.rstrip("\r\n")
    found = _KEY.match(body)
    if not found:
        return None
    return KeyLine(number, len(found[1]), unquote(found[2]), body[found.end() :], found.end())


def is_comment(text: str) -> bool:
    """Whether it has only blanks and a comment."""
    return not text.strip() or text.lstrip(" \t").startswith("#")


def without_comment(value: str) -> str:
    """A line's value without its comment; for values that are not quoted."""
    return "" if value.startswith("#") else value.split(" #")[0].strip()


def unquote(scalar: str) -> str:
    """The value of a text that :data:`SCALAR` matches."""
    return scalar[1:-1] if scalar[:1] in ("'", '"') else scalar


def scalar_at(text: str, *keys: str) -> str | None:
    """The scalar at one or two nested keys; None if it is absent or not on one line."""
    inside, child = False, 0
    for number, line in enumerate(text.split("\n")):
        found = key_line(number, line)
        if found is None:
            continue
        if found.indent == 0:
            inside, child = found.key == keys[0], 0
        elif inside:
            child = child or found.indent
        if inside and found.key == keys[-1] and found.indent == (child if len(keys) > 1 else 0):
            value = _VALUE.match(found.value)
            return unquote(value[1]) if value else None
    return None


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
        capture_output=True, text=True, encoding="utf-8", timeout=PARSER_WAIT_S, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    return answer if isinstance(answer, dict) else {"error": "no answer"}
