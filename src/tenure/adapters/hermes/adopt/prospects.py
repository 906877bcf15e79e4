"""Whether an adopted profile's jobs will run: is there a gateway that is to own them, and ticks?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenure.adapters.hermes.adopt.config_edit import scalar_in
from tenure.adapters.hermes.adopt.owner_rules import GATEWAY, gateway_service
from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, home_of
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.errors import Refused

BUILT_IN = ("", "builtin", "in-process", "inprocess")
"""Names under which ``cron.provider`` means Hermes' own ticker."""
_TRUE = ("true", "yes", "on", "1")


def check_gateway(
    home: HermesHome, owners: Sequence[str], survey: Survey, *, force: bool = False
) -> None:
    """Raises Refused for a profile whose gateway is another profile's.

    A gateway that serves several profiles (``gateway.multiplex_profiles``) takes their messages,
    but ticks the jobs of its own profile only.
    """
    named = any(owner.strip() == GATEWAY for owner in owners)
    if not named or force or home.profile == DEFAULT or survey.gateway_lock.held:
        return
    if service_definitions(home) or not multiplexed(home):
        return
    raise Refused(
        f"the profile {home.profile} has no gateway of its own: that of the default profile "
        "serves it (gateway.multiplex_profiles) and does not tick its jobs, so that adopted they "
        "would never run",
        remedy=f"set gateway.multiplex_profiles to false and start {home.command} gateway; or "
        "name another owner with --owner; or --force",
    )


def multiplexed(home: HermesHome) -> bool:
    """Whether the default profile's gateway is set to serve all profiles."""
    try:
        content = home_of(home.root).config.read_bytes()
    except OSError:
        return False
    keys = (("gateway", "multiplex_profiles"), ("multiplex_profiles",))
    return any((scalar_in(content, *key) or "").lower() in _TRUE for key in keys)


def start_command(home: HermesHome) -> str:
    """What to type for a gateway to run."""
    return f"{home.command} gateway {'start' if service_definitions(home) else 'run'}"


def prospects(
    home: HermesHome, owners: Sequence[str], survey: Survey, content: bytes | None
) -> Iterator[str]:
    """What a person should know beforehand. ``content``: of config.yaml."""
    if any(owner.strip() == GATEWAY for owner in owners):
        yield from _gateway(home, survey)
    provider = scalar_in(content, "cron", "provider") or ""
    if provider not in BUILT_IN:
        yield f"config.yaml sets cron.provider to {provider!r}, which does not tick by itself"
    named = os.environ.get("HERMES_MANAGED_DIR", "").strip()
    managed = Path(named or "/etc/hermes", "config.yaml")
    if managed.is_file():
        yield f"{managed} overrides config.yaml; see that it does not set plugins.enabled"


def _gateway(home: HermesHome, survey: Survey) -> Iterator[str]:
    lock, start = survey.gateway_lock, start_command(home)
    if lock.held:
        yield f"the gateway runs{f' (pid {lock.pid})' if lock.pid else ''}; it is to be the owner"
        if service_definitions(home) and gateway_service(survey) is None:
            yield "it was not started by its service, so its rule does not ask for the service"
    elif lock.held is None:
        yield f"whether a gateway runs is not known here; if not, nothing runs until: {start}"
    else:
        yield f"no gateway runs; nothing will run until: {start}"
