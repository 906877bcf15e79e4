"""What an adoption has lost since, each finding with its remedy.

For ``tenure hermes status``. Changes nothing. Each part of the adoption is compared with the
record, with what this Tenure would write, and with what Hermes makes of it now. What the survey
reports for any home (an unverified version, a damaged or unfinished record) is not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tenure import __version__
from tenure.adapters.hermes.adopt.checks import BUILT_IN, release_copy
from tenure.adapters.hermes.adopt.config_edit import enabled_in, scalar_in
from tenure.adapters.hermes.adopt.fence import fence_exists
from tenure.adapters.hermes.adopt.owner_rules import has_gateway_rule
from tenure.adapters.hermes.adopt.plugin_files import fence_files, library, plugin_files, shim
from tenure.adapters.hermes.adopt.profile import file_problem, linked_home, rules_of
from tenure.adapters.hermes.facts.adoption_record import RELEASING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.finding_texts import NO_GATEWAY_RULE, HermesFinding, finding
from tenure.adapters.hermes.look.installation import Installation, installation_of
from tenure.domain.errors import CorruptStore, OutcomeUnknown, TenureError
from tenure.domain.version import is_newer
from tenure.domain.warnings import ProfileWarning


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
        return (finding("home_copied", **facts).warning(home),)
    look = _Look(home, adoption, installation)
    return tuple(found.warning(home) for part in look.parts() for found in part)


class _Look:
    def __init__(
        self, home: HermesHome, adoption: Adoption, installation: Installation | None
    ) -> None:
        self.home = home
        self.adoption = adoption
        self.installation = installation
        if installation is None and adoption.hermes_python is not None:
            self.installation = installation_of(adoption.hermes_python, "the adoption")

    def parts(self) -> Iterator[Iterator[HermesFinding]]:
        yield self.fence()
        yield self.plugin()
        yield self.config()
        yield self.copy()
        yield self.hermes()
        yield self.profile()

    def fence(self) -> Iterator[HermesFinding]:
        if self.adoption.state == RELEASING:
            return
        if not fence_exists(self.home):
            there = os.path.lexists(self.home.tick_lock)
            now = "it is a file again" if there else "it does not exist"
            yield finding("fence_missing", now=now)
        elif not _same(self.home.tick_lock, fence_files(self.home)):
            yield finding("fence_outdated")

    def plugin(self) -> Iterator[HermesFinding]:
        folder = self.home.plugin
        if not all((folder / name).is_file() for name in plugin_files(b"")):
            yield finding("plugin_missing", folder=folder)
        elif not _same(folder, plugin_files(shim())):
            yield finding("plugin_edited", folder=folder)

    def config(self) -> Iterator[HermesFinding]:
        try:
            content: bytes | None = self.home.config.read_bytes()
        except OSError:
            content = None
        enabled, disabled = enabled_in(content)
        if enabled is False or disabled:
            why = "is in plugins.disabled" if disabled else "is not in plugins.enabled"
            yield finding("plugin_disabled", why=why)
        provider = scalar_in(content, "cron", "provider") or ""
        if provider not in BUILT_IN:
            yield finding("provider_set", provider=provider)

    def copy(self) -> Iterator[HermesFinding]:
        folder = self.home.tenure / "lib"
        label = _text(folder / "VERSION")
        if label is None:
            yield finding("copy_missing", folder=folder)
            return
        version = label.split("\n", 1)[0].partition(" ")[2]
        facts = {"folder": folder, "version": version or "unknown", "own": __version__}
        if version and is_newer(version, __version__):
            yield finding("copy_ahead", **facts)
        elif not library().is_at(folder):
            yield finding("copy_outdated", **facts)

    def hermes(self) -> Iterator[HermesFinding]:
        found = self.installation
        if found is None:
            return  # the survey reports it
        if found.version != self.adoption.hermes_version:
            yield finding(
                "hermes_changed",
                now=found.version or "of an unknown version",
                before=self.adoption.hermes_version or "one of an unknown version",
            )
        # Where Tenure is installed in Hermes' environment, that is what is loaded.
        there = _installed(found)
        if there is not None and there.version != __version__:
            facts = {"version": there.version, "own": __version__, "python": found.python}
            yield finding("entry_point_differs", **facts)

    def profile(self) -> Iterator[HermesFinding]:
        name, folder = self.adoption.tenure_profile, self.adoption.tenure_home
        try:
            rules = rules_of(name, folder)
        except TenureError:
            return  # the survey reports it
        other = linked_home(folder / "profiles" / name)
        if rules is None:
            yield finding("profile_missing", profile=name, folder=folder)
        elif other is not None and other.resolve() != self.home.path:
            yield finding("profile_of_another", profile=name, other=other)
        elif (problem := file_problem(name, folder)) is not None:
            stays = "the accepted rules stay in force" if rules else "no process can become owner"
            facts = {"problem": problem.text, "consequence": stays, "remedy": problem.remedy}
            yield finding("policy_file_problem", **facts)
        elif not rules:
            yield finding("rule_missing", profile=name)
        elif not has_gateway_rule(rules, self.home) and not any(r.service for r in rules):
            lock = {"profile": name, "lock": self.home.gateway_lock}
            yield HermesFinding("rule_missing", lock, texts=NO_GATEWAY_RULE)


def _installed(found: Installation) -> Distribution | None:
    if found.site_packages is None:
        return None
    for one in distributions(path=[found.site_packages]):
        if one.metadata["Name"] == "tenure":
            return one
    return None


def _same(folder: Path, files: dict[str, bytes]) -> bool:
    try:
        return all((folder / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
