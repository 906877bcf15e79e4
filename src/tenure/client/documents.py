"""The stable JSON of jobs, runs, requests, processes and what was left out.

Every surface writes these shapes. Instants are RFC 3339 in UTC with a ``Z``; durations are
seconds; what is absent is null, and what could not be read is named in ``evidence.unknown``.
Whoever prints a document adds ``"v": 1`` to its outermost object.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.client.secrets import masked, masked_text
from tenure.domain.errors import TenureError
from tenure.domain.event import Event
from tenure.domain.job import Call, Definition, Job
from tenure.domain.omission import Omission
from tenure.domain.ownership import Ownership, Term
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process
from tenure.domain.request import Request
from tenure.domain.run import Attempt, Run

VERSION = 1
Document = dict[str, Any]


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC; microseconds only where there are any."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds(value: timedelta | None) -> float | int | None:
    if value is None:
        return None
    whole = value.total_seconds()
    return int(whole) if whole == int(whole) else whole


def error_document(error: TenureError) -> Document:
    return {
        "v": VERSION,
        "error": {
            "code": error.code,
            "text": error.text,
            "remedy": error.remedy,
            "field": error.field,
            "facts": {key: _plain(value) for key, value in error.facts.items()},
        },
    }


def definition_document(wants: Definition, *, show_secrets: bool = False) -> Document:
    """A definition; secrets of its environment, and what it reads, masked."""
    action = wants.action
    if isinstance(action, Call):
        what: Document = {
            "target": action.target,
            "runner": str(action.runner),
            "args": dict(action.args),
        }
    else:
        what = {
            "command": list(action.argv),
            "shell": action.shell,
            "env": masked(action.env, show=show_secrets),
            "cwd": action.cwd,
            "stdin": masked_text(action.stdin, show=show_secrets),
        }
    schedule = {**wants.schedule.to_json(), "follows_profile": wants.schedule.follows_profile}
    schedule["anchor"], schedule["at"] = (
        instant(wants.schedule.anchor),
        instant(wants.schedule.at),
    )
    return {
        "name": wants.name,
        "schedule": {**schedule, "words": wants.schedule.describe()},
        **what,
        "protected": wants.protected,
        "requires": list(wants.requires),
        "overlap": str(wants.overlap),
        "catch_up": str(wants.catching_up),
        "catch_up_window": seconds(wants.window),
        "grace": seconds(wants.grace),
        "jitter": seconds(wants.jitter),
        "timeout": seconds(wants.timeout),
        "retries": wants.retries,
        "backoff": seconds(wants.backoff),
        "retry_lost": wants.retry_lost,
        "tags": list(wants.tags),
    }


def job_document(job: Job, *, show_secrets: bool = False) -> Document:
    return {
        "id": job.id,
        **definition_document(job.definition, show_secrets=show_secrets),
        "revision": job.revision,
        "approved_revision": job.approved_revision,
        "state": str(job.state),
        "created_at": instant(job.created_at),
        "edited_at": instant(job.edited_at),
        "edited_by": job.edited_by,
        "watermark": instant(job.watermark),
        "next_fire": instant(job.next_fire),
        "app": job.app,
        "unreadable": None if job.damage is None else job.damage.reason,
    }


def attempt_document(attempt: Attempt) -> Document:
    return {
        "number": attempt.number,
        "term": attempt.term,
        "process": attempt.process,
        "state": str(attempt.state),
        "reason": attempt.reason or None,
        "claimed_at": instant(attempt.claimed_at),
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
    }


def run_document(run: Run, evidence: Evidence | None, request: Request | None) -> Document:
    """A run with who ran it. ``request`` is the one it answers, if any."""
    late = run.late
    return {
        "id": run.id,
        "job": run.job,
        "job_name": run.job_name,
        "revision": run.revision,
        "fire_time": instant(run.fire_time),
        "cause": str(run.cause),
        "state": str(run.state),
        "reason": run.reason or None,
        "protected": run.protected,
        "term": run.term,
        "process": run.process,
        "holder": run.holder,
        "pid": run.identity.pid if run.identity else None,
        "claimed_at": instant(run.claimed_at),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "retry_at": instant(run.retry_at),
        "exit_code": run.exit_code,
        "signal": run.signal,
        "attempts": [attempt_document(attempt) for attempt in run.attempts],
        "late": None
        if late is None
        else {
            "at": instant(late.at),
            "state": str(late.state),
            "exit_code": late.exit_code,
            "signal": late.signal,
        },
        "request": run.request,
        "requested_by": request.requester.describe() if request else None,
        "cancel_requested_at": instant(run.cancel_requested_at),
        "log": run.log,
        "evidence": evidence_document(evidence, at=run.claimed_at) if evidence else None,
    }


def omission_document(omission: Omission) -> Document:
    return {
        "id": omission.id,
        "job": omission.job,
        "job_name": omission.job_name,
        "revision": omission.revision,
        "kind": str(omission.kind),
        "first": instant(omission.first),
        "last": instant(omission.last),
        "count": omission.count,
        "reason": omission.reason,
        "decided_at": instant(omission.decided_at),
        "decided_by": omission.decided_by,
        "term": omission.term,
        "open": omission.open,
        "resolved_at": instant(omission.resolved_at),
        "resolution": omission.resolution or None,
        "cut_at": instant(omission.cut_at),
    }


def request_document(request: Request) -> Document:
    who = request.requester
    return {
        "id": request.id,
        "kind": str(request.kind),
        "key": request.key,
        "state": str(request.state),
        "job": request.job,
        "run": request.run,
        "to_process": request.to_process,
        "queued": request.queued,
        "asked_at": instant(request.asked_at),
        "deadline": instant(request.deadline),
        "answered_at": instant(request.answered_at),
        "term": request.term,
        "answer": request.answer or None,
        "remedy": request.remedy or None,
        "requester": {
            "pid": who.pid,
            "uid": who.uid,
            "user": who.user,
            "executable": who.executable,
            "via": who.via or None,
            "observed": who.observed,
        },
    }


def evidence_document(evidence: Evidence, *, at: datetime | None = None) -> Document:
    """Observed evidence (C10). ``unknown`` lists the fields that could not be read. ``alive`` says
    of each process of the chain whether it lived ``at`` that instant, by default the last look."""
    service = evidence.service
    return {
        "pid": evidence.identity.pid,
        "start": evidence.identity.start,
        "boot_id": evidence.identity.boot_id or None,
        "pid_namespace": evidence.identity.pid_namespace or None,
        "observed_at": instant(evidence.observed_at),
        "started_at": instant(evidence.started_at),
        "host": evidence.host or None,
        "hostname": evidence.hostname or None,
        "uid": evidence.uid,
        "user": evidence.user,
        "groups": list(evidence.groups),
        "executable": evidence.executable,
        "executable_as_run": evidence.executable_as_run,
        "executable_deleted": evidence.executable_deleted,
        "service": None
        if service is None
        else {
            "name": service.name,
            "manager": str(service.manager),
            "attested": service.attested,
        },
        "cgroup": evidence.cgroup,
        "init": evidence.init,
        "session": evidence.session,
        "responsible_pid": evidence.responsible_pid,
        "coalition": evidence.coalition,
        "signature": evidence.signature,
        "confinement": list(evidence.confinement),
        "locks": list(evidence.locks),
        "chain": [
            {
                "pid": link.pid,
                "name": link.name,
                "executable": link.executable,
                "started_at": instant(link.started_at),
                "alive": link.lived(at),
            }
            for link in evidence.chain
        ],
        "unknown": sorted(evidence.unknown),
    }


def process_document(process: Process) -> Document:
    return {
        "id": process.id,
        "pid": process.evidence.identity.pid,
        "host": process.evidence.hostname or process.evidence.host or None,
        "role": process.role,
        "standing": str(process.standing),
        "why": process.why,
        "rule": None if process.rule is None else process.rule + 1,
        "executes": process.executes,
        "app": process.app,
        "joined_at": instant(process.joined_at),
        "left_at": instant(process.left_at),
        "evidence": evidence_document(process.evidence),
    }


def owner_document(ownership: Ownership) -> Document | None:
    """The owner, or null. ``rule`` counts from 1; null under an open policy."""
    if ownership.authority is None:
        return None
    return {
        "term": ownership.term,
        "process": ownership.process,
        "rule": None if ownership.rule is None else ownership.rule + 1,
        "authoritative": ownership.authoritative,
        "policy_version": ownership.policy_version,
        "since": instant(ownership.since),
        "progress_at": instant(ownership.progress_at),
    }


def term_document(term: Term) -> Document:
    return {
        "term": term.term,
        "process": term.process,
        "rule": None if term.rule is None else term.rule + 1,
        "authoritative": term.authoritative,
        "policy_version": term.policy_version,
        "taken_at": instant(term.taken_at),
        "how": str(term.how),
        "ended_at": instant(term.ended_at),
        "ended_why": term.ended_why or None,
    }


def event_document(event: Event) -> Document:
    """A business fact; ``number`` grows by one each. ``facts`` hold data only."""
    return {
        "number": event.seq,
        "kind": str(event.kind),
        "at": instant(event.at),
        "term": event.term,
        "process": event.process,
        "job": event.job,
        "run": event.run,
        "facts": {key: _plain(value) for key, value in event.facts.items()},
    }


def _plain(value: object) -> Any:
    """``value`` as JSON has it."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return seconds(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
