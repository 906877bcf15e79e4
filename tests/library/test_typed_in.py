"""Where code is executed again and again, as cells of a notebook and pages of Streamlit are, the
newest instance counts, and the process has one scheduler."""

from __future__ import annotations

import asyncio
import functools
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
from tenure.domain.process import ProcessStatus
from tenure.domain.run import RunState
from tenure.runtime.dispatch import turn
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
    monkeypatch.setattr(turn, "IDLE_POLL_S", 3600.0)
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
    both = [ProcessStatus.OBSERVER, ProcessStatus.OWNER]
    eventually(lambda: standings() == both, "the observer and the second, which owns")
    eventually(lambda: elsewhere.owns, "the one of another profile to own, as if nothing had been")
    assert repr(looks) == "<Tenure 'shop': started>"


def test_in_a_program_the_newest_counts_and_a_name_twice_is_a_mistake(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(), make()
    ran: list[str] = []
    for tenure, word in ((first, "old"), (second, "new")):
        tenure.job(every("1s"), functools.partial(ran.append, word), name="beat")
    first.job(every("1h"), print, name="lost")
    first.start()
    eventually(lambda: "old" in ran, "the first one's run")
    term = first.profile.store.ownership().term
    second.start()
    eventually(lambda: "new" in ran, "the second one's run")
    with pytest.raises(InvalidInput):
        second.job(every("1h"), print, name="beat")
    assert ran == sorted(ran, reverse=True), "the old function ran after it was replaced"
    assert (first.owns, second.owns) == (False, True)
    assert second.profile.store.ownership().term == term, "nothing changed hands"
    assert len(second.profile.store.processes(gone=True)) == 1
    assert "does not declare shop:lost" in caplog.text, "what is lost is said"
    first.stop()
    assert second.owns, "who was replaced has nothing more to stop"


@pytest.mark.parametrize(
    "differs",
    [{"app": "other"}, {"profile": "stall"}, {"execute": False}],
    ids=["another app", "another profile", "an observer"],
)
def test_instances_that_differ_stand_side_by_side(make: Make, differs: dict[str, Any]) -> None:
    first = make().start()
    second = make(**differs).start()
    assert first._scheduler is not None
    assert second._scheduler is not None
    assert first._scheduler is not second._scheduler


def test_another_home_is_another_profile(make: Make, tmp_path: Path) -> None:
    first, other = make().start(), Tenure("shop", home=tmp_path / "other").start()
    try:
        eventually(lambda: first.owns and other.owns, "both to own, each its own")
    finally:
        other.stop()


def test_the_same_home_by_another_path_is_the_same(make: Make, tmp_path: Path) -> None:
    first = make().start()
    (tmp_path / "link").symlink_to(tmp_path)
    second = Tenure("shop", home=tmp_path / "link").start()
    try:
        assert first._scheduler is None
    finally:
        second.stop()


def test_a_newer_version_of_the_code_joins_by_itself_and_the_older_one_leaves(make: Make) -> None:
    first = make(version="1").start()
    eventually(lambda: first.owns, "the first to own")
    second = make(version="2").start()
    eventually(lambda: second.owns, "the second to own")
    eventually(lambda: len(second.profile.store.processes()) == 1, "the first to leave")


PAGE = """
from tenure import Tenure, every
tenure = Tenure("shop", home=home)
@tenure.job(every("1s"), name="tick")
def tick():
    ran.append(number)
@tenure.job(every("1s"), name="later")
async def later(): ...
tenure.start()
assert tenure.profile.store.jobs() is not None
"""


def test_a_page_that_is_executed_fifty_times_leaves_one_scheduler(tmp_path: Path) -> None:
    """As Streamlit does: each time in a thread and a namespace of its own, several at once."""
    code = compile(PAGE, "page.py", "exec")
    ran: list[int] = []
    pages: list[dict[str, Any]] = []

    def execute(number: int) -> None:
        page: dict[str, Any] = {"home": tmp_path, "ran": ran, "number": number}
        exec(code, page)
        pages.append(page)

    def wait_run() -> None:
        newest = next(p["number"] for p in pages if p["tenure"]._scheduler is not None)
        eventually(lambda: newest in ran[-3:], "a run of the newest page")

    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    execute(0)
    wait_run()
    before = held()
    for number in range(1, 50, 2):
        together = [threading.Thread(target=execute, args=(n,)) for n in (number, number + 1)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join(DEADLINE)
    assert len(pages) == 51
    wait_run()
    try:
        [standing] = [page["tenure"] for page in pages if page["tenure"]._scheduler is not None]
        threads, files = held()
        assert threads <= before[0] + 2
        assert files <= before[1] + 3, "each connection that was opened by a page stays open"
        assert len(standing.profile.store.processes(gone=True)) == 1
        assert standing.profile.store.ownership().term == 1
    finally:
        for page in pages:
            page["tenure"].stop()
    eventually(lambda: threading.active_count() < before[0], "its threads to end")


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
