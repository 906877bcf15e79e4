"""The SQLite store: the contract's verbs, a group a file, on one connection."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

from tenure.domain.errors import CorruptStore
from tenure.store.contract import Facts
from tenure.store.sqlite import schema
from tenure.store.sqlite.claims import Claiming
from tenure.store.sqlite.connection import Connection
from tenure.store.sqlite.edits import Editing
from tenure.store.sqlite.events import Events
from tenure.store.sqlite.failures import HolderProbe
from tenure.store.sqlite.jobs import Jobs
from tenure.store.sqlite.monitoring import LookingOn
from tenure.store.sqlite.omissions import Omissions
from tenure.store.sqlite.ownership import Owning, highest_term
from tenure.store.sqlite.policies import Policies
from tenure.store.sqlite.processes import Processes
from tenure.store.sqlite.purge import Purging
from tenure.store.sqlite.reconcile import Reconciling
from tenure.store.sqlite.requests import Requests
from tenure.store.sqlite.restart import Restarting
from tenure.store.sqlite.retries import Retries
from tenure.store.sqlite.runs import Runs
from tenure.store.sqlite.triggers import Triggers
from tenure.store.sqlite.upkeep import Upkeep

PATIENCE = timedelta(seconds=5)


class SqliteStore(
    Processes,
    Policies,
    Owning,
    Jobs,
    Editing,
    Reconciling,
    Claiming,
    Retries,
    Triggers,
    Restarting,
    Runs,
    Omissions,
    LookingOn,
    Requests,
    Events,
    Purging,
    Upkeep,
):
    """A store in one file; see :class:`tenure.store.contract.Store`. Thread-safe.

    Made by :meth:`create` and :meth:`open`; close it, or use it as a context manager.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        profile_id: str,
        now: datetime,
        patience: timedelta = PATIENCE,
        holder_probe: HolderProbe | None = None,
    ) -> SqliteStore:
        """Make a new store, whole or not at all, for its user only (0600).

        Raises Conflict if anything is at ``path``, StoreUnwritable.
        """
        schema.create(Path(path), profile_id=profile_id, now=now)
        return cls.open(path, patience=patience, holder_probe=holder_probe)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        readonly: bool = False,
        patience: timedelta = PATIENCE,
        holder_probe: HolderProbe | None = None,
        outdated: bool = False,
    ) -> SqliteStore:
        """Open what is there; never creates, never migrates.

        ``patience`` bounds the wait for another process's write lock. ``holder_probe`` names that
        process. ``outdated`` also opens an older schema, to :meth:`migrate` it. Raises NotFound,
        CorruptStore (not a store of Tenure's, or corrupt), Refused (its schema needs another
        version of Tenure), StoreBlocked.
        """
        connection = Connection(
            Path(path),
            mode="ro" if readonly else "rw",
            patience=patience.total_seconds(),
            probe=holder_probe,
        )
        try:
            schema.check(connection, readonly=readonly, outdated=outdated)
        except BaseException as error:
            if isinstance(error, CorruptStore):
                connection.leave_alone()
            connection.close()
            raise
        return cls(connection)

    @property
    def path(self) -> Path:
        return self._db.path

    def facts(self) -> Facts:
        missing = self._db.commits_missing()
        with self._db.snapshot() as db:
            meta = schema.read_meta(db)
            return Facts(
                profile_id=str(meta["profile_id"]),
                schema=int(meta["schema"]),
                min_reader=int(meta["min_reader"]),
                min_writer=int(meta["min_writer"]),
                term=highest_term(db),
                clock_era=int(meta["clock_era"]),
                commits_missing=missing,
            )

    def change_mark(self) -> int:
        return self._db.data_version()

    def own_changes(self) -> int:
        """What :meth:`change_mark` does not tell: grows with each row that this object changes."""
        return self._db.own_changes()

    def batch(self) -> AbstractContextManager[None]:
        return self._db.batch()

    def close(self) -> None:
        """Twice is no error."""
        self._db.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child: let go of the store without touching its file."""
        self._db.forget()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
