"""The tests to run while working: no processes, few examples of each property, under a minute.

    quick_tests.py [PYTEST OPTION]...

Two pytests side by side. ``make test`` runs everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HALVES = (("domain", "golden"), ("store", "cli"))
SLOW = "store/test_histories.py"
"""Two stores live the same long random lives: minutes, whatever the number of examples."""


def begin(folders: tuple[str, ...], options: list[str], out: int) -> subprocess.Popen[bytes]:
    paths = [str(ROOT / "tests" / folder) for folder in folders]
    chosen = ["-q", "-p", "no:cacheprovider", "-m", "not real", f"--ignore=tests/{SLOW}"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *chosen, *paths, *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        env={**os.environ, "TENURE_QUICK_TESTS": "1"},
    )


def main(options: list[str]) -> int:
    """Both halves; 0 if each passed."""
    with tempfile.TemporaryFile() as said:
        beside = begin(HALVES[0], options, said.fileno())
        try:
            code = begin(HALVES[1], options, 1).wait()
            code = beside.wait() or code
        finally:
            if beside.poll() is None:
                beside.terminate()
                beside.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
