"""An opened profile: its folder, its store, its settings, and the policy in force.

Opening decides nothing about ownership. It checks that the folder belongs to this user and lies on
a file system that supports ownership, and opens the database in it. Only ``add`` and ``serve``
create a database, and never where a ``profile.id`` shows that there was one before.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from tenure.domain.errors import Conflict, NotFound, Refused
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.change import (
    Accept,
    PolicyFile,
    PolicyProblem,
    ProblemKind,
    policy_in_force,
    reconcile_policy,
)
from tenure.domain.settings import Settings
from tenure.domain.warnings import ProfileWarning
from tenure.host.local_zone import local_zone
from tenure.host.processes import machine_id
from tenure.host.write_lock import write_lock_holder
from tenure.store.folder import identity
from tenure.store.folder.identity import IdentityProblem
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.layout import home as home_folder
from tenure.store.folder.policy_file import read_policy_file, resolve_policy
from tenure.store.sqlite import SqliteStore

PATIENCE = timedelta(seconds=5)
"""How long a store verb waits for the write lock of another process."""

_Mark = tuple[int, ...] | None
"""Changes with the file; None where that is unknown, so that it is read again each time."""
_MISSING: _Mark = (0,)


class Profile:
    """A profile of this user on this machine. As thread-safe as its store; close it when done."""

    def __init__(self, folder: ProfileFolder, store: SqliteStore) -> None:
        self.folder = folder
        self.store = store
        self._settings = Settings()
        self.file_warning: ProfileWarning | None = None
        """What was wrong with profile.toml when :meth:`refresh_policy` last read it."""
        self._read: tuple[PolicyFile | PolicyProblem, _Mark] | None = None
        self._policy_mark: _Mark = ()
        self._resolved: Policy | None = None
        self._toml = str(folder.toml)

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def open(
        cls,
        name: str,
        *,
        home: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        create: bool = False,
        now: datetime | None = None,
        readonly: bool = False,
        to_own: bool = False,
    ) -> Profile:
        """Open the profile; with ``create`` (which needs ``now``) make a new one if none exists.

        ``to_own``: refuse it where no process can become owner because profile.toml cannot be read.
        Raises InvalidInput, NotFound, Refused, CorruptStore; StoreBlocked if the store is held.
        """
        where = home_folder(home, os.environ if environ is None else environ)
        folder = ProfileFolder.open(name, where, create=create)
        if not folder.database.exists():
            if to_own:
                _check_not_closed(policy_in_force(OPEN, read_policy_file(folder.toml)))
            cls._create(folder, create, now)
        store = SqliteStore.open(
            folder.database, readonly=readonly, patience=PATIENCE, holder_probe=write_lock_holder
        )
        profile = cls(folder, store)
        try:
            if create:
                profile._finish_creation()
            if to_own:
                _check_not_closed(profile.policy())
        except BaseException:
            profile.close()
            raise
        return profile

    @staticmethod
    def _create(folder: ProfileFolder, create: bool, now: datetime | None) -> None:
        # In this order: another process may be creating both at this moment.
        if identity.read(folder) is not None and not folder.database.exists():
            problem = identity.check(folder, None, machine=machine_id() or "")
            raise Refused(
                problem.text if problem else f"{folder.database} is gone",
                remedy=problem.remedy if problem else "restore a backup: tenure restore FILE",
                profile=folder.name,
            )
        if not create or now is None:
            raise NotFound(
                f"profile {folder.name} has no database yet",
                remedy="`tenure add` or `tenure serve` creates it",
                profile=folder.name,
            )
        # Two processes create it at once: the later one opens what the other made.
        with contextlib.suppress(Conflict):
            SqliteStore.create(folder.database, profile_id=str(uuid.uuid4()), now=now).close()

    def _finish_creation(self) -> None:
        """A database without a profile.id belongs to a profile being created: write the id."""
        if identity.read(self.folder) is None and self.store.facts().term == 0:
            with contextlib.suppress(Conflict):
                identity.create(
                    self.folder, machine=machine_id() or "", id=self.store.facts().profile_id
                )

    # -- what the user wrote -------------------------------------------------------------------
    def policy_file(self) -> PolicyFile | PolicyProblem:
        """What profile.toml says, or why it cannot be used; read again when it has changed."""
        return self._read_file()[0]

    def _read_file(self) -> tuple[PolicyFile | PolicyProblem, _Mark]:
        mark, read = _mark(self._toml), self._read
        if read is None or mark is None or mark != read[1]:
            found = read_policy_file(self.folder.toml)
            # An unreadable file may become readable and look the same.
            unsure = isinstance(found, PolicyProblem) and found.kind is ProblemKind.UNREADABLE
            self._read = read = found, None if unsure else mark
            if isinstance(found, PolicyFile):
                self._settings = found.settings
        return read

    def settings(self) -> Settings:
        """Those of profile.toml; the last valid ones where it is broken now."""
        self.policy_file()
        return self._settings

    def environment(self) -> Mapping[str, str]:
        """The variables that profile.toml sets for every command."""
        return self.settings().environment()

    def timezone(self) -> str:
        """The profile's zone, else the machine's: an IANA name."""
        return self.settings().timezone or local_zone()

    def policy(self) -> Policy:
        """The accepted policy, its paths and groups resolved on this machine; closed where none was
        accepted and profile.toml cannot be read."""
        accepted = self.store.policy()
        if accepted.version == 0:
            in_force = policy_in_force(accepted, self.policy_file())
            return in_force if in_force.closed else accepted
        if self._resolved is None or self._resolved.version != accepted.version:
            self._resolved = resolve_policy(accepted)
        return self._resolved

    def refresh_policy(self, by: str, now: datetime) -> Policy:
        """Accept a changed profile.toml; returns the policy in force.

        A file that is missing, empty or broken changes nothing and is :attr:`file_warning`.
        """
        if self.policy_file_changed():
            found, mark = self._read_file()
            self._accept(found, by, now)
            self._policy_mark = mark
        return self.policy()

    def policy_file_changed(self) -> bool:
        """Whether profile.toml may differ from what :meth:`refresh_policy` last read. One stat."""
        mark = _mark(self._toml)
        return mark is not None if self._policy_mark is None else mark != self._policy_mark

    def _accept(self, found: PolicyFile | PolicyProblem, by: str, now: datetime) -> None:
        accepted = self.store.policy()
        change = reconcile_policy(accepted if accepted.version else None, found)
        if isinstance(change, Accept):
            self.file_warning = None
            self.store.accept_policy(change.policy, by, now)
        else:
            self.file_warning = change.warning

    # -- which profile this is -----------------------------------------------------------------
    def identity_problem(self) -> IdentityProblem | None:
        """Why no process may own: the folder, profile.id and database do not belong together."""
        facts = self.store.facts()
        return identity.check(
            self.folder,
            (facts.profile_id, facts.term),
            machine=machine_id() or "",
            commits_missing=facts.commits_missing,
        )

    def close(self) -> None:
        self.store.close()


def _check_not_closed(policy: Policy) -> None:
    if policy.closed:
        raise Refused(
            f"no process can become owner: no owner rules were ever accepted, and {policy.unread}",
            remedy=policy.remedy,
        )


def _mark(path: str) -> _Mark:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return _MISSING
    except OSError:
        return None
    # With ctime, which a change of mode sets: a chmod makes a file readable.
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
