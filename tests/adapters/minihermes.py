"""As much of a Hermes as the plugin stands in the way of, in modules of its own names.

It keeps the shape of two generations: ``new`` has ``run_one_job``, a ledger, a store that follows
the context and a lock between processes; ``old`` has ``run_job`` inside the tick, and module
globals. What a job does is a function of the test's (``cron.scheduler.DO``).
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from minisources import API, CLI, CONSTANTS, JOBS, ONLY_NEW, PACKAGE, SCHEDULER, TOOLS

from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.inside.patches import PATCHES, hosts
from tenure.adapters.hermes.inside.replacement import _Finder, install
from tenure.domain.run import Run
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter

OURS = ("hermes_constants", "cron", "tools", "hermes_cli")


class MiniHermes:
    """One profile's home, and the modules; they are loaded when they are asked for."""

    profile: Profile
    """Another opening of the Tenure profile, to look at."""

    def __init__(self, folder: Path, *, new: bool = True) -> None:
        self.new = new
        self.home: HermesHome = home_of(folder / "hermes" / "profiles" / "la")
        self.tenure_home = folder / "tenure"
        self.site = folder / "site"
        self.home.cron.mkdir(parents=True)
        self.home.tenure.mkdir()
        for name, text in {
            "hermes_constants.py": CONSTANTS,
            "cron/__init__.py": PACKAGE,
            "cron/jobs.py": JOBS.format(new=new),
            "cron/scheduler.py": SCHEDULER.format(new=new),
            "tools/__init__.py": "",
            "tools/cronjob_tools.py": TOOLS.format(new=new),
            "hermes_cli/__init__.py": '__version__ = "0.19.0"' if new else '__version__ = "0.16.0"',
            "hermes_cli/cron.py": CLI,
            "tools/api_server.py": API,
            **(ONLY_NEW if new else {}),
        }.items():
            (self.site / name).parent.mkdir(parents=True, exist_ok=True)
            (self.site / name).write_text(text)

    def module(self, name: str) -> Any:
        return importlib.import_module(name)

    @property
    def jobs(self) -> Any:
        return self.module("cron.jobs")

    @property
    def scheduler(self) -> Any:
        return self.module("cron.scheduler")

    def adopt(self, **changes: Any) -> None:
        """The record of an adoption, and the fence."""
        if not self.home.tick_lock.is_dir():
            self.home.tick_lock.unlink(missing_ok=True)
            self.home.tick_lock.mkdir()
        record = {
            "v": 1, "state": "adopted", "hermes_home": str(self.home.path), "hermes_profile": "la",
            "hermes_version": "0.19.0", "hermes_python": None, "tenure_version": "0.1.0",
            "tenure_home": str(self.tenure_home), "tenure_profile": "hermes-la",
            "adopted_at": "2030-01-01T00:00:00Z", "forced": False, "unverified": [], "steps": [],
        }  # fmt: skip
        self.home.adoption.write_text(json.dumps({**record, **changes}))

    def release(self) -> None:
        self.home.adoption.unlink()
        self.home.tick_lock.rmdir()

    def write(self, *jobs: dict[str, Any]) -> None:
        written = self.home.jobs_file.with_suffix(".written")
        written.write_text(json.dumps({"jobs": list(jobs)}))
        written.replace(self.home.jobs_file)

    def stored(self, id: str = "a") -> dict[str, Any]:
        """A job as it stands in jobs.json."""
        found = json.loads(self.home.jobs_file.read_text())["jobs"]
        return next(job for job in found if job["id"] == id)

    def runs(self) -> list[Run]:
        """As Tenure has them, the newest first."""
        return list(self.profile.store.runs(RunFilter())[0])

    @property
    def ran(self) -> list[str]:
        return [id for id, _ in self.scheduler.RAN]

    def do(self, what: Callable[[dict[str, Any]], Any]) -> None:
        """What a job does from now on: its result is (success, output, text, error)."""
        self.scheduler.DO = what


def job(id: str = "a", *, ago: float = 5.0, minutes: float = 60, **more: Any) -> dict[str, Any]:
    """A job that has been due for so many seconds; to come, if negative."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    return {
        "id": id, "name": f"job {id}", "enabled": True, "state": "scheduled",
        "schedule": {"kind": "interval", "minutes": minutes, "display": f"every {minutes}m"},
        "schedule_display": f"every {minutes}m", "next_run_at": at.isoformat(),
        "script": "x.py", "no_agent": True, **more,
    }  # fmt: skip


def once(id: str = "a", *, ago: float = 5.0, **more: Any) -> dict[str, Any]:
    made = job(id, ago=ago, **more)
    return {**made, "schedule": {"kind": "once", "run_at": made["next_run_at"], "display": "once"}}


OTHERS = '[[owner]]\nholds = "/nowhere/gateway.lock"\n'
"""A policy by which this process does not own."""


@contextmanager
def hermes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, new: bool = True, policy: str = ""
) -> Iterator[MiniHermes]:
    """An adopted home, its modules patched, and a Tenure profile: open, unless told otherwise."""
    mini = MiniHermes(folder, new=new)
    monkeypatch.setenv("HERMES_HOME", str(mini.home.path))
    monkeypatch.setattr(hosts, "_hosts", {})
    monkeypatch.setattr(
        "tenure.adapters.hermes.inside.membership.DECISION_WAIT_S", 30.0
    )  # this machine may be busy
    mini.adopt()
    now = datetime.now(UTC)
    profile = Profile.open("hermes-la", home=mini.tenure_home, create=True, now=now)
    if policy:
        profile.folder.toml.write_text(policy)
        profile.refresh_policy("the test", now)
    with closing(profile), loaded(mini):
        mini.profile = profile
        install(PATCHES)
        try:
            yield mini
        finally:
            hosts.close()


@contextmanager
def loaded(mini: MiniHermes) -> Iterator[None]:
    """Its modules can be imported; afterwards none of them is there, and nothing is patched."""
    sys.path.insert(0, str(mini.site))
    try:
        yield
    finally:
        sys.path.remove(str(mini.site))
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Finder)]
        for name in [n for n in sys.modules if n.partition(".")[0] in OURS]:
            module: ModuleType = sys.modules.pop(name)
            pool = getattr(module, "_pool", None)
            if pool is not None:
                pool.shutdown()
