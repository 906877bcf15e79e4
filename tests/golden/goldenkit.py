"""Golden files: the comparison, the normaliser, a stopped clock.

``TENURE_GOLDEN=write`` renews the files.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import os
import pkgutil
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure.host import processes

HERE = Path(__file__).parent
OLD = HERE / "old_profile" / "default"
NOW = datetime(2026, 3, 28, 20, 10, tzinfo=UTC)
"""Ten minutes after the end of the old profile; its zone's clocks go forward that night."""
WRITE = os.environ.get("TENURE_GOLDEN") == "write"


# -- the clock -----------------------------------------------------------------------------------
class Clock:
    """The wall clock moves only when a test moves it; the others are the machine's."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def awake(self) -> float:
        return _clock_gettime("CLOCK_MONOTONIC")

    def continuous(self) -> float:
        return _clock_gettime("CLOCK_BOOTTIME")


def _clock_gettime(name: str) -> float:
    import time

    return time.clock_gettime(getattr(time, name))


@contextlib.contextmanager
def stopped_clock() -> Iterator[Clock]:
    """``datetime.now`` says the clock's time in all of Tenure and in the tests' kits, and what is
    observed of a process is the same on every machine."""
    clock = Clock()

    class Real(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Stopped(datetime, metaclass=Real):
        def __new__(cls, *parts: Any, **more: Any) -> Any:
            return datetime(*parts, **more)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return clock.at.astimezone(tz)

    _import_all()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            ours = name.partition(".")[0] in ("tenure", "clikit", "answering")
            if ours and vars(module).get("datetime") is datetime:
                patch.setattr(module, "datetime", Stopped)
        platform = processes._platform
        patch.setattr(platform, "observe", partial(_observe, platform.observe))
        yield clock


def _observe(observe: Callable[..., Any], *process: Any) -> Any:
    """The true identity and user id, and a machine that never was for the rest."""
    seen = observe(*process)
    program = "/usr/bin/python3.11"
    first = replace(
        seen.chain[0], name="python3.11", executable=program, started_at=NOW - timedelta(hours=1)
    )
    return replace(
        seen, started_at=first.started_at, host="0123456789abcdef", hostname="atlas", user="ada",
        groups=(4242,), executable=program, executable_as_run=None, service=None,
        cgroup="/user.slice", init=False, session=4242, confinement=(), locks=(), chain=(first,),
        unknown=frozenset(),
    )  # fmt: skip


def _import_all() -> None:
    """What verbs import when they are used would come after the clock was stopped."""
    for found in pkgutil.walk_packages(tenure.__path__, "tenure.", onerror=lambda _: None):
        if not re.search(r"pyinstaller|django|plugin|__main__|inside", found.name):
            importlib.import_module(found.name)


# -- what varies ---------------------------------------------------------------------------------
def _machine_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text().strip()
    return ""


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


_IDS = re.compile(r"(?<![0-9a-zA-Z])([jpqr])([0-9a-hjkmnp-tv-z]{18})(?![0-9a-zA-Z])")
_UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KEYS = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{32}(?![0-9a-zA-Z])")
_INSTANTS = re.compile(r"(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d\.\d{6}Z")
_KINDS = {"j": "job", "p": "process", "q": "request", "r": "run"}


def _is_today(date: str) -> bool:
    """By the machine's clock. The stopped clock is months before it."""
    return abs(datetime.fromisoformat(date).date() - datetime.now(UTC).date()).days <= 1


class Normaliser:
    """Replaces what differs between two machines, users or moments; equal things stay equal."""

    def __init__(self, home: Path) -> None:
        self._seen: dict[str, dict[str, str]] = {}
        user, uid, pid = _user(), os.getuid(), os.getpid()
        self._user, self._uid, self._pid = user, uid, pid
        self._texts = [
            (re.escape(str(home)), "<home>"),
            (re.escape(_boot_id()), "<boot>"),
            (rf"\bada \({uid}\)", "ada (<uid>)"),
            (rf"\b{re.escape(user)}, pid {pid}\b", "<user>, pid <pid>"),
            (rf"\bpid {pid}\b", "pid <pid>"),
        ]
        if machine := _machine_id():
            self._texts.append((re.escape(machine), "<machine>"))

    def json(self, text: str, **written: Any) -> str:
        """JSON text as golden files have it: indented. ``written``: how it was; this is checked."""
        tree = json.loads(text)
        again = json.dumps(tree, ensure_ascii=False, **written)
        assert text.rstrip("\n") == again, "the document is not written as all others are"
        return self.text(json.dumps(self._tree(tree), ensure_ascii=False, indent=2) + "\n")

    def text(self, text: str) -> str:
        for pattern, instead in self._texts:
            text = re.sub(pattern, instead, text)
        text = _IDS.sub(lambda found: self._mark(_KINDS[found[1]], found[0]), text)
        text = _UUIDS.sub(lambda found: self._mark("uuid", found[0]), text)
        text = _KEYS.sub(lambda found: self._mark("key", found[0]), text)
        return _INSTANTS.sub(lambda found: "<now>" if _is_today(found[1]) else found[0], text)

    def _mark(self, kind: str, value: str) -> str:
        seen = self._seen.setdefault(kind, {})
        return seen.setdefault(value, f"<{kind} {len(seen) + 1}>")

    def _tree(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._tree(item) for item in node]
        if not isinstance(node, dict):
            return node
        if {"boot_id", "chain"} <= node.keys() and node["boot_id"] == _boot_id():
            return self._evidence(node)
        return {key: self._value(key, value) for key, value in node.items()}

    def _value(self, key: str, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if key in ("pid", "owner_pid") and value == self._pid:
            return "<pid>"
        if key == "uid" and value == self._uid:
            return "<uid>"
        if key == "user" and value == self._user:
            return "<user>"
        return self._tree(value)

    def _evidence(self, node: dict[str, Any]) -> dict[str, Any]:
        own = ("pid", "start", "boot_id", "pid_namespace", "uid")
        return {
            key: f"<{key}>" if key in own else self._value(key, value)
            for key, value in node.items()
        }


# -- the files -----------------------------------------------------------------------------------
def compare(path: Path, text: str) -> None:
    """AssertionError with the difference, if ``text`` is not what the file has."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    assert path.exists(), f"{path.name} is missing; TENURE_GOLDEN=write makes it:\n{text}"
    before = path.read_text()
    if before != text:
        lines = difflib.unified_diff(
            before.splitlines(), text.splitlines(), f"golden {path.name}", "now", lineterm=""
        )
        pytest.fail("\n".join(lines), pytrace=False)


def check_none_is_left(folder: Path, names: set[str]) -> None:
    """Each golden file belongs to a case."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if WRITE:
        for name in there - names:
            (folder / name).unlink()
        return
    assert there == names


# -- the old profile -----------------------------------------------------------------------------
def copy_old_profile(home: Path) -> Path:
    """Its folder under ``home``, with the modes that git does not keep."""
    folder = home / "profiles" / "default"
    shutil.copytree(OLD, folder)
    (folder / "live").mkdir(exist_ok=True)
    for path in (home, home / "profiles", folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)
