"""``tenure serve`` as a launchd agent: a launchctl that fails or is slow deposes no owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testkit.darwin import Darwin
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

TENURE = Path(sys.executable).parent / "tenure"
LABEL = "ai.hermes.gateway-la"
POLICY = f'[[owner]]\nservice = "launchd:{LABEL}"\n'


class Profile:
    """A profile on the Mac, used by commands as a user would."""

    def __init__(self, mac: Darwin, home: Path) -> None:
        self.mac, self.home = mac, home
        folder = home / "profiles" / "la"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "profile.toml").write_text(POLICY)

    def environ(self, **options: str) -> dict[str, str]:
        place = {"TENURE_HOME": str(self.home), "TENURE_PROFILE": "la"}
        return self.mac.environ(**place, **options)

    def tenure(self, *arguments: str) -> Any:
        done = subprocess.run(
            [TENURE, arguments[0], "--json", *arguments[1:]],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def runs(self) -> list[str]:
        return [run["state"] for run in self.tenure("runs", "--limit", "100")["runs"]]

    def has_succeeded(self, runs: int) -> bool:
        return self.runs().count("succeeded") >= runs

    def has_owner(self) -> bool:
        return bool(self.tenure("owner").get("owner"))


@pytest.fixture
def profile(mac: Darwin, tmp_path: Path) -> Profile:
    return Profile(mac, tmp_path / "home")


@pytest.fixture
def serve(profile: Profile) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(coalition: str) -> subprocess.Popen[bytes]:
        log = open(profile.home / f"serve-{len(started)}.log", "wb")  # noqa: SIM115  the child's
        process = subprocess.Popen(
            [TENURE, "serve"],
            env=profile.environ(coalition=coalition),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


def test_an_owner_outlives_a_launchctl_that_fails_or_hangs(profile, serve, mac) -> None:
    owner = serve(f"1296:{LABEL}")
    eventually(profile.has_owner, "an owner")
    profile.tenure("add", "every 1s", "--protected", "--name", "tick", "--", "true")
    eventually(partial(profile.has_succeeded, 1), "a first run")
    for state in ({"fail": 1}, {"fail": -1}, {"delay_s": 60}):
        mac.launchd(**state)
        wanted = profile.runs().count("succeeded") + 3
        eventually(partial(profile.has_succeeded, wanted), f"runs with {state}")
    assert len(profile.tenure("owner")["terms"]) == 1
    assert "never_ran" not in profile.runs()
    asked = [call for call in mac.calls() if call == f"launchctl print pid/{owner.pid}"]
    assert len(asked) == 1
    # `add` looks for the owner's PATH there, and does without it.
    identity = json.loads((profile.home / "profiles" / "la" / "profile.id").read_text())
    assert identity["machine"] == "10111213-1415-1617-1819-1A1B1C1D1E1F"
    touched = [call for call in mac.calls("touched") if not call.endswith("/environ")]
    assert touched == []
    assert mac.calls("closed") == []


def test_an_app_of_the_labels_name_is_not_admitted(profile, serve) -> None:
    process = serve(f"77:application.{LABEL}.51942802.51942814")
    (refused,) = eventually(lambda: profile.tenure("status").get("processes"), "the process")
    assert refused["pid"] == process.pid
    assert refused["standing"] == "refused"
    assert "it belongs to no service" in refused["why"]
    assert refused["evidence"]["app"] == LABEL
