"""What a job's function is given, what becomes of its output, and a process of its own."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Optional

import pytest

import tenure as package
from descriptors import no_descriptors
from tenure import Context, Fence, RunFailed, Tenure, at, fence
from tenure.domain.errors import InvalidInput
from tenure.domain.run import FINAL, Run, RunState
from tenure.runtime.callables import capture
from tenure.runtime.callables.child import describe
from tenure.runtime.run_context import context_parameter
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tenure]]:
    made: list[Tenure] = []

    def tenure(**options: Any) -> Tenure:
        one = Tenure("shop", home=tmp_path, **options)
        made.append(one)
        return one

    yield tenure
    for one in made:
        one.stop(drain=2)


def ended(tenure: Tenure, count: int = 1) -> tuple[Run, ...]:
    """So many runs that have ended, waited for."""

    def enough() -> tuple[Run, ...] | None:
        runs, _ = tenure.profile.store.runs(RunFilter(states=FINAL))
        return runs if len(runs) >= count else None

    return eventually(enough, f"{count} ended runs")


def output(tenure: Tenure, run: Run) -> str:
    return (tenure.profile.folder.logs / run.id / f"{run.attempt}.log").read_text()


def soon() -> datetime:
    """Late enough that the declaration is in the store by then, on a busy machine too."""
    return datetime.now(UTC) + timedelta(seconds=1)


def test_a_function_that_asks_is_given_its_runs_context(make: Callable[..., Tenure]) -> None:
    tenure = make()
    given: list[tuple[Any, ...]] = []

    @tenure.job(at(soon()), args={"word": "a"})
    def annotated(word: str, about: Context) -> None:
        given.append((word, about))

    @tenure.job(at(soon()))
    async def named(context) -> None:  # type: ignore[no-untyped-def]
        given.append(("b", context))

    @tenure.job(at(soon()), args={"context": "mine"})
    def its_own(context: str) -> None:
        given.append(("c", context))

    tenure.start()
    runs = {run.job_name: run for run in ended(tenure, 3)}
    found = dict(given)
    assert found["c"] == "mine"
    for word, name in (("a", "shop:annotated"), ("b", "shop:named")):
        about, run = found[word], runs[name]
        assert (about.run, about.job, about.term) == (run.id, name, run.term)
        assert (about.fire_time, about.attempt) == (run.fire_time, 1)
        assert fence(about) == Fence(name, run.term, run.id)


def test_who_asks_for_a_context() -> None:
    def none() -> None: ...
    def other(context: int, **more: Any) -> None: ...
    def quoted(where: Context) -> None: ...
    def qualified(where: package.Context) -> None: ...

    def may(where: Context | None = None) -> None: ...
    def perhaps(where: Optional[package.Context] = None) -> None: ...  # noqa: UP045
    def many(where: list[Context]) -> None: ...
    def living(where: Any = None) -> None: ...
    def living_many(where: Any = None) -> None: ...

    living.__annotations__["where"] = Context | None
    living_many.__annotations__["where"] = list[Context]
    wanting = (quoted, qualified, may, perhaps, living)
    assert [context_parameter(f) for f in wanting] == ["where"] * len(wanting)
    for function in (none, other, print, many, living_many):
        assert context_parameter(function) is None


def test_what_a_run_prints_and_logs_is_its_output(
    make: Callable[..., Tenure], capsys: pytest.CaptureFixture[str]
) -> None:
    tenure = make()
    both = threading.Barrier(2)

    def speak(word: str) -> None:
        both.wait(DEADLINE)
        print(f"said {word}")
        print(f"cried {word}", file=sys.stderr)
        logging.getLogger("shop").warning("logged %s", word)
        try:
            raise LookupError(word)
        except LookupError:
            logging.getLogger("shop").exception("broke")

    for word in ("one", "two"):
        tenure.job(at(soon()), speak, name=word, args={"word": word})

    @tenure.job(at(soon()))
    async def waits(context: Context) -> None:
        await asyncio.sleep(0)
        context.logger.warning("from the loop")

    tenure.start()
    for run in ended(tenure, 3):
        word = run.job_name.removeprefix("shop:")
        said = output(tenure, run)
        if word == "waits":
            assert said == "WARNING tenure.job.shop:waits: from the loop\n"
            continue
        assert f"said {word}\n" in said
        assert f"cried {word}\n" in said
        assert f"WARNING shop: logged {word}\n" in said
        assert f"LookupError: {word}\n" in said
        assert not {"one", "two"} - {word} & set(said.split())
    passed_on = capsys.readouterr()
    assert "said one" in passed_on.out
    assert "cried two" in passed_on.err


def test_a_silent_job_leaves_no_file(make: Callable[..., Tenure]) -> None:
    tenure = make()
    tenure.job(at(soon()), lambda: None, name="silent")
    tenure.start()
    (run,) = ended(tenure)
    assert not (tenure.profile.folder.logs / run.id).exists()


def test_output_is_capped_and_a_full_disk_leaves_the_job_alone(tmp_path: Path) -> None:
    small = capture.Capture(tmp_path / "r1" / "1.log", 1000)
    for number in range(500):
        small.write(f"line {number}\n")
    small.close()
    kept = sum(path.stat().st_size for path in (tmp_path / "r1").iterdir())
    assert kept < 3000
    assert (tmp_path / "r1" / "1.log").read_text().endswith("line 499\n")
    (tmp_path / "full").symlink_to("/dev/full")
    full = capture.Capture(tmp_path / "full", 1000)
    full.write("nothing of this can be kept")
    full.close()


def test_output_that_could_not_be_written_for_a_while_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged once, also where the record itself is to be written down there."""
    with capture.captured(tmp_path / "r1" / "1.log", 1000):
        print("before")
        with no_descriptors():
            held = capture._current.get()
            assert held is not None
            os.close(held._file)
            held._file = -1
            print("lost")
            print("lost too")
        print("after")
    text = (tmp_path / "r1" / "1.log").read_text()
    assert text.startswith("before\n")
    assert "bytes of this output could not be written]" in text
    assert text.endswith("after\n")
    assert "lost" not in text
    assert caplog.text.count("cannot be written") == 1


def test_a_host_that_replaces_its_streams_is_followed(
    make: Callable[..., Tenure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrapped anew at the next run; what is written outside a run goes through untouched."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    tenure = make()
    tenure.job(at(soon()), lambda: print("in a run"), name="speak")
    tenure.start()
    (run,) = ended(tenure)
    print("outside")
    assert output(tenure, run) == "in a run\n"
    assert stream.getvalue() == "in a run\noutside\n"


class Logs(io.StringIO):
    """A stream as Celery's: what is written to it is logged."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.getLogger("redirected").warning(text.rstrip())
        return super().write(text)


def test_nothing_is_taken_down_twice_where_one_is_made_of_the_other(
    make: Callable[..., Tenure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that logs what it is given, and a handler that writes what is logged to a stream."""
    monkeypatch.setattr(sys, "stdout", Logs())
    tenure = make()

    def speak() -> None:
        print("hello")
        logger = logging.Logger("mine")
        logger.addHandler(logging.StreamHandler())  # of standard error as it is now
        logger.warning("mind")

    tenure.job(at(soon()), speak)
    tenure.start()
    (run,) = ended(tenure)
    assert output(tenure, run) == "hello\nWARNING mine: mind\n"


def test_a_job_may_fail_with_a_reason_alone(make: Callable[..., Tenure]) -> None:
    tenure = make()

    @tenure.job(at(soon()))
    def refuses() -> None:
        raise RunFailed("the shop is closed")

    tenure.start()
    (run,) = ended(tenure)
    assert (run.state, run.reason) == (RunState.FAILED, "the shop is closed")


def test_a_thread_that_looks_is_told_to_stop(make: Callable[..., Tenure]) -> None:
    tenure = make()
    stopped = threading.Event()

    @tenure.job(at(soon()), timeout="200ms")
    def patient(context: Context) -> None:
        if context.cancelled.wait(DEADLINE):
            stopped.set()

    tenure.start()
    (run,) = ended(tenure)
    assert run.state is RunState.TIMED_OUT
    assert stopped.wait(DEADLINE)


def test_coroutines_run_on_the_hosts_loop_where_it_is_wanted(make: Callable[..., Tenure]) -> None:
    tenure = make(on_host_loop=True)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        done = asyncio.Event()
        mine = asyncio.get_running_loop()

        async def look() -> None:
            loops.append(asyncio.get_running_loop())
            done.set()

        tenure.job(at(soon()), look)
        async with tenure.lifespan():
            await asyncio.wait_for(done.wait(), DEADLINE)
        assert loops == [mine]

    asyncio.run(serve())


APP = """
import os, sys, time
from tenure import Context, Tenure, at
from datetime import UTC, datetime, timedelta

tenure = Tenure("shop", home=sys.argv[1])
soon = at(datetime.now(UTC) + timedelta(seconds=2))

@tenure.job(soon, process=True, args={"word": "hello"})
def speak(word, context: Context):
    print(word, context.job, context.attempt)

@tenure.job(soon, process=True)
async def breaks():
    raise LookupError("no such order")

@tenure.job(soon, process=True, timeout="300ms")
def stuck():
    time.sleep(600)

if __name__ == "__main__":
    tenure.start()
    time.sleep(600)
"""


def test_a_process_of_its_own_is_found_ended_and_told(tmp_path: Path) -> None:
    """Declared in a program's main file: output, exit, traceback; one that hangs is killed."""
    script = tmp_path / "app.py"
    script.write_text(APP)
    home = tmp_path / "home"
    host = subprocess.Popen([sys.executable, script, home], cwd=tmp_path)
    observer = Tenure("shop", home=home, execute=False)
    try:
        runs = {run.job_name: run for run in ended(observer, 3)}
        spoke = runs["shop:speak"]
        assert spoke.state is RunState.SUCCEEDED
        assert output(observer, spoke) == "hello shop:speak 1\n"
        broke = runs["shop:breaks"]
        assert (broke.state, broke.exit_code) == (RunState.FAILED, 1)
        assert broke.reason == "LookupError: no such order"
        said = output(observer, broke)
        assert said.splitlines()[1].startswith(f'  File "{script}", line ')
        assert said.endswith("LookupError: no such order\n")
        assert "tenure" not in said.replace(str(tmp_path), "")
        assert runs["shop:stuck"].state is RunState.TIMED_OUT
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait(DEADLINE)
        observer.stop()


def test_what_no_other_process_can_find_is_refused_at_once() -> None:
    def local() -> None: ...

    with pytest.raises(InvalidInput, match="another process cannot find it"):
        describe(local, {})
    assert "os" in describe(os.getcwd, {}) or "posix" in describe(os.getcwd, {})


def forwarding(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def test_a_coroutine_behind_a_decorator_runs_and_a_generator_fails(
    make: Callable[..., Tenure],
) -> None:
    """Nothing told beforehand what calling them makes; neither may look like a success for
    nothing."""
    tenure, seen = make(), []

    async def says(context: Context) -> None:
        await asyncio.sleep(0)
        seen.append(context.job)

    tenure.job(at(soon()), forwarding(says), name="says")
    tenure.job(at(soon()), lambda: (seen.append(str(n)) for n in range(3)), name="lazy")
    tenure.start()
    runs = {run.job_name: run for run in ended(tenure, 2)}
    assert runs["shop:says"].state is RunState.SUCCEEDED
    assert runs["shop:lazy"].state is RunState.FAILED
    assert "generator" in runs["shop:lazy"].reason
    assert seen == ["shop:says"]


def test_an_exception_that_names_a_file_that_is_not_utf8_is_recorded(
    make: Callable[..., Tenure],
) -> None:
    """It once kept every end of its owner from being written down, for ever."""
    tenure = make()

    def opens() -> None:
        Path(b"/no/caf\xe9.txt".decode("utf-8", "surrogateescape")).read_text()

    tenure.job(at(soon()), opens)
    tenure.job(at(soon()), list, name="other")
    tenure.start()
    runs = {run.job_name: run for run in ended(tenure, 2)}
    assert "caf\\udce9.txt" in runs["shop:opens"].reason
    assert runs["shop:other"].state is RunState.SUCCEEDED


def test_what_a_job_forks_ends_as_a_forked_child_does_and_does_not_join(
    make: Callable[..., Tenure],
) -> None:
    """It comes back from the function into the parent's pool of threads, and it is no host."""
    tenure, codes = make(), {}
    told, tell = os.pipe()

    def forks() -> None:
        for how in ("returns", "raises", "exits", "lives"):
            pid = os.fork()
            if pid == 0:
                if how == "raises":
                    raise LookupError
                if how == "exits":
                    sys.exit(7)
                if how == "lives":
                    threads = [t.name for t in threading.enumerate()]
                    os.write(tell, ",".join(threads).encode())
                return
            codes[how] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    tenure.job(at(soon()), forks)
    tenure.start()
    [run] = ended(tenure, 1)
    assert run.state is RunState.SUCCEEDED
    assert codes == {"returns": 0, "raises": 1, "exits": 7, "lives": 0}
    assert "tenure-join" not in os.read(told, 1000).decode()
    os.close(told)
    os.close(tell)
