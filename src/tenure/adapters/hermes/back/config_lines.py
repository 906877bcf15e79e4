"""The lists ``plugins.enabled`` and ``plugins.disabled`` of a ``config.yaml``, edited by lines.

Finds two lists in the text and takes ``tenure`` out of one; every other byte stays. Lists may be in
block style with one name a line, or in brackets on one line. Any other shape raises
:class:`NotEditable`, with the line.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from tenure.adapters.hermes.back.yaml_lines import (
        SCALAR,
        KeyLine,
        NotEditable,
        is_comment,
        key_line,
        split_lines,
        unquote,
        without_comment,
    )
else:  # pragma: no cover - as a copy, beside its siblings
    from yaml_lines import (
        SCALAR,
        KeyLine,
        NotEditable,
        is_comment,
        key_line,
        split_lines,
        unquote,
        without_comment,
    )

__all__ = ["NAME", "Config", "Item", "Listing", "NotEditable", "listing", "read", "remove"]

NAME = "tenure"
NOTHING = ("{}", "~", "null", "Null", "NULL")
"""Values of ``plugins`` that say the same as no value."""
_ITEM = re.compile(rf" *- +({SCALAR})(?:\s+#.*|\s*)$")
_BRACKETS = re.compile(rf"\[\s*(?:{SCALAR}\s*(?:,\s*{SCALAR}\s*)*,?)?\s*\]\s*(?:#.*)?$")
_IN_BRACKETS = re.compile(rf"{SCALAR}(?=\s*[,\]])")


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
        found = key_line(number, body)
        if found is None:
            raise NotEditable(number + 1, "not a plain key at the outermost level")
        keys += 1
        _top(config, found)
    plugins = config.plugins
    if plugins is not None:
        value = without_comment(plugins.value)
        if value[:1] in ("&", "*", "!"):
            raise NotEditable(plugins.number + 1, "an anchor, alias or tag")
        if value and (config.children or value not in NOTHING):
            raise NotEditable(plugins.number + 1, "'plugins' is more than one key a line")
    config.child_indent = config.child_indent or 2
    return config


def _top(config: Config, found: KeyLine) -> None:
    if found.key == "<<":
        raise NotEditable(found.number + 1, "a merge key (<<)")
    if found.key == "plugins":
        if config.plugins is not None:
            raise NotEditable(found.number + 1, "'plugins' a second time")
        config.plugins = found
    elif config.plugins is not None and config.end == len(config.lines):
        config.end = found.number


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
    found = key_line(number, body)
    if found is None or found.key == "<<":
        raise NotEditable(number + 1, "not a plain key below 'plugins'")
    if found.key in config.children:
        raise NotEditable(number + 1, f"'{found.key}' a second time")
    config.children[found.key] = found


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
    found = []
    for number in range(line.number + 1, config.end):
        body = config.lines[number].rstrip("\r\n")
        if is_comment(body):
            continue
        indent = len(body) - len(body.lstrip(" "))
        if indent < line.indent or (indent == line.indent and body[indent] != "-"):
            break
        found.append(number)
    return found


def _block(config: Config, line: KeyLine, below: list[int]) -> Listing:
    first = config.lines[below[0]]
    indent = len(first) - len(first.lstrip(" "))
    found = Listing("block", line.number, indent)
    for number in below:
        body = config.lines[number].rstrip("\r\n")
        item = _ITEM.match(body)
        if not item or body.index("-") != indent:
            raise NotEditable(number + 1, "more than one name a line in the list")
        found.items.append(Item(unquote(item[1]), number))
    return found


def _flow(config: Config, line: KeyLine) -> Listing:
    body = config.lines[line.number].rstrip("\r\n")
    if "]" not in line.value:
        raise NotEditable(line.number + 1, "a list in brackets over several lines")
    if not _BRACKETS.match(body, line.value_at):
        raise NotEditable(line.number + 1, "more than names in the brackets")
    found = Listing("flow", line.number, line.indent, open=line.value_at)
    at = line.value_at + 1
    while item := _IN_BRACKETS.search(body, at):
        if "]" in body[at : item.start()]:
            break  # of the comment
        found.items.append(Item(unquote(item[0]), line.number, item.start(), item.end()))
        at = item.end()
    found.close = body.index("]", at)
    return found


def remove(text: str, name: str = "enabled", prune: tuple[str, ...] = ()) -> str:
    """The text without ``tenure`` in ``plugins.<name>``.

    ``prune`` names keys (``plugins.enabled``, ``plugins``) to remove too where they are empty then.
    Every other byte stays. Raises :class:`NotEditable`.
    """
    while True:
        try:
            config = read(text)
            found = listing(config, name)
        except NotEditable:
            if NAME in text:
                raise
            return text
        mine = [item for item in found.items if item.value == NAME]
        if not mine:
            return _prune(config, found, name, prune)
        text = "".join(_without(config, found, mine[0]))


def _without(config: Config, found: Listing, item: Item) -> list[str]:
    lines = list(config.lines)
    if found.form == "flow":
        body, position = lines[item.line], found.items.index(item)
        start, end = item.start, item.end
        if position:
            start = found.items[position - 1].end
        else:
            end = found.items[1].start if len(found.items) > 1 else found.close
        lines[item.line] = body[:start] + body[end:]
        return lines
    if len(found.items) == 1:
        head = lines[found.line]
        key = next(line for line in config.children.values() if line.number == found.line)
        at = head.rindex(":", 0, key.value_at) + 1
        lines[found.line] = head[:at] + " []" + head[at:]
    return _drop(lines, item.line)


def _drop(lines: list[str], number: int) -> list[str]:
    """Without one line; a text that had no final line break has none afterwards."""
    dropped = lines.pop(number)
    if number == len(lines) and lines and not dropped.endswith("\n"):
        lines[-1] = lines[-1].rstrip("\r\n")
    return lines


def _prune(config: Config, found: Listing, name: str, prune: tuple[str, ...]) -> str:
    empty = found.form != "absent" and not found.items
    if empty and f"plugins.{name}" in prune:
        config = read("".join(_drop(config.lines, found.line)))
    plugins = config.plugins
    if plugins is not None and "plugins" in prune and not config.children:
        _drop(config.lines, plugins.number)
    return "".join(config.lines)
