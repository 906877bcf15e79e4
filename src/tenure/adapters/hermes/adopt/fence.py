"""The fence: a folder at ``cron/.tick.lock``, which no ticker of Hermes can open.

Every tick of every version begins by opening that path for writing, and does nothing where it
cannot. So a folder there stops all ticks, also of processes without Tenure's plugin, and also while
no process of Tenure runs. The owner's own ticks lock another file.

The old file is locked first, so that no tick is active, then exchanged with the folder, in one step
where the system can. It stays locked for a moment longer, for a ticker that opened it just before.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

from tenure.adapters.hermes.adopt.plugin_files import fence_files
from tenure.adapters.hermes.back.disk import (
    Disk,
    beside,
    content_of,
    is_file,
    is_folder,
    lock,
    unlock,
)
from tenure.adapters.hermes.back.release import Refusal, alone
from tenure.adapters.hermes.facts.adoption_record import ADOPTED, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.scan import read_lock
from tenure.domain.errors import OutcomeUnknown, TenureError

LINGER_S = 1.0
"""How long the old file stays locked: a ticker locks a file right after opening it."""
_TRIES = 20
_TAKEN = (errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)


def assert_fence(home: HermesHome) -> str | None:
    """None if the fence exists. Else restore it, and return what happened.

    For the owner, at each tick: one ``lstat`` in the normal case. Never raises.
    """
    try:
        if stat.S_ISDIR(os.lstat(home.tick_lock).st_mode):
            return None
        state = "had been replaced by a file"
    except FileNotFoundError:
        state = "had been removed"
    except OSError as error:
        return f"the fence {home.tick_lock} cannot be examined: {error.strerror or error}"
    try:
        return f"the fence {home.tick_lock} {state}; {_repair(home)}"
    except (OSError, TenureError, Refusal) as error:
        return f"the fence {home.tick_lock} {state}, and cannot be restored: {error}"


def _repair(home: HermesHome) -> str:
    with alone(str(home.path)):
        adoption = read_adoption(home)
        if adoption is None or adoption.state != ADOPTED or not adoption.is_of(home):
            state = adoption.state if adoption else "no adoption"
            return f"it is not restored ({state})"
        TickLockBlocker(home, Disk()).install(keep=None, patience=2.0)
    return "it is restored, but other tickers may have run jobs meanwhile"


def fence_exists(home: HermesHome) -> bool:
    """Whether the fence exists."""
    return is_folder(str(home.tick_lock))


class TickLockBlocker:
    """Installs the fence, also after an interrupted try. ``linger``: see :data:`LINGER_S`."""

    def __init__(self, home: HermesHome, disk: Disk, *, linger: float | None = None) -> None:
        self.home = home
        self.disk = disk
        self.linger = LINGER_S if linger is None else linger
        self.path = str(home.tick_lock)
        self.ready = beside(self.path)
        """The folder before it is in place; the file that was there just after."""
        self.saved = str(home.tenure / "restore" / "tick.lock")

    def install(self, *, keep: Callable[[str], None] | None, patience: float = 10.0) -> None:
        """Raises OutcomeUnknown if a tick runs for longer than ``patience`` seconds.

        ``keep``: what was there is kept, to be restored; it is called with ``file`` or ``absent``
        before anything is changed, and again if that has changed meanwhile. None: it goes.
        """
        for _ in range(_TRIES):
            if is_folder(self.path):
                self._tidy(keep)
                return
            if not os.path.lexists(self.path) and is_file(self.ready):
                self.disk.rename(self.ready, self.path)  # a release was cut short
            taken = os.path.lexists(self.path)
            if keep is not None:
                keep("file" if taken or os.path.lexists(self.saved) else "absent")
            self._prepare()
            if self._replace(keep, patience) if taken else self._place():
                self.disk.flush(str(self.home.cron))
                self.disk.remove(beside(self.ready))
                return
        raise OutcomeUnknown(
            f"{self.path} is created again each time it is removed",
            remedy="stop the gateway and the desktop app, then adopt again",
        )

    def _prepare(self) -> None:
        self.disk.remove(self.ready)
        self.disk.mkdir(self.ready, 0o700)
        for name, content in fence_files(self.home).items():
            self.disk.create(os.path.join(self.ready, name), content, 0o600)
        self.disk.flush(self.ready)

    def _place(self) -> bool:
        """The path is free. False if it no longer is: a folder cannot replace a file."""
        try:
            self.disk.rename(self.ready, self.path)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            return False
        return True

    def _replace(self, keep: Callable[[str], None] | None, patience: float) -> bool:
        try:
            held = lock(self.path, patience)
        except FileNotFoundError:
            return False
        if held is None:
            holder = read_lock(self.home.tick_lock).pid
            who = f"pid {holder}" if holder else "some process"
            raise OutcomeUnknown(
                f"a tick has been running for {patience:g} s: {who} holds {self.path}",
                remedy="`hermes cron tick` holds it while its jobs run: let it end, or end it, and "
                "adopt again",
                pid=holder,
            )
        try:
            return self._swap(keep)
        finally:
            # A ticker that opened the old file just before must not get its lock now.
            time.sleep(self.linger)
            unlock(held)

    def _swap(self, keep: Callable[[str], None] | None) -> bool:
        if self.disk.exchange(self.ready, self.path):
            self._put_by(self.ready, keep)
            return True
        # Without an exchange the path is free for a moment, and a ticker may make a new file there.
        self._put_by(self.path, keep)
        return self._place()

    def _put_by(self, old: str, keep: Callable[[str], None] | None) -> None:
        # Only the first file that is found is Hermes' own; later ones were made meanwhile.
        if keep is not None and not os.path.lexists(self.saved):
            self.disk.move(old, self.saved)
        else:
            self.disk.unlink(old)

    def _tidy(self, keep: Callable[[str], None] | None) -> None:
        """The fence exists: finish an interrupted step, and update its files."""
        if is_folder(self.ready):
            self.disk.remove(self.ready)
        elif is_file(self.ready):
            self._put_by(self.ready, keep)
        self.disk.remove(beside(self.ready))
        for name, content in fence_files(self.home).items():
            path = os.path.join(self.path, name)
            if content_of(path) != content:
                self.disk.write(path, content)
