"""The verdict of a survey, and its findings: stable codes, and one table of their texts.

A text is a template over the facts of the finding and these commands for the home: ``adopt``
and ``release``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from tenure.adapters.hermes.facts.adoption_record import ADOPTED, RELEASING
from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, default_root, home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.services import start_command
from tenure.adapters.hermes.look.installation import SUPPORTED
from tenure.adapters.hermes.look.report import HermesProcess, Survey, names
from tenure.domain.warnings import ProfileWarning

_GATEWAY = "; then restart the gateway"
_FRESH = timedelta(seconds=90)
"""A living ticker writes its heartbeat every minute."""
_STARTING = timedelta(seconds=60)
"""A process joins the Tenure profile at its first tick, which comes seconds after its start."""


class Texts(NamedTuple):
    text: str
    remedy: str


TEXTS = {
    # -- a home that is not adopted
    "fence_without_adoption": Texts(
        "cron/.tick.lock is a folder, so no tick runs a job, and no adoption is recorded that "
        "would let a tick through",
        "{release} removes the fence; or {adopt} makes the gateway the owner",
    ),
    "several_tickers": Texts(
        "{count} processes can execute this profile's jobs, and nothing tells them apart: "
        "{processes}. The first tick after a job is due runs it{gateway}",
        "{adopt}",
    ),
    "desktop_ticks_alone": Texts(
        "no gateway runs; {process} runs the jobs, with its rights and its environment, and "
        "without the gateway's connections",
        "{start_gateway}, then {adopt}",
    ),
    "nothing_ticks": Texts(
        "{jobs} enabled, and no process was found that ticks, so no job runs",
        "{start_gateway}",
    ),
    "unseen_ticker": Texts(
        "a ticker wrote its heartbeat {age:.0f} s ago: it has ended since, or it cannot be seen "
        "from here (another user's, in a container)",
        "run this again in two minutes, as the user that runs Hermes or as root",
    ),
    # -- an adopted home
    "adoption_damaged": Texts("{problem}; so every run is refused", "{remedy}"),
    "adoption_unfinished": Texts(
        "the adoption is unfinished ({state}): it was interrupted, or is still running",
        "{command} continues it",
    ),
    "tenure_unreadable": Texts(
        "the Tenure profile {profile} cannot be read: {problem}",
        "`tenure status --profile {profile}` shows why",
    ),
    "nobody_owns": Texts(
        "no process owns the jobs{consequence}",
        "{command}; `tenure status --profile {profile}` shows who may own",
    ),
    "unadopted_ticker": Texts(
        "{process} does not obey Tenure, and no fence stops its ticks: it runs jobs beside the "
        "owner",
        "{adopt} restores the fence; then restart it",
    ),
    "restart_needed": Texts(
        "{process} started before the adoption and has not loaded Tenure's plugin{on_request}",
        "restart it{how}",
    ),
    "plugin_not_loaded": Texts(
        "{process} started after the adoption and has not joined it: Tenure's plugin is not "
        "loaded in it, or fails",
        "{adopt} repairs the plugin; then restart it",
    ),
    # -- any home
    "jobs_damaged": Texts(
        "{file} cannot be read: {problem}; so no job runs",
        "restore it from a backup (`hermes backup`), or correct it",
    ),
    "ledger_damaged": Texts(
        "the record of the last runs cannot be read: {problem}",
        "move {file} away; Hermes makes a new one",
    ),
    "hidden_processes": Texts(
        "these look like Hermes and cannot be examined (pids {pids}): whether they work on this "
        "home is unknown",
        "run this as their user, or as root",
    ),
    "lock_stranger": Texts(
        "gateway.lock is held by {holder}, which is not one of the processes above",
        "run this as its user, or as root",
    ),
    "hermes_not_found": Texts(
        "no Hermes installation was found: not by a running process, a service definition or the "
        "PATH. Its processes are assumed to behave as in {newest}",
        "put `hermes` on the PATH, or start it",
    ),
    "version_unverified": Texts(
        "Hermes {version} was not verified (verified: {verified}); what is said of its processes "
        "may be wrong",
        "compare with what you see, and report it",
    ),
    # -- what an adoption has lost since
    "home_copied": Texts(
        "{home} is a copy of {original}, or has moved here from there; the adoption in it is the "
        "other folder's, so nothing runs here",
        "{remedy}",
    ),
    "fence_missing": Texts(
        "the fence cron/.tick.lock is gone ({now}), so any process that has not loaded the plugin "
        "can run jobs",
        "{adopt} restores it; so does the owner at its next tick",
    ),
    "fence_outdated": Texts(
        "the release script in the fence is of another Tenure version",
        "{adopt} brings it up to date",
    ),
    "plugin_missing": Texts(
        "files of the plugin at {folder} are missing: no process loads it, so nothing runs",
        "{adopt} restores it" + _GATEWAY,
    ),
    "plugin_edited": Texts(
        "the plugin at {folder} is not the one that this Tenure writes",
        "{adopt} writes it again" + _GATEWAY,
    ),
    "plugin_disabled": Texts(
        "tenure {why} of config.yaml: no process loads the plugin when it starts, so nothing runs",
        "{adopt} enables it" + _GATEWAY,
    ),
    "provider_set": Texts(
        "config.yaml sets cron.provider to {provider!r}: the gateway's own ticker does not run "
        "then, unless that provider cannot be loaded",
        "remove cron.provider, for the gateway to tick; then restart it",
    ),
    "copy_missing": Texts(
        "Tenure's own copy at {folder} is gone: without another in Hermes' environment the plugin "
        "cannot load, and nothing runs",
        "{adopt} restores it" + _GATEWAY,
    ),
    "copy_ahead": Texts(
        "{folder} has Tenure {version}, newer than this one, {own}",
        "update Tenure here",
    ),
    "copy_outdated": Texts(
        "{folder} has another Tenure ({version}) than this one ({own}), or was edited",
        "{adopt} brings it up to date" + _GATEWAY,
    ),
    "hermes_changed": Texts(
        "Hermes is now {now}; the adopted version was {before}", "{adopt} checks it"
    ),
    "entry_point_differs": Texts(
        "Tenure {version} is installed in Hermes' environment, which loads it in place of the copy "
        "in this home; here it is {own}",
        "install {own} there, or uninstall it: {python} -m pip uninstall tenure",
    ),
    "profile_missing": Texts(
        "the Tenure profile {profile} no longer exists in {folder}: no process can join it, so "
        "nothing runs",
        "restore it from a backup; or {adopt} makes it again, without history",
    ),
    "profile_of_another": Texts(
        "the Tenure profile {profile} is linked to another Hermes home, {other}: the jobs of both "
        "would be mixed",
        "{release}, then {adopt} with --tenure-profile NAME",
    ),
    "policy_file_problem": Texts("{problem}; {consequence}", "{remedy}"),
    "rule_missing": Texts(
        "no owner rules are in force in the Tenure profile {profile}: the first process of this "
        "user that ticks owns, and protected jobs are held",
        "{adopt} writes them again",
    ),
    "rule_missing:gateway": Texts(
        "none of the owner rules of the Tenure profile {profile} is about the gateway",
        'holds = "{lock}" in a rule of its profile.toml says that; `tenure owner policy` shows the '
        "rules",
    ),
}
"""By code; a code with several texts has a word behind a colon."""


def finding(home: HermesHome, key: str, /, **facts: Any) -> ProfileWarning:
    """The finding with its text. ``key``: of :data:`TEXTS`."""
    text, remedy = TEXTS[key]
    commands = {verb: tenure_command(home, verb) for verb in ("adopt", "release")}
    facts = {**commands, **facts}
    code, _, _ = key.partition(":")
    return ProfileWarning(code=code, text=text.format_map(facts), remedy=remedy.format_map(facts))


def tenure_command(home: HermesHome, verb: str) -> str:
    """The command for a ``tenure hermes`` verb on this home."""
    words = ["tenure", "hermes", verb]
    if home.root != home_of(default_root()).path:
        words += ["--hermes-home", str(home.root)]
    if home.profile != DEFAULT:
        words += ["--profile", home.profile]
    return f"`{shlex.join(words)}`"


# -- what is found -------------------------------------------------------------------------------
def conclude(survey: Survey) -> tuple[str, tuple[ProfileWarning, ...]]:
    """The verdict, in one or two sentences, and the warnings, the most severe first."""
    situation = _unadopted if survey.adoption is None else _adopted
    return _verdict(survey), (*situation(survey), *_always(survey))


def _verdict(survey: Survey) -> str:
    if survey.jobs.problem is not None:
        return "No job runs: jobs.json cannot be read."
    tickers, owner = survey.tickers, survey.process(survey.owner)
    if survey.adoption is not None and survey.adoption.problem is None:
        if owner is not None and len(tickers) <= 1:
            return f"{_capitalized(owner.describe())} owns the jobs; only its ticks run them."
        if owner is None and not tickers:
            return "No job runs: no process owns the jobs, and no other may run them."
    if not tickers:
        if survey.tick_lock.fence:
            return "No job runs: the fence at cron/.tick.lock stops every tick."
        return "No job runs: no process was found that ticks."
    if len(tickers) == 1 and _gateway_is_in(tickers):
        return f"{_capitalized(tickers[0].describe())} runs the jobs: nothing else ticks."
    if len(tickers) == 1:
        return f"No gateway runs; {tickers[0].describe()} runs the jobs."
    return (
        f"{len(tickers)} processes can execute this profile's jobs; nothing tells them apart."
        f"{'' if _gateway_is_in(tickers) else ' No gateway runs.'}"
    )


def _unadopted(survey: Survey) -> Iterator[ProfileWarning]:
    home, tickers = survey.home, survey.tickers
    if survey.tick_lock.fence:
        yield finding(home, "fence_without_adoption")
    elif len(tickers) > 1:
        gateway = "" if _gateway_is_in(tickers) else ". No gateway runs"
        facts = {"count": len(tickers), "processes": names(tickers), "gateway": gateway}
        yield finding(home, "several_tickers", **facts)
    elif tickers and not _gateway_is_in(tickers):
        facts = {"process": tickers[0].describe(), "start_gateway": f"`{start_command(home)}`"}
        yield finding(home, "desktop_ticks_alone", **facts)
    elif not tickers and survey.jobs.enabled:
        jobs = "1 job is" if survey.jobs.enabled == 1 else f"{survey.jobs.enabled} jobs are"
        yield finding(home, "nothing_ticks", jobs=jobs, start_gateway=f"`{start_command(home)}`")
        age = survey.heartbeats.ticked
        if age is not None and age < _FRESH:
            yield finding(home, "unseen_ticker", age=age.total_seconds())


def _adopted(survey: Survey) -> Iterator[ProfileWarning]:
    adoption, home = survey.adoption, survey.home
    assert adoption is not None
    profile = adoption.tenure_profile
    adopt, release = tenure_command(home, "adopt"), tenure_command(home, "release")
    if adoption.problem is not None:
        remedy = adoption.remedy or f"{release}, then {adopt}"
        yield finding(home, "adoption_damaged", problem=adoption.problem, remedy=remedy)
        return
    if adoption.state != ADOPTED:
        command = release if adoption.state == RELEASING else adopt
        yield finding(home, "adoption_unfinished", state=adoption.state, command=command)
    if survey.unreadable is not None:
        yield finding(home, "tenure_unreadable", profile=profile, problem=survey.unreadable)
    elif survey.owner is None:
        consequence = "" if survey.tickers else ", so no job runs; protected ones are held"
        # A gateway that runs but has not joined must be restarted.
        runs = _gateway_is_in([p for p in survey.processes if not p.joined])
        command = f"{home.command} gateway restart" if runs else start_command(home)
        facts = {"consequence": consequence, "command": f"`{command}`", "profile": profile}
        yield finding(home, "nobody_owns", **facts)
    for process in survey.processes:
        if not process.joined:
            yield from _disobedient(survey, process)


def _disobedient(survey: Survey, process: HermesProcess) -> Iterator[ProfileWarning]:
    """Of an adopted home: a process that does not obey Tenure, or not yet."""
    home, name = survey.home, process.describe()
    if process.executes:
        yield finding(home, "unadopted_ticker", process=name)
    elif process.before_adoption:
        inline = "" if process.on_request is False else "; asked to, it may still run a job itself"
        how = {
            Role.GATEWAY: f": `{home.command} gateway restart`",
            Role.DESKTOP: ": quit the desktop app and open it again",
        }.get(process.role, "")
        yield finding(home, "restart_needed", process=name, on_request=inline, how=how)
    elif process.repeats and survey.at - process.started_at > _STARTING:
        yield finding(home, "plugin_not_loaded", process=name)


def _always(survey: Survey) -> Iterator[ProfileWarning]:
    home, jobs, lock = survey.home, survey.jobs, survey.gateway_lock
    if jobs.problem is not None:
        yield finding(home, "jobs_damaged", file=home.jobs_file, problem=jobs.problem)
    if survey.ledger.damaged:
        yield finding(home, "ledger_damaged", file=home.executions, problem=survey.ledger.why)
    if survey.hidden:
        yield finding(home, "hidden_processes", pids=", ".join(map(str, survey.hidden)))
    if lock.held and lock.named and survey.process(lock.pid) is None:
        holder = f"pid {lock.pid}" if lock.pid else "a process that cannot be seen from here"
        yield finding(home, "lock_stranger", holder=holder)
    installation = survey.installation
    if installation is None:
        yield finding(home, "hermes_not_found", newest=max(SUPPORTED))
    elif not installation.verified:
        version = installation.version or "of an unknown version"
        verified = ", ".join(sorted(SUPPORTED))
        yield finding(home, "version_unverified", version=version, verified=verified)


def _gateway_is_in(processes: Sequence[HermesProcess]) -> bool:
    return any(process.role is Role.GATEWAY for process in processes)


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
