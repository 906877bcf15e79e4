"""The fields of a job: one table from which every surface reads, writes and describes them.

From it come the options of ``add`` and ``edit``, the keys of a job file and of the API, the inputs
of the web form, the rows of ``show`` and of the job page, the options of ``Tenure.job`` and what
can be reset. A new field is added to :class:`~tenure.domain.job.Definition`, which holds its
default and its limits, and to :data:`FIELDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from tenure.domain.durations import format_duration, parse_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import CatchUp, Command, Definition, Overlap

E = TypeVar("E", bound=StrEnum)
FormatSpan = Callable[[timedelta], str]


# -- values --------------------------------------------------------------------------------------
def read_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"expected text, not {type(value).__name__}", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "contains bytes that are not UTF-8", field=field, remedy="write it in UTF-8"
        ) from None
    return value


def read_texts(value: object, field: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput("expected a list of texts", field=field)
    return tuple(read_text(item, field) for item in value)


def read_flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("expected true or false", field=field)
    return value


def _read_number(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput("expected a whole number", field=field)
    return value


def _read_duration(value: object, field: str) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value, field)


def _read_choice(kind: type[E], value: object, field: str) -> E:
    try:
        return kind(str(value))
    except ValueError:
        words = ", ".join(str(word) for word in kind)
        raise InvalidInput(
            f"{str(value)[:40]!r} is not one of {words}", field=field, remedy=f"use {words}"
        ) from None


def read_catch_up(text: object, field: str) -> tuple[CatchUp | None, timedelta | None]:
    """``none``, ``latest``, ``all``, the last two with ``:window``; ``default`` is by schedule."""
    word, _, window = str(text).partition(":")
    if word == "default" and not window:
        return None, None
    mode = _read_choice(CatchUp, word, field)
    if not window:
        return mode, None
    if mode is CatchUp.NONE:
        raise InvalidInput("'none' has no window", field=field, remedy="latest:2h or all:2h")
    return mode, parse_duration(window, field, minimum=timedelta(seconds=1))


def _write_catch_up(mode: CatchUp | None, window: timedelta | None) -> str | None:
    if mode is None or mode is CatchUp.NONE or window is None:
        return None if mode is None else str(mode)
    return f"{mode}:{format_duration(window)}"


def _as_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class FieldType:
    """How the values of one kind are read from a file, an option, JSON or code, and written."""

    read: Callable[[Any, str], Any]
    """Raises InvalidInput naming the field. A tuple where the field has several attributes."""
    write: Callable[..., Any] = _as_is
    """The value of a job file; one argument for each attribute of the field."""
    describe: Callable[[Any], str | None] = lambda value: str(value) if value else None
    """For a person; None where the value says nothing."""


TEXT = FieldType(read_text)
FLAG = FieldType(read_flag, describe=lambda value: "yes" if value else None)
NUMBER = FieldType(_read_number)
DURATION = FieldType(
    _read_duration, format_duration, lambda value: format_duration(value) if value else None
)
WORDS = FieldType(read_texts, list, lambda value: ", ".join(value) or None)
CAPABILITIES = FieldType(read_texts, list, lambda value: ", ".join(value) or None)
OVERLAP = FieldType(partial(_read_choice, Overlap), str)
CATCH_UP = FieldType(read_catch_up, _write_catch_up)


# -- the table -----------------------------------------------------------------------------------
class Part(StrEnum):
    """The part of a definition that a field describes."""

    NAME = "name"
    SCHEDULE = "schedule"
    COMMAND = "action"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """An option of ``tenure add`` and ``edit``."""

    help: str
    metavar: str | None = None
    name: str | None = None
    """Without the dashes; that of the field if not given."""
    repeatable: bool = False
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the web form, in a section of it; inputs with one row number share a row."""

    section: str
    row: int
    label: str
    hint: str = ""
    placeholder: str = ""
    kind: str = "line"
    """line, block (of several lines), tick, or choice."""
    id: str = ""
    """The field's name if not given."""
    lines: int = 3
    choices: Mapping[str, str] | None = None
    extra: str = ""
    """More attributes of the element."""
    last: bool = False
    """Whether it comes last in its row, whatever its field's place in the table is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the job page: its label, and its text with lengths of time as the page has them."""

    label: str
    text: Callable[[Definition, FormatSpan], str | None]
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobField:
    """One field of a job, and what each surface calls it."""

    name: str
    type: FieldType = TEXT
    part: Part = Part.OPTION
    attributes: tuple[str, ...] = ()
    """Of the definition or its command; its name if empty."""
    label: str = ""
    """In a sentence or a list; the first letter small."""
    option: Option | None = None
    inputs: tuple[Input, ...] = ()
    shown_as: str = ""
    """The label of its row in ``tenure show``; empty: no row."""
    shown: Callable[[Definition], str | None] | None = None
    """The text of that row; by its type if None."""
    row: Row | None = None
    resettable: bool = False
    always_written: bool = False
    """In a job file; else only where it differs from the default."""
    api_help: str = ""
    """The description of an option in the API's schema."""

    def read(self, value: object) -> dict[str, Any]:
        """The attributes that a value of a file, an option, JSON or code gives. Raises
        InvalidInput naming the field."""
        read = self.type.read(value, self.name)
        return dict(zip(self.names, read if len(self.names) > 1 else (read,), strict=True))

    def write(self, definition: Definition) -> Any:
        """The value of a job file; None for the default."""
        values = self._values(definition)
        if values == tuple(self.defaults.values()) and not self.always_written:
            return None
        return self.type.write(*values)

    def describe(self, definition: Definition) -> str | None:
        """The text of its row in ``tenure show``; None without one."""
        if self.shown is not None:
            return self.shown(definition)
        return self.type.describe(self._values(definition)[0])

    @property
    def names(self) -> tuple[str, ...]:
        return self.attributes or (self.name,)

    @property
    def defaults(self) -> dict[str, Any]:
        """By attribute. Where the profile has one of its own, as for ``grace``, that goes first."""
        return {name: _DEFAULTS[self.part][name] for name in self.names}

    def _values(self, definition: Definition) -> tuple[Any, ...]:
        holder = definition.action if self.part is Part.COMMAND else definition
        return tuple(getattr(holder, name, None) for name in self.names)


def _defaults(kind: type) -> dict[str, Any]:
    return {
        f.name: f.default if f.default_factory is MISSING else f.default_factory()
        for f in dataclass_fields(kind)
        if not (f.default is MISSING and f.default_factory is MISSING)
    }


_DEFAULTS = {Part.OPTION: _defaults(Definition), Part.COMMAND: _defaults(Command)}

_DST = {
    "cron": "as cron does (the usual)",
    "gap=shift,fold=first": "missing: at the change. Twice: the first",
    "gap=shift,fold=second": "missing: at the change. Twice: the second",
    "gap=shift,fold=both": "missing: at the change. Twice: both",
    "gap=skip,fold=first": "missing: not that day. Twice: the first",
    "gap=skip,fold=second": "missing: not that day. Twice: the second",
    "gap=skip,fold=both": "missing: not that day. Twice: both",
}
"""What a local time does that is missing in spring, or comes twice in autumn."""
_OVERLAP = {
    "skip": "skip the new run",
    "queue": "let one run wait",
    "allow": "run beside it",
    "cancel": "cancel the previous run",
}
_CATCH_UP = {"": "as usual", "none": "none", "latest": "the latest", "all": "all"}
_CAUGHT_UP = {"none": "none", "latest": "the latest missed run", "all": "every missed run"}


def _show_catch_up(job: Definition) -> str:
    within = f" within {format_duration(job.window)}" if job.window else ""
    return f"{job.catching_up}{within}"


def _show_retries(job: Definition) -> str | None:
    first = format_duration(job.backoff)
    return f"{job.retries}, the first after {first}" if job.retries else None


def _page_catch_up(job: Definition, span: FormatSpan) -> str:
    within = f" of the last {span(job.window)}" if job.window else ""
    return _CAUGHT_UP[job.catching_up] + within


def _page_retries(job: Definition, span: FormatSpan) -> str:
    if not job.retries:
        return "none"
    return f"{job.retries}, the first after {span(job.backoff)}, then twice as long"


def _page_folder(job: Definition, span: FormatSpan) -> str | None:
    return (job.action.cwd or "the home folder") if isinstance(job.action, Command) else None


def _page_stdin(job: Definition, span: FormatSpan) -> str | None:
    text = getattr(job.action, "stdin", None)
    return f"{len(text)} characters" if text else None


FIELDS = (
    JobField(
        name="name",
        part=Part.NAME,
        label="name",
        inputs=(
            Input("what", 3, "Name", "If empty, the job is named after its command.", "backup"),
        ),
    ),
    JobField(
        name="schedule",
        part=Part.SCHEDULE,
        label="schedule",
        inputs=(
            Input("when", 1, "Schedule",
                  "Cron, every 90s, every monday 9am, in 30m, or an instant.", "0 7 * * 1-5"),
        ),
    ),
    JobField(
        name="tz",
        part=Part.SCHEDULE,
        label="time zone",
        option=Option("Time zone of the schedule; 'profile' (default): the profile's.", "ZONE"),
        inputs=(Input("when", 2, "Time zone", extra=" list=zones"),),
    ),
    JobField(
        name="dst",
        part=Part.SCHEDULE,
        label="when clocks change",
        option=Option("At clock changes: cron, or gap=skip|shift,fold=first|second|both.", "RULE"),
        inputs=(Input("when", 2, "When clocks change", kind="choice", choices=_DST),),
        resettable=True,
    ),
    JobField(name="at", part=Part.SCHEDULE),
    JobField(name="anchor", part=Part.SCHEDULE),
    JobField(name="interval", part=Part.SCHEDULE),
    JobField(name="cron", part=Part.SCHEDULE),
    JobField(
        name="command",
        part=Part.COMMAND,
        label="command",
        inputs=(
            Input("what", 1, "Command",
                  "A program and its arguments, quoted as in a shell. Its output is kept.",
                  "/usr/local/bin/backup --all", kind="block", lines=2),
            Input("what", 2, "Run it in a shell",
                  "One line for /bin/sh: pipes, variables and && work.", kind="tick", id="shell"),
        ),
    ),
    JobField(
        name="shell",
        part=Part.COMMAND,
        option=Option("COMMAND is one line for /bin/sh.", flag=True),
    ),
    JobField(
        name="env",
        part=Part.COMMAND,
        label="variables",
        option=Option("An environment variable (repeatable).", "K=V", repeatable=True),
        inputs=(
            Input("env", 2, "Variables", "One NAME=VALUE per line. Secrets are masked; leave "
                  "the mask to keep a value.", "LANG=C.UTF-8", kind="block"),
        ),
        resettable=True,
    ),
    JobField(
        name="cwd",
        part=Part.COMMAND,
        label="folder",
        option=Option("Working folder (default: the home folder).", "DIR"),
        inputs=(Input("env", 1, "Folder", "The working folder.", "the home folder"),),
        shown_as="cwd",
        row=Row("folder", _page_folder, last=True),
        resettable=True,
    ),
    JobField(
        name="stdin",
        part=Part.COMMAND,
        label="standard input",
        option=Option("The command's input; - reads it from standard input.", "TEXT"),
        inputs=(
            Input("env", 3, "Standard input", "The command's input. It is masked; leave the mask "
                  "to keep the text.", kind="block", lines=2),
        ),
        shown_as="stdin",
        row=Row("standard input", _page_stdin, last=True),
        resettable=True,
    ),
    JobField(
        name="protected",
        api_help="Runs under an authoritative owner or not at all.",
        type=FLAG,
        label="protected",
        option=Option("Only an authoritative owner may run it."),
        inputs=(
            Input("who", 1, "Protected", "Only an authoritative owner may run it; without one, "
                  "its scheduled runs are held.", kind="tick"),
        ),
        shown_as="protected",
    ),
    JobField(
        name="requires",
        api_help="Capabilities that the owner must not be denied.",
        type=CAPABILITIES,
        label="required capabilities",
        option=Option("A capability the owner must have (repeatable).", "CAP", repeatable=True),
        inputs=(
            Input("who", 2, "Required capabilities", "One per line: read:/path, write:/path, "
                  "exec:NAME or fda (macOS Full Disk Access). The owner must not be denied them.",
                  "read:~/Documents", kind="block", lines=2),
        ),
        shown_as="requires",
        resettable=True,
    ),
    JobField(
        name="overlap",
        type=OVERLAP,
        label="while the previous run is active",
        option=Option("While the previous run is active: skip, queue, allow, cancel.", "HOW"),
        inputs=(
            Input("late", 1, "While its previous run is active", kind="choice", choices=_OVERLAP),
        ),
        shown_as="overlap",
        row=Row("while it still runs", lambda job, span: _OVERLAP[job.overlap]),
        resettable=True,
    ),
    JobField(
        name="catch_up",
        api_help="`none`, `latest`, `all`, the last two with `:window`, `default`.",
        type=CATCH_UP,
        attributes=("catch_up", "window"),
        label="catch up missed runs",
        option=Option("Missed runs: none, latest[:WINDOW], all[:WINDOW].", "WHAT"),
        inputs=(
            Input("late", 2, "Catch up missed runs", kind="choice", choices=_CATCH_UP),
            Input("late", 2, "No older than", "Older runs are not caught up. As usual: the latest "
                  "of a cron schedule, none of an interval.", "any age, or 6h", id="window"),
        ),
        shown_as="catch-up",
        shown=_show_catch_up,
        row=Row("catch-up", _page_catch_up),
        resettable=True,
    ),
    JobField(
        name="grace",
        type=DURATION,
        label="may start late by",
        option=Option("How late a scheduled run may start (default: 1m).", "TIME"),
        inputs=(
            Input("late", 2, "May start late by", "A run that is later than this counts as "
                  "missed."),
        ),
        shown_as="grace",
        row=Row("may start late by", lambda job, span: span(job.grace)),
        resettable=True,
        # The profile that applies the file may have another default.
        always_written=True,
    ),
    JobField(
        name="jitter",
        type=DURATION,
        label="jitter",
        option=Option("Add a fixed delay to each run, at most this, chosen per job.", "TIME"),
        inputs=(
            Input("late", 3, "Jitter", "Each run is delayed by at most this, the same each time, "
                  "so that jobs do not start together.", "none, or 30s", last=True),
        ),
        shown_as="jitter",
        row=Row("jitter", lambda job, span: f"up to {span(job.jitter)}" if job.jitter else None),
        resettable=True,
    ),
    JobField(
        name="timeout",
        type=DURATION,
        label="timeout",
        option=Option("Kill the command after this long.", "TIME"),
        inputs=(
            Input("late", 1, "Timeout", "After this long, its processes are ended.",
                  "none, or 10m"),
        ),
        shown_as="timeout",
        row=Row("timeout", lambda job, span: span(job.timeout) if job.timeout else "none"),
        resettable=True,
    ),
    JobField(
        name="retries",
        type=NUMBER,
        label="retries",
        option=Option("Retries after a failure.", "N"),
        inputs=(
            Input("late", 3, "Retries", "How often to retry after a failure.", "0",
                  extra=" inputmode=numeric"),
        ),
        shown_as="retries",
        shown=_show_retries,
        row=Row("retries", _page_retries),
        resettable=True,
    ),
    JobField(
        name="backoff",
        type=DURATION,
        label="first pause before a retry",
        option=Option("Delay before the first retry; it doubles each time.", "TIME"),
        inputs=(
            Input("late", 3, "First pause", "Before the first retry; then twice as long each time.",
                  "10s"),
        ),
        resettable=True,
    ),
    JobField(
        name="retry_lost",
        type=FLAG,
        label="retry a lost run",
        option=Option("Also retry a run whose outcome is unknown."),
        inputs=(
            Input("late", 4, "Retry a run whose outcome is unknown", "For example after a crash. "
                  "It may repeat what the run already did.", kind="tick"),
        ),
        shown_as="retry lost",
        row=Row(
            "if its outcome is lost",
            lambda job, span: "it is retried, which may repeat its effects"
            if job.retry_lost
            else None,
        ),
    ),
    JobField(
        name="tags",
        type=WORDS,
        label="tags",
        option=Option("A label to filter jobs by (repeatable).", name="tag", repeatable=True),
        inputs=(
            Input("env", 4, "Tags", "Words to find the job by, separated by commas.",
                  "nightly, finance"),
        ),
        shown_as="tags",
        resettable=True,
    ),
)  # fmt: skip
"""In the order in which a job file has them. ``paused`` is not among them: it is a job's state,
not its definition."""

BY_NAME = {field.name: field for field in FIELDS}
NAMES = tuple(BY_NAME)
OPTIONS = tuple(field for field in FIELDS if field.part is Part.OPTION)
COMMAND = tuple(field.name for field in FIELDS if field.part is Part.COMMAND)
RESETTABLE = tuple(field.name for field in FIELDS if field.resettable)


# -- secrets ---------------------------------------------------------------------------------------
MASK = "********"
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|KEY|CREDENTIAL|AUTH|COOKIE|PRIVATE|DSN|(^|_)(PWD|PAT|PW)($|_)",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def is_secret(name: str, value: str = "") -> bool:
    """Whether a variable of this name, or a URL with a password in it, is to be masked."""
    if name in ("PWD", "OLDPWD"):
        return False
    return bool(_SECRET.search(name)) or bool(_CREDENTIALS_IN_URL.search(value))


def masked_text(text: str | None, *, show: bool = False) -> str | None:
    """The text of standard input as :data:`MASK`, unless ``show`` or there is none."""
    return MASK if text and not show else text


def masked(env: Mapping[str, str], *, show: bool = False) -> dict[str, str]:
    """``env`` with the secrets replaced by :data:`MASK`, unless ``show``."""
    return {
        name: MASK if not show and is_secret(name, value) else value for name, value in env.items()
    }
