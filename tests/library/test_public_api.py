"""The Python API: view, edit, pause and request runs, from any process, executing nothing."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import aio, cron, errors, every, models
from tenure.library import Tenure
from tenure.models import JobState, RequestState, RunState
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

WAIT_S = DEADLINE


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tenure]]:
    made: list[Tenure] = []

    def instance(**options: Any) -> Tenure:
        one = Tenure(options.pop("profile", "shop"), home=tmp_path, **options)
        made.append(one)
        return one

    yield instance
    for one in made:
        one.stop(drain=2)


@pytest.fixture
def client(make: Callable[..., Tenure]) -> Tenure:
    """Executes nothing, and is never started."""
    return make(execute=False)


@pytest.fixture
def owner(make: Callable[..., Tenure]) -> Tenure:
    owner = make().start()
    eventually(lambda: owner.owns, "the owner")
    return owner


# -- definitions: with and without an owner ------------------------------------------------------
def test_a_job_is_added_viewed_edited_paused_resumed_and_removed(client: Tenure) -> None:
    job = client.add(
        "backup", "0 3 * * *", ["cp", "-a", "x", "y"],
        tz="Europe/Berlin", timeout=timedelta(minutes=10), retries=2, tags=["nightly"],
        env={"API_TOKEN": "secret", "LANG": "C"},
    )  # fmt: skip
    assert (job.name, job.state, job.command) == ("backup", "active", ("cp", "-a", "x", "y"))
    assert (job.schedule, job.timezone, job.revision) == ("0 3 * * *", "Europe/Berlin", 1)
    assert (job.timeout, job.retries, job.tags) == (timedelta(minutes=10), 2, ("nightly",))
    assert job.env == {"API_TOKEN": "********", "LANG": "C"}
    assert job.next_run_at is not None
    assert job.next_run_at.utcoffset() == timedelta(0)
    assert "Python API" in job.edited_by
    assert client.jobs() == (job,) == client.jobs(tag="nightly") == client.jobs(state="active")
    assert client.jobs(tag="other") == client.jobs(state=JobState.PAUSED) == ()
    assert client.get_job("backup") == client.get_job(job.id) == client.get_job(job) == job

    edited = client.edit(job, timeout="5m", reset=["tags"])
    assert (edited.timeout, edited.tags, edited.revision) == (timedelta(minutes=5), (), 2)
    assert edited.command == job.command
    assert client.edit("backup", schedule="@hourly", shell="cp a b").command == ("cp a b",)
    assert client.pause("backup").state is JobState.PAUSED
    assert client.get_job("backup").next_run_at is None
    assert client.resume(edited).state is JobState.ACTIVE
    assert client.remove("backup").state is JobState.REMOVED
    assert client.jobs() == ()
    assert [j.name for j in client.jobs(state="removed")] == ["backup"]


def test_schedules_may_be_those_of_declarations(client: Tenure) -> None:
    daily = client.add("daily", cron("0 3 * * *"), ["true"])
    fixed = client.add("fixed", cron("0 3 * * *", tz="Asia/Tokyo"), shell="true | cat")
    often = client.add("often", every("30s"), ["true"])
    assert daily.timezone == client.profile.timezone()
    assert client.profile.store.job("daily").definition.schedule.follows_profile
    assert fixed.timezone == "Asia/Tokyo"
    assert fixed.shell
    assert often.next_run_at is not None
    assert often.next_run_at.second in (0, 30)
    at = datetime(2090, 1, 31, 9, tzinfo=UTC)
    assert client.edit("often", schedule=tenure.at(at)).next_run_at == at


def test_an_edit_of_a_revision_keeps_what_others_changed(client: Tenure) -> None:
    seen = client.add("job", "@daily", ["true"])
    client.edit("job", timeout="1m")
    merged = client.edit(seen, retries=3)
    assert (merged.timeout, merged.retries) == (timedelta(minutes=1), 3)
    with pytest.raises(errors.Conflict) as error:
        client.edit(seen, timeout="2m")
    assert error.value.facts["fields"] == ["timeout"]
    assert error.value.remedy


def test_next_lists_the_runs_to_come(client: Tenure) -> None:
    client.add("a", "@hourly", ["true"])
    client.add("b", "30 * * * *", ["true"])
    upcoming = client.next(limit=4)
    assert [run.at for run in upcoming] == sorted(run.at for run in upcoming)
    assert sorted(run.job_name for run in upcoming) == ["a", "a", "b", "b"]
    assert {run.job_name for run in client.next("b", limit=2)} == {"b"}
    client.pause("b")
    assert client.next("b") == ()


# -- without an owner ----------------------------------------------------------------------------
def test_without_an_owner_a_trigger_is_refused_with_the_remedy(client: Tenure) -> None:
    job = client.add("job", "@daily", ["true"])
    with pytest.raises(errors.Refused) as error:
        client.trigger("job")
    assert "tenure serve" in error.value.remedy
    assert [r.state for r in client.requests()] == ["refused"]
    assert client.runs() == ()
    status = client.status()
    assert status.owner is None
    assert not status.ok
    assert status.jobs[JobState.ACTIVE] == 1
    assert {w.code for w in status.warnings} == {"no_owner"}
    explanation = client.explain(job)
    assert not explanation.would_run
    (check,) = (c for c in explanation.checks if c.ok is False)
    assert check.name == "owner"
    assert "tenure serve" in check.remedy


def test_a_queued_request_stays_pending_and_can_be_withdrawn(client: Tenure) -> None:
    client.add("job", "@daily", ["true"])
    request = client.trigger("job", queue=True, key="once")
    assert (request.state, request.run_id, request.queued) == (RequestState.PENDING, None, True)
    assert client.trigger("job", queue=True, key="once").id == request.id
    assert client.requests(state="pending") == (request,)
    with pytest.raises(errors.WaitTimeout) as error:
        client.trigger("job", queue=True, key="once", wait=0.05)
    assert error.value.facts["request"] == request.id
    assert client.withdraw(request).state == "withdrawn"
    assert client.request(request.id).state == "withdrawn"
    with pytest.raises(errors.Conflict):
        client.withdraw(request.id)


def test_what_is_not_there_and_what_is_wrong_raise_the_public_errors(client: Tenure) -> None:
    with pytest.raises(errors.NotFound, match="profile shop does not exist"):
        client.jobs()
    client.add("job", "@daily", ["true"])
    for call in (
        lambda: client.get_job("other"),
        lambda: client.run("r0"),
        lambda: client.trigger("other"),
        lambda: client.request("q0"),
        lambda: client.logs("job"),
    ):
        with pytest.raises(errors.NotFound) as missing:
            call()
        assert isinstance(missing.value, tenure.TenureError)
        assert missing.value.text
    for wrong, field in (
        (lambda: client.add("x", "no schedule", ["true"]), "schedule"),
        (lambda: client.add("x", lambda: None, ["true"]), "schedule"),  # type: ignore[arg-type]
        (lambda: client.add("x", "@daily"), "command"),
        (lambda: client.add("x", "@daily", "true"), "command"),
        (lambda: client.add("x", "@daily", ["a"], colour="red"), "colour"),  # type: ignore[call-arg]
        (lambda: client.edit("job", timeout="ten"), "timeout"),
        (lambda: client.jobs(state="asleep"), "state"),
        (lambda: client.runs(limit=0), "limit"),
        (lambda: client.runs(since=datetime(2030, 1, 1)), "since"),
        (lambda: client.trigger("job", wait=-1), "wait"),
        (lambda: client.trigger(7), "id"),  # type: ignore[call-overload]
        (lambda: client.hand_over("p-other"), "to"),
    ):
        with pytest.raises(errors.InvalidInput) as invalid:
            wrong()
        assert invalid.value.field == field
    with pytest.raises(errors.Conflict):
        client.add("job", "@daily", ["true"])


# -- with an owner -------------------------------------------------------------------------------
def test_a_triggered_run_is_executed_by_the_owner_and_waited_for(
    owner: Tenure, client: Tenure
) -> None:
    client.add("report", "@yearly", shell="echo one; echo two; exit 3")
    run = client.trigger("report", wait=WAIT_S)
    assert (run.state, run.exit_code, run.job_name) == ("failed", 3, "report")
    assert run.ended
    assert not run.succeeded
    assert run.duration is not None
    assert run.finished_at is not None
    assert run.finished_at.utcoffset() == timedelta(0)
    assert client.run(run.id) == client.run(run) == run == client.runs("report")[0]
    assert client.runs(state="failed") == (run,)
    assert client.runs(state="succeeded") == ()
    assert client.runs(since=datetime.now(UTC) + timedelta(hours=1)) == ()
    assert client.logs(run) == client.logs("report") == "one\ntwo\n"
    assert client.logs(run, lines=1) == "two\n"
    assert client.logs(run, limit=2) == "o\n"
    with pytest.raises(errors.NotFound):
        client.logs(run, attempt=2)

    client.edit("report", shell="true")
    again = client.retry(run, wait=f"{WAIT_S:g}s")
    assert again.succeeded
    assert again.id != run.id
    assert again.cause == "request"
    assert run.request_id is not None
    request = client.request(run.request_id)
    assert (request.kind, request.state, request.run_id) == ("trigger", "done", run.id)
    with pytest.raises(errors.Conflict):
        client.cancel(run)


def test_output_is_followed_while_it_is_written_until_the_run_ends(
    owner: Tenure, client: Tenure, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    client.add(
        "report", "@yearly", retries=1, backoff="1s",
        shell=f"printf 'one \\342\\202'; until [ -e {go} ]; do sleep 0.05; done; "
        f"printf '\\254\n'; exit 3",
    )  # fmt: skip
    run = client.trigger("report").run_id
    assert run is not None
    followed = client.logs(run, follow=True)
    assert next(followed) == "one ", "before the run ends; half a character is kept back"
    go.touch()
    assert "".join(followed) == "€\none €\n", "the retry too"
    ended = client.run(run)
    assert (ended.state, ended.attempt) == ("failed", 2)
    assert "".join(client.logs(run, follow=True, attempt=1)) == "one €\n"
    with pytest.raises(errors.NotFound):
        client.logs(run, follow=True, attempt=3)
    with pytest.raises(errors.InvalidInput):
        client.logs(run, follow=True, lines=1)  # type: ignore[call-overload]


def test_a_wait_that_is_over_cancels_nothing_and_cancel_does(owner: Tenure, client: Tenure) -> None:
    client.add("long", "@yearly", ["sleep", "600"])
    accepted = client.trigger("long")
    assert accepted.state == "accepted"
    assert accepted.run_id is not None
    with pytest.raises(errors.Refused, match="is already running") as busy:
        client.trigger("long")
    assert busy.value.remedy
    with pytest.raises(TimeoutError) as late:
        client.trigger("long", key=accepted.key, wait=0.2)
    assert isinstance(late.value, errors.WaitTimeout)
    assert late.value.facts["run"] == accepted.run_id
    with pytest.raises(errors.Conflict):
        client.retry(accepted.run_id)
    assert client.cancel(accepted.run_id, wait=True).state is RunState.CANCELLED


def test_the_status_names_the_owner_and_every_process(owner: Tenure, client: Tenure) -> None:
    client.add("job", "@daily", ["true"])
    status = client.status()
    assert status.owner is not None
    assert status.owner.process.pid == os.getpid()
    assert status.owner.process.alive is True
    assert not status.owner.authoritative
    assert [p.standing for p in status.processes] == ["owner"]
    assert [run.job_name for run in status.next] == ["job"]
    found = client.explain("job")
    assert found.would_run
    assert found.owner == status.owner.process
    assert found.term == status.owner.term


def test_a_hand_over_gives_the_ownership_to_the_other_process(
    owner: Tenure, make: Callable[..., Tenure], client: Tenure
) -> None:
    other = make(app="other").start()
    candidates = eventually(
        lambda: [p for p in client.status().processes if p.standing == "candidate"], "a candidate"
    )
    request = client.hand_over(candidates[0].id)
    assert (request.kind, request.state) == ("hand_over", "done")
    assert eventually(lambda: other.owns and not owner.owns, "the successor")


def test_a_job_and_the_owner_itself_may_ask(make: Callable[..., Tenure]) -> None:
    """Inside a job of the owner, by the instance that runs it: nothing waits for itself."""
    owner = make()
    seen: list[str] = []

    @owner.job("@yearly")
    def outer() -> None:
        seen.append(owner.trigger("inner", wait=WAIT_S).state)
        owner.pause("inner")

    owner.start()
    owner.add("inner", "@yearly", ["true"])
    eventually(lambda: len(owner.jobs()) == 2, "the declared job")
    assert owner.trigger("outer", wait=WAIT_S).succeeded
    assert seen == ["succeeded"]
    assert owner.get_job("inner").state == "paused"
    assert owner.get_job("outer").function == "shop:outer"


ASKING = """
import json, sys
from tenure import Tenure
t = Tenure("shop", home=sys.argv[1], execute=False)
t.add("report", "@yearly", ["true"])
run = t.trigger("report", wait=60)
print(json.dumps([run.state, t.run(run).process_id, len(t.status().processes)]))
"""


def test_another_process_asks_and_executes_nothing(
    owner: Tenure, client: Tenure, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING, tmp_path],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state, process, processes = json.loads(done.stdout)
    ours = client.status().owner
    assert ours is not None
    assert (state, process, processes) == ("succeeded", ours.process.id, 1)


def test_a_forked_child_opens_its_own_connection(client: Tenure) -> None:
    client.add("job", "@daily", ["true"])
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if client.pause("job").state == "paused" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.get_job("job").state == "paused"


# -- on an event loop ----------------------------------------------------------------------------
def test_the_same_on_an_event_loop(tmp_path: Path) -> None:
    async def use() -> None:
        async with aio.Tenure("shop", home=tmp_path) as t:
            job = await t.add("report", "@yearly", ["true"])
            while not t.owns:
                await asyncio.sleep(0.01)
            run = await t.trigger(job, wait=WAIT_S)
            assert run.succeeded
            assert (await t.runs("report"))[0] == run
            assert (await t.status()).owner is not None
            assert (await t.edit(job, retries=1)).retries == 1
            with pytest.raises(errors.NotFound):
                await t.pause("other")

    asyncio.run(use())


def test_output_is_followed_on_an_event_loop(owner: Tenure, tmp_path: Path) -> None:
    """The loop stays free meanwhile, and a cancelled task ends the wait."""

    async def use() -> None:
        t = aio.Tenure("shop", home=tmp_path, execute=False)
        go = tmp_path / "go"
        waits = f"echo one; until [ -e {go} ]; do sleep 0.05; done; echo two"
        await t.add("report", "@yearly", shell=waits)
        run = (await t.trigger("report")).run_id
        assert run is not None
        parts = []
        async for text in await t.logs(run, follow=True):
            parts.append(text)
            go.touch()
        assert "".join(parts) == "one\ntwo\n" == await t.logs(run)
        go.unlink()
        run = (await t.trigger("report")).run_id
        assert run is not None
        followed = await t.logs(run, follow=True)
        assert await anext(followed) == "one\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(followed), 0.2)
        assert (await t.run(run)).state == "running"
        go.touch()

    asyncio.run(use())
    eventually(
        lambda: not [t for t in threading.enumerate() if t.name == "tenure-call"],
        "the end of all waiting threads",
    )


def test_many_calls_may_wait_and_a_cancelled_one_ends(client: Tenure, tmp_path: Path) -> None:
    """More than an executor has threads; the loop stays free."""
    client.add("job", "@daily", ["true"])

    async def use() -> None:
        t = aio.Tenure("shop", home=tmp_path, execute=False)
        waits = [
            asyncio.create_task(t.trigger("job", queue=True, key="k", wait=True)) for _ in range(40)
        ]
        async with asyncio.timeout(DEADLINE):
            while sum(r.state == "pending" for r in await t.requests()) != 1:
                await asyncio.sleep(0.01)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert all(wait.cancelled() for wait in waits)

    asyncio.run(use())
    eventually(
        lambda: not [t for t in threading.enumerate() if t.name == "tenure-call"],
        "the end of all waiting threads",
    )


def test_run_forever_on_a_loop_ends_with_sigterm(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal, sys\n"
        "from tenure.aio import Tenure\n"
        "async def main():\n"
        "    t = Tenure('shop', home=sys.argv[1])\n"
        "    task = asyncio.create_task(t.run_forever())\n"
        "    while not t.owns: await asyncio.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await task\n"
        "    print((await t.status()).owner)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


# -- the shape of the API ------------------------------------------------------------------------
METHODS = (
    "jobs", "get_job", "add", "edit", "pause", "resume", "remove", "next",
    "runs", "run", "logs", "trigger", "retry", "cancel", "hand_over",
    "requests", "request", "withdraw", "status", "explain",
)  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_documented_and_has_its_coroutine(name: str) -> None:
    blocking, coroutine = getattr(Tenure, name), getattr(aio.Tenure, name)
    assert inspect.getdoc(blocking)
    assert inspect.iscoroutinefunction(coroutine)
    assert list(inspect.signature(blocking).parameters) == list(
        inspect.signature(coroutine).parameters
    )


def test_results_are_frozen_and_errors_have_one_root(client: Tenure) -> None:
    job = client.add("job", "@daily", ["true"])
    with pytest.raises(FrozenInstanceError):
        job.name = "other"  # type: ignore[misc]
    for name in models.__all__:
        kind = getattr(models, name)
        assert inspect.getdoc(kind)
        if is_dataclass(kind):
            assert all(not field.name.startswith("_") for field in fields(kind))
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert inspect.getdoc(kind)
        assert kind is errors.RunFailed or issubclass(kind, tenure.TenureError)
