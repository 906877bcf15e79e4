"""The plan to adopt a Hermes home: all checks passed, nothing changed yet.

A check raises an error with its remedy; a lesser problem is a note.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tenure import __version__
from tenure.adapters.hermes.adopt.config_edit import Edit, is_enabled, plan_edit, scalar_in, verify
from tenure.adapters.hermes.adopt.plugin_files import has_plugin, shim
from tenure.adapters.hermes.adopt.profile import GATEWAY, ProfilePlan, gateway_service, plan_profile
from tenure.adapters.hermes.back.disk import content_of
from tenure.adapters.hermes.facts.adoption_record import ADOPTING, Adoption, read_adoption
from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.facts.protection import find_job
from tenure.adapters.hermes.facts.services import service_definitions, start_command
from tenure.adapters.hermes.look.findings import tenure_command
from tenure.adapters.hermes.look.installation import SUPPORTED, Installation, installation_of
from tenure.adapters.hermes.look.report import Survey, names
from tenure.adapters.hermes.look.scan import read_lock
from tenure.domain.errors import Conflict, InvalidInput, Refused
from tenure.domain.policy.evidence import Manager
from tenure.store.folder.file_system import check_file_system
from tenure.store.folder.layout import check_name

BUILT_IN = ("", "builtin", "in-process", "inprocess")
"""Names under which ``cron.provider`` means Hermes' own ticker."""
_TRUE = ("true", "yes", "on", "1")
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
    check_others(home, earlier, source)
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
    content = content_of(home.config)
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


# -- checks -------------------------------------------------------------------------------------
def check_gateway(
    home: HermesHome, owners: Sequence[str], survey: Survey, *, force: bool = False
) -> None:
    """Raises Refused for a profile whose gateway is another profile's.

    A gateway that serves several profiles (``gateway.multiplex_profiles``) takes their messages,
    but ticks the jobs of its own profile only.
    """
    named = any(owner.strip() == GATEWAY for owner in owners)
    if not named or force or home.profile == DEFAULT or survey.gateway_lock.held:
        return
    if service_definitions(home) or not multiplexed(home):
        return
    raise Refused(
        f"the profile {home.profile} has no gateway of its own: that of the default profile "
        "serves it (gateway.multiplex_profiles) and does not tick its jobs, so that adopted they "
        "would never run",
        remedy=f"set gateway.multiplex_profiles to false and start {home.command} gateway; or "
        "name another owner with --owner; or --force",
    )


def multiplexed(home: HermesHome) -> bool:
    """Whether the default profile's gateway is set to serve all profiles."""
    content = None
    with suppress(OSError):
        content = content_of(home_of(home.root).config)
    keys = (("gateway", "multiplex_profiles"), ("multiplex_profiles",))
    return any((scalar_in(content, *key) or "").lower() in _TRUE for key in keys)


def notes_on_home(
    home: HermesHome, owners: Sequence[str], survey: Survey, content: bytes | None
) -> Iterator[str]:
    """What a person should know before. ``content``: of config.yaml."""
    if any(owner.strip() == GATEWAY for owner in owners):
        yield from _gateway(home, survey)
    provider = scalar_in(content, "cron", "provider") or ""
    if provider not in BUILT_IN:
        yield f"config.yaml sets cron.provider to {provider!r}, which does not tick by itself"
    named = os.environ.get("HERMES_MANAGED_DIR", "").strip()
    managed = Path(named or "/etc/hermes", "config.yaml")
    if managed.is_file():
        yield f"{managed} overrides config.yaml; see that it does not set plugins.enabled"


def _gateway(home: HermesHome, survey: Survey) -> Iterator[str]:
    lock, start = survey.gateway_lock, start_command(home)
    if lock.held:
        yield f"the gateway runs{f' (pid {lock.pid})' if lock.pid else ''}; it will be the owner"
        if service_definitions(home) and gateway_service(survey) is None:
            yield "it was not started by its service, so its rule does not ask for the service"
    elif lock.held is None:
        yield f"whether a gateway runs is unknown here; if not, nothing runs until: {start}"
    else:
        yield f"no gateway runs; nothing will run until: {start}"


def check_folder(home: HermesHome) -> None:
    """Raises Refused if this folder may not be written, or not by this user."""
    if sys.platform == "win32":
        raise Refused("Hermes is not adopted on Windows yet", remedy="`tenure hermes status` works")
    for path in (home.path, home.path / "plugins", home.cron, home.tick_lock, home.config):
        if not os.path.lexists(path):
            continue
        if not path.exists():
            raise Refused(f"{path} is a link without a target", remedy="remove it")
        path = path.resolve()
        owner = path.stat().st_uid
        if owner != os.geteuid():
            raise Refused(
                f"{path} belongs to uid {owner}, and this process runs as uid {os.geteuid()}",
                remedy="run this as the user that runs Hermes",
            )
        folder = path if path.is_dir() else path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(f"{folder} may not be written", remedy=f"chmod u+rwx {folder}")
    try:
        check_file_system(home.path)
    except Refused as error:
        remedy = "keep Hermes' home on a disk of this machine"
        raise Refused(error.text, remedy=remedy, **error.facts) from error


def release_copy(home: HermesHome) -> str:
    """The remedy in a home that is a copy of an adopted one."""
    command = tenure_command(home, "release").rstrip("`") + " --copied`"
    script = shlex.quote(str(home.tick_lock / "release.py"))
    return f"{command}, then adopt it; without Tenure: `python3 {script} --copied`"


def check_others(home: HermesHome, earlier: Adoption | None, source: bytes) -> None:
    """Raises Refused for a copied home, Conflict if Tenure would write where other files are."""
    release = tenure_command(home, "release")
    left_over = f"{release} if it is left over, else move it away"
    if earlier is not None:
        if not earlier.is_of(home):
            raise Refused(
                f"{home.path} is a copy of {earlier.hermes_home}, or has moved here from there: "
                "the adoption in it is the other folder's",
                remedy=release_copy(home),
            )
    elif os.path.lexists(home.tenure):
        raise Conflict(
            f"{home.tenure} already exists, and no adoption is recorded in it", remedy=left_over
        )
    elif os.path.lexists(home.plugin) and not has_plugin(home, source):
        raise Conflict(
            f"a plugin already exists at {home.plugin}, and Tenure did not write it",
            remedy=left_over,
        )
    elif read_lock(home.tick_lock).fence:
        raise Conflict(
            f"{home.tick_lock} is already a folder, and no adoption is recorded here",
            remedy=f"{release}, then adopt again",
        )


# -- Hermes -------------------------------------------------------------------------------------
def _installation(options: AdoptionOptions, survey: Survey) -> Installation | None:
    if options.hermes_python is not None:
        installation = installation_of(options.hermes_python, "--hermes-python")
        if installation is None:
            raise InvalidInput(
                f"{options.hermes_python} has no Hermes",
                field="hermes-python",
                remedy="name the Python of the environment that Hermes is installed in",
            )
        return installation
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
    match = None
    with suppress(OSError):
        match = code and _VERSION_KEY.search((code / "hermes_cli" / "config.py").read_bytes())
    return int(match[1]) if match else None


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
    known = earlier.tenure_profile if earlier else home.tenure_profile
    name = check_name(options.tenure_profile or known)
    profile = (name, options.tenure_home)
    if earlier is not None and profile != (earlier.tenure_profile, earlier.tenure_home):
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


# -- the plan as text and JSON ----------------------------------------------------------------
def plan_words(plan: AdoptionPlan) -> list[str]:
    """What would be done, one line for each step."""
    home = plan.home
    steps = [f"keep in {home.tenure} what a release needs, and a copy of Tenure"]
    if plan.again:
        steps = [f"check {home.tenure}, and restore what is missing"]
    if plan.profile.text is not None:
        steps.append(f"the Tenure profile {plan.profile.name}, with the owner rules below")
    if not has_plugin(home, plan.shim):
        steps.append(f"add the plugin {home.plugin}")
    if plan.edit.changes:
        steps.append(f"enable it: add tenure to plugins.enabled in {home.config}")
    if plan.options.protect:
        steps.append(f"protect {', '.join(plan.options.protect)}")
    steps.append(
        f"put up the fence: a folder at {home.tick_lock}, so that no other ticker runs jobs"
    )
    return steps


def plan_document(plan: AdoptionPlan) -> dict[str, Any]:
    """The plan for ``--json``. ``profile_toml`` is null where rules exist already."""
    record = plan.adoption.document()
    keys = "hermes_home hermes_profile hermes_version hermes_python unverified tenure_home"
    return {
        **{name: record[name] for name in (*keys.split(), "tenure_profile")},
        "profile_toml": plan.profile.text,
        "again": plan.again,
        "would": plan_words(plan),
        "notes": list(plan.notes),
    }


def next_steps(survey: Survey) -> list[str]:
    """What to restart: processes load plugins only when they start."""
    home = survey.home
    gateway = f"start the gateway: {start_command(home)}"
    if survey.gateway_lock.held:
        gateway = f"restart the gateway: {home.command} gateway restart"
        for definition in service_definitions(home):
            if definition.manager is Manager.LAUNCHD:
                command = f"launchctl kickstart -k gui/{os.getuid()}/{definition.label}"
                gateway += f" (or: {command})"
    steps = [gateway]
    desktop = [str(p.pid) for p in survey.processes if p.role is Role.DESKTOP]
    if desktop:
        pids = ", ".join(desktop)
        steps.append(f"quit the desktop app and open it again (its backends: pids {pids})")
    known = (Role.DESKTOP, Role.GATEWAY)
    rest = [p for p in survey.processes if p.role not in known and p.repeats]
    if rest:
        steps.append(f"restart these: {names(rest)}")
    return [*steps, f"then look: {tenure_command(home, 'status')}"]
