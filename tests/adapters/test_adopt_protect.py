"""Which Hermes jobs are protected: kept apart from Hermes' own file, one change at a time."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
from adoptkit import NOW, World

from tenure.adapters.hermes.facts import protection
from tenure.adapters.hermes.facts.protection import protect, unprotect
from tenure.adapters.hermes.inside.mirror import read_protection
from tenure.domain.errors import Conflict, InvalidInput, NotFound, Refused
from waiting import promptly


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path).with_config()
    made.adopt()
    return made


def test_by_id_and_by_name(world: World) -> None:
    jobs = protect(world.home, ["mail", "bbbbbbbbbbbb"], ["fda"], NOW)
    assert [job.id for job in jobs] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert read_protection(world.home) == {
        "aaaaaaaaaaaa": ("fda",), "bbbbbbbbbbbb": ("fda",),
    }  # fmt: skip
    assert world.home.sidecar.stat().st_mode & 0o777 == 0o600
    assert unprotect(world.home, ["mail"]) == ["aaaaaaaaaaaa"]
    assert list(read_protection(world.home)) == ["bbbbbbbbbbbb"]


def test_a_second_time_it_keeps_since_when(world: World) -> None:
    protect(world.home, ["mail"], [], NOW)
    protect(world.home, ["mail"], ["fda"], NOW.replace(year=2031))
    entry = json.loads(world.home.sidecar.read_text())["protected"]["aaaaaaaaaaaa"]
    assert entry == {"since": "2030-01-01T12:00:00Z", "requires": ["fda"]}


def test_a_name_that_two_jobs_have(world: World) -> None:
    with pytest.raises(Conflict, match="2 jobs") as said:
        protect(world.home, ["mail", "twice"], [], NOW)
    assert "bbbbbbbbbbbb, cccccccccccc" in said.value.remedy
    assert not world.home.sidecar.exists()


def test_what_is_not_there(world: World) -> None:
    with pytest.raises(NotFound, match="no job 'x'"):
        protect(world.home, ["x"], [], NOW)
    with pytest.raises(NotFound, match="'mail' is not protected"):
        unprotect(world.home, ["mail"])


def test_a_job_that_hermes_has_removed_can_be_taken_out(world: World) -> None:
    protect(world.home, ["mail"], [], NOW)
    world.home.jobs_file.write_text('{"jobs": []}')
    assert unprotect(world.home, ["aaaaaaaaaaaa"]) == ["aaaaaaaaaaaa"]


@pytest.mark.parametrize("requires", [[""], [" "], ["a\nb"], ["x" * 101], ["x"] * 21])
def test_no_capability(world: World, requires: list[str]) -> None:
    with pytest.raises(InvalidInput):
        protect(world.home, ["mail"], requires, NOW)


def test_without_an_adoption(world: World) -> None:
    world.release()
    with pytest.raises(Refused, match="not adopted") as said:
        protect(world.home, ["mail"], [], NOW)
    assert "tenure hermes adopt" in said.value.remedy
    assert not world.home.tenure.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"v": 2, "protected": {}}', '{"v": 1}'])
def test_a_damaged_sidecar_is_not_overwritten(world: World, text: str) -> None:
    world.home.sidecar.write_text(text)
    with pytest.raises(InvalidInput, match="cannot be read"):
        protect(world.home, ["mail"], [], NOW)
    assert world.home.sidecar.read_text() == text


def test_a_damaged_jobs_file(world: World) -> None:
    world.home.jobs_file.write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        protect(world.home, ["mail"], [], NOW)


def test_many_at_once_lose_nothing(world: World) -> None:
    jobs = [{"id": f"{n:012x}", "name": f"job{n}"} for n in range(40)]
    world.home.jobs_file.write_text(json.dumps({"jobs": jobs}))

    def some(names: list[str]) -> None:
        for name in names:
            protect(world.home, [name], [], NOW)

    parts = [[str(job["name"]) for job in jobs[n::4]] for n in range(4)]
    threads = [threading.Thread(target=some, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_protection(world.home)) == 40


def test_who_stands_still_while_it_changes_them_is_not_waited_for_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "LOCK_WAIT_S", 0.05)
    protect(world.home, ["mail"], [], NOW)
    held = os.open(world.home.tenure / ".sidecar.lock", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="has not ended") as said:
            promptly(lambda: unprotect(world.home, ["mail"]), "unprotecting")
        assert ".sidecar.lock" in said.value.remedy
        assert list(read_protection(world.home)) == ["aaaaaaaaaaaa"]
    finally:
        os.close(held)
    assert unprotect(world.home, ["mail"]) == ["aaaaaaaaaaaa"]
