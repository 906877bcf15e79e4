"""``tenure hermes status`` on a home in a temporary folder, with processes that play Hermes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from clikit import Tenure, World

from tenure.adapters.hermes.facts.home import find_home
from tenure.adapters.hermes.look.scan import PsutilScan
from tenure.adapters.hermes.look.survey import survey
from waiting import DEADLINE

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

PLAY = """\
import fcntl, sys
kept = []
for path in sys.argv[1].split(":"):
    kept.append(open(path, "a+"))
    if path.endswith("gateway.lock"):
        fcntl.flock(kept[-1], fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""


class Stage:
    """A root with a profile ``la``, a ``hermes`` on the PATH, and players."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / ".hermes"
        self.profile = self.root / "profiles" / "la"
        for name in ("cron", "logs"):
            (self.profile / name).mkdir(parents=True)
        site = folder / "venv" / "lib" / "python3.11" / "site-packages" / "hermes_cli"
        site.mkdir(parents=True)
        (site / "__init__.py").write_text('__version__ = "0.19.0"\n')
        (site / "web_server.py").write_text("desktop-cron-ticker")
        (folder / "venv" / "pyvenv.cfg").touch()
        self.bin = folder / "venv" / "bin"
        self.bin.mkdir()
        script = self.bin / "hermes"
        script.write_text(f"#!{self.bin / 'python3'}\n")
        script.chmod(0o755)
        self.player = folder / "player" / "hermes"
        self.player.parent.mkdir()
        # The arguments of the player stand where an option's value would.
        self.player.write_text(PLAY.replace("sys.argv[1]", "sys.argv[2]"))
        self.processes: list[subprocess.Popen[bytes]] = []

    def play(self, *files: str, words: str, **env: str) -> int:
        opened = ":".join(str(self.profile / file) for file in files)
        process = subprocess.Popen(
            [sys.executable, self.player, "-m", opened, "-p", "la", *words.split()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "HERMES_HOME": str(self.root), **env},
        )  # fmt: skip
        self.processes.append(process)
        assert _pipe(process.stdout).readline() == b"ready\n"
        return process.pid

    def gateway(self) -> int:
        return self.play("gateway.lock", "logs/gateway.log", words="gateway run")

    def desktop(self) -> int:
        return self.play("logs/gui.log", words="dashboard --port 9119", HERMES_DESKTOP="1")

    def job(self, **more: Any) -> None:
        due = datetime.now(UTC) + timedelta(minutes=1)
        job = {"id": "a1", "name": "read mail", "enabled": True, "next_run_at": due.isoformat()}
        (self.profile / "cron" / "jobs.json").write_text(json.dumps({"jobs": [{**job, **more}]}))

    def close(self) -> None:
        for process in self.processes:
            _pipe(process.stdin).close()
            process.wait(DEADLINE)
            _pipe(process.stdout).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERMES_HOME", str(made.root))
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    yield made
    made.close()


class TestWhichProfile:
    def test_no_home(self, tenure: Tenure, tmp_path: Path) -> None:
        answer = tenure("hermes", "status", "--hermes-home", str(tmp_path / "none"))
        assert answer.code == 4
        assert "no Hermes home" in answer.err

    def test_no_such_profile(self, tenure: Tenure, stage: Stage) -> None:
        answer = tenure("hermes", "status", "--profile", "lo", "--json")
        assert (answer.code, answer.json["error"]["code"]) == (4, "not_found")
        assert "la" in answer.json["error"]["text"]

    @pytest.mark.parametrize(
        "argv",
        [
            ("hermes", "status", "--profile", "la", "--json"),
            ("hermes", "--profile", "la", "status", "--json"),
            ("--json", "hermes", "status", "--profile", "la"),
            ("hermes", "--json", "--profile", "no", "status", "--profile", "la"),
        ],
    )
    def test_it_may_stand_anywhere(
        self, tenure: Tenure, stage: Stage, argv: tuple[str, ...]
    ) -> None:
        answer = tenure(*argv)
        assert (answer.code, answer.json["hermes"]["profile"]) == (0, "la")

    def test_a_folder_names_its_profile(self, tenure: Tenure, stage: Stage) -> None:
        found = tenure("hermes", "status", "--json", "--hermes-home", str(stage.profile)).json
        assert (found["hermes"]["profile"], found["hermes"]["home"]) == ("la", str(stage.profile))

    def test_tenures_own_profile_is_another_thing(
        self, tenure: Tenure, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENURE_PROFILE", "shop")
        assert tenure("hermes", "status", "--json").json["hermes"]["profile"] == "default"
        assert tenure("--profile", "shop", "hermes", "status").code == 0


class TestWhatIsSaid:
    def test_nobody_there(self, tenure: Tenure, stage: Stage) -> None:
        answer = tenure("hermes", "status", "--profile", "la")
        assert answer.code == 0
        assert "hermes profile la" in answer.out
        assert "0.19.0, by" in answer.out
        assert "gateway.lock  free" in answer.out

    @linux
    def test_the_founding_bug(self, tenure: Tenure, stage: Stage) -> None:
        gateway, desktop = stage.gateway(), stage.desktop()
        stage.job()
        answer = tenure("hermes", "status", "--profile", "la")
        assert answer.code == 1
        assert "2 processes can execute this profile's jobs; nothing tells them" in answer.out
        assert f"held by pid {gateway} (gateway)" in answer.out
        assert f"pid {desktop} (desktop backend)" in answer.out
        assert "next  read mail, due" in answer.out
        assert "`tenure hermes adopt --profile la`" in answer.out

    @linux
    def test_its_document(self, tenure: Tenure, stage: Stage) -> None:
        gateway, desktop = stage.gateway(), stage.desktop()
        found = tenure("hermes", "status", "--profile", "la", "--json").json
        there = {process["pid"]: process for process in found["processes"]}
        assert (there[gateway]["role"], there[gateway]["ticks"]) == ("gateway", "yes")
        assert (there[desktop]["role"], there[desktop]["store"]) == ("desktop", "observed")
        assert there[desktop]["seen"] == "it has logs/gui.log open"
        assert [link["pid"] for link in there[gateway]["evidence"]["chain"][:2]] == [
            gateway, os.getpid(),
        ]  # fmt: skip
        assert found["locks"]["gateway"] == {"known": True, "held": True, "pid": gateway}
        assert [w["code"] for w in found["warnings"]] == ["several_tickers"]

    @linux
    def test_a_gateway_alone(self, tenure: Tenure, stage: Stage) -> None:
        stage.gateway()
        stage.job(schedule={"kind": "interval", "minutes": 1})
        answer = tenure("hermes", "status", "--profile", "la")
        assert answer.code == 0
        assert "runs the jobs: nothing else ticks" in answer.out
        assert "no other process ticks" in answer.out

    @linux
    def test_the_fence(self, tenure: Tenure, stage: Stage) -> None:
        stage.gateway()
        (stage.profile / "cron" / ".tick.lock").mkdir()
        answer = tenure("hermes", "status", "--profile", "la")
        assert answer.code == 1
        assert "No job runs: the fence at" in answer.out
        assert "fenced" in answer.out

    def test_names_cannot_drive_the_terminal(self, tenure: Tenure, stage: Stage) -> None:
        stage.job(name="evil\x1b[2J")
        answer = tenure("hermes", "status", "--profile", "la")
        assert "\x1b" not in answer.out
        assert "evil\\x1b[2J" in answer.out

    def test_nothing_of_hermes_is_touched(self, tenure: Tenure, stage: Stage) -> None:
        stage.job()
        before = {path: path.lstat().st_mtime_ns for path in stage.root.rglob("*")}
        tenure("hermes", "status", "--profile", "la")
        assert {path: path.lstat().st_mtime_ns for path in stage.root.rglob("*")} == before


@linux
def test_what_psutil_sees_is_the_same(stage: Stage) -> None:
    """The way on macOS, tried where it can be."""
    pytest.importorskip("psutil")
    gateway, desktop = stage.gateway(), stage.desktop()
    found = survey(find_home(str(stage.root), "la"), scan=PsutilScan())
    assert {(p.pid, p.role, p.store, p.ticks) for p in found.processes} == {
        (gateway, "gateway", "observed", "yes"),
        (desktop, "desktop", "observed", "may"),
    }
    assert found.gateway_lock.pid == gateway


class TestTheGroup:
    def test_alone_it_shows_its_verbs(self, tenure: Tenure) -> None:
        answer = tenure("hermes")
        assert answer.code == 0
        assert "status" in answer.out
        assert "--hermes-home" in answer.out

    def test_another_verb(self, tenure: Tenure) -> None:
        answer = tenure("hermes", "statsu")
        assert answer.code == 2
        assert "status" in answer.err

    def test_one_profile_option_only(self, tenure: Tenure) -> None:
        out = tenure("hermes", "status", "--help").out
        assert out.count("--profile") == 1
        assert out.count("--json") == 1


@linux
class TestForeign:
    """``tenure status`` of the profile that a Hermes home was adopted into (C9)."""

    @pytest.fixture
    def linked(self, world: World, stage: Stage) -> Stage:
        link = {"v": 1, "hermes_home": str(stage.profile)}
        (world.profile.folder.path / "hermes.json").write_text(json.dumps(link))
        return stage

    def test_hermes_tickers_are_listed(self, tenure: Tenure, linked: Stage) -> None:
        pid = linked.desktop()
        answer = tenure("status", "--json")
        (process,) = answer.json["processes"]
        assert (process["pid"], process["standing"]) == (pid, "foreign")
        assert process["role"] == "desktop backend"
        assert process["life"] == "alive"
        assert "foreign" in {warning["code"] for warning in answer.json["warnings"]}
        assert f"{pid}" in tenure("status").out

    def test_those_that_do_not_tick_are_not(self, tenure: Tenure, linked: Stage) -> None:
        linked.play("logs/agent.log", words="chat")
        assert tenure("status", "--json").json["processes"] == []

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"hermes_home": 3}', '{"v": 1}'])
    def test_a_damaged_link(self, tenure: Tenure, world: World, stage: Stage, text: str) -> None:
        (world.profile.folder.path / "hermes.json").write_text(text)
        assert tenure("status", "--json").json["processes"] == []
