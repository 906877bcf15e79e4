"""The store protocol: the verbs that the contract needs.

Two stores implement it: SQLite (one host, durable) and an in-memory reference model, which tests
use. One conformance suite, :mod:`testkit.conformance`, runs against each of them.

Rules that hold for each verb:

* A verb is one transaction, or part of the caller's :meth:`Store.batch` (one commit for many).
  It takes effect completely, or raises and changes nothing. Verbs that take many items (``claim``,
  ``start``, ``finish``) decide about each item separately and return an outcome for each.
* Every executing write names its :class:`Authority`. When its term, process or policy version is
  not the current one the verb raises :class:`StaleTerm` and changes nothing (C3).
* Instants are aware UTC datetimes with microseconds. ``now`` is always the caller's.
* A lookup that finds nothing raises :class:`NotFound`; a write against an older revision raises
  :class:`Conflict`; a store that another process blocks raises :class:`StoreBlocked` after the
  store's patience.
* A store object may be shared by threads: each call is atomic towards the others.

Details that a reader could take in more than one way; the conformance suite tests each:

* *Pending* fires of a job at ``now`` are those of its current revision in (watermark, now]; their
  jitter does not matter. No verb but ``restart_planning`` moves a watermark back.
* A job whose schedule has no fire after its watermark, and no open hold, is DONE at once: after
  ``add_job``, ``edit_job`` and resuming too.
* The pending fires of a *foreign* job are unknown until its scheduler announces them. So a change
  of the job accounts for none of them, and its watermark does not move, while its schedule is
  foreign; it is never DONE. Its records merge where nothing was accounted for between them.
* *Waiting* jobs have ``due_at`` None until a run of theirs ends. A plan that waits while no run is
  active any more (it ended between plan and claim) leaves the job due at ``now``.
* A stretch *merges* with an older record of the same job, revision, kind and reason if that is
  uncut, open if held, and no fire lies between: the new first is the very next fire after the old
  last. ``decided_at``, ``decided_by`` and ``term`` become the newer's. Only ``claim`` merges.
* Retention keeps, a job, the *span* from the first to the last fire of the runs that one ``purge``
  deletes; spans that overlap are one. A fire inside a span counts as claimed before.
  A store that keeps more than a hundred spans of a job may join the oldest two.
  ``accounted_from`` rises to the last fire of deleted runs and omissions, and to a fire that is
  refused for lying in a span.
* A deadline is past when ``now`` is after it, not at it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

# At run time nothing here needs them: a command line loads what it uses.
if TYPE_CHECKING:
    from tenure.domain.event import Event, EventKind
    from tenure.domain.job import Definition, Job, JobState, Runner
    from tenure.domain.omission import Omission, OmissionKind
    from tenure.domain.ownership import Authority, Ownership, OwnershipAction, Term
    from tenure.domain.planning.plan import Due, Plan
    from tenure.domain.policy.admission import Policy
    from tenure.domain.policy.evidence import Evidence
    from tenure.domain.process import Process, ProcessStatus
    from tenure.domain.request import Request, Requester, RequestKind, RequestState
    from tenure.domain.run import FinishOutcome, Result, Run, RunState, Start

SCHEMA = 1
"""Version of the schema that this code writes. Within a major version changes are additive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The identity of the store; compared with ``profile.id``, which lies outside it."""

    profile_id: str
    schema: int
    min_reader: int
    min_writer: int
    term: int
    """The highest begun here, or the floor that an adoption set, if that is above it."""
    clock_era: int = 0
    commits_missing: int = 0
    """A lower bound of the commits that it lacks: above 0 the database is an older copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Bounds of a list. ``cursor`` is the ``next`` of the page before, opaque."""

    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Selects the runs that meet all conditions. Newest claim first."""

    job: str | None = None
    states: frozenset[RunState] | None = None
    since: datetime | None = None
    """Claimed at or after."""
    term: int | None = None
    process: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The number of the newest entry of each list that only grows; 0 for an empty list."""

    event: int = 0
    run: int = 0
    omission: int = 0


class ClaimOutcome(StrEnum):
    """The outcome of one plan, retry or trigger."""

    CLAIMED = "claimed"
    """Carried out completely: claims, omissions, watermark. ``runs`` has the claims."""
    CHANGED = "changed"
    """The job was paused, removed, revised or planned by another meanwhile: nothing was done."""
    PROTECTED = "protected"
    """The store itself refuses: the job is protected and the term is not authoritative (C8)."""
    REPEATED = "repeated"
    """Some of its fires were claimed before, ever (C4), or lie in a span whose rows retention has
    deleted: those are not claimed again, everything else of the plan is carried out. ``runs``
    has the claims that were made, possibly none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The answer for one plan."""

    job: str
    outcome: ClaimOutcome
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeLimits:
    """Bounds of the history. Watermarks, tombstones and purged spans are never purged (C4)."""

    runs_per_job: int = 1000
    days: int = 90
    events: int = 10_000
    batch: int = 500
    """The most rows of each kind that one call deletes, so that no transaction is long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """The rows that a purge deleted; the caller removes the logs of these runs."""

    runs: tuple[str, ...] = ()
    omissions: int = 0
    events: int = 0
    requests: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a job. Fires in (valid_after, next revision's valid_after] follow it."""

    job: str
    revision: int
    definition: Definition
    edited_at: datetime
    edited_by: str
    valid_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """The range in which a job's fires can be checked against its records."""

    job: str
    accounted_from: datetime
    """Fires at or before this were accounted for by rows that retention has deleted, or lie
    before the job, or before planning restarted after a wrong clock."""
    watermark: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A job declared by an app's code. Its job is named ``app:name``."""

    definition: Definition
    since: datetime | None = None
    """For a new job: its fires after this instant count, where it is before the job is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The result of reconciling an app's declarations, by job name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    woken: tuple[str, ...] = ()
    dormant: tuple[str, ...] = ()
    kept_newer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """The start of a time without any process that a rule better than ``rank`` admits.

    ``awake`` is a reading of the awake clock in seconds; it is valid within ``boot_id`` only.
    """

    rank: int
    boot_id: str
    awake: float
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Figures for ``status``."""

    jobs: Mapping[JobState, int] = field(default_factory=dict)
    protected: int = 0
    active_runs: int = 0
    open_holds: int = 0
    pending_requests: int = 0


class JobEditor(Protocol):
    """The verbs of :class:`Store` of the same names, inside :meth:`Store.change_jobs`."""

    def add_job(
        self, definition: Definition, *, by: str, now: datetime, since: datetime | None = None
    ) -> Job: ...

    def edit_job(
        self, job: str, expected_revision: int, definition: Definition, *, by: str, now: datetime
    ) -> Job: ...

    def set_job_state(self, job: str, state: JobState, *, by: str, now: datetime) -> Job: ...


class Store(Protocol):
    """The module's docstring has the rules that hold for every verb."""

    # -- the store itself -------------------------------------------------------------------
    def facts(self) -> Facts: ...

    def change_mark(self) -> int:
        """A number that changes when another process or connection has committed, for cheap
        polling; commits through this object may or may not change it."""

    def batch(self) -> AbstractContextManager[None]:
        """Combine the verbs called inside into one commit. A verb that raises undoes only itself;
        an exception that leaves the ``with`` undoes all. Does not nest. One thread: calls of
        other threads wait until it ends."""

    def close(self) -> None: ...

    # -- processes --------------------------------------------------------------------------
    def join(self, process: Process) -> None:
        """Add a process. Conflict if the id is taken. Event PROCESS_JOINED."""

    def set_standing(
        self, process: str, standing: ProcessStatus, why: str, rule: int | None, now: datetime
    ) -> None:
        """Record a process's status. No event if nothing changed. NotFound."""

    def observe_process(self, process: str, evidence: Evidence) -> None:
        """Replace the evidence of a process that joined, for example after a process of its chain
        ended. NotFound."""

    def leave(self, process: str, now: datetime, *, died: bool = False, why: str = "") -> None:
        """Mark a process as gone. A second call changes nothing. NotFound for an unknown id. Does
        not change its ownership. Event PROCESS_LEFT or PROCESS_DIED, once."""

    def process(self, process: str) -> Process: ...

    def processes(self, *, gone: bool = False) -> tuple[Process, ...]:
        """The processes that have not left, oldest first; with ``gone`` all processes."""

    # -- policy -----------------------------------------------------------------------------
    def policy(self) -> Policy:
        """The accepted policy; version 0 without rules before the first was accepted."""

    def accept_policy(self, policy: Policy, by: str, now: datetime) -> Policy:
        """Accept a policy's rules and text; this call gives it the next version. The hash of the
        current policy changes nothing and returns the current. Event POLICY_ACCEPTED."""

    def absence(self, rank: int) -> Absence | None: ...

    def note_absence(self, absence: Absence) -> Absence:
        """Keep the earliest start of this boot, and return it."""

    def end_absence(self, ranks: Iterable[int]) -> None:
        """Processes that a better rule admits are back."""

    # -- ownership --------------------------------------------------------------------------
    def ownership(self) -> Ownership: ...

    def take_ownership(
        self,
        *,
        process: str,
        act: OwnershipAction,
        expected_term: int,
        new_term: int,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        boot_id: str,
        awake: float,
        now: datetime,
        why: str = "",
        instead_of: str | None = None,
    ) -> Authority:
        """Begin a term. Compare-and-set: raises Conflict unless the record's term is
        ``expected_term`` and the state machine has the arrow for ``act``; StaleTerm unless
        ``policy_version`` is the accepted one; InvalidInput unless ``new_term`` is above every
        term ever begun here; NotFound if the process has not joined or has left. Ends the term
        before, and makes the jobs with open held fires due at ``now`` if authoritative. A
        reservation for another process that has not run out raises Refused, except by force or
        where ``instead_of`` names that process, which was found unable to take (one that ends
        more than RESERVED_FOR ahead was made under a wrong clock: it has run out).
        Ends every accepted hand-over (C7): done if it asked for ``process``, or the term that
        accepted it was the last and kept the place for ``process``; else refused.
        Events OWNERSHIP_TAKEN (facts: act, rule, authoritative, why, previous), ANSWERED."""

    def reaffirm(
        self,
        authority: Authority,
        *,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        now: datetime,
    ) -> Authority:
        """The owner is admitted by a newer policy (or another rule of it): same term. StaleTerm
        unless term and process are current and ``policy_version`` is the accepted one. Becoming
        authoritative makes the jobs with open held fires due. The history's Term takes over rule,
        authoritative and policy version. OWNERSHIP_REAFFIRMED."""

    def end_term(
        self,
        authority: Authority,
        *,
        act: OwnershipAction,
        why: str,
        now: datetime,
        reserved_for: str | None = None,
        reserved_until: datetime | None = None,
    ) -> bool:
        """HAND_OVER or STEP_DOWN. False, and nothing changed, if the term had ended already.
        The policy version is not compared: an owner must be able to go. The record keeps its
        term, and no process. IllegalTransition for another act. OWNERSHIP_ENDED."""

    def record_progress(self, authority: Authority, awake: float, now: datetime) -> None:
        """The owner looked at everything due. StaleTerm."""

    def terms(self, *, limit: int = 100, before: int | None = None) -> tuple[Term, ...]:
        """Newest first; with ``before`` only lower ones."""

    def check_authority(self, authority: Authority) -> None:
        """StaleTerm unless current; reads only."""

    # -- jobs (C7, C12: from any process, with or without an owner) ---------------------------
    def add_job(
        self, definition: Definition, *, by: str, now: datetime, since: datetime | None = None
    ) -> Job:
        """Conflict if a job of that name is not removed. Fires after ``now`` count, or after
        ``since``, if that is earlier: a foreign scheduler's job may be due already. JOB_ADDED."""

    def edit_job(
        self, job: str, expected_revision: int, definition: Definition, *, by: str, now: datetime
    ) -> Job:
        """A new revision. Conflict when ``expected_revision`` is not the current one, or the new
        name is taken; NotFound for a removed job. Pending fires of the old revision are accounted
        for here, under it: as missed, except that the latest pending one is left to the new
        revision when it is within the old one's grace (its jitter subtracted), the new schedule
        has it too, and none later up to ``now``: the new revision then begins a microsecond
        before it. Of a paused or dormant job they are accounted for as skipped. A job that
        is done becomes active again if the new schedule has a fire. One with open held fires
        becomes due. An equal definition changes nothing. JOB_EDITED."""

    def set_job_state(self, job: str, state: JobState, *, by: str, now: datetime) -> Job:
        """Pause, resume, make dormant, remove. Pausing, and removing an active job, account for
        pending fires as missed, resuming for those in between as skipped ('paused' or
        'dormant'), removing also for open held fires as missed. Not to DONE. The same state
        again changes nothing; from REMOVED raises NotFound; an arrow that is not in
        ``domain.job.TRANSITIONS`` raises IllegalTransition. Resuming makes a job with open held
        fires due. JOB_STATE."""

    def change_jobs(self, steps: Sequence[Callable[[JobEditor], Job]]) -> tuple[Job, ...]:
        """Make many changes in one commit, without a long write lock. Returns the result of each
        step, in order. If a step raises, its error is raised and nothing is changed. A step may be
        called twice, the second time on jobs that others changed meanwhile; it must do nothing
        but call its argument."""

    def miss_held_fires(self, job: str, reason: str, *, now: datetime) -> None:
        """Close a job's open held records, and for a foreign job the fires up to ``now`` that were
        not announced: none of them will run (a restored or copied profile cannot know what ran
        since). NotFound."""

    def approve_job(self, job: str, revision: int, *, by: str, now: datetime) -> Job:
        """Approve a revision for protected runs; Conflict if it is not the current one, NotFound
        for a removed job. Makes a job with open held fires due. JOB_STATE (facts: approved)."""

    def job(self, ref: str) -> Job:
        """Find by id, or by the name of a job that is not removed. NotFound, with similar names."""

    # A job that cannot be read (a zone this machine does not know, a damaged record) is returned
    # with its damage by every verb that returns jobs, and hides no other. It can be paused and
    # removed; an edit is refused (InvalidInput) unless it leaves no damage.
    def jobs(
        self,
        *,
        states: frozenset[JobState] | None = None,
        text: str | None = None,
        tag: str | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Job, ...], str | None]:
        """By name; without ``states`` all but the removed. Also the cursor of the next page.
        ``text`` is part of the name, A to Z in either case; ``tag`` is one of the tags."""

    def unreadable_jobs(self) -> tuple[Job, ...]:
        """Jobs that cannot be read and are not removed, by name, at most 1000. Cheap: among more
        than 500 jobs, a fault other than an unknown zone or a record that is not JSON shows only
        after an owner met it."""

    def find_job_without_code(self, app: str | None) -> str | None:
        """The name of an active job that an app other than ``app`` declares, or, for None, of any
        job that is Python code: a process without that code must not own. None if all active jobs
        have their code. Cheap: called at every look."""

    def revisions(self, job: str) -> tuple[Revision, ...]: ...

    def definition(self, job: str, revision: int) -> Definition:
        """The definition that a run of this revision follows; also of removed jobs."""

    def accounting(self, job: str) -> Accounting: ...

    def reconcile(
        self,
        authority: Authority,
        app: str,
        version: str,
        declarations: Sequence[Declaration],
        now: datetime,
    ) -> Reconciled:
        """Bring the declared jobs of ``app`` in line. Conflict if the profile belongs to another
        app (has a job of it that is not removed), or a name is taken by a job that was not
        declared; InvalidInput for a name that is not ``app:...``. Versions compare by
        ``domain.version``. Jobs declared by a newer version are left alone; an active one that
        has vanished goes dormant; one that is back wakes; a paused one stays paused. An interval
        that differs in its anchor alone is the same, and keeps its anchor. Jobs that were not
        declared are not touched."""

    # -- claims -----------------------------------------------------------------------------
    def due(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Due, ...]:
        """Active jobs with ``due_at <= now``, the earliest first, at most ``room[runner]`` of each
        kind, with their active runs counted and their open held stretches. One that cannot be read
        is among them, with its damage. Writes nothing."""

    def defer_unreadable_job(self, authority: Authority, job: Job, now: datetime) -> None:
        """Make a due job that cannot be read due again in a minute, so that it does not stop other
        jobs; a WARNING with the reason, the first time. Its watermark does not move, so that no
        fire is lost. Raises StaleTerm."""

    def next_due(self, runners: Collection[Runner] | None = None) -> datetime | None:
        """The earliest ``due_at`` of an active job (of these kinds, where given) or ``retry_at``
        of a run."""

    def claim(
        self, authority: Authority, plans: Sequence[Plan], now: datetime
    ) -> tuple[Claimed, ...]:
        """Carry out plans: one commit for many (C4, C5). Raises StaleTerm for all. A plan takes
        only if its job is active and has the plan's revision and watermark. Held stretches merge
        with an older one as said above; so do skipped and missed ones. A plan that names a held
        omission which is not open takes nothing (CHANGED). PROTECTED only if it claims;
        CLAIM_REFUSED. Cancel
        the previous: each active run of the job is asked to cancel, as by ``request_cancel``."""

    def due_retries(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Run, ...]:
        """Runs in RETRYING with ``retry_at <= now``, earliest first, at most ``room[runner]`` of
        each kind."""

    def claim_retry(self, authority: Authority, run: str, now: datetime) -> Claimed:
        """Claim the next attempt of a run. PROTECTED as for a first claim. If the job was
        revised, paused or removed meanwhile its retries end: the run becomes FAILED with that
        reason, outcome CHANGED. A run that is not RETRYING: CHANGED, and nothing is done. The
        retries of a DONE job go on: a one-shot may be retried."""

    def claim_trigger(
        self, authority: Authority, request: str, now: datetime
    ) -> tuple[Request, Run | None]:
        """Accept a pending TRIGGER or RETRY request and claim its run in one commit; its fire
        time is ``now`` (moved on to the next microsecond that is not claimed, in no span and no
        fire of its schedule, so that it takes no scheduled fire's place). Refused answers (job
        removed, paused, dormant, protected under an owner that is not authoritative, previous run
        active with overlap skip or cancel) are recorded as the request's answer with a remedy;
        with overlap queue and an active run, and for protected jobs when the request is queued,
        the request stays pending. Past its deadline it becomes expired. A request that is answered
        already is returned as it is, without a run. Revision: the job's current. The answered
        request names the new run, also that of a RETRY (which is a new run, cause REQUEST)."""

    def restart_planning(self, authority: Authority, now: datetime) -> int:
        """After the clock was set back: every job whose watermark lies after ``now`` plans from
        ``now`` again; the omissions reaching past it are cut there; claimed instants stay
        claimed. Returns how many jobs. PLANNING_RESTARTED if any (facts: ``jobs``, how many;
        ``was``, the furthest watermark, ISO 8601).

        Removed jobs keep their watermark. ``accounted_from`` becomes ``now``; revisions valid
        after later instants are valid after ``now``; a done job with a fire after ``now`` is
        active again. A cut omission has ``cut_at`` set, ``last`` and ``count`` say what is left
        up to ``now`` (0 if nothing; of a foreign job all, if any), and an open one with nothing
        left is resolved. What the wrong clock put off is brought near, whatever its watermark:
        active jobs that are deferred, waiting or have open held fires are due at ``now`` at the
        latest, and so are retries that are more than an hour ahead. ``clock_era`` grows if any
        job's planning restarted."""

    def wake_held_jobs(self, authority: Authority, now: datetime) -> int:
        """Make the jobs with open held fires due (a probe changed its answer)."""

    def replan(self, authority: Authority, jobs: Collection[str], now: datetime) -> int:
        """Make these jobs due at ``now``, those that are active and due later: the rules by which
        their due time was computed changed. Their watermarks stay. Returns how many."""

    # -- runs -------------------------------------------------------------------------------
    def start(self, authority: Authority, starts: Sequence[Start]) -> tuple[bool, ...]:
        """CLAIMED to RUNNING, before the gate opens. StaleTerm for all. False for one whose run
        is not CLAIMED at that attempt by this authority's term, or has a cancel asked for."""

    def finish(self, results: Sequence[Result], now: datetime) -> tuple[FinishOutcome, ...]:
        """Record ends, fenced by run, attempt and holder (C6): no authority. RETRYING keeps the
        attempt in ``earlier`` when the next is claimed. A final state wakes the job if a fire of
        it waits, and turns the run's accepted request done. A RETRYING result for a run with a
        cancel mark makes it CANCELLED. Of a run that retention has deleted: ALREADY. A late
        result is taken once, from anybody. IllegalTransition for all if a state is neither final
        nor RETRYING. RUN_LOST, LATE_RESULT."""

    def note_started(self, runs: Sequence[tuple[str, int, datetime]]) -> None:
        """Callables: (run, attempt, at) were entered. For the record only; no error. A claimed
        run becomes running; anything else is left as it is."""

    def note_reasons(self, process: str, notes: Sequence[tuple[str, int, str]]) -> None:
        """Runs that ``process`` holds: (run, attempt, why it is still active). For the record
        only; no error. A run that has ended, or that another holds, is left as it is."""

    def orphans(self, process: str) -> tuple[Run, ...]:
        """Claimed or running runs whose holder is not ``process``."""

    def adopt_run(self, authority: Authority, run: str, attempt: int, now: datetime) -> bool:
        """Become the holder of a run whose holder is dead. StaleTerm. False if it has ended.
        RUN_ADOPTED, unless it is the holder already. Also lets the caller declare it lost or
        never run by ``finish``."""

    def request_cancel(self, run: str, now: datetime) -> None:
        """Mark an active run; its holder ends it. A RETRYING one becomes CANCELLED. An
        ended one is left as it is."""

    def run(self, run: str) -> Run: ...

    def runs(
        self, where: RunFilter, page: Page | None = None
    ) -> tuple[tuple[Run, ...], str | None]: ...

    def runs_held_by(self, process: str) -> tuple[Run, ...]:
        """Active runs (not RETRYING) that this process holds, with their cancel marks."""

    def provenance(self, run: str) -> Evidence:
        """The evidence of the process that claimed the run's current attempt (C10)."""

    def omissions(
        self,
        *,
        job: str | None = None,
        kind: OmissionKind | None = None,
        only_open: bool = False,
        since: datetime | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Omission, ...], str | None]:
        """Newest first. ``since``: decided, or extended, at or after."""

    # -- monitoring: cheap, however long the history is ---------------------------------------
    def mark(self) -> Mark:
        """The newest event, run and omission."""

    def runs_after(self, number: int, *, limit: int = 100) -> tuple[tuple[Run, ...], int]:
        """Runs that were first claimed after the one of that number (of a mark), oldest first;
        also the number of the last of them, or ``number`` where there is none."""

    def runs_by_id(self, runs: Collection[str]) -> tuple[Run, ...]:
        """The runs with these ids, in any order; unknown ids are left out."""

    def latest_runs(self, jobs: Collection[str], *, each: int = 1) -> Mapping[str, Sequence[Run]]:
        """The runs of each job's latest fires, at most ``each``, the latest first. Jobs that have
        none are left out."""

    # -- requests ---------------------------------------------------------------------------
    def create_request(
        self,
        *,
        kind: RequestKind,
        key: str,
        requester: Requester,
        now: datetime,
        deadline: timedelta,
        job: str | None = None,
        run: str | None = None,
        to_process: str | None = None,
        queued: bool = False,
    ) -> Request:
        """Create a durable request. A repeated key returns the request that it created before,
        unchanged; Conflict if that request differs. NotFound for a job or run that is not there, or
        a removed job. ``job`` is an id or a name, kept as the id; of a run's request, the run's
        job. InvalidInput without what the kind needs: a trigger a job, cancel and retry a run.
        REQUESTED."""

    def resolve_request(
        self,
        request: str,
        state: RequestState,
        *,
        authority: Authority | None,
        now: datetime,
        answer: str,
        remedy: str = "",
        run: str | None = None,
    ) -> Request:
        """Answer a pending request, or end an accepted one (:func:`check_answer`). An
        authority must be current; without an authority only REFUSED, EXPIRED and WITHDRAWN are
        allowed. IllegalTransition for a request that is answered; InvalidInput for ACCEPTED or DONE
        without an authority.
        Accepting past its deadline makes it EXPIRED, and that is returned. ANSWERED."""

    def request(self, request: str) -> Request: ...

    def requests(
        self,
        *,
        states: frozenset[RequestState] | None = None,
        limit: int = 100,
        before: str | None = None,
        newest_first: bool = False,
    ) -> tuple[Request, ...]:
        """Oldest first for PENDING alone, else newest first, with ``newest_first`` always so.
        ``before``: only those that were asked before that request; NotFound if it is not there."""

    def expire_requests(self, now: datetime) -> int:
        """Pending ones past their deadline become expired, and accepted hand-overs while no
        process owns; how many. ANSWERED."""

    def observe_requester(self, request: str, requester: Requester) -> None:
        """Replace the requester that the request claims by the one that the control socket saw;
        ``via`` stays, as only the requester knows it."""

    # -- events, figures, maintenance ----------------------------------------------------------
    def record_event(
        self,
        kind: EventKind,
        now: datetime,
        *,
        term: int | None = None,
        process: str | None = None,
        job: str | None = None,
        run: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None: ...

    def events(self, *, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        """In order of ``seq``."""

    def counts(self) -> Counts: ...

    def history_now(self, now: datetime, ran: timedelta) -> datetime:
        """Advance the clock that retention goes by, and what it reads: never after ``now``.

        ``ran``: the real time since the last call under this term. It starts where the store was
        made. See :mod:`tenure.domain.history_clock`."""

    def purge(self, retention: PurgeLimits, now: datetime) -> Purged:
        """Delete history beyond the bounds: only final runs whose fire is at or before the job's
        watermark, keeping the spans of what was deleted; never an open hold, an active run, a
        process that is named by a kept run, or an answered request younger than a day.

        Runs, by job: those beyond the newest ``runs_per_job`` fires, or claimed and finished more
        than ``days`` before ``now``; earliest fires first. Omissions likewise, by ``last`` and by
        ``decided_at``. Requests that are answered and not merely accepted, and processes that
        left, more than ``days`` (for requests at least one) before ``now``. Never the owner.
        ``now`` is that of :meth:`history_now`."""
