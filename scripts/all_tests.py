"""The test suite with line and branch coverage, five pytests side by side.

    all_tests.py [PYTEST OPTION OR FILE]...

Tests that start processes wait most of their time, so they run beside the others, in pytests of
their own; those of the stores compute for minutes, and begin at once. What they print comes once
all are done. With options or files there is one pytest only. domain/, audit/ and store/ must reach
95 percent. What needs a real Hermes or a browser is left out: ``make test-hermes``,
``make test-browser``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
BESIDE = (("real", "scenario"), ("store",), ("integrations",), ("library", "web"))
"""Folders of tests that take their time; each group in a pytest of its own."""
ELSEWHERE = ("hermes", "browser")
COVERED = "src/tenure/domain/*,src/tenure/audit/*,src/tenure/store/*"


def pytest(arguments: list[str]) -> list[str]:
    left_out = "not hermes and not browser"
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", left_out, *arguments]
    return [sys.executable, "-m", "coverage", "run", *chosen]


@dataclass
class Beside:
    """A pytest that runs beside the first; what it says is kept."""

    names: tuple[str, ...]
    said: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        folders = [str(ROOT / "tests" / name) for name in self.names]
        self.process = subprocess.Popen(
            pytest(folders), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said
        )

    def wait(self) -> int:
        """Its exit code, once it has ended and what it said was printed."""
        code = self.process.wait()
        took = time.monotonic() - self.began
        print(f"--- {', '.join(self.names)}, seen to end after {took:.0f} s:", flush=True)
        self.said.seek(0)
        sys.stdout.buffer.write(self.said.read())
        sys.stdout.flush()
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def side_by_side() -> int:
    """All of them; 0 if each passed."""
    waiting = {name for names in BESIDE for name in names}
    folders = [f for f in sorted((ROOT / "tests").iterdir()) if any(f.glob("test_*.py"))]
    others = [str(f) for f in folders if f.name not in {*waiting, *ELSEWHERE}]
    began = time.monotonic()
    beside: list[Beside] = []
    try:
        beside += [Beside(names) for names in BESIDE]
        code = subprocess.call(pytest(others), cwd=ROOT, stdin=subprocess.DEVNULL)
        for one in beside:
            code = one.wait() or code
    finally:
        for one in beside:
            one.end()
    print(f"all of it took {time.monotonic() - began:.0f} s")
    return code


def coverage(*arguments: str) -> int:
    return subprocess.call([sys.executable, "-m", "coverage", *arguments], cwd=ROOT)


def main(arguments: list[str]) -> int:
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    code = subprocess.call(pytest(arguments), cwd=ROOT) if arguments else side_by_side()
    combined = coverage("combine", "-q")
    enough = coverage("report", f"--include={COVERED}", "--skip-covered", "--fail-under=95")
    return code or combined or enough


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
