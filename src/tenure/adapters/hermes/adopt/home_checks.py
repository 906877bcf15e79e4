"""Whether a Hermes home may be adopted as it lies there: ours, writable, nobody else's things.

Looks, and changes nothing.
"""

from __future__ import annotations

import os
import shlex
import sys

from tenure.adapters.hermes.adopt.plugin_files import plugin_files
from tenure.adapters.hermes.facts.adoption_record import Adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.look.findings import tenure_command
from tenure.adapters.hermes.look.locks import read_lock
from tenure.domain.errors import Conflict, Refused
from tenure.store.folder.file_system import check_file_system


def check_folder(home: HermesHome) -> None:
    """Whether anything may be written here at all."""
    if sys.platform == "win32":
        raise Refused("Hermes is not adopted on Windows yet", remedy="`tenure hermes status` works")
    for path in (home.path, home.path / "plugins", home.cron, home.tick_lock, home.config):
        if not os.path.lexists(path):
            continue
        if not path.exists():
            raise Refused(f"{path} is a link that leads nowhere", remedy="remove it")
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
    """What to type in a home that is a copy of an adopted one."""
    command = tenure_command(home, "release").rstrip("`") + " --copied`"
    script = shlex.quote(str(home.tick_lock / "release.py"))
    return f"{command}, then adopt it; without Tenure: `python3 {script} --copied`"


def check_strangers(home: HermesHome, earlier: Adoption | None, source: bytes) -> None:
    """Nothing that somebody else put where Tenure writes."""
    if earlier is not None:
        return
    left_over = f"{tenure_command(home, 'release')} if it is left over, else move it away"
    if os.path.lexists(home.tenure):
        raise Conflict(
            f"there is {home.tenure} already, and no adoption is recorded in it", remedy=left_over
        )
    if os.path.lexists(home.plugin) and not same_files(home, source):
        raise Conflict(
            f"there is a plugin at {home.plugin} already, and Tenure did not put it there",
            remedy=left_over,
        )
    if read_lock(home.tick_lock).fence:
        raise Conflict(
            f"{home.tick_lock} is a folder already, and no adoption is recorded here",
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
