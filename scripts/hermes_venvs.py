"""Virtual environments with real Hermes Agents, one for each version, kept between runs.

    hermes_venvs.py [VERSION]...

Their folder is ``$TENURE_HERMES_CACHE``, else ``$XDG_CACHE_HOME/tenure-tests``, else
``~/.cache/tenure-tests``. A file ``.complete``, written last, marks a usable environment; without
it the installation was interrupted and is repeated. A virtual environment cannot be moved, so it is
not built elsewhere and renamed. Concurrent runs wait for each other, and also for a pip that
outlived the run that started it.

Exit code 0: each version is installed, or the registry does not have it or cannot be reached; the
reason is then in ``hermes-VERSION.absent`` and is printed, and the tests skip with it. 1: the
registry has it, but the installation failed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSIONS = ("0.19.0", "0.18.2", "0.16.0")
RECIPE = "1\n"
"""The content of ``.complete``; a change of it reinstalls all versions."""
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError"
    r"|Failed to establish a new connection|Connection (aborted|refused|reset)"
    r"|Could not fetch URL|Max retries exceeded"
)
_NOT_THERE = re.compile(r"No matching distribution found for hermes-agent==")


def cache() -> Path:
    """The folder of all environments."""
    if named := os.environ.get("TENURE_HERMES_CACHE"):
        return Path(named).expanduser().resolve()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").resolve() / "tenure-tests"


def folder_of(version: str) -> Path:
    """The path of a version's virtual environment, whether or not it exists."""
    return cache() / f"hermes-{version}"


def is_complete(folder: Path) -> bool:
    """Whether the environment is usable."""
    stamp = folder / ".complete"
    return stamp.is_file() and stamp.read_text() == RECIPE


def why_absent(version: str) -> str | None:
    """The reason of the last failed installation; None if the version is installed."""
    if is_complete(folder_of(version)):
        return None
    note = cache() / f"hermes-{version}.absent"
    if note.is_file():
        return note.read_text().strip()
    return f"hermes-agent {version} is not installed for the tests; type: make hermes"


@contextlib.contextmanager
def _alone(version: str) -> Iterator[int]:
    """The lock's descriptor: a process that inherits it keeps the lock."""
    with open(cache() / f"hermes-{version}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def make(version: str) -> bool:
    """Install the version if it is missing. False if that failed although the registry has it."""
    folder = folder_of(version)
    with _alone(version) as lock:
        if is_complete(folder):
            print(f"hermes-agent {version}: {folder}")
            return True
        shutil.rmtree(folder, ignore_errors=True)
        note = cache() / f"hermes-{version}.absent"
        note.unlink(missing_ok=True)
        done = _install(version, folder, lock)
        if done.returncode == 0:
            (folder / ".complete").write_text(RECIPE)
            print(f"hermes-agent {version}: installed in {folder}")
            return True
        shutil.rmtree(folder, ignore_errors=True)
        said = done.stdout + done.stderr
        if reason := _why_not(version, said):
            note.write_text(reason + "\n")
            print(f"{reason}; the tests that need it are skipped", file=sys.stderr)
            return True
    print(f"{said}\nhermes-agent {version} could not be installed", file=sys.stderr)
    return False


def _why_not(version: str, said: str) -> str | None:
    """The reason, if the registry is the cause; else None."""
    if _UNREACHABLE.search(said):
        return f"hermes-agent {version} cannot be installed: the package index cannot be reached"
    if _NOT_THERE.search(said):
        python = ".".join(map(str, sys.version_info[:2]))
        return f"pip finds no hermes-agent {version} for Python {python} in its package index"
    return None


def _install(version: str, folder: Path, lock: int) -> subprocess.CompletedProcess[str]:
    made = _run([sys.executable, "-m", "venv", str(folder)], lock)
    if made.returncode:
        return made
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The gateway's API server needs aiohttp, which Hermes would install by itself at some start.
    return _run([*pip, f"hermes-agent=={version}", "aiohttp"], lock)


def _run(argv: list[str], lock: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, pass_fds=[lock],
    )  # fmt: skip


def main(versions: list[str]) -> int:
    """All of them at once."""
    cache().mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=len(VERSIONS)) as pool:
        return 0 if all(list(pool.map(make, versions or VERSIONS))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
