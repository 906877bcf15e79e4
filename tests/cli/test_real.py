"""The command as it is installed: a scheduler that serves, pipes that break, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezing import freeze_between_transactions
from tenure.runtime.profile import Profile
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
COMMAND = [sys.executable, "-m", "tenure.surfaces.cli.main"]


class Shell:
    """Starts commands in a home of its own, and ends what is left."""

    def __init__(self, home: Path) -> None:
        self.env = {**os.environ, "TENURE_HOME": str(home), "PYTHONWARNINGS": "error"}
        self.env["PYTHONPYCACHEPREFIX"] = str(home.parent.parent / "bytecode")
        for name in ("TENURE_PROFILE", "PYTHONDONTWRITEBYTECODE"):
            self.env.pop(name, None)
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *argv], env=self.env, capture_output=True, text=True, timeout=DEADLINE,
            check=False,
        )  # fmt: skip

    def start(self, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *argv], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def owned(self) -> bool:
        return self.pid_of_owner() is not None

    def pid_of_owner(self) -> int | None:
        profile = Profile.open("default", home=self.env["TENURE_HOME"], readonly=True)
        try:
            authority = profile.store.ownership().authority
            if authority is None:
                return None
            return profile.store.process(authority.process).evidence.identity.pid
        finally:
            profile.close()

    def freeze(self, process: subprocess.Popen[str]) -> None:
        database = Path(self.env["TENURE_HOME"], "profiles", "default", "tenure.db")
        freeze_between_transactions(process.pid, database)

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=DEADLINE)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "home")
    yield made
    made.end()


def test_a_job_is_added_triggered_read_and_audited(shell: Shell) -> None:
    added = shell.run("add", "@yearly", "--name", "n", "--", "sh", "-c", "echo out; exit 3")
    assert added.returncode == 0, added.stderr
    server = shell.start("serve", "--role", "gateway")
    eventually(shell.owned, "an owner")
    done = shell.run("trigger", "n", "--wait")
    assert done.returncode == 1, done.stderr  # the run failed, and the command says so
    assert "exit code 3" in done.stdout
    assert shell.run("logs", "n").stdout == "out\n"
    (run,) = json.loads(shell.run("runs", "--json").stdout)["runs"]
    assert (run["exit_code"], run["evidence"]["pid"]) == (3, server.pid)
    (request,) = json.loads(shell.run("requests", "--json").stdout)["requests"]
    assert request["requester"]["observed"] is True
    assert shell.run("audit").returncode == 0
    server.send_signal(signal.SIGTERM)
    assert server.wait(DEADLINE) == 0
    assert not shell.owned()
    assert shell.run("trigger", "n").returncode == 3


def test_following_a_log_ends_with_the_run(shell: Shell) -> None:
    shell.run("add", "@yearly", "--name", "n", "--", "sh", "-c", "echo a; sleep 0.3; echo b")
    shell.start("serve")
    eventually(shell.owned, "an owner")
    assert shell.run("trigger", "n").returncode == 0
    assert shell.run("logs", "-f", "n").stdout == "a\nb\n"


def test_a_broken_pipe_is_quiet(shell: Shell) -> None:
    shell.run("add", "@daily", "--name", "n", "--", "true")
    process = shell.start("next", "n", "-n", "1000", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(DEADLINE) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stdout = None


def test_an_interrupted_watch_is_quiet(shell: Shell) -> None:
    shell.run("add", "@daily", "--name", "n", "--", "true")
    process = shell.start("status", "--watch")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("profile default")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err.strip()) == (130, "")


def test_a_scheduler_that_may_not_own_says_why_where_it_was_started(shell: Shell) -> None:
    shell.run("add", "@daily", "--name", "n", "--", "true")
    toml = Path(shell.env["TENURE_HOME"], "profiles", "default", "profile.toml")
    toml.write_text('[[owner]]\nservice = "systemd:nobody-runs-it.service"\n')
    server = shell.start("serve")
    assert server.stderr is not None
    said = ""
    while "may not become owner" not in said:  # to the end of the stream, should it never be said
        line = server.stderr.readline()
        assert line, said
        said += line
    assert "nobody-runs-it" in said
    server.send_signal(signal.SIGINT)
    assert server.wait(DEADLINE) == 0


def test_colours_only_on_a_terminal(shell: Shell) -> None:
    import pty

    shell.run("add", "@daily", "--name", "n", "--", "true")
    assert "\x1b" not in shell.run("status").stdout
    for no_colour, coloured in (("", True), ("1", False)):
        ours, theirs = pty.openpty()
        env = {**shell.env, "NO_COLOR": no_colour, "TERM": "xterm"}
        process = subprocess.Popen(
            [*COMMAND, "list"], env=env, stdout=theirs, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how a closed terminal ends on Linux
                break
            if not part:
                break
            shown += part
        os.close(ours)
        process.wait(DEADLINE)
        assert b"active" in shown
        assert (b"\x1b[32m" in shown) is coloured


def test_little_is_imported_for_a_status(shell: Shell) -> None:
    shell.run("add", "@daily", "--name", "n", "--", "true")
    code = (
        "import sys; from tenure.surfaces.cli.main import main; main(['status']); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('rich', 'tomlkit', 'asyncio', 'psutil', 'subprocess', 'multiprocessing')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.env, capture_output=True, text=True,
        timeout=DEADLINE, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_frozen_owner_is_deposed_and_another_takes_over(shell: Shell) -> None:
    shell.run("add", "@yearly", "--name", "n", "--", "true")
    first = shell.start("serve")
    eventually(shell.owned, "an owner")
    second = shell.start("serve")
    shell.freeze(first)
    try:
        eventually(
            lambda: shell.run("owner", "take", "--force").returncode == 0,
            "a candidate to take from it",
        )
        eventually(lambda: shell.pid_of_owner() == second.pid, "the next term")
    finally:
        first.send_signal(signal.SIGCONT)
    assert shell.run("trigger", "n", "--wait").returncode == 0
    assert shell.pid_of_owner() == second.pid
    assert shell.run("audit").returncode == 0


def test_the_command_line_of_a_python_that_is_named() -> None:
    said = [sys.executable, "-m", "tenure", "--version"]
    done = subprocess.run(said, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    said[3:] = ["status", "--home", "relative/of/none"]
    assert subprocess.run(said, capture_output=True, timeout=60).returncode == 4
