"""A Hermes home without Hermes, mirrored into a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.inside.mirror import Mirror, Mirrored
from tenure.domain.job import Job
from tenure.store.contract import Page, Store

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
CRON = {"kind": "cron", "expr": "0 7 * * *", "display": "0 7 * * *"}


def job(id: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "id": id, "name": f"job {id}", "schedule": CRON, "enabled": True, "state": "scheduled",
        "next_run_at": (NOW + timedelta(hours=1)).isoformat(), "prompt": "read my mail", **more,
    }  # fmt: skip


class World:
    """A home and a store, and what Hermes has."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.home: HermesHome = home_of(folder / "profiles" / "la")
        self.home.tenure.mkdir(parents=True)
        self.store = store
        self.now = NOW
        self.mirror = Mirror(store, self.home, by="hermes", timezone="Europe/Berlin")

    def follow(self, *jobs: dict[str, Any], whole: bool = True) -> Mirrored:
        self.now += timedelta(seconds=1)
        return self.mirror.follow(lambda: jobs, self.now, whole=whole)

    def jobs(self) -> list[Job]:
        return list(self.store.jobs(page=Page(limit=500))[0])

    def names(self) -> set[str]:
        return {job.name for job in self.jobs()}

    def protect(self, **entries: list[str]) -> None:
        protected = {
            id: {"since": "2030-01-01T00:00:00Z", "requires": r} for id, r in entries.items()
        }
        self.home.sidecar.write_text(json.dumps({"v": 1, "protected": protected}))
