"""A scheduler of another kind beside the profile: a real process, as the system shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pagekit import shown
from webkit import Web

from tenure.adapters.hermes.look.survey import foreign_of
from waiting import DEADLINE

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="told by /proc/PID/fd and /proc/locks"),
]
PATIENCE = DEADLINE
GATEWAY = """\
import fcntl, sys
lock = open(sys.argv[3], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
"""What makes a Hermes gateway one for who looks: its command line, and the lock that it holds."""


@pytest.fixture
def hermes(web: Web, tmp_path: Path) -> Path:
    """A Hermes home that the profile is linked to."""
    home = tmp_path / "hermes-home"
    (home / "cron").mkdir(parents=True)
    link = web.world.profile.folder.path / "hermes.json"
    link.write_text(json.dumps({"v": 1, "hermes_home": str(home)}))
    return home


@pytest.fixture
def gateway(hermes: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "bin" / "hermes"
    script.parent.mkdir()
    script.write_text(GATEWAY)
    started = subprocess.Popen(
        [sys.executable, str(script), "gateway", "run", str(hermes / "gateway.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"HERMES_HOME": str(hermes), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "locked\n"
    yield started
    end(started)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=PATIENCE)


def test_a_foreign_scheduler_is_shown_while_it_lives(
    web: Web, hermes: Path, gateway: subprocess.Popen[str]
) -> None:
    web.world.owner()
    who = f"pid {gateway.pid}"
    (seen,) = [p for p in web.get("/processes")["processes"] if p["standing"] == "foreign"]
    assert seen["pid"] == gateway.pid
    assert "a gateway ticks every minute" in seen["why"]
    assert seen["life"] == "alive"
    alone = web.get(f"/processes/{seen['id']}")["process"]
    assert {k: alone[k] for k in ("pid", "why", "life")} == {
        k: seen[k] for k in ("pid", "why", "life")
    }
    warned = {w["code"]: w for w in web.get("/status")["warnings"]}
    assert str(gateway.pid) in warned["foreign"]["text"]
    assert warned["foreign"]["remedy"]

    browser = web.browser()
    for path in ("/p/default/", "/p/default/owner"):
        text = shown(browser.get(path)).said()
        assert who in text, path
        assert "foreign" in text
        assert "without Tenure's plugin" in text
    assert (
        "This scheduler does not implement Tenure" in shown(browser.get("/p/default/owner")).said()
    )
    assert "1 warning" in shown(browser.get("/")).said()

    end(gateway)
    assert foreign_of(web.world.profile.folder.path / "hermes.json") == ()
    assert who not in shown(web.browser().get("/p/default/")).said()
    web.problem("GET", f"/processes/{seen['id']}", 404)


def test_one_of_another_home_is_none(
    web: Web, hermes: Path, gateway: subprocess.Popen[str], tmp_path: Path
) -> None:
    other = tmp_path / "other-home"
    other.mkdir()
    link = web.world.profile.folder.path / "hermes.json"
    link.write_text(json.dumps({"v": 1, "hermes_home": str(other)}))
    listed = web.get("/processes")["processes"]
    assert [p for p in listed if p["standing"] == "foreign"] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"hermes_home": 7}',
        '{"hermes_home": "a\\u0000b"}',
        '{"hermes_home": "~no-such-user/x"}',
    ],
)
def test_a_link_that_names_none_hides_nothing(web: Web, text: str) -> None:
    (web.world.profile.folder.path / "hermes.json").write_text(text)
    assert web.ask("GET", "/status").status_code == 200
    assert shown(web.browser().get("/p/default/"))
