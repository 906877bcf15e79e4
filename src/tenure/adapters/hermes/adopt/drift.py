"""What an adoption has lost since, each finding with its remedy.

For ``tenure hermes status``. Changes nothing. Each part of the adoption is compared with the
record, with what this Tenure would write, and with what Hermes makes of it now. What the survey
reports for any home (an unverified version, a damaged or unfinished record) is not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import Distribution, distributions
from typing import Any, NamedTuple

from tenure import __version__
from tenure.adapters.hermes.adopt.config_edit import enabled_in, scalar_in
from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.adopt.plan import BUILT_IN, release_copy
from tenure.adapters.hermes.adopt.plugin_files import (
    fence_files,
    library,
    plugin_files,
    same_files,
    shim,
)
from tenure.adapters.hermes.adopt.profile import (
    file_problem,
    has_gateway_rule,
    linked_home,
    rules_of,
)
from tenure.adapters.hermes.back.disk import content_of
from tenure.adapters.hermes.facts.adoption_record import RELEASING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.findings import finding
from tenure.adapters.hermes.look.installation import Installation, installation_of
from tenure.domain.errors import CorruptStore, OutcomeUnknown, TenureError
from tenure.domain.version import is_newer
from tenure.domain.warnings import ProfileWarning

Loss = tuple[str, dict[str, Any]]
"""The key of a text of ``findings``, and its facts."""


def drift(home: HermesHome, installation: Installation | None = None) -> tuple[ProfileWarning, ...]:
    """The findings, the most severe first; none without an adoption. Raises nothing.

    ``installation``: the Hermes that serves the profile now, by default that of the record.
    """
    try:
        adoption = read_adoption(home)
    except (CorruptStore, OutcomeUnknown):  # the survey reports it
        return ()
    if adoption is None:
        return ()
    if not adoption.is_of(home):
        facts = {"home": home.path, "original": adoption.hermes_home, "remedy": release_copy(home)}
        return (finding(home, "home_copied", **facts),)
    if installation is None and adoption.hermes_python is not None:
        installation = installation_of(adoption.hermes_python, "the adoption")
    adopted = _Adopted(home, adoption, installation)
    parts = (_fence, _plugin, _config, _copy, _hermes, _profile)
    return tuple(finding(home, key, **facts) for part in parts for key, facts in part(adopted))


class _Adopted(NamedTuple):
    home: HermesHome
    adoption: Adoption
    installation: Installation | None


def _fence(adopted: _Adopted) -> Iterator[Loss]:
    if adopted.adoption.state == RELEASING:
        return
    if not fence_exists(adopted.home):
        there = os.path.lexists(adopted.home.tick_lock)
        now = "it is a file again" if there else "it does not exist"
        yield "fence_missing", {"now": now}
    elif not same_files(adopted.home.tick_lock, fence_files(adopted.home)):
        yield "fence_outdated", {}


def _plugin(adopted: _Adopted) -> Iterator[Loss]:
    folder = adopted.home.plugin
    if not all((folder / name).is_file() for name in plugin_files(b"")):
        yield "plugin_missing", {"folder": folder}
    elif not same_files(folder, plugin_files(shim())):
        yield "plugin_edited", {"folder": folder}


def _config(adopted: _Adopted) -> Iterator[Loss]:
    content = None
    with suppress(OSError):
        content = content_of(adopted.home.config)
    enabled, disabled = enabled_in(content)
    if enabled is False or disabled:
        why = "is in plugins.disabled" if disabled else "is not in plugins.enabled"
        yield "plugin_disabled", {"why": why}
    provider = scalar_in(content, "cron", "provider") or ""
    if provider not in BUILT_IN:
        yield "provider_set", {"provider": provider}


def _copy(adopted: _Adopted) -> Iterator[Loss]:
    folder = adopted.home.tenure / "lib"
    try:
        label = (folder / "VERSION").read_text(encoding="utf-8")
    except OSError:
        yield "copy_missing", {"folder": folder}
        return
    version = label.split("\n", 1)[0].partition(" ")[2]
    facts = {"folder": folder, "version": version or "unknown", "own": __version__}
    if version and is_newer(version, __version__):
        yield "copy_ahead", facts
    elif not library().is_at(folder):
        yield "copy_outdated", facts


def _hermes(adopted: _Adopted) -> Iterator[Loss]:
    installation = adopted.installation
    if installation is None:
        return  # the survey reports it
    if installation.version != adopted.adoption.hermes_version:
        facts = {
            "now": installation.version or "of an unknown version",
            "before": adopted.adoption.hermes_version or "one of an unknown version",
        }
        yield "hermes_changed", facts
    # Where Tenure is installed in Hermes' environment, that is what is loaded.
    installed = _installed(installation)
    if installed is not None and installed.version != __version__:
        facts = {"version": installed.version, "own": __version__, "python": installation.python}
        yield "entry_point_differs", facts


def _profile(adopted: _Adopted) -> Iterator[Loss]:
    name, folder = adopted.adoption.tenure_profile, adopted.adoption.tenure_home
    try:
        rules = rules_of(name, folder)
    except TenureError:
        return  # the survey reports it
    other = linked_home(folder / "profiles" / name)
    if rules is None:
        yield "profile_missing", {"profile": name, "folder": folder}
    elif other is not None and other.resolve() != adopted.home.path:
        yield "profile_of_another", {"profile": name, "other": other}
    elif (problem := file_problem(name, folder)) is not None:
        stays = "the accepted rules stay in force" if rules else "no process can become owner"
        facts = {"problem": problem.text, "consequence": stays, "remedy": problem.remedy}
        yield "policy_file_problem", facts
    elif not rules:
        yield "rule_missing", {"profile": name}
    elif not has_gateway_rule(rules, adopted.home) and not any(r.service for r in rules):
        lock = {"profile": name, "lock": adopted.home.gateway_lock}
        yield "rule_missing:gateway", lock


def _installed(installation: Installation) -> Distribution | None:
    if installation.site_packages is None:
        return None
    for package in distributions(path=[installation.site_packages]):
        if package.metadata["Name"] == "tenure":
            return package
    return None
