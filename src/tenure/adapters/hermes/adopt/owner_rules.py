"""The owner policy that adoption proposes: the gateway, identified by the lock it holds.

It becomes the ``profile.toml`` of the Tenure profile, with comments. It is written only where no
rules exist, and belongs to the user afterwards.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.durations import format_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule
from tenure.domain.policy.text import read_rules
from tenure.domain.settings import read_settings

GATEWAY = "gateway"
_WANTS = {
    Manager.SYSTEMD_USER: "default.target.wants",
    Manager.SYSTEMD_SYSTEM: "multi-user.target.wants",
}


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
        found = running.evidence.service if running.evidence else None
        for definition in definitions:
            if found is not None and (found.name, found.manager) == (
                definition.label, definition.manager,
            ):  # fmt: skip
                return f"{definition.manager}:{definition.label}"
        return None
    if survey.gateway_lock.held:
        return None
    for definition in definitions:
        if definition.manager is Manager.LAUNCHD or _enabled(definition.file, definition.manager):
            return f"{definition.manager}:{definition.label}"
    return None


def _enabled(file: Path, manager: Manager) -> bool:
    """As ``systemctl enable`` leaves it."""
    return os.path.lexists(file.parent / _WANTS.get(manager, "") / file.name)
