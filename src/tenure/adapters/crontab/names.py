"""A short name for a shell line: what it runs, without what it runs that through.

``cd /srv/app && /usr/bin/python3 -m app.report`` is ``app.report``; ``[ -x /bin/x ] && /bin/x -q``
is ``x``. The same line always gets the same name. Pure; safe from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SEPARATORS = re.compile(r"&&|\|\||[;|&(){}]|\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_ASIDE = frozenset(
    ("cd", "[", "[[", "test", ".", "source", "export", "set", "umask", "ulimit", "sleep", "true",
     "command", "fi", "for", "echo", "date", "exit", "done", "else")
)  # fmt: skip
"""Commands that go before the one that matters."""
_THROUGH = frozenset(
    ("nice", "ionice", "chrt", "timeout", "nohup", "env", "exec", "sudo", "doas", "flock", "setsid",
     "time", "chronic", "bash", "sh", "dash", "zsh", "ksh", "perl", "ruby", "node", "php", "java",
     "uv", "run", "poetry", "pipenv", "systemd-cat", "cronic", "eatmydata", "then", "do", "if",
     "while")
)  # fmt: skip
"""Programs that run the one that matters."""
_NUMBER = re.compile(r"[\d.]+[smhd]?")
_REDIRECTION = re.compile(r"\d?[<>]+")
_PYTHON = re.compile(r"python[\d.]*")


def name_of(command: str) -> str:
    """At most 60 letters, digits and ``._-``; ``job`` if nothing can be made of it."""
    parts = [part.split() for part in _SEPARATORS.split(command)]
    for words in parts:
        name = _of_words(words, aside=_ASIDE)
        if name:
            return name
    for words in parts:
        name = _of_words(words, aside=frozenset())
        if name:
            return name
    return "job"


def _of_words(words: Sequence[str], *, aside: frozenset[str]) -> str:
    through = last = ""
    for word in words:
        plain, before, last = _clean(word), last, word
        if plain in aside:
            return ""
        if not plain or _ASSIGNMENT.match(word) or word[0] == "-":
            continue
        if _REDIRECTION.match(word) or _REDIRECTION.fullmatch(before):
            continue
        if before == "-m" and through.startswith("python"):
            return plain
        if plain in _THROUGH or _PYTHON.fullmatch(plain):
            through = plain
        elif through == "flock":
            through = "its lock"
        elif not (through and _NUMBER.fullmatch(word)):
            return plain
    return through if not aside else ""


def _clean(word: str) -> str:
    base = word.strip("'\"`").rstrip("/").rsplit("/", 1)[-1]
    kept = "".join(c for c in base if c.isalnum() or c in "._-")[:60].strip("._-")
    return word if word in ("[", "[[", ".") else kept
