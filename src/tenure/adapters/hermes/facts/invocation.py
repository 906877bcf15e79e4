"""A command line, read as one of Hermes': which of its programs, which verb, which profile.

What a process got when it started is not proof; open files decide where it has any.
A shell, ``sudo`` or ``timeout`` around Hermes is not Hermes: the child is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath


class Role(StrEnum):
    """What a process of Hermes is for, as far as jobs are concerned."""

    GATEWAY = "gateway"
    DESKTOP = "desktop"
    """A dashboard or ``serve`` that the desktop app started: it ticks."""
    DASHBOARD = "dashboard"
    """A dashboard that the desktop app did not start: it does not tick."""
    TICK = "tick"
    """``hermes cron tick``: one tick, then it ends."""
    RUN = "run"
    """``hermes cron run``: one job, asked for by a person or a program."""
    CHAT = "chat"
    """An agent; it has a tool that runs jobs."""
    PROGRAM = "program"
    """A Python program that has the store open and is none of the above."""

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Role.GATEWAY: "gateway", Role.DESKTOP: "desktop backend", Role.DASHBOARD: "dashboard",
    Role.TICK: "hermes cron tick", Role.RUN: "hermes cron run", Role.CHAT: "chat",
    Role.PROGRAM: "Python program",
}  # fmt: skip

DESKTOP_MARK = "HERMES_DESKTOP"
"""A backend that finds it set to 1 when it starts makes a ticker."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The verb and its word, if any (``("gateway", "run")``), and the profile that was named."""

    words: tuple[str, ...]
    profile: str | None = None


_SCRIPTS = {"hermes": (), "hermes-agent": ("chat",), "hermes-acp": ("acp",)}
_MODULES: Mapping[str, tuple[str, ...]] = {
    "hermes_cli": (), "hermes_cli.main": (), "run_agent": ("chat",),
    "acp_adapter": ("acp",), "acp_adapter.entry": ("acp",), "tui_gateway.entry": ("chat",),
    "gateway.run": ("gateway", "run"), "cron.scheduler": ("cron", "tick"),
}  # fmt: skip
_TAKES_VALUE = frozenset((
    "-z", "--oneshot", "-m", "--model", "--provider", "-t", "--toolsets", "-r", "--resume", "-s",
    "--skills", "--usage-file",
))  # fmt: skip
_MAY_TAKE_VALUE = frozenset(("-c", "--continue"))
_HAS_SECOND_WORD = frozenset(("gateway", "cron", "mcp", "kanban"))
_PROFILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PYTHON = re.compile(r"(python|pythonw|pypy)[0-9.]*(\.exe)?", re.IGNORECASE)
_ENDS_OPTIONS = re.compile(r"-[A-Za-z]*[mc]")
"""``-m``, ``-c``, also behind others (``-Im``): what follows is the program."""
_PYTHON_VALUE = frozenset(("-X", "-W", "--check-hash-based-pycs"))


def read_invocation(argv: Sequence[str]) -> Invocation | None:
    """What Hermes was asked to do; None for another command line."""
    entry, arguments = _entry(list(argv))
    return None if entry is None else _parse(entry, arguments)


def is_python(program: str) -> bool:
    """Whether a program's name is that of a Python."""
    return _PYTHON.fullmatch(_base(program)) is not None


def _entry(rest: list[str]) -> tuple[tuple[str, ...] | None, list[str]]:
    """The words that a program stands for, and its arguments."""
    program = rest.pop(0) if rest else ""
    words = _script(program)
    if words is not None or not is_python(program):
        return words, rest
    while rest:
        argument = rest.pop(0)
        if _ENDS_OPTIONS.fullmatch(argument):
            target = rest.pop(0) if rest else ""
            return _MODULES.get(target) if argument.endswith("m") else _code(target), rest
        if not argument.startswith("-"):
            # The module that a script's path is: its folder and its name.
            parts = PurePath(argument.replace("\\", "/")).with_suffix("").parts
            words = _script(argument)
            return _MODULES.get(".".join(parts[-2:])) if words is None else words, rest
        if argument in _PYTHON_VALUE:
            del rest[:1]
    return None, rest


def _base(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _script(path: str) -> tuple[str, ...] | None:
    return _SCRIPTS.get(_base(path).lower().removesuffix(".exe").removesuffix("-script.py"))


def _code(code: str) -> tuple[str, ...] | None:
    """The program that a ``-c`` text is about, by what it imports."""
    for name in ("tui_gateway", "acp_adapter", "cron.scheduler", "gateway.run", "hermes_cli"):
        if re.search(rf"\b{re.escape(name)}\b", code):
            return next(
                words for module, words in _MODULES.items() if (module + ".").startswith(name + ".")
            )
    return None


def _parse(entry: tuple[str, ...], rest: list[str]) -> Invocation:
    words, profile = list(entry), None
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if argument == "--":
            break
        if name in ("--profile", "-p") and profile is None and (equals or rest):
            named = value if equals else rest.pop(0)
            profile = named if _PROFILE.fullmatch(named) else None
        elif argument in _TAKES_VALUE or (
            argument in _MAY_TAKE_VALUE and rest and rest[0] and not rest[0].startswith("-")
        ):
            del rest[:1]
        # Only the verb, and the word after those that have one, are of interest.
        elif not argument.startswith("-") and (
            not words or (len(words) == 1 and words[0] in _HAS_SECOND_WORD)
        ):
            words.append(argument)
    return Invocation(tuple(words), profile)


def role_of(invocation: Invocation, environ: Mapping[str, str] | None) -> Role | None:
    """The role that a process was started for; None: it neither ticks nor runs jobs."""
    verb, *more = invocation.words or ("chat",)
    word = more[0] if more else ""
    if verb == "gateway":  # `restart` runs the gateway itself where no service manager does
        return Role.GATEWAY if word in ("", "run", "restart") else None
    if verb in ("dashboard", "serve"):
        mark = (environ or {}).get(DESKTOP_MARK)
        return Role.DESKTOP if mark == "1" else Role.DASHBOARD
    if verb == "cron":
        return {"tick": Role.TICK, "run": Role.RUN}.get(word)
    return Role.CHAT if verb in ("chat", "acp") else None


def stated_home(
    invocation: Invocation, environ: Mapping[str, str] | None, folder: str | None
) -> str | None:
    """The home in a process's arguments and environment; None if it is unknown.

    The order is Hermes' own: the profile that was named, a ``HERMES_HOME`` that is a profile's
    folder, the profile that was chosen for good (``active_profile``), the root.
    """
    if environ is None:
        return None
    named = environ.get("HERMES_HOME", "").strip()
    user = environ.get("HOME") or environ.get("USERPROFILE")
    native = os.path.join(user, ".hermes") if user else None
    start = os.path.join(folder or os.sep, named) if named else native
    if start is None:
        return None
    root = PurePath(start)
    if root.parent.name == "profiles":
        if invocation.profile is None:
            return start
        root = root.parent.parent
    profile = invocation.profile or _chosen(Path(root), environ)
    return str(root) if profile in (None, "default") else str(root / "profiles" / str(profile))


def _chosen(root: Path, environ: Mapping[str, str]) -> str | None:
    """The profile that ``hermes profile use`` made the default one of the root."""
    if environ.get("HERMES_S6_SUPERVISED_CHILD"):
        return None
    try:
        return (root / "active_profile").read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
