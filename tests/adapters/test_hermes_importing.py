"""Hermes' jobs as native ones: jobs.json as 0.16, 0.18 and 0.19 wrote it, and what it can hold.

The recorded files in hermes_jobs/ were made with each version's own ``hermes cron create``, in a
home whose zone is Europe/Berlin on a machine in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hermestree import Tree

from tenure.adapters.hermes_import.command import LONGEST_PROMPT, HermesRuntime, notes
from tenure.adapters.hermes_import.importer import (
    TAG,
    HermesTarget,
    mirrored_in,
    pause_commands,
    plan_import,
)
from tenure.adapters.hermes_import.source import hermes_command, hermes_jobs
from tenure.adapters.importer import Action, ImportedJob, add_jobs, read_existing
from tenure.client.apply import all_jobs
from tenure.domain.errors import Conflict, NotFound, OutcomeUnknown
from tenure.domain.job import Call, CatchUp, Command, Definition, JobState
from tenure.domain.schedule.model import every_schedule
from tenure.runtime.profile import Profile

RECORDED = Path(__file__).parent / "hermes_jobs"
VERSIONS = ("0.19.0", "0.18.2", "0.16.0")
NOW = datetime(2026, 11, 22, 14, 10, tzinfo=UTC)
"""Some minutes after the recording."""
PYTHON = "/opt/hermes/bin/python"
_ODD_DAYS_OR_MONDAY = {"fields": [[30], [2], list(range(1, 32, 2)), ["*"], [1]]}
_TENS = {"fields": [["*"]] * 5 + [[0, 10, 20, 30, 40, 50]]}
EXPANDED = {}
"""The recorded expressions as croniter expands them, by id."""
for _version in VERSIONS:
    for _job in json.loads((RECORDED / f"{_version}.json").read_text())["jobs"]:
        if _job["name"] in ("night agent", "tens"):
            EXPANDED[_job["id"]] = _TENS if _job["name"] == "tens" else _ODD_DAYS_OR_MONDAY


@pytest.fixture
def importing(tree: Tree) -> HermesTarget:
    scripts = tree.home.path / "scripts"
    scripts.mkdir()
    for name in ("watch.sh", "collect.py"):
        (scripts / name).touch()
    means = HermesRuntime(python=PYTHON, version="0.19.0", script_timeout=3600)
    return HermesTarget(
        home=tree.home, means=means, zone="Europe/Berlin", now=NOW, answers=EXPANDED
    )


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Profile]:
    opened = Profile.open("default", home=tmp_path / "tenure", create=True, now=NOW)
    yield opened
    opened.close()


def a_job(**fields: Any) -> dict[str, Any]:
    """A script job that is as plain as can be."""
    return {
        "id": "c0ffee000001", "name": "plain", "script": "watch.sh", "no_agent": True,
        "schedule": {"kind": "cron", "expr": "0 9 * * *", "display": "0 9 * * *"},
        "enabled": True, "state": "scheduled", "deliver": "local", **fields,
    }  # fmt: skip


def an_agent(**fields: Any) -> dict[str, Any]:
    return a_job(**{"script": None, "no_agent": False, "prompt": "Say hi.", **fields})


def one(importing: HermesTarget, **fields: Any) -> ImportedJob:
    (found,) = plan_import([a_job(**fields)], importing)
    return found


def argv(job: ImportedJob) -> tuple[str, ...]:
    return command(job).argv


def command(job: ImportedJob) -> Command:
    assert job.definition is not None, job.why
    assert isinstance(job.definition.action, Command)
    return job.definition.action


def recorded(tree: Tree, version: str) -> list[Any]:
    tree.home.jobs_file.write_bytes((RECORDED / f"{version}.json").read_bytes())
    return list(hermes_jobs(tree.home))


# -- recorded files -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_file_becomes_jobs(tree: Tree, importing: HermesTarget, version: str) -> None:
    plan = plan_import(recorded(tree, version), importing)
    assert [job.action for job in plan] == [Action.ADD] * 8
    found = {job.name: job for job in plan}
    assert {name for name, job in found.items() if job.paused} == {"lunch", "news"}
    words = {n: j.definition.schedule.describe() for n, j in found.items() if j.definition}
    later = "09:00" if version != "0.16.0" else "11:00"  # 0.16 reads it in the system's zone
    assert words == {
        "watch": "every 30 minutes",
        "collect": "at 09:00 every day (Europe/Berlin)",
        "night agent": "at 02:30 on every second day of the month, from the 1st or on Monday "
        "(Europe/Berlin)",
        "tens": "every 10th second of every minute (Europe/Berlin)",
        "later": f"once at 2031-05-01 {later} (Europe/Berlin)",
        "Look at the oven.": words["Look at the oven."],
        "news": "at 10:15 on Monday through Friday (Europe/Berlin)",
        "lunch": "at 12:00 every day (Europe/Berlin)",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_lost_is_said_for_each(tree: Tree, importing: HermesTarget, version: str) -> None:
    lost = {job.name: " ".join(job.lost) for job in plan_import(recorded(tree, version), importing)}
    assert {name for name, text in lost.items() if text} == {"collect", "tens", "news"}
    assert "not sent to telegram:-100" in lost["collect"]
    assert "hermes -p la send --to" in lost["collect"]
    assert "after 5 runs" in lost["tens"]
    assert "collect.py" in lost["news"]
    assert "home channel" in lost["news"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interval_keeps_hermes_next_run(
    tree: Tree, importing: HermesTarget, version: str
) -> None:
    job = recorded(tree, version)[0]
    (found,) = plan_import([job], importing)
    assert found.definition is not None
    first = found.definition.schedule.next_after(NOW)
    assert first == datetime.fromisoformat(job["next_run_at"]).replace(microsecond=0)
    assert found.definition.catch_up is CatchUp.LATEST
    assert "from the end of each run" in found.differs[0]


def test_a_one_shot_that_is_past_is_left_out(tree: Tree, importing: HermesTarget) -> None:
    importing = replace(importing, now=NOW + timedelta(days=1))
    found = {job.name: job for job in plan_import(recorded(tree, "0.19.0"), importing)}
    assert found["Look at the oven."].action is Action.SKIP
    assert "past" in found["Look at the oven."].why
    assert found["later"].action is Action.ADD
    assert any("overdue" in text for text in found["watch"].differs)
    assert not any("overdue" in text for text in found["lunch"].differs)  # paused there


# -- reading ------------------------------------------------------------------------------------


def test_jobs_are_chosen_by_id_or_name(tree: Tree) -> None:
    jobs = recorded(tree, "0.19.0")
    assert hermes_jobs(tree.home, ["watch", jobs[2]["id"]]) == [jobs[0], jobs[2]]
    with pytest.raises(NotFound, match="it has watch"):
        hermes_jobs(tree.home, ["wtach"])


def test_an_odd_file_is_read_as_hermes_reads_it(tree: Tree) -> None:
    assert hermes_jobs(tree.home) == []
    jobs = [a_job(), {"job_id": 7, "schedule": None}, "no job", {}]
    tree.home.jobs_file.write_text("\ufeff" + json.dumps(jobs), "utf-8")
    assert [job["id"] for job in hermes_jobs(tree.home)] == ["c0ffee000001", "7"]
    tree.home.jobs_file.write_text("{")
    with pytest.raises(OutcomeUnknown, match="not JSON"):
        hermes_jobs(tree.home)


# -- scripts ------------------------------------------------------------------------------------


def test_a_script_runs_as_hermes_runs_it(importing: HermesTarget) -> None:
    importing = replace(importing, means=replace(importing.means, env={"HOME": "/h"}))
    scripts = importing.home.path / "scripts"
    shell, python = one(importing), one(importing, script="collect.py", workdir="/tmp")
    assert Path(argv(shell)[0]).name == "bash"
    assert argv(shell)[1:] == (str(scripts / "watch.sh"),)
    assert argv(python) == (PYTHON, str(scripts / "collect.py"))
    for job in (shell, python):
        assert command(job).cwd == str(scripts)  # Hermes starts it there, whatever workdir says
        assert command(job).env == {"HERMES_HOME": str(importing.home.path), "HOME": "/h"}
        assert job.definition is not None
        assert job.definition.timeout == timedelta(hours=1)
        assert (job.lost, job.differs) == ((), ())


def test_a_script_that_hermes_refuses_is_refused(importing: HermesTarget, tmp_path: Path) -> None:
    (importing.home.path / "scripts" / "link.sh").symlink_to(tmp_path / "elsewhere.sh")
    for script in ("/bin/true", "../../evil.sh", "link.sh"):
        found = one(importing, script=script)
        assert (found.action, "lies outside" in found.why) == (Action.SKIP, True)
    inside = importing.home.path / "scripts" / "watch.sh"
    assert argv(one(importing, script=str(inside)))[1] == str(inside)


def test_a_script_that_is_missing_is_said(importing: HermesTarget) -> None:
    assert "does not exist" in one(importing, script="gone.sh").lost[0]
    assert one(importing, script=None).action is Action.SKIP


def test_a_python_script_needs_hermes_python(importing: HermesTarget) -> None:
    importing = replace(importing, means=HermesRuntime())
    found = one(importing, script="collect.py")
    assert (found.action, found.remedy) == (Action.SKIP, "--hermes-python PATH")
    assert one(importing).action is Action.ADD


def test_016_runs_a_job_in_the_profile_that_it_names(tree: Tree, importing: HermesTarget) -> None:
    other = tree.make_home(tree.root / "profiles" / "lb")
    (other.path / "scripts").mkdir()
    for version, home in (("0.16.0", other), ("0.19.0", tree.home)):
        means = replace(importing.means, version=version)
        found = one(replace(importing, means=means), profile="lb")
        assert command(found).env["HERMES_HOME"] == str(home.path)


# -- agents -------------------------------------------------------------------------------------


def test_an_agent_becomes_a_quiet_chat(importing: HermesTarget, tmp_path: Path) -> None:
    job = an_agent(
        prompt="-n what\nis it?", model="m", provider="p", skills=["a", "b"], skill="a",
        enabled_toolsets=["web", "file"], workdir=str(tmp_path),
    )  # fmt: skip
    (found,) = plan_import([job], importing)
    assert argv(found) == (
        PYTHON, "-m", "hermes_cli.main", "-p", "la", "chat", "-Q", "--source", "cron",
        "-m", "m", "--provider", "p", "-t", "web,file", "-s", "a", "-s", "b",
        "--query=-n what\nis it?",
    )  # fmt: skip
    assert command(found).env == {"HERMES_HOME": str(importing.home.root)}
    assert command(found).cwd == str(tmp_path)
    assert (found.lost, found.paused) == ((), False)


def test_without_hermes_python_the_command_is_hermes(importing: HermesTarget) -> None:
    (found,) = plan_import([an_agent()], replace(importing, means=HermesRuntime()))
    assert argv(found)[:3] == ("hermes", "-p", "la")


@pytest.mark.parametrize(
    ("field", "word"),
    [({"script": "collect.py"}, "collect.py"), ({"context_from": ["abc"]}, "abc"),
     ({"context_from": "abc"}, "abc"), ({"base_url": "http://x/v1"}, "http://x/v1")],
)  # fmt: skip
def test_an_agent_that_would_lack_something_essential_is_paused(
    importing: HermesTarget, field: dict[str, Any], word: str
) -> None:
    (found,) = plan_import([an_agent(**field)], importing)
    assert found.paused
    assert word in found.lost[0]
    # It goes on in Hermes, so it is not paused there.
    assert pause_commands([found], importing.home) == []


@pytest.mark.parametrize(
    ("field", "word"),
    [({"deliver": "telegram:-1:7"}, "telegram:-1:7"),
     ({"deliver": ["discord", "local"]}, "discord"),
     ({"deliver": "origin", "origin": {"platform": "slack", "chat_id": "C"}}, "made in (slack)"),
     ({"deliver": "origin"}, "home channel"), ({"deliver": "all"}, "all of Hermes' home channels"),
     ({"attach_to_session": True}, "chat that it belongs to"),
     ({"repeat": {"times": 3, "completed": 1}}, "after 3 runs (1 are done)"),
     ({"model_snapshot": "big", "provider_snapshot": "x"}, "model big and provider x"),
     ({"workdir": "/no/such"}, "/no/such is gone"), ({"prompt": "", "skill": "s"}, "no prompt"),
     ({"later_field": [1]}, "later_field")],
)  # fmt: skip
def test_what_a_command_does_not_do_is_said(
    importing: HermesTarget, field: dict[str, Any], word: str
) -> None:
    (found,) = plan_import([an_agent(**field)], importing)
    assert found.action is Action.ADD
    assert not found.paused
    assert [word in text for text in found.lost] == [True]


@pytest.mark.parametrize(
    "field",
    [{"deliver": None}, {"deliver": "local"}, {"deliver": []}, {"origin": "text"}, {"repeat": None},
     {"repeat": {"times": None}}, {"model_snapshot": "m", "model": "m"}, {"later_field": None}],
)  # fmt: skip
def test_nothing_is_said_where_nothing_is_lost(
    importing: HermesTarget, field: dict[str, Any]
) -> None:
    (found,) = plan_import([an_agent(**field)], importing)
    assert found.lost == ()


def test_an_agent_with_nothing_to_do_or_too_much_is_refused(importing: HermesTarget) -> None:
    for prompt, word in ((None, "neither"), ("x" * (LONGEST_PROMPT + 1), "longer")):
        (found,) = plan_import([an_agent(prompt=prompt)], importing)
        assert (found.action, word in found.why) == (Action.SKIP, True)


def test_what_holds_for_all_is_said_once(importing: HermesTarget) -> None:
    def said(*jobs: dict[str, Any]) -> str:
        plan = plan_import(jobs, importing)
        return "\n".join(notes([j.definition for j in plan if j.definition], importing.home))

    assert said(a_job()) == ""
    (importing.home.path / ".env").write_text("A=b\n")
    assert "not those that Hermes reads" in said(a_job())
    assert "approval" in said(an_agent())
    assert "not those that Hermes reads" not in said(an_agent())


# -- states, schedules, names ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "action", "paused"),
    [({"enabled": False}, Action.ADD, True), ({"state": "paused"}, Action.ADD, True),
     ({"state": "error"}, Action.ADD, False),
     ({"state": "completed", "enabled": False}, Action.SKIP, False)],
)  # fmt: skip
def test_the_state_is_kept(
    importing: HermesTarget, field: dict[str, Any], action: Action, paused: bool
) -> None:
    found = one(importing, **field)
    assert (found.action, found.paused) == (action, paused)


def test_what_hermes_gave_up_is_said(importing: HermesTarget) -> None:
    found = one(importing, state="error", last_error="no croniter", next_run_at=None)
    assert found.differs == ("Hermes gave up planning it: no croniter",)
    assert one(importing, state="error", enabled=False).differs == ()


@pytest.mark.parametrize(
    ("schedule", "word"),
    [(None, "never runs it"), ("every 30m", "never runs it"),
     ({"kind": "interval", "minutes": 0}, "0"),
     ({"kind": "cron", "expr": "0 9 * * * 0 2030"}, "years"),
     ({"kind": "cron", "expr": "0 0 30 2 *"}, "30 2"),
     ({"kind": "interval", "minutes": 10**7}, "3660"),
     ({"kind": "interval", "minutes": 10**30}, "too long")],
)  # fmt: skip
def test_a_schedule_that_cannot_be_had_is_said(
    importing: HermesTarget, schedule: object, word: str
) -> None:
    found = one(importing, schedule=schedule)
    assert (found.action, word in found.why) == (Action.SKIP, True), found.why


def test_names_are_made_unique(importing: HermesTarget) -> None:
    long = "n" * 300
    jobs = [a_job(id=f"c0ffee00000{n}", name=name)
            for n, name in enumerate(["a", "a", "b\tc\n", "", long, long])]  # fmt: skip
    jobs[3]["prompt"] = "  do\nthis "
    importing = replace(importing, prefix="la: ")
    names = [job.name for job in plan_import(jobs, importing)]
    assert names[:4] == ["la: a", "la: a (c0ffee000001)", "la: b c", "la: do this"]
    assert len(set(names)) == 6
    for job in plan_import(jobs, importing):
        assert job.definition is not None
        assert job.definition.name == job.name


# -- writing --------------------------------------------------------------------------------------


def test_all_are_added_and_a_second_time_none(
    tree: Tree, importing: HermesTarget, profile: Profile
) -> None:
    jobs = recorded(tree, "0.19.0")
    before = tree.home.jobs_file.read_bytes()
    added = add_jobs(profile.store, plan_import(jobs, importing), tag=TAG, by="me", now=NOW)
    assert len(added) == 8
    assert {job.name for job in added if job.state is JobState.PAUSED} == {"lunch", "news"}
    standing = read_existing(all_jobs(profile.store), TAG)
    again = plan_import(jobs, replace(importing, existing=standing, prefix="other "))
    assert [(job.action, job.name) for job in again] == [(Action.PRESENT, j.name) for j in added]
    assert add_jobs(profile.store, again, tag=TAG, by="me", now=NOW) == []
    late = plan_import(jobs, importing)  # as planned by somebody who did not see the first import
    assert add_jobs(profile.store, late, tag=TAG, by="me", now=NOW) == []
    assert len(all_jobs(profile.store)) == 8
    assert tree.home.jobs_file.read_bytes() == before


def test_a_job_that_was_removed_here_comes_back(importing: HermesTarget, profile: Profile) -> None:
    (job,) = add_jobs(profile.store, plan_import([a_job()], importing), tag=TAG, by="me", now=NOW)
    profile.store.set_job_state(job.id, JobState.REMOVED, by="me", now=NOW)
    standing = read_existing(all_jobs(profile.store), TAG)
    (found,) = plan_import([a_job()], replace(importing, existing=standing))
    assert found.action is Action.ADD


def test_all_or_nothing(importing: HermesTarget, profile: Profile) -> None:
    plan = plan_import([a_job(), a_job(id="c0ffee000002", name="second")], importing)
    taken = plan[1].definition
    assert taken is not None
    profile.store.add_job(replace(taken, tags=()), by="somebody", now=NOW)
    with pytest.raises(Conflict, match="nothing was imported"):
        add_jobs(profile.store, plan, tag=TAG, by="me", now=NOW)
    assert [job.name for job in all_jobs(profile.store)] == ["second"]


def test_what_an_adopted_profile_mirrors_is_not_doubled(
    importing: HermesTarget, profile: Profile
) -> None:
    mirrored = Definition(
        name="plain", schedule=every_schedule(timedelta(hours=1), NOW),
        action=Call(target="hermes:c0ffee000001"),
    )  # fmt: skip
    profile.store.add_job(mirrored, by="hermes", now=NOW)
    found = one(replace(importing, mirrored=mirrored_in(all_jobs(profile.store))))
    assert (found.action, "gateway runs it" in found.why) == (Action.SKIP, True)


def test_what_to_type_so_that_nothing_runs_twice(tree: Tree, importing: HermesTarget) -> None:
    plan = plan_import(recorded(tree, "0.19.0"), importing)
    typed = pause_commands(plan, tree.home)
    assert typed[0] == f"hermes -p la cron pause {plan[0].id}"
    assert len(typed) == 6  # not the one that is paused there, nor the one that is paused here
    elsewhere = replace(tree.home, root=Path("/opt/my hermes"))
    assert hermes_command(elsewhere) == "HERMES_HOME='/opt/my hermes' hermes -p la"
