"""What an adoption has lost since, each finding with its remedy.

For ``tenure hermes status``. Changes nothing. Each part of the adoption is compared
with the record, with what this Tenure would write, and with what Hermes makes of it now. What the
survey reports for any home (an unverified version, a damaged or unfinished record) is not repeated.

Codes are stable: ``home_copied``, ``fence_missing``, ``fence_outdated``, ``plugin_missing``,
``plugin_edited``, ``plugin_disabled``, ``copy_missing``, ``copy_outdated``, ``copy_ahead``,
``hermes_changed``, ``entry_point_differs``, ``provider_set``, ``profile_missing``,
``profile_of_another``, ``rule_missing``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tenure import __version__
from tenure.adapters.hermes.adopt.checks import BUILT_IN, release_copy
from tenure.adapters.hermes.adopt.config_edit import enabled_in, scalar_in
from tenure.adapters.hermes.adopt.fence import stands
from tenure.adapters.hermes.adopt.owner_rules import has_gateway_rule
from tenure.adapters.hermes.adopt.plugin_files import fence_files, library, plugin_files, shim
from tenure.adapters.hermes.adopt.profile import file_problem, linked_home, rules_of
from tenure.adapters.hermes.facts.adoption_record import RELEASING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.findings import tenure_command
from tenure.adapters.hermes.look.installation import Installation, installation_of
from tenure.client.advice import Warning
from tenure.domain.errors import CorruptStore, OutcomeUnknown, TenureError
from tenure.domain.version import is_newer


def drift(home: HermesHome, installation: Installation | None = None) -> tuple[Warning, ...]:
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
        return (_copied(home, adoption),)
    look = _Look(home, adoption, installation)
    return tuple(finding for part in look.parts() for finding in part)


def findings_document(findings: tuple[Warning, ...]) -> list[dict[str, str]]:
    """The same for ``--json``."""
    return [{"code": f.code, "text": f.text, "remedy": f.remedy} for f in findings]


def _copied(home: HermesHome, adoption: Adoption) -> Warning:
    return Warning(
        code="home_copied",
        text=f"{home.path} is a copy of {adoption.hermes_home}, or has moved here from there; the "
        "adoption in it is the other folder's, so nothing runs here",
        remedy=release_copy(home),
    )


class _Look:
    def __init__(
        self, home: HermesHome, adoption: Adoption, installation: Installation | None
    ) -> None:
        self.home = home
        self.adoption = adoption
        self.installation = installation
        self.again = tenure_command(home, "adopt")
        if installation is None and adoption.hermes_python is not None:
            self.installation = installation_of(adoption.hermes_python, "the adoption")

    def parts(self) -> Iterator[Iterator[Warning]]:
        yield self.fence()
        yield self.plugin()
        yield self.config()
        yield self.copy()
        yield self.hermes()
        yield self.profile()

    def fence(self) -> Iterator[Warning]:
        if self.adoption.state == RELEASING:
            return
        if not stands(self.home):
            there = os.path.lexists(self.home.tick_lock)
            now = "it is a file again" if there else "it does not exist"
            yield Warning(
                code="fence_missing",
                text=f"the fence cron/.tick.lock is gone ({now}), so any process that has not "
                "loaded the plugin may run jobs",
                remedy=f"{self.again} puts it back; the owner does so at its next tick",
            )
        elif not _same(self.home.tick_lock, fence_files(self.home)):
            yield Warning(
                code="fence_outdated",
                text="the release script in the fence is of another Tenure version",
                remedy=f"{self.again} brings it up to date",
            )

    def plugin(self) -> Iterator[Warning]:
        if not all((self.home.plugin / name).is_file() for name in plugin_files(b"")):
            yield Warning(
                code="plugin_missing",
                text=f"files of the plugin at {self.home.plugin} are missing: no process loads it, "
                "so nothing runs",
                remedy=f"{self.again} puts it back; then restart the gateway",
            )
        elif not _same(self.home.plugin, plugin_files(shim())):
            yield Warning(
                code="plugin_edited",
                text=f"the plugin at {self.home.plugin} is not the one that this Tenure writes",
                remedy=f"{self.again} writes it again; then restart the gateway",
            )

    # -- config.yaml -----------------------------------------------------------------------------
    def config(self) -> Iterator[Warning]:
        try:
            content: bytes | None = self.home.config.read_bytes()
        except OSError:
            content = None
        enabled, disabled = enabled_in(content)
        if enabled is False or disabled:
            why = "is in plugins.disabled" if disabled else "is not in plugins.enabled"
            yield Warning(
                code="plugin_disabled",
                text=f"tenure {why} of config.yaml: no process loads the plugin when it starts, so "
                "nothing runs",
                remedy=f"{self.again} enables it; then restart the gateway",
            )
        provider = scalar_in(content, "cron", "provider") or ""
        if provider not in BUILT_IN:
            yield Warning(
                code="provider_set",
                text=f"config.yaml sets cron.provider to {provider!r}: the gateway's own ticker "
                "does not run then, unless that provider cannot be loaded",
                remedy="remove cron.provider, for the gateway to tick; then restart it",
            )

    def copy(self) -> Iterator[Warning]:
        folder = self.home.tenure / "lib"
        label = _text(folder / "VERSION")
        if label is None:
            yield Warning(
                code="copy_missing",
                text=f"Tenure's own copy at {folder} is gone: without another in Hermes' "
                "environment the plugin cannot load, and nothing runs",
                remedy=f"{self.again} puts it back; then restart the gateway",
            )
            return
        version = label.split("\n", 1)[0].partition(" ")[2]
        if version and is_newer(version, __version__):
            yield Warning(
                code="copy_ahead",
                text=f"{folder} has Tenure {version}, newer than this one, {__version__}",
                remedy="update Tenure here",
            )
        elif not library().is_at(folder):
            yield Warning(
                code="copy_outdated",
                text=f"{folder} has another Tenure ({version or 'unknown'}) than this "
                f"one ({__version__}), or was edited",
                remedy=f"{self.again} brings it up to date; then restart the gateway",
            )

    # -- Hermes ----------------------------------------------------------------------------------
    def hermes(self) -> Iterator[Warning]:
        found = self.installation
        if found is None:
            return  # the survey reports it
        if found.version != self.adoption.hermes_version:
            yield Warning(
                code="hermes_changed",
                text=f"Hermes is {found.version or 'of an unknown version'} now; adopted was "
                f"{self.adoption.hermes_version or 'one of an unknown version'}",
                remedy=f"{self.again} checks it",
            )
        yield from self._entry_point(found)

    def _entry_point(self, found: Installation) -> Iterator[Warning]:
        """Where Tenure is installed in Hermes' environment, that is what is loaded."""
        there = _installed(found)
        if there is not None and there.version != __version__:
            yield Warning(
                code="entry_point_differs",
                text=f"Tenure {there.version} is installed in Hermes' environment, which loads it "
                f"in place of the copy in this home; here it is {__version__}",
                remedy=f"install {__version__} there, or uninstall it: {found.python} -m pip "
                "uninstall tenure",
            )

    def _linked(self) -> Path | None:
        """The other home that the Tenure profile says it is for."""
        folder = self.adoption.tenure_home / "profiles" / self.adoption.tenure_profile
        found = linked_home(folder)
        return None if found is None or found.resolve() == self.home.path else found

    # -- Tenure ----------------------------------------------------------------------------------
    def profile(self) -> Iterator[Warning]:
        name = self.adoption.tenure_profile
        try:
            rules = rules_of(name, self.adoption.tenure_home)
        except TenureError:
            return  # the survey reports it
        if rules is None:
            yield Warning(
                code="profile_missing",
                text=f"the Tenure profile {name} no longer exists in {self.adoption.tenure_home}: "
                "no process can join it, so nothing runs",
                remedy=f"restore it from a backup; or {self.again} makes it again, without history",
            )
        elif (other := self._linked()) is not None:
            yield Warning(
                code="profile_of_another",
                text=f"the Tenure profile {name} is linked to another Hermes home, {other}: the "
                "jobs of both would be mixed",
                remedy=f"{tenure_command(self.home, 'release')}, then {self.again} with "
                "--tenure-profile NAME",
            )
        elif (problem := file_problem(name, self.adoption.tenure_home)) is not None:
            stays = "the accepted rules stay in force" if rules else "no process can become owner"
            yield Warning(
                code="policy_file_problem", text=f"{problem.text}; {stays}", remedy=problem.remedy
            )
        elif not rules:
            yield Warning(
                code="rule_missing",
                text=f"no owner rules are in force in the Tenure profile {name}: the first process "
                "of this user that ticks owns, and protected jobs are held",
                remedy=f"{self.again} writes them again",
            )
        elif not has_gateway_rule(rules, self.home) and not any(r.service for r in rules):
            yield Warning(
                code="rule_missing",
                text=f"none of the owner rules of the Tenure profile {name} is about the gateway",
                remedy=f'holds = "{self.home.gateway_lock}" in a rule of its profile.toml says '
                "that; `tenure owner policy` shows the rules",
            )


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
