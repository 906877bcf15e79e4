"""Undo what ``tenure hermes adopt`` did to a Hermes home, from the record that it kept there.

    python3 release.py [HERMES_HOME] [--copied] [--dry-run]

Each adopted home has copies of this file, in ``tenure/`` and in ``cron/.tick.lock/``. They need
the standard library only (Python 3.9 or later) and work when Tenure is gone. After an
interrupted adoption or release it continues from there: the files found decide what to undo, and
the record goes last.

Exit code 0: released, or nothing to release; 1: released, but something had to stay; 3: refused;
75: cut short by the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from tenure.adapters.hermes.back.disk import Disk, lock, unlock
    from tenure.adapters.hermes.back.undo import RECORD, Refusal, Released, ReleaseInProgress, Undo
else:  # pragma: no cover - as a copy, beside its siblings
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from disk import Disk, lock, unlock
    from undo import RECORD, Refusal, Released, ReleaseInProgress, Undo

MARK = "This folder is a fence, put here by Tenure"
"""How the README of a fence begins."""


def release(
    home: str,
    *,
    copied: bool = False,
    dry_run: bool = False,
    disk: Disk | None = None,
    patience: float = 10.0,
) -> Released:
    """Put the Hermes home back. Raises :class:`Refusal`, and OSError where the disk fails.

    ``copied``: also where the record is another folder's, of which this is a copy. ``patience``:
    seconds to wait for a tick that is going on.
    """
    home = os.path.abspath(home)
    with alone(home):
        record = read_record(home)
        if record is not None:
            check_home(home, record, copied)
        known = record is not None
        work = Undo(home, record or _guessed(home), disk or Disk(), known=known, copied=copied)
        if dry_run:
            return Released(done=_words(work))
        with work.nobody_ticks(patience):
            return work.carry_out()


def _words(work: Undo) -> list[str]:
    """What would be done."""
    texts = {
        "fence": "take the fence away: {}",
        "config": "take tenure out of plugins.enabled: {}",
        "wrote": "remove {}",
        "made": "remove {}, if it is empty then",
    }
    steps = [step for step in reversed(work.record["steps"]) if step["kind"] in texts]
    found = [texts[step["kind"]].format(step["path"]) for step in steps]
    folders = [*work.left_over(), *([work.folder] if work.has_folder() else ())]
    return [*found, *(f"remove {folder}" for folder in folders)]


@contextlib.contextmanager
def alone(home: str) -> Iterator[None]:
    """No other adoption or release of this home meanwhile. The lock is on the folder itself."""
    held = lock(home, 0.0)
    if held is None:
        text = f"another adoption or release of {home} is in progress"
        raise ReleaseInProgress(text, "wait until it has ended")
    try:
        yield
    finally:
        unlock(held)


def read_record(home: str) -> dict[str, Any] | None:
    """The record of the adoption; None if there is none. Raises :class:`Refusal`."""
    path = os.path.join(home, "tenure", RECORD)
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        if record["v"] != 1 or not isinstance(record["steps"], list):
            raise ValueError("not of this version")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{path} is damaged: {error}",
            "move it away; what is recognisably Tenure's is then removed",
        ) from error
    return dict(record)


def check_home(home: str, record: dict[str, Any], copied: bool) -> None:
    """Raises :class:`Refusal` if the record is of another folder, unless ``copied``."""
    there = str(record["hermes_home"])
    if copied or os.path.realpath(there) == os.path.realpath(home):
        return
    raise Refusal(
        f"{home} is a copy of {there}, which is the one that was adopted; or that has moved here",
        "to release this folder and no other: add --copied",
    )


def _guessed(home: str) -> dict[str, Any]:
    """Without the record: what is recognisably Tenure's."""
    steps: list[dict[str, Any]] = []
    folder = os.path.join("plugins", "tenure")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(os.path.join(home, folder, "plugin.yaml"), encoding="utf-8") as file:
            mine = "\nname: tenure\n" in f"\n{file.read()}"
        if mine:
            steps.append({"kind": "made", "path": folder})
            steps += [
                {"kind": "wrote", "path": os.path.join(folder, name)}
                for name in ("plugin.yaml", "__init__.py")
            ]
            steps.append({"kind": "config", "path": "config.yaml", "added": []})
    with contextlib.suppress(OSError, UnicodeDecodeError):
        fence = os.path.join(home, "cron", ".tick.lock")
        with open(os.path.join(fence, "README"), encoding="utf-8") as file:
            if file.read().startswith(MARK):
                steps.append({"kind": "fence", "path": "cron/.tick.lock", "was": "absent"})
    return {"v": 1, "hermes_home": home, "steps": steps}


def own_home() -> str | None:
    """The Hermes home in which this copy lies."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for _ in range(3):
        folder = os.path.dirname(folder)
        if os.path.isdir(os.path.join(folder, "cron")) or os.path.isdir(
            os.path.join(folder, "tenure")
        ):
            return folder
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="release.py", description=__doc__.splitlines()[0])
    parser.add_argument("home", nargs="?", help="the Hermes home; by default that of this copy")
    parser.add_argument("--copied", action="store_true", help="release this copy of another home")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    options = parser.parse_args(arguments)
    home = options.home or own_home()
    try:
        if home is None or not os.path.isdir(home):
            raise Refusal(f"no Hermes home at {home}", "name it: release.py HERMES_HOME")
        result = release(home, copied=options.copied, dry_run=options.dry_run)
    except Refusal as error:
        print(f"refused: {error.text}", file=sys.stderr)
        if error.remedy:
            print(f"-> {error.remedy}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"cut short: {error}", file=sys.stderr)
        print("-> put that right, then run this again: it goes on from here", file=sys.stderr)
        return 75
    for line in result.done or ["nothing of Tenure is here"]:
        print(line)
    for line in result.stays:
        print(f"note: {line}", file=sys.stderr)
    if result.done and not options.dry_run:
        print("restart the gateway and the desktop app: the plugin goes with their processes")
    return 1 if result.stays else 0


if __name__ == "__main__":
    sys.exit(main())
