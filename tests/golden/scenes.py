"""The old profile in its scenes: idle, owned, hung, damaged ... Each use builds a new copy."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from clikit import World
from goldenkit import Clock, Normaliser, copy_old_profile

from answering import Answering
from tenure.domain.job import Call, Definition
from tenure.domain.process import ProcessStatus
from tenure.domain.request import RequestState
from tenure.domain.run import Result, RunState
from tenure.domain.schedule.model import cron_schedule, foreign_schedule
from tenure.runtime.profile import Profile
from tenure.surfaces.cli.main import main

Play = Callable[[str], contextlib.AbstractContextManager["Scene"]]
Shelf = Callable[[str], "Scene"]


@dataclass
class Scene:
    """A home, its stopped clock, and the ids of its rows."""

    home: Path
    clock: Clock
    world: World | None = None
    closing: ExitStack = field(default_factory=ExitStack)

    @property
    def folder(self) -> Path:
        return self.home / "profiles" / "default"

    def normaliser(self) -> Normaliser:
        return Normaliser(self.home)

    def names(self) -> dict[str, str]:
        """Ids to put into an address or an argument, by what they are."""
        database = self.folder / "tenure.db"
        if not database.exists() or database.read_bytes()[:6] != b"SQLite":
            return {}
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:

            def first(sql: str) -> str:
                row = db.execute(sql).fetchone()
                return "none" if row is None else str(row[0])

            run = "SELECT id FROM runs WHERE {} ORDER BY id LIMIT 1"
            found = {
                state: first(run.format(f"state = '{state}'"))
                for state in ("claimed", "running", "retrying", "succeeded", "failed", "timed_out",
                              "lost", "cancelled", "never_ran")
            }  # fmt: skip
            retried = "state = 'failed' AND attempt = 3 ORDER BY id DESC"
            found["failed"] = first(f"SELECT id FROM runs WHERE {retried} LIMIT 1")
            for state in ("pending", "accepted", "done", "refused", "expired", "withdrawn"):
                sql = f"SELECT id FROM requests WHERE state = '{state}' ORDER BY id LIMIT 1"
                found[f"asked_{state}"] = first(sql)
            found["removed"] = first("SELECT id FROM jobs WHERE state = 'removed'")
            found["gateway"] = first("SELECT id FROM processes ORDER BY id LIMIT 1")
            return found

    def open(self) -> World:
        """The profile, beside whatever else opens it; closed with the scene."""
        profile = Profile.open("default", home=self.home)
        self.closing.callback(profile.close)
        self.world = World(profile)
        return self.world


def adopt(scene: Scene) -> None:
    """As its user does after a move."""
    with contextlib.redirect_stdout(None):
        code = main(["--home", str(scene.home), "profile", "adopt", "--moved"])
    assert code == 0


# -- scenes --------------------------------------------------------------------------------------
def unadopted(scene: Scene) -> None:
    copy_old_profile(scene.home)


def idle(scene: Scene) -> None:
    unadopted(scene)
    adopt(scene)


def owned(scene: Scene, **how: Any) -> None:
    idle(scene)
    world = scene.open()
    world.join("p-desk", standing=ProcessStatus.REFUSED, why="no rule admits it")
    world.join("p-page", standing=ProcessStatus.OBSERVER, executes=False, why="it shows the page")
    how = {"authoritative": True, "rule": 0, **how}
    authority = world.owner("p-gateway", **how)
    if how.get("awake"):
        return
    world.run_of(authority, "heartbeat", output="ping\npong\n")
    for state in ("claimed", "running"):
        (run,) = [r for r in world.store.orphans("p-gateway") if r.state == state]
        world.store.adopt_run(authority, run.id, run.attempt, scene.clock.now())


def fallback(scene: Scene) -> None:
    owned(scene, authoritative=False, rule=1)


def hung(scene: Scene) -> None:
    owned(scene, awake=600)


def dead(scene: Scene) -> None:
    owned(scene)
    assert scene.world is not None
    scene.world.die("p-gateway")


def declared(scene: Scene) -> None:
    """Jobs that other programs carry."""
    idle(scene)
    store = scene.open().store
    now, by = scene.clock.now(), "ada, pid 901, gateway"
    schedule = foreign_schedule("every day at 8am", "Europe/Berlin")
    briefing = Definition(
        name="morning briefing", schedule=schedule, action=Call(target="hermes:b41f")
    )
    store.add_job(briefing, by=by, now=now)
    nightly = Definition(
        name="shop:nightly2",
        schedule=cron_schedule("0 3 * * *", "Europe/Berlin"),
        action=Call(target="shop:nightly2", args={"limit": 3}),
    )
    store.add_job(nightly, by=by, now=now)


def broken(scene: Scene) -> None:
    idle(scene)
    (scene.folder / "profile.toml").write_text('[[owner]]\nservce = "gateway.service"\n')


def repoliced(scene: Scene) -> None:
    """The rules in the file are not accepted yet."""
    idle(scene)
    (scene.folder / "profile.toml").write_text(
        'timezone = "Europe/Berlin"\n\n[[owner]]\nservice = "systemd:gateway.service"\n'
        'host = "atlas"\n\n[[owner]]\nholds = "/run/gateway.lock"\nrefuse = true\n'
    )


def damaged(scene: Scene) -> None:
    """One job has a zone that no machine knows."""
    idle(scene)
    _change(scene, "UPDATE job_revisions SET definition = replace(definition, 'Europe/Berlin', "
            "'Old/Gone') WHERE job = (SELECT id FROM jobs WHERE name = 'heartbeat')")  # fmt: skip


def doctored(scene: Scene) -> None:
    """A history that breaks the contract: a fallback ran what is protected."""
    idle(scene)
    _change(scene, "UPDATE terms SET authoritative = 0 WHERE term = 3")
    _change(scene, "DELETE FROM omissions WHERE kind = 'missed'")


def _change(scene: Scene, sql: str) -> None:
    with closing(sqlite3.connect(scene.folder / "tenure.db")) as db, db:
        assert db.execute(sql).rowcount > 0, sql


def torn(scene: Scene) -> None:
    """Its database file holds something else."""
    idle(scene)
    (scene.folder / "tenure.db").write_bytes(b"not a database" * 500)


def unmade(scene: Scene) -> None:
    """A profile.toml, and no database yet."""
    scene.folder.mkdir(parents=True)
    for folder in (scene.home, scene.home / "profiles", scene.folder):
        folder.chmod(0o700)
    (scene.folder / "profile.toml").write_text('[[owner]]\nservice = "gateway.service"\n')


def empty(scene: Scene) -> None:
    """No profile at all."""


SCENES: dict[str, Callable[[Scene], None]] = {
    scene.__name__: scene
    for scene in (unadopted, idle, owned, fallback, hung, dead, declared, broken, repoliced,
                  damaged, doctored, torn, unmade, empty)
}  # fmt: skip


@contextlib.contextmanager
def playing(name: str, home: Path, clock: Clock) -> Iterator[Scene]:
    scene = Scene(home, clock)
    with scene.closing:
        SCENES[name](scene)
        try:
            yield scene
        finally:
            if scene.world is not None:
                for lock in scene.world.locks.values():
                    lock.release()


# -- an owner that answers -----------------------------------------------------------------------
def accept(profile: Profile, request: Any) -> None:
    authority = profile.store.ownership().authority
    assert authority is not None
    if request.kind == "cancel":
        profile.store.request_cancel(request.run, request.asked_at)
        profile.store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=request.asked_at,
            answer="the run is asked to end", run=request.run,
        )  # fmt: skip
    else:
        profile.store.claim_trigger(authority, request.id, request.asked_at)


def finish(profile: Profile, request: Any) -> None:
    """Accept it; its run fails in the same instant."""
    with profile.store.batch():
        accept(profile, request)
        run = profile.store.request(request.id).run
        assert run is not None
        result = Result(run=run, attempt=1, process="p-gateway", state=RunState.FAILED,
                        at=request.asked_at, exit_code=7)  # fmt: skip
        profile.store.finish([result], request.asked_at)


def answering(home: Path, answer: str | None) -> contextlib.AbstractContextManager[Any]:
    if answer is None:
        return contextlib.nullcontext()
    return Answering(home, {"accept": accept, "finish": finish}[answer])
