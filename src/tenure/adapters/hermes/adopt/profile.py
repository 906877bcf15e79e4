"""The Tenure profile beside a Hermes home: made, given its owner rules, and linked to the home.

It outlives the adoption: what ran, and who ran it, stays there. The owner policy that is proposed
for it names the gateway, identified by the lock it holds. It becomes the ``profile.toml``, with
comments, is written only where no rules exist, and belongs to the user afterwards.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.report import Survey
from tenure.client.presence import editor
from tenure.client.status import NewProfile
from tenure.domain.durations import format_duration
from tenure.domain.errors import Conflict, CorruptStore, InvalidInput, NotFound
from tenure.domain.file_text import decode_file, end_lines
from tenure.domain.policy.change import PolicyFile, PolicyProblem
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule
from tenure.domain.policy.text import read_rules
from tenure.domain.settings import read_settings
from tenure.runtime.profile import Profile
from tenure.store.folder.policy_file import read_policy_file

GATEWAY = "gateway"
_WANTS = {
    Manager.SYSTEMD_USER: "default.target.wants",
    Manager.SYSTEMD_SYSTEM: "multi-user.target.wants",
}
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
    policy = read_policy_file(toml)
    if isinstance(policy, PolicyProblem) and policy.wrong:
        raise InvalidInput(policy.text, field=policy.field or "profile.toml", remedy=policy.remedy)
    rules = policy.rules if isinstance(policy, PolicyFile) else ()
    rules = rules or rules_of(name, tenure_home) or ()
    text = None
    proposed = profile_text(
        home, owners, service=service, fallback_after=fallback_after,
        timezone=None if isinstance(policy, PolicyFile) else timezone,
    )  # fmt: skip
    if not rules:
        text = _before(toml) + proposed
    else:
        special = tuple(owners) != (GATEWAY,) or fallback_after is not None
        if special or linked_home(toml.parent) != home.path:
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
        new_profile = NewProfile.find(name, home=tenure_home)
        return None if new_profile is None else new_profile.policy.rules
    try:
        return profile.policy().rules
    finally:
        profile.close()


def file_problem(name: str, tenure_home: Path) -> PolicyProblem | None:
    """What is wrong with its profile.toml; None where it can be read or is not there."""
    policy = read_policy_file(tenure_home / "profiles" / name / "profile.toml")
    return policy if isinstance(policy, PolicyProblem) and policy.wrong else None


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


# -- owner rules ----------------------------------------------------------------------------------
def profile_text(
    home: HermesHome,
    owners: Sequence[str],
    *,
    service: str | None,
    fallback_after: timedelta | None,
    timezone: str | None,
) -> str:
    """A whole ``profile.toml``. Raises InvalidInput for another owner.

    ``owners``: ``gateway``, ``service LABEL`` or ``executable PATH``, the best first. ``service``:
    the one that the gateway runs as. ``fallback_after``: any process of the user, after this time.
    """
    lines = [
        f"# Who may run the cron jobs of the Hermes profile {home.profile},",
        f"# {_quoted(str(home.path))}.",
        "# Written by `tenure hermes adopt`; yours to change: `tenure owner policy` explains.",
    ]
    if timezone is not None:
        lines.append(f"timezone = {_quoted(timezone)}")
    if GATEWAY in owners:
        verb = "start" if service else "run"
        lines.append(f"start = {_quoted(f'{home.command} gateway {verb}')}  # what a refusal says")
    for owner in owners:
        lines += ["", *_rule(home, owner, service)]
    if fallback_after is not None:
        lines += [
            "",
            "[[owner]]  # when no better owner was present for this time; never for protected jobs",
            'user = "me"',
            f'after = "{format_duration(fallback_after)}"',
            "authoritative = false",
        ]
    text = "\n".join([*lines, ""])
    document = tomllib.loads(text)
    read_settings(document)
    read_rules(document)
    return text


def _rule(home: HermesHome, owner: str, service: str | None) -> list[str]:
    word, _, rest = owner.strip().partition(" ")
    rest = rest.strip()
    if word == GATEWAY and not rest:
        lines = [
            "[[owner]]  # the gateway: it holds this lock, in the kernel, for as long as it lives",
            f"holds = {_quoted(str(home.gateway_lock))}",
        ]
        return [*lines, f"service = {_quoted(service)}"] if service else lines
    if word in ("service", "executable") and rest:
        return ["[[owner]]", f"{word} = {_quoted(rest)}"]
    raise InvalidInput(
        f"{owner!r} is not a valid owner",
        field="owner",
        remedy="use gateway, 'service LABEL' or 'executable PATH'; rules of other kinds are "
        "written in profile.toml",
    )


def _quoted(text: str) -> str:
    """A TOML string. Raises InvalidInput for text that no TOML file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text!r} is not UTF-8, and a profile.toml must be") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def has_gateway_rule(rules: Sequence[Rule], home: HermesHome) -> bool:
    """Whether a rule admits the process that holds this home's gateway lock."""
    lock = os.path.realpath(home.gateway_lock)
    return any(
        not rule.refuse and rule.holds is not None and os.path.realpath(rule.holds) == lock
        for rule in rules
    )


def gateway_service(survey: Survey) -> str | None:
    """The service that the gateway runs as, or will be started as; None if by hand.

    What runs now decides. Where nothing runs, a definition that is enabled does.
    """
    definitions = service_definitions(survey.home)
    running = survey.process(survey.gateway_lock.pid)
    if running is not None:
        service = running.evidence.service if running.evidence else None
        for definition in definitions:
            if service is not None and (service.name, service.manager) == (
                definition.label, definition.manager,
            ):  # fmt: skip
                return f"{definition.manager}:{definition.label}"
        return None
    if survey.gateway_lock.held and survey.gateway_lock.named:
        return None
    for definition in definitions:
        # As ``systemctl enable`` leaves it.
        wants = definition.file.parent / _WANTS.get(definition.manager, "") / definition.file.name
        if definition.manager is Manager.LAUNCHD or os.path.lexists(wants):
            return f"{definition.manager}:{definition.label}"
    return None
