"""What is replaced in Hermes, when, and once; adopted and released while the process runs."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minihermes import OTHERS, MiniHermes, hermes, job, loaded

from tenure.adapters.hermes import plugin
from tenure.adapters.hermes.inside.patches import PATCHES, hosts
from tenure.adapters.hermes.inside.replacement import MARK, install, original_of
from tenure.domain.ownership import OwnershipState
from tenure.domain.run import RunState
from waiting import DEADLINE, eventually


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniHermes]:
    with hermes(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniHermes]:
    """Adopted, importable; nothing is patched."""
    made = MiniHermes(tmp_path)
    made.adopt()
    monkeypatch.setenv("HERMES_HOME", str(made.home.path))
    monkeypatch.setattr(hosts, "_hosts", {})
    with loaded(made):
        yield made
        hosts.close()


def replaced(module: Any) -> set[str]:
    return {name for name, value in vars(module).items() if hasattr(value, MARK)}


def test_modules_are_patched_as_they_are_loaded_and_not_loaded_for_it(bare: MiniHermes) -> None:
    install(PATCHES)
    assert not {"cron", "tools.cronjob_tools", "hermes_cli.cron"} & sys.modules.keys()
    assert replaced(bare.scheduler) == {
        "tick", "get_due_jobs", "run_one_job", "run_job", "mark_job_run", "_get_lock_paths",
    }  # fmt: skip
    assert replaced(bare.jobs) == {"trigger_job"}
    assert replaced(bare.module("cron")) == {"tick", "trigger_job"}
    assert replaced(bare.module("tools.cronjob_tools")) >= {"_execute_job_now", "cronjob"}
    assert replaced(bare.module("hermes_cli.cron")) == {"_job_action"}
    assert hasattr(bare.module("cron.scheduler_provider").CronScheduler.fire_due, MARK)


def test_what_was_loaded_before_is_patched_and_so_is_what_others_took_from_it(
    bare: MiniHermes,
) -> None:
    """An API server, say, that took trigger_job by name before the plugin came."""
    api, tools, package = (
        bare.module(name) for name in ("tools.api_server", "tools.cronjob_tools", "cron")
    )
    install(PATCHES)
    assert api._cron_trigger is bare.jobs.trigger_job
    assert tools.trigger_job is bare.jobs.trigger_job
    assert package.trigger_job is bare.jobs.trigger_job
    assert package.tick is bare.scheduler.tick
    assert hasattr(api._cron_trigger, MARK)


def test_a_module_that_is_being_loaded_is_patched_when_it_is(
    bare: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it may be what loads the plugins."""
    text = (bare.site / "cron" / "jobs.py").read_text()
    (bare.site / "cron" / "jobs.py").write_text("import plugins_are_loaded\n" + text)
    (bare.site / "plugins_are_loaded.py").write_text(
        "from tenure.adapters.hermes.inside.replacement import install\n"
        "from tenure.adapters.hermes.inside.patches import PATCHES\n"
        "install(PATCHES)\n"
    )
    monkeypatch.delitem(sys.modules, "plugins_are_loaded", raising=False)
    api = bare.module("tools.api_server")
    eventually(lambda: hasattr(api._cron_trigger, MARK), "trigger_job to be patched")
    assert hasattr(bare.scheduler.tick, MARK)
    del sys.modules["plugins_are_loaded"]


def test_twice_is_once(bare: MiniHermes) -> None:
    """Plugins are discovered again with force; and there may be two of them."""
    for _ in range(3):
        plugin.register(object())
        importlib.import_module("cron.scheduler")
    tick = bare.scheduler.tick
    assert not hasattr(original_of(tick), MARK)
    assert len([f for f in sys.meta_path if type(f).__name__ == "_Finder"]) == 1


def test_a_loader_that_is_copied_or_asked_for_odd_things_answers(bare: MiniHermes) -> None:
    import copy
    import inspect

    install(PATCHES)
    module = bare.scheduler
    assert "def tick" in inspect.getsource(module)
    assert copy.copy(module.__spec__.loader) is not None
    with pytest.raises(AttributeError):
        _ = module.__spec__.loader.nothing


def test_an_unadopted_home_runs_as_ever(mini: MiniHermes) -> None:
    mini.release()
    mini.write(job("a"))
    assert mini.scheduler.tick(False, None, None, True) == 1
    assert mini.ran == ["a"]
    assert mini.runs() == []
    assert mini.jobs.trigger_job("a")["next_run_at"]
    assert threading.active_count() < 20


def test_released_while_it_runs_it_leaves_at_its_next_tick(mini: MiniHermes) -> None:
    mini.write(job("a"))
    mini.scheduler.tick(False, None, None, True)
    assert mini.profile.store.ownership().hold is OwnershipState.HELD
    mini.release()
    mini.write(job("a", ago=1))
    assert mini.scheduler.tick(False, None, None, True) == 1
    assert mini.ran == ["a", "a"]
    assert len(mini.runs()) == 1
    assert mini.profile.store.ownership().hold is not OwnershipState.HELD
    assert mini.profile.store.processes() == ()


def test_adopted_while_it_runs_it_obeys_at_its_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hermes(tmp_path, monkeypatch, policy=OTHERS) as mini:
        mini.release()
        mini.write(job("a"))
        assert mini.scheduler.tick(False, None, None, True) == 1
        mini.adopt()
        mini.write(job("a", ago=1))
        assert mini.scheduler.tick(False, None, None, True) == 0
        assert mini.ran == ["a"]


def test_released_while_a_run_is_under_way_its_end_is_kept(mini: MiniHermes) -> None:
    """C6: it belongs to its run."""
    began, go = threading.Event(), threading.Event()

    def do(job: Any) -> Any:
        began.set()
        assert go.wait(DEADLINE)
        return True, "", "text", None

    mini.do(do)
    mini.write(job("a"))
    mini.scheduler.tick(False, None, None, False)
    assert began.wait(DEADLINE)
    mini.release()
    mini.scheduler.tick(False, None, None, True)
    go.set()
    (run,) = eventually(lambda: [r for r in mini.runs() if r.finished_at], "the run to end")
    assert run.state is RunState.SUCCEEDED
    eventually(lambda: mini.profile.store.processes() == (), "the process to leave")


def test_a_record_that_changes_in_the_middle_of_a_tick_runs_nothing(mini: MiniHermes) -> None:
    mini.write(job("a"))
    before = mini.stored()
    find = mini.jobs.load_jobs

    def load() -> Any:
        mini.adopt(tenure_profile="another")
        return find()

    mini.jobs.load_jobs = load
    mini.scheduler.tick(False, None, None, True)
    assert mini.ran == []
    assert mini.stored() == before


def test_a_dashboard_that_turns_to_another_profile_does_not_mix_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older ones turn Hermes' modules around for a moment, in all their threads."""
    with hermes(tmp_path, monkeypatch, new=False) as mini:
        mini.write(job("a"))
        mini.scheduler.tick(False, None, None, True)
        (before,) = mini.profile.store.jobs()[0]
        other = tmp_path / "other" / "cron"
        other.mkdir(parents=True)
        (other / "jobs.json").write_text('{"jobs": [{"id": "x", "name": "x"}]}')
        mini.jobs.CRON_DIR = other
        assert mini.scheduler.tick(False, None, None, True) == 0
        mini.jobs.trigger_job("x")  # of the other, which is not adopted: as ever
        mini.jobs.CRON_DIR = mini.home.cron
        mini.scheduler.tick(False, None, None, True)
        (now,) = mini.profile.store.jobs()[0]
        assert (now.id, now.state) == (before.id, before.state)


def test_a_job_that_turns_the_scheduler_to_another_profile_does_not_turn_its_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an older one a job may run as another profile: while it does, the scheduler's own word
    on the profile at hand is of that one, in all threads."""
    with hermes(tmp_path, monkeypatch, new=False) as mini:
        mini.write(job("a"))
        other = tmp_path / "hermes" / "profiles" / "other"
        (other / "cron").mkdir(parents=True)
        mini.scheduler._get_hermes_home = lambda: other
        assert mini.scheduler.tick(False, None, None, True) == 1
        assert [run.job_name for run in mini.runs()] == ["job a"]


def test_a_root_dashboard_asks_the_owner_of_the_profile_it_works_on(mini: MiniHermes) -> None:
    mini.write(job("a", ago=-600))
    mini.scheduler.tick(False)
    root = mini.home.root
    (root / "cron").mkdir()
    (root / "cron" / "jobs.json").write_text('{"jobs": []}')
    os.environ["HERMES_HOME"] = str(root)
    assert mini.jobs.trigger_job("a") is None
    with mini.jobs.use_cron_store(mini.home.path):
        assert "queued for" in mini.jobs.trigger_job("a")["tenure"]
    eventually(lambda: mini.ran == ["a"], "it to run in the owner")


def test_a_forked_child_neither_owns_nor_ends_what_its_parent_has(mini: MiniHermes) -> None:
    """A child that would come to tick stands before the same question as any other process."""
    mini.write(job("a"))
    mini.scheduler.tick(False, None, None, True)
    term = mini.profile.store.ownership().term
    host = hosts.of(mini.home)
    assert host is not None
    child = os.fork()
    if child == 0:
        code = 1
        try:
            hosts.forget_in_child()
            code = 0 if hosts._hosts == {} and host.membership.profile is None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    mini.write(job("a", ago=1))
    assert mini.scheduler.tick(False, None, None, True) == 1
    assert mini.profile.store.ownership().term == term


def test_ticks_and_requests_leave_no_thread_behind(mini: MiniHermes) -> None:
    mini.write(job("a", ago=-600))
    mini.scheduler.tick(False, None, None, True)
    mini.jobs.trigger_job("a")
    eventually(lambda: [r for r in mini.runs() if r.finished_at], "the first run to end")
    before = threading.active_count()
    for n in range(5):
        mini.scheduler.tick(False, None, None, True)
        mini.jobs.trigger_job("a")
        eventually(lambda n=n: len([r for r in mini.runs() if r.finished_at]) == n + 2, "its end")
    # Those of Hermes' own pool stay.
    eventually(lambda: threading.active_count() <= before + 3, "the threads of five runs to end")


def test_many_nudges_are_one_tick_at_a_time(mini: MiniHermes) -> None:
    mini.write(job("a", ago=-600))
    mini.scheduler.tick(False, None, None, True)
    host = hosts.of(mini.home)
    assert host is not None
    inside, go, ticks = threading.Event(), threading.Event(), []

    def slow(*args: Any, **kwargs: Any) -> int:
        ticks.append(threading.current_thread().name)
        inside.set()
        assert go.wait(DEADLINE)
        return 0

    host._tick = slow  # type: ignore[method-assign]
    host._nudged("tick")
    assert inside.wait(DEADLINE)
    before = threading.active_count()
    for _ in range(50):
        host._nudged("tick")
        host._nudged("jobs")
    assert threading.active_count() == before
    go.set()
    eventually(
        lambda: len(ticks) == 2 and host._tick_wanted is None, "one more tick for all of them"
    )
    host._nudged("tick")
    eventually(lambda: len(ticks) == 3, "the next one")


def test_a_nudge_after_the_ownership_is_gone_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hermes(tmp_path, monkeypatch, policy=OTHERS) as mini:
        mini.write(job("a"))
        mini.scheduler.tick(False)
        host = hosts.of(mini.home)
        assert host is not None
        before = threading.active_count()
        host._nudged("tick")
        assert threading.active_count() == before
        assert mini.ran == []
