"""A crontab whose jobs said, under Debian's cron (3.0pl1-162), what they were given; here again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
COMMAND = [sys.executable, "-m", "tenure.surfaces.cli.main"]
CRONTAB = r"""
OUT={out}
A = plain words here  
B="quoted  and spaced  "
C='"nested"'
D=$HOME/bin
LOGNAME=somebody
TZ=Asia/Tokyo
@daily env > $OUT/env; pwd > $OUT/pwd; echo "$0" > $OUT/shell
@daily cat > $OUT/input%one\%two%three\x%%four\\%
@daily printf '\%s|' 'a\\b' 'c\\\\d' 'e\nf' > $OUT/args
@daily cat > $OUT/empty%
SHELL=/bin/bash
HOME=/tmp
@daily env > $OUT/env2; pwd > $OUT/pwd2; echo "$0" > $OUT/shell2
"""  # noqa: W291
SEEN = {
    "input": "one%two\nthree\\x\n\nfour\\%\n",
    "args": "a\\b|c\\\\d|e\\nf|",
    "empty": "",
    "shell": "/bin/sh\n",
    "shell2": "/bin/bash\n",
    "pwd2": "/tmp\n",
}
VARIABLES = {
    "A": "plain words here", "B": "quoted  and spaced", "C": "nested", "D": "$HOME/bin",
    "TZ": "Asia/Tokyo", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh",
}  # fmt: skip


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TENURE_HOME": str(tmp_path / "home"), "LOGNAME": "who runs the owner"}


@pytest.fixture
def owner(env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait(DEADLINE)


def test_jobs_see_what_cron_gave_them(env: dict[str, str], owner: None, tmp_path: Path) -> None:
    def tenure(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *argv], env=env, capture_output=True, text=True, timeout=DEADLINE,
            check=False,
        )  # fmt: skip

    out = tmp_path / "out"
    out.mkdir()
    table = tmp_path / "table"
    table.write_text(CRONTAB.replace("{out}", str(out)))
    imported = tenure("import", "crontab", str(table), "--dialect", "debian", "--yes", "--json")
    assert imported.returncode == 0, imported.stdout
    names = [job["name"] for job in json.loads(imported.stdout)["jobs"]]
    assert names == ["pwd", "cat", "printf", "cat-2", "pwd-2"]

    def answered(name: str) -> subprocess.CompletedProcess[str] | None:
        ran = tenure("trigger", name, "--wait")
        return None if ran.returncode == 3 else ran

    for name in names:
        ran = eventually(partial(answered, name), "an owner")
        assert ran is not None
        assert ran.returncode == 0, (name, ran.stderr)
    assert {name: (out / name).read_text() for name in SEEN} == SEEN
    variables = dict(row.split("=", 1) for row in (out / "env").read_text().splitlines())
    assert {name: variables.get(name) for name in VARIABLES} == VARIABLES
    assert variables["LOGNAME"] == "who runs the owner"
    assert (out / "pwd").read_text().strip() == os.path.expanduser("~")
    second = dict(row.split("=", 1) for row in (out / "env2").read_text().splitlines())
    assert (second["SHELL"], second["HOME"]) == ("/bin/bash", "/tmp")
