"""Jobs that another scheduler plans: shown, triggered, cancelled here; changed there alone."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from clikit import Tenure, World

from tenure.client.edits import set_states
from tenure.client.maintenance import _settle_the_past
from tenure.domain.errors import Refused
from tenure.domain.job import Call, Definition, Job, JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import Authority
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities
from tenure.domain.request import RequestState
from tenure.domain.run import Result, Run, RunState
from tenure.domain.schedule.model import at_schedule, foreign_schedule

THERE = "is planned by another scheduler (Hermes), which keeps its definition"


def add(world: World, name: str = "backup", target: str = "hermes:1a2b", **fields: Any) -> Job:
    wants = Definition(
        name=name, schedule=foreign_schedule("every 5m"), action=Call(target=target), **fields
    )
    now = world.now()
    return world.store.add_job(wants, by="hermes", now=now, since=now - timedelta(minutes=1))


def announce(world: World, authority: Authority, job: Job, *, standing: bool = True) -> Run | None:
    now = world.now()
    rights = OwnerCapabilities(authoritative=standing)
    plan = plan_announced(Due(job=job), Announced(fire=now), rights, now)
    assert plan is not None
    (claimed,) = world.store.claim(authority, [plan], now)
    return claimed.runs[0] if claimed.runs else None


@pytest.fixture
def job(world: World) -> Job:
    return add(world)


# -- changed there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["edit", "backup", "--retries", "1"], "edit"),
        (["edit", "backup", "--schedule", "every 1h"], "edit"),
        (["edit", "backup", "--retries", "1", "--approve"], "edit"),
        (["edit", "backup", "--reset", "tags"], "edit"),
        (["edit", "backup", "--", "true"], "edit"),
        (["pause", "backup"], "pause"),
        (["resume", "backup"], "resume"),
        (["remove", "backup"], "remove"),
    ],
)
def test_a_change_is_refused_with_what_to_type_there(
    tenure: Tenure, world: World, job: Job, words: list[str], verb: str
) -> None:
    done = tenure(*words)
    assert (done.code, done.out) == (3, "")
    assert f"'backup' {THERE}" in done.err
    assert f"→ hermes cron {verb} 1a2b\n" in done.err
    assert world.store.job(job.id) == job


def test_the_refusal_as_json(tenure: Tenure, job: Job) -> None:
    done = tenure("pause", "backup", "--json")
    assert done.code == 3
    error = done.json["error"]
    assert (error["code"], error["remedy"]) == ("refused", "hermes cron pause 1a2b")
    assert error["facts"] == {"job": job.id}


def test_of_an_unknown_scheduler_the_target_is_named(tenure: Tenure, world: World) -> None:
    add(world, "odd", "bull:nightly")
    done = tenure("edit", "odd", "--retries", "1")
    assert done.code == 3
    assert "another scheduler, which keeps" in done.err
    assert "→ edit bull:nightly in the scheduler that plans it" in done.err


def test_one_that_is_over_is_changed_there_too(tenure: Tenure, world: World) -> None:
    at = world.now() - timedelta(hours=1)
    wants = Definition(
        name="once", schedule=at_schedule(at), action=Call(target="hermes:77"), tags=("hermes",)
    )
    over = world.store.add_job(wants, by="hermes", now=world.now())
    assert over.state is JobState.DONE
    done = tenure("edit", "once", "--schedule", "in 5m")
    assert (done.code, "hermes cron edit 77" in done.err) == (3, True)


def test_several_are_all_or_nothing(tenure: Tenure, world: World, job: Job) -> None:
    tenure("add", "@daily", "--name", "mine", "--", "true")
    assert tenure("pause", "mine", "backup").code == 3
    assert world.store.job("mine").state is JobState.ACTIVE


def test_all_takes_those_of_here_and_says_which_are_left(
    tenure: Tenure, world: World, job: Job
) -> None:
    tenure("add", "@daily", "--name", "mine", "--", "true")
    done = tenure("pause", "--all")
    assert (done.code, done.out) == (3, "paused: mine\n")
    assert "not paused: backup, which Hermes plans" in done.err
    assert "→ hermes cron pause 1a2b" in done.err
    assert world.store.job("mine").state is JobState.PAUSED
    assert world.store.job("backup").state is JobState.ACTIVE
    assert tenure("resume", "--all").code == 0
    again = tenure("pause", "--all", "--json")
    assert again.code == 3
    names = {key: [j["name"] for j in again.json[key]] for key in ("jobs", "left")}
    assert names == {"jobs": ["mine"], "left": ["backup"]}


def test_a_state_is_changed_in_one_place(world: World, job: Job) -> None:
    """The mirror goes by the store; everybody else by this."""
    paused = world.store.set_job_state(job.id, JobState.PAUSED, by="hermes", now=world.now())
    assert paused.state is JobState.PAUSED
    with pytest.raises(Refused, match="keeps its definition"):
        set_states(world.profile, [paused], JobState.ACTIVE, via="a test", now=world.now())


@pytest.mark.parametrize("prune", [[], ["--prune"]])
def test_apply_leaves_them_alone(
    tenure: Tenure, world: World, job: Job, tmp_path: Path, prune: list[str]
) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text('[[job]]\nname = "mine"\nschedule = "@daily"\ncommand = ["true"]\n')
    assert tenure("apply", str(file), *prune).code == 0
    assert world.store.job(job.id) == job
    file.write_text('[[job]]\nname = "backup"\nschedule = "@daily"\ncommand = ["true"]\n')
    done = tenure("apply", str(file), *prune)
    assert (done.code, "hermes cron edit 1a2b" in done.err) == (3, True)
    assert world.store.job(job.id) == job
    assert world.store.job("mine").state is JobState.ACTIVE


def test_prune_removes_none_even_if_the_file_seems_to_have_made_it(
    tenure: Tenure, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text("")
    wants = Definition(
        name="backup", schedule=foreign_schedule("every 5m"), action=Call(target="hermes:1")
    )
    world.store.add_job(wants, by=f"ada, apply {file}", now=world.now())
    assert tenure("apply", str(file), "--prune").code == 0
    assert world.store.job("backup").state is JobState.ACTIVE


def test_approval_is_given_here(tenure: Tenure, world: World) -> None:
    job = add(world, protected=True)
    assert tenure("edit", "backup", "--approve").code == 0
    assert world.store.job(job.id).approved_revision == 1


def test_commands_may_be_added_beside_them(tenure: Tenure, job: Job) -> None:
    assert tenure("add", "@daily", "--name", "mine", "--", "true").code == 0
    assert tenure("add", "@daily", "--name", "backup", "--", "true").code == 5


# -- shown ---------------------------------------------------------------------------------------


def test_list_and_show_say_who_decides(tenure: Tenure, world: World, job: Job) -> None:
    add(world, "odd", "bull:nightly")
    lines = tenure("list").out.splitlines()
    assert "every 5m" in lines[1]
    assert "Hermes decides" in lines[1]
    assert "another scheduler decides" in lines[2]
    shown = tenure("show", "backup").out
    assert "schedule   every 5m, as another scheduler plans it\n" in shown
    assert "next       Hermes decides\n" in shown
    assert "change it  hermes cron edit 1a2b\n" in shown
    document = tenure("show", "backup", "--json").json
    assert document["next"] == []
    assert document["job"]["next_fire"] is None
    assert document["job"]["schedule"]["kind"] == "foreign"
    assert document["job"]["schedule"]["text"] == "every 5m"
    world.store.set_job_state(job.id, JobState.PAUSED, by="hermes", now=world.now())
    assert "decides" not in tenure("show", "backup").out


def test_next_says_who_decides(tenure: Tenure, world: World, job: Job) -> None:
    assert tenure("next", "backup").out == "no scheduled runs: Hermes decides when it is due\n"
    assert tenure("next", "backup", "--json").json["next_fires"] == []
    decided_there = "1 job is planned by Hermes, which decides when\n"
    assert tenure("next").out == f"no scheduled runs\n{decided_there}"
    add(world, "odd", "bull:nightly")
    tenure("add", "in 5m", "--name", "mine", "--", "true")
    out = tenure("next").out
    assert out.splitlines()[1].startswith("mine ")
    assert out.endswith("2 jobs are planned by Hermes and another scheduler, which decide when\n")
    assert "decides" not in tenure("next", "-n", "1").out


def test_export_leaves_them_out_and_says_so(tenure: Tenure, world: World, job: Job) -> None:
    tenure("add", "@daily", "--name", "mine", "--", "true")
    text = tenure("export").out
    assert [entry["name"] for entry in tomllib.loads(text)["job"]] == ["mine"]
    comment = '# "backup" is planned by another scheduler (hermes cron edit 1a2b)'
    assert f"{comment}, and is not exported.\n" in text
    add(world, "trick", "hermes:x\n[[job]]")
    assert [entry["name"] for entry in tomllib.loads(tenure("export").out)["job"]] == ["mine"]


def test_explain_says_what_would_happen_if_it_were_announced_now(
    tenure: Tenure, world: World, job: Job
) -> None:
    done = tenure("explain", "backup")
    assert done.code == 1
    assert "every 5m, as another scheduler plans it: Hermes says when it is due" in done.out
    assert "next  Hermes decides" in done.out
    authority = world.owner()
    document = tenure("explain", "backup", "--json").json
    checks = {c["check"]: c for c in document["checks"]}
    assert checks["schedule"]["ok"]
    assert (checks["code"]["ok"], "jobs of Hermes" in checks["code"]["text"]) == (False, True)
    assert "Hermes runs in" in checks["code"]["remedy"]
    assert announce(world, authority, job) is not None
    checks = {c["check"]: c for c in tenure("explain", "backup", "--json").json["checks"]}
    assert (checks["overlap"]["ok"], "skipped" in checks["overlap"]["text"]) == (False, True)
    world.store.set_job_state(job.id, JobState.PAUSED, by="hermes", now=world.now())
    assert "→ hermes cron resume 1a2b" in tenure("explain", "backup").out


def test_explain_is_content_with_an_owner_that_carries_them(
    tenure: Tenure, world: World, job: Job
) -> None:
    """Its row says which: the plugin joins as 'hermes'."""
    world.store.join(replace(world.join(), id="p-hermes", app="hermes"))
    world.own("p-hermes")
    document = tenure("explain", "backup", "--json").json
    assert {c["check"]: c["ok"] for c in document["checks"]}["code"] is True


def test_held_fires_are_told(tenure: Tenure, world: World) -> None:
    kept = add(world, protected=True)
    authority = world.owner()
    assert announce(world, authority, kept, standing=False) is None
    document = tenure("explain", "backup", "--json").json
    assert document["held"] == 1
    (entry,) = document["not_run"]
    assert entry["kind"] == str(OmissionKind.HELD)
    assert "held" in tenure("runs", "--all").out
    assert "1 range of scheduled runs on hold" in tenure("status").out


def test_status_counts_them_and_does_not_say_hung(tenure: Tenure, world: World, job: Job) -> None:
    world.own(world.join().id, awake=900)
    document = tenure("status", "--json").json
    assert document["jobs"]["active"] == 1
    assert document["next"] == []
    assert {w["code"] for w in document["warnings"]} == set()


# -- run -----------------------------------------------------------------------------------------


def test_runs_and_where_their_output_is(tenure: Tenure, world: World, job: Job) -> None:
    authority = world.owner()
    run = announce(world, authority, job)
    assert run is not None
    started = world.now()
    result = Result(
        run=run.id, attempt=1, process=authority.process, state=RunState.FAILED,
        at=world.now(), started_at=started, reason="the script ended with 3",
    )  # fmt: skip
    world.store.finish([result], world.now())
    out = tenure("runs").out
    assert "backup" in out
    assert "the script ended with 3" in out
    done = tenure("logs", "backup")
    assert (done.code, done.out) == (0, "")
    assert "→ Hermes keeps it, in cron/output/1a2b of its home" in done.err
    add(world, "odd", "bull:nightly")
    other = announce(world, authority, world.store.job("odd"))
    assert other is not None
    assert tenure("logs", other.id).code == 0


def test_a_trigger_and_a_cancel_are_asked_of_the_owner(
    tenure: Tenure, world: World, job: Job
) -> None:
    assert tenure("trigger", "backup", "--queue").code == 0
    (request,) = world.store.requests()
    assert (request.job, request.state) == (job.id, RequestState.PENDING)
    authority = world.owner()
    run = announce(world, authority, job)
    assert run is not None
    assert tenure("cancel", run.id, "--queue").code == 0
    assert [r.run for r in world.store.requests() if r.run] == [run.id]


def test_what_is_pending_when_a_profile_was_restored_does_not_run(world: World, job: Job) -> None:
    """C4: nobody knows what ran since."""
    fire = world.now()
    now = fire + timedelta(seconds=1)
    _settle_the_past(world.profile, "ada", now)
    found = world.store.job(job.id)
    rights = OwnerCapabilities(authoritative=True)
    assert plan_announced(Due(job=found), Announced(fire=fire), rights, now) is None
    later = Announced(fire=now + timedelta(seconds=1))
    assert plan_announced(Due(job=found), later, rights, now + timedelta(minutes=1)) is not None
