"""A day that has been: 23 hours of a profile's history, written by the store's own verbs.

A gateway owned until it was killed in the night; a desktop stood in for an hour and a half, during
which protected fires were held; the gateway came back and ran what was held. What each job does,
and how long it takes, is the same every time. Nothing is left running, and nobody owns.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenure.domain.job import Command, Definition
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.policy.change import PolicyFile
from tenure.domain.policy.evidence import ChainLink, Identity
from tenure.domain.policy.text import make_policy
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import Result, Run, RunState, Start
from tenure.domain.schedule.parser import parse_schedule
from tenure.host.processes import boot_id, observe
from tenure.runtime.profile import Profile
from tenure.store.contract import Store
from tenure.store.folder.policy_file import read_policy_file
from tenure.store.ids import new_id
from testkit.factories import ended, plan_round, take

LASTED = timedelta(hours=23, minutes=10)
STEP = timedelta(seconds=30)
WAVE = (0.7, 1.0, 1.3, 0.9, 1.7, 0.8, 1.1)


@dataclass(frozen=True, kw_only=True)
class Habit:
    """A job of the day: how long it takes, and which of its runs go wrong."""

    name: str
    schedule: str
    command: str
    takes: float
    fails: tuple[int, ...] = ()
    protected: bool = False
    tags: tuple[str, ...] = ()


HABITS = (
    Habit(name="read-mail", schedule="*/20 * * * *", command="read-mail --new", takes=4.2,
          protected=True, tags=("mail",)),
    Habit(name="summarise-inbox", schedule="5 * * * *", command="agent run 'summarise the inbox'",
          takes=95, fails=(4, 17), protected=True, tags=("mail", "agent")),
    Habit(name="sync-calendar", schedule="*/30 * * * *", command="sync-calendar", takes=2.5,
          fails=(21,)),
    Habit(name="backup-photos", schedule="30 2 * * *", command="backup --photos",
          takes=1480, tags=("nightly",)),
    Habit(name="watch-prices", schedule="0 */2 * * *", command="agent run 'watch the prices'",
          takes=31, tags=("agent",)),
    Habit(name="standup-notes", schedule="45 8 * * 1-5", command="standup-notes --post",
          takes=12),
    Habit(name="weekly-report", schedule="0 9 * * 1", command="weekly-report", takes=60,
          protected=True),
)  # fmt: skip
PROGRAMS = sorted({habit.command.split()[0] for habit in HABITS})
TENURES = (
    # hours after the beginning: from, to, who, whether authoritative, how its term began, why ended
    (0.0, 6.3, "gateway", True, OwnershipAction.TAKE, ""),
    (
        6.5,
        8.2,
        "desktop",
        False,
        OwnershipAction.TAKE_FROM_DEAD,
        "a better-ranked candidate is there",
    ),
    (8.2, 23.1, "gateway", True, OwnershipAction.TAKE, "its process was told to stop"),
)


def live_through(
    profile: Profile, until: datetime, *, habits: Iterable[Habit] = HABITS, zone: str = "UTC"
) -> None:
    """Write the day that ends at ``until``. The profile is new, and its file has the two rules."""
    store, begin = profile.store, until - LASTED
    written = read_policy_file(profile.folder.toml)
    assert isinstance(written, PolicyFile)
    store.accept_policy(make_policy(written.rules, version=1), "gateway", begin)
    day = Day(store, begin, habits, zone)
    for number, (start, end, who, authoritative, act, why) in enumerate(TENURES):
        joined, gone = begin + timedelta(hours=start), begin + timedelta(hours=end)
        id = new_id("p", joined)
        store.join(_process(id, who, joined, number))
        authority = _take(store, id, joined, authoritative, act)
        day.work(authority, joined, gone)
        if why:
            store.end_term(authority, act=OwnershipAction.HAND_OVER, why=why, now=gone)
        store.leave(id, gone, died=not why, why=why or "killed")


class Day:
    """The jobs, and what becomes of their runs."""

    def __init__(self, store: Store, begin: datetime, habits: Iterable[Habit], zone: str) -> None:
        self.store = store
        self.habits: dict[str, Habit] = {}
        self.times: Counter[str] = Counter()
        for habit in habits:
            wants = Definition(
                name=habit.name,
                schedule=parse_schedule(habit.schedule, now=begin, timezone=zone),
                action=Command(argv=(habit.command,), shell=True),
                protected=habit.protected,
                tags=habit.tags,
            )
            job = store.add_job(wants, by="ada, pid 3120, tenure add", now=begin)
            self.habits[job.id] = habit

    def work(self, authority: Authority, start: datetime, end: datetime) -> None:
        """What an owner does: claim what is due, and see it finish."""
        going: list[tuple[datetime, str, Result]] = []
        now = start
        while now < end:
            self._finish(going, now)
            claimed = plan_round(self.store, authority, now)
            for run in (run for each in claimed for run in each.runs):
                at = now + timedelta(milliseconds=40)
                self.store.start(authority, [Start(run=run.id, attempt=1, at=at, identity=None)])
                result = self._result(run, at)
                heapq.heappush(going, (result.at, run.id, result))
            now += STEP
        self._finish(going, end + LASTED)

    def _finish(self, going: list[tuple[datetime, str, Result]], now: datetime) -> None:
        while going and going[0][0] <= now:
            at, _, result = heapq.heappop(going)
            self.store.finish([result], at)

    def _result(self, run: Run, at: datetime) -> Result:
        habit = self.habits[run.job]
        number = self.times[run.job] = self.times[run.job] + 1
        ends = at + timedelta(seconds=habit.takes * WAVE[number % len(WAVE)])
        if number in habit.fails:
            return ended(run, RunState.FAILED, at=ends, exit_code=1, reason="exit code 1")
        return ended(run, at=ends)


def _take(
    store: Store, id: str, now: datetime, authoritative: bool, act: OwnershipAction
) -> Authority:
    return take(
        store, id, act=act, rule=0 if authoritative else 1, authoritative=authoritative,
        boot_id=boot_id(), now=now,
    )  # fmt: skip


def _process(id: str, role: str, at: datetime, number: int) -> Process:
    """One of the day's schedulers, below its launcher."""
    seen, pid, program = observe(), 812 + 311 * number, "/usr/bin/python3.11"
    links = (
        ChainLink(pid=pid, name="tenure", executable=program),
        ChainLink(pid=pid - 1, name=f"{role}-launcher"),
        ChainLink(pid=1, name="init"),
    )
    evidence = replace(
        seen,
        identity=Identity(boot_id=seen.identity.boot_id, pid=pid, start=pid),
        chain=links,
        observed_at=at,
        executable=program,
    )
    rule = 0 if role == "gateway" else 1
    return Process(
        id=id, evidence=evidence, joined_at=at, executes=True, standing=ProcessStatus.OWNER,
        role=role, rule=rule, why=f"rule {rule + 1} admits it",
    )  # fmt: skip
