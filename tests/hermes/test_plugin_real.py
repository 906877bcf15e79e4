"""Corners of the plugin, inside real Hermes Agents of three versions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import pytest
from adoptionkit import adopt, asked, recorded, wait_owner
from hermesvenv import HermesVenv
from hermesworld import PROFILE, HermesWorld

from commands import Answer
from ports import held_port
from waiting import DEADLINE, eventually

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]

Worlds = Callable[..., HermesWorld]
VERSIONS = ["hermes_19", "hermes_18", "hermes_16"]
WAYS = """
import importlib, json, sys
id, *first = sys.argv[1:]
for name in first: importlib.import_module(name)
from hermes_cli.plugins import discover_plugins
discover_plugins()
discover_plugins(force=True)
def found(name):
    try: return importlib.import_module(name)
    except ImportError: return None
jobs, scheduler, tools = map(importlib.import_module,
    ("cron.jobs", "cron.scheduler", "tools.cronjob_tools"))
import cron
said = {}
def way(name, call):
    try: said[name] = repr(call())
    except BaseException as error: said[name] = f"{type(error).__name__}: {error}"
stored = jobs.get_job(id)
def job(): return dict(stored, execution_id="none")
way("tick", lambda: scheduler.tick(verbose=False, sync=False))
way("cron.tick", lambda: cron.tick(verbose=False))
way("typed", lambda: scheduler.tick())
way("run_job", lambda: scheduler.run_job(job()))
if hasattr(scheduler, "run_one_job"): way("run_one_job", lambda: scheduler.run_one_job(job()))
way("trigger", lambda: jobs.trigger_job(id))
way("cron.trigger", lambda: cron.trigger_job(id))
way("tool", lambda: tools.cronjob(action="run", job_id=id))
if hasattr(tools, "trigger_job"): way("tools.trigger", lambda: tools.trigger_job(id))
if hasattr(tools, "_execute_job_now"): way("inline", lambda: tools._execute_job_now(job()))
provider = found("cron.scheduler_provider")
if provider:
    way("fire_due", lambda: provider.resolve_cron_scheduler().fire_due(id))
    class Own(provider.CronScheduler):
        name = "own"
        def start(self, *a, **k): ...
        def fire_due(self, job_id, **kwargs):
            from cron.scheduler import run_one_job
            return run_one_job(job())
    way("fire_due of another", lambda: Own().fire_due(id))
api = sys.modules.get("gateway.platforms.api_server")
if api: way("api", lambda: api._cron_trigger(id))
console = found("hermes_cli.console_engine")
if console and hasattr(console, "_cron_run"): way("console", lambda: console._cron_run(None, [id]))
said["stored"] = jobs.get_job(id) == stored
said["state"] = jobs.get_job(id)["state"]
print("WAYS", json.dumps(said))
"""


def inside(world: HermesWorld, program: str, *argv: str, **more: str) -> Answer:
    """A program in Hermes' Python, as one of the profile's own processes."""
    environ = world.environ(HERMES_HOME=str(world.profile), **more)
    done = subprocess.run(
        [world.venv.python, "-c", program, *argv], env=environ, cwd=world.home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return Answer(done.returncode, done.stdout, done.stderr)


def document(said: Answer, mark: str) -> Any:
    line = next(line for line in said.out.splitlines() if line.startswith(mark + " "))
    return json.loads(line.removeprefix(mark + " "))


@pytest.fixture(params=VERSIONS)
def venv(request: pytest.FixtureRequest) -> HermesVenv:
    found: HermesVenv = request.getfixturevalue(request.param)
    return found


Bare = Callable[[HermesVenv], HermesWorld]


@pytest.fixture(scope="module")
def bare(worlds: Worlds) -> Bare:
    """One world a version: adopted, a job due, nobody there to own."""
    made: dict[str, HermesWorld] = {}

    def make(venv: HermesVenv) -> HermesWorld:
        if venv.version not in made:
            world = made[venv.version] = worlds(venv)
            world.add("mail", "0 5 1 1 *")
            jobs = world.jobs()
            jobs[0]["next_run_at"] = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
            (world.profile / "cron" / "jobs.json").write_text(json.dumps({"jobs": jobs}))
            adopt(world)
        return made[venv.version]

    return make


# -- nobody owns ---------------------------------------------------------------------------------
ORDERS = [
    (),
    ("model_tools",),
    ("cron.scheduler", "tools.cronjob_tools"),
    ("gateway.run", "gateway.platforms.api_server"),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda names: names[-1] if names else "nothing")
def test_no_way_in_runs_a_job_whatever_was_loaded_before_the_plugin(
    venv: HermesVenv, bare: Bare, order: tuple[str, ...]
) -> None:
    world = bare(venv)
    said = document(inside(world, WAYS, world.jobs()[0]["id"], *order), "WAYS")
    stored, state = said.pop("stored"), said.pop("state")
    assert stored, "nothing is put down as due or as fired"
    assert state == "scheduled"
    assert said.pop("tick") == said.pop("cron.tick") == "0"
    assert said.pop("typed") == "SystemExit: 3"
    for way in ("fire_due", "fire_due of another", "run_one_job"):
        assert said.pop(way, "False") == "False"
    assert len(said) >= 4 + bool(order[-1:] == ("gateway.platforms.api_server",))
    for way, answer in said.items():
        assert "refused" in answer, (way, answer)
    assert world.runs() == []


def test_commands_are_refused_with_3_and_the_others_go_on(venv: HermesVenv, bare: Bare) -> None:
    world = bare(venv)
    run = world.hermes("cron", "run", "mail", code=3)
    assert run.out.startswith("Failed to run job: refused: no process that may run the jobs of la")
    assert "hermes -p la gateway run" in run.out
    tick = world.hermes("cron", "tick", code=3)
    assert "refused: no process that may run the jobs of la is running (1 job due)" in tick.out
    assert "mail" in world.hermes("cron", "list").out
    assert "not found" in world.hermes("cron", "run", "nothing").out
    assert world.runs() == []


def test_a_hermes_of_which_the_plugin_finds_no_tenure_goes_on_without_its_jobs(
    hermes_19: HermesVenv, bare: Bare
) -> None:
    world = bare(hermes_19)
    copy = world.profile / "tenure" / "lib" / "tenure"
    away = copy.rename(copy.with_name("away"))
    try:
        assert "Tenure cannot be loaded here" in world.hermes("cron", "tick", code=3).out
        assert "Tenure cannot be loaded here" in world.hermes("cron", "run", "mail").out
        assert "mail" in world.hermes("cron", "list").out
        said = document(inside(world, WAYS, world.jobs()[0]["id"], "model_tools"), "WAYS")
        assert "Tenure cannot be loaded" in said["trigger"]
        assert world.runs() == []
    finally:
        away.rename(copy)


# -- with a gateway ------------------------------------------------------------------------------
CREATE = """
import sys
from datetime import datetime, timedelta, timezone
from cron import jobs
at = datetime.now(timezone.utc) + timedelta(seconds=float(sys.argv[3]))
print(jobs.create_job("", at.isoformat(), name=sys.argv[1], script=sys.argv[2], no_agent=True,
                      deliver="local")["id"])
"""


class Lived:
    """A version's world with its gateway."""

    def __init__(self, world: HermesWorld) -> None:
        self.world = world
        adopt(world)
        self.seldom = world.add("seldom", "0 5 1 1 *")
        self.gateway = world.gateway()
        wait_owner(world, self.gateway.pid)

    def run_of(self, job: str, count: int = 1) -> dict[str, Any]:
        """The newest run of a job, once so many have ended."""

        def ended() -> Any:
            runs = [r for r in recorded(self.world) if r["job_name"] == job and r["finished_at"]]
            return runs if len(runs) >= count else None

        found = eventually(ended, f"run {count} of {job} to end")
        newest: dict[str, Any] = found[0]
        return newest


@pytest.fixture(scope="module")
def lived() -> dict[str, Lived]:
    return {}


@pytest.fixture
def there(venv: HermesVenv, worlds: Worlds, lived: dict[str, Lived]) -> Lived:
    if venv.version not in lived:
        lived[venv.version] = Lived(worlds(venv))
    return lived[venv.version]


def test_a_paused_job_is_refused_with_hermes_own_remedy(there: Lived) -> None:
    world = there.world
    world.hermes("cron", "pause", there.seldom)
    said = world.hermes("cron", "run", there.seldom, code=3)
    assert f"the job is paused (hermes -p la cron resume {there.seldom})" in said.out
    world.hermes("cron", "resume", there.seldom)
    before = len(world.runs(job="seldom"))
    said = world.hermes("cron", "run", "seldom")
    assert f"queued for the gateway (pid {there.gateway.pid}" in said.out
    world.wait_runs(before + 1, job="seldom")
    assert there.run_of("seldom")["state"] == "succeeded"


def test_a_one_shot_runs_once_and_is_over(there: Lived) -> None:
    world = there.world
    world.add("template", "0 5 1 1 *")
    script = world.profile / "scripts" / "soon.py"
    script.write_text((script.with_name("template.py")).read_text().replace("template", "soon"))
    inside(world, CREATE, "soon", "soon.py", "4")
    run = there.run_of("soon")
    assert (run["state"], run["cause"]) == ("succeeded", "schedule")
    eventually(
        lambda: ("soon", "scheduled") not in [(j["name"], j["state"]) for j in world.jobs()],
        "Hermes to be done with it",
    )
    assert len(world.runs(job="soon")) == 1
    said = world.hermes("cron", "run", "soon", code=None)
    assert len(world.runs(job="soon")) == 1, said


def test_it_is_a_failure_where_hermes_says_so(there: Lived) -> None:
    world = there.world
    (world.profile / "scripts" / "broken.py").write_text("import sys\nsys.exit('no mailbox')\n")
    inside(world, CREATE, "broken", "broken.py", "4")
    run = there.run_of("broken")
    assert run["state"] == "failed"
    assert "no mailbox" in run["reason"]


def test_an_agent_of_the_owners_own_is_asked_like_anybody(there: Lived) -> None:
    """The gateway's API server calls on the thread of the event loop: that goes on."""
    world = there.world
    there.gateway.stop()
    port, key = held_port(), "a-key-of-the-tests"
    there.gateway = world.start(
        "gateway", [world.venv.command, "-p", PROFILE, "gateway", "run", "--replace"],
        API_SERVER_ENABLED="true", API_SERVER_KEY=key, API_SERVER_PORT=str(port),
        API_SERVER_HOST="127.0.0.1",
    )  # fmt: skip
    world.wait_gateway(there.gateway)
    wait_owner(world, there.gateway.pid)

    def post(path: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        try:
            connection.request("POST", path, "{}", {"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def up() -> bool:
        try:
            return post("/api/jobs/000000000000/run")[0] == 404
        except OSError:
            return False

    eventually(up, f"the API server on port {port}; {there.gateway.log}")
    before = len(world.runs(job="seldom"))
    status, answer = post(f"/api/jobs/{there.seldom}/run")
    assert status == 200, answer
    assert f"pid {there.gateway.pid}" in answer["job"]["tenure"]
    world.wait_runs(before + 1, job="seldom")
    assert world.runs(job="seldom")[-1].role == "gateway"
    world.hermes("cron", "pause", there.seldom)
    status, answer = post(f"/api/jobs/{there.seldom}/run")
    world.hermes("cron", "resume", there.seldom)
    assert status == 500, answer
    assert "paused" in str(answer)


def test_nothing_is_found_fault_with(there: Lived) -> None:
    assert asked(there.world, "audit")["clean"]
