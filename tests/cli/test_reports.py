"""status, explain, whoami, owner, runs, logs, next, audit: what is told, and its JSON."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clikit import Tenure, World

from tenure.client.documents import instant
from tenure.domain.job import Command, Definition
from tenure.domain.ownership import HUNG_AFTER
from tenure.domain.process import ProcessStatus
from tenure.domain.run import RunState
from tenure.domain.schedule.model import every_schedule

EVIDENCE = {
    "started_at", "boot_id", "uid", "user", "executable", "service", "cgroup",
    "responsible_pid", "locks", "chain", "unknown",
}  # fmt: skip
RUN = {
    "id", "job", "job_name", "revision", "fire_time", "state", "reason", "term", "process", "pid",
    "claimed_at", "started_at", "finished_at", "exit_code", "signal", "attempts", "requested_by",
    "evidence",
}  # fmt: skip

DUE = "due_unstarted"
"""Of jobs that fire each second a slow test sees this one too, while nobody owns."""


@pytest.fixture
def job(tenure: Tenure, world: World) -> str:
    tenure("add", "every 1s", "--name", "n", "--tz", "Europe/Berlin", "--", "true")
    return world.store.job("n").id


def rules(world: World, tenure: Tenure, text: str) -> None:
    world.profile.folder.toml.write_text(text)
    tenure("owner", "policy", "--accept")


def codes(tenure: Tenure) -> set[str]:
    done = tenure("status", "--json")
    found = done.json["warnings"]
    assert done.code == (1 if found else 0)
    assert all(w["text"] and w["remedy"] for w in found)
    return {w["code"] for w in found}


# -- status


def test_status_json_has_the_promised_shape(tenure: Tenure, world: World, job: str) -> None:
    authority = world.owner()
    document = tenure("status", "--json").json
    assert {"v", "profile", "owner", "processes", "warnings", "jobs", "next"} <= set(document)
    owner = document["owner"]
    assert {"term", "process", "rule", "authoritative", "since", "progress_at"} <= set(owner)
    assert (owner["term"], owner["process"], owner["rule"]) == (1, authority.process, None)
    (process,) = document["processes"]
    assert {"id", "pid", "host", "role", "standing", "why", "evidence"} <= set(process)
    assert (process["pid"], process["standing"]) == (os.getpid(), "owner")
    assert set(process["evidence"]) >= EVIDENCE
    link = process["evidence"]["chain"][0]
    assert {"pid", "name", "executable", "started_at", "alive"} == set(link)
    assert document["jobs"]["active"] == 1
    assert document["next"][0]["name"] == "n"
    datetime.fromisoformat(document["next"][0]["fire_time"])


def test_a_profile_that_works_has_no_warnings(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    done = tenure("status")
    assert done.code == 0
    assert f"owner   pid {os.getpid()} (gateway), term 1" in done.out
    assert "warning" not in done.out


def test_an_empty_profile_has_no_warnings(tenure: Tenure, world: World) -> None:
    assert codes(tenure) == set()


def test_no_owner_and_a_dead_one(tenure: Tenure, world: World, job: str) -> None:
    assert codes(tenure) - {DUE} == {"no_owner"}
    world.owner()
    world.die("p-gateway")
    assert codes(tenure) - {DUE} == {"owner_dead"}
    assert "dead" in tenure("status").out


def test_an_owner_whose_life_cannot_be_verified(tenure: Tenure, world: World, job: str) -> None:
    world.join("p-elsewhere", lock=False)
    world.own("p-elsewhere")
    assert codes(tenure) == {"owner_unverifiable"}


def test_two_executors_under_an_open_policy(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    world.join("p-desk")
    assert codes(tenure) == {"open_policy_many_executors"}
    world.store.set_standing("p-desk", ProcessStatus.OBSERVER, "", None, world.now())


def test_an_observer_is_listed_and_no_executor(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    world.join("p-web", executes=False, standing=ProcessStatus.OBSERVER, why="it only looks")
    assert codes(tenure) == set()
    listed = tenure("status", "--json").json["processes"]
    assert [p["standing"] for p in listed] == ["owner", "observer"]


def test_a_refused_executor_is_told(tenure: Tenure, world: World, job: str) -> None:
    rules(world, tenure, '[[owner]]\nexecutable = "/usr/bin/env"\n')
    world.join("p-gateway", rule=0)
    world.own("p-gateway", rule=0, authoritative=True)
    world.join("p-desk", standing=ProcessStatus.REFUSED, why="no rule admits it", age=60)
    assert codes(tenure) == {"refused_executor"}


def test_an_owner_that_makes_no_progress_is_hung(
    tenure: Tenure, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenure("add", "every 1s", "--name", "n", "--", "true")
    long = HUNG_AFTER.total_seconds() + 60
    world.owner(awake=long)
    from tenure.client import health

    assert codes(tenure) == set()  # the fire is due for a moment only
    at = world.now() + timedelta(seconds=long)
    found = health.examine(world.profile, at)
    assert found.hung
    assert found.hung_for >= HUNG_AFTER


def test_protected_jobs_that_nobody_may_run(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    tenure("add", "@daily", "--name", "p", "--protected", "--", "true")
    assert codes(tenure) == {"protected_but_open"}
    rules(
        world, tenure,
        '[[owner]]\nexecutable = "/opt/gateway"\n[[owner]]\nexecutable = "/usr/bin/env"\n',
    )  # fmt: skip
    assert "protected_without_authority" in codes(tenure)


def test_an_unattested_owner_is_told(tenure: Tenure, world: World, job: str) -> None:
    rules(world, tenure, '[[owner]]\nuser = "me"\n')
    world.join("p-gateway", rule=0)
    world.own("p-gateway", rule=0, authoritative=True)
    assert codes(tenure) == {"unattested_owner"}


def test_a_rule_that_names_an_interpreter_is_told(tenure: Tenure, world: World, job: str) -> None:
    rules(world, tenure, f'[[owner]]\nexecutable = "{sys.executable}"\n')
    world.join("p-gateway", rule=0)
    world.own("p-gateway", rule=0, authoritative=True)
    assert codes(tenure) == {"rule_names_interpreter"}
    shown = tenure("owner", "policy")
    assert shown.code == 1
    assert f"rule_names_interpreter: rule 1: executable {sys.executable}" in shown.out + shown.err
    assert "(an interpreter)" in tenure("whoami", "--pid", str(os.getpid())).out


def test_a_policy_that_is_not_accepted_yet_is_told(tenure: Tenure, world: World, job: str) -> None:
    rules(world, tenure, '[[owner]]\nexecutable = "/usr/bin/env"\n')
    world.profile.folder.toml.write_text('[[owner]]\nexecutable = "/usr/bin/id"\n')
    assert "policy_not_accepted" in codes(tenure)
    world.profile.folder.toml.write_text("")
    assert "policy_file_problem" in codes(tenure)
    world.profile.folder.toml.unlink()
    assert "policy_file_problem" in codes(tenure)


def test_queued_requests_without_an_owner(tenure: Tenure, world: World, job: str) -> None:
    tenure("trigger", "n", "--queue")
    assert codes(tenure) - {DUE} == {"no_owner", "queued_requests"}


def test_what_is_due_and_nobody_starts(tenure: Tenure, world: World) -> None:
    long = datetime.now(UTC) - timedelta(minutes=10)
    for name in ("a", "b", "c", "d", "e"):
        often = every_schedule(timedelta(minutes=1), long)
        wants = Definition(name=name, schedule=often, action=Command(argv=("true",)))
        world.store.add_job(wants, by="ada", now=long)
    (told,) = [w for w in tenure("status", "--json").json["warnings"] if w["code"] == DUE]
    assert told["text"].startswith(
        "5 jobs are due, and no process owns the profile; waiting for 9m"
    )
    assert told["text"].endswith(": a, b, c and 2 more")
    assert "tenure explain a" in told["remedy"]
    world.owner()
    assert DUE not in codes(tenure)
    world.die("p-gateway")
    assert DUE in codes(tenure)


# -- explain


def test_explain_answers_every_question(tenure: Tenure, world: World, job: str) -> None:
    tenure("edit", "n", "--protected")
    done = tenure("explain", "n", "--json")
    checks = {c["check"]: c for c in done.json["checks"]}
    assert done.code == 1
    assert set(checks) == {"state", "schedule", "profile", "owner", "protection", "overlap"}
    assert {name for name, c in checks.items() if c["ok"] is False} == {"owner", "protection"}
    assert all(c["remedy"] for c in checks.values() if c["ok"] is False)
    assert (done.json["would_run"], done.json["under"]) == (False, None)


def test_explain_names_under_whom(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    done = tenure("explain", "n", "--json")
    assert done.code == 0
    assert done.json["under"] == {"process": "p-gateway", "pid": os.getpid(), "term": 1}
    assert "would run" in tenure("explain", "n").out


def test_explain_of_a_paused_job_and_of_one_that_runs(
    tenure: Tenure, world: World, job: str
) -> None:
    world.run_of(world.owner(), "n", end=None)
    text = tenure("explain", "n").out
    assert "a run due now would be skipped" in text
    tenure("pause", "n")
    assert "→ tenure resume n" in tenure("explain", "n").out


# -- owner


def test_owner_tells_the_rule_in_words_and_the_terms(
    tenure: Tenure, world: World, job: str
) -> None:
    world.owner()
    document = tenure("owner", "--json").json
    assert document["owner"]["term"] == 1
    assert document["process"]["evidence"]["uid"] == os.geteuid()
    assert [t["term"] for t in document["terms"]] == [1]
    assert "nobody" not in tenure("owner").out


def test_policy_in_words(tenure: Tenure, world: World) -> None:
    assert "any of your processes may become owner" in tenure("owner", "policy").out
    rules(world, tenure, '[[owner]]\nservice = "g.service"\n[[owner]]\nuser = "me"\nafter = "5m"\n')
    shown = tenure("owner", "policy")
    assert "rule 1 admits service g.service (authoritative)" in shown.out
    assert "rule 2 admits the profile's own user (fallback, after 5m)" in shown.out
    assert len(tenure("owner", "policy", "--json").json["rules"]) == 2


def test_rules_are_cleared_only_by_clear(tenure: Tenure, world: World) -> None:
    rules(world, tenure, '[[owner]]\nservice = "g.service"\n')
    assert tenure("owner", "policy", "--clear", "--yes").code == 2  # the file still has them
    world.profile.folder.toml.write_text('timezone = "UTC"\n')
    assert tenure("owner", "policy", "--accept").code == 2  # accepting does not clear
    assert not world.store.policy().open
    assert tenure("owner", "policy", "--clear").code == 2  # nobody here to confirm
    assert tenure("owner", "policy", "--clear", "--yes").code == 0
    assert world.store.policy().open


def test_take_leaves_a_healthy_owner_alone(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    world.join("p-next")
    done = tenure("owner", "take")
    assert done.code == 3
    assert "`tenure owner hand-over`" in done.err
    assert world.store.ownership().term == 1
    assert world.store.ownership().authority is not None


def test_take_by_force_keeps_the_place_for_the_best_candidate(
    tenure: Tenure, world: World, job: str
) -> None:
    authority = world.owner()
    world.join("p-second", rule=1)
    world.join("p-first", rule=0)
    done = tenure("owner", "take", "--force", "--json")
    assert done.json["candidate"] == "p-first"
    assert (done.json["ended_term"], done.json["killed"]) == (1, None)
    current = world.store.ownership()
    assert (current.authority, current.reserved_for) == (None, "p-first")
    assert "tenure owner take" in current.ended_why
    with pytest.raises(Exception, match=r"term|over|current"):
        world.store.check_authority(authority)


def test_take_from_a_dead_owner_needs_no_force(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    world.join("p-next")
    world.die("p-gateway")
    assert tenure("owner", "take").code == 0


def test_kill_never_ends_this_very_process(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    done = tenure("owner", "take", "--force", "--kill")
    assert done.code == 3
    assert "this very process" in done.err
    assert world.store.ownership().authority is not None


def test_release_ends_the_term(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    assert tenure("owner", "release").out.startswith("term 1 is over\n")
    assert world.store.ownership().authority is None


# -- runs, logs, next


def test_runs_json_has_the_promised_shape(tenure: Tenure, world: World, job: str) -> None:
    authority = world.owner()
    run = world.run_of(authority, "n", end=RunState.FAILED, exit_code=7, reason="exit code 7")
    document = tenure("runs", "n", "--json").json
    (shown,) = document["runs"]
    assert set(document) == {"v", "runs", "next"}
    assert set(shown) >= RUN
    assert set(shown["evidence"]) >= EVIDENCE
    assert (shown["id"], shown["state"], shown["exit_code"]) == (run.id, "failed", 7)
    assert shown["fire_time"] == instant(run.fire_time)
    assert shown["fire_time"].endswith("Z")
    assert shown["attempts"][0]["state"] == "failed"


def test_runs_are_paged_and_filtered(tenure: Tenure, world: World, job: str) -> None:
    authority = world.owner()
    made = [world.run_of(authority, "n").id for _ in range(3)]
    first = tenure("runs", "--json", "-n", "2").json
    rest = tenure("runs", "--json", "-n", "2", "--cursor", first["next"]).json
    assert [r["id"] for r in first["runs"] + rest["runs"]] == made[::-1]
    assert rest["next"] is None
    assert tenure("runs", "--state", "failed", "--json").json["runs"] == []
    assert len(tenure("runs").out.splitlines()) == 4


def test_what_did_not_run_appears_with_all(tenure: Tenure, world: World) -> None:
    tenure("add", "every 1s", "--name", "n", "--", "true")
    job = world.store.job("n")
    later = world.now() + timedelta(seconds=30)
    from tenure.domain.job import JobState

    world.store.set_job_state(job.id, JobState.PAUSED, by="me", now=later)
    assert "not_run" not in tenure("runs", "--json").json
    ranges: list[Any] = tenure("runs", "--all", "--json").json["not_run"]
    assert [r["kind"] for r in ranges] == ["missed"]
    assert ranges[0]["count"] >= 29
    assert "missed" in tenure("runs", "--all").out


def test_logs_of_a_run_and_of_a_jobs_latest(tenure: Tenure, world: World, job: str) -> None:
    authority = world.owner()
    run = world.run_of(authority, "n", output="one\ntwo\n")
    assert tenure("logs", run.id).out == "one\ntwo\n"
    assert tenure("logs", "n", "-n", "1").out == "two\n"
    assert tenure("logs", "n", "-f").out == "one\ntwo\n"
    document = tenure("logs", "n", "--json").json
    assert (document["output"], document["state"]) == ("one\ntwo\n", "succeeded")
    assert tenure("logs", "n", "--attempt", "2").code == 4


def test_next_merges_the_jobs(tenure: Tenure, world: World) -> None:
    tenure("add", "every 1h", "--name", "a", "--", "true")
    tenure("add", "every 25m", "--name", "b", "--", "true")
    tenure("add", "every 1m", "--name", "c", "--paused", "--", "true")
    fires = tenure("next", "-n", "4", "--json").json["next_fires"]
    assert [f["job_name"] for f in fires] == ["b", "b", "a", "b"]
    assert [f["fire_time"] for f in fires] == sorted(f["fire_time"] for f in fires)
    assert tenure("next", "c").out == "no scheduled runs: the job is paused\n"


# -- whoami, audit, others


def test_whoami_tells_evidence_and_standing(tenure: Tenure, world: World) -> None:
    document = tenure("whoami", "--json").json
    assert (document["admitted"], document["authoritative"]) == (True, False)
    assert document["evidence"]["pid"] == os.getpid()
    rules(world, tenure, '[[owner]]\nservice = "nothing-of-that-name.service"\n')
    refused = tenure("whoami", "--json").json
    assert refused["admitted"] is False
    assert "nothing-of-that-name" in refused["why"]
    assert refused["remedy"]
    assert "refused" in tenure("whoami").out


def test_whoami_tells_what_is_locked(tenure: Tenure, world: World, tmp_path: Path) -> None:
    path = tmp_path.resolve() / "gateway.lock"
    rules(world, tenure, f'[[owner]]\nholds = "{path}"\n')
    before = tenure("whoami", "--json").json
    assert not before["admitted"]
    assert str(path) not in before["evidence"]["locks"]
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        document = tenure("whoami", "--json").json
        assert re.search(rf"^locks\s+.*{re.escape(str(path))}", tenure("whoami").out, re.MULTILINE)
    assert (document["admitted"], document["authoritative"]) == (True, True)
    assert document["attested"] is False
    assert str(path) in document["evidence"]["locks"]


def test_whoami_of_another_process(tenure: Tenure, home: object) -> None:
    pid = os.getppid()
    assert tenure("whoami", "--pid", str(pid), "--json").json["evidence"]["pid"] == pid


def test_audit_of_a_good_history(tenure: Tenure, world: World, job: str) -> None:
    world.run_of(world.owner(), "n")
    document = tenure("audit", "--json").json
    assert document["findings"] == []
    assert "0 findings" in tenure("audit").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(tenure: Tenure, shell: str) -> None:
    assert "_TENURE_COMPLETE" in tenure("completion", shell).out


def test_job_names_and_verbs_are_completed(
    tenure: Tenure, world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.shell_completion import ShellComplete

    from tenure.surfaces.cli.main import cli

    complete = ShellComplete(cli, {}, "tenure", "_TENURE_COMPLETE")
    assert [c.value for c in complete.get_completions(["show"], "")] == ["n"]
    assert [c.value for c in complete.get_completions([], "who")] == ["whoami"]
    found = [c.value for c in complete.get_completions(["list", "--profile"], "d")]
    assert found == ["default"]


def test_help_of_every_verb(tenure: Tenure) -> None:
    from tenure.surfaces.cli.main import VERBS

    listed = tenure("--help").out
    assert tenure().out == listed
    for verb in VERBS:
        assert verb in listed
        shown = tenure(verb, "--help")
        assert (shown.code, shown.out.startswith(f"Usage: tenure {verb}")) == (0, True)
        assert "--profile" in shown.out
        assert "--json" in shown.out
