"""A Hermes home to adopt, what the survey says of it, and a disk that ends the process anywhere."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.adopt.carry_out import AdoptionResult, adopt
from tenure.adapters.hermes.adopt.plan import AdoptionOptions, AdoptionPlan, plan_adoption
from tenure.adapters.hermes.adopt.plugin_files import Library
from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.back.release import Released, release
from tenure.adapters.hermes.facts.adoption_record import read_adoption
from tenure.adapters.hermes.facts.home import home_of
from tenure.adapters.hermes.facts.jobs_file import Heartbeats, read_jobs
from tenure.adapters.hermes.look.executions import read_ledger
from tenure.adapters.hermes.look.installation import Installation
from tenure.adapters.hermes.look.report import HermesProcess, Survey
from tenure.adapters.hermes.look.scan import Lock

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SHIM = b"def register(ctx):\n    pass\n"
CONFIG = """\
# mine
model: gpt   # the small one
plugins:
    enabled:
        - notes  # since May
    disabled: [old, other]
timezone: Europe/Berlin
"""
JOBS = """{"jobs": [
 {"id": "aaaaaaaaaaaa", "name": "mail", "schedule": {"kind": "cron", "expr": "* * * * *"}},
 {"id": "bbbbbbbbbbbb", "name": "twice", "schedule": {"kind": "interval", "minutes": 5}},
 {"id": "cccccccccccc", "name": "twice", "schedule": {"kind": "interval", "minutes": 5}}
]}"""


class World:
    """``la`` below a root, and a Tenure home beside it. Nothing of Hermes is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tenure = folder / "tenure"
        self.home = home_of(folder / ".hermes" / "profiles" / "la")
        self.home.cron.mkdir(parents=True)
        self.home.jobs_file.write_text(JOBS)
        self.code = folder / "code"
        self.library = small_library(folder)

    def with_config(self, text: str | None = CONFIG, mode: int = 0o644) -> World:
        if text is not None:
            self.home.config.write_bytes(text.encode())
            self.home.config.chmod(mode)
            os.utime(self.home.config, (1_700_000_000, 1_700_000_000))
        return self

    def with_lock(self, content: bytes = b"") -> World:
        self.home.tick_lock.write_bytes(content)
        self.home.tick_lock.chmod(0o640)
        return self

    def survey(self, **changed: Any) -> Survey:
        """No process of Hermes runs, and none is installed, so that no parser is asked."""
        found = Survey(
            home=self.home, at=NOW, installations=(), service=None, adoption=None,
            owner=None, unreadable=None, processes=(), elsewhere=(), hidden=(),
            gateway_lock=Lock(known=True, held=False), tick_lock=Lock(known=True, held=False),
            jobs=read_jobs(self.home), heartbeats=Heartbeats(ticked=None, succeeded=None),
            ledger=read_ledger(self.home.executions),
        )  # fmt: skip
        return replace(found, **changed)

    def wishes(self, **changed: Any) -> AdoptionOptions:
        return AdoptionOptions(tenure_home=self.tenure, **{"force": True, **changed})

    def plan(self, survey: Survey | None = None, **wished: Any) -> AdoptionPlan:
        return plan_adoption(
            self.home, self.wishes(**wished), survey or self.survey(), shim_source=SHIM
        )

    def adopt(
        self, disk: Disk | None = None, *, at: datetime = NOW, patience: float = 0.0, **wished: Any
    ) -> AdoptionResult:
        return adopt(
            self.plan(**wished), at, disk=disk, patience=patience, linger=0.0,
            packages=self.library,
        )  # fmt: skip

    def release(self, disk: Disk | None = None, **how: Any) -> Released:
        return release(str(self.home.path), disk=disk, patience=0.0, **how)

    @property
    def state(self) -> str | None:
        found = read_adoption(self.home)
        return found.state if found else None


def installation(version: str = "0.19.0", **changed: Any) -> Installation:
    """One that is verified, and cannot be asked: there is no such Python."""
    found = Installation(
        python="/nowhere/bin/python", version=version, site_packages=None, code=None,
        found_by="a test",
    )  # fmt: skip
    return replace(found, **changed)


def small_library(folder: Path) -> Library:
    """As much as the real one, in two files."""
    source = folder / "packages" / "tenure"
    (source / "deep").mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text("one = 1\n")
    (source / "deep" / "two.sql").write_text("select 2;\n")
    files = {
        "tenure/__init__.py": source / "__init__.py",
        "tenure/deep/two.sql": source / "deep" / "two.sql",
    }
    return Library(files, (("tenure", "0.1.0"),))


Entry = tuple[str, int, Any, int]


def snapshot(folder: Path) -> dict[str, Entry]:
    """All below a folder: kind, mode, content, and for files when they were changed."""
    found: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        mode = stat.S_IMODE(state.st_mode)
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(state.st_mode):
            found[name] = ("link", 0, os.readlink(path), 0)
        elif stat.S_ISDIR(state.st_mode):
            found[name] = ("folder", mode, None, 0)
        else:
            found[name] = ("file", mode, path.read_bytes(), state.st_mtime_ns)
    return found


class Cut(BaseException):
    """The process ends here, as by ``kill -9``: nothing that follows is done."""


class CuttingDisk(Disk):
    """Counts what is done, and ends before the ``at``-th; a file that is written, in its middle.

    ``swaps``: whether the system can exchange two names.
    """

    def __init__(
        self, at: int | None = None, *, swaps: bool = True, error: Exception | None = None
    ):
        self.at = at
        self.swaps = swaps
        self.error = error
        self.count = 0

    def _step(self) -> bool:
        self.count += 1
        return self.count - 1 == self.at

    def _end(self) -> None:
        raise self.error or Cut

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        if self._step():
            self._end()
        super().mkdir(path, mode)

    def create(self, path: str, content: bytes, mode: int, like: str | None = None) -> None:
        if self._step():
            super().create(path, content[: len(content) // 2], 0o600)
            self._end()
        super().create(path, content, mode, like)

    def rename(self, old: str, new: str) -> None:
        if self._step():
            self._end()
        super().rename(old, new)

    def exchange(self, one: str, other: str) -> bool:
        if self._step():
            self._end()
        return super().exchange(one, other) if self.swaps else False

    def unlink(self, path: str) -> None:
        if self._step():
            self._end()
        super().unlink(path)

    def rmdir(self, path: str) -> None:
        if self._step():
            self._end()
        super().rmdir(path)

    def times(self, path: str, mtime_ns: int) -> None:
        if self._step():
            self._end()
        super().times(path, mtime_ns)


def process(pid: int, role: Any, **changed: Any) -> HermesProcess:
    """One of Hermes, started a minute ago."""
    from tenure.adapters.hermes.look.processes import HomeEvidence
    from tenure.adapters.hermes.look.report import Ticks
    from tenure.domain.process import ProcessStatus

    found = HermesProcess(
        pid=pid, stamp=1, started_at=NOW - timedelta(minutes=1), role=role,
        standing=ProcessStatus.FOREIGN, ticks=Ticks.YES, why="", repeats=True, on_request=True,
        store=HomeEvidence.OBSERVED, seen="", joined=False, before_adoption=False, evidence=None,
    )  # fmt: skip
    return replace(found, **changed)
