"""What is legal in a policy but probably not meant. The texts are in :mod:`tenure.domain.warnings`.

An open policy has no warnings of its own; that more than one process can execute under it is for
``status`` to see (C9).
"""

from __future__ import annotations

from collections.abc import Iterator

from tenure.domain.policy.admission import Policy
from tenure.domain.policy.conditions import is_interpreter, is_session_manager
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule
from tenure.domain.warnings import ProfileWarning, warn

_WEAK = {"user", "host", "role", "holds", "app"}


def policy_warnings(policy: Policy) -> list[ProfileWarning]:
    """The warnings of ``policy``, in the order of its rules. Its paths should be resolved."""
    warnings: list[ProfileWarning] = []
    if policy.rules:
        warnings += _authority(policy.rules)
    for rule in policy.rules:
        interpreters = list(_names_interpreter(rule))
        warnings += interpreters
        # That warning names the target of a link, too.
        if not interpreters:
            warnings += _resolves_elsewhere(rule, "executable", rule.executable_paths)
            warnings += _resolves_elsewhere(rule, "ancestor", rule.ancestor_paths)
        warnings += _is_script(rule)
        warnings += _matches_nothing(rule)
        warnings += _never_reached(rule, policy.rules)
        if isinstance(rule.group, str) and rule.group_id is None:
            warnings.append(warn("group_unknown", rule=rule.number, group=rule.group))
    return warnings


def _authority(rules: tuple[Rule, ...]) -> Iterator[ProfileWarning]:
    if not any(rule.authoritative for rule in rules):
        why = "the first rule refuses, and " if rules[0].refuse else ""
        yield warn("no_authoritative_rule", why=why)
    for rule in rules:
        asked = set(rule.conditions())
        user_unit = asked <= _WEAK | {"service"} and rule.manager is Manager.SYSTEMD_USER
        if rule.authoritative and asked <= _WEAK and rule.holds is not None:
            yield warn(
                "unattested_authority",
                rule=rule.number,
                how=f"take the lock on {rule.holds} while no other process holds it",
                remedy="name the service, launchd label or executable of the program that "
                "usually holds it as well, if there is one",
            )
        elif rule.authoritative and (asked <= _WEAK or user_unit):
            yield warn(
                "unattested_authority",
                rule=rule.number,
                how="satisfy this rule",
                remedy="name a system service, a launchd label or an executable, if there is one",
            )


def _names_interpreter(rule: Rule) -> Iterator[ProfileWarning]:
    """Warn of a rule that makes every script of an interpreter authoritative, because no other
    condition of it tells one script from another."""
    if not rule.authoritative or rule.refuse:
        return
    named = {
        key: (paths or (path,))[-1]
        for key, path, paths in (
            ("executable", rule.executable, rule.executable_paths),
            ("ancestor", rule.ancestor, rule.ancestor_paths),
        )
        if path is not None and key not in rule.scripts
    }
    named = {key: path for key, path in named.items() if is_interpreter(path)}
    # Only one process at a time has a lock, so ``holds`` does tell them apart.
    if not set(rule.conditions()) <= named.keys() | _WEAK - {"holds"}:
        return
    for key, program in named.items():
        path = getattr(rule, key)
        yield warn(
            "rule_names_interpreter",
            rule=rule.number,
            key=key,
            path=path if path == program else f"{path} ({program})",
            what="every script that it runs, and all that they start,"
            if key == "executable"
            else "all that any of its scripts starts",
        )


def _resolves_elsewhere(rule: Rule, key: str, paths: tuple[str, ...]) -> Iterator[ProfileWarning]:
    if not paths:
        return
    written = paths[0].rstrip("/")
    elsewhere = [p for p in paths[1:] if p not in (written, f"/usr{written}", f"/private{written}")]
    if elsewhere:
        yield warn(
            "executable_resolves_elsewhere",
            rule=rule.number,
            key=key,
            path=written,
            target=elsewhere[-1],
        )


def _is_script(rule: Rule) -> Iterator[ProfileWarning]:
    for key in rule.scripts:
        yield warn("executable_is_script", rule=rule.number, key=key, path=getattr(rule, key))


def _matches_nothing(rule: Rule) -> Iterator[ProfileWarning]:
    paths = rule.ancestor_paths or ((rule.ancestor,) if rule.ancestor else ())
    if any(is_session_manager(path) for path in paths):
        yield warn("rule_matches_nothing", rule=rule.number, path=rule.ancestor)


def _never_reached(rule: Rule, rules: tuple[Rule, ...]) -> Iterator[ProfileWarning]:
    asked = rule.conditions().items()
    for earlier in rules[: rule.rank]:
        # Whatever meets all of more conditions meets the fewer. Only for unknown evidence does
        # a rule that refuses reach further than one that admits.
        if earlier.conditions().items() <= asked and (earlier.refuse or not rule.refuse):
            yield warn("rule_never_reached", rule=rule.number, earlier=earlier.number)
            return
