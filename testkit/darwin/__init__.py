"""A stand-in for macOS: child processes on Linux in which Tenure runs its code for Darwin.

Three parts: ``kernel.c`` answers the C calls, ``disguise/`` makes the interpreter look like
Darwin's, ``launchctl.py`` prints what launchd's tool prints. What fails here very likely fails on
a Mac; what passes here may still fail there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
TERMINAL = "900:application.com.apple.Terminal.1152921500311879701.1152921500311879706"
"""The coalition of a process in a Terminal window."""


def why_unavailable() -> str | None:
    """Why the stand-in cannot be had on this machine; None where it can."""
    if sys.platform != "linux":
        return "the stand-in for macOS is built on Linux's /proc"
    if shutil.which("cc") is None:
        return "the stand-in for macOS needs a C compiler (cc)"
    return None


def build(folder: Path) -> Path:
    """The library of C calls, compiled. Raises CalledProcessError, with the compiler's words."""
    library = folder / "libdarwin.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "kernel.c"), "-ldl"]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    return library


class Darwin:
    """One imitated Mac: the environment of its processes, and its launchd."""

    def __init__(self, library: Path, folder: Path) -> None:
        """``folder``: an empty one, for the state of launchd and the record of calls."""
        self.library = library
        self._launchd = folder / "launchd.json"
        self._log = folder / "calls.log"
        self.launchd()

    def environ(
        self,
        base: Mapping[str, str] | None = None,
        *,
        coalition: str = TERMINAL,
        signature: str = "adhoc",
        **more: str,
    ) -> dict[str, str]:
        """The environment of a child process; ``base``: by default this process's own."""
        kept = os.environ if base is None else base
        return {
            **{name: value for name, value in kept.items() if name != "XDG_RUNTIME_DIR"},
            "LD_PRELOAD": str(self.library),
            "PYTHONPATH": str(HERE / "disguise"),
            "DARWIN_DISGUISE": "1",
            "DARWIN_COALITION": coalition,
            "DARWIN_SIGNATURE": signature,
            "DARWIN_LAUNCHD": str(self._launchd),
            "DARWIN_LOG": str(self._log),
            **more,
        }

    def launchd(
        self, *, fail: int = 0, delay_s: float = 0, jobs: Mapping[str, int] | None = None
    ) -> None:
        """How launchctl answers from here on: the next ``fail`` calls not (-1: none), each after
        ``delay_s``; ``jobs``: the loaded services and the pids of their processes."""
        state = {"fail": fail, "delay_s": delay_s, "jobs": dict(jobs or {})}
        beside = self._launchd.with_suffix(".next")
        beside.write_text(json.dumps(state))
        beside.replace(self._launchd)

    def calls(self, beginning: str = "launchctl") -> list[str]:
        """What the processes did that begins with this word: ``launchctl``, ``touched`` (of
        Linux's /proc), ``closed`` (another file's descriptor)."""
        text = self._log.read_text() if self._log.exists() else ""
        return [line for line in text.splitlines() if line.startswith(beginning)]
