"""What a Hermes job runs, as a command: a script as Hermes starts it, or an agent's prompt.

What the job does and the command does not is said as text: nothing is dropped silently.

Scripts: bash for ``.sh`` and ``.bash``, Hermes' own Python for all others, in the script's folder
(also where the job names another), with Hermes' home in the environment.

Agents: ``hermes chat -Q``, which prints the answer and nothing else. Not ``hermes -z``: that one
approves every dangerous command by itself, which Hermes' cron refuses unless it is set
otherwise, and it ignores the skills.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome, profiles_of
from tenure.adapters.hermes_import.source import HermesJob, hermes_command
from tenure.domain.errors import InvalidInput
from tenure.domain.job import MAX_COMMAND, Command, Definition
from tenure.store.folder.user_home import expand

_AGENTS = (
    "agents run as `hermes chat -Q`: unlike in Hermes' cron, they use its memory, the folder's"
    " AGENTS.md and, where a job names no toolsets, those of the command line; the prompt is"
    " visible in `ps`"
)
_UNATTENDED = (
    "actions of an agent that need approval are refused after a minute, whatever"
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

BARE = "Do what the skill says."
LONGEST_PROMPT = min(MAX_COMMAND, 128 * 1024) - 4096
"""Bytes: what Linux and Tenure take for one argument, with room for the other words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesRuntime:
    """What is known of the Hermes that runs the jobs today. None: not known."""

    python: str | None = None
    version: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """What it adds to the environment of scripts."""
    script_timeout: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedCommand:
    """A command, what of the job it does not do, and whether that is essential."""

    command: Command
    timeout: timedelta | None = None
    lost: tuple[str, ...] = ()
    incomplete: bool = False
    """It would do something else than in Hermes, and must not run before a person checks it."""


def command_of(job: HermesJob, home: HermesHome, means: HermesRuntime) -> CarriedCommand:
    """Raises InvalidInput for a job that has nothing to run, or nothing that Hermes would run."""
    home = _home_of(job, home, means)
    if job.get("no_agent"):
        script = _text(job.get("script"))
        if script is None:
            raise InvalidInput("it is set to run a script, but names none")
        return _script(script, home, means)
    return _agent(job, home, means)


def _home_of(job: HermesJob, home: HermesHome, means: HermesRuntime) -> HermesHome:
    # 0.16 lets a job run in another profile than the one that schedules it.
    named = _text(job.get("profile"))
    if named is None or not (means.version or "0.16").startswith("0.16"):
        return home
    return next((other for other in profiles_of(home.root) if other.profile == named), home)


def _script(script: str, home: HermesHome, means: HermesRuntime) -> CarriedCommand:
    path = script_path(script, home)
    if path.suffix.lower() in (".sh", ".bash"):
        program = shutil.which("bash") or "/bin/bash"
    elif means.python is not None:
        program = means.python
    else:
        raise InvalidInput(
            "Hermes runs its script with its own Python, and that was not found",
            remedy="--hermes-python PATH",
        )
    env = {"HERMES_HOME": str(home.path), **means.env}
    lost = () if path.is_file() else (f"the file {path} does not exist",)
    timeout = timedelta(seconds=means.script_timeout) if means.script_timeout else None
    command = Command(argv=(program, str(path)), cwd=str(path.parent), env=env)
    return CarriedCommand(command=command, timeout=timeout, lost=lost)


def script_path(script: str, home: HermesHome) -> Path:
    """Where Hermes finds it. Raises InvalidInput where Hermes refuses it."""
    folder = home.path / "scripts"
    path = (folder / expand(script, "script")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidInput(f"its script {script} lies outside {folder}, so Hermes refuses it")
    return path


def _agent(job: HermesJob, home: HermesHome, means: HermesRuntime) -> CarriedCommand:
    prompt = _text(job.get("prompt"))
    skills = [str(name).strip() for name in _list(job.get("skills") or job.get("skill"))]
    if prompt is None and not skills and not job.get("script"):
        raise InvalidInput("it has neither a prompt nor a skill nor a script")
    if len((prompt or "").encode()) > LONGEST_PROMPT:
        raise InvalidInput(
            f"its prompt is longer than the {LONGEST_PROMPT} bytes that fit into a command line"
        )
    hermes = (means.python, "-m", "hermes_cli.main") if means.python else ("hermes",)
    argv = [*hermes, "-p", home.profile, "chat", "-Q", "--source", "cron"]
    for option, value in (("-m", job.get("model")), ("--provider", job.get("provider"))):
        argv += [option, str(value)] if _text(value) else []
    toolsets = [str(name).strip() for name in _list(job.get("enabled_toolsets"))]
    argv += ["-t", ",".join(toolsets)] if toolsets else []
    for skill in skills:
        argv += ["-s", skill]
    argv.append(f"--query={prompt or BARE}")
    workdir = _text(job.get("workdir"))
    lost, essential = [*_of_the_agent(job)], [*_essential(job)]
    if workdir is not None and not Path(workdir).is_dir():
        lost.append(f"its folder {workdir} is gone, so it runs in the home folder")
        workdir = None
    return CarriedCommand(
        command=Command(argv=tuple(argv), cwd=workdir, env={"HERMES_HOME": str(home.root)}),
        lost=(*essential, *lost),
        incomplete=bool(essential),
    )


def _essential(job: HermesJob) -> Iterator[str]:
    """What an agent cannot do without: it would do something else than it was made for."""
    if job.get("script"):
        yield (
            f"what its script {job['script']} prints is not put before the prompt, and the"
            " script cannot cancel the run"
        )
    if sources := [str(id) for id in _list(job.get("context_from"))]:
        yield f"the latest output of {', '.join(sources)} is not put before the prompt"
    if job.get("base_url"):
        yield f"the model's address {job['base_url']}: the command line has no option for it"


def _of_the_agent(job: HermesJob) -> Iterator[str]:
    pinned = {"model": job.get("model"), "provider": job.get("provider")}
    kept = [
        f"{name} {job[f'{name}_snapshot']}"
        for name, value in pinned.items()
        if not value and job.get(f"{name}_snapshot")
    ]
    if _text(job.get("prompt")) is None:
        yield f"it has no prompt; the command needs one, and uses {BARE!r}"
    if kept:
        yield (
            f"Hermes refuses to run it once the default has changed from {' and '.join(kept)};"
            " the command uses the default of the moment"
        )


def _list(value: object) -> list[Any]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    return [item for item in value if item] if isinstance(value, list | tuple) else []


def _text(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text or None


# -- what no command does -------------------------------------------------------------------------
def losses(job: HermesJob, home: HermesHome) -> Iterator[str]:
    """What no command does."""
    if targets := _targets(job):
        yield (
            f"its output is not sent to {', '.join(targets)} but kept with the run;"
            f" `{hermes_command(home)} send --to TARGET` sends what is piped into it"
        )
    if job.get("attach_to_session") is True:
        yield "its output does not become part of the chat that it belongs to"
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
        yield f"Hermes ends it after {times} runs ({done} are done); here it does not end"


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
    commands = [
        definition.action for definition in definitions if isinstance(definition.action, Command)
    ]
    agents = [command for command in commands if "chat" in command.argv]
    texts = [_AGENTS, _UNATTENDED] if agents else []
    env = home.path / ".env"
    if len(commands) > len(agents) and env.is_file():
        texts.append(
            f"scripts get the variables of the owner and of [env] in profile.toml, not those that"
            f" Hermes reads from {env}"
        )
    return texts
