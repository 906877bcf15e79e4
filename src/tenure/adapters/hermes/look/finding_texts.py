"""The findings about a Hermes home: their stable codes, and one table of their texts.

A text is a template over the facts of the finding and these commands for the home: ``adopt``
and ``release``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, NamedTuple

from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, default_root, home_of
from tenure.domain.warnings import ProfileWarning

_GATEWAY = "; then restart the gateway"


class Texts(NamedTuple):
    text: str
    remedy: str


TEXTS = {
    # -- a home that is not adopted
    "fence_without_adoption": Texts(
        "cron/.tick.lock is a folder, so no tick runs anything, and no adoption is recorded that "
        "would let a tick through",
        "{release} takes the fence away, {adopt} makes the gateway the owner",
    ),
    "several_tickers": Texts(
        "{count} processes can execute this profile's jobs, and nothing tells them apart: "
        "{processes}. The first tick after a job is due runs it{gateway}",
        "{adopt}",
    ),
    "desktop_ticks_alone": Texts(
        "no gateway runs, but jobs do fire: {process} runs them, with its rights and its "
        "environment, and without the gateway's connections",
        "{start_gateway}, then {adopt}",
    ),
    "nothing_ticks": Texts(
        "{jobs} enabled, and no process was found that ticks: nothing fires",
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
        "the adoption is unfinished ({state}): it was interrupted or still runs",
        "{command} goes on with it",
    ),
    "tenure_unreadable": Texts(
        "the Tenure profile {profile} cannot be read: {problem}",
        "`tenure status --profile {profile}` says more",
    ),
    "nobody_owns": Texts(
        "no process owns the jobs{consequence}",
        "{command}; `tenure status --profile {profile}` says who may own",
    ),
    "unadopted_ticker": Texts(
        "{process} does not obey Tenure, and no fence stops its ticks: it runs jobs beside the "
        "owner",
        "{adopt} puts the fence back; restart it",
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
        "{file} cannot be read: {problem}. Nothing fires",
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
        "PATH. What its processes do was taken to be as in {newest}",
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
        "may run jobs",
        "{adopt} puts it back; the owner does so at its next tick",
    ),
    "fence_outdated": Texts(
        "the release script in the fence is of another Tenure version",
        "{adopt} brings it up to date",
    ),
    "plugin_missing": Texts(
        "files of the plugin at {folder} are missing: no process loads it, so nothing runs",
        "{adopt} puts it back" + _GATEWAY,
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
        "{adopt} puts it back" + _GATEWAY,
    ),
    "copy_ahead": Texts(
        "{folder} has Tenure {version}, newer than this one, {own}",
        "update Tenure here",
    ),
    "copy_outdated": Texts(
        "{folder} has another Tenure ({version}) than this one ({own}), or was edited",
        "{adopt} brings it up to date" + _GATEWAY,
    ),
    "hermes_changed": Texts("Hermes is {now} now; adopted was {before}", "{adopt} checks it"),
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
}
"""By code."""

NO_GATEWAY_RULE = Texts(
    "none of the owner rules of the Tenure profile {profile} is about the gateway",
    'holds = "{lock}" in a rule of its profile.toml says that; `tenure owner policy` shows the '
    "rules",
)
"""``rule_missing`` where rules are in force."""


@dataclass(frozen=True, slots=True)
class HermesFinding:
    """A code of :data:`TEXTS`, and the facts for its text."""

    code: str
    facts: dict[str, Any]
    texts: Texts | None = None
    """Instead of those of the code."""

    def warning(self, home: HermesHome) -> ProfileWarning:
        text, remedy = self.texts or TEXTS[self.code]
        commands = {
            "adopt": tenure_command(home, "adopt"),
            "release": tenure_command(home, "release"),
        }
        facts = {**commands, **self.facts}
        return ProfileWarning(
            code=self.code, text=text.format_map(facts), remedy=remedy.format_map(facts)
        )


def finding(code: str, **facts: Any) -> HermesFinding:
    return HermesFinding(code, facts)


def tenure_command(home: HermesHome, verb: str) -> str:
    """The command for a ``tenure hermes`` verb on this home."""
    words = ["tenure", "hermes", verb]
    if home.root != home_of(default_root()).path:
        words += ["--hermes-home", str(home.root)]
    if home.profile != DEFAULT:
        words += ["--profile", home.profile]
    return f"`{shlex.join(words)}`"
