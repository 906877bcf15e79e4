"""Run a suite of tests, several pytests at a time.

    run_tests.py all|quick|hermes [PYTEST OPTION]...
    run_tests.py all|quick|hermes FILE [PYTEST OPTION]...

Each folder of tests has a pytest of its own (each file, with a real Hermes), because many tests
wait for processes and clocks. What a pytest prints comes when it ends. With a file there is one
pytest only.

``all`` also measures line and branch coverage: domain/, audit/ and store/ must reach 95 percent by
the tests of their own folders.
``quick`` starts no process and draws few examples of each property.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
COVERING = ("domain", "store", "contract")
"""The folders that measure coverage: it makes a test two to three times as slow."""
NO_TESTS_SELECTED = 5
"""pytest's exit code if the options select no test."""
PARALLEL_FILES = min(2, os.cpu_count() or 1)
"""A test with a real Hermes starts up to six heavy processes."""


@dataclass(frozen=True)
class Suite:
    marks: str
    parallel: int
    parts: tuple[str, ...]
    """Folders or files below tests/, each for one pytest; the longest first, so that the last to
    end is a short one."""
    options: tuple[str, ...] = ()
    covering: tuple[str, ...] = ()


def folders(*longest_first: str) -> tuple[str, ...]:
    """Every folder with tests, but those that have a suite of their own."""
    names = {path.parent.name for path in TESTS.glob("*/test_*.py")} - {"hermes", "browser"}
    return (*longest_first, *sorted(names - {*longest_first}))


def hermes_files(*longest_first: str) -> tuple[str, ...]:
    names = {path.name for path in (TESTS / "hermes").glob("test_*.py")}
    files = (*longest_first, *sorted(names - {*longest_first}))
    return tuple(f"hermes/{name}" for name in files)


SUITES = {
    "all": Suite(
        marks="not hermes and not browser",
        parallel=4,
        parts=folders("integrations", "real", "web", "adapters", "store", "library", "scenario"),
        covering=COVERING,
    ),
    "quick": Suite(
        marks="not real",
        parallel=4,
        parts=("domain", "cli", "store", "golden"),
        # Two stores live the same long random lives: minutes, whatever the number of examples.
        options=("--ignore=tests/store/test_histories.py",),
    ),
    "hermes": Suite(
        marks="hermes",
        parallel=PARALLEL_FILES,
        parts=hermes_files("test_adopted_real.py", "test_survey_real.py", "test_adopt_real.py"),
    ),
}


@dataclass(frozen=True)
class Ended:
    name: str
    code: int
    seconds: float
    output: bytes


def run_pytest(suite: Suite, name: str, options: list[str]) -> Ended:
    began = time.monotonic()
    coverage = ["-m", "coverage", "run"] if name in suite.covering else []
    done = subprocess.run(
        [sys.executable, *coverage, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "-m", suite.marks, *suite.options, *options],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    return Ended(name, done.returncode, time.monotonic() - began, done.stdout)


def run_parts(suite: Suite, options: list[str]) -> Iterator[Ended]:
    """Each pytest as it ends."""
    if any((ROOT / option.partition("::")[0]).exists() for option in options):
        yield run_pytest(suite, "chosen", options)
        return
    with ThreadPoolExecutor(suite.parallel) as pool:
        running = [
            pool.submit(run_pytest, suite, part, [f"tests/{part}", *options])
            for part in suite.parts
        ]
        try:
            for future in as_completed(running):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def coverage(*arguments: str) -> int:
    return subprocess.call([sys.executable, "-m", "coverage", *arguments], cwd=ROOT)


def main(name: str, *options: str) -> int:
    """0 if each pytest passed, and enough is covered."""
    suite = SUITES[name]
    if name == "quick":
        os.environ["TENURE_QUICK_TESTS"] = "1"
    for old in ROOT.glob(".coverage*") if suite.covering else ():
        old.unlink()
    began = time.monotonic()
    codes: dict[str, int] = {}
    for ended in run_parts(suite, list(options)):
        codes[ended.name] = ended.code
        if ended.code != NO_TESTS_SELECTED:
            print(f"--- {ended.name}, {ended.seconds:.0f} s", flush=True)
            sys.stdout.buffer.write(ended.output)
            sys.stdout.flush()
    failed = [part for part, code in codes.items() if code not in (0, NO_TESTS_SELECTED)]
    if set(codes.values()) == {NO_TESTS_SELECTED}:
        failed.append("no test was selected")
    if codes.keys() >= {*suite.covering} != set():
        coverage("combine", "-q")
        if coverage("report", "--skip-covered", "--fail-under=95"):
            failed.append("coverage")
    print(f"{name}: {len(codes)} pytests in {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in SUITES:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
