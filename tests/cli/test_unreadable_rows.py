"""One record that cannot be read hides and locks no other, and can be mended (C12)."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest
from clikit import Tenure, World

GOOD = "good"
BAD = "bad"
ID = "(SELECT id FROM jobs WHERE name = 'bad')"


def swap(old: str, new: str) -> str:
    """SQL that changes a part of the stored definition of the bad job."""
    return (
        f"UPDATE job_revisions SET definition = replace(definition, '{old}', '{new}') "
        f"WHERE job = {ID}"
    )


WHOLE = ("--schedule", "0 9 * * *", "--", "true")
DAMAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "zone": (swap("Europe/Berlin", "Old/Gone"), ("--tz", "Europe/Paris")),
    "cron": (swap("0 9 * * *", "99 9 * * *"), ("--schedule", "0 9 * * *")),
    "json": (
        f"UPDATE job_revisions SET definition = substr(definition, 1, 40) WHERE job = {ID}",
        WHOLE,
    ),
    "not an object": (f"UPDATE job_revisions SET definition = '[1]' WHERE job = {ID}", WHOLE),
    "no command": (swap('["true"]', "[]"), ("--", "true")),
    "newer word": (swap('"skip"', '"newer"'), ("--overlap", "skip")),
    "wrong type": (swap('"retries":0', '"retries":"x"'), ("--retries", "2")),
    "no revision": (f"DELETE FROM job_revisions WHERE job = {ID}", WHOLE),
}


def change(world: World, sql: str, *values: Any) -> None:
    """Change the file as another program would."""
    with contextlib.closing(sqlite3.connect(world.profile.folder.database)) as db, db:
        assert db.execute(sql, values).rowcount > 0
    world.store._db.definitions.clear()


@pytest.fixture(params=DAMAGES, ids=lambda name: name.replace(" ", "_"))
def damage(request: pytest.FixtureRequest, tenure: Tenure, world: World) -> str:
    tenure("add", "0 9 * * *", "--name", GOOD, "--tz", "Europe/Berlin", "--", "true")
    tenure("add", "0 9 * * *", "--name", BAD, "--tz", "Europe/Berlin", "--", "true")
    change(world, DAMAGES[request.param][0])
    return str(request.param)


def test_every_report_shows_the_others_and_names_it(tenure: Tenure, damage: str) -> None:
    listed = {job["name"]: job for job in tenure("list", "--json").json["jobs"]}
    assert set(listed) == {GOOD, BAD}
    assert listed[GOOD]["unreadable"] is None
    assert listed[BAD]["unreadable"]
    assert listed[BAD]["next_fire"] is None
    for verb in (("list",), ("export",), ("next",)):
        done = tenure(*verb)
        assert done.code == 0, done.err
        assert GOOD in done.out
        assert f"the job {BAD} cannot be read" in done.err
        assert "tenure edit bad" in done.err
    assert f'name = "{BAD}"' not in tenure("export").out
    warning = {w["code"]: w for w in tenure("status", "--json").json["warnings"]}["unreadable_job"]
    assert BAD in warning["text"]
    assert "tenure remove bad" in warning["remedy"]
    assert [job["name"] for job in tenure("status", "--json").json["next"]] == [GOOD]
    audit = tenure("audit", "--json")
    assert audit.code == 1
    assert [f["code"] for f in audit.json["findings"]] == ["job_unreadable"]
    explained = tenure("explain", BAD, "--json")
    assert explained.code == 1
    assert not {c["check"]: c for c in explained.json["checks"]}["definition"]["ok"]
    assert tenure("explain", GOOD).code in (0, 1)
    assert tenure("show", BAD).code == 0
    assert tenure("show", BAD, "--revisions").code == 0


def test_it_can_be_paused_mended_and_removed(tenure: Tenure, world: World, damage: str) -> None:
    assert tenure("pause", BAD).code == 0
    assert tenure("resume", BAD).code == 0
    refused = tenure("edit", BAD, "--tag", "x")
    assert refused.code == 2, "what cannot be read is not written again"
    assert "give " in refused.err
    assert world.store.job(BAD).damage is not None
    assert tenure("edit", BAD, *DAMAGES[damage][1]).code == 0
    mended = world.store.job(BAD)
    assert mended.damage is None
    assert mended.next_fire is not None
    assert tenure("audit").code == 0
    change(world, DAMAGES["json"][0])
    assert tenure("remove", BAD).code == 0
    assert tenure("add", "@daily", "--name", BAD, "--", "true").code == 0


def test_reading_writes_nothing(tenure: Tenure, world: World, damage: str) -> None:
    mark = world.store.change_mark()
    for verb in ("list", "status", "next", "export", "audit"):
        tenure(verb)
    tenure("explain", BAD)
    assert world.store.change_mark() == mark


def test_a_trigger_of_it_is_answered(tenure: Tenure, world: World, damage: str) -> None:
    asked = tenure("trigger", BAD, "--queue", "--json")
    assert asked.code == 0
    assert tenure("requests", "--json").json["requests"]


def test_edit_of_a_lost_zone_never_guesses_one(tenure: Tenure, world: World) -> None:
    tenure("add", "0 9 * * *", "--name", BAD, "--tz", "Europe/Berlin", "--", "true")
    change(world, DAMAGES["zone"][0])
    for option in (("--schedule", "@daily"), ("--rename", "other"), ("--reset", "dst")):
        done = tenure("edit", BAD, *option)
        assert (done.code, "--tz" in done.err) == (2, True), option
    tenure("add", "every 2h", "--name", "grid", "--tz", "Europe/Berlin", "--", "true")
    before = world.store.job("grid").definition.schedule
    change(world, DAMAGES["zone"][0].replace("'bad'", "'grid'"))
    assert tenure("edit", "grid", "--tz", "UTC").code == 0
    after = world.store.job("grid").definition.schedule
    assert (after.anchor, after.interval) == (before.anchor, before.interval)


@pytest.fixture
def history(tenure: Tenure, world: World) -> World:
    tenure("add", "@daily", "--name", GOOD, "--", "true")
    world.join("p-gateway")
    authority = world.own("p-gateway")
    for _ in range(2):
        world.run_of(authority, GOOD)
    tenure("trigger", GOOD, "--queue")
    return world


OTHERS = {
    "run identity": "UPDATE runs SET identity = '{' WHERE seq = 1",
    "run state": "UPDATE runs SET state = 'newer' WHERE seq = 1",
    "run cause": "UPDATE runs SET cause = 'newer' WHERE seq = 1",
    "run instant": "UPDATE runs SET fire_time = 'soon' WHERE seq = 1",
    "late result": "UPDATE runs SET late = '[]' WHERE seq = 1",
    "requester": "UPDATE requests SET requester = 'null'",
    "request kind": "UPDATE requests SET kind = 'newer'",
    "event facts": "UPDATE events SET facts = '{' WHERE seq = 1",
    "event kind": "UPDATE events SET kind = 'newer' WHERE seq = 1",
    "process evidence": "UPDATE processes SET evidence = '{}'",
    "process standing": "UPDATE processes SET standing = 'newer'",
}


@pytest.mark.parametrize("sql", OTHERS.values(), ids=[name.replace(" ", "_") for name in OTHERS])
def test_another_record_that_cannot_be_read_stops_no_report(
    tenure: Tenure, history: World, sql: str
) -> None:
    change(history, sql)
    for verb in ("list", "status", "next", "export", "runs", "requests", "owner", "audit"):
        done = tenure(verb)
        assert done.code in (0, 1), (verb, done.err)
    assert len(tenure("runs", "--json").json["runs"]) == 2
    assert tenure("explain", GOOD).code in (0, 1)
    assert tenure("pause", GOOD).code == 0


def test_an_accepted_policy_that_cannot_be_read_fails_closed_and_is_accepted_again(
    tenure: Tenure, world: World
) -> None:
    world.profile.folder.toml.write_text('[[owner]]\nuser = "me"\n')
    assert tenure("owner", "policy", "--accept").code in (0, 1)
    with contextlib.closing(sqlite3.connect(world.profile.folder.database)) as db, db:
        db.execute("UPDATE policies SET rules = '[{}'")
    whoami = tenure("whoami", "--json").json
    assert (whoami["admitted"], "cannot be read" in whoami["why"]) == (False, True)
    assert "--accept" in whoami["remedy"]
    assert tenure("serve").code == 3
    assert tenure("owner", "policy", "--accept").code in (0, 1)
    assert tenure("whoami", "--json").json["admitted"]
