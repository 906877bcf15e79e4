"""The plan to adopt a Hermes home: all checks passed, nothing changed yet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tenure import __version__
from tenure.adapters.hermes.adopt.checks import (
    check_copy,
    check_folder,
    check_gateway,
    check_strangers,
    notes_on_home,
    same_files,
    start_command,
)
from tenure.adapters.hermes.adopt.config_edit import Edit, is_enabled, plan_edit, scalar_in, verify
from tenure.adapters.hermes.adopt.owner_rules import GATEWAY, gateway_service
from tenure.adapters.hermes.adopt.plugin_files import shim
from tenure.adapters.hermes.adopt.profile import ProfilePlan, plan_profile
from tenure.adapters.hermes.facts.adoption_record import ADOPTING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.protection import find_job
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.finding_texts import tenure_command
from tenure.adapters.hermes.look.installation import SUPPORTED, Installation, installation_of
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.errors import Conflict, InvalidInput, Refused
from tenure.domain.policy.evidence import Manager
from tenure.store.folder.layout import check_name

_VERSION_KEY = re.compile(rb'"_config_version":\s*([0-9]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionOptions:
    """The options of ``tenure hermes adopt``."""

    tenure_home: Path
    tenure_profile: str | None = None
    owners: tuple[str, ...] = (GATEWAY,)
    fallback_after: timedelta | None = None
    protect: tuple[str, ...] = ()
    hermes_python: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionPlan:
    """What will be done; all checks have passed."""

    home: HermesHome
    adoption: Adoption
    """The record as the adoption begins; an earlier try continues."""
    earlier: Adoption | None
    """The record found in the home."""
    options: AdoptionOptions
    edit: Edit
    profile: ProfilePlan
    code: Path | None
    """The folder of Hermes' packages."""
    notes: tuple[str, ...] = ()
    shim: bytes = field(default=b"", repr=False)

    @property
    def again(self) -> bool:
        """The home is adopted already, in whole or in part."""
        return bool(self.adoption.steps)


def plan_adoption(
    home: HermesHome, options: AdoptionOptions, survey: Survey, *, shim_source: bytes | None = None
) -> AdoptionPlan:
    """Raises Refused, Conflict, InvalidInput, NotFound, OutcomeUnknown."""
    source = shim() if shim_source is None else shim_source
    check_folder(home)
    earlier = read_adoption(home)
    check_copy(home, earlier)
    check_strangers(home, earlier, source)
    installation = _installation(options, survey)
    unverified = tuple(_unverified(installation))
    if unverified and not options.force:
        raise Refused(
            f"Tenure was not verified with this Hermes: {'; '.join(unverified)}",
            remedy=f"verified are {', '.join(sorted(SUPPORTED))}; to adopt anyway: --force",
        )
    check_gateway(home, options.owners, survey, force=options.force)
    for ref in options.protect:
        find_job(home, ref)
    content = _content(home)
    code = Path(installation.code) if installation and installation.code else None
    python = installation.python if installation else None
    edit = plan_config(home, content, python, code)
    adoption = _record(home, options, earlier, installation, unverified)
    profile = plan_profile(
        home, adoption.tenure_profile, adoption.tenure_home,
        owners=options.owners, service=gateway_service(survey),
        fallback_after=options.fallback_after, timezone=_timezone(content),
    )  # fmt: skip
    notes = [*notes_on_home(home, options.owners, survey, content), *profile.notes]
    notes += [f"not verified: {text}" for text in unverified]
    return AdoptionPlan(
        home=home,
        adoption=adoption,
        earlier=earlier,
        options=options,
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
        return Edit(before=content, after=content)  # enabled by hand
    if edit.changes and (home.path / ".managed").exists():
        raise Refused(
            f"{home.config} is made by a package manager ({home.path / '.managed'} exists)",
            remedy="add tenure to plugins.enabled in its configuration, then adopt again",
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
def _installation(options: AdoptionOptions, survey: Survey) -> Installation | None:
    if options.hermes_python is not None:
        found = installation_of(options.hermes_python, "--hermes-python")
        if found is None:
            raise InvalidInput(
                f"{options.hermes_python} has no Hermes",
                field="hermes-python",
                remedy="name the Python of the environment that Hermes is installed in",
            )
        return found
    return survey.installation


def _unverified(installation: Installation | None) -> Iterator[str]:
    if installation is None:
        yield (
            "no Hermes was found (--hermes-python PATH names one), so its version and its "
            "reading of config.yaml are unknown"
        )
        return
    if installation.verified:
        return
    yield f"version {installation.version or 'unknown'}: how it runs jobs was not examined"
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
    options: AdoptionOptions,
    earlier: Adoption | None,
    installation: Installation | None,
    unverified: tuple[str, ...],
) -> Adoption:
    name = check_name(options.tenure_profile or _named(earlier) or home.tenure_profile)
    if earlier is not None and (name, options.tenure_home) != (
        earlier.tenure_profile, earlier.tenure_home,
    ):  # fmt: skip
        raise Conflict(
            f"{home.path} is adopted into the Tenure profile {earlier.tenure_profile} in "
            f"{earlier.tenure_home}",
            remedy="to adopt it into another, release it first",
        )
    return Adoption(
        state=ADOPTING,
        hermes_home=home.path,
        hermes_profile=home.profile,
        hermes_version=installation.version if installation else None,
        hermes_python=os.path.abspath(installation.python) if installation else None,
        tenure_version=__version__,
        tenure_home=options.tenure_home,
        tenure_profile=name,
        adopted_at=earlier.adopted_at if earlier else None,
        forced=bool(unverified),
        unverified=unverified,
        steps=earlier.steps if earlier else (),
    )


def _named(earlier: Adoption | None) -> str | None:
    return earlier.tenure_profile if earlier else None


# -- the plan as text and JSON ----------------------------------------------------------------
def plan_words(plan: AdoptionPlan) -> list[str]:
    """What would be done, one line for each step."""
    home = plan.home
    done = [f"keep in {home.tenure} what an undo needs, and a copy of Tenure"]
    if plan.again:
        done = [f"check {home.tenure}, and restore what is missing"]
    if plan.profile.text is not None:
        done.append(f"the Tenure profile {plan.profile.name}, with the owner rules below")
    if not same_files(home, plan.shim):
        done.append(f"add the plugin {home.plugin}")
    if plan.edit.changes:
        done.append(f"enable it: add tenure to plugins.enabled in {home.config}")
    if plan.options.protect:
        done.append(f"protect {', '.join(plan.options.protect)}")
    done.append(
        f"put up the fence: a folder at {home.tick_lock}, so that no other ticker runs jobs"
    )
    return done


def plan_document(plan: AdoptionPlan) -> dict[str, Any]:
    """The plan for ``--json``. ``profile_toml`` is null where rules exist already."""
    adoption = plan.adoption
    return {
        "hermes_home": str(plan.home.path),
        "hermes_profile": plan.home.profile,
        "hermes_version": adoption.hermes_version,
        "hermes_python": adoption.hermes_python,
        "unverified": list(adoption.unverified),
        "tenure_home": str(adoption.tenure_home),
        "tenure_profile": adoption.tenure_profile,
        "profile_toml": plan.profile.text,
        "again": plan.again,
        "would": plan_words(plan),
        "notes": list(plan.notes),
    }


def next_steps(survey: Survey) -> list[str]:
    """What to restart: processes load plugins only when they start."""
    home = survey.home
    steps = [
        _gateway(home) if survey.gateway_lock.held else f"start the gateway: {start_command(home)}"
    ]
    desktop = [p for p in survey.processes if p.role is Role.DESKTOP]
    if desktop:
        pids = ", ".join(str(process.pid) for process in desktop)
        steps.append(f"quit the desktop app and open it again (its backends: pids {pids})")
    known = (Role.DESKTOP, Role.GATEWAY)
    rest = [p for p in survey.processes if p.role not in known and p.repeats]
    if rest:
        steps.append(f"restart these: {', '.join(process.describe() for process in rest)}")
    return [*steps, f"then look: {tenure_command(home, 'status')}"]


def _gateway(home: HermesHome) -> str:
    text = f"restart the gateway: {home.command} gateway restart"
    for definition in service_definitions(home):
        if definition.manager is Manager.LAUNCHD:
            text += f" (or: launchctl kickstart -k gui/{os.getuid()}/{definition.label})"
    return text
