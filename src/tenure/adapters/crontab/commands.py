"""What cron would start for a line, as a command: the shell, its line, its input, its variables.

Authority: ``child_process`` of Debian's cron and of cronie. ``SHELL -c COMMAND`` in HOME, with
hardly any environment: what the crontab sets, and SHELL, PATH and LOGNAME where it does not. Up to
the first ``%`` is the command; the rest is its standard input, each further ``%`` a newline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenure.adapters.crontab.dialect import Dialect
from tenure.adapters.crontab.lines import Line
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
    env.pop("LOGNAME", None)  # cron sets it itself, to who the job runs as
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
