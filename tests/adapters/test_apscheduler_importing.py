"""Jobs of a real APScheduler store, and what becomes of them either way out."""

from __future__ import annotations

import ast
import datetime as dates
import decimal
import json
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.adapters.apscheduler import stores
from tenure.adapters.apscheduler.calls import CommandTemplate, call_arguments, source_of
from tenure.adapters.apscheduler.declarations import python_file
from tenure.adapters.apscheduler.importer import ApschedulerJob, ApschedulerTarget, plan_rows
from tenure.adapters.apscheduler.pickles import read_pickle
from tenure.adapters.apscheduler.stores import StoredRow, read_rows, shown
from tenure.adapters.importer import Action, ExistingJobs, resolve_names
from tenure.domain.errors import InvalidInput, NotFound, OutcomeUnknown
from tenure.domain.job import CatchUp, Command, Definition, Overlap
from tenure.library import Tenure

NOW = dates.datetime(2026, 1, 15, 12, 0, tzinfo=dates.UTC)
BERLIN = ZoneInfo("Europe/Berlin")
APP = """
import json, sys
def nightly(to="", n=0):
    print("nightly", json.dumps([to, n]))
def anything(*args, **kwargs):
    print("anything", repr(args), repr(kwargs))
async def later(what):
    print("later", what)
class Report:
    @classmethod
    def make(cls, kind):
        print("make", kind)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `shopfloor`, importable."""
    package = tmp_path / "app" / "shopfloor"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "work.py").write_text(APP)
    monkeypatch.syspath_prepend(package.parent)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shopfloor"]:
        monkeypatch.delitem(sys.modules, name)
    return package.parent


Store = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path, app: Path) -> Store:
    """Make a store with these jobs: keywords of APScheduler's add_job, by id."""

    def make(**jobs: dict[str, Any]) -> Path:
        file = tmp_path / "jobs.sqlite"
        native = SQLAlchemyJobStore(f"sqlite:///{file}")
        scheduler = BackgroundScheduler(jobstores={"default": native}, timezone="Europe/Berlin")
        scheduler.start(paused=True)
        try:
            for id, given in jobs.items():
                how = {"func": "shopfloor.work:nightly", "trigger": "cron", **given}
                paused = how.pop("paused", False)
                scheduler.add_job(id=id, **how)
                if paused:
                    scheduler.pause_job(id)
        finally:
            scheduler.shutdown()
            native.engine.dispose()
        return file

    return make


def plan(
    file: Path, *, commands: bool = False, words: str = "{python} -c {code}"
) -> list[ApschedulerJob]:
    template = None
    if commands:
        template = CommandTemplate(words=words, python=sys.executable, cwd=str(file.parent / "app"))
    return list(plan_rows(read_rows(str(file)), ApschedulerTarget(now=now(), template=template)))


def now() -> dates.datetime:
    return dates.datetime.now(dates.UTC)


def only(file: Path, **how: Any) -> ApschedulerJob:
    (planned,) = plan(file, **how)
    return planned


def wants(planned: ApschedulerJob) -> Definition:
    assert planned.definition is not None, planned.why
    return planned.definition


# -- how late and how often --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "catch_up", "window", "grace"),
    [
        ({}, CatchUp.NONE, None, 60),
        ({"misfire_grace_time": 3600}, CatchUp.NONE, None, 3600),
        ({"misfire_grace_time": 3600, "coalesce": False}, CatchUp.ALL, 3600, 3600),
        ({"misfire_grace_time": None}, CatchUp.LATEST, None, 60),
        ({"misfire_grace_time": None, "coalesce": False}, CatchUp.ALL, 3660 * 86400, 60),
    ],
)
def test_grace_and_coalescing(
    store: Store, given: dict[str, Any], catch_up: CatchUp, window: int | None, grace: int
) -> None:
    made = wants(only(store(x={"hour": 3, **given})))
    assert made.catch_up is catch_up
    assert made.window == (None if window is None else dates.timedelta(seconds=window))
    assert made.grace == dates.timedelta(seconds=grace)


def test_instances_jitter_executor_and_pauses(store: Store) -> None:
    one = only(store(x={"hour": 3}))
    assert (wants(one).overlap, one.lost, one.differs) == (Overlap.SKIP, (), ())
    file = store(y={"hour": 3, "max_instances": 3, "jitter": 30, "paused": True})
    other = plan(file, commands=True)[-1]
    assert (wants(other).overlap, wants(other).jitter.seconds) == (Overlap.ALLOW, 30)
    assert other.paused
    assert any("at most 3 at once" in said for said in other.differs)
    assert any("delay" in said for said in other.differs)


# -- declared ----------------------------------------------------------------------------------
def declared(file: Path, tmp_path: Path, profile: str = "shop") -> tuple[str, Tenure]:
    """The file, and the instance it makes when it is run."""
    template = ApschedulerTarget(now=now(), app=profile)
    planned = plan_rows(read_rows(str(file)), template)
    named = resolve_names(planned, ExistingJobs())
    text = python_file(named, source=str(file), app=profile)
    scope: dict[str, Any] = {}
    exec(compile(text, "declared.py", "exec"), scope)
    instance = scope["tenure"]
    assert isinstance(instance, Tenure)
    return text, instance


def definitions(instance: Tenure) -> dict[str, Definition]:
    made = {name: found.define(NOW, "UTC") for name, found in instance._declared.items()}
    return {name.partition(":")[2]: definition for name, definition in made.items()}


def test_declarations_run_and_say_what_the_plan_says(store: Store, tmp_path: Path) -> None:
    file = store(
        nightly={"hour": 3, "kwargs": {"to": "paul", "n": 3}, "misfire_grace_time": 3600},
        later={"func": "shopfloor.work:later", "minute": "*/5", "args": ("x",)},
        once={"trigger": "date", "run_date": "2099-07-01 09:00:00"},
        beat={"trigger": "interval", "minutes": 7, "coalesce": False, "misfire_grace_time": 90},
        make={"func": "shopfloor.work:Report.make", "day": "last", "args": ("a'b\\n",)},
        off={"hour": 4, "paused": True},
    )
    text, instance = declared(file, tmp_path)
    assert instance.name == "shop"
    made = definitions(instance)
    assert sorted(made) == ["beat", "later", "make", "nightly", "once"]
    assert made["nightly"].schedule.expression == "0 3 * * *"
    assert made["nightly"].schedule.timezone == "Europe/Berlin"
    assert made["nightly"].grace == dates.timedelta(hours=1)
    assert made["nightly"].action.args == {"to": "paul", "n": 3}  # type: ignore[union-attr]
    assert str(made["later"].action.runner) == "async"  # type: ignore[union-attr]
    assert made["once"].schedule.at == dates.datetime(2099, 7, 1, 9, tzinfo=BERLIN)
    assert made["beat"].schedule.interval == dates.timedelta(minutes=7)
    assert (made["beat"].catch_up, made["beat"].window) == (
        CatchUp.ALL, dates.timedelta(seconds=90)
    )  # fmt: skip
    assert made["make"].schedule.expression == "0 0 L * *"
    assert '# tenure.job(\n#     cron("0 4 * * *"' in text
    for planned in plan(file):
        if planned.name in made and planned.name != "off":
            here = made[planned.name]
            assert wants(planned).schedule == here.schedule
            same = {"name": here.name, "action": here.action}
            assert wants(planned).with_changes(**same) == here


def test_what_cannot_be_written_is_left_as_a_comment_with_the_reason(
    store: Store, tmp_path: Path
) -> None:
    file = store(
        when={"hour": 1, "kwargs": {"n": dates.date(2020, 1, 1)}},
        both={"day": 13, "day_of_week": "fri"},
        money={"hour": 2, "kwargs": {"n": decimal.Decimal(1)}},
        fine={"hour": 3},
    )
    text, instance = declared(file, tmp_path)
    assert sorted(definitions(instance)) == ["fine"]
    assert "# TODO its arguments contain a datetime.date" in text
    assert "#     shopfloor.work:nightly" not in text
    assert "#     shopfloor.work.nightly," in text
    found = {planned.name: planned for planned in plan(file)}
    assert (found["when"].action, found["when"].definition) == (Action.SKIP, None)
    assert "comment" in found["when"].remedy
    assert "# TODO not written: both day='13'" in text
    assert "# TODO not written: its state names decimal.Decimal" in text


def test_the_beat_of_a_declared_interval_is_said(store: Store) -> None:
    file = store(beat={"trigger": "interval", "minutes": 7})
    assert any("another start" in said for said in only(file).differs)
    commands = only(file, commands=True)
    assert commands.differs == ()
    assert commands.compared is not None
    assert commands.compared.differences == ()


@pytest.mark.parametrize("name", ["True", "class", "__debug__", "\ufb01x", "a b", "", "plain"])
def test_a_keyword_reaches_its_function_by_the_name_it_had(name: str) -> None:
    written = f"call({call_arguments(('x',), {name: 1, 'z': 2})})"
    assert eval(written, {"call": lambda *a, **k: (a, k)}) == (("x",), {name: 1, "z": 2})


HOSTILE = st.text(max_size=30) | st.sampled_from(
    ['"""\nimport os\n"""', "x\n# y", "\\", "'", '"', "\u2028", "\x00", "a\rb", "{code}", "${x}"]
)


@settings(max_examples=150, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_a_store_says_no_code_of_its_own_is_written(
    id: str, name: str, text: str, source: str
) -> None:
    state = {
        "version": 1, "id": id, "func": "shopfloor.work:anything", "executor": name or "x",
        "trigger": CronTrigger(hour=3, timezone=BERLIN), "args": (text,), "kwargs": {text: name},
        "name": name, "misfire_grace_time": 1, "coalesce": True, "max_instances": 1,
        "next_run_time": NOW,
    }  # fmt: skip
    rows = [StoredRow(id, pickle.dumps(state))]
    (planned,) = plan_rows(rows, ApschedulerTarget(now=NOW))
    written = python_file([planned], source=source, app="shop")
    written.encode()
    tree = ast.parse(written)
    statements = [type(node).__name__ for node in tree.body]
    assert set(statements) <= {"Expr", "Import", "ImportFrom", "Assign"}
    calls = [node for node in tree.body if isinstance(node, ast.Expr)]
    assert len(calls) <= 2  # the docstring, and one declaration
    template = CommandTemplate(words="{python} -c {code} {id}", python="python3", cwd="/")
    (planned,) = plan_rows(rows, ApschedulerTarget(now=NOW, template=template))
    if planned.definition is not None:
        command = planned.definition.action
        assert isinstance(command, Command)
        assert len(command.argv) == 4
        (line,) = ast.parse(command.argv[2]).body[1:2]
        assert isinstance(line, ast.Assign)
        assert command.argv[3] == id


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.binary() | st.sets(st.integers()) | st.frozensets(st.text(max_size=3)),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(LITERALS)
def test_arguments_come_back_from_their_source(value: Any) -> None:
    stored = read_pickle(pickle.dumps(value))
    assert eval(source_of(stored)) == value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), dates.date(2020, 1, 1), [[{1: object()}]]]
)
def test_what_has_no_source_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        source_of(value)


def test_arguments_without_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidInput, match="deep"):
        source_of(endless)
    wide: list[Any] = ["x" * 10]
    for _ in range(40):
        wide = [wide, wide]
    with pytest.raises(InvalidInput, match="longer"):
        source_of(wide)


# -- as commands -------------------------------------------------------------------------------
def run(planned: ApschedulerJob) -> str:
    command = wants(planned).action
    assert isinstance(command, Command)
    done = subprocess.run(command.argv, cwd=command.cwd, capture_output=True, text=True, check=True)
    return done.stdout


def test_commands_call_the_function(store: Store) -> None:
    file = store(
        a={"hour": 3, "kwargs": {"to": "it's", "n": 3}},
        b={"func": "shopfloor.work:later", "hour": 3, "args": ('"x"',)},
        c={"func": "shopfloor.work:Report.make", "hour": 3, "args": (None,)},
        d={"func": "shopfloor.work:anything", "hour": 3, "args": ((1, b"\0"), {2}),
           "kwargs": {"k": {"a": [1.5, True]}}},
    )  # fmt: skip
    found = {planned.name: planned for planned in plan(file, commands=True)}
    assert run(found["a"]) == f"nightly {json.dumps(['it' + chr(39) + 's', 3])}\n"
    assert run(found["b"]) == 'later "x"\n'
    assert run(found["c"]) == "make None\n"
    assert run(found["d"]) == "anything ((1, b'\\x00'), {2}) {'k': {'a': [1.5, True]}}\n"
    assert wants(found["a"]).tags == ("apscheduler:a",)


def test_a_template_of_ones_own(store: Store) -> None:
    anything = "shopfloor.work:anything"
    file = store(a={"func": anything, "hour": 3, "args": ("x y", 1), "kwargs": {"to": "z"}})
    words = "run-job --as '{id} of {name}' {func} {args} {kwargs}"
    made = wants(only(file, commands=True, words=words))
    assert isinstance(made.action, Command)
    assert made.action.argv == (
        "run-job", "--as", "a of anything", anything, '["x y", 1]', '{"to": "z"}',
    )  # fmt: skip


@pytest.mark.parametrize("words", ["run", "run {what} {code}", "run '{code}"])
def test_a_template_that_calls_nothing_is_refused(words: str) -> None:
    with pytest.raises(InvalidInput):
        CommandTemplate(words=words, python="python3", cwd="/")


def test_a_function_of_the_script_itself_is_refused(store: Store) -> None:
    state = pickle.loads(raw(store(x={"hour": 3})))
    row = StoredRow("x", pickle.dumps({**state, "func": "__main__:f"}))
    (planned,) = plan_rows([row], ApschedulerTarget(now=NOW))
    assert planned.action is Action.SKIP
    assert "__main__" in planned.why


def raw(file: Path) -> bytes:
    with sqlite3.connect(file) as connection:
        ((state,),) = connection.execute("SELECT job_state FROM apscheduler_jobs")
    connection.close()
    return bytes(state)


# -- stores ------------------------------------------------------------------------------------
def test_a_store_is_read_by_path_and_by_url_and_left_as_it_is(store: Store) -> None:
    file = store(a={"hour": 3}, b={"hour": 4})
    before = file.read_bytes()
    rows = read_rows(str(file))
    assert [row.id for row in rows] == ["a", "b"]
    assert rows == read_rows(f"sqlite:///{file}") == read_rows(f"sqlite+pysqlite:///{file}")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "error", "why"),
    [
        ("mongodb://localhost/jobs", InvalidInput, "MongoDB"),
        ("redis://localhost", InvalidInput, "Redis"),
        ("memory://", InvalidInput, "memory"),
        ("sqlite://", InvalidInput, "does not name a file"),
        ("sqlite:///:memory:", InvalidInput, "does not name a file"),
        ("sqlite:////nowhere/jobs.sqlite", NotFound, "does not exist"),
        ("nowhere.sqlite", NotFound, "does not exist"),
        ("nosuch://x:secret@h/db", OutcomeUnknown, r"nosuch://x:\*\*\*@h"),
    ],
)
def test_other_stores_are_refused_with_the_reason(
    url: str, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why) as caught:
        read_rows(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in shown(url)


def test_other_tables_and_other_files(store: Store, tmp_path: Path) -> None:
    file = store(a={"hour": 3})
    with pytest.raises(NotFound, match=r"table other does not exist \(tables: apscheduler_jobs\)"):
        read_rows(str(file), "other")
    with pytest.raises(InvalidInput, match="not a valid table name"):
        read_rows(str(file), 'x"; DROP TABLE apscheduler_jobs; --')
    assert len(read_rows(str(file), "main.apscheduler_jobs")) == 1
    noise = tmp_path / "noise"
    noise.write_bytes(b"no database at all" * 100)
    with pytest.raises(OutcomeUnknown):
        read_rows(str(noise))
    four = tmp_path / "four"
    with sqlite3.connect(four) as connection:
        connection.execute("CREATE TABLE schedules (id)")
        connection.execute("CREATE TABLE jobs (id)")
    connection.close()
    with pytest.raises(NotFound, match="APScheduler 4"):
        read_rows(str(four))


def test_other_databases_are_read_with_sqlalchemy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store(a={"hour": 3}, b={"hour": 4})
    for table in ("apscheduler_jobs", "main.apscheduler_jobs"):
        assert stores._of_sqlalchemy(f"sqlite:///{file}", table) == read_rows(str(file))
    with pytest.raises(OutcomeUnknown, match="no such table"):
        stores._of_sqlalchemy(f"sqlite:///{file}", "other")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(InvalidInput, match="SQLAlchemy, which is not installed"):
        read_rows("postgresql://localhost/jobs")


def test_rows_that_hold_no_state(tmp_path: Path) -> None:
    file = tmp_path / "odd"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE apscheduler_jobs (id, next_run_time, job_state)")
        connection.executemany(
            "INSERT INTO apscheduler_jobs VALUES (?, 1.0, ?)",
            [("a", None), ("b", 10**12), ("c", "text"), ("d", b"\x80\x05."), (None, b"x")],
        )
    connection.close()
    planned = plan(file)
    assert [p.action for p in planned] == [Action.SKIP] * 5
    assert all(p.why for p in planned)
