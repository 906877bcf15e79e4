"""add, list, show, edit, pause, resume, remove, apply, export: from any process, with no owner."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clikit import Tenure, World

from tenure.client import edits
from tenure.domain.errors import Conflict
from tenure.domain.job import Job, JobState


def test_add_prints_the_id_and_the_next_fires_in_the_jobs_zone(tenure: Tenure) -> None:
    done = tenure("add", "0 3 * * *", "--name", "rep", "--tz", "Asia/Tokyo", "--", "true")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("added rep (j")
    assert [line.split()[2] for line in lines[1:]] == ["03:00:00"] * 3
    assert all(" JST (in " in line for line in lines[1:])
    assert "no scheduler is running for this profile" in done.err


def test_add_json_names_what_is_wrong_beside_the_job(tenure: Tenure) -> None:
    document = tenure("add", "@daily", "--protected", "--json", "--", "no-such-command-x").json
    assert document["job"]["name"] == "no-such-command-x"
    assert len(document["next"]) == 3
    codes = {w["code"] for w in document["warnings"]}
    assert codes == {"no_command", "protected_but_open", "no_owner"}
    assert all(w["remedy"] for w in document["warnings"])


def test_who_is_dead_is_no_candidate_to_wait_for(tenure: Tenure, world: World) -> None:
    world.join("p-dead")
    assert "wait for a candidate to take over" in tenure("add", "@daily", "--", "true").err
    world.die("p-dead")
    assert "→ start `tenure serve`" in tenure("add", "@daily", "--", "false").err


def test_every_option_of_add_arrives(tenure: Tenure, tmp_path: Path) -> None:
    tenure(
        "add", "every 5m", "--name", "n", "--requires", f"read:{tmp_path}", "--tz", "UTC",
        "--dst", "gap=skip,fold=both", "--overlap", "queue", "--catch-up", "all:2h", "--grace",
        "2m", "--jitter", "10s", "--timeout", "1h", "--retries", "2", "--backoff", "3s",
        "--retry-lost", "--env", "A=1=2", "--env", "B=", "--cwd", str(tmp_path), "--stdin", "in",
        "--tag", "x", "--tag", "y", "--paused", "--shell", "--", "a | b",
    )  # fmt: skip
    job = tenure("show", "n", "--json").json["job"]
    wanted = {
        "requires": [f"read:{tmp_path}"], "overlap": "queue", "catch_up": "all",
        "catch_up_window": 7200, "grace": 120, "jitter": 10, "timeout": 3600, "retries": 2,
        "backoff": 3, "retry_lost": True, "env": {"A": "1=2", "B": ""}, "cwd": str(tmp_path),
        "stdin": "********", "tags": ["x", "y"], "state": "paused", "shell": True,
        "command": ["a | b"], "protected": False,
    }  # fmt: skip
    assert {key: job[key] for key in wanted} == wanted
    assert job["schedule"]["dst"] == "gap=skip,fold=both"


def test_the_common_options_stand_before_or_after_the_verb(tenure: Tenure, home: Path) -> None:
    other = home.parent / "other"
    before = tenure("--home", str(other), "--profile", "la", "add", "@daily", "--", "true")
    after = tenure("list", "--home", str(other), "--profile", "la", "--json")
    assert before.code == 0
    assert [job["name"] for job in after.json["jobs"]] == ["true"]
    assert not home.exists()
    assert tenure("--json", "list", "--home", str(other), "--profile", "la").json == after.json


def test_options_of_the_command_stay_the_commands(tenure: Tenure) -> None:
    tenure("add", "@daily", "--name", "n", "--", "tool", "--json", "--profile", "x")
    assert tenure("show", "n", "--json").json["job"]["command"] == [
        "tool", "--json", "--profile", "x",
    ]  # fmt: skip


def test_secrets_are_masked_on_every_surface_unless_asked_for(tenure: Tenure) -> None:
    added = tenure("add", "@daily", "--name", "n", "--env", "API_TOKEN=s3cret", "--json",
                   "--stdin", "pass hidden", "--", "true")  # fmt: skip
    printed = [added, tenure("show", "n"), tenure("show", "n", "--json"),
               tenure("list", "--json"), tenure("export"), tenure("edit", "n", "--json",
               "--retries", "1"), tenure("pause", "n", "--json")]  # fmt: skip
    for secret in ("s3cret", "hidden"):
        assert all(secret not in answer.out + answer.err for answer in printed)
        for words in (["show", "n"], ["show", "n", "--json"], ["export"], ["list", "--json"]):
            assert secret in tenure(*words, "--show-secrets").out
    assert "11 characters, not shown" in tenure("show", "n").out


def test_of_two_day_fields_either_suffices_and_each_verb_says_so(
    tenure: Tenure, tmp_path: Path
) -> None:
    added = tenure("add", "0 9 1-7 * TUE", "--name", "n", "--json", "--", "true").json
    (warning,) = (w for w in added["warnings"] if w["code"] == "either_day")
    assert "'0 9 * * TUE#1'" in warning["remedy"]
    table = tmp_path / "crontab"
    table.write_text("0 9 1-7 * TUE true\n")
    said = [
        tenure("edit", "n", "--retries", "1"), tenure("next", "n"), tenure("show", "n"),
        tenure("import", "crontab", str(table), "--dry-run"),
    ]  # fmt: skip
    for answer in said:
        assert "either day field is enough" in answer.out + answer.err
        assert "TUE#1" in answer.out + answer.err
    tenure("edit", "n", "--schedule", "0 9 * * TUE#1")
    assert "either day" not in tenure("show", "n").out


def test_list_is_paged_in_json_and_whole_for_people(tenure: Tenure) -> None:
    for name in "abc":
        tenure("add", "@daily", "--name", name, "--tag", name, "--", "true")
    first = tenure("list", "--json", "-n", "2").json
    rest = tenure("list", "--json", "-n", "2", "--cursor", first["next"]).json
    assert [j["name"] for j in first["jobs"] + rest["jobs"]] == ["a", "b", "c"]
    assert rest["next"] is None
    assert len(tenure("list").out.splitlines()) == 4
    assert len(tenure("list", "--tag", "b").out.splitlines()) == 2


def test_a_removed_job_is_gone_and_its_name_free(tenure: Tenure) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    assert tenure("remove", "n").out == "removed: n\n"
    assert tenure("show", "n").code == 4
    assert tenure("add", "@daily", "--name", "n", "--", "true").code == 0
    assert len(tenure("list", "--state", "removed", "--json").json["jobs"]) == 1


def test_pause_all_and_resume_all(tenure: Tenure, world: World) -> None:
    for name in "ab":
        tenure("add", "@daily", "--name", name, "--", "true")
    assert tenure("pause", "a").out == "paused: a\n"
    assert tenure("pause", "--all").out == "paused: b\n"
    assert tenure("pause", "a").out == "already paused: a\n"
    assert {job.state for job in world.store.jobs()[0]} == {JobState.PAUSED}
    assert tenure("resume", "--all").out == "resumed: a\nresumed: b\n"
    assert tenure("resume", "--all").out == "nothing to do\n"


def test_pausing_several_is_all_or_nothing(tenure: Tenure, world: World) -> None:
    tenure("add", "@daily", "--name", "a", "--", "true")
    assert tenure("pause", "a", "nowhere").code == 4
    assert world.store.job("a").state is JobState.ACTIVE


def test_edit_changes_only_what_is_given(tenure: Tenure) -> None:
    tenure("add", "every 90s", "--name", "n", "--env", "A=1", "--env", "B=2", "--", "true")
    before = tenure("show", "n", "--json").json["job"]
    done = tenure("edit", "n", "--rename", "m", "--env", "B=3", "--unset-env", "A", "--timeout",
                  "5m")  # fmt: skip
    assert done.out.startswith("edited m: revision 2")
    after = tenure("show", "m", "--json").json["job"]
    changed = {key for key in before if before[key] != after[key]}
    assert changed - {"watermark"} == {
        "name", "env", "timeout", "revision", "edited_at", "edited_by",
    }  # fmt: skip
    assert after["env"] == {"B": "3"}
    assert "pid" in after["edited_by"]
    assert "tenure edit" in after["edited_by"]


def test_an_edit_that_changes_nothing_makes_no_revision(tenure: Tenure) -> None:
    tenure("add", "every 90s", "--name", "n", "--", "true")
    assert "nothing changed" in tenure("edit", "n", "--schedule", "every 90s").out
    assert tenure("show", "n", "--json").json["job"]["revision"] == 1


def test_edit_resets_a_field(tenure: Tenure) -> None:
    tenure("add", "@daily", "--name", "n", "--retries", "3", "--catch-up", "all", "--", "true")
    tenure("edit", "n", "--reset", "retries", "--reset", "catch-up")
    job = tenure("show", "n", "--json").json["job"]
    assert (job["retries"], job["catch_up"]) == (0, "latest")


def test_edit_approves_a_revision(tenure: Tenure) -> None:
    tenure("add", "@daily", "--name", "n", "--protected", "--", "true")
    assert tenure("edit", "n", "--approve").out.startswith("approved revision 1 of n")
    assert tenure("show", "n", "--json").json["job"]["approved_revision"] == 1


def edited_by_another(world: World) -> Job:
    """The job as it is before another editor changes it."""
    seen = world.store.job("n")
    changed = replace(seen.definition, retries=7)
    world.store.edit_job(seen.id, seen.revision, changed, by="another", now=world.now())
    return seen


def test_two_edits_of_different_parts_are_both_kept(tenure: Tenure, world: World) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    seen = edited_by_another(world)
    after = edits.edit(
        world.profile, "n", {"tags": ["mine"]}, revision=seen.revision, via="me", now=world.now(),
        merge=True,
    )  # fmt: skip
    assert (after.definition.retries, after.definition.tags) == (7, ("mine",))
    assert after.revision == 3


def test_two_edits_of_the_same_part_conflict(tenure: Tenure, world: World) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    seen = edited_by_another(world)
    with pytest.raises(Conflict, match="another changed retries"):
        edits.edit(
            world.profile, "n", {"retries": 3}, revision=seen.revision, via="me", now=world.now(),
            merge=True,
        )  # fmt: skip
    assert world.store.job("n").definition.retries == 7


@pytest.mark.parametrize("option", [["--tag", "mine"], ["--retries", "3"]])
def test_an_edit_between_reading_and_writing_is_not_lost(
    tenure: Tenure, world: World, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    build = edits.build

    def build_slowly(*args: Any, **kwargs: Any) -> Any:
        edited_by_another(world)
        return build(*args, **kwargs)

    monkeypatch.setattr(edits, "build", build_slowly)
    done = tenure("edit", "n", *option)
    assert done.code == (0 if "--tag" in option else 5)
    assert world.store.job("n").definition.retries == 7
    assert bool(world.store.job("n").definition.tags) == ("--tag" in option)


FILE = """
[[job]]
name = "a"
schedule = "every 90s"
command = ["true"]

[[job]]
name = "b"
schedule = "0 3 * * *"
shell = "x | y"
env = { TOKEN = "s3cret" }
paused = true
"""


def test_apply_twice_changes_nothing(tenure: Tenure, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(FILE)
    assert tenure("apply", str(file), "--dry-run").code == 4  # no profile yet, and none is made
    first = tenure("apply", str(file))
    assert first.out == "added: a\nadded: b\n0 unchanged, 2 changed\n"
    assert tenure("apply", str(file)).out == "2 unchanged, 0 changed\n"
    jobs = tenure("list", "--json").json["jobs"]
    assert [(j["name"], j["revision"], j["state"]) for j in jobs] == [
        ("a", 1, "active"), ("b", 1, "paused"),
    ]  # fmt: skip


def test_what_was_exported_applies_without_a_change(tenure: Tenure, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(FILE)
    tenure("apply", str(file))
    for options in ([], ["--show-secrets"]):
        exported = tmp_path / "exported.toml"
        assert tenure("export", "-o", str(exported), *options).code == 0
        assert tenure("apply", str(exported)).out == "2 unchanged, 0 changed\n"
    assert exported.stat().st_mode & 0o777 == 0o600
    names = [job["name"] for job in tomllib.loads(exported.read_text())["job"]]
    assert names == ["a", "b"]


def test_a_masked_text_of_standard_input_is_the_one_that_stands(
    tenure: Tenure, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.toml"
    tenure("add", "@daily", "--name", "n", "--stdin", "pass\nhidden\n", "--", "true")
    tenure("export", "-o", str(file))
    assert "hidden" not in file.read_text()
    assert tenure("apply", str(file)).out == "1 unchanged, 0 changed\n"
    file.write_text(file.read_text().replace("0 0 * * *", "@hourly").replace("@daily", "@hourly"))
    assert "edited: n" in tenure("apply", str(file)).out
    tenure("edit", "n", "--retries", "1")
    shown = tenure("show", "n", "--json", "--show-secrets").json["job"]
    assert (shown["stdin"], shown["revision"]) == ("pass\nhidden\n", 3)
    # Where there is none to keep, it is not taken for the text itself.
    refused = tenure("apply", str(file), "--home", str(tmp_path / "other"))
    assert (refused.code, "n.stdin" in refused.err) == (2, True)
    assert "--show-secrets" in refused.err
    tenure("edit", "n", "--stdin", "new")
    assert tenure("export", "--show-secrets").out.count('stdin = "new"') == 1


def test_apply_edits_resumes_and_prunes_only_what_the_file_made(
    tenure: Tenure, tmp_path: Path
) -> None:
    file, other = tmp_path / "jobs.toml", tmp_path / "other.toml"
    file.write_text(FILE)
    other.write_text('[[job]]\nname = "c"\nschedule = "@daily"\ncommand = ["true"]\n')
    tenure("add", "@daily", "--name", "hand", "--", "true")
    tenure("apply", str(file))
    tenure("apply", str(other))
    file.write_text('[[job]]\nname = "b"\nschedule = "0 4 * * *"\nshell = "x | y"\n')
    plan = tenure("apply", str(file), "--prune", "--dry-run", "--json").json
    wanted = [("edit", "b"), ("resume", "b"), ("remove", "a")]
    assert [(c["change"], c["name"]) for c in plan["changes"]] == wanted
    assert len(tenure("list", "--json").json["jobs"]) == 4
    tenure("apply", str(file), "--prune")
    names = [j["name"] for j in tenure("list", "--json").json["jobs"]]
    assert names == ["b", "c", "hand"]


def test_a_wrong_entry_applies_nothing(tenure: Tenure, tmp_path: Path) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(FILE + '\n[[job]]\nname = "c"\nschedule = "whenever"\ncommand = ["x"]\n')
    done = tenure("apply", str(file))
    assert done.code == 2
    assert "c.schedule" in done.err
    assert tenure("list", "--json").json["jobs"] == []
