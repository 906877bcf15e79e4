"""Values go into the store and come back the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tenure.domain.errors import CorruptStore
from tenure.domain.job import Call, CatchUp, Command, Definition, Overlap, Runner
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity, Manager, Service
from tenure.domain.policy.rule import Rule
from tenure.domain.request import Requester
from tenure.domain.run import Late, RunState
from tenure.domain.schedule.model import Schedule
from tenure.store.ids import new_id
from tenure.store.sqlite.codec import from_json, pack, to_json, unpack
from tenure.store.sqlite.connection import instant, micros
from testkit.factories import START, after, cron, each, make_definition, make_process, once

IDENTITY = Identity(boot_id="b", pid=7, start=99, pid_namespace="pid:[4026531836]")
VALUES = [
    make_definition(schedule=each(seconds=90, microseconds=0)),
    make_definition(schedule=once(after(microseconds=1))),
    Definition(
        name="täglich ☂",
        schedule=cron("0 3 * * 1-5", "Europe/Berlin"),
        action=Command(argv=("a b | c",), shell=True, env={"K": "v=1"}, cwd="/", stdin="x\ny"),
        protected=True,
        requires=("full_disk_access",),
        overlap=Overlap.CANCEL,
        catch_up=CatchUp.ALL,
        window=timedelta(days=2, microseconds=1),
        grace=timedelta(seconds=5),
        jitter=timedelta(milliseconds=1500),
        timeout=timedelta(hours=1),
        retries=3,
        backoff=timedelta(0),
        retry_lost=True,
        tags=("x", "y"),
    ),
    Definition(
        name="shop:report",
        schedule=each(hours=1),
        action=Call(target="shop:report", runner=Runner.ASYNC, args={"n": [1, {"deep": None}]}),
    ),
    Evidence(identity=IDENTITY, observed_at=START),
    Evidence(
        identity=IDENTITY,
        observed_at=after(microseconds=3),
        started_at=START - timedelta(days=400),
        host="machine",
        uid=0,
        user="root",
        groups=(0, 27),
        executable="/usr/bin/python3",
        service=Service(name="x.service", manager=Manager.SYSTEMD_USER, attested=False),
        init=True,
        confinement=("seccomp",),
        locks=("/srv/gateway.lock",),
        chain=(ChainLink(pid=7), ChainLink(pid=1, name="init", start=1, started_at=START)),
        unknown=frozenset({"cgroup", "signature"}),
    ),
    Rule(rank=0, user=1000, manager=Manager.LAUNCHD, after=timedelta(minutes=5), init=False),
    Rule(rank=3, user="me", group="staff", executable_paths=("/a", "/b"), refuse=True),
    Rule(rank=1, holds="~/x.lock", holds_paths=("/home/a/x.lock",)),
    Requester(pid=1, uid=None, user="ada", via="cli", observed=True),
    Late(at=START, state=RunState.FAILED, exit_code=7),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_value_survives_the_round_trip(value: Any) -> None:
    assert unpack(type(value), pack(value)) == value
    assert pack(unpack(type(value), pack(value))) == pack(value)


def test_instants_keep_microseconds_and_lose_their_zone() -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    old = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    for moment in (far, old, START):
        assert instant(micros(moment)) == moment
    east = START.astimezone(timezone(timedelta(hours=9)))
    assert micros(east) == micros(START)
    with pytest.raises(TypeError):
        micros(datetime(2026, 1, 1))


def test_what_a_newer_writer_added_is_ignored_and_what_is_missing_is_its_default() -> None:
    data = to_json(Requester(pid=4))
    data["added_in_2"] = {"x": 1}
    del data["observed"]
    assert from_json(Requester, data) == Requester(pid=4)


def test_evidence_of_before_locks_were_looked_at_does_not_say_that_there_were_none() -> None:
    data = to_json(make_process("p").evidence)
    assert "locks" not in from_json(Evidence, data).unknown
    del data["locks"]
    assert from_json(Evidence, data).unknown == {"locks"}


@pytest.mark.parametrize("text", ["{", "{}", '{"pid": 1, "boot_id": "b", "start": ', "[]", "3"])
def test_what_cannot_be_read_is_damage(text: str) -> None:
    with pytest.raises(CorruptStore):
        unpack(Identity, text)


def test_a_stored_definition_that_is_no_longer_valid_is_damage() -> None:
    data = to_json(make_definition())
    data["name"] = ""
    with pytest.raises(CorruptStore, match="Definition"):
        from_json(Definition, data)
    with pytest.raises(CorruptStore):
        from_json(Schedule, {"kind": "cron"})


def test_ids_sort_by_time_and_differ() -> None:
    ids = [new_id("r", START + timedelta(milliseconds=n)) for n in range(50)]
    assert ids == sorted(ids)
    assert len({new_id("r", START) for _ in range(2000)}) == 2000
    assert all(len(i) == 19 and i[0] == "r" and set(i[1:]) <= set(ALPHABET) for i in ids)
    assert new_id("r", START)[:10] == new_id("r", START)[:10]


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
