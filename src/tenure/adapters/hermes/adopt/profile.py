"""The Tenure profile beside a Hermes home: made, given its owner rules, and linked to the home.

It outlives the adoption: what ran, and who ran it, stays there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tenure.adapters.hermes.adopt.owner_rules import GATEWAY, has_gateway_rule, profile_text
from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.client.presence import editor
from tenure.client.status import Unmade
from tenure.domain.errors import Conflict, CorruptStore, InvalidInput, NotFound
from tenure.domain.file_text import decode_file, end_lines
from tenure.domain.policy.change import PolicyFile, PolicyProblem
from tenure.domain.policy.rule import Rule
from tenure.runtime.profile import Profile
from tenure.store.folder.policy_file import read_policy_file

LINK = "hermes.json"
"""In the Tenure profile's folder: which Hermes home it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlan:
    """What the Tenure profile is to get."""

    name: str
    tenure_home: Path
    text: str | None
    """What its profile.toml is to say; None where it has rules already."""
    notes: tuple[str, ...] = ()

    @property
    def toml(self) -> Path:
        return self.tenure_home / "profiles" / self.name / "profile.toml"


def plan_profile(
    home: HermesHome,
    name: str,
    tenure_home: Path,
    *,
    owners: Sequence[str],
    service: str | None,
    fallback_after: timedelta | None,
    timezone: str | None,
) -> ProfilePlan:
    """Changes nothing. Raises Conflict for another home's profile, InvalidInput."""
    notes = list(_check_link(home, tenure_home / "profiles" / name, name))
    toml = tenure_home / "profiles" / name / "profile.toml"
    found = read_policy_file(toml)
    if isinstance(found, PolicyProblem) and found.wrong:
        raise InvalidInput(found.text, field=found.field or "profile.toml", remedy=found.remedy)
    rules = found.rules if isinstance(found, PolicyFile) else ()
    rules = rules or _accepted(name, tenure_home)
    text = None
    proposed = profile_text(
        home, owners, service=service, fallback_after=fallback_after,
        timezone=None if isinstance(found, PolicyFile) else timezone,
    )  # fmt: skip
    if not rules:
        text = _before(toml) + proposed
    else:
        asked = tuple(owners) != (GATEWAY,) or fallback_after is not None
        if asked or linked_home(toml.parent) != home.path:
            notes.append(f"{toml} already has owner rules; they stay unchanged")
        if GATEWAY in owners and not has_gateway_rule(rules, home):
            notes.append(f'none of its rules asks for holds = "{home.gateway_lock}"')
    return ProfilePlan(name=name, tenure_home=tenure_home, text=text, notes=tuple(notes))


def make_profile(plan: ProfilePlan, home: HermesHome, now: datetime, disk: Disk) -> list[str]:
    """Carry it out, and return what was done. ``now`` is UTC. What exists is kept."""
    done = []
    folder = plan.toml.parent
    was_there = (folder / "tenure.db").exists()
    profile = Profile.open(plan.name, home=plan.tenure_home, create=True, now=now)
    try:
        if not was_there:
            done.append(f"made the Tenure profile {plan.name} in {plan.tenure_home}")
        if plan.text is not None:
            disk.write(str(plan.toml), plan.text.encode())
            done.append(f"wrote its owner rules: {plan.toml}")
        link = json.dumps({"v": 1, "hermes_home": str(home.path)}).encode()
        if not (folder / LINK).exists() or (folder / LINK).read_bytes() != link:
            disk.write(str(folder / LINK), link)
        profile.refresh_policy(editor("tenure hermes adopt"), now)
    finally:
        profile.close()
    return done


def linked_home(folder: Path) -> Path | None:
    """The Hermes home that a Tenure profile is for; None if for none, or it does not say."""
    try:
        document = json.loads((folder / LINK).read_text(encoding="utf-8"))
        return Path(document["hermes_home"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rules_of(name: str, tenure_home: Path) -> tuple[Rule, ...] | None:
    """The rules in force; None if the profile does not exist."""
    try:
        profile = Profile.open(name, home=tenure_home, readonly=True)
    except NotFound:
        unmade = Unmade.find(name, home=tenure_home)
        return None if unmade is None else unmade.policy.rules
    try:
        return profile.policy().rules
    finally:
        profile.close()


def file_problem(name: str, tenure_home: Path) -> PolicyProblem | None:
    """What is wrong with its profile.toml; None where it can be read or is not there."""
    found = read_policy_file(tenure_home / "profiles" / name / "profile.toml")
    return found if isinstance(found, PolicyProblem) and found.wrong else None


def _accepted(name: str, tenure_home: Path) -> tuple[Rule, ...]:
    return rules_of(name, tenure_home) or ()


def _before(toml: Path) -> str:
    """What the file says above our rules: settings, or comments."""
    try:
        text = end_lines(decode_file(toml.read_bytes()))
    except FileNotFoundError:
        return ""
    return text if not text or text.endswith("\n\n") else text.rstrip("\n") + "\n\n"


def _check_link(home: HermesHome, folder: Path, name: str) -> tuple[str, ...]:
    other = linked_home(folder)
    if other is None or other.resolve() == home.path:
        return ()
    try:
        adoption = read_adoption(home_of(other))
    except CorruptStore:
        adoption = None
    if adoption is None or adoption.tenure_profile != name:
        return (f"the Tenure profile {name} was that of {other}; its history stays in it",)
    raise Conflict(
        f"the Tenure profile {name} is that of the Hermes home {other}",
        remedy="name another for this one: --tenure-profile NAME",
    )
