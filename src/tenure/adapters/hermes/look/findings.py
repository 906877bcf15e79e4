"""The verdict of a survey, and its findings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.finding_texts import HermesFinding, finding, tenure_command
from tenure.adapters.hermes.look.installation import SUPPORTED
from tenure.adapters.hermes.look.report import HermesProcess, Survey, names
from tenure.domain.warnings import ProfileWarning

_FRESH = timedelta(seconds=90)
"""A living ticker writes its heartbeat every minute."""
_STARTING = timedelta(seconds=60)
"""A process joins the Tenure profile at its first tick, which comes seconds after its start."""


def conclude(survey: Survey) -> tuple[str, tuple[ProfileWarning, ...]]:
    """The verdict, in one or two sentences, and the warnings, the most severe first."""
    situation = _unadopted if survey.adoption is None else _adopted
    found = (*situation(survey), *_always(survey))
    return _verdict(survey), tuple(one.warning(survey.home) for one in found)


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


def _unadopted(survey: Survey) -> Iterator[HermesFinding]:
    tickers = survey.tickers
    if survey.tick_lock.fence:
        yield finding("fence_without_adoption")
    elif len(tickers) > 1:
        there = any(process.role is Role.GATEWAY for process in tickers)
        yield finding(
            "several_tickers",
            count=len(tickers),
            processes=names(tickers),
            gateway="" if there else ". No gateway runs, but jobs fire",
        )
    elif tickers and tickers[0].role is not Role.GATEWAY:
        process = tickers[0].describe()
        yield finding("desktop_ticks_alone", process=process, start_gateway=_start_gateway(survey))
    elif not tickers and survey.jobs.enabled:
        jobs = "1 job is" if survey.jobs.enabled == 1 else f"{survey.jobs.enabled} jobs are"
        yield finding("nothing_ticks", jobs=jobs, start_gateway=_start_gateway(survey))
        age = survey.heartbeats.ticked
        if age is not None and age < _FRESH:
            yield finding("unseen_ticker", age=age.total_seconds())


def _adopted(survey: Survey) -> Iterator[HermesFinding]:
    adoption, home = survey.adoption, survey.home
    assert adoption is not None
    profile = adoption.tenure_profile
    adopt, release = tenure_command(home, "adopt"), tenure_command(home, "release")
    if adoption.problem is not None:
        remedy = adoption.remedy or f"{release}, then {adopt}"
        yield finding("adoption_damaged", problem=adoption.problem, remedy=remedy)
        return
    if not adoption.complete:
        command = release if adoption.state == "releasing" else adopt
        yield finding("adoption_unfinished", state=adoption.state, command=command)
    if survey.unreadable is not None:
        yield finding("tenure_unreadable", profile=profile, problem=survey.unreadable)
    elif survey.owner is None:
        consequence = "" if survey.tickers else ", so none fires; protected ones are held"
        # A gateway that runs but has not joined must be restarted.
        there = any(p.role is Role.GATEWAY and not p.joined for p in survey.processes)
        command = f"`{home.command} gateway restart`" if there else _start_gateway(survey)
        yield finding("nobody_owns", consequence=consequence, command=command, profile=profile)
    for process in survey.processes:
        yield from _disobedient(survey, process)


def _disobedient(survey: Survey, process: HermesProcess) -> Iterator[HermesFinding]:
    """Of an adopted home: a process that does not obey Tenure, or not yet."""
    if process.joined:
        return
    if process.executes:
        yield finding("unadopted_ticker", process=process.describe())
    elif process.before_adoption:
        inline = "" if process.on_request is False else "; asked to, it may still run a job itself"
        how = {
            Role.GATEWAY: f": `{survey.home.command} gateway restart`",
            Role.DESKTOP: ": quit the desktop app and open it again",
        }.get(process.role, "")
        yield finding("restart_needed", process=process.describe(), on_request=inline, how=how)
    elif process.repeats and survey.at - process.started_at > _STARTING:
        yield finding("plugin_not_loaded", process=process.describe())


def _always(survey: Survey) -> Iterator[HermesFinding]:
    if survey.jobs.problem is not None:
        file = survey.home.jobs_file
        yield finding("jobs_damaged", file=file, problem=survey.jobs.problem)
    if survey.ledger.damaged:
        yield finding("ledger_damaged", file=survey.home.executions, problem=survey.ledger.why)
    if survey.hidden:
        yield finding("hidden_processes", pids=", ".join(map(str, survey.hidden)))
    lock = survey.gateway_lock
    if lock.held and survey.process(lock.pid) is None:
        holder = f"pid {lock.pid}" if lock.pid else "a process that cannot be seen from here"
        yield finding("lock_stranger", holder=holder)
    found = survey.installation
    if found is None:
        yield finding("hermes_not_found", newest=max(SUPPORTED))
    elif not found.verified:
        version = found.version or "of an unknown version"
        verified = ", ".join(sorted(SUPPORTED))
        yield finding("version_unverified", version=version, verified=verified)


def _start_gateway(survey: Survey) -> str:
    return f"`{survey.home.command} gateway {'start' if survey.service else 'run'}`"


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
