"""Putting ``tenure`` into ``plugins.enabled`` of a config.yaml, leaving every other byte.

The text is edited, not written anew: comments, order, quotes, line ends and the missing last line
break stay. What cannot be edited so is refused with the line and what to write there by hand.
A real YAML parser (that of Hermes' own Python) then reads both texts and must find that nothing
differs but the two lists.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tenure.adapters.hermes.back import config_lines, yaml_lines
from tenure.adapters.hermes.back.config_lines import NAME, Config, Listing, Unclear
from tenure.adapters.hermes.back.yaml_lines import unquote, without_comment
from tenure.domain.errors import OutcomeUnknown, Refused

BY_HAND = "add tenure to the list plugins.enabled in {path} yourself, then adopt again"
_BOM = "\ufeff"
_NOTHING = ("{}", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a config.yaml is to become. ``before`` is None where there is no file."""

    before: bytes | None
    after: bytes
    added: tuple[str, ...] = ()
    """Keys that were not there: ``plugins``, ``plugins.enabled``."""
    was_disabled: bool = False
    """``tenure`` stood in ``plugins.disabled``."""
    version: int | None = None
    """The ``_config_version`` that a new file was given."""

    @property
    def changes(self) -> bool:
        return self.before != self.after


def plan_edit(path: Path, before: bytes | None, *, version: int | None = None) -> Edit:
    """What the file becomes with Tenure enabled. Nothing is read or written.

    ``version``: the ``_config_version`` for a file that is not there yet; one without it would
    look as if it came from Hermes' first days. Raises Refused where the text cannot be edited.
    """
    if before is None:
        head = "" if version is None else f"_config_version: {version}\n"
        after = f"{head}plugins:\n  enabled:\n  - {NAME}\n".encode()
        new = ("plugins", "plugins.enabled")
        return Edit(before=None, after=after, added=new, version=version)
    try:
        text = before.decode()
    except UnicodeDecodeError as error:
        raise _refused(path, before.count(b"\n", 0, error.start) + 1, "not UTF-8") from error
    bom = _BOM if text.startswith(_BOM) else ""
    try:
        edited, added, was_disabled = _enable(text[len(bom) :])
    except Unclear as error:
        raise _refused(path, error.line, error.text) from error
    after = (bom + edited).encode()
    return Edit(before=before, after=after, added=added, was_disabled=was_disabled)


def enabled_in(content: bytes | None) -> tuple[bool | None, bool | None]:
    """Whether Tenure is in ``plugins.enabled``, and in ``plugins.disabled``; None: cannot tell."""
    if content is None:
        return False, False
    try:
        config = config_lines.read(content.decode().removeprefix(_BOM))
    except (UnicodeDecodeError, Unclear):
        return None, None
    return _holds(config, "enabled"), _holds(config, "disabled")


def _holds(config: Config, name: str) -> bool | None:
    if config.plugins is not None and not config.children:
        bare = without_comment(config.plugins.value)
        if bare and bare not in _NOTHING:
            return None
    try:
        values = [item.value for item in config_lines.listing(config, name).items]
    except Unclear:
        return None
    return True if NAME in values else (None if None in values else False)


def scalar_in(content: bytes | None, *keys: str) -> str | None:
    """The plain value at one or two nested keys; None if it is not there or more than a word."""
    try:
        begins = config_lines.read((content or b"").decode().removeprefix(_BOM)).begins
    except (UnicodeDecodeError, Unclear):
        return None
    inside = len(keys) == 1
    for line in begins:
        if line.indent == 0:
            inside = len(keys) == 1 or line.key == keys[0]
        if inside and line.key == keys[-1] and (line.indent == 0) == (len(keys) == 1):
            value = line.value if line.value[:1] in "'\"" else without_comment(line.value)
            return unquote(value.split(" #")[0].strip()) or None
    return None


# -- the text ----------------------------------------------------------------------------------
def _enable(text: str) -> tuple[str, tuple[str, ...], bool]:
    """The text with Tenure enabled; which keys that added; whether it had been disabled."""
    config = config_lines.read(text)
    disabled = config_lines.listing(config, "disabled").items
    for item in disabled:
        if item.value is None:
            raise Unclear(item.line + 1, "what is disabled there is not plain")
    was_disabled = NAME in [item.value for item in disabled]
    if was_disabled:
        text = config_lines.remove(text, "disabled")
        config = config_lines.read(text)
    if config.plugins is None:
        return _append(config), ("plugins", "plugins.enabled"), was_disabled
    found = config_lines.listing(config, "enabled")
    if any(item.value == NAME for item in found.items):
        return text, (), was_disabled
    if found.form == "absent":
        return _first_child(config), ("plugins.enabled",), was_disabled
    return _into(config, found), (), was_disabled


def _append(config: Config) -> str:
    """A new key at the end of the file, which is the only place that disturbs nothing."""
    lines, end = list(config.lines), config.newline
    closed = not lines or lines[-1].endswith("\n")
    if not closed and config.open_scalar:
        raise Unclear(len(lines), "the file ends within a block of text")
    if not closed:
        lines[-1] += end
    added = [f"plugins:{end}", f"  enabled:{end}", f"  - {NAME}{end if closed else ''}"]
    return "".join(lines + added)


def _first_child(config: Config) -> str:
    assert config.plugins is not None
    lines, number = list(config.lines), config.plugins.number
    value = without_comment(config.plugins.value)
    if value:
        if value not in _NOTHING:
            raise Unclear(number + 1, "'plugins' is more than one key a line")
        line, at = lines[number], config.plugins.value_at
        lines[number] = line[:at].rstrip() + line[at + len(value) :]
    indent = " " * config.child_indent
    _insert(config, lines, number + 1, [f"{indent}enabled:", f"{indent}- {NAME}"])
    return "".join(lines)


def _into(config: Config, found: Listing) -> str:
    lines = list(config.lines)
    if found.form == "block":
        last = found.items[-1].line
        _insert(config, lines, last + 1, [f"{' ' * found.indent}- {NAME}"])
        return "".join(lines)
    line = lines[found.line]
    if found.form == "empty":
        if found.close > found.open:
            lines[found.line] = line[: found.open] + f"[{NAME}]" + line[found.close :]
        else:
            _insert(config, lines, found.line + 1, [f"{' ' * found.indent}- {NAME}"])
        return "".join(lines)
    if not found.items:
        at, word = found.open + 1, NAME
    else:
        at = found.items[-1].end
        comma = line[at : found.close].strip().startswith(",")
        at = at + line[at:].index(",") + 1 if comma else at
        word = f" {NAME}" if comma else f", {NAME}"
    lines[found.line] = line[:at] + word + line[at:]
    return "".join(lines)


def _insert(config: Config, lines: list[str], at: int, added: list[str]) -> None:
    end = config.newline
    if at == len(lines) and lines and not lines[-1].endswith("\n"):
        lines[-1] += end
        lines += [f"{line}{end}" for line in added[:-1]] + [added[-1]]
        return
    lines[at:at] = [f"{line}{end}" for line in added]


# -- checked by a parser -----------------------------------------------------------------------
def verify(python: Path, path: Path, edit: Edit) -> None:
    """Have Hermes' own Python read both texts: equal but for the two lists, and Tenure in it.

    Raises Refused if they differ, OutcomeUnknown if that Python cannot be asked.
    """
    answer = _ask(python, path, edit.before or b"", edit.after)
    same = answer.get("same")
    if edit.before is None:
        expected = {} if edit.version is None else {"_config_version": edit.version}
        same = answer.get("after") == expected
    if not same or not answer.get("enabled"):
        said = f": {answer['error']}" if "error" in answer else ""
        raise Refused(
            f"{path} cannot be edited line by line: it would mean something else{said}",
            remedy=BY_HAND.format(path=path),
        )


def is_enabled(python: Path, path: Path, content: bytes) -> bool:
    """Whether Tenure is enabled in it as Hermes' own Python reads it. Raises OutcomeUnknown."""
    return bool(_ask(python, path, content, content).get("enabled"))


def _ask(python: Path, path: Path, before: bytes, after: bytes) -> dict[str, object]:
    try:
        return yaml_lines.ask(str(python), before.decode(), after.decode())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise OutcomeUnknown(
            f"{python} could not be asked to read {path}: {error}",
            remedy="name Hermes' Python with --hermes-python PATH",
        ) from error


def _refused(path: Path, line: int, why: str) -> Refused:
    return Refused(
        f"{path} cannot be edited line by line: line {line}: {why}",
        remedy=BY_HAND.format(path=path),
        line=line,
    )
