"""Where code is typed in, as into a notebook, it is defined anew all the time."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure import Tenure, at, every
from tenure.domain.errors import InvalidInput
from tenure.domain.process import Standing
from tenure.domain.run import RunState
from tenure.runtime import dispatcher
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
ENDED = frozenset({RunState.SUCCEEDED})
Make = Callable[..., Tenure]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Tenure] = []

    def tenure(profile: str = "shop", **options: Any) -> Tenure:
        made.append(Tenure(profile, home=tmp_path, **options))
        return made[-1]

    yield tenure
    for one in made:
        one.stop(drain=2)


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


@pytest.mark.usefixtures("prompt")
def test_a_job_declared_again_replaces_the_one_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "IDLE_POLL", 3600.0)
    tenure = make()
    ran: list[str] = []
    first, new = threading.Event(), threading.Event()
    tenure.job(every("1h"), lambda: ran.append("old"), name="beat")
    tenure.job(at(datetime.now(UTC) + timedelta(seconds=1)), first.set, name="first")
    tenure.start()
    assert first.wait(DEADLINE)
    eventually(lambda: tenure.profile.store.runs(RunFilter(states=ENDED))[0], "its run to end")
    tenure.job(every("1s"), new.set, name="beat")
    assert new.wait(DEADLINE), "who has nothing else to do must be told of it"
    assert ran == []
    names = {job.name for job in tenure.profile.store.jobs()[0]}
    assert names == {"shop:beat", "shop:first"}


@pytest.mark.usefixtures("prompt")
def test_an_instance_started_again_takes_the_place_of_the_one_before(make: Make) -> None:
    first = make().start()
    eventually(lambda: first.owns, "to own")
    elsewhere, looks = make("stall").start(), make(execute=False).start()
    second = make().start()
    eventually(lambda: second.owns, "the second to own")
    eventually(lambda: repr(first) == "<Tenure 'shop': stopped>", "the first to leave")

    def standings() -> list[str]:
        return sorted(str(p.standing) for p in second.profile.store.processes())

    # Who takes the ownership says so in the next step.
    both = [Standing.OBSERVER, Standing.OWNER]
    eventually(lambda: standings() == both, "the observer and the second, which owns")
    assert elsewhere.owns
    assert repr(looks) == "<Tenure 'shop': started>"


def test_in_a_program_both_stand_and_a_name_twice_is_a_mistake(make: Make) -> None:
    first = make().start()
    eventually(lambda: first.owns, "to own")
    second = make().start()
    second.job(every("1h"), print)
    with pytest.raises(InvalidInput):
        second.job(every("1h"), print)
    eventually(lambda: len(second.profile.store.processes()) == 2, "both")
    assert first.owns


def test_a_loop_that_start_is_called_on_is_the_hosts_and_not_a_forked_childs(make: Make) -> None:
    tenure = make(on_host_loop=True)
    found: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        done = asyncio.Event()

        async def tell() -> None:
            found.append(asyncio.get_running_loop())
            done.set()

        tenure.job(every("1s"), tell)
        tenure.start()
        await asyncio.wait_for(done.wait(), DEADLINE)
        assert found == [asyncio.get_running_loop()]
        child = os.fork()
        if child == 0:  # the loop says that it is running, and nobody runs it there
            os._exit(0 if tenure._host_loop is None else 1)
        assert os.waitpid(child, 0)[1] == 0

    asyncio.run(main())
