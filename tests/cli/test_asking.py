"""trigger, cancel, retry, requests: the owner answers, or the refusal says what to do (C7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from clikit import Tenure, World

from answering import Answering
from tenure.client import requests as asking
from tenure.client.documents import instant
from tenure.domain.job import JobState
from tenure.domain.process import ProcessStatus
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import Result, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from tenure.surfaces.cli import requests as asking_cli


@pytest.fixture
def job(tenure: Tenure, world: World) -> str:
    tenure("add", "@daily", "--name", "n", "--", "true")
    return world.store.job("n").id


def accept(profile: Profile, request: Request) -> None:
    authority = profile.store.ownership().authority
    assert authority is not None
    profile.store.claim_trigger(authority, request.id, asking._now())


def accept_and_finish(end: RunState) -> Callable[[Profile, Request], None]:
    def answer(profile: Profile, request: Request) -> None:
        accept(profile, request)
        run = profile.store.request(request.id).run
        assert run is not None
        profile.store.finish(
            [
                Result(
                    run=run, attempt=1, process="p-gateway", state=end, at=asking._now(),
                    exit_code=0 if end is RunState.SUCCEEDED else 7,
                )
            ],
            asking._now(),
        )  # fmt: skip

    return answer


# -- nobody owns


def test_without_an_owner_a_trigger_is_refused_with_who_why_and_what(
    tenure: Tenure, world: World, job: str
) -> None:
    world.profile.folder.toml.write_text('[[owner]]\nservice = "gateway.service"\n')
    tenure("owner", "policy", "--accept")
    world.join("p-desk", standing=ProcessStatus.REFUSED, why="no rule admits it")
    done = tenure("trigger", "n")
    assert done.code == 3
    assert "rule 1 admits service gateway.service" in done.err  # who should own
    assert (
        f"pid {os.getpid()} (gateway) is refused: no rule admits it" in done.err
    )  # why nobody does
    assert "→ start the service gateway.service" in done.err  # what to type
    (request,) = world.store.requests()
    assert (request.state, request.kind) == (RequestState.REFUSED, RequestKind.TRIGGER)
    assert "no rule admits it" in request.answer
    assert request.remedy
    assert world.store.counts().active_runs == 0


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [
        ("", "start `tenure serve`; or pass --queue"),
        ('user = "me"', "start `tenure serve`; or pass --queue"),
        ('service = "gw"', "start the service gw; or pass --queue"),
        (
            'service = "systemd:gw.service"',
            "gw.service: `systemctl start gw.service`; or pass --queue",
        ),
        (
            'service = "systemd-user:gw.service"',
            "start the service gw.service: `systemctl --user start gw.service`; or pass --queue",
        ),
        (
            'service = "launchd:ai.gw"',
            "ai.gw: `launchctl kickstart gui/$UID/ai.gw`; or pass --queue",
        ),
        (
            'executable = "/opt/gw/launcher"',
            "start /opt/gw/launcher; `tenure serve` is admitted only in it or under it; or pass",
        ),
        (
            'ancestor = "/opt/gw/launcher"',
            "start /opt/gw/launcher; `tenure serve` is admitted only under it; or pass --queue",
        ),
        (
            'holds = "/run/gw.lock"\nuser = "me"',
            "start the process that rule 1 asks for: a lock on /run/gw.lock and the profile's own",
        ),
        ('user = "me"\nrefuse = true', "correct the rules in profile.toml: each of them refuses"),
    ],
)
def test_the_remedy_starts_whom_the_best_rule_admits(
    tenure: Tenure, world: World, job: str, rule: str, remedy: str
) -> None:
    """C7: what to type; what the rules would only refuse is no remedy."""
    world.profile.folder.toml.write_text(f"[[owner]]\n{rule}\n" if rule else "")
    tenure("owner", "policy", "--accept")
    assert remedy in tenure("trigger", "n", "--json").json["error"]["remedy"]


def test_a_refusal_is_a_document(tenure: Tenure, world: World, job: str) -> None:
    error = tenure("trigger", "n", "--json").json["error"]
    assert error["code"] == "refused"
    assert set(error["facts"]) == {"should_own", "processes", "request"}


def test_an_owner_that_is_dead_is_no_owner(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    world.die("p-gateway")
    # The live lock is free, so the kernel's word is enough.
    done = tenure("trigger", "n")
    assert done.code == 3
    assert "is dead" in done.err


def test_queued_without_an_owner_it_waits_a_day(tenure: Tenure, world: World, job: str) -> None:
    document = tenure("trigger", "n", "--queue", "--json").json
    (request,) = world.store.requests()
    assert document["request"]["state"] == "pending"
    assert document["request"]["deadline"] == instant(request.deadline)
    assert request.deadline - request.asked_at == timedelta(hours=24)
    assert document["run"] is None


def test_a_request_is_withdrawn_once(tenure: Tenure, world: World, job: str) -> None:
    tenure("trigger", "n", "--queue")
    (request,) = world.store.requests()
    assert tenure("requests", "cancel", request.id).code == 0
    assert world.store.request(request.id).state is RequestState.WITHDRAWN
    assert tenure("requests", "cancel", request.id).code == 5


def test_requests_are_listed(tenure: Tenure, world: World, job: str) -> None:
    tenure("trigger", "n", "--queue")
    tenure("trigger", "n")
    listed = tenure("requests", "--json").json
    assert {r["state"] for r in listed["requests"]} == {"pending", "refused"}
    only = tenure("requests", "list", "--state", "pending", "--json").json["requests"]
    assert [r["queued"] for r in only] == [True]
    assert "tenure trigger (stated)" in tenure("requests").out


# -- the owner answers


def test_an_accepted_trigger_names_its_run(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    with Answering(world.profile.folder.home, accept):
        done = tenure("trigger", "n", "--json")
    assert done.code == 0
    run = world.store.run(done.json["run"]["id"])
    assert (run.job, run.state) == (job, RunState.CLAIMED)
    assert done.json["request"]["state"] == "accepted"
    assert "tenure trigger" in done.json["run"]["requested_by"]


@pytest.mark.parametrize(("end", "code"), [(RunState.SUCCEEDED, 0), (RunState.FAILED, 1)])
def test_wait_ends_with_the_run(
    tenure: Tenure, world: World, job: str, end: RunState, code: int
) -> None:
    world.owner()
    with Answering(world.profile.folder.home, accept_and_finish(end)):
        done = tenure("trigger", "n", "--wait")
    assert done.code == code
    assert str(end) in done.out


def test_the_same_key_is_the_same_request(tenure: Tenure, world: World, job: str) -> None:
    world.owner()
    with Answering(world.profile.folder.home, accept_and_finish(RunState.SUCCEEDED)):
        first = tenure("trigger", "n", "--key", "k", "--wait", "--json").json
        again = tenure("trigger", "n", "--key", "k", "--wait", "--json").json
    assert first["run"]["id"] == again["run"]["id"]
    assert tenure("cancel", first["run"]["id"]).code == 5


def test_a_no_of_the_owner_is_a_refusal_with_its_remedy(
    tenure: Tenure, world: World, job: str
) -> None:
    world.owner()
    world.store.set_job_state(job, JobState.PAUSED, by="me", now=world.now())
    with Answering(world.profile.folder.home, accept):
        done = tenure("trigger", "n")
    assert done.code == 3
    assert "paused" in done.err
    assert "→ " in done.err


def test_an_owner_that_gives_no_answer_is_could_not_tell(
    tenure: Tenure, world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "DEADLINE", timedelta(milliseconds=100))
    world.owner()
    done = tenure("trigger", "n")
    assert done.code == 75
    assert "→ `tenure status`" in done.err
    (request,) = world.store.requests()
    assert request.state is RequestState.EXPIRED


def test_an_interrupted_wait_cancels_nothing(
    tenure: Tenure, world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.owner()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asking_cli, "await_end", interrupted)
    with Answering(world.profile.folder.home, accept):
        done = tenure("trigger", "n", "--wait")
    assert done.code == 130
    assert "continues" in done.out
    (run,) = world.store.runs(RunFilter())[0]
    assert run.cancel_requested_at is None


def test_cancel_is_asked_of_the_owner(tenure: Tenure, world: World, job: str) -> None:
    authority = world.owner()
    run = world.run_of(authority, "n", end=None)

    def cancelled(profile: Profile, request: Request) -> None:
        assert request.run is not None
        profile.store.request_cancel(request.run, asking._now())
        current = profile.store.ownership().authority
        profile.store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=current, now=asking._now(),
            answer="the process that runs it is stopping it", run=request.run,
        )  # fmt: skip

    with Answering(world.profile.folder.home, cancelled):
        done = tenure("cancel", run.id)
    assert (done.code, "is being cancelled" in done.out) == (0, True)
    assert world.store.run(run.id).cancel_requested_at is not None


def test_a_run_that_goes_on_is_not_retried(tenure: Tenure, world: World, job: str) -> None:
    run = world.run_of(world.owner(), "n", end=None)
    done = tenure("retry", run.id)
    assert done.code == 5
    assert f"tenure cancel {run.id}" in done.err


def test_a_finished_run_is_retried_as_a_new_one(tenure: Tenure, world: World, job: str) -> None:
    run = world.run_of(world.owner(), "n", end=RunState.FAILED, exit_code=3)
    with Answering(world.profile.folder.home, accept):
        done = tenure("retry", run.id, "--json")
    assert done.code == 0
    assert done.json["run"]["id"] != run.id
    assert done.json["request"]["kind"] == "retry"


def test_a_refusal_waits_a_moment_for_a_candidate_that_takes_over(
    world: World, tenure: Tenure, job: str
) -> None:
    world.join("p-next")
    taken = []

    def sleep(_: float) -> None:
        if not taken:
            taken.append(world.own("p-next"))

    waiting = asking.Waiting(sleep=sleep)
    by, deadline = asking.Requester(pid=1), timedelta(milliseconds=1)
    with pytest.raises(asking.OutcomeUnknown):  # asked of the new owner, which does not answer
        asking.trigger(world.profile, job, by=by, deadline=deadline, waiting=waiting)
    assert taken
