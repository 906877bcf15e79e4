"""Run the tests with real Hermes Agents, several files at a time.

    hermes_tests.py [PYTEST OPTION]...

The tests mostly wait, for ticks that must not happen and for processes to start, so the files run
side by side, each in a pytest of its own. The output of each is printed when it is done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "hermes"
AT_ONCE = min(4, os.cpu_count() or 1)
LONGEST = ("test_adopted_real.py", "test_survey_real.py", "test_adopt_real.py")
"""They start first, so that the others do not finish long before them."""
NOTHING_TO_DO = 5
"""pytest's exit code if the options select no test of a file."""


def run(file: Path, options: list[str]) -> tuple[str, int, float, str]:
    """One file: its name, pytest's exit code, how many seconds it took, what it printed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "hermes",
         str(file), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    return file.name, done.returncode, time.monotonic() - began, done.stdout


def main(options: list[str]) -> int:
    """All of them."""
    files = sorted(FOLDER.glob("test_*.py"), key=lambda f: (f.name not in LONGEST, f.name))
    began = time.monotonic()
    bad = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for end in as_completed([pool.submit(run, file, options) for file in files]):
            name, code, seconds, said = end.result()
            if code == NOTHING_TO_DO:
                continue
            print(f"--- {name}, {seconds:.0f} s\n{said}", flush=True)
            if code:
                bad.append(name)
    print(f"{len(files)} files in {time.monotonic() - began:.0f} s, {AT_ONCE} at a time")
    if bad:
        print(f"failed: {', '.join(sorted(bad))}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
