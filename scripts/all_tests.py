"""The test suite with line and branch coverage, two pytests side by side.

    all_tests.py [PYTEST OPTION OR FILE]...

Tests that start processes wait most of their time, so they run beside the others, in a pytest of
their own; what that one said is printed when both are done. With options or files there is one
pytest only. domain/ and store/ must reach 95 percent. What needs a real Hermes or a
browser is left out: ``make test-hermes``, ``make test-browser``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAITING = ("real", "scenario", "integrations", "library", "web")
"""Folders of tests whose processes take their time."""
ELSEWHERE = ("hermes", "browser")
COVERED = "src/tenure/domain/*,src/tenure/store/*"


def pytest(arguments: list[str]) -> list[str]:
    left_out = "not hermes and not browser"
    chosen = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", left_out, *arguments]
    return [sys.executable, "-m", "coverage", "run", *chosen]


def side_by_side() -> int:
    """Both halves; 0 if both passed."""
    folders = [f for f in sorted((ROOT / "tests").iterdir()) if any(f.glob("test_*.py"))]
    folders = [f for f in folders if f.name not in ELSEWHERE]
    waiting = [str(f) for f in folders if f.name in WAITING]
    others = [str(f) for f in folders if f.name not in WAITING]
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen(
            pytest(waiting), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            code = subprocess.call(pytest(others), cwd=ROOT, stdin=subprocess.DEVNULL)
            print(f"--- beside them, after {time.monotonic() - began:.0f} s:", flush=True)
            code = beside.wait() or code
        finally:
            if beside.poll() is None:
                beside.terminate()
                beside.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
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
