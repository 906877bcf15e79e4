"""C5 Nothing silently missed. Every due fire ends as a run or as a recorded `skipped`, `missed` or
`held`, with the reason and who decided; long stretches are one record. [...] `held` stays open:
when an authoritative owner is back, catch-up makes it a run or `missed`.
"""

from __future__ import annotations

import os

import pytest
from contractkit import World, processes  # noqa: F401

from waiting import eventually

pytestmark = pytest.mark.real
SECOND = 1_000_000


def accounted(world: World, job: str) -> tuple[int, int, int]:
    """The first and the last fire that is accounted for, and how many are."""
    ((first_run, last_run, runs),) = world.rows(
        "SELECT min(fire_time), max(fire_time), count(*) FROM runs WHERE job_name = ?", job
    )
    ((first, last, count),) = world.rows(
        "SELECT min(o.first), max(o.last), coalesce(sum(count - claimed), 0) FROM omissions o "
        "JOIN jobs j ON j.id = o.job WHERE j.name = ?",
        job,
    )
    firsts = [t for t in (first_run, first) if t is not None]
    lasts = [t for t in (last_run, last) if t is not None]
    return min(firsts), max(lasts), runs + count


def test_no_second_is_unaccounted_for_whatever_dies(processes: World) -> None:  # noqa: F811
    """C5: Every due fire ends as a run or as a recorded `skipped`, `missed` or `held`."""
    world = processes
    owner = world.owner()
    world.ok("add", "* * * * * *", "--name", "each", "--grace", "1s", "--", "true")
    world.ok("add", "* * * * * *", "--name", "slow", "--grace", "1s", "--", "sleep", "1.3")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE job_name = 'each'"), "a run")
    for _ in range(2):
        owner.kill()
        away = world.rows("SELECT max(fire_time) FROM runs")[0][0]
        eventually(lambda past=away: _now() > past + 3.6 * SECOND, "fires without an owner")
        owner = world.owner()
        eventually(
            lambda past=away: world.rows("SELECT 1 FROM runs WHERE fire_time > ?", past + SECOND),
            "runs under the new owner",
        )
    skipped = "SELECT 1 FROM omissions WHERE kind = 'skipped'"
    eventually(lambda: world.rows(skipped), "a fire that met the slow job's previous run")
    assert owner.terminate() == 0
    for job in ("each", "slow"):
        first, last, count = accounted(world, job)
        assert count == (last - first) // SECOND + 1, job
    kinds = {k for (k,) in world.rows("SELECT DISTINCT kind FROM omissions")}
    assert kinds == {"missed", "skipped"}
    for reason, by in world.rows("SELECT reason, decided_by FROM omissions"):
        assert reason
        assert by
    # A stretch is one record: two absences are not a record a second.
    ((stretches,),) = world.rows("SELECT count(*) FROM omissions WHERE count > 1")
    assert stretches >= 1
    world.audit()


def _now() -> float:
    import time

    return time.time() * SECOND


def test_held_stays_open_until_an_authoritative_owner_is_back(
    processes: World,  # noqa: F811
) -> None:
    """C5: `held` stays open: when an authoritative owner is back, catch-up makes it a run or
    `missed`."""
    world = processes
    world.owner()
    world.ok(
        "add", "* * * * * *", "--name", "guarded", "--protected", "--catch-up", "latest",
        "--", "true",
    )  # fmt: skip
    eventually(
        lambda: world.rows("SELECT 1 FROM omissions WHERE kind = 'held' AND count >= 2"),
        "held fires, in one record",
    )
    assert "protected_but_open" in world.status().codes
    assert "held_fires" in world.status().codes
    assert world.rows("SELECT 1 FROM runs") == []
    world.toml.write_text(f"[[owner]]\nuser = {os.geteuid()}\n")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE state = 'succeeded'"), "a run")
    still_open = "SELECT 1 FROM omissions WHERE kind = 'held' AND resolved_at IS NULL"
    eventually(lambda: not world.rows(still_open), "what was held to be resolved")
    assert all(r for (r,) in world.rows("SELECT resolution FROM omissions WHERE kind = 'held'"))
    world.audit()
