"""An opened profile: its folder, its store, its settings, and the policy in force.

Opening decides nothing about who runs. It checks that the folder is ours and on a file system
that can carry ownership, and opens the database that stands there; only ``add`` and ``serve``
create one, and never where a ``profile.id`` says that there was one before.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from tenure.domain.errors import Conflict, NotFound, Refused
from tenure.domain.policy import Policy
from tenure.domain.policy_change import Accept, Problem, reconcile_policy
from tenure.domain.policy_warnings import PolicyWarning, policy_warnings
from tenure.domain.settings import Settings
from tenure.host.blocked import write_lock_holder
from tenure.host.local_zone import local_zone
from tenure.host.machine import machine_id
from tenure.store import profile_id
from tenure.store.folder import ProfileFolder
from tenure.store.folder import home as home_folder
from tenure.store.policy_file import read_policy_file, resolve_policy
from tenure.store.profile_id import IdentityProblem
from tenure.store.sqlite import SqliteStore

PATIENCE = timedelta(seconds=5)


class Profile:
    """A profile of this user on this machine. Thread-safe as its store is; close it when done."""

    def __init__(self, folder: ProfileFolder, store: SqliteStore) -> None:
        self.folder = folder
        self.store = store
        self._settings = Settings()
        self._file_warning: PolicyWarning | None = None
        self._settings_mark: tuple[int, ...] | None = ()
        self._policy_mark: tuple[int, ...] | None = ()
        self._resolved: Policy | None = None
        self._zone: str | None = None
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
    ) -> Profile:
        """Open the profile; with ``create`` (which needs ``now``) make what was never there.

        Raises InvalidInput, NotFound, Refused, Damaged; StoreBlocked if the store is held.
        """
        where = home_folder(home, os.environ if environ is None else environ)
        folder = ProfileFolder.open(name, where, create=create)
        if not folder.database.exists():
            cls._create(folder, create, now)
        store = SqliteStore.open(
            folder.database, readonly=readonly, patience=PATIENCE, holder_probe=write_lock_holder
        )
        profile = cls(folder, store)
        if create:
            profile._finish_creation()
        return profile

    @staticmethod
    def _create(folder: ProfileFolder, create: bool, now: datetime | None) -> None:
        # Asked in this order: somebody else may be making both at this very moment.
        if profile_id.read(folder) is not None and not folder.database.exists():
            problem = profile_id.check(folder, None, machine=machine_id() or "")
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
        # Two first comers: the one that is late opens what the other made.
        with contextlib.suppress(Conflict):
            SqliteStore.create(folder.database, profile_id=str(uuid.uuid4()), now=now).close()

    def _finish_creation(self) -> None:
        """A database without a profile.id is a profile in the making: give it one."""
        if profile_id.read(self.folder) is None and self.store.facts().term == 0:
            with contextlib.suppress(Conflict):
                profile_id.create(
                    self.folder, machine=machine_id() or "", id=self.store.facts().profile_id
                )

    # -- what the user wrote -------------------------------------------------------------------
    def settings(self) -> Settings:
        """Those of profile.toml; of the last good one where it is broken now."""
        mark = _mark(self._toml)
        if mark != self._settings_mark:
            found = read_policy_file(self.folder.toml)
            if not isinstance(found, Problem):
                self._settings = found.settings
            self._settings_mark = mark
        return self._settings

    def timezone(self) -> str:
        """The profile's zone, else the machine's: an IANA name."""
        zone = self.settings().timezone
        if zone is None:
            self._zone = self._zone or local_zone()
            zone = self._zone
        return zone

    def policy(self) -> Policy:
        """The accepted policy, its paths and groups resolved on this machine."""
        accepted = self.store.policy()
        if self._resolved is None or self._resolved.version != accepted.version:
            self._resolved = resolve_policy(accepted)
        return self._resolved

    def refresh_policy(self, by: str, now: datetime) -> tuple[Policy, tuple[PolicyWarning, ...]]:
        """Accept what a changed profile.toml says; the policy in force, and what to warn of.

        A file that is missing, empty or broken changes nothing and is a warning.
        """
        mark = _mark(self._toml)
        if mark != self._policy_mark:
            self._accept(by, now)
            self._policy_mark = mark
        policy = self.policy()
        warnings = list(policy_warnings(policy))
        if self._file_warning is not None:
            warnings.insert(0, self._file_warning)
        return policy, tuple(warnings)

    def policy_file_changed(self) -> bool:
        """Whether profile.toml differs from what :meth:`refresh_policy` last read. One stat."""
        return _mark(self._toml) != self._policy_mark

    def _accept(self, by: str, now: datetime) -> None:
        accepted = self.store.policy()
        found = read_policy_file(self.folder.toml)
        change = reconcile_policy(accepted if accepted.version else None, found)
        if isinstance(change, Accept):
            self._file_warning = None
            self.store.accept_policy(change.policy, by, now)
        else:
            self._file_warning = change.warning

    # -- which profile this is -----------------------------------------------------------------
    def identity_problem(self) -> IdentityProblem | None:
        """Why nobody may own: the folder, profile.id and database do not belong together."""
        facts = self.store.facts()
        return profile_id.check(
            self.folder,
            (facts.profile_id, facts.term),
            machine=machine_id() or "",
            commits_missing=facts.commits_missing,
        )

    def close(self) -> None:
        self.store.close()


def _mark(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
