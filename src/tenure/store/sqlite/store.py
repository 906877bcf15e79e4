"""The SQLite store: which class implements which verb of the contract, on one connection."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import CorruptStore
from tenure.store.contract import Facts
from tenure.store.sqlite import schema
from tenure.store.sqlite.connection import Connection
from tenure.store.sqlite.database_file import HolderProbe

PATIENCE = timedelta(seconds=5)
# The class of each group of verbs, loaded when one of them is first used: a command line uses few.
_CLASSES = {
    "claims.Claims": "due next_due defer_unreadable_job claim due_retries claim_retry "
    "claim_trigger",
    "edits.JobEdits": "add_job edit_job set_job_state change_jobs miss_held_fires approve_job",
    "jobs.JobTable": "job jobs unreadable_jobs find_job_without_code revisions definition "
    "accounting",
    "maintenance.Maintenance": "counts verify backup migrate set_profile_id raise_term_floor "
    "history_now purge",
    "omissions.OmissionTable": "omissions",
    "owner_edits.OwnerEdits": "reconcile restart_planning wake_held_jobs replan",
    "ownership.OwnershipTable": "ownership take_ownership reaffirm end_term record_progress terms "
    "policy accept_policy absence note_absence end_absence",
    "processes.ProcessTable": "join set_standing observe_process leave process processes",
    "requests.RequestTable": "create_request resolve_request request requests expire_requests "
    "observe_requester",
    "runs.RunTable": "start finish note_started note_reasons orphans adopt_run request_cancel run "
    "runs runs_held_by provenance mark runs_after runs_by_id latest_runs",
    "tables.EventTable": "record_event events",
}
_CLASS_OF = {verb: path for path, verbs in _CLASSES.items() for verb in verbs.split()}


def load_verbs() -> None:
    """Load every class, in a process that lives long: one that is loaded later could be of another
    version of Tenure, which was installed meanwhile."""
    for path in _CLASSES:
        import_module(f"tenure.store.sqlite.{path.partition('.')[0]}")


if TYPE_CHECKING:
    from tenure.store.sqlite.claims import Claims
    from tenure.store.sqlite.edits import JobEdits
    from tenure.store.sqlite.jobs import JobTable
    from tenure.store.sqlite.maintenance import Maintenance
    from tenure.store.sqlite.omissions import OmissionTable
    from tenure.store.sqlite.owner_edits import OwnerEdits
    from tenure.store.sqlite.ownership import OwnershipTable
    from tenure.store.sqlite.processes import ProcessTable
    from tenure.store.sqlite.requests import RequestTable
    from tenure.store.sqlite.runs import RunTable
    from tenure.store.sqlite.tables import EventTable

    class _Verbs(
        Claims, EventTable, JobEdits, JobTable, Maintenance, OmissionTable, OwnerEdits,
        OwnershipTable, ProcessTable, RequestTable, RunTable,
    ):  # fmt: skip
        """What ``__getattr__`` finds, for the type checker."""
else:
    _Verbs = object


class SqliteStore(_Verbs):
    """A store in one file; see :class:`tenure.store.contract.Store`. Thread-safe.

    Made by :meth:`create` and :meth:`open`; close it, or use it as a context manager.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self.path = connection.path
        self.change_mark = connection.data_version
        self.commits = connection.commits
        self.batch = connection.batch
        self.check_authority = connection.check_authority
        self.is_same_file = connection.is_same_file
        self.loss = connection.loss
        self.close = connection.close
        self.forget_in_child = connection.forget

    if not TYPE_CHECKING:

        def __getattr__(self, verb: str) -> Any:
            if verb not in _CLASS_OF:
                raise AttributeError(f"a store has no {verb!r}")
            module, name = _CLASS_OF[verb].split(".")
            group = getattr(import_module(f"tenure.store.sqlite.{module}"), name)(self._db)
            for each in _CLASSES[_CLASS_OF[verb]].split():
                self.__dict__.setdefault(each, getattr(group, each))
            return self.__dict__[verb]

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

    def facts(self) -> Facts:
        missing = self._db.commits_missing()
        meta: dict[str, Any] = dict(self._db.fetch(schema.FACTS))
        numbers = ("schema", "min_reader", "min_writer", "term", "clock_era")
        return Facts(
            profile_id=str(meta["profile_id"]),
            commits_missing=missing,
            **{name: int(meta[name]) for name in numbers},
        )

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
