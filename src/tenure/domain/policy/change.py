"""From a profile.toml on disk to the policy in force: what a changed file may change.

Authority: the accepted policy, in the store. The file proposes. A file that is missing, empty or
wrong proposes nothing: it is a warning, and the accepted rules stay. Rules are only ever all
removed by ``tenure owner policy --clear``, never by an editor that saved an empty file or by a
file system that was late.

Before the first policy is accepted the file alone says who may own: a scheduler process accepts its
rules before it competes, and where they cannot be read no process can become owner (C2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenure.domain.policy.admission import Policy
from tenure.domain.policy.rule import Rule
from tenure.domain.policy.text import make_policy
from tenure.domain.settings import Settings
from tenure.domain.warnings import ProfileWarning, warn


class ProblemKind(StrEnum):
    """Why a profile.toml proposes nothing."""

    MISSING = "missing"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    NOT_TOML = "not_toml"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProblem:
    """A profile.toml that cannot be used, and what to do about it."""

    kind: ProblemKind
    text: str
    remedy: str
    field: str | None = None
    line: int | None = None
    """Counted from 1; None where no line is at fault."""
    hides_rules: bool = True
    """Whether rules may be in it that could not be read; False where only settings are."""

    @property
    def wrong(self) -> bool:
        """Something is there and cannot be used, as opposed to nothing being there."""
        return self.kind not in (ProblemKind.MISSING, ProblemKind.EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A profile.toml that was read whole: its settings and rules (paths resolved)."""

    settings: Settings
    rules: tuple[Rule, ...]
    text: str
    """The rules in canonical TOML."""
    hash: str
    """Of ``text``; changes with the rules only, not with settings or comments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The file's rules are to become the policy in force."""

    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCurrent:
    """The accepted policy stays, with a warning where the file says otherwise."""

    warning: ProfileWarning | None = None


def policy_in_force(accepted: Policy, found: PolicyFile | PolicyProblem) -> Policy:
    """The policy by which processes are judged: the accepted one, or, where none ever was, what
    the file says: its rules, or closed if they cannot be read. Raises nothing."""
    if accepted.version or accepted.closed:
        return accepted
    if isinstance(found, PolicyFile):
        return make_policy(found.rules, version=0)
    if found.wrong and found.hides_rules:
        return Policy(unread=found.text, remedy=found.remedy)
    return accepted


def reconcile_policy(
    accepted: Policy | None, found: PolicyFile | PolicyProblem
) -> Accept | KeepCurrent:
    """What the found file does to the accepted policy (None: the profile never had one).

    The accepted policy's version is one above the old one's. Raises nothing.
    """
    guarded = accepted is not None and not accepted.open
    if isinstance(found, PolicyProblem):
        if not guarded and not found.wrong:
            return KeepCurrent()
        if guarded:
            stays = "the accepted rules stay in force"
        elif accepted is not None and accepted.version:
            stays = "the profile stays without owner rules, as was accepted"
        elif found.hides_rules:
            stays = "no owner rules were ever accepted, so no process can become owner"
        else:
            stays = "nothing in it takes effect"
        return KeepCurrent(
            warning=ProfileWarning(
                code=f"profile_file_{found.kind}",
                text=f"{found.text}; {stays}",
                remedy=found.remedy,
            )
        )
    if not found.rules:
        return KeepCurrent(warning=_RULES_GONE if guarded else None)
    if accepted is not None and accepted.hash == found.hash and not accepted.closed:
        return KeepCurrent()
    version = (accepted.version if accepted else 0) + 1
    return Accept(policy=make_policy(found.rules, version=version))


_RULES_GONE = warn("profile_file_without_rules")
