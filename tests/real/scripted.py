"""A scheduler process that ends, or freezes, itself at one named place of a command's life.

    python scripted.py HOME PROFILE PLACE SIGNAL

It is ``tenure serve`` with one function patched; nothing of this is in the code that is shipped.
``PLACE`` is one of :data:`PLACES`, or ``-`` for none. The first command to get there is hit, and
none after it. Options by environment: ``SCRIPTED_DRAIN``, ``SCRIPTED_HUNG_AFTER`` and
``SCRIPTED_LOOK_EVERY`` in seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from tenure.domain import ownership
from tenure.runtime import daemon
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.ownership import keeper
from tenure.runtime.profile import Profile
from tenure.store.folder import identity_file
from tenure.store.sqlite.claims import Claims

PLACES: dict[str, tuple[type | ModuleType, str, bool]] = {
    "taking": (identity_file, "as_text", True),  # profile.id locked, a term being reserved
    "before_spawn": (CommandRunner, "_spawn", False),  # claimed and committed, no process yet
    "before_started": (Inbox, "at_gate", False),  # a shell at the gate, not committed
    "at_gate": (GatedCommand, "open_gate", False),  # 'started' committed, the gate shut
    "opened": (GatedCommand, "open_gate", True),  # the word is given
    "before_record": (Inbox, "report", False),  # the command ended, not committed
    "in_transaction": (Claims, "claim", True),  # inside the write transaction of a claim
}
"""Class or module, function, and whether it is hit after the function has done its work."""


opened: list[Profile] = []


def hit_at(place: str, number: signal.Signals) -> None:
    """Patch the function of ``place`` so that its first call sends this process the signal."""
    owner, name, after = PLACES[place]
    original: Callable[..., Any] = getattr(owner, name)
    hit = [False]

    def strike(counts: bool) -> None:
        if counts and not hit[0]:
            hit[0] = True
            # To this very thread, which then goes not one instruction further; and while no other
            # thread is inside a transaction, or it would be frozen there with us.
            with opened[0].store._db._lock:
                signal.pthread_kill(threading.get_ident(), number)

    def patched(*args: Any, **options: Any) -> Any:
        if after:
            result = original(*args, **options)
            strike(bool(result))
            return result
        strike(True)
        return original(*args, **options)

    setattr(owner, name, patched)


def main(home: str, name: str, place: str, number: str) -> int:
    if place != "-":
        hit_at(place, signal.Signals[number])
    if seconds := os.environ.get("SCRIPTED_HUNG_AFTER"):
        ownership.HUNG_AFTER = timedelta(seconds=float(seconds))
    if seconds := os.environ.get("SCRIPTED_LOOK_EVERY"):
        keeper.LOOK_EVERY_S = float(seconds)
    drain = float(os.environ.get("SCRIPTED_DRAIN", "10"))
    profile = Profile.open(name, home=home, create=True, now=datetime.now(UTC))
    opened.append(profile)
    try:
        return daemon.serve(profile, drain=drain)
    finally:
        profile.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
