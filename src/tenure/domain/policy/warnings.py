"""What is legal in a policy but probably not meant, as data for every surface.

Codes are stable: ``no_authoritative_rule``, ``unattested_authority``,
``executable_resolves_elsewhere``, ``executable_is_script``, ``rule_matches_nothing``,
``rule_never_reached``, ``group_unknown``. An open policy has no warnings of its own; that more
than one process can execute under it is for ``status`` to see (C9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenure.domain.policy.admission import Policy
from tenure.domain.policy.conditions import is_session_manager
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule

_WEAK = {"user", "host", "role", "holds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWarning:
    """One warning: a stable code, what is the matter, and what to change."""

    code: str
    text: str
    remedy: str


def policy_warnings(policy: Policy) -> list[PolicyWarning]:
    """The warnings of ``policy``, in the order of its rules. Its paths should be resolved."""
    found: list[PolicyWarning] = []
    if policy.rules:
        found += _authority(policy.rules)
    for rule in policy.rules:
        found += _resolves_elsewhere(rule, "executable", rule.executable_paths)
        found += _resolves_elsewhere(rule, "ancestor", rule.ancestor_paths)
        found += _is_script(rule)
        found += _matches_nothing(rule)
        found += _never_reached(rule, policy.rules)
        if isinstance(rule.group, str) and rule.group_id is None:
            found.append(
                PolicyWarning(
                    code="group_unknown",
                    text=f"rule {rule.number} asks for group {rule.group}, "
                    "which this machine does not know",
                    remedy="correct the name, or give the gid as a number",
                )
            )
    return found


def _authority(rules: tuple[Rule, ...]) -> Iterator[PolicyWarning]:
    if not any(rule.authoritative for rule in rules):
        why = "the first rule refuses, and " if rules[0].refuse else ""
        yield PolicyWarning(
            code="no_authoritative_rule",
            text=f"{why}no rule is authoritative: protected jobs are held for ever",
            remedy="write authoritative = true in the rule that may run them",
        )
    for rule in rules:
        asked = set(rule.conditions())
        user_unit = asked <= _WEAK | {"service"} and rule.manager is Manager.SYSTEMD_USER
        if rule.authoritative and asked <= _WEAK and rule.holds is not None:
            yield PolicyWarning(
                code="unattested_authority",
                text=f"rule {rule.number} is authoritative, but any process of the user could "
                f"take the lock on {rule.holds} while no other process holds it",
                remedy="name the service, launchd label or executable of the program that "
                "usually holds it as well, if there is one",
            )
        elif rule.authoritative and (asked <= _WEAK or user_unit):
            yield PolicyWarning(
                code="unattested_authority",
                text=f"rule {rule.number} is authoritative, but any process of the user "
                "could bring about what it asks for",
                remedy="name a system service, a launchd label or an executable, if there is one",
            )


def _resolves_elsewhere(rule: Rule, key: str, paths: tuple[str, ...]) -> Iterator[PolicyWarning]:
    if not paths:
        return
    written = paths[0].rstrip("/")
    elsewhere = [p for p in paths[1:] if p not in (written, f"/usr{written}", f"/private{written}")]
    if elsewhere:
        yield PolicyWarning(
            code="executable_resolves_elsewhere",
            text=f"rule {rule.number}: {key} {written} is really {elsewhere[-1]}, so the rule "
            "matches whatever runs that, for instance every virtual environment of one Python",
            remedy="prefer a launcher of its own, or a service",
        )


def _is_script(rule: Rule) -> Iterator[PolicyWarning]:
    for key in rule.scripts:
        yield PolicyWarning(
            code="executable_is_script",
            text=f"rule {rule.number}: {key} {getattr(rule, key)} is a script; what the system "
            "runs and reports is its interpreter, so the rule matches nothing",
            remedy="name a program or a folder of programs, or a service that starts the script",
        )


def _matches_nothing(rule: Rule) -> Iterator[PolicyWarning]:
    paths = rule.ancestor_paths or ((rule.ancestor,) if rule.ancestor else ())
    if any(is_session_manager(path) for path in paths):
        yield PolicyWarning(
            code="rule_matches_nothing",
            text=f"rule {rule.number}: ancestor {rule.ancestor} is above every process of a "
            "session, so it matches none",
            remedy="name the program in between, or use service or init",
        )


def _never_reached(rule: Rule, rules: tuple[Rule, ...]) -> Iterator[PolicyWarning]:
    asked = rule.conditions().items()
    for earlier in rules[: rule.rank]:
        # Whatever meets all of more conditions meets the fewer. Only for unknown evidence does
        # a rule that refuses reach further than one that admits.
        if earlier.conditions().items() <= asked and (earlier.refuse or not rule.refuse):
            yield PolicyWarning(
                code="rule_never_reached",
                text=f"rule {rule.number} never decides: rule {earlier.number} already "
                "matches everything that it asks for",
                remedy=f"remove rule {rule.number}, or put it above rule {earlier.number}",
            )
            return
