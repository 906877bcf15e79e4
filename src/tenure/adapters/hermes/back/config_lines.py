"""Where ``plugins.enabled`` and ``plugins.disabled`` stand in a ``config.yaml``, and out of them.

Finds the two lists in the text and takes ``tenure`` out of one, leaving every other byte; gives
up (:class:`Unclear`, with the line) where it cannot be sure. Whoever edits by it compares the
result with a real parser's reading where one is to be had.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from tenure.adapters.hermes.back import yaml_lines
    from tenure.adapters.hermes.back.yaml_lines import Line, Unclear, is_comment, without_comment
else:  # pragma: no cover - as a copy, beside its siblings
    import yaml_lines
    from yaml_lines import Line, Unclear, is_comment, without_comment

__all__ = ["NAME", "Config", "Item", "Listing", "Unclear", "listing", "read", "remove"]

NAME = "tenure"
_BARE = re.compile(r"\s*(['\"]?)[^'\":]*\1\s*:\s+[&!*]")
_NULL = ("~", "null", "Null", "NULL")


@dataclass
class Item:
    """One entry of a list. ``start`` and ``end`` are columns, for a list in brackets only."""

    value: str | None
    """``""`` where it is no name at all, None where that needs a real parser."""
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
    """A text, taken apart, with what lies below ``plugins``."""

    lines: list[str]
    begins: list[Line]
    open_scalar: bool
    end: int
    """The line behind the last one of ``plugins``."""
    plugins: Line | None = None
    child_indent: int = 2
    children: dict[str, Line] = field(default_factory=dict)

    @property
    def newline(self) -> str:
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"


def read(text: str) -> Config:
    """Take the text of a config.yaml apart. Raises :class:`Unclear`."""
    apart = yaml_lines.take_apart(text)
    config = Config(apart.lines, apart.begins, apart.open_scalar, end=len(apart.lines))
    _find_plugins(config)
    return config


def _find_plugins(config: Config) -> None:
    top = [line for line in config.begins if line.indent == 0]
    for position, line in enumerate(top):
        if _begins_document(config, line, first=position == 0):
            continue
        if line.dashes[:1] == (0,) and any(other.key for other in top[:position]):
            continue  # of a list that is indented as its key is
        if line.dashes or line.key is None:
            raise Unclear(line.number + 1, "not a key at the outermost level")
        if line.key == "<<":
            raise Unclear(line.number + 1, "a merge key (<<)")
        if line.key == "plugins":
            if config.plugins is not None:
                raise Unclear(line.number + 1, "'plugins' a second time")
            config.plugins = line
        elif config.plugins is not None and config.end == len(config.lines):
            config.end = line.number
    if config.plugins is not None:
        _find_children(config, config.plugins)


def _begins_document(config: Config, line: Line, *, first: bool) -> bool:
    mark = config.lines[line.number].rstrip()
    if mark.startswith("%") or mark == "..." or (mark.startswith("---") and not first):
        raise Unclear(line.number + 1, "several documents, or directives")
    if mark.startswith("---") and mark != "---" and not mark.startswith("--- #"):
        raise Unclear(line.number + 1, "content behind the document's beginning")
    return mark.startswith("---")


def _find_children(config: Config, plugins: Line) -> None:
    inner = [n for n in config.begins if plugins.number < n.number < config.end]
    _no_property(config, plugins)
    if not inner:
        return
    if not is_comment(plugins.value):
        raise Unclear(plugins.number + 1, "a value and further lines below it")
    if inner[0].dashes:
        raise Unclear(inner[0].number + 1, "'plugins' is a list")
    config.child_indent = inner[0].indent
    for line in inner:
        if line.indent < config.child_indent:
            raise Unclear(line.number + 1, "indented less than the lines above it")
        if line.indent > config.child_indent or line.dashes[:1] == (config.child_indent,):
            continue
        if line.key is None or line.key == "<<":
            raise Unclear(line.number + 1, "not a plain key below 'plugins'")
        if line.key in config.children:
            raise Unclear(line.number + 1, f"'{line.key}' a second time")
        config.children[line.key] = line


def _no_property(config: Config, line: Line) -> None:
    """An anchor, alias or tag on what is edited: what else it stands for is not followed."""
    if _BARE.match(config.lines[line.number]):
        raise Unclear(line.number + 1, "an anchor, alias or tag")


def listing(config: Config, name: str) -> Listing:
    """The list ``plugins.<name>``. Raises :class:`Unclear` if it is something else."""
    line = config.children.get(name)
    if line is None:
        return Listing("absent")
    _no_property(config, line)
    value = without_comment(line.value)
    below = _below(config, line)
    if not value and below:
        return _block(config, line, below)
    if below:
        raise Unclear(below[0].number + 1, f"something below '{name}' that is no list")
    if not value or value in _NULL:
        at = line.value_at
        return Listing("empty", line.number, line.indent, open=at, close=at + len(value))
    if value.startswith("["):
        return _flow(config, line)
    raise Unclear(line.number + 1, f"'{name}' is not a list")


def _below(config: Config, line: Line) -> list[Line]:
    """What belongs to a child: deeper lines, and items at its own indentation."""
    found = []
    for other in config.begins:
        if line.number < other.number < config.end:
            if other.indent <= line.indent and other.dashes[:1] != (line.indent,):
                break
            found.append(other)
    return found


def _block(config: Config, line: Line, below: list[Line]) -> Listing:
    indent = below[0].indent
    found = Listing("block", line.number, indent)
    for other in below:
        if other.indent != indent or other.dashes[:1] != (indent,):
            raise Unclear(other.number + 1, "more than one name a line in the list")
        value: str | None = ""
        if other.key is None and len(other.dashes) == 1:
            value = yaml_lines.unquote(without_comment(other.value))
        found.items.append(Item(value, other.number))
        following = config.lines[other.number + 1 : other.number + 2]
        begun = [n for n in config.begins if n.number == other.number + 1]
        if following and not begun and not is_comment(following[0].rstrip("\r\n")):
            raise Unclear(other.number + 2, "more than one line for an item of the list")
    return found


def _flow(config: Config, line: Line) -> Listing:
    body = config.lines[line.number].rstrip("\r\n")
    found = Listing("flow", line.number, line.indent, open=line.value_at)
    at = start = line.value_at + 1
    while at < len(body):
        char = body[at]
        if char in "'\"" and not body[start:at].strip():
            at = yaml_lines.quoted_end(body, at + 1, char)
            if at < 0:
                break
            continue
        if char in "[{}&*!:#":
            raise Unclear(line.number + 1, "more than names in the brackets")
        if char in ",]":
            word = body[start:at]
            if word.strip():
                left = start + len(word) - len(word.lstrip())
                value = yaml_lines.unquote(word.strip())
                found.items.append(Item(value, line.number, left, left + len(word.strip())))
            start = at + 1
        if char == "]":
            found.close = at
            if is_comment(body[at + 1 :]):
                return found
            raise Unclear(line.number + 1, "something behind the list")
        at += 1
    raise Unclear(line.number + 1, "a list in brackets over several lines")


def remove(text: str, name: str = "enabled", prune: tuple[str, ...] = ()) -> str:
    """The text without ``tenure`` in ``plugins.<name>``.

    ``prune`` names keys (``plugins.enabled``, ``plugins``) to take away too where they are empty
    then. Every other byte stays. Raises :class:`Unclear`.
    """
    while True:
        config = read(text)
        found = listing(config, name)
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
        line = next(line for line in config.begins if line.number == found.line)
        at = head.index(":", line.indent + len(line.key or "")) + 1
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
        bare = without_comment(plugins.value) in ("", "{}")
        if bare:
            _drop(config.lines, plugins.number)
    return "".join(config.lines)
