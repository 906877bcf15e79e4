"""Reading ``profile.toml``, and resolving what its rules name on this machine.

The file is the user's. Tenure reads it in one go and never writes it;
:func:`tenure.domain.policy.change.reconcile_policy` decides what to do with the content. Every
fault in it is returned as a :class:`PolicyProblem` that names the line; nothing is raised, because
a typo in its configuration must not end a scheduler.
"""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.domain.file_text import line_of, parse_toml
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.change import PolicyFile, PolicyProblem, ProblemKind
from tenure.domain.policy.rule import Rule
from tenure.domain.policy.text import make_policy, read_rules
from tenure.domain.settings import Settings, read_settings
from tenure.store.folder.files import open_regular
from tenure.store.folder.user_home import passwd_home

_LARGEST = 1_000_000
_FRAMEWORK_PYTHON = re.compile(r"(?P<version>/.+/Versions/[^/]+)/bin/python[0-9.]*")


def read_policy_file(path: Path) -> PolicyFile | PolicyProblem:
    """The settings and rules of a ``profile.toml``, its rules resolved; or why it has none.

    Never raises for what is on the disk. Thread-safe.
    """
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        # Of a link to nowhere it is not known what its rules would be.
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        return _missing(path) if missing and not path.is_symlink() else _unreadable(path, error)
    return _parse(content, path)


def resolve_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with their paths and group names resolved on this machine, at this moment."""
    return tuple(
        replace(
            rule,
            executable_paths=_spellings(rule.executable),
            ancestor_paths=_spellings(rule.ancestor),
            holds_paths=_spellings(rule.holds),
            scripts=tuple(
                key
                for key in ("executable", "ancestor")
                if any(_is_script(path) for path in _spellings(getattr(rule, key))[-1:])
            ),
            group_id=_gid(rule.group),
        )
        for rule in rules
    )


def resolve_policy(policy: Policy) -> Policy:
    """``policy`` with resolved rules: same text, hash and version."""
    return replace(policy, rules=resolve_rules(policy.rules))


def _missing(path: Path) -> PolicyProblem:
    return PolicyProblem(
        kind=ProblemKind.MISSING,
        text=f"{path} does not exist",
        remedy="`tenure owner policy` shows the rules in force and how to write them",
    )


def _unreadable(path: Path, error: OSError) -> PolicyProblem:
    if path.is_symlink() and not path.exists():
        remedy = f"make {os.path.realpath(path)}, or remove the link"
    elif isinstance(error, PermissionError):
        remedy = f"make it a file that you can read: chmod 600 {path}"
    elif path.exists() and not path.is_file():
        remedy = "put a file in its place"
    else:
        remedy = "see what is wrong with the disk or the file"
    return PolicyProblem(
        kind=ProblemKind.UNREADABLE,
        text=f"{path} cannot be read: {error.strerror or error}",
        remedy=remedy,
    )


def _parse(content: bytes, path: Path) -> PolicyFile | PolicyProblem:
    if len(content) > _LARGEST:
        return _invalid(path, InvalidInput(f"larger than {_LARGEST} bytes"))
    try:
        document, text = parse_toml(content)
    except InvalidInput as error:
        return _invalid(path, error, kind=ProblemKind.NOT_TOML)
    if not document:
        return PolicyProblem(
            kind=ProblemKind.EMPTY,
            text=f"{path} is empty",
            remedy="`tenure owner policy` shows the rules in force, to be written there again",
        )
    try:
        settings, rules = read_settings(document), read_rules(document)
        _check_home_paths(rules)
    except InvalidInput as error:
        error.facts["line"] = line_of(text, error.field)
        return _invalid(path, error, hides_rules=_may_have_rules(document))
    policy = make_policy(resolve_rules(rules), version=0)
    return PolicyFile(settings=settings, rules=policy.rules, text=policy.text, hash=policy.hash)


def _may_have_rules(document: dict[str, Any]) -> bool:
    """Whether more is in it than settings: a misspelt ``[[ower]]`` is a rule too."""
    return not document.keys() <= {field.name for field in fields(Settings)}


def _invalid(
    path: Path,
    error: InvalidInput,
    *,
    kind: ProblemKind = ProblemKind.INVALID,
    hides_rules: bool = True,
) -> PolicyProblem:
    line = error.facts.get("line")
    remedy = "correct it in the file; `tenure owner policy` then shows what it says"
    why = f"{error.field}: {error.text}" if error.field else error.text
    if line is not None and not why.startswith(f"line {line}"):
        why = f"line {line}: {why}"
    return PolicyProblem(
        kind=kind,
        text=f"{path}{', ' if why.startswith('line ') else ': '}{why}",
        remedy=error.remedy or remedy,
        field=error.field,
        line=line,
        hides_rules=hides_rules,
    )


def _spellings(path: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    home = passwd_home() if path.startswith("~/") else None
    written = os.path.normpath(home / path[2:] if home is not None else path)
    resolved = os.path.realpath(written)
    return tuple(dict.fromkeys((written, resolved, _as_executed(resolved))))


def _as_executed(program: str) -> str:
    """The program that the kernel runs for a resolved path, for ``program`` itself by default.

    Python of a framework (python.org, Homebrew, Apple) starts as its version's bin/python and
    replaces itself at once by the Python.app of that version.
    """
    framework = _FRAMEWORK_PYTHON.fullmatch(program)
    app = framework and f"{framework['version']}/Resources/Python.app/Contents/MacOS/Python"
    return app if app and os.path.exists(app) else program


def _check_home_paths(rules: Iterable[Rule]) -> None:
    """Raises InvalidInput for ``~/`` where the uid has no passwd entry: HOME is no evidence."""
    if passwd_home() is not None:
        return
    for number, rule in enumerate(rules, 1):
        for key in ("executable", "ancestor", "holds"):
            path = getattr(rule, key)
            if path is not None and path.startswith("~/"):
                raise InvalidInput(
                    f"{path} names the home folder, and uid {os.geteuid()} has no passwd entry",
                    field=f"owner[{number}].{key}",
                    remedy="write the full path",
                )


def _is_script(path: str) -> bool:
    try:
        # Not blocking: a path may name a pipe without a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, 2) == b"#!"
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _gid(group: str | int | None) -> int | None:
    if not isinstance(group, str):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
