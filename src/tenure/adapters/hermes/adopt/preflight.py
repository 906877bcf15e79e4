"""What has to be true before a Hermes home is adopted, and the plan. Nothing is changed here.

Each check raises :class:`Refused` or another error with what to type; what is not certain but no
reason to refuse is a note in the plan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tenure import __version__
from tenure.adapters.hermes.adopt.config_edit import Edit, is_enabled, plan_edit, scalar_in, verify
from tenure.adapters.hermes.adopt.home_checks import check_copy, check_folder, check_strangers
from tenure.adapters.hermes.adopt.owner_rules import GATEWAY, gateway_service
from tenure.adapters.hermes.adopt.plugin_files import shim
from tenure.adapters.hermes.adopt.profile import ProfilePlan, plan_profile
from tenure.adapters.hermes.adopt.prospects import check_gateway, prospects
from tenure.adapters.hermes.adopt.sidecar import find_job
from tenure.adapters.hermes.facts.adoption_record import ADOPTING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.installation import SUPPORTED, Installation, installation_of
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.errors import Conflict, InvalidInput, Refused
from tenure.store.folder.layout import check_name

_VERSION_KEY = re.compile(rb'"_config_version":\s*([0-9]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked of ``tenure hermes adopt``."""

    tenure_home: Path
    tenure_profile: str | None = None
    owners: tuple[str, ...] = (GATEWAY,)
    fallback_after: timedelta | None = None
    protect: tuple[str, ...] = ()
    hermes_python: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is going to be done, all checks passed."""

    home: HermesHome
    adoption: Adoption
    """As it begins; that of an earlier try goes on."""
    earlier: Adoption | None
    """The record that was there."""
    wishes: Wishes
    edit: Edit
    profile: ProfilePlan
    code: Path | None
    """Where Hermes' packages lie."""
    notes: tuple[str, ...] = ()
    shim: bytes = field(default=b"", repr=False)

    @property
    def again(self) -> bool:
        """The home is adopted already, in whole or in part."""
        return bool(self.adoption.steps)


def preflight(
    home: HermesHome, wishes: Wishes, survey: Survey, *, shim_source: bytes | None = None
) -> Plan:
    """Raises Refused, Conflict, InvalidInput, NotFound, OutcomeUnknown."""
    source = shim() if shim_source is None else shim_source
    check_folder(home)
    earlier = read_adoption(home)
    check_copy(home, earlier)
    check_strangers(home, earlier, source)
    installation = _installation(wishes, survey)
    unverified = tuple(_unverified(installation))
    if unverified and not wishes.force:
        raise Refused(
            f"this Hermes is not one that Tenure was verified with: {'; '.join(unverified)}",
            remedy=f"verified are {', '.join(sorted(SUPPORTED))}; to adopt all the same: --force",
        )
    check_gateway(home, wishes.owners, survey, force=wishes.force)
    for ref in wishes.protect:
        find_job(home, ref)
    content = _content(home)
    code = Path(installation.code) if installation and installation.code else None
    python = installation.python if installation else None
    edit = plan_config(home, content, python, code)
    adoption = _record(home, wishes, earlier, installation, unverified)
    profile = plan_profile(
        home, adoption.tenure_profile, adoption.tenure_home,
        owners=wishes.owners, service=gateway_service(survey),
        fallback_after=wishes.fallback_after, timezone=_timezone(content),
    )  # fmt: skip
    notes = [*prospects(home, wishes.owners, survey, content), *profile.notes]
    notes += [f"not verified: {text}" for text in unverified]
    return Plan(
        home=home,
        adoption=adoption,
        earlier=earlier,
        wishes=wishes,
        edit=edit,
        profile=profile,
        code=code,
        notes=tuple(notes),
        shim=source,
    )


def plan_config(
    home: HermesHome, content: bytes | None, python: str | None, code: Path | None
) -> Edit:
    """The edit of config.yaml, checked by Hermes' own parser where there is one."""
    version = None if content is not None else _config_version(code)
    try:
        edit = plan_edit(home.config, content, version=version)
    except Refused:
        if content is None or python is None or not is_enabled(Path(python), home.config, content):
            raise
        return Edit(before=content, after=content)  # somebody has enabled it by hand
    if edit.changes and (home.path / ".managed").exists():
        raise Refused(
            f"{home.config} is made by a package manager (there is {home.path / '.managed'})",
            remedy="add tenure to plugins.enabled in that one's configuration, then adopt again",
        )
    if python is not None and edit.changes:
        verify(Path(python), home.config, edit)
    return edit


def _content(home: HermesHome) -> bytes | None:
    try:
        return home.config.read_bytes()
    except FileNotFoundError:
        return None


# -- Hermes -------------------------------------------------------------------------------------
def _installation(wishes: Wishes, survey: Survey) -> Installation | None:
    if wishes.hermes_python is not None:
        found = installation_of(wishes.hermes_python, "--hermes-python")
        if found is None:
            raise InvalidInput(
                f"{wishes.hermes_python} has no Hermes",
                field="hermes-python",
                remedy="name the Python of the environment that Hermes is installed in",
            )
        return found
    return survey.installation


def _unverified(installation: Installation | None) -> Iterator[str]:
    if installation is None:
        yield (
            "no Hermes was found (--hermes-python PATH names one), so neither its version nor "
            "its reading of config.yaml is known"
        )
        return
    if installation.verified:
        return
    yield f"version {installation.version or 'unknown'}: how it runs jobs was not looked at"
    code = Path(installation.code) if installation.code else None
    for file, text in (("cron/scheduler.py", b".tick.lock"), ("hermes_cli/plugins.py", b"enabled")):
        try:
            if code is not None and text not in (code / file).read_bytes():
                yield f"its {file} does not mention {text.decode()}"
        except FileNotFoundError:
            yield f"it has no {file}"
        except OSError as error:
            yield f"its {file} cannot be read: {error.strerror or error}"


def _config_version(code: Path | None) -> int | None:
    if code is None:
        return None
    try:
        found = _VERSION_KEY.search((code / "hermes_cli" / "config.py").read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


def _timezone(content: bytes | None) -> str | None:
    from tenure.domain.schedule.zones import check_zone

    named = os.environ.get("HERMES_TIMEZONE", "").strip() or scalar_in(content, "timezone")
    try:
        return check_zone(named) if named else None
    except InvalidInput:
        return None  # Hermes, too, falls back to the machine's then


def _record(
    home: HermesHome,
    wishes: Wishes,
    earlier: Adoption | None,
    installation: Installation | None,
    unverified: tuple[str, ...],
) -> Adoption:
    name = check_name(wishes.tenure_profile or _named(earlier) or home.tenure_profile)
    if earlier is not None and (name, wishes.tenure_home) != (
        earlier.tenure_profile, earlier.tenure_home,
    ):  # fmt: skip
        raise Conflict(
            f"{home.path} is adopted into the Tenure profile {earlier.tenure_profile} in "
            f"{earlier.tenure_home}",
            remedy="release it first, to adopt it into another",
        )
    return Adoption(
        state=ADOPTING,
        hermes_home=home.path,
        hermes_profile=home.profile,
        hermes_version=installation.version if installation else None,
        hermes_python=os.path.abspath(installation.python) if installation else None,
        tenure_version=__version__,
        tenure_home=wishes.tenure_home,
        tenure_profile=name,
        adopted_at=earlier.adopted_at if earlier else None,
        forced=bool(unverified),
        unverified=unverified,
        steps=earlier.steps if earlier else (),
    )


def _named(earlier: Adoption | None) -> str | None:
    return earlier.tenure_profile if earlier else None
