"""A command: what to run, and the same once it stands at the gate.

A :class:`CommandSpec` is the job's wish with everything resolved: the environment is whole (no
inheritance behind the caller's back), the folder absolute. :func:`~.gate.spawn_gated`
makes a :class:`GatedCommand` of it, which has not begun. Its holder then does one of two things,
once: :meth:`GatedCommand.open_gate` after ``started`` is committed, or
:meth:`GatedCommand.abandon`. A holder that dies does the latter by dying.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tenure.domain.errors import TenureError
from tenure.domain.policy.evidence import Identity

CHILD = ("-m", "tenure.runtime.callables.child")
"""What an interpreter is given to run a declared function in a process of its own."""
REASON = "TENURE_REASON"
"""The variable that names the file in which such a process says why it failed."""


class CommandNotStarted(TenureError):
    """The command did not start, and nothing of it ran: a folder, file or limit is in the way."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What to run. ``argv`` is run as it stands; with ``shell`` it is one line for /bin/sh.

    ``env`` is the whole environment, except that the shell adds PWD. ``stdin`` is the text the
    job reads, None for nothing (/dev/null).
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    shell: bool = False
    stdin: bytes | None = None


# Write ends of the gates this process holds. A fork without exec (a pre-forking server) would
# keep them open past our death, and the shells behind them waiting: the child closes them.
_held_gates: set[int] = set()


def _close_inherited_gates() -> None:
    for descriptor in _held_gates:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held_gates.clear()


os.register_at_fork(after_in_child=_close_inherited_gates)


@dataclass(slots=True, kw_only=True)
class GatedCommand:
    """A shell that waits at the gate. Not thread-safe: one holder opens or abandons it."""

    run_id: str
    attempt: int
    identity: Identity
    """Of the shell: it leads the session and process group of the job."""
    log_path: Path
    exit_path: Path
    _gate: int | None = field(repr=False)

    def __post_init__(self) -> None:
        if self._gate is not None:
            _held_gates.add(self._gate)

    def open_gate(self) -> bool:
        """Let the job begin. False: the shell was already gone or the gate closed; it never ran.

        True says that the word was given, not that it was heard; the exit record tells.
        """
        if self._gate is None:
            return False
        try:
            os.write(self._gate, b"go\n")
        except OSError:  # EPIPE: killed at the gate; the record stays blank and proves it
            return False
        finally:
            self.abandon()
        return True

    def abandon(self) -> None:
        """Close the gate. Unopened, the job never runs. Does nothing the second time."""
        gate, self._gate = self._gate, None
        # A forked child holds this object too, but its descriptor is closed and may be anything.
        if gate is not None and gate in _held_gates:
            _held_gates.discard(gate)
            with contextlib.suppress(OSError):  # closed all the same, and other gates wait
                os.close(gate)

    def __del__(self) -> None:
        # A gate that nobody holds is a gate that nobody may open.
        if getattr(self, "_gate", None) is not None:
            self.abandon()
