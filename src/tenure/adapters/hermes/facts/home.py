"""One Hermes profile on disk: its folder, and what Hermes and Tenure keep in it.

The default profile is the root itself (``~/.hermes``); every other is a folder
``<root>/profiles/<name>``. Nothing here reads or writes more than folder entries.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tenure.domain.errors import NotFound
from tenure.store.folder.user_home import expand

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class HermesHome:
    """The folder of one profile, resolved. ``root`` is the folder of all profiles."""

    path: Path
    root: Path
    profile: str

    @property
    def cron(self) -> Path:
        return self.path / "cron"

    @property
    def jobs_file(self) -> Path:
        return self.cron / "jobs.json"

    @property
    def tick_lock(self) -> Path:
        """What a ticker locks for the length of a tick; a directory there is the fence."""
        return self.cron / ".tick.lock"

    @property
    def executions(self) -> Path:
        """Hermes' own ledger of attempts (0.19 and later)."""
        return self.cron / "executions.db"

    @property
    def gateway_lock(self) -> Path:
        """Locked by the gateway of this profile for as long as it lives."""
        return self.path / "gateway.lock"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def plugin(self) -> Path:
        """The folder plugin that adoption writes."""
        return self.path / "plugins" / "tenure"

    @property
    def tenure(self) -> Path:
        """What Tenure keeps here: the record of the adoption, what to restore, its own copy."""
        return self.path / "tenure"

    @property
    def adoption(self) -> Path:
        return self.tenure / "adoption.json"

    @property
    def sidecar(self) -> Path:
        """Which jobs are protected, by Hermes' job id."""
        return self.tenure / "jobs.json"

    @property
    def command(self) -> str:
        """How a person calls Hermes for this profile."""
        return "hermes" if self.profile == DEFAULT else f"hermes -p {self.profile}"

    @property
    def tenure_profile(self) -> str:
        """The name of the Tenure profile beside it, unless adoption named another."""
        return "hermes" if self.profile == DEFAULT else f"hermes-{self.profile}"


def home_of(path: str | os.PathLike[str]) -> HermesHome:
    """The profile whose folder this is; it need not exist."""
    resolved = Path(expand(os.fspath(path), "hermes-home")).resolve()
    if resolved.parent.name == "profiles":
        return HermesHome(resolved, resolved.parent.parent, resolved.name)
    return HermesHome(resolved, resolved, DEFAULT)


def default_root() -> Path:
    """Where Hermes itself looks: ``HERMES_HOME``, else the folder of the platform."""
    named = os.environ.get("HERMES_HOME", "").strip()
    if named:
        return Path(named)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "").strip()
        return (Path(local) if local else person_home() / "AppData" / "Local") / "hermes"
    return person_home() / ".hermes"


def person_home() -> Path:
    """The home folder as Hermes finds it: ``HOME``, else the passwd entry. Raises InvalidInput
    where neither says."""
    return Path(expand("~", "home"))


def profiles_of(root: Path) -> tuple[HermesHome, ...]:
    """The profiles that exist under a root, the default one first."""
    root = Path(expand(str(root), "hermes-home")).resolve()
    homes = [HermesHome(root, root, DEFAULT)] if root.is_dir() else []
    folder = root / "profiles"
    if folder.is_dir():
        homes += [
            HermesHome(entry.resolve(), root, entry.name)
            for entry in sorted(folder.iterdir())
            if entry.is_dir()
        ]
    return tuple(homes)


def find_home(folder: str | None = None, profile: str | None = None) -> HermesHome:
    """The profile that is meant. ``folder`` is a root or a profile's own folder.

    Raises NotFound, with the profiles that are there.
    """
    start = home_of(folder if folder else default_root())
    if profile is None or profile == start.profile:
        if not start.path.is_dir():
            raise NotFound(
                f"no Hermes home at {start.path}",
                remedy="name it: --hermes-home DIR (Hermes' default is ~/.hermes)",
            )
        return start
    known = {home.profile: home for home in profiles_of(start.root)}
    if profile in known:
        return known[profile]
    near = get_close_matches(profile, known) or sorted(known)[:5]
    existing = f"it has: {', '.join(near)}" if near else "it has none"
    raise NotFound(
        f"{start.root} has no Hermes profile {profile!r}; {existing}",
        remedy="name one of them with --profile, or another root with --hermes-home DIR",
    )
