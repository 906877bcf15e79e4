"""What a Hermes job does and a command does not, as text: nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes_import.source import HermesJob, hermes_command
from tenure.domain.job import Command, Definition

_AGENTS = (
    "agents run as `hermes chat -Q`: other than in Hermes' cron with its memory, the AGENTS.md of"
    " the folder and, where a job names no toolsets, those of the command line; the prompt can be"
    " seen in `ps`"
)
_UNATTENDED = (
    "what an agent does that needs approval is refused after a minute, whatever"
    " approvals.cron_mode says; an agent that hangs is not ended after ten idle minutes"
)
_KNOWN = frozenset((
    "id", "job_id", "name", "prompt", "skills", "skill", "model", "provider", "base_url",
    "provider_snapshot", "model_snapshot", "script", "no_agent", "context_from", "schedule",
    "schedule_display", "repeat", "enabled", "state", "paused_at", "paused_reason", "created_at",
    "updated_at", "next_run_at", "last_run_at", "last_status", "last_error",
    "last_delivery_error", "deliver", "origin", "enabled_toolsets", "workdir", "profile",
    "attach_to_session", "fire_claim", "run_claim",
))  # fmt: skip
"""The fields that 0.16 to 0.19 write."""


def losses(job: HermesJob, home: HermesHome) -> Iterator[str]:
    """What no command does."""
    if targets := _targets(job):
        yield (
            f"its output is not sent to {', '.join(targets)} but kept with the run;"
            f" `{hermes_command(home)} send --to TARGET` sends what is piped into it"
        )
    if job.get("attach_to_session") is True:
        yield "what it says does not become part of the chat it belongs to"
    yield from _limit(job)
    for key, value in job.items():
        if key not in _KNOWN and value not in (None, "", [], {}, False):
            yield f"Hermes' field {key!r} is not known here and has no effect"


def _limit(job: HermesJob) -> Iterator[str]:
    repeat, schedule = job.get("repeat"), job.get("schedule")
    if not isinstance(repeat, Mapping) or not isinstance(schedule, Mapping):
        return
    times = repeat.get("times")
    if isinstance(times, int) and times > 0 and schedule.get("kind") != "once":
        done = repeat.get("completed") or 0
        yield f"Hermes ends it after {times} runs ({done} are done); here it goes on"


def _targets(job: HermesJob) -> list[str]:
    deliver: Any = job.get("deliver")
    parts = deliver if isinstance(deliver, list | tuple) else str(deliver or "local").split(",")
    origin = job.get("origin")
    made_in = origin.get("platform") if isinstance(origin, Mapping) else None
    words = {
        "origin": f"the chat it was made in ({made_in})" if made_in else "Hermes' home channel",
        "all": "all of Hermes' home channels",
    }
    named = [str(part).strip() for part in parts]
    return [words.get(name.lower(), name) for name in named if name not in ("", "local")]


def notes(definitions: Iterable[Definition], home: HermesHome) -> list[str]:
    """What holds for all jobs of a kind, said once."""
    commands = [wants.action for wants in definitions if isinstance(wants.action, Command)]
    agents = [command for command in commands if "chat" in command.argv]
    found = [_AGENTS, _UNATTENDED] if agents else []
    env = home.path / ".env"
    if len(commands) > len(agents) and env.is_file():
        found.append(
            f"scripts get the variables of the owner and of [env] in profile.toml, not those that"
            f" Hermes reads from {env}"
        )
    return found
