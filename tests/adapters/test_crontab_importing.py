"""What becomes of the lines of a crontab: the definition, what is lost, where crons differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.adapters.crontab.importer import TAG, CrontabJob, CrontabTarget, notes, plan_lines
from tenure.adapters.crontab.lines import read_crontab
from tenure.adapters.crontab.times import Dialect
from tenure.adapters.importer import Action, ExistingJobs, add_jobs, read_existing, resolve_names
from tenure.client.apply import all_jobs
from tenure.domain.errors import Conflict
from tenure.domain.job import CatchUp, Command, Definition, JobState, Overlap
from testkit.memory_store.store import MemoryStore

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def plan(
    text: str,
    *,
    system: bool = False,
    dialect: Dialect = Dialect.DEBIAN,
    user: str = "alice",
    of: str = "alice",
    zone: str = "Europe/Berlin",
) -> tuple[CrontabJob, ...]:
    read = read_crontab(text, system=system, dialect=dialect)
    assert read.wrong == ()
    importing = CrontabTarget(user=user, of=of, zone=zone, now=NOW, dialect=dialect)
    return plan_lines(read, importing)


def only(text: str, **how: object) -> CrontabJob:
    (planned,) = plan(text, **how)  # type: ignore[arg-type]
    return planned


def wants(planned: CrontabJob) -> Definition:
    assert planned.definition is not None, planned.why
    return planned.definition


def test_a_job_at_a_fixed_time_is_run_after_a_short_suspend_as_cron_does() -> None:
    made = wants(only("30 2 * * * /usr/local/bin/backup.sh\n"))
    assert made.schedule.expression == "30 2 * * *".upper()
    assert made.schedule.timezone == "Europe/Berlin"
    assert (made.catch_up, made.window) == (CatchUp.LATEST, timedelta(hours=3))
    assert made.overlap is Overlap.ALLOW
    assert made.name == "backup.sh"


def test_a_job_with_a_star_is_not_run_later() -> None:
    made = wants(only("*/5 * * * * x\n"))
    assert (made.catch_up, made.window) == (CatchUp.NONE, None)


def test_the_tag_is_that_of_the_line_whatever_stands_around_it() -> None:
    first = only("0 1 * * * x\n")
    second = plan("# new\nA=1\n5 5 * * * other\n 0  1 * * *\tx\n")[1]
    assert wants(first).tags == wants(second).tags == (TAG + first.id,)
    assert only("0 1 * * * y\n").id != first.id != only("0 2 * * * x\n").id


def test_the_same_line_twice_is_two_jobs() -> None:
    settled = resolve_names((plan("0 1 * * * x\n0 1 * * * x\n")), ExistingJobs())
    assert [job.name for job in settled] == ["x", "x-2"]
    assert settled[1].id == f"{settled[0].id}-2"


def test_reboot_and_days_that_never_come_are_not_imported() -> None:
    found = list(plan("@reboot x\n0 0 31 2 * y\n"))
    assert [job.action for job in found] == [Action.SKIP, Action.SKIP]
    assert "@reboot" in found[0].why
    assert "never runs" in found[1].why


def test_a_job_of_another_user_is_refused() -> None:
    text = "0 1 * * * root a\n0 1 * * * alice b\n"
    root, alice = plan(text, system=True)
    assert root.action is Action.SKIP
    assert "runs as root" in root.why
    assert "as root" in root.remedy
    assert alice.action is Action.ADD
    taken, left = plan(text, system=True, of="root")
    assert (taken.action, left.action) == (Action.ADD, Action.SKIP)
    assert any("runs here as alice" in said for said in taken.differs)


def test_mail_is_said() -> None:
    paul = only("MAILTO=paul\n0 1 * * * x\n")
    assert any("paul" in said for said in paul.lost)
    silent = only('MAILTO=""\n0 1 * * * x\n')
    assert silent.lost == ()
    owner = only("0 1 * * * x\n")
    assert owner.lost == ()
    assert any("mails" in note for note in notes([owner]))
    assert not any("mails" in note for note in notes([silent]))
    assert notes(plan("@reboot x\n")) == []


def test_zones_are_crons() -> None:
    text = "CRON_TZ=Asia/Tokyo\n0 1 * * * x\n"
    debian, cronie = only(text), only(text, dialect=Dialect.CRONIE)
    assert wants(debian).schedule.timezone == "Europe/Berlin"
    assert any("CRON_TZ" in said for said in debian.differs)
    assert wants(cronie).schedule.timezone == "Asia/Tokyo"
    bad = only("CRON_TZ=Mars/Olympus\n0 1 * * * x\n", dialect=Dialect.CRONIE)
    assert bad.action is Action.SKIP
    command = only("TZ=Asia/Tokyo\n0 1 * * * x\n")
    assert wants(command).schedule.timezone == "Europe/Berlin"
    assert any("the command only" in said for said in command.differs)


def test_cronies_delay_is_jitter() -> None:
    text = "RANDOM_DELAY=45\n0 1 * * * x\n"
    assert wants(only(text, dialect=Dialect.CRONIE)).jitter == timedelta(minutes=45)
    assert wants(only(text)).jitter == timedelta(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 1 * * * a\\\\b\n", "two backslashes"),
        ("0 1 * * * a\r\n", "Windows"),
        ("0 1 * * * a", "newline"),
        ("LOGNAME=x\n0 1 * * * a\n", "LOGNAME"),
        ("0,30 2 * * * a\n", "2026-03-29"),
    ],
)
def test_where_it_is_read_otherwise_is_said(text: str, said: str) -> None:
    assert any(said in word for word in only(text).differs), only(text).differs


def test_a_shell_and_a_home_that_are_not_there_are_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    found = only(f"SHELL={gone}/sh\nHOME={gone}\n0 1 * * * x\n").lost
    assert [str(gone) in said for said in found] == [True, True]


# -- carrying out ------------------------------------------------------------------------------
def carried(store: MemoryStore, text: str) -> list[str]:
    standing = read_existing(all_jobs(store), TAG)
    settled = resolve_names((planned for planned in plan(text)), standing)
    return [job.name for job in add_jobs(store, settled, tag=TAG, by="me", now=NOW)]


def test_importing_again_adds_only_what_is_new() -> None:
    store = MemoryStore()
    assert carried(store, "0 1 * * * a\n0 2 * * * b\n") == ["a", "b"]
    assert carried(store, "0 2 * * * b\n0 3 * * * b\n0 1 * * * a\n") == ["b-2"]
    assert carried(store, "0 2 * * * b\n0 3 * * * b\n0 1 * * * a\n") == []


def test_what_came_in_meanwhile_is_left_out_and_a_taken_name_stops_everything() -> None:
    store = MemoryStore()
    settled = resolve_names((plan("0 1 * * * a\n0 2 * * * b\n")), ExistingJobs())
    assert carried(store, "0 2 * * * b\n") == ["b"]
    assert [j.name for j in add_jobs(store, settled, tag=TAG, by="me", now=NOW)] == ["a"]
    other = resolve_names((plan("0 5 * * * c\n0 6 * * * b\n")), ExistingJobs())
    with pytest.raises(Conflict):
        add_jobs(store, other, tag=TAG, by="me", now=NOW)
    assert sorted(job.name for job in all_jobs(store)) == ["a", "b"]


def test_a_removed_job_can_be_imported_again() -> None:
    store = MemoryStore()
    carried(store, "0 1 * * * a\n")
    (job,) = all_jobs(store)
    store.set_job_state(job.id, JobState.REMOVED, by="me", now=NOW)
    assert carried(store, "0 1 * * * a\n") == ["a"]


WHEN = st.sampled_from(["0 1 * * *", "*/5 * * * *", "@daily", "@reboot", "0 0 31 2 *", "1 2 3 4 5"])
ENV = st.sampled_from(["A=1", "SHELL=x", "HOME=/", "CRON_TZ=x", "TZ=:", "RANDOM_DELAY=x", "PATH=/"])
LINES = st.one_of(ENV, st.tuples(WHEN, st.text(max_size=30)).map(" ".join))


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=8), st.sampled_from(Dialect))
def test_every_line_that_was_read_becomes_a_job_or_says_why_not(
    rows: list[str], dialect: Dialect
) -> None:
    read = read_crontab("\n".join(rows), dialect=dialect)
    importing = CrontabTarget(user="me", of="me", zone="UTC", now=NOW, dialect=dialect)
    made = plan_lines(read, importing)
    assert len(made) == len(read.lines)
    settled = resolve_names((planned for planned in made), ExistingJobs())
    names = [job.name for job in settled if job.definition is not None]
    assert len(names) == len(set(names))
    for job in settled:
        assert (job.definition is None) == (job.action is Action.SKIP)
        assert job.why if job.definition is None else isinstance(job.definition.action, Command)
