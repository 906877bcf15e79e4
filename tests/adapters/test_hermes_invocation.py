"""Command lines read as Hermes': programs, verbs, profiles, roles, and the home that is meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tenure.adapters.hermes.facts.invocation import Role, read_invocation, role_of, stated_home

PYTHON = "/opt/hermes/bin/python3"


@pytest.mark.parametrize(
    ("line", "words", "profile"),
    [
        ("/opt/hermes/bin/hermes gateway run", ("gateway", "run"), None),
        (f"{PYTHON} /opt/hermes/bin/hermes --profile la gateway run", ("gateway", "run"), "la"),
        (f"{PYTHON} -m hermes_cli.main -p la gateway run --replace", ("gateway", "run"), "la"),
        (f"{PYTHON} -u -X utf8 -m hermes_cli dashboard --port 9119", ("dashboard",), None),
        (f"{PYTHON} -Im hermes_cli.main serve --profile=la", ("serve",), "la"),
        (f"{PYTHON} /opt/hermes/bin/hermes chat -p la", ("chat",), "la"),
        (f"{PYTHON} /opt/hermes/bin/hermes -z 'gateway run' -m big", (), None),
        (f"{PYTHON} /opt/hermes/bin/hermes -c work chat", ("chat",), None),
        (f"{PYTHON} /opt/hermes/bin/hermes cron --accept-hooks tick", ("cron", "tick"), None),
        (f"{PYTHON} -m tui_gateway.entry", ("chat",), None),
        (f"{PYTHON} -m cron.scheduler", ("cron", "tick"), None),
        (f"{PYTHON} /src/hermes_cli/main.py cron run ab12", ("cron", "run"), None),
        (f"{PYTHON} -c 'from hermes_cli.main import main; main()' dashboard", ("dashboard",), None),
        ("'C:\\Hermes\\venv\\Scripts\\pythonw.exe' -m hermes_cli.main -p la gateway run",
         ("gateway", "run"), "la"),
        ("/opt/hermes/bin/hermes-acp", ("acp",), None),
        # A value that can be no profile's name is somebody else's option.
        ("/opt/hermes/bin/hermes -p no:xdist gateway run", ("gateway", "run"), None),
    ],
)  # fmt: skip
def test_read(line: str, words: tuple[str, ...], profile: str | None) -> None:
    found = read_invocation(shlex.split(line))
    assert found is not None
    assert (found.words, found.profile) == (words, profile)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "bash -c 'hermes gateway run'",
        "/bin/bash /usr/local/bin/hermes gateway run",
        "timeout 30 hermes gateway run",
        f"{PYTHON} /opt/tenure/bin/tenure hermes status",
        f"{PYTHON} -m pytest tests/hermes",
        f"{PYTHON} -c 'print(1)' hermes gateway run",
        f"{PYTHON}",
        f"{PYTHON} -m",
        "tail -f /home/me/.hermes/logs/agent.log",
        "vim hermes",
    ],
)
def test_not_hermes(line: str) -> None:
    assert read_invocation(shlex.split(line)) is None


@pytest.mark.parametrize(
    ("line", "env", "role"),
    [
        ("hermes gateway", {}, Role.GATEWAY),
        ("hermes gateway restart", {}, Role.GATEWAY),
        ("hermes gateway status", {}, None),
        ("hermes dashboard", {}, Role.DASHBOARD),
        ("hermes serve", {"HERMES_DESKTOP": "1"}, Role.DESKTOP),
        ("hermes dashboard", {"HERMES_DESKTOP": "true"}, Role.DASHBOARD),
        ("hermes dashboard", None, Role.DASHBOARD),
        ("hermes cron tick", {}, Role.TICK),
        ("hermes cron run x", {}, Role.RUN),
        ("hermes cron list", {}, None),
        ("hermes", {}, Role.CHAT),
        ("hermes logs -f", {}, None),
        ("hermes desktop", {}, None),
    ],
)
def test_roles(line: str, env: dict[str, str] | None, role: Role | None) -> None:
    invocation = read_invocation(line.split())
    assert invocation is not None
    assert role_of(invocation, env) == role


class TestStatedHome:
    """The order in which Hermes itself decides."""

    @pytest.mark.parametrize(
        ("line", "env", "home"),
        [
            ("hermes chat", {"HOME": "/h"}, "/h/.hermes"),
            ("hermes -p la chat", {"HOME": "/h"}, "/h/.hermes/profiles/la"),
            ("hermes -p la chat", {"HOME": "/h", "HERMES_HOME": "/d"}, "/d/profiles/la"),
            ("hermes chat", {"HERMES_HOME": "/d/profiles/la"}, "/d/profiles/la"),
            ("hermes -p ny chat", {"HERMES_HOME": "/d/profiles/la"}, "/d/profiles/ny"),
            ("hermes -p default chat", {"HERMES_HOME": "/d/profiles/la"}, "/d"),
            ("hermes chat", {"HERMES_HOME": "data"}, "/cwd/data"),
            ("hermes chat", {}, None),
        ],
    )
    def test_order(self, line: str, env: dict[str, str], home: str | None) -> None:
        invocation = read_invocation(line.split())
        assert invocation is not None
        assert stated_home(invocation, env, "/cwd") == home

    def test_the_profile_chosen_for_good(self, tmp_path: Path) -> None:
        (tmp_path / "active_profile").write_text("la\n")
        invocation = read_invocation(["hermes", "gateway", "run"])
        assert invocation is not None
        env = {"HERMES_HOME": str(tmp_path)}
        assert stated_home(invocation, env, None) == str(tmp_path / "profiles" / "la")
        supervised = {**env, "HERMES_S6_SUPERVISED_CHILD": "1"}
        assert stated_home(invocation, supervised, None) == str(tmp_path)

    def test_an_environment_that_may_not_be_read(self) -> None:
        invocation = read_invocation(["hermes", "-p", "la", "chat"])
        assert invocation is not None
        assert stated_home(invocation, None, "/") is None
