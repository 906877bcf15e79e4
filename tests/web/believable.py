"""A profile with three days of history that could have happened, to look at and to test with.

Jobs of several kinds lived through by simulated owners: a gateway that dies in the evening, a
desktop that takes over after a while and may not run what is protected, and the gateway again.
Runs succeed, fail, time out, are retried and lost; fires are held, missed and skipped. Every row
is made by the store's own verbs, at a clock of the script's; `tenure audit` finds nothing.

    python tests/web/believable.py HOME PROFILE
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.domain.job import Call, CatchUp, Command, Definition, JobState, Overlap, Runner
from tenure.domain.ownership import Authority, OwnershipAction, OwnershipState
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity, Manager, Service
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Requester, RequestKind, RequestState
from tenure.domain.run import Result, Run, RunState, Start
from tenure.domain.schedule.model import cron_schedule, every_schedule, foreign_schedule
from tenure.runtime.profile import Profile
from testkit.factories import take

ZONE = "Europe/Berlin"
ROOM = dict.fromkeys(Runner, 1000)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
REQUESTER = Requester(pid=31337, uid=1000, user="ada", via="tenure trigger")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How runs of a job go: how long, and how often which way."""

    seconds: float
    spread: float = 0.3
    fails: float = 0.0
    times_out: float = 0.0
    says: str = "done"


@dataclass(kw_only=True)
class Story:
    """What is being told: a store, a clock, an owner, and the runs that go on."""

    profile: Profile
    now: datetime
    random: random.Random
    manners: dict[str, Manner]
    authority: Authority | None = None
    authoritative: bool = False
    pending: list[tuple[datetime, Run]] = field(default_factory=list)
    retries: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def store(self) -> Any:
        return self.profile.store

    # -- owners --------------------------------------------------------------------------------
    def take(self, process: Process, *, rule: int, authoritative: bool) -> None:
        self.store.join(process)
        vacant = self.store.ownership().hold is OwnershipState.VACANT
        self.authoritative = authoritative
        self.authority = take(
            self.store,
            process.id,
            act=OwnershipAction.TAKE if vacant else OwnershipAction.TAKE_FROM_DEAD,
            rule=rule,
            authoritative=authoritative,
            boot_id="a-boot-of-the-past",
            now=self.now,
        )

    def die(self) -> None:
        """The owner is gone without a word; what it ran is lost."""
        assert self.authority is not None
        self.store.leave(self.authority.process, self.now, died=True)
        self.authority = None

    def step_down(self, why: str) -> None:
        assert self.authority is not None
        self.store.end_term(self.authority, act=OwnershipAction.HAND_OVER, why=why, now=self.now)
        self.store.leave(self.authority.process, self.now, why=why)
        self.authority = None

    def ask(self, name: str, state: RequestState, answer: str) -> None:
        """Somebody asks to run a job, and is answered at once."""
        asked = self.store.create_request(
            kind=RequestKind.TRIGGER, key=name, requester=REQUESTER, now=self.now,
            deadline=timedelta(seconds=30), job=name,
        )  # fmt: skip
        remedy = "start the process that should own" if state is RequestState.REFUSED else ""
        self.store.resolve_request(
            asked.id, state, authority=None, now=self.now, answer=answer, remedy=remedy
        )

    # -- runs ----------------------------------------------------------------------------------
    def live(self, until: datetime) -> None:
        """Plan, claim, start and finish, as an owner would, up to an instant."""
        while self.authority is not None:
            coming = [at for at in (self.store.next_due(),) if at is not None]
            coming += [at for at, _ in self.pending] + [at for at, _ in self.retries]
            at = min(coming, default=until)
            if at > until:
                break
            self.now = max(self.now, at) + timedelta(milliseconds=self.random.randint(2, 40))
            self.settle(self.now)
            self.claim()
        self.now = until

    def claim(self) -> None:
        assert self.authority is not None
        rights = OwnerCapabilities(authoritative=self.authoritative)
        places = CatchUpBudget(rate=1000, burst=1000)
        plans = [plan(due, self.now, rights, 100, places) for due in self.store.due(self.now, ROOM)]
        for claimed in self.store.claim(self.authority, plans, self.now) if plans else ():
            for run in claimed.runs:
                self.begin(run)
        for at, run in [r for r in self.retries if r[0] <= self.now]:
            self.retries.remove((at, run))
            for again in self.store.claim_retry(self.authority, run, self.now).runs:
                self.begin(again)

    def begin(self, run: Run) -> None:
        manner = self.manners[run.job_name]
        folder = self.profile.folder.logs / run.id
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder / f"{run.attempt}.log", run, manner)
        identity = Identity(
            boot_id="a-boot-of-the-past", pid=self.random.randint(3000, 60000), start=1
        )
        start = Start(run=run.id, attempt=run.attempt, at=self.now, identity=identity, log=run.id)
        self.store.start(self.authority, [start])
        length = manner.seconds * (1 + self.random.uniform(-manner.spread, manner.spread))
        self.pending.append((self.now + timedelta(seconds=length), run))

    def write(self, path: Path, run: Run, manner: Manner) -> None:
        lines = [f"{run.job_name}: begin, fire of {run.fire_time:%Y-%m-%d %H:%M}"]
        lines += [f"  step {n}: {self.random.randint(20, 900)} items" for n in range(1, 6)]
        path.write_text("\n".join([*lines, manner.says, ""]))

    def settle(self, until: datetime) -> None:
        """End the runs that are over by then."""
        for at, run in sorted(self.pending, key=lambda pair: pair[0]):
            if at > until:
                continue
            self.pending.remove((at, run))
            self.end(run, at)

    def end(self, run: Run, at: datetime) -> None:
        manner, dice = self.manners[run.job_name], self.random.random()
        state, code, reason = RunState.SUCCEEDED, 0, ""
        if dice < manner.fails:
            state, code, reason = RunState.FAILED, 1, ""
        elif dice < manner.fails + manner.times_out:
            state, code, reason = RunState.TIMED_OUT, None, "longer than its timeout"
        definition = self.store.definition(run.job, run.revision)
        retry_at = None
        if state is RunState.FAILED and run.attempt <= definition.retries:
            state, retry_at = RunState.RETRYING, at + definition.retry_delay(run.attempt)
            self.retries.append((retry_at, run.id))
        result = Result(
            run=run.id, attempt=run.attempt, process=run.holder, state=state, at=at,
            exit_code=code, reason=reason, retry_at=retry_at,
        )  # fmt: skip
        self.store.finish([result], at)

    def lose(self) -> None:
        """The new owner finds what the dead one ran, and nothing tells how it ended."""
        assert self.authority is not None
        for _, run in self.pending:
            self.store.adopt_run(self.authority, run.id, run.attempt, self.now)
            result = Result(
                run=run.id, attempt=run.attempt, process=self.authority.process,
                state=RunState.LOST, at=self.now,
                reason="its owner died, and nothing tells how it ended",
            )  # fmt: skip
            self.store.finish([result], self.now)
        self.pending.clear()


def process(name: str, role: str, joined: datetime, pid: int, executable: str, why: str) -> Process:
    """A process of the past: its evidence is complete, its life is over."""
    chain = [
        ChainLink(pid=pid, name="python3.11", executable="/opt/gateway/venv/bin/python3.11"),
        ChainLink(pid=pid - 8, name=role, executable=executable),
        ChainLink(pid=1, name="systemd", executable="/usr/lib/systemd/systemd"),
    ]
    service = Service(name=f"{role}.service", manager=Manager.SYSTEMD_SYSTEM)
    return Process(
        id=name,
        evidence=Evidence(
            identity=Identity(boot_id="a-boot-of-the-past", pid=pid, start=pid),
            observed_at=joined,
            started_at=joined - timedelta(seconds=2),
            hostname="atlas",
            uid=1000,
            user="ada",
            executable="/opt/gateway/venv/bin/python3.11",
            service=service if role == "gateway" else None,
            cgroup="/system.slice/gateway.service" if role == "gateway" else "/user.slice",
            chain=tuple(chain),
        ),
        joined_at=joined,
        executes=True,
        standing=ProcessStatus.CANDIDATE,
        why=why,
        role=role,
        rule=0 if role == "gateway" else 1,
    )


def jobs(start: datetime) -> Iterator[tuple[Definition, Manner]]:
    """A day's work of a small office."""

    def cron(text: str) -> Any:
        return cron_schedule(text, ZONE)

    def run(*argv: str, **more: Any) -> Command:
        return Command(argv=argv, **more)

    def shell(text: str, **more: Any) -> Command:
        return Command(argv=(text,), shell=True, **more)

    yield Definition(
        name="photos-backup", schedule=cron("30 */4 * * *"), protected=True,
        action=run("/usr/local/bin/restic", "backup", "/home/ada/Photos",
                   env={"RESTIC_PASSWORD": "hunter2", "RESTIC_REPOSITORY": "/mnt/backup"}),
        requires=("read:/etc",), timeout=2 * HOUR, tags=("backup", "nightly"), grace=5 * MINUTE,
    ), Manner(seconds=240, says="snapshot 4f2a91c saved")  # fmt: skip
    yield Definition(
        name="mail-digest", schedule=cron("0 7 * * 1-5"), retries=2, backoff=MINUTE,
        action=shell("~/bin/digest | mail -s 'Morning' ada"), tags=("mail",),
    ), Manner(seconds=9, fails=0.15)  # fmt: skip
    yield Definition(
        name="calendar-sync", schedule=cron("*/15 * * * *"), action=run("/home/ada/bin/calsync"),
        overlap=Overlap.SKIP, timeout=5 * MINUTE, tags=("sync",),
    ), Manner(seconds=6, spread=0.8, fails=0.02, times_out=0.01)  # fmt: skip
    yield Definition(
        name="heartbeat", schedule=every_schedule(5 * MINUTE, start, ZONE),
        action=run("/usr/bin/curl", "-fsS", "https://status.example.org/ping"), tags=("ops",),
    ), Manner(seconds=0.4, spread=0.9)  # fmt: skip
    yield Definition(
        name="invoices", schedule=cron("20 * * * *"), protected=True,
        action=run("/home/ada/bin/invoices"),
        tags=("finance",), grace=2 * MINUTE, catch_up=CatchUp.ALL, window=6 * HOUR,
    ), Manner(seconds=38)  # fmt: skip
    yield Definition(
        name="search index", schedule=cron("10 */2 * * *"), action=shell("cd ~/site && make index"),
        tags=("site",), retries=1,
    ), Manner(seconds=75, fails=0.3, says="make: *** [index] Error 1")  # fmt: skip
    yield Definition(
        name="weekly-report", schedule=cron("0 9 * * 1"),
        action=run("/home/ada/bin/report", "--weekly"),
        timeout=20 * MINUTE, tags=("finance", "mail"),
    ), Manner(seconds=300)  # fmt: skip
    yield Definition(
        name="log-rotation", schedule=cron("5 3 * * *"),
        action=run("/usr/sbin/logrotate", "/home/ada/.logrotate"),
    ), Manner(seconds=2)  # fmt: skip
    yield Definition(
        name="price-watch", schedule=every_schedule(40 * MINUTE, start, ZONE),
        action=run("/home/ada/bin/prices"),
        catch_up=CatchUp.NONE,
    ), Manner(seconds=14, fails=0.08, times_out=0.05)  # fmt: skip


def briefing() -> Definition:
    """A job of Hermes', mirrored."""
    return Definition(
        name="morning briefing",
        schedule=foreign_schedule("every day at 8am", ZONE),
        action=Call(target="hermes:b41f"),
    )


GATEWAY = "/opt/gateway/bin/gateway"
DESKTOP = "/opt/Desktop/desktop"
POLICY = f'''timezone = "{ZONE}"

[[owner]]
executable = "{GATEWAY}"

[[owner]]
executable = "{DESKTOP}"
after = "5m"
'''
RULE1, RULE2 = (
    f"rule {number} admits it: it asks for {path} in the process or above it, and {path} is in its "
    "chain"
    for number, path in ((1, GATEWAY), (2, DESKTOP))
)


def fill(
    profile: Profile, now: datetime, *, policy: str = POLICY, foreign: bool = False, seed: int = 7
) -> None:
    """Live through the three days before ``now``. The last owner has gone when this returns.

    ``foreign``: also a job that Hermes plans, which keeps processes without Hermes from owning.
    """
    start = now - 3 * DAY
    story = Story(profile=profile, now=start, random=random.Random(seed), manners={})
    profile.folder.toml.write_text(policy)
    profile.refresh_policy("ada", start)
    with profile.store.batch():
        for definition, manner in jobs(start):
            story.manners[definition.name] = manner
            profile.store.add_job(definition, by="ada, pid 4811, tenure add", now=start)
    if foreign:
        profile.store.add_job(briefing(), by="ada, pid 901, gateway", now=start)
    with profile.store.batch():
        first_gateway(story, now)
        desktop(story, now)
        second_gateway(story, now)


def first_gateway(story: Story, now: datetime) -> None:
    """It dies in the evening, in the middle of a run."""
    gateway = process("p1", "gateway", story.now, 2210, GATEWAY, RULE1)
    story.take(gateway, rule=0, authoritative=True)
    story.live(now - 20 * HOUR)
    price = story.store.job("price-watch")
    longer = price.definition.with_changes(timeout=2 * MINUTE)
    story.store.edit_job(
        price.id, price.revision, longer, by="ada, pid 5100, tenure edit", now=story.now
    )
    story.live(now - 19 * HOUR)
    while not story.pending:
        story.live(story.store.next_due() + timedelta(milliseconds=100))
    story.die()


def desktop(story: Story, now: datetime) -> None:
    """It takes over in the night, and may not run what is protected."""
    story.now = now - 17.5 * HOUR
    fallback = process("p2", "desktop", story.now, 8054, DESKTOP, RULE2)
    story.take(fallback, rule=1, authoritative=False)
    story.lose()
    story.live(now - 16 * HOUR)
    story.ask("invoices", RequestState.REFUSED,
              "invoices is protected, and the owner is not authoritative")  # fmt: skip
    story.live(now - 9 * HOUR)
    story.step_down("a better-ranked candidate is there")


def second_gateway(story: Story, now: datetime) -> None:
    """It runs what was held."""
    story.now += timedelta(seconds=1)
    gateway = process("p3", "gateway", story.now, 9120, GATEWAY, RULE1)
    story.take(gateway, rule=0, authoritative=True)
    story.live(now - 5 * HOUR)
    story.ask("search index", RequestState.WITHDRAWN, "withdrawn by whoever asked")
    story.live(now - 2 * HOUR)
    weekly = story.store.job("weekly-report")
    story.store.set_job_state(
        weekly.id, JobState.PAUSED, by="ada, pid 6021, tenure pause", now=story.now
    )
    story.live(now - timedelta(seconds=40))
    story.step_down("stopped: SIGTERM")


def main() -> None:
    home, name = Path(sys.argv[1]), sys.argv[2]
    now = datetime.now(UTC)
    profile = Profile.open(name, home=home, create=True, now=now - 4 * DAY)
    fill(profile, now)
    profile.close()


if __name__ == "__main__":
    main()
