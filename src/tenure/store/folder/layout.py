"""The folder of a profile: its path, its owner, and whether it may hold a profile.

::

    $TENURE_HOME/profiles/<name>/   0700, of the user who runs us, on a local file system
        profile.toml                the user's (policy_file reads it)
        profile.id                  ours: which profile this is (profile_id)
        profile.mark                ours: how many commits the store has reached
        tenure.db                   the store
        live/<process id>           a lock held for life by each process
        logs/<run id>/              output

One folder is one profile however it is spelt: paths are resolved, and :attr:`ProfileFolder.key`
(device and inode) is the same through symbolic links and bind mounts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import InvalidInput, NotFound, Refused
from tenure.store.folder.file_system import check_file_system
from tenure.store.folder.user_home import default_home, user_home

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def home(argument: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    """The home in effect: ``--home``, else ``TENURE_HOME``, else :func:`default_home`.

    A ``~`` that no shell has replaced is this user's home folder. Raises :class:`InvalidInput` for
    an empty argument, a relative ``TENURE_HOME``, which would be another home in each folder, and a
    user without any home folder.
    """
    if argument is not None:
        said = os.fsdecode(argument)
        if not said or "\0" in said:
            raise InvalidInput("must not be empty or hold a NUL character", field="home")
        if said == "~" or said.startswith("~/"):
            said = f"{user_home(environ)}{said[1:]}"
        return Path(os.path.abspath(said))
    said = environ.get("TENURE_HOME", "")
    if not said:
        return default_home(environ)
    if not os.path.isabs(said):
        raise InvalidInput(f'"{said}" is not a full path', field="TENURE_HOME")
    return Path(said)


def check_name(name: object) -> str:
    """``name`` if a profile can have it. Raises :class:`InvalidInput`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{str(name)[:80]!r} is not a valid profile name",
            field="profile",
            remedy="use lower-case letters, digits, - and _, at most 64, a letter or digit first",
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFolder:
    """An existing folder of ours, checked when it was opened. All paths are resolved."""

    name: str
    home: Path
    path: Path
    key: tuple[int, int]
    """Device and inode: equal for every spelling of one folder, while it is mounted."""

    @property
    def database(self) -> Path:
        return self.path / "tenure.db"

    @property
    def toml(self) -> Path:
        return self.path / "profile.toml"

    @property
    def id_file(self) -> Path:
        return self.path / "profile.id"

    @property
    def live(self) -> Path:
        return self.path / "live"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @classmethod
    def open(cls, name: str, home: Path, *, create: bool = False) -> ProfileFolder:
        """The folder of profile ``name`` under ``home``; ``create`` makes what is missing.

        Opening tightens a folder of ours to 0700. Raises :class:`InvalidInput` for the name,
        :class:`NotFound` where the folder is missing, and :class:`Refused` where it is another
        user's, lies on a network, user-space or synced file system, or cannot be used.
        """
        check_name(name)
        place = home / "profiles" / name
        if not create and not _is_folder(place):
            raise NotFound(
                f"profile {name} does not exist in {home}",
                remedy="`tenure profile list` shows them; `tenure add` and `tenure serve` "
                "create one",
                profile=name,
            )
        check_file_system(place)
        if create:
            _make(home, place)
        real = Path(os.path.realpath(place))
        status = _private(real)
        if create:
            for folder in (real / "live", real / "logs"):
                _mkdir(folder)
        profiles = Path(os.path.realpath(home / "profiles"))
        if real.parent == profiles and _NAME.fullmatch(real.name):
            # A link to a sibling is that sibling.
            name = real.name
        return cls(
            name=name,
            home=Path(os.path.realpath(home)),
            path=real,
            key=(status.st_dev, status.st_ino),
        )

    def is_current(self) -> bool:
        """Whether the folder that was opened is still the one at its path."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.key


def list_profiles(home: Path) -> list[str]:
    """The names of the profiles under ``home``, sorted; [] where the home is missing.

    Raises :class:`Refused` if the home cannot be read.
    """
    try:
        with os.scandir(home / "profiles") as entries:
            return sorted(e.name for e in entries if _NAME.fullmatch(e.name) and e.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as e:
        raise _unusable(home / "profiles", e) from e


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as e:
        raise _unusable(path, e) from e


def _make(home: Path, place: Path) -> None:
    # Each of ours on the way is created private; folders above the home are not ours to make
    # private, and one that exists is left as it is.
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _unusable(home.parent, e) from e
    for folder in (home, home / "profiles", place):
        _mkdir(folder)
        owner = os.stat(folder).st_uid
        if owner not in (os.geteuid(), 0):
            raise _foreign(folder, owner)


def _mkdir(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        raise _unusable(folder, e) from e


def _private(folder: Path) -> os.stat_result:
    """The folder's status, after making sure that only this user can enter it."""
    try:
        status = os.stat(folder)
        if status.st_uid != os.geteuid():
            raise _foreign(folder, status.st_uid)
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.chmod(folder, 0o700)
            status = os.stat(folder)
    except OSError as e:
        raise _unusable(folder, e) from e
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise Refused(
            f"{folder} stays open to other users: its file system keeps no modes",
            remedy="keep the profile on a disk of this machine: --home DIR, or TENURE_HOME",
            path=str(folder),
        )
    return status


def _foreign(folder: Path, owner: int) -> Refused:
    return Refused(
        f"{folder} belongs to uid {owner}, and this process runs as uid {os.geteuid()}",
        remedy="run as that user, or use a home of your own: --home DIR, or TENURE_HOME",
        path=str(folder),
        owner=owner,
    )


def _unusable(folder: Path, error: OSError) -> Refused:
    return Refused(
        f"{folder} cannot be used: {error.strerror or error}",
        remedy="see that it is a folder that this user can write, or use another: --home DIR, or "
        "TENURE_HOME",
        path=str(folder),
    )
