"""The lists ``plugins.enabled`` and ``plugins.disabled`` of a ``config.yaml``, edited by lines.

Finds two lists in the text and takes ``tenure`` out of one; every other byte stays. Lists may be in
block style with one name a line, or in brackets on one line. Any other shape raises
:class:`NotEditable`, with the line. This is not a parser: what cannot be seen line by line, such as
a key inside a quoted text, is found by :func:`ask`, which compares the texts as Hermes' own parser
reads them.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field

NAME = "tenure"
NOTHING = ("{}", "~", "null", "Null", "NULL")
"""Values of ``plugins`` that say the same as no value."""
PARSER_WAIT_S = 30.0
"""How long Hermes' Python may take to read two texts."""
_OTHER_BREAKS = re.compile("\r(?!\n)|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_PLAIN = r"(?![-?:](?:\s|$))[^\s&*!|>'\"%@`#,\[\]{}](?:[^:#,\[\]{}]|:(?=\S)|(?<=\S)\#)*?"
_SCALAR = rf"(?:'[^'\\]*'|\"[^\"\\]*\"|{_PLAIN})"
"""A quoted or plain scalar whose value is its text."""
_KEY = re.compile(rf"( *)({_SCALAR}) *:(?=[ \t]|$)[ \t]*")
_VALUE = re.compile(rf"({_SCALAR})(?:\s+#.*|\s*)$")
_ITEM = re.compile(rf" *- +({_SCALAR})(?:\s+#.*|\s*)$")
_BRACKETS = re.compile(rf"\[\s*(?:{_SCALAR}\s*(?:,\s*{_SCALAR}\s*)*,?)?\s*\]\s*(?:#.*)?$")
_IN_BRACKETS = re.compile(rf"{_SCALAR}(?=\s*[,\]])")


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
    name: str
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
    match = _KEY.match(body)
    if not match:
        return None
    return KeyLine(number, len(match[1]), unquote(match[2]), body[match.end() :], match.end())


def is_comment(text: str) -> bool:
    """Whether it has only blanks and a comment."""
    return not text.strip() or text.lstrip(" \t").startswith("#")


def without_comment(value: str) -> str:
    """A line's value without its comment; for values that are not quoted."""
    return "" if value.startswith("#") else value.split(" #")[0].strip()


def unquote(scalar: str) -> str:
    """The value of a text that ``_SCALAR`` matches."""
    return scalar[1:-1] if scalar[:1] in ("'", '"') else scalar


def scalar_at(text: str, *keys: str) -> str | None:
    """The scalar at one or two nested keys; None if it is absent or not on one line."""
    inside, child = False, 0
    for number, line in enumerate(text.split("\n")):
        key = key_line(number, line)
        if key is None:
            continue
        if key.indent == 0:
            inside, child = key.name == keys[0], 0
        elif inside:
            child = child or key.indent
        if inside and key.name == keys[-1] and key.indent == (child if len(keys) > 1 else 0):
            value = _VALUE.match(key.value)
            return unquote(value[1]) if value else None
    return None


@dataclass
class Item:
    """An entry of a list. ``start`` and ``end`` are columns, for a list in brackets only."""

    value: str
    line: int
    start: int = 0
    end: int = 0


@dataclass
class Listing:
    """A list below ``plugins``. ``form``: absent, empty (or null), block or flow."""

    form: str
    line: int = -1
    indent: int = 0
    items: list[Item] = field(default_factory=list)
    open: int = 0
    close: int = 0
    """Columns of the brackets of a flow list, or of the value of an empty one."""


@dataclass
class Config:
    """The lines of a text, with the keys below ``plugins``."""

    lines: list[str]
    end: int
    """The line after the last line of ``plugins``."""
    plugins: KeyLine | None = None
    child_indent: int = 0
    children: dict[str, KeyLine] = field(default_factory=dict)

    @property
    def newline(self) -> str:
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"


def read(text: str) -> Config:
    """Read the text of a config.yaml. Raises :class:`NotEditable`."""
    lines = split_lines(text)
    config = Config(lines, end=len(lines))
    keys = 0
    for number, line in enumerate(lines):
        body = line.rstrip("\r\n")
        if is_comment(body):
            continue
        if body[0] in " \t":
            if config.plugins is not None and number < config.end:
                _child(config, number, body)
            continue
        if not keys and (body == "---" or body.startswith("--- #")):
            continue
        in_plugins = config.plugins is not None and number <= config.end
        if body.startswith("- ") and keys and not in_plugins:
            continue  # an item of a list that is indented as its key
        if body.startswith(("---", "...", "%")):
            raise NotEditable(number + 1, "several documents, or directives")
        key = key_line(number, body)
        if key is None:
            raise NotEditable(number + 1, "not a plain key at the outermost level")
        keys += 1
        _top(config, key)
    plugins = config.plugins
    if plugins is not None:
        value = without_comment(plugins.value)
        if value[:1] in ("&", "*", "!"):
            raise NotEditable(plugins.number + 1, "an anchor, alias or tag")
        if value and (config.children or value not in NOTHING):
            raise NotEditable(plugins.number + 1, "'plugins' is more than one key a line")
    config.child_indent = config.child_indent or 2
    return config


def _top(config: Config, key: KeyLine) -> None:
    if key.name == "<<":
        raise NotEditable(key.number + 1, "a merge key (<<)")
    if key.name == "plugins":
        if config.plugins is not None:
            raise NotEditable(key.number + 1, "'plugins' a second time")
        config.plugins = key
    elif config.plugins is not None and config.end == len(config.lines):
        config.end = key.number


def _child(config: Config, number: int, body: str) -> None:
    """A line below ``plugins``: its keys are kept, deeper lines are passed over."""
    indent = len(body) - len(body.lstrip(" "))
    if body[indent] == "\t":
        raise NotEditable(number + 1, "a tab where the indentation is")
    config.child_indent = config.child_indent or indent
    if indent < config.child_indent:
        raise NotEditable(number + 1, "indented less than the lines above it")
    is_item = body[indent:].startswith("- ") or body[indent:] == "-"
    if indent > config.child_indent or (is_item and config.children):
        return
    if is_item:
        raise NotEditable(number + 1, "'plugins' is a list")
    key = key_line(number, body)
    if key is None or key.name == "<<":
        raise NotEditable(number + 1, "not a plain key below 'plugins'")
    if key.name in config.children:
        raise NotEditable(number + 1, f"'{key.name}' a second time")
    config.children[key.name] = key


def listing(config: Config, name: str) -> Listing:
    """The list ``plugins.<name>``. Raises :class:`NotEditable` if it is something else."""
    line = config.children.get(name)
    if line is None:
        return Listing("absent")
    value = without_comment(line.value)
    below = _below(config, line)
    if value.startswith("[") and not below:
        return _flow(config, line)
    if value[:1] in ("&", "*", "!"):
        raise NotEditable(line.number + 1, "an anchor, alias or tag")
    if value.startswith("["):
        raise NotEditable(line.number + 1, "a list in brackets over several lines")
    if value and (below or value not in NOTHING[1:]):
        raise NotEditable(line.number + 1, f"'{name}' is not a list")
    if below:
        return _block(config, line, below)
    at = line.value_at
    return Listing("empty", line.number, line.indent, open=at, close=at + len(value))


def _below(config: Config, line: KeyLine) -> list[int]:
    """The lines that belong to a child: deeper lines, and items at its own indentation."""
    numbers = []
    for number in range(line.number + 1, config.end):
        body = config.lines[number].rstrip("\r\n")
        if is_comment(body):
            continue
        indent = len(body) - len(body.lstrip(" "))
        if indent < line.indent or (indent == line.indent and body[indent] != "-"):
            break
        numbers.append(number)
    return numbers


def _block(config: Config, line: KeyLine, below: list[int]) -> Listing:
    first = config.lines[below[0]]
    indent = len(first) - len(first.lstrip(" "))
    names = Listing("block", line.number, indent)
    for number in below:
        body = config.lines[number].rstrip("\r\n")
        item = _ITEM.match(body)
        if not item or body.index("-") != indent:
            raise NotEditable(number + 1, "more than one name a line in the list")
        names.items.append(Item(unquote(item[1]), number))
    return names


def _flow(config: Config, line: KeyLine) -> Listing:
    body = config.lines[line.number].rstrip("\r\n")
    if "]" not in line.value:
        raise NotEditable(line.number + 1, "a list in brackets over several lines")
    if not _BRACKETS.match(body, line.value_at):
        raise NotEditable(line.number + 1, "more than names in the brackets")
    names = Listing("flow", line.number, line.indent, open=line.value_at)
    at = line.value_at + 1
    while item := _IN_BRACKETS.search(body, at):
        if "]" in body[at : item.start()]:
            break  # of the comment
        names.items.append(Item(unquote(item[0]), line.number, item.start(), item.end()))
        at = item.end()
    names.close = body.index("]", at)
    return names


def remove(text: str, name: str = "enabled", prune: tuple[str, ...] = ()) -> str:
    """The text without ``tenure`` in ``plugins.<name>``.

    ``prune`` names keys (``plugins.enabled``, ``plugins``) to remove too where they are empty then.
    Every other byte stays. Raises :class:`NotEditable`.
    """
    while True:
        try:
            config = read(text)
            names = listing(config, name)
        except NotEditable:
            if NAME in text:
                raise
            return text
        own = [item for item in names.items if item.value == NAME]
        if not own:
            return _prune(config, names, name, prune)
        text = "".join(_without(config, names, own[0]))


def _without(config: Config, names: Listing, item: Item) -> list[str]:
    lines = list(config.lines)
    if names.form == "flow":
        body, position = lines[item.line], names.items.index(item)
        start, end = item.start, item.end
        if position:
            start = names.items[position - 1].end
        else:
            end = names.items[1].start if len(names.items) > 1 else names.close
        lines[item.line] = body[:start] + body[end:]
        return lines
    if len(names.items) == 1:
        head = lines[names.line]
        key = next(line for line in config.children.values() if line.number == names.line)
        at = head.rindex(":", 0, key.value_at) + 1
        lines[names.line] = head[:at] + " []" + head[at:]
    return _drop(lines, item.line)


def _drop(lines: list[str], number: int) -> list[str]:
    """Without one line; a text that had no final line break has none afterwards."""
    dropped = lines.pop(number)
    if number == len(lines) and lines and not dropped.endswith("\n"):
        lines[-1] = lines[-1].rstrip("\r\n")
    return lines


def _prune(config: Config, names: Listing, name: str, prune: tuple[str, ...]) -> str:
    empty = names.form != "absent" and not names.items
    if empty and f"plugins.{name}" in prune:
        config = read("".join(_drop(config.lines, names.line)))
    plugins = config.plugins
    if plugins is not None and "plugins" in prune and not config.children:
        _drop(config.lines, plugins.number)
    return "".join(config.lines)


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
