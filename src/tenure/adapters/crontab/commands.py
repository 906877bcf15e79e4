"""What cron would start for a line, as a command: the shell, its line, its input, its variables.

Authority: ``child_process`` of Debian's cron and of cronie. ``SHELL -c COMMAND`` in HOME, with
hardly any environment: what the crontab sets, and SHELL, PATH and LOGNAME where it does not. Up to
the first ``%`` is the command; the rest is its standard input, each further ``%`` a newline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tenure.adapters.crontab.lines import Line
from tenure.adapters.crontab.times import Dialect
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command

SHELL = "/bin/sh"
PATH = "/usr/bin:/bin"
"""What both crons set where the crontab does not."""


def command_of(line: Line, dialect: Dialect) -> Command:
    """Raises InvalidInput for what Tenure cannot run."""
    text, stdin = split_percent(line.command, dialect)
    shell = line.env.get("SHELL", SHELL)
    env = {"SHELL": SHELL, "PATH": PATH, **line.env}
    # Cron sets it itself, to who the job runs as.
    env.pop("LOGNAME", None)
    home = line.env.get("HOME")
    if home is not None and not home.startswith("/"):
        raise InvalidInput(
            f"its HOME, {home!r}, is not an absolute path", remedy="give the full path"
        )
    if not shell.startswith("/"):
        raise InvalidInput(
            f"its SHELL, {shell!r}, is not a path, and cron does not search for it",
            remedy="SHELL=/bin/bash",
        )
    plain = shell == SHELL
    return Command(
        argv=(text,) if plain else (shell, "-c", text),
        shell=plain,
        env=env,
        cwd=home,
        stdin=stdin,
    )


def split_percent(text: str, dialect: Dialect) -> tuple[str, str | None]:
    """The command, and what it reads; None for nothing.

    A backslash makes a percent sign plain; Debian's cron also makes one backslash of two.
    """
    command: list[str] = []
    at = 0
    while at < len(text) and text[at] != "%":
        pair = text[at : at + 2]
        freed = pair == r"\%" or (pair == "\\\\" and dialect is Dialect.DEBIAN)
        command.append(pair[1] if freed else pair if pair[0] == "\\" else pair[0])
        at += len(pair) if pair[0] == "\\" else 1
    return "".join(command), _input(text[at + 1 :])


def _input(text: str) -> str | None:
    if not text:
        return None
    lines = text.replace("\\%", "\0").replace("%", "\n").replace("\0", "%")
    return lines if lines.endswith("\n") else lines + "\n"


def has_double_backslash(command: str) -> bool:
    """Whether the two crons read the command's backslashes differently."""
    return split_percent(command, Dialect.DEBIAN) != split_percent(command, Dialect.CRONIE)


def mail_to(env: Mapping[str, str]) -> str | None:
    """The address that cron mails output to; empty for none, None for the crontab's user."""
    return env.get("MAILTO")


def quirks(line: Line, dialect: Dialect) -> Iterator[str]:
    """Where crons read the line differently."""
    if has_double_backslash(line.command):
        other = "cronie keeps both" if dialect is Dialect.DEBIAN else "Debian's makes one of them"
        mine = "one" if dialect is Dialect.DEBIAN else "two"
        yield f"two backslashes in its command become {mine}, as in {dialect}; {other}"
    if line.windows:
        yield (
            "the line has a Windows line end: cron passes the carriage return to the command;"
            " here it is left out"
        )
    if line.unended:
        yield "the last line has no newline at its end, so cron itself does not run this job"
    if "LOGNAME" in line.env:
        yield "LOGNAME cannot be set in a crontab; it is the user that runs the job"


# -- a short name -------------------------------------------------------------------------------
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
    """What a shell line runs, without the programs that it runs that through.

    ``cd /srv/app && /usr/bin/python3 -m app.report`` is ``app.report``; ``[ -x /bin/x ] && /bin/x
    -q`` is ``x``. At most 60 letters, digits and ``._-``; ``job`` if there is nothing to name.
    """
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
