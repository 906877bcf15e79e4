"""Reading ``profile.toml``, and resolving what its rules name on this machine.

The file is the user's. It is read whole, in one go, and only ever read: what to do with what it
says is for :func:`tenure.domain.policy_change.reconcile_policy`. Whatever is wrong with it comes
back as a :class:`Problem`; nothing is raised, because a scheduler that dies of a typo in its
configuration runs nobody's jobs.
"""

from __future__ import annotations

import grp
import os
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tenure.domain.errors import InvalidInput
from tenure.domain.policy import Policy
from tenure.domain.policy_change import PolicyFile, Problem, ProblemKind
from tenure.domain.policy_text import make_policy, read_rules
from tenure.domain.rule import Rule
from tenure.domain.settings import read_settings
from tenure.store.regular import open_regular
from tenure.store.user_home import passwd_home

_LARGEST = 1_000_000


def read_policy_file(path: Path) -> PolicyFile | Problem:
    """The settings and rules of a ``profile.toml``, its rules resolved; or why it has none.

    Never raises for what is on the disk. Thread-safe.
    """
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Problem(
            kind=ProblemKind.MISSING,
            text=f"there is no {path}",
            remedy="`tenure owner policy` shows the rules in force and how to write them",
        )
    except OSError as e:
        return Problem(
            kind=ProblemKind.UNREADABLE,
            text=f"{path} cannot be read: {e.strerror or e}",
            remedy=f"make it a file that you can read: chmod 600 {path}",
        )
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


def _parse(content: bytes, path: Path) -> PolicyFile | Problem:
    if len(content) > _LARGEST:
        return _invalid(path, f"larger than {_LARGEST} bytes", "", None)
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as e:  # UnicodeDecodeError, TOMLDecodeError
        return Problem(
            kind=ProblemKind.NOT_TOML,
            text=f"{path} is not TOML: {e}",
            remedy="correct it; until then nothing that it says takes effect",
        )
    if not document:
        return Problem(
            kind=ProblemKind.EMPTY,
            text=f"{path} says nothing",
            remedy="`tenure owner policy` shows the rules in force, to be written there again",
        )
    try:
        settings, rules = read_settings(document), read_rules(document)
        _check_home_paths(rules)
    except InvalidInput as e:
        return _invalid(path, e.text, e.remedy, e.field)
    policy = make_policy(resolve_rules(rules), version=0)
    return PolicyFile(settings=settings, rules=policy.rules, text=policy.text, hash=policy.hash)


def _invalid(path: Path, text: str, remedy: str, field: str | None) -> Problem:
    where = f"{field}: " if field else ""
    return Problem(
        kind=ProblemKind.INVALID,
        text=f"{path}: {where}{text}",
        remedy=remedy or "correct it; until then nothing that the file says takes effect",
        field=field,
    )


def _spellings(path: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    home = passwd_home() if path.startswith("~/") else None
    written = os.path.normpath(home / path[2:] if home is not None else path)
    return tuple(dict.fromkeys((written, os.path.realpath(written))))


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
        # Not blocking: a path may name a pipe that nobody writes to.
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
