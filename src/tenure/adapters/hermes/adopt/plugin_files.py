"""The files that adoption writes to a Hermes home: plugin, copy of Tenure, release script.

The copy (``tenure/lib``) has the packages ``tenure`` and ``cronsim`` as they are installed here
and nothing else. So Hermes' environment stays unchanged, and an update of Hermes, which replaces
its environment, does not lose the copy.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tenure import __version__
from tenure.adapters.hermes.back.release import COPIES, MARK
from tenure.adapters.hermes.facts.home import HermesHome

PACKAGES = ("tenure", "cronsim")

_README = """\
This folder belongs to Tenure, which lets only one process run the cron jobs of this Hermes home:
adoption.json records each change, tenure/restore keeps what was there before.

    tenure hermes status {where}
    tenure hermes release {where}

Without Tenure, any Python from 3.9 undoes all of it:

    python3 {script}
"""

_FENCE = """\
{mark}: while it exists, no
ticker of Hermes can open .tick.lock, so none runs a cron job, except in the process that Tenure
has made the owner. If you remove it by hand, every ticker runs jobs again.

    tenure hermes release {where}

Without Tenure, any Python from 3.9 undoes the whole adoption:

    python3 {script}
"""

_PLUGIN = """\
name: tenure
version: "{version}"
description: Only the owner that you named runs the cron jobs; other processes ask it.
author: Tenure
kind: standalone
"""


def shim() -> bytes:
    """The text of the folder plugin, which finds and loads the rest."""
    return (Path(__file__).parents[1] / "inside" / "shim.py").read_bytes()


def plugin_files(shim_source: bytes) -> dict[str, bytes]:
    """Of ``plugins/tenure``, the code before what makes Hermes load it."""
    return {
        "__init__.py": shim_source,
        "plugin.yaml": _PLUGIN.format(version=__version__).encode(),
    }


def way_back() -> dict[str, bytes]:
    """The release script and its siblings."""
    here = Path(__file__).parents[1] / "back"
    return {name: (here / name).read_bytes() for name in COPIES}


def home_files(home: HermesHome) -> dict[str, bytes]:
    """Of ``tenure``, beside the record and the copy."""
    text = _README.format(where=_where(home), script=_quoted(home.tenure / "release.py"))
    return {"README": text.encode(), **way_back()}


def fence_files(home: HermesHome) -> dict[str, bytes]:
    """Of the folder at ``.tick.lock``."""
    script = _quoted(home.tick_lock / "release.py")
    text = _FENCE.format(mark=MARK, where=_where(home), script=script)
    return {"README": text.encode(), **way_back()}


def same_files(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether these files are in a folder, with this content."""
    try:
        return all((folder / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False


def has_plugin(home: HermesHome, shim_source: bytes) -> bool:
    """Whether the plugin's files are there, as they would be written."""
    return not home.plugin.is_symlink() and same_files(home.plugin, plugin_files(shim_source))


def _where(home: HermesHome) -> str:
    return f"--hermes-home {_quoted(home.path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


@dataclass(frozen=True)
class Library:
    """The packages to copy: their files, by where they go."""

    files: dict[str, Path]
    versions: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> str:
        """Of all names and contents."""
        return _digest(self.files)

    @property
    def label(self) -> bytes:
        """The content of ``VERSION``, which identifies a copy."""
        lines = [f"{name} {number}" for name, number in self.versions]
        return "\n".join([*lines, f"sha256 {self.digest}", ""]).encode()

    def is_at(self, folder: Path) -> bool:
        """Whether ``folder`` has exactly these files."""
        try:
            return (folder / "VERSION").read_bytes() == self.label and (
                _digest({name: folder / name for name in self.files}) == self.digest
            )
        except OSError:
            return False


def library(packages: tuple[str, ...] = PACKAGES) -> Library:
    """The packages as they are installed here."""
    files: dict[str, Path] = {}
    for package in packages:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"the package {package} is not installed here")
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            if path.is_file() and path.suffix != ".pyc":
                files[str(Path(package, *parts))] = path
    return Library(files, tuple((name, _version(name)) for name in packages))


def _version(package: str) -> str:
    if package == "tenure":
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _digest(files: dict[str, Path]) -> str:
    whole = hashlib.sha256()
    for name in sorted(files):
        content = hashlib.sha256(files[name].read_bytes()).hexdigest()
        whole.update(f"{content} {name}\n".encode())
    return whole.hexdigest()
