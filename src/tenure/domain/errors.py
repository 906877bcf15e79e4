"""What can go wrong, said with the facts and the remedy.

Every error has one root, :class:`TenureError`. Each carries

* ``text``: what was asked and what prevents it, one sentence or two;
* ``remedy``: what to type or change, or ``""`` where nothing helps;
* ``field``: the input field at fault, for invalid input;
* ``facts``: the same as data, for ``--json`` and for callers.

The command line turns the class into an exit code with :attr:`TenureError.exit_code`.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

PASSING = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Numbers of an OSError that says nothing of the file it is about: this process, or the machine,
is out of descriptors or memory for now."""


class TenureError(Exception):
    """The root of all errors that Tenure raises on purpose."""

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "internal"

    def __init__(
        self, text: str, *, remedy: str = "", field: str | None = None, **facts: Any
    ) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy
        self.field = field
        self.facts = facts

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.text}" + (f" ({self.remedy})" if self.remedy else "")


class InvalidInput(TenureError, ValueError):
    """A value that cannot be accepted; nothing was changed. Names the field."""

    exit_code = 2
    code = "invalid"


class Refused(TenureError):
    """Ownership or the owner policy forbids it. Nothing ran, nothing was claimed."""

    exit_code = 3
    code = "refused"


class StaleTerm(Refused):
    """The write named a term, process or policy version that is no longer current (C3)."""

    code = "stale_term"


class NotFound(TenureError, LookupError):
    """No such job, run, request, process or profile."""

    exit_code = 4
    code = "not_found"


class Conflict(TenureError):
    """Another process changed it first, or the name is taken. Read again and retry."""

    exit_code = 5
    code = "conflict"


class IllegalTransition(Conflict):
    """The state machine has no such arrow; nothing was changed."""

    code = "illegal_transition"


class CorruptStore(TenureError):
    """The store is corrupt, or not the store that this profile had. It is never overwritten."""

    exit_code = 1
    code = "damaged"


class OutcomeUnknown(TenureError):
    """Could not tell: a timeout, or the store is blocked by another process."""

    exit_code = 75
    code = "undetermined"


class WaitTimeout(OutcomeUnknown, TimeoutError):
    """The wait is over before the run has ended. Nothing was cancelled: the run goes on."""


class StoreBlocked(OutcomeUnknown):
    """Another process holds the store's write lock for too long; it is named where known."""

    code = "store_blocked"


class StoreUnwritable(OutcomeUnknown):
    """The disk is full, read-only or failing: what was asked may not have been written."""

    code = "store_unwritable"


class RunFailed(Exception):
    """What a job's function raises to fail its run with this reason, and no traceback."""
