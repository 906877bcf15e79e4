"""Processes for pictures: a container's worth of them, so that the chain drawn is theirs alone.

Where this may make namespaces (Linux, root), pid 1 is a copy of the shell called ``init``, and
/srv/agent is the stage's folder; elsewhere the processes are started plainly, below whatever runs
the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from webworld import COMING_UP, DASHBOARD, TENURE, link_of, now
from yesterday import PROGRAMS

from tenure.runtime.profile import Profile
from waiting import eventually

PLACE = Path("/srv/agent")
PROFILE = "la"
TOML = """timezone = "UTC"

[env]
PATH = "{place}/bin:/usr/bin:/bin"

[[owner]]
executable = "{place}/bin/gateway-launcher"

[[owner]]
executable = "/opt/Desktop.app"
after = "5m"
"""
_BEGIN = """
mount -t tmpfs none /srv && mkdir /srv/agent && mount --bind "$1" /srv/agent || exit 9
exec /srv/agent/bin/init -c "$2"
"""


class Stage:
    """A home with one profile, its gateway and its dashboard. Close it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "tenure"
        for name in ("init", "gateway-launcher"):
            _copy_of_shell(folder / "bin" / name)
        for name in PROGRAMS:
            program = folder / "bin" / name
            program.write_text("#!/bin/sh\necho done\n")
            program.chmod(0o755)
        self.contained = _may_contain(folder)
        self.place = PLACE if self.contained else folder
        self.profile = Profile.open(PROFILE, home=self.home, create=True, now=now())
        self.profile.folder.toml.write_text(TOML.format(place=self.place))
        self.log = folder / "printed.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def begin(self) -> str:
        """Start the gateway and the dashboard; the dashboard's link."""
        place, home = self.place, self.place / "tenure"
        gateway = f"{TENURE} serve --role gateway --home {home} --profile {PROFILE}"
        dashboard = f"{' '.join(DASHBOARD)} --port 0 --home {home}"
        script = f"{place}/bin/gateway-launcher -c '{gateway}; exit $?' & {dashboard} & wait; wait"
        plain = ["/bin/sh", "-c", script]
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c"]
        argv = [*inside, _BEGIN, "sh", str(self.folder), script] if self.contained else plain
        with open(self.log, "wb") as out:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=_plain_environment(),
            )  # fmt: skip
        self._processes.append(process)

        def printed() -> tuple[str, int] | None:  # the home as it is called out here
            return link_of(self.said().replace(str(home), str(self.home)))

        found = eventually(printed, "the link", COMING_UP)
        assert found is not None
        eventually(lambda: self.profile.store.ownership().process, "an owner", COMING_UP)
        return found[0]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill_gateway(self) -> None:
        """kill -9."""
        below = _descendants(self._processes[-1].pid)
        (pid,) = (p for p in below if _words(p)[2:3] == ["serve"])
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.profile.close()


def _descendants(pid: int) -> list[int]:
    """Those that ended meanwhile have none."""
    children: list[str] = []
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, children) for each in (child, *_descendants(child))]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # it has ended
        return []


def _plain_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("TENURE_", "COVERAGE_"))}


def _copy_of_shell(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(os.path.realpath("/bin/sh"), target)
    target.chmod(0o755)


def _may_contain(folder: Path) -> bool:
    """Whether namespaces can be made here, and what is in them runs."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "/bin/sh", "-c", _BEGIN, "sh"]
    try:
        done = subprocess.run([*words, str(folder), "exit 7"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 7
