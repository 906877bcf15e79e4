"""Undo what ``tenure hermes adopt`` did to a Hermes home, from the record that it kept there.

    python3 release.py [HERMES_HOME] [--copied] [--dry-run]

Each adopted home has copies of this file, in ``tenure/`` and in ``cron/.tick.lock/``. They need
the standard library only (Python 3.9 or later) and work when Tenure is gone.

Each step of the record is undone, the last one first, and the record goes last. The files found
decide what to undo, not earlier progress: the same code undoes a whole adoption, an interrupted
one, and an interrupted release.

Exit code 0: released, or nothing to release; 1: released, but something had to stay; 3: refused;
75: cut short by the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from tenure.adapters.hermes.back import config_lines
    from tenure.adapters.hermes.back.disk import NEW, Disk, beside, is_file, is_folder, lock, unlock
else:  # pragma: no cover - as a copy, beside its siblings
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import config_lines
    from disk import NEW, Disk, beside, is_file, is_folder, lock, unlock

COPIES = ("release.py", "config_lines.py", "disk.py")
"""The files in the home that release it without Tenure.

They go last and the first of them first: while there is one, it can be run.
"""
RECORD = "adoption.json"
OWN = {
    RECORD, "restore", "lib", "README", "jobs.json", ".sidecar.lock", "tick.lock", *COPIES,
    "undo.py", "yaml_lines.py",
}  # fmt: skip
"""What Tenure keeps in ``<home>/tenure``, the last two by version 0.1. Other files there stay."""
MARK = "This folder is a fence, put here by Tenure"
"""How the README of a fence begins."""
PREPARED, DISCARDED = ".tenure-adopting", ".tenure-released"
"""The folder ``tenure`` before it has its name, and after it has lost it."""


class Refusal(Exception):
    """Nothing was released. ``remedy``: what to type or change."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(f"{text} ({remedy})" if remedy else text)
        self.text = text
        self.remedy = remedy


class ReleaseInProgress(Refusal):
    """Another adoption or release is going on."""


class OwnerTicking(Refusal):
    """The owner is in the middle of a tick."""


@dataclass
class Released:
    """What was undone, and what had to stay, as text."""

    done: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)


class Undo:
    """One release. Not thread-safe; the home is locked meanwhile."""

    def __init__(
        self, home: str, record: dict[str, Any], disk: Disk, *, known: bool, copied: bool
    ) -> None:
        self.home = home
        self.record = record
        self.disk = disk
        self.known = known
        """There is a record; without one it is guessed."""
        self.copied = copied
        self.folder = os.path.join(home, "tenure")
        self.result = Released()

    @contextlib.contextmanager
    def tick_excluded(self, patience: float) -> Iterator[None]:
        """Within this context no tick of the owner runs."""
        path = os.path.join(self.folder, "tick.lock")
        held = None
        if os.path.isfile(path):
            held = lock(path, patience)
            if held is None:
                raise OwnerTicking(
                    f"the gateway has been running a tick for {patience:g} s ({path})",
                    "try again in a minute, or stop the gateway first",
                )
        try:
            yield
        finally:
            if held is not None:
                unlock(held)

    def carry_out(self) -> Released:
        for path in self.left_over():
            self.disk.remove(path, COPIES)
            self.result.done.append(f"removed {path}")
        if self.known and self.record.get("state") != "releasing":
            self._begin()
        undo: dict[str, Callable[[dict[str, Any]], None]] = {
            "fence": self.fence, "config": self.config, "wrote": self.wrote, "made": self.made,
        }  # fmt: skip
        # The fence was put up last, so it is removed first: from then on Hermes ticks as before.
        for step in reversed(self.record["steps"]):
            if self._is_ours(step["path"]):
                undo[step["kind"]](step)
        if self.has_folder():
            self.own_folder()
        return self.result

    def left_over(self) -> list[str]:
        """The folder ``tenure`` under its names before and after the adoption."""
        paths = [os.path.join(self.home, name) for name in (PREPARED, DISCARDED)]
        return [path for path in paths if os.path.lexists(path)]

    def has_folder(self) -> bool:
        """Whether a record exists, or what is left of its folder."""
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return self.known or "release.py" in names or not names

    def _begin(self) -> None:
        self.record["state"] = "releasing"
        content = json.dumps(self.record, indent=1).encode()
        for name in os.listdir(self.folder):
            if name.endswith(NEW):
                self.disk.remove(os.path.join(self.folder, name))
        try:
            self.disk.write(os.path.join(self.folder, RECORD), content)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # On a full disk, what goes anyway makes room for the rest.
            self.disk.remove(os.path.join(self.folder, "lib"))
            self.disk.write(os.path.join(self.folder, RECORD), content)

    def _is_ours(self, path: str) -> bool:
        # In a copy, a link may lead back into the home that stays adopted.
        parent = os.path.dirname(os.path.realpath(os.path.join(self.home, path)))
        inside = os.path.join(parent, "").startswith(os.path.join(os.path.realpath(self.home), ""))
        if self.copied and not inside:
            self.result.stays.append(f"{path} is a link out of this folder; left unchanged")
            return False
        return True

    # -- what was made and written ---------------------------------------------------------------
    def made(self, step: dict[str, Any]) -> None:
        path = os.path.join(self.home, step["path"])
        if not os.path.isdir(path):
            return
        cache = os.path.join(path, "__pycache__")
        if os.path.isdir(cache) and all(name.endswith(".pyc") for name in os.listdir(cache)):
            self.disk.remove(cache)
        rest = sorted(os.listdir(path))
        if not rest:
            self.disk.rmdir(path)
            self.result.done.append(f"removed {step['path']}")
        elif step["path"] != "cron":
            self.result.stays.append(f"kept {step['path']}: it also contains {', '.join(rest[:5])}")

    def wrote(self, step: dict[str, Any]) -> None:
        path = os.path.join(self.home, step["path"])
        self.disk.remove(beside(path))
        if os.path.isfile(path):
            self.disk.unlink(path)
            self.result.done.append(f"removed {step['path']}")

    # -- config.yaml -----------------------------------------------------------------------------
    def config(self, step: dict[str, Any]) -> None:
        path = os.path.realpath(os.path.join(self.home, step["path"]))
        self.disk.remove(beside(path))
        try:
            with open(path, "rb") as file:
                now = file.read()
        except FileNotFoundError:
            return
        digest = hashlib.sha256(now).hexdigest()
        before = step.get("before")
        if digest == step.get("after"):
            if before is None:
                self.disk.unlink(path)
                self.result.done.append(f"removed {step['path']}")
                return
            original = self._saved(before)
            if original is not None:
                self.disk.write(path, original, before["mode"], mtime_ns=before["mtime_ns"])
                self.result.done.append(f"restored {step['path']}, byte for byte")
                return
        if before is None or digest != before["sha256"]:
            self._take_out(path, now, step)

    def _saved(self, before: dict[str, Any]) -> bytes | None:
        with contextlib.suppress(OSError):
            with open(os.path.join(self.folder, "restore", "config.yaml"), "rb") as file:
                content = file.read()
            if hashlib.sha256(content).hexdigest() == before["sha256"]:
                return content
        return None

    def _take_out(self, path: str, now: bytes, step: dict[str, Any]) -> None:
        # The file was changed since it was adopted, so only Tenure's own entry goes.
        name = step["path"]
        try:
            text = now.decode()
            mark = "\ufeff" if text.startswith("\ufeff") else ""
            edited = config_lines.remove(text[len(mark) :], "enabled", tuple(step["added"]))
            edited = mark + edited
            if edited == text:
                return
            why = self._differs(text, edited)
        except (UnicodeDecodeError, config_lines.NotEditable) as error:
            why = str(error)
        if why:
            self.result.stays.append(
                f"{name} could not be edited ({why}): take tenure out of plugins.enabled yourself"
            )
            return
        self.disk.write(path, edited.encode(), stat.S_IMODE(os.stat(path).st_mode))
        self.result.done.append(
            f"took tenure out of {name}, which was changed since it was adopted"
        )

    def _differs(self, before: str, after: str) -> str:
        """What a real parser says against the edit, if there is one to ask."""
        python = self.record.get("hermes_python")
        if not python or not os.path.exists(python):
            return ""
        try:
            answer = config_lines.ask(python, before, after)
        except (OSError, ValueError, subprocess.SubprocessError):
            return ""
        return (
            "" if answer.get("same") else str(answer.get("error", "it would mean something else"))
        )

    # -- the fence -------------------------------------------------------------------------------
    def fence(self, step: dict[str, Any]) -> None:
        """Restore what was at ``.tick.lock``, as the files that exist require."""
        path = os.path.join(self.home, step["path"])
        aside = beside(path)
        saved = os.path.join(self.folder, "restore", "tick.lock")
        had_file = step["was"] != "absent"
        if is_folder(path):
            self._open_fence(path, aside, saved, had_file=had_file)
            self.result.done.append(f"removed the fence: {step['path']}")
        elif not os.path.lexists(path) and had_file:
            places = [place for place in (saved, aside) if is_file(place)]
            if places:
                self.disk.move(places[0], path)
        for left in (aside, beside(aside)):
            self.disk.remove(left, COPIES)

    def _open_fence(self, path: str, aside: str, saved: str, *, had_file: bool) -> None:
        folder = os.path.dirname(path)
        if had_file and is_file(saved):
            self.disk.remove(aside)
            self.disk.move(saved, aside)
        if not had_file or not is_file(aside):
            self.disk.remove(aside)
            self.disk.put_away(path, aside, COPIES)
        elif not self.disk.exchange(aside, path):
            self.disk.remove(beside(aside))
            self.disk.put_away(path, beside(aside), COPIES)
            self.disk.rename(aside, path)
        self.disk.flush(folder)

    # -- the folder itself -------------------------------------------------------------------------
    def own_folder(self) -> None:
        """Remove what Tenure kept: rename the folder, then remove it, the record last."""
        if not os.path.isdir(self.folder):
            return
        protected = self._protected()
        names = sorted(os.listdir(self.folder))
        foreign = [n for n in names if n not in OWN and not n.endswith(NEW) and n != "__pycache__"]
        if not foreign:
            # Renamed, the folder is not an adoption any more, however far its removal gets.
            discarded = os.path.join(self.home, DISCARDED)
            self.disk.put_away(self.folder, discarded, (*COPIES, RECORD))
            self.disk.flush(self.home)
            self.disk.remove(discarded, COPIES)
        else:
            for name in sorted(set(names) - set(foreign), key=lambda name: name == RECORD):
                self.disk.remove(os.path.join(self.folder, name))
            self.result.stays.append(f"kept tenure: it also contains {', '.join(foreign[:5])}")
        self.disk.flush(self.home)
        self.result.done.append("removed Tenure's own files in tenure")
        if protected:
            self.result.done.append(f"removed the list of protected jobs: {', '.join(protected)}")

    def _protected(self) -> list[str]:
        try:
            with open(os.path.join(self.folder, "jobs.json"), encoding="utf-8") as file:
                return sorted(json.load(file)["protected"])
        except (OSError, ValueError, KeyError, TypeError):
            return []


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
        with work.tick_excluded(patience):
            return work.carry_out()


def _words(work: Undo) -> list[str]:
    """What would be done."""
    texts = {
        "fence": "remove the fence: {}",
        "config": "take tenure out of plugins.enabled: {}",
        "wrote": "remove {}",
        "made": "remove {}, if it is empty then",
    }
    steps = [step for step in reversed(work.record["steps"]) if step["kind"] in texts]
    lines = [texts[step["kind"]].format(step["path"]) for step in steps]
    folders = [*work.left_over(), *([work.folder] if work.has_folder() else ())]
    return [*lines, *(f"remove {folder}" for folder in folders)]


@contextlib.contextmanager
def alone(home: str) -> Iterator[None]:
    """Exclude other adoptions and releases of this home, by a lock on its folder."""
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
    original = str(record["hermes_home"])
    if copied or os.path.realpath(original) == os.path.realpath(home):
        return
    raise Refusal(
        f"{home} is a copy of the adopted home {original}, or that home has moved here",
        "to release this folder and not the other: add --copied",
    )


def _guessed(home: str) -> dict[str, Any]:
    """The steps without a record: what is recognisably Tenure's."""
    steps: list[dict[str, Any]] = []
    folder = os.path.join("plugins", "tenure")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(os.path.join(home, folder, "plugin.yaml"), encoding="utf-8") as file:
            own = "\nname: tenure\n" in f"\n{file.read()}"
        if own:
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
    """The Hermes home that contains this copy."""
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
        print(f"interrupted: {error}", file=sys.stderr)
        print("-> fix the cause, then run this again: it continues from here", file=sys.stderr)
        return 75
    for line in result.done or ["no files of Tenure found here"]:
        print(line)
    for line in result.stays:
        print(f"note: {line}", file=sys.stderr)
    if result.done and not options.dry_run:
        print(
            "restart the gateway and the desktop app: running processes keep the plugin until then"
        )
    return 1 if result.stays else 0


if __name__ == "__main__":
    sys.exit(main())
