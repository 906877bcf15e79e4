"""Checks of a Hermes home before it is adopted. Nothing is changed here.

A check raises an error with its remedy; a lesser problem is yielded as a note.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenure.adapters.hermes.adopt.config_edit import scalar_in
from tenure.adapters.hermes.adopt.owner_rules import GATEWAY, gateway_service
from tenure.adapters.hermes.adopt.plugin_files import plugin_files
from tenure.adapters.hermes.facts.adoption_record import Adoption
from tenure.adapters.hermes.facts.home import DEFAULT, HermesHome, home_of
from tenure.adapters.hermes.facts.services import service_definitions
from tenure.adapters.hermes.look.finding_texts import tenure_command
from tenure.adapters.hermes.look.locks import read_lock
from tenure.adapters.hermes.look.report import Survey
from tenure.domain.errors import Conflict, Refused
from tenure.store.folder.file_system import check_file_system

BUILT_IN = ("", "builtin", "in-process", "inprocess")
"""Names under which ``cron.provider`` means Hermes' own ticker."""
_TRUE = ("true", "yes", "on", "1")


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
    try:
        content = home_of(home.root).config.read_bytes()
    except OSError:
        return False
    keys = (("gateway", "multiplex_profiles"), ("multiplex_profiles",))
    return any((scalar_in(content, *key) or "").lower() in _TRUE for key in keys)


def start_command(home: HermesHome) -> str:
    """The command that starts the gateway."""
    return f"{home.command} gateway {'start' if service_definitions(home) else 'run'}"


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


def check_copy(home: HermesHome, earlier: Adoption | None) -> None:
    if earlier is None or earlier.is_of(home):
        return
    raise Refused(
        f"{home.path} is a copy of {earlier.hermes_home}, or has moved here from there: the "
        "adoption in it is the other folder's",
        remedy=release_copy(home),
    )


def release_copy(home: HermesHome) -> str:
    """The remedy in a home that is a copy of an adopted one."""
    command = tenure_command(home, "release").rstrip("`") + " --copied`"
    script = shlex.quote(str(home.tick_lock / "release.py"))
    return f"{command}, then adopt it; without Tenure: `python3 {script} --copied`"


def check_strangers(home: HermesHome, earlier: Adoption | None, source: bytes) -> None:
    """Raises Conflict if Tenure would write where other files are."""
    if earlier is not None:
        return
    left_over = f"{tenure_command(home, 'release')} if it is left over, else move it away"
    if os.path.lexists(home.tenure):
        raise Conflict(
            f"{home.tenure} already exists, and no adoption is recorded in it", remedy=left_over
        )
    if os.path.lexists(home.plugin) and not same_files(home, source):
        raise Conflict(
            f"a plugin already exists at {home.plugin}, and Tenure did not write it",
            remedy=left_over,
        )
    if read_lock(home.tick_lock).fence:
        raise Conflict(
            f"{home.tick_lock} is already a folder, and no adoption is recorded here",
            remedy=f"{tenure_command(home, 'release')}, then adopt again",
        )


def same_files(home: HermesHome, source: bytes) -> bool:
    """Whether the plugin's files are there, as they would be written."""
    if home.plugin.is_symlink():
        return False
    try:
        return all(
            (home.plugin / name).read_bytes() == content
            for name, content in plugin_files(source).items()
        )
    except OSError:
        return False
