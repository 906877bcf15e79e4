"""The owner policy: who may own a profile, decided from evidence.

Authority: the user, who wrote the rules. Rules are read from the top; the first whose conditions
all hold decides. A rule admits, or refuses where it says ``refuse = true``. A process that no
rule admits is refused.

::

    evidence --> descends from a run? --> execute=False? --> no rules: open, any of the user's
                                                         --> rule 1, rule 2, ... first match

Unknown evidence fails a condition of a rule that admits and satisfies a condition of a rule that
refuses (C2). Nothing here reads a clock, a file or a process: the same evidence and policy give
the same answer in every process, which is what lets each decide for itself.

An admission has two separate qualities:

* **authoritative**: protected jobs may run under it (C8). The user says so, by the rule.
* **attested**: at least one condition was vouched for by something that other processes of the
  same user cannot simply give themselves. ``user = "me"``, a role, a host, a lock (any process
  can take a free one), or a systemd *user* unit (whose processes the user may move at will)
  are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta

from tenure.domain.policy.conditions import (
    ConditionAnswer,
    ConditionResult,
    findings,
    is_interpreter,
    is_system_program,
)
from tenure.domain.policy.evidence import Evidence
from tenure.domain.policy.rule import Rule

__all__ = ["OPEN", "Admission", "Policy", "Rule", "admit", "hash_of"]

_NAMED_BY_START = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""Part of a service name that changes at each start, as for an ssh session: a rule with that name
would match only once."""
_HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def hash_of(text: str) -> str:
    """The name of a policy text: SHA-256, hexadecimal."""
    if not text:
        return _HASH_OF_NOTHING
    # Loads OpenSSL, which a program without rules does not need.
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules that are in force, with the version that claims name (C3)."""

    rules: tuple[Rule, ...] = ()
    version: int = 0
    text: str = ""
    """The rules in canonical TOML, as the store keeps them (see policy_text)."""
    hash: str = _HASH_OF_NOTHING
    unread: str = ""
    """Why the rules of profile.toml cannot be read, where none were ever accepted: no process can
    become owner. Never kept in the store."""
    remedy: str = ""
    """What to do about ``unread``."""

    @property
    def open(self) -> bool:
        """No rules: any process of the user may own, and no owner is authoritative."""
        return not self.rules and not self.closed

    @property
    def closed(self) -> bool:
        """There may be rules, and they cannot be read: it fails closed (C2)."""
        return bool(self.unread)


OPEN = Policy()
"""The policy of a profile that never had a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What a policy decides about one process, and why (text for a person)."""

    admitted: bool
    rule: Rule | None = None
    """The rule that decided; None where none did, or the policy is open."""
    authoritative: bool = False
    after: timedelta = timedelta(0)
    why: str
    remedy: str = ""
    attested: bool = False


def admit(
    policy: Policy,
    evidence: Evidence,
    *,
    role: str | None,
    me_uid: int,
    executes: bool = True,
    inside_run: bool = False,
    owns: bool = False,
) -> Admission:
    """Whether the process of ``evidence`` may own under ``policy``.

    ``owns``: it is the owner already. A closed policy lets it go on as under no rules: rules that
    cannot be read take nothing away either.
    ``me_uid`` is the uid of the profile's own user. ``role`` is what the process calls itself.
    ``executes`` is False for an observer. ``inside_run`` is True for a process that descends from
    a run: it would make an owner its own grandchild. Raises nothing; thread-safe.
    """
    if inside_run:
        return Admission(
            admitted=False,
            why="it descends from a run of this profile, and a run never owns",
            remedy="start the scheduler from a service or a shell, not from one of its own jobs",
        )
    if not executes:
        return Admission(
            admitted=False,
            why="it was started as an observer (execute=False)",
            remedy="requests are delegated to the owner",
        )
    if policy.closed and not owns:
        why = policy.unread
        if not policy.version:
            why = f"no owner rules were ever accepted, and {why}"
        return Admission(admitted=False, why=why, remedy=policy.remedy)
    if policy.closed:
        admission = _admit_open(evidence, me_uid)
        if not admission.admitted:
            return admission
        why = f"it was the owner before {policy.unread}"
        return replace(admission, why=why, remedy=policy.remedy)
    if policy.open:
        return _admit_open(evidence, me_uid)
    missed: list[str] = []
    for rule in policy.rules:
        facts = findings(rule, evidence, role=role, me_uid=me_uid)
        failed = _first_failure(rule, facts)
        if failed is None:
            return _refused_by(rule, facts) if rule.refuse else _admitted_by(rule, facts)
        if not rule.refuse:
            missed.append(f"rule {rule.number} asks for {failed.asks}, but {failed.observed}")
    return Admission(
        admitted=False,
        why="no rule admits it: " + ("; ".join(missed) or "every rule refuses"),
        remedy=_remedy(policy, evidence),
    )


def _first_failure(rule: Rule, results: tuple[ConditionResult, ...]) -> ConditionResult | None:
    passing = (
        (ConditionAnswer.YES, ConditionAnswer.UNKNOWN) if rule.refuse else (ConditionAnswer.YES,)
    )
    return next((f for f in results if f.answer not in passing), None)


def _admit_open(evidence: Evidence, me_uid: int) -> Admission:
    remedy = "name the owner: `tenure owner policy` shows how"
    if "uid" in evidence.unknown or evidence.uid != me_uid:
        seen = "could not be read" if "uid" in evidence.unknown else f"is {evidence.uid}"
        return Admission(
            admitted=False,
            why=f"the profile has no owner rules, so any process of uid {me_uid} may "
            f"become owner, but its uid {seen}",
            remedy=remedy,
        )
    return Admission(
        admitted=True,
        why="the profile has no owner rules, so any process of the user may become owner (first "
        "come, first served) and protected jobs are held",
        remedy=remedy,
    )


def _admitted_by(rule: Rule, results: tuple[ConditionResult, ...]) -> Admission:
    attested = any(f.vouched for f in results)
    facts = "; ".join(f"it asks for {f.asks}, and {f.observed}" for f in results)
    why = f"rule {rule.number} admits it: {facts}"
    if not attested:
        why += ". Not attested: any process of the user could satisfy this rule"
    return Admission(
        admitted=True,
        rule=rule,
        authoritative=rule.authoritative,
        after=rule.after,
        why=why,
        attested=attested,
    )


def _refused_by(rule: Rule, results: tuple[ConditionResult, ...]) -> Admission:
    facts = "; ".join(
        f"it asks for {f.asks}, and {f.observed}"
        + (", which counts for a rule that refuses" if f.answer is ConditionAnswer.UNKNOWN else "")
        for f in results
    )
    return Admission(
        admitted=False,
        rule=rule,
        why=f"rule {rule.number} refuses it: {facts}",
        remedy="`tenure owner policy` shows the rules; "
        "to admit it, put a narrower rule above this one in profile.toml",
    )


def _remedy(policy: Policy, evidence: Evidence) -> str:
    first = next((r for r in policy.rules if not r.refuse), None)
    start = f"start it so that rule {first.number} holds, or " if first else ""
    return (
        f"{start}add a rule to profile.toml{_suggestion(evidence)}; "
        "`tenure owner policy` shows the rules in force"
    )


def _suggestion(evidence: Evidence) -> str:
    """What follows 'add a rule': the most telling fact of the process, as a condition."""
    condition = 'user = "me"'
    service = evidence.service
    if service is not None and not _NAMED_BY_START.search(service.name):
        condition = f'service = "{service.manager}:{service.name}"'
    elif evidence.app is not None:
        condition = f'app = "{evidence.app}"'
    elif evidence.executable and not is_interpreter(evidence.executable):
        condition = f'executable = "{evidence.executable}"'
    elif launcher := _launcher(evidence):
        condition = f'ancestor = "{launcher}"'
    elif evidence.locks:
        condition = f'holds = "{evidence.locks[0]}"'
    elif evidence.executable:
        return (
            " that names a service, a launcher of its own or a lock (none was found: its "
            f"executable {evidence.executable} is an interpreter, which runs any script)"
        )
    return f", for example [[owner]] {condition}"


def _launcher(evidence: Evidence) -> str | None:
    """The nearest program above it that is neither an interpreter nor one of the system's, such as
    sudo or a terminal."""
    for link in evidence.ancestors():
        program = link.executable if link.ended_at is None and link.pid > 1 else None
        if program and not (is_interpreter(program) or is_system_program(program)):
            return program
    return None
