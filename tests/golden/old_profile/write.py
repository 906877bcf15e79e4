"""Writes the profile of this folder as Tenure f670324b0a31 (2026-11-30) kept it.

It is kept to show how the fixture came about, not to be run by tests. To run it, put it into a
checkout of that commit: `python tests/golden/old_profile/write.py HOME`. The store's own verbs
make every row, at a clock of the script's; ids are drawn from a seed.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "web"))

import believable as tale
from believable import DAY, HOUR, MINUTE, Manner, Story

from tenure.domain.event import EventKind
from tenure.domain.evidence import Identity
from tenure.domain.job import Call, CatchUp, Command, Definition, Overlap, State
from tenure.domain.omission import Omitted
from tenure.domain.process import Process, Standing
from tenure.domain.request import Ask, Requester, RequestState
from tenure.domain.run import Result, RunState, Start
from tenure.domain.schedule import at_schedule, cron_schedule, every_schedule, parse_dst
from tenure.runtime.profile import Profile
from tenure.store import ids
from tenure.store.contract import Declaration, Page, RunFilter

ZONE = "Europe/Berlin"
NOW = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
"""The evening before the clocks of Berlin go forward."""
START = NOW - 26 * HOUR
SECOND = timedelta(seconds=1)
ADA = Requester(pid=31337, uid=4242, user="ada", executable="/usr/bin/python3.11",
                via="tenure trigger", observed=True)  # fmt: skip
POLICY = f'''timezone = "{ZONE}"

[[owner]]
executable = "{tale.GATEWAY}"

[[owner]]
executable = "{tale.DESKTOP}"
after = "5m"

[[owner]]
user = "me"
after = "1s"
'''


def jobs() -> list[tuple[Definition, Manner]]:
    def cron(text: str, **more: Any) -> Any:
        return cron_schedule(text, ZONE, **more)

    def run(*argv: str, **more: Any) -> Command:
        return Command(argv=argv, **more)

    return [
        (Definition(
            name="photos-backup", schedule=cron("30 */8 * * *"), protected=True,
            action=run("/usr/local/bin/restic", "backup", "/home/ada/Photos",
                       env={"RESTIC_PASSWORD": "hunter2", "RESTIC_REPOSITORY": "/mnt/backup"}),
            requires=("read:/etc",), timeout=2 * HOUR, tags=("backup", "nightly"), grace=5 * MINUTE,
        ), Manner(seconds=240, says="snapshot 4f2a91c saved")),
        (Definition(
            name="mail-digest", schedule=cron("0 7,19 * * *"), retries=2, backoff=MINUTE,
            action=Command(argv=("~/bin/digest | mail -s 'Morning' ada",), shell=True),
            tags=("mail",), retry_lost=True,
        ), Manner(seconds=9, fails=1.0, says="mail: cannot send")),
        (Definition(
            name="heartbeat", schedule=every_schedule(HOUR, START, ZONE), jitter=10 * SECOND,
            action=run("/usr/bin/curl", "-fsS", "https://status.example.org/ping"), tags=("ops",),
        ), Manner(seconds=0.4)),
        (Definition(
            name="invoices", schedule=cron("20 * * * *"), protected=True,
            action=run("/home/ada/bin/invoices", stdin="token=s3cret"),
            tags=("finance",), grace=2 * MINUTE, catch_up=CatchUp.ALL, window=4 * HOUR,
        ), Manner(seconds=38)),
        (Definition(
            name="search index", schedule=cron("10 */6 * * *"), overlap=Overlap.QUEUE,
            action=Command(argv=("cd ~/site && make index",), shell=True, cwd="/srv/site",
                           env={"LANG": "C", "API_TOKEN": "abc123"}),
            tags=("site",), timeout=75 * SECOND,
        ), Manner(seconds=75, times_out=1.0, says="make: *** [index] Error 1")),
        (Definition(
            name="weekly-report", schedule=cron("0 9 * * 1", dst=parse_dst("gap=shift,fold=both")),
            action=run("/home/ada/bin/report", "--weekly"), timeout=20 * MINUTE,
            tags=("finance", "mail"), overlap=Overlap.CANCEL,
        ), Manner(seconds=300)),
        (Definition(
            name="half-past-two", schedule=cron("30 2 * * *"), action=run("true"),
            catch_up=CatchUp.NONE, overlap=Overlap.ALLOW,
        ), Manner(seconds=1)),
        (Definition(
            name="price-watch", schedule=every_schedule(4 * HOUR, START, ZONE),
            action=run("/home/ada/bin/prices"), catch_up=CatchUp.NONE,
        ), Manner(seconds=14)),
        (Definition(
            name="move-house", schedule=at_schedule(datetime(2026, 4, 2, 7, 0, tzinfo=UTC), ZONE),
            action=run("/home/ada/bin/move", "--now"),
        ), Manner(seconds=3)),
        (Definition(
            name="greet", schedule=at_schedule(START + 2 * HOUR, ZONE), action=run("echo", "hello"),
        ), Manner(seconds=1, says="hello")),
        (Definition(
            name="old-sync", schedule=cron("*/30 * * * *"), action=run("/home/ada/bin/calsync"),
            tags=("sync",),
        ), Manner(seconds=6)),
        (Definition(
            name="long-scan", schedule=every_schedule(30 * MINUTE, START, ZONE),
            action=run("/home/ada/bin/scan"), grace=10 * SECOND,
        ), Manner(seconds=50 * 60, spread=0.0)),
    ]  # fmt: skip


def declared() -> list[Declaration]:
    def call(name: str, cron: str, **more: Any) -> Declaration:
        action = Call(target=f"shop:{name}", args={"region": "eu", "limit": 3})
        schedule = cron_schedule(cron, ZONE)
        return Declaration(
            definition=Definition(name=f"shop:{name}", schedule=schedule, action=action, **more)
        )

    return [call("nightly", "0 3 * * *", tags=("shop",)), call("mail", "*/30 8-18 * * *")]


def process(name: str, role: str, at: datetime, pid: int, executable: str, why: str) -> Process:
    made = tale.process(name, role, at, pid, executable, why)
    evidence = replace(made.evidence, uid=4242, groups=(4242, 27), host="0123456789abcdef")
    chain = tuple(
        replace(link, start=link.pid, started_at=at - 5 * SECOND) for link in evidence.chain
    )
    return replace(made, evidence=replace(evidence, chain=chain, unknown=frozenset({"signature"})))


class Tale(Story):
    """A story whose questions are ours."""

    def request(self, kind: Ask, at: datetime, **what: Any) -> Any:
        number = sum(1 for _ in self.store.requests(limit=1000)) + 1
        return self.store.ask(
            kind=kind, key=f"key-{number}", requester=ADA, now=at,
            deadline=what.pop("deadline", 30 * SECOND), **what,
        )  # fmt: skip

    def run_of(self, name: str) -> Any:
        """A run that was asked for, claimed and not started."""
        asked = self.request(Ask.TRIGGER, self.now, job=name)
        self.now += SECOND
        _, run = self.store.claim_trigger(self.authority, asked.id, self.now)
        return run

    def open(self, run: Any) -> None:
        self.now += SECOND
        identity = Identity(boot_id="a-boot-of-the-past", pid=40_000 + run.attempt, start=9)
        assert self.store.start(
            self.authority,
            [Start(run=run.id, attempt=run.attempt, at=self.now, identity=identity, log=run.id)],
        ) == (True,)

    def close(self, run: Any, state: RunState, **more: Any) -> None:
        self.now += SECOND
        result = Result(run=run.id, attempt=run.attempt, process=self.authority.process,
                        state=state, at=self.now, **more)  # fmt: skip
        self.store.finish([result], self.now)


def live(story: Tale) -> None:
    store = story.store
    gateway = process(ids.new_id("p", story.now), "gateway", story.now, 2210, tale.GATEWAY,
                      tale.RULE1)  # fmt: skip
    story.take(gateway, rule=0, authoritative=True)
    story.live(START + HOUR)
    reconciled(story, declared())
    store.set_job_state(store.job("shop:mail").id, State.PAUSED, by="ada, pid 5001, tenure pause",
                        now=story.now)  # fmt: skip
    story.live(START + 5 * HOUR)
    reconciled(story, declared()[1:])
    price = store.job("price-watch")
    longer = price.definition.with_changes(timeout=2 * MINUTE)
    store.edit_job(price.id, price.revision, longer, by="ada, pid 5100, tenure edit", now=story.now)
    for name in ("old-sync",):
        store.set_job_state(store.job(name).id, State.REMOVED, by="ada, pid 5102, tenure remove",
                            now=story.now)  # fmt: skip
    scan = store.job("long-scan")
    store.set_job_state(scan.id, State.PAUSED, by="ada, pid 5103, tenure pause", now=story.now)
    story.live(START + 7 * HOUR)
    # It is killed in the middle of a run, and its late result comes after it was given up.
    given_up = story.run_of("price-watch")
    story.open(given_up)
    story.pending.append((story.now + DAY, given_up))
    story.now += SECOND
    story.die()

    story.now = START + 9 * HOUR
    desktop = process(ids.new_id("p", story.now), "desktop", story.now, 8054, tale.DESKTOP,
                      tale.RULE2)  # fmt: skip
    story.take(desktop, rule=1, authoritative=False)
    story.lose()
    late = Result(run=given_up.id, attempt=1, process=gateway.id, state=RunState.SUCCEEDED,
                  at=story.now + SECOND, exit_code=0)  # fmt: skip
    story.store.finish([late], story.now + SECOND)
    refused = story.request(Ask.TRIGGER, story.now, job="invoices")
    store.claim_trigger(story.authority, refused.id, story.now + SECOND)
    story.live(START + 13 * HOUR)
    story.request(Ask.TRIGGER, story.now, job="heartbeat")
    story.now += MINUTE
    store.expire_requests(story.now)
    moved = story.request(Ask.HAND_OVER, story.now)
    store.answer(moved.id, RequestState.ACCEPTED, authority=story.authority, now=story.now,
                 answer="it hands over to the best candidate")  # fmt: skip
    story.step_down("a better-ranked candidate is there")

    story.now += SECOND
    again = process(ids.new_id("p", story.now), "gateway", story.now, 9120, tale.GATEWAY,
                    tale.RULE1)  # fmt: skip
    story.take(again, rule=0, authoritative=True)
    story.live(START + 16.6 * HOUR)
    weekly = store.job("weekly-report")
    store.set_job_state(weekly.id, State.PAUSED, by="ada, pid 6021, tenure pause", now=story.now)
    cancelled = story.run_of("heartbeat")
    story.open(cancelled)
    asked = story.request(Ask.CANCEL, story.now, run=cancelled.id)
    store.ask_cancel(cancelled.id, story.now)
    store.answer(asked.id, RequestState.ACCEPTED, authority=story.authority, now=story.now,
                 answer="the run is asked to end", run=cancelled.id)  # fmt: skip
    story.close(cancelled, RunState.CANCELLED, signal=15, reason="cancelled on request")
    store.answer(asked.id, RequestState.DONE, authority=story.authority, now=story.now,
                 answer="cancelled", run=cancelled.id)  # fmt: skip
    never = story.run_of("price-watch")
    story.close(never, RunState.NEVER_RAN, reason="/home/ada/bin/prices: no such file")
    gone = story.request(Ask.RETRY, story.now, run=never.id)
    store.answer(gone.id, RequestState.WITHDRAWN, authority=None, now=story.now + SECOND,
                 answer="withdrawn by whoever asked")  # fmt: skip
    story.live(NOW - 10 * MINUTE)
    observer = replace(
        process(ids.new_id("p", story.now), "dashboard", story.now, 9500, "/usr/bin/tenure",
                "it shows the page and never runs a job"),
        standing=Standing.OBSERVER, executes=False, rule=None,
    )  # fmt: skip
    store.join(observer)
    store.record(EventKind.CLOCK, story.now, process=again.id,
                 facts={"kind": "suspended", "amount": 312.5})  # fmt: skip
    # It is killed again, with runs and questions open, and nobody has come since.
    story.live(NOW - MINUTE)
    running = story.run_of("price-watch")
    story.open(running)
    log = profile_log(story, running)
    log.write_text("prices: 4 of 9 pages\n\x1b[31mred\x1b[0m \u00fc\n")
    retrying = story.run_of("mail-digest")
    story.open(retrying)
    story.close(retrying, RunState.RETRYING, exit_code=2, retry_at=NOW + 5 * MINUTE)
    story.run_of("half-past-two")
    story.request(Ask.TRIGGER, story.now, job="invoices", queued=True, deadline=DAY)
    store.progress(story.authority, 5000.0, story.now)


def profile_log(story: Tale, run: Any) -> Path:
    folder = story.profile.folder.logs / run.id
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{run.attempt}.log"


def reconciled(story: Tale, jobs: list[Declaration]) -> None:
    story.store.reconcile(story.authority, "shop", "1.4.2", jobs, story.now)


def prune_logs(profile: Profile) -> None:
    """The logs of a few runs are enough."""
    kept: dict[str, int] = {}
    for run in profile.store.runs(RunFilter(), Page(limit=1000))[0]:
        kept[run.job_name] = kept.get(run.job_name, 0) + 1
        if kept[run.job_name] > 2:
            shutil.rmtree(profile.folder.logs / run.id, ignore_errors=True)


def main() -> None:
    home = Path(sys.argv[1])
    dice = random.Random(11)
    ids.os.urandom = dice.randbytes  # type: ignore[attr-defined]
    profile = Profile.open("default", home=home, create=True, now=START)
    story = Tale(profile=profile, now=START, random=random.Random(7), manners={})
    profile.folder.toml.write_text(POLICY)
    profile.refresh_policy("ada", START)
    for definition, manner in jobs():
        story.manners[definition.name] = manner
        profile.store.add_job(definition, by="ada, pid 4811, tenure add", now=START)
    live(story)
    kinds = {o.kind for o in profile.store.omissions()[0]}
    assert kinds == set(Omitted), kinds
    prune_logs(profile)
    profile.close()
    folder = home / "profiles" / "default"
    with sqlite3.connect(folder / "tenure.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
    db.close()
    here = Path(__file__).parent / "default"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(folder, here, ignore=shutil.ignore_patterns("*-wal", "*-shm"))


if __name__ == "__main__":
    main()
