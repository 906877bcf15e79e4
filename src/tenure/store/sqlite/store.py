"""The SQLite store: which class implements which verb of the contract, on one connection."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

from tenure.domain.errors import CorruptStore
from tenure.store.contract import Facts
from tenure.store.sqlite import schema
from tenure.store.sqlite.claims import Claims
from tenure.store.sqlite.connection import Connection
from tenure.store.sqlite.edits import JobEdits
from tenure.store.sqlite.events import EventTable
from tenure.store.sqlite.failures import HolderProbe
from tenure.store.sqlite.fence import highest_term
from tenure.store.sqlite.jobs import JobTable
from tenure.store.sqlite.maintenance import Maintenance
from tenure.store.sqlite.omissions import OmissionTable
from tenure.store.sqlite.ownership import OwnershipTable
from tenure.store.sqlite.policies import PolicyTable
from tenure.store.sqlite.processes import ProcessTable
from tenure.store.sqlite.purge import Purge
from tenure.store.sqlite.reconcile import Reconciliation
from tenure.store.sqlite.requests import RequestTable
from tenure.store.sqlite.restart import PlanningRestart
from tenure.store.sqlite.runs import RunTable

PATIENCE = timedelta(seconds=5)


class SqliteStore:
    """A store in one file; see :class:`tenure.store.contract.Store`. Thread-safe.

    Made by :meth:`create` and :meth:`open`; close it, or use it as a context manager.
    ``__init__`` shows which class has which verb.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

        processes = ProcessTable(connection)
        self.join = processes.join
        self.set_standing = processes.set_standing
        self.observe_process = processes.observe_process
        self.leave = processes.leave
        self.process = processes.process
        self.processes = processes.processes

        policies = PolicyTable(connection)
        self.policy = policies.policy
        self.accept_policy = policies.accept_policy
        self.absence = policies.absence
        self.note_absence = policies.note_absence
        self.end_absence = policies.end_absence

        ownership = OwnershipTable(connection)
        self.ownership = ownership.ownership
        self.take_ownership = ownership.take_ownership
        self.reaffirm = ownership.reaffirm
        self.end_term = ownership.end_term
        self.record_progress = ownership.record_progress
        self.terms = ownership.terms
        self.check_authority = ownership.check_authority

        jobs = JobTable(connection)
        self.job = jobs.job
        self.jobs = jobs.jobs
        self.unreadable_jobs = jobs.unreadable_jobs
        self.find_job_without_code = jobs.find_job_without_code
        self.revisions = jobs.revisions
        self.definition = jobs.definition
        self.accounting = jobs.accounting

        edits = JobEdits(connection)
        self.add_job = edits.add_job
        self.edit_job = edits.edit_job
        self.set_job_state = edits.set_job_state
        self.change_jobs = edits.change_jobs
        self.miss_held_fires = edits.miss_held_fires
        self.approve_job = edits.approve_job

        reconciliation = Reconciliation(connection)
        self.reconcile = reconciliation.reconcile

        claims = Claims(connection)
        self.due = claims.due
        self.next_due = claims.next_due
        self.defer_unreadable_job = claims.defer_unreadable_job
        self.claim = claims.claim
        self.due_retries = claims.due_retries
        self.claim_retry = claims.claim_retry
        self.claim_trigger = claims.claim_trigger

        restart = PlanningRestart(connection)
        self.restart_planning = restart.restart_planning
        self.wake_held_jobs = restart.wake_held_jobs
        self.replan = restart.replan

        runs = RunTable(connection)
        self.start = runs.start
        self.finish = runs.finish
        self.note_started = runs.note_started
        self.note_reasons = runs.note_reasons
        self.orphans = runs.orphans
        self.adopt_run = runs.adopt_run
        self.request_cancel = runs.request_cancel
        self.run = runs.run
        self.runs = runs.runs
        self.runs_held_by = runs.runs_held_by
        self.provenance = runs.provenance
        self.mark = runs.mark
        self.runs_after = runs.runs_after
        self.runs_by_id = runs.runs_by_id
        self.latest_runs = runs.latest_runs

        omissions = OmissionTable(connection)
        self.omissions = omissions.omissions

        requests = RequestTable(connection)
        self.create_request = requests.create_request
        self.resolve_request = requests.resolve_request
        self.request = requests.request
        self.requests = requests.requests
        self.expire_requests = requests.expire_requests
        self.observe_requester = requests.observe_requester

        events = EventTable(connection)
        self.record_event = events.record_event
        self.events = events.events

        purge = Purge(connection)
        self.history_now = purge.history_now
        self.purge = purge.purge

        maintenance = Maintenance(connection)
        self.counts = maintenance.counts
        self.is_same_file = maintenance.is_same_file
        self.loss = maintenance.loss
        self.verify = maintenance.verify
        self.backup = maintenance.backup
        self.migrate = maintenance.migrate
        self.set_profile_id = maintenance.set_profile_id
        self.raise_term_floor = maintenance.raise_term_floor

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
        """Complements :meth:`change_mark`: grows with each row that this object changes."""
        return self._db.own_changes()

    def batch(self) -> AbstractContextManager[None]:
        return self._db.batch()

    def close(self) -> None:
        """A second call does nothing."""
        self._db.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child: let go of the store without touching its file."""
        self._db.forget()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
