"""``python -m benchmarks``: measure, print the table, write results.md and results.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.earlier import earlier
from benchmarks.harness import run_all
from benchmarks.measurements import NAMES, load

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chosen = [load(name) for name in NAMES if not options.only or name in options.only]
    repeats = options.repeats or (2 if options.quick else 5)
    scale = "tiny" if options.tiny else "full"
    with tempfile.TemporaryDirectory(prefix="tenure-bench-", dir=options.folder) as made:
        folder = Path(made)
        facts = machine.facts(folder)
        began, at = time.monotonic(), datetime.now(UTC)
        results = run_all(
            chosen,
            repeats=repeats,
            scale=scale,
            folder=folder,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    run: dict[str, Any] = {
        "at": at.isoformat(timespec="seconds"),
        "repeats": repeats,
        "scale": scale,
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.only:
        kept = earlier(options.out / "results.json", leaving_out=options.only)
        results = kept.samples | results
        chosen = [load(name) for name in NAMES if any(name == n for n, _ in results)]
        run["kept"] = kept.names
    page = report.markdown(chosen, results, facts, run)
    document = report.document(chosen, results, facts, run)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(page, encoding="utf-8")
    (options.out / "results.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(page)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, help="runs of each side (5; 2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="two repeats")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: tests the harness only")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--out", type=Path, default=HERE, help="where the results go")
    parser.add_argument("--folder", type=Path, help="where the databases lie while measuring")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
