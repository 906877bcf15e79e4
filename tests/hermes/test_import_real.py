"""``tenure import hermes`` with real Hermes Agents: their clocks, their scripts, their agents."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from importkit import BERLIN, TENURE, ZONE, Shell, files

from tenure.adapters.hermes_import.comparison import simulate_hermes
from tenure.domain.schedule.model import cron_schedule
from waiting import eventually

pytestmark = pytest.mark.hermes


@pytest.fixture(params=["hermes_19", "hermes_18", "hermes_16"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path, request.getfixturevalue(request.param))
    yield opened
    opened.end()


# -- clocks -------------------------------------------------------------------------------------

TICKS = """
import sys, json
from datetime import datetime
from zoneinfo import ZoneInfo
import cron.jobs as jobs
asked = json.load(sys.stdin)
at = asked["start"]
zone = ZoneInfo(asked["zone"])
jobs._hermes_now = lambda: datetime.fromtimestamp(at, zone)
for text in asked["schedules"]:
    jobs.create_job(prompt=None, schedule=text, name=text, script="x.sh", no_agent=True)
planned = {job["name"]: job["next_run_at"] for job in jobs.load_jobs()}
fires = {text: [] for text in asked["schedules"]}
for at in range(asked["start"], asked["end"], 60):
    for job in jobs.get_due_jobs():
        fires[job["name"]].append(at)
        jobs.advance_next_run(job["id"])
        jobs.mark_job_run(job["id"], True)
json.dump({"planned": planned, "fires": fires}, sys.stdout)
"""


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_a_rehearsal_says_what_ticks_do(shell: Shell, day: str) -> None:
    """Hermes' own ticks, minute by minute through a night when clocks change, with its own file."""
    schedules = [
        "0 9 * * *",
        "30 2 * * *",
        "*/20 * * * *",
        "every 45m",
        "15 1-3 * * *",
        "0 3 * * 0",
    ]
    start = int(datetime.fromisoformat(f"{day}T18:00").replace(tzinfo=BERLIN).timestamp())
    end = start + 20 * 3600
    asked = {"start": start, "end": end, "zone": ZONE, "schedules": schedules}
    ticks = shell.python(TICKS, asked)
    now = datetime.fromtimestamp(start, UTC)
    jobs = [
        {"id": text, "schedule": job["schedule"], "next_run_at": ticks["planned"][text]}
        for text, job in shell.jobs().items()
    ]
    python = str(shell.venv.python)
    found = simulate_hermes(shell.home, jobs, python=python, now=now, count=100)
    assert found.by == f"Hermes {shell.venv.version}, croniter 6.0.0"
    for text in schedules:
        fires = {at for at in found.jobs[text]["fires"] if at < end}
        assert sorted(fires) == ticks["fires"][text], text
    tenure = [
        *cron_schedule("0 9 * * *", ZONE).fires(now, datetime.fromtimestamp(start + 20 * 3600, UTC))
    ]
    assert len(tenure) == 1
    assert [int(at.timestamp()) for at in tenure] != ticks["fires"]["0 9 * * *"]  # hence all this


def test_a_rehearsal_writes_nothing(shell: Shell) -> None:
    (shell.home.path / ".env").write_text("HERMES_CRON_SCRIPT_TIMEOUT=42\n")
    before = files(shell.root)
    jobs = [{"id": "a", "schedule": {"kind": "cron", "expr": "0 9 * * *"}}]
    found = simulate_hermes(
        shell.home, jobs, python=str(shell.venv.python), now=datetime.now(UTC), count=5
    )
    assert (found.zone, found.unknown, found.means.script_timeout) == (ZONE, "", 42)
    assert found.means.version == shell.venv.version
    assert files(shell.root) == before


# -- jobs ---------------------------------------------------------------------------------------

WATCH = 'echo "hello from $PWD"\necho "home ${HERMES_HOME##*/}"\necho oops >&2\n'
SNAKE = "import os, cron.jobs, sys\nprint(sys.executable, os.environ['HERMES_HOME'], os.getcwd())\n"


def test_script_jobs_run_as_under_hermes(shell: Shell) -> None:
    """Made with its command line, imported, run by both: the same output."""
    for name, text in (("watch.sh", WATCH), ("snake.py", SNAKE)):
        (shell.home.path / "scripts" / name).write_text(text)
        schedule = "every 6h" if name == "watch.sh" else "30 4 * * *"
        shell.hermes("cron", "create", schedule, "--name", name, "--script", name, "--no-agent")
    shell.hermes("cron", "create", "0 9 * * *", "Say hi.", "--name", "agent")
    before = shell.home.jobs_file.read_bytes()
    done = shell.imports("--yes")
    assert shell.home.jobs_file.read_bytes() == before
    assert done["compared_by"] == f"Hermes {shell.venv.version}, croniter 6.0.0"
    assert [job["action"] for job in done["jobs"]] == ["add"] * 3
    assert all(job["fires"]["compared"] for job in done["jobs"])
    assert shell.tenure("show", "watch.sh")["job"]["timeout"] == (
        120 if shell.venv.version == "0.16.0" else 3600
    )
    assert [job["action"] for job in shell.imports("--yes")["jobs"]] == ["present"] * 3
    shell.serve()
    for name in ("watch.sh", "snake.py"):
        assert ran_here(shell, name) == ran_in_hermes(shell, name)


def ran_here(shell: Shell, name: str) -> str:
    """What Tenure's run of it printed; errors are in the same log here."""

    def triggered() -> Any:
        asked = subprocess.run(
            [*TENURE, "trigger", name, "--wait", "--json"], env=shell.env, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        return asked.returncode == 0 and asked.stdout

    eventually(triggered, f"the owner to run {name}")
    (run,) = shell.tenure("runs", name)["runs"]
    assert run["state"] == "succeeded"
    lines = shell.say("logs", name).splitlines()
    return "\n".join(line for line in lines if line != "oops")


def ran_in_hermes(shell: Shell, name: str) -> str:
    """What Hermes kept of its own run of it."""
    job = shell.jobs()[name]["id"]
    shell.hermes("cron", "run", job)  # 0.16 only makes it due
    shell.hermes("cron", "tick")
    kept = sorted((shell.home.cron / "output" / job).glob("*.md"))
    assert len(kept) == 1, os.listdir(shell.home.cron)
    return kept[0].read_text().split("---\n", 1)[1].strip()


class Model(BaseHTTPRequestHandler):
    """As much of a chat API as answers one question, and what it was asked."""

    asked: ClassVar[list[Any]] = []

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"object": "list", "data": []}))

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "messages" not in wanted:  # it looks what kind of server this is
            self.send_error(404)
            return
        self.asked.append(wanted)
        said = {"role": "assistant", "content": "Forty-two."}
        key, kind = ("delta", ".chunk") if wanted.get("stream") else ("message", "")
        answer = json.dumps({
            "id": "1", "object": f"chat.completion{kind}", "created": 1, "model": wanted["model"],
            "choices": [{"index": 0, key: said, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        })  # fmt: skip
        if wanted.get("stream"):
            self._send("text/event-stream", f"data: {answer}\n\ndata: [DONE]\n\n")
        else:
            self._send("application/json", answer)

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def model() -> Iterator[str]:
    """The address of a model on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    Model.asked.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_agent_job_asks_its_model(shell: Shell, model: str) -> None:
    """With its prompt as it stands, and its skill; and only the answer is printed on its line."""
    skill = shell.home.path / "skills" / "greet"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: greet\ndescription: d\n---\n\nBE-POLITE\n")
    with open(shell.home.config, "a") as config:
        config.write("model: {default: some-model, provider: custom, api_key: none,\n")
        config.write(f"        base_url: '{model}'}}\n")
    shell.hermes("cron", "create", "0 9 * * *", "-n say\nhi", "--name", "agent", "--skill", "greet")
    (job,) = shell.imports("--dry-run")["jobs"]
    wants = job["definition"]
    done = subprocess.run(
        wants["command"], env={**shell.env, **wants["env"]}, capture_output=True, text=True,
        timeout=100, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.splitlines()[-1] == "Forty-two."
    (asked,) = [wanted for wanted in Model.asked if wanted["model"] == "some-model"][:1]
    assert asked["messages"][-1]["content"].endswith("-n say\nhi")
    assert "BE-POLITE" in json.dumps(asked["messages"])
