"""How the kernel denies the desktop chain one file, as macOS's TCC would.

Landlock where there is one: no privilege needed. Else, for root only, a file of a supplementary
group that the desktop chain is not in, with all processes under an ordinary uid. Else nothing:
then the scenario goes on without the file, and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scenario import landlock

_UID, _GROUP = 65534, 64999
_CONFINE = (sys.executable, str(Path(__file__).resolve().parent / "confine.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The words before a program's name that start it in each chain."""

    words: str
    works: bool = True
    group: bool = False
    desktop: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()

    def prepare(self, folder: Path) -> Denial:
        """Make the protected folder with its file."""
        folder.mkdir(mode=0o700)
        (folder / "mail").write_text("From: a sender\n")
        if self.group:
            os.seteuid(0)
            for path in (folder, folder / "mail"):
                os.chown(path, 0, _GROUP)
                path.chmod(0o750)
            os.seteuid(_UID)
        if self.desktop[2:3] != ("--deny",):
            return self
        return Denial(words=self.words, desktop=(*_CONFINE, "--deny", str(folder), "--"))

    def over(self) -> None:
        """Be who we were."""
        if self.group:
            os.seteuid(0)
            os.setegid(0)


def choose() -> Denial:
    """The best that this machine has. Without Landlock root acts as another until it is over."""
    wanted = os.environ.get("SCENARIO_STAND_IN", "landlock")
    if wanted == "landlock" and landlock.available():
        return Denial(words="Landlock", desktop=(*_CONFINE, "--deny", "?", "--"))
    if wanted != "none" and os.geteuid() == 0:
        uid = (*_CONFINE, "--uid", str(_UID))
        gateway, others = (*uid, "--groups", str(_GROUP), "--"), (*uid, "--")
        tried = subprocess.run(
            [*gateway, sys.executable, sys.executable, "-c", "import tenure"],
            check=False, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        if tried.returncode == 0:
            os.setegid(_UID)
            os.seteuid(_UID)
            return Denial(
                words="a supplementary group", group=True,
                desktop=others, gateway=gateway, shell=others,
            )  # fmt: skip
    return Denial(words="nothing", works=False)
