"""An edit of config.yaml that adds ``tenure`` to ``plugins.enabled``; every other byte stays.

Comments, order, quotes, line ends and a missing last line break stay. A list in an unusual shape is
refused, with the line and what to write there by hand. Hermes' own YAML parser then reads both
texts, and only the two lists may differ.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tenure.adapters.hermes.back import config_lines
from tenure.adapters.hermes.back.config_lines import (
    NAME,
    NOTHING,
    Config,
    Listing,
    NotEditable,
    scalar_at,
    without_comment,
)
from tenure.domain.errors import OutcomeUnknown, Refused

BY_HAND = "add the item `- tenure` to the list plugins.enabled in {path}, then adopt again"
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The new content of a config.yaml. ``before`` is None without a file."""

    before: bytes | None
    after: bytes
    added: tuple[str, ...] = ()
    """Keys that were not there: ``plugins``, ``plugins.enabled``."""
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
        edited, added = _enable(text[len(bom) :])
    except NotEditable as error:
        raise _refused(path, error.line, error.text) from error
    after = (bom + edited).encode()
    return Edit(before=before, after=after, added=added)


def enabled_in(content: bytes | None) -> tuple[bool | None, bool | None]:
    """Whether Tenure is in ``plugins.enabled``, and in ``plugins.disabled``; None: cannot tell."""
    if content is None:
        return False, False
    try:
        config = config_lines.read(content.decode().removeprefix(_BOM))
    except (UnicodeDecodeError, NotEditable):
        return None, None
    return _holds(config, "enabled"), _holds(config, "disabled")


def _holds(config: Config, name: str) -> bool | None:
    try:
        return NAME in [item.value for item in config_lines.listing(config, name).items]
    except NotEditable:
        return None


def scalar_in(content: bytes | None, *keys: str) -> str | None:
    """The scalar at one or two nested keys; None if it is absent or not on one line."""
    try:
        return scalar_at((content or b"").decode().removeprefix(_BOM), *keys) or None
    except UnicodeDecodeError:
        return None


# -- the text ----------------------------------------------------------------------------------
def _enable(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with Tenure enabled, and which keys that added."""
    config = config_lines.read(text)
    if any(item.value == NAME for item in config_lines.listing(config, "disabled").items):
        text = config_lines.remove(text, "disabled")
        config = config_lines.read(text)
    if config.plugins is None:
        return _append(config), ("plugins", "plugins.enabled")
    enabled = config_lines.listing(config, "enabled")
    if any(item.value == NAME for item in enabled.items):
        return text, ()
    if enabled.form == "absent":
        return _first_child(config), ("plugins.enabled",)
    return _into(config, enabled), ()


def _append(config: Config) -> str:
    # The end of the file is the only place where a new key disturbs nothing.
    lines, end = list(config.lines), config.newline
    closed = not lines or lines[-1].endswith("\n")
    if not closed and lines[-1].startswith(" "):  # a line break could change a block of text
        raise NotEditable(len(lines), "the file ends within a block of text")
    if not closed:
        lines[-1] += end
    added = [f"plugins:{end}", f"  enabled:{end}", f"  - {NAME}{end if closed else ''}"]
    return "".join(lines + added)


def _first_child(config: Config) -> str:
    assert config.plugins is not None
    lines, number = list(config.lines), config.plugins.number
    value = without_comment(config.plugins.value)
    if value in NOTHING:
        line, at = lines[number], config.plugins.value_at
        lines[number] = line[:at].rstrip() + line[at + len(value) :]
    indent = " " * config.child_indent
    _insert(config, lines, number + 1, [f"{indent}enabled:", f"{indent}- {NAME}"])
    return "".join(lines)


def _into(config: Config, names: Listing) -> str:
    lines = list(config.lines)
    if names.form == "block":
        last = names.items[-1].line
        _insert(config, lines, last + 1, [f"{' ' * names.indent}- {NAME}"])
        return "".join(lines)
    line = lines[names.line]
    if names.form == "empty":
        if names.close > names.open:
            lines[names.line] = line[: names.open] + f"[{NAME}]" + line[names.close :]
        else:
            _insert(config, lines, names.line + 1, [f"{' ' * names.indent}- {NAME}"])
        return "".join(lines)
    if not names.items:
        at, word = names.open + 1, NAME
    else:
        at = names.items[-1].end
        comma = line[at : names.close].strip().startswith(",")
        at = at + line[at:].index(",") + 1 if comma else at
        word = f" {NAME}" if comma else f", {NAME}"
    lines[names.line] = line[:at] + word + line[at:]
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
        reason = f": {answer['error']}" if "error" in answer else ""
        raise Refused(
            f"{path} cannot be edited line by line: it would mean something else{reason}",
            remedy=BY_HAND.format(path=path),
        )


def is_enabled(python: Path, path: Path, content: bytes) -> bool:
    """Whether Tenure is enabled in it as Hermes' own Python reads it. Raises OutcomeUnknown."""
    return bool(_ask(python, path, content, content).get("enabled"))


def _ask(python: Path, path: Path, before: bytes, after: bytes) -> dict[str, object]:
    try:
        return config_lines.ask(str(python), before.decode(), after.decode())
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
