"""The verdict of a survey, and its warnings with their remedies.

Codes are stable:

``several_tickers``, ``desktop_ticks_alone``, ``nothing_ticks``, ``unseen_ticker``,
``fence_without_adoption``: without an adoption.
``adoption_damaged``, ``adoption_unfinished``, ``tenure_unreadable``, ``nobody_owns``,
``unadopted_ticker``, ``restart_needed``, ``plugin_not_loaded``: with one.
``jobs_damaged``, ``ledger_damaged``, ``hidden_processes``, ``lock_stranger``, ``hermes_not_found``,
``version_unverified``: in any case.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta

from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, default_root, home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.installation import SUPPORTED
from tenure.adapters.hermes.look.report import HermesProcess, Survey, names
from tenure.client.advice import Warning

_FRESH = timedelta(seconds=90)
"""A living ticker writes its heartbeat every minute."""
_STARTING = timedelta(seconds=60)
"""A process joins the Tenure profile at its first tick, which comes seconds after its start."""


def tenure_command(home: HermesHome, verb: str) -> str:
    """The command for a ``tenure hermes`` verb on this home."""
    words = ["tenure", "hermes", verb]
    if home.root != home_of(default_root()).path:
        words += ["--hermes-home", str(home.root)]
    if home.profile != DEFAULT:
        words += ["--profile", home.profile]
    return f"`{shlex.join(words)}`"


def start_gateway(survey: Survey) -> str:
    """The command that starts the gateway."""
    return f"`{survey.home.command} gateway {'start' if survey.service else 'run'}`"


def _bring_the_owner(survey: Survey) -> str:
    """A gateway that runs but has not joined must be restarted."""
    there = any(p.role is Role.GATEWAY and not p.joined for p in survey.processes)
    return f"`{survey.home.command} gateway restart`" if there else start_gateway(survey)


def conclude(survey: Survey) -> tuple[str, tuple[Warning, ...]]:
    """The verdict, in one or two sentences, and the warnings, the most severe first."""
    warnings = (*_situation(survey), *_always(survey))
    return _verdict(survey), warnings


def _verdict(survey: Survey) -> str:
    if survey.jobs.problem is not None:
        return "Nothing fires: jobs.json cannot be read."
    tickers, owner = survey.tickers, survey.process(survey.owner)
    if survey.adoption is not None and survey.adoption.problem is None:
        if owner is not None and len(tickers) <= 1:
            return f"{_cap(owner.describe())} owns the jobs; only its ticks run them."
        if owner is None and not tickers:
            return "Nothing fires: no process owns the jobs, and no other may run them."
    if survey.tick_lock.fence and not tickers:
        return "Nothing fires: the fence at cron/.tick.lock stops every tick."
    if not tickers:
        return "Nothing fires: no process was found that ticks."
    if len(tickers) == 1:
        only = tickers[0]
        if only.role is Role.GATEWAY:
            return f"{_cap(only.describe())} runs the jobs: nothing else ticks."
        return f"No gateway runs, but jobs fire: from {only.describe()}."
    some = "" if any(p.role is Role.GATEWAY for p in tickers) else " No gateway runs."
    return (
        f"{len(tickers)} processes can execute this profile's jobs; nothing tells them apart.{some}"
    )


def _situation(survey: Survey) -> Iterator[Warning]:
    if survey.adoption is None:
        yield from _unadopted(survey)
    else:
        yield from _adopted(survey)


def _unadopted(survey: Survey) -> Iterator[Warning]:
    tickers = survey.tickers
    adopt = tenure_command(survey.home, "adopt")
    if survey.tick_lock.fence:
        yield Warning(
            code="fence_without_adoption",
            text="cron/.tick.lock is a folder, so no tick runs anything, and no adoption is "
            "recorded that would let a tick through",
            remedy=f"{tenure_command(survey.home, 'release')} takes the fence away, "
            f"{adopt} makes the gateway the owner",
        )
    elif len(tickers) > 1:
        yield Warning(code="several_tickers", text=_several(survey), remedy=adopt)
    elif tickers and tickers[0].role is not Role.GATEWAY:
        yield Warning(
            code="desktop_ticks_alone",
            text=f"no gateway runs, but jobs do fire: {tickers[0].describe()} runs them, with its "
            "rights and its environment, and without the gateway's connections",
            remedy=f"{start_gateway(survey)}, then {adopt}",
        )
    elif not tickers and survey.jobs.enabled:
        yield from _nothing_ticks(survey)


def _several(survey: Survey) -> str:
    tickers = survey.tickers
    text = (
        f"{len(tickers)} processes can execute this profile's jobs, and nothing tells them apart: "
        f"{names(tickers)}. The first tick after a job is due runs it"
    )
    if not any(process.role is Role.GATEWAY for process in tickers):
        text += ". No gateway runs, but jobs fire"
    return text


def _nothing_ticks(survey: Survey) -> Iterator[Warning]:
    jobs = "1 job is" if survey.jobs.enabled == 1 else f"{survey.jobs.enabled} jobs are"
    yield Warning(
        code="nothing_ticks",
        text=f"{jobs} enabled, and no process was found that ticks: nothing fires",
        remedy=start_gateway(survey),
    )
    age = survey.heartbeats.ticked
    if age is not None and age < _FRESH:
        yield Warning(
            code="unseen_ticker",
            text=f"a ticker wrote its heartbeat {age.total_seconds():.0f} s ago: it has ended "
            "since, or it cannot be seen from here (another user's, in a container)",
            remedy="run this again in two minutes, as the user that runs Hermes or as root",
        )


def _adopted(survey: Survey) -> Iterator[Warning]:
    adoption = survey.adoption
    assert adoption is not None
    release = tenure_command(survey.home, "release")
    if adoption.problem is not None:
        yield Warning(
            code="adoption_damaged",
            text=f"{adoption.problem}; so every run is refused",
            remedy=adoption.remedy or f"{release}, then {tenure_command(survey.home, 'adopt')}",
        )
        return
    if not adoption.complete:
        verb = release if adoption.state == "releasing" else tenure_command(survey.home, "adopt")
        yield Warning(
            code="adoption_unfinished",
            text=f"the adoption is unfinished ({adoption.state}): it was interrupted or still runs",
            remedy=f"{verb} goes on with it",
        )
    if survey.unreadable is not None:
        yield Warning(
            code="tenure_unreadable",
            text=f"the Tenure profile {adoption.tenure_profile} cannot be read: "
            f"{survey.unreadable}",
            remedy=f"`tenure status --profile {adoption.tenure_profile}` says more",
        )
    elif survey.owner is None:
        so = "" if survey.tickers else ", so none fires; protected ones are held"
        yield Warning(
            code="nobody_owns",
            text=f"no process owns the jobs{so}",
            remedy=f"{_bring_the_owner(survey)}; "
            f"`tenure status --profile {adoption.tenure_profile}` says who may own",
        )
    for process in survey.processes:
        yield from _disobedient(survey, process)


def _disobedient(survey: Survey, process: HermesProcess) -> Iterator[Warning]:
    """Of an adopted home: a process that does not obey Tenure, or not yet."""
    if process.joined:
        return
    if process.executes:
        yield Warning(
            code="unadopted_ticker",
            text=f"{process.describe()} does not obey Tenure, and no fence stops its ticks: "
            "it runs jobs beside the owner",
            remedy=f"{tenure_command(survey.home, 'adopt')} puts the fence back; restart it",
        )
    elif process.before_adoption:
        inline = "" if process.on_request is False else "; asked to, it may still run a job itself"
        yield Warning(
            code="restart_needed",
            text=f"{process.describe()} started before the adoption and has not loaded Tenure's "
            f"plugin{inline}",
            remedy=f"restart it{_how_to_restart(survey, process)}",
        )
    elif process.repeats and survey.at - process.started_at > _STARTING:
        yield Warning(
            code="plugin_not_loaded",
            text=f"{process.describe()} started after the adoption and has not joined it: "
            "Tenure's plugin is not loaded in it, or fails",
            remedy=f"{tenure_command(survey.home, 'adopt')} repairs the plugin; then restart it",
        )


def _how_to_restart(survey: Survey, process: HermesProcess) -> str:
    if process.role is Role.GATEWAY:
        return f": `{survey.home.command} gateway restart`"
    return ": quit the desktop app and open it again" if process.role is Role.DESKTOP else ""


def _always(survey: Survey) -> Iterator[Warning]:
    if survey.jobs.problem is not None:
        yield Warning(
            code="jobs_damaged",
            text=f"{survey.home.jobs_file} cannot be read: {survey.jobs.problem}. Nothing fires",
            remedy="restore it from a backup (`hermes backup`), or correct it",
        )
    if survey.ledger.damaged:
        yield Warning(
            code="ledger_damaged",
            text=f"the record of the last runs cannot be read: {survey.ledger.why}",
            remedy=f"move {survey.home.executions} away; Hermes makes a new one",
        )
    if survey.hidden:
        pids = ", ".join(map(str, survey.hidden))
        yield Warning(
            code="hidden_processes",
            text=f"these look like Hermes and cannot be examined (pids {pids}): whether they work "
            "on this home is unknown",
            remedy="run this as their user, or as root",
        )
    lock = survey.gateway_lock
    if lock.held and survey.process(lock.pid) is None:
        who = f"pid {lock.pid}" if lock.pid else "a process that cannot be seen from here"
        yield Warning(
            code="lock_stranger",
            text=f"gateway.lock is held by {who}, which is not one of the processes above",
            remedy="run this as its user, or as root",
        )
    yield from _version(survey)


def _version(survey: Survey) -> Iterator[Warning]:
    found = survey.installation
    if found is None:
        yield Warning(
            code="hermes_not_found",
            text="no Hermes installation was found: not by a running process, a service "
            "definition or the PATH. What its processes do was taken to be as in "
            f"{max(SUPPORTED)}",
            remedy="put `hermes` on the PATH, or start it",
        )
    elif not found.verified:
        yield Warning(
            code="version_unverified",
            text=f"Hermes {found.version or 'of an unknown version'} was not verified (verified: "
            f"{', '.join(sorted(SUPPORTED))}); what is said of its processes may be wrong",
            remedy="compare with what you see, and report it",
        )


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
