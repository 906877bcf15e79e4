"""A plan to adopt, and what comes after it, in words and as JSON."""

from __future__ import annotations

import os
from typing import Any

from tenure.adapters.hermes.adopt.home_checks import same_files
from tenure.adapters.hermes.adopt.preflight import Plan
from tenure.adapters.hermes.adopt.prospects import start_command
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.findings import tenure_command
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.policy.evidence import Manager


def plan_words(plan: Plan) -> list[str]:
    """What would be done, a line a step."""
    home = plan.home
    done = [f"keep in {home.tenure} what it takes to undo all of this, and a copy of Tenure"]
    if plan.again:
        done = [f"look through what is in {home.tenure}, and put back what is missing"]
    if plan.profile.text is not None:
        done.append(f"the Tenure profile {plan.profile.name}, with the owner rules below")
    if not same_files(home, plan.shim):
        done.append(f"add the plugin {home.plugin}")
    if plan.edit.changes:
        done.append(f"enable it: add tenure to plugins.enabled in {home.config}")
    if plan.wishes.protect:
        done.append(f"protect {', '.join(plan.wishes.protect)}")
    done.append(
        f"put up the fence: a folder at {home.tick_lock}, so that no other ticker runs jobs"
    )
    return done


def plan_document(plan: Plan) -> dict[str, Any]:
    """The same for ``--json``. ``profile_toml`` is null where there are rules already."""
    adoption = plan.adoption
    return {
        "hermes_home": str(plan.home.path),
        "hermes_profile": plan.home.profile,
        "hermes_version": adoption.hermes_version,
        "hermes_python": adoption.hermes_python,
        "unverified": list(adoption.unverified),
        "tenure_home": str(adoption.tenure_home),
        "tenure_profile": adoption.tenure_profile,
        "profile_toml": plan.profile.text,
        "again": plan.again,
        "would": plan_words(plan),
        "notes": list(plan.notes),
    }


def next_steps(survey: Survey) -> list[str]:
    """What to start anew, since running processes load plugins only when they start."""
    home = survey.home
    steps = [
        _gateway(home) if survey.gateway_lock.held else f"start the gateway: {start_command(home)}"
    ]
    desktop = [p for p in survey.processes if p.role is Role.DESKTOP]
    if desktop:
        pids = ", ".join(str(process.pid) for process in desktop)
        steps.append(f"quit the desktop app and open it again (its backends: pids {pids})")
    known = (Role.DESKTOP, Role.GATEWAY)
    rest = [p for p in survey.processes if p.role not in known and p.repeats]
    if rest:
        steps.append(f"start these anew: {', '.join(process.describe() for process in rest)}")
    return [*steps, f"then look: {tenure_command(home, 'status')}"]


def _gateway(home: HermesHome) -> str:
    text = f"restart the gateway: {home.command} gateway restart"
    for definition in service_definitions(home):
        if definition.manager is Manager.LAUNCHD:
            text += f" (or: launchctl kickstart -k gui/{os.getuid()}/{definition.label})"
    return text
