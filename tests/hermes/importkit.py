"""A Hermes profile and a Tenure home in one folder, and the command lines of both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hermesvenv import HermesVenv

from tenure.adapters.hermes.facts.home import home_of
from waiting import DEADLINE

ZONE = "Europe/Berlin"
BERLIN = ZoneInfo(ZONE)
TENURE = [sys.executable, "-m", "tenure.surfaces.cli.main"]


class Shell:
    """One Hermes profile ``la`` and one Tenure home, both new; and what is started, ended."""

    def __init__(self, folder: Path, venv: HermesVenv) -> None:
        self.venv = venv
        self.root = folder / "hermes"
        self.home = home_of(self.root / "profiles" / "la")
        (self.home.path / "scripts").mkdir(parents=True)
        self.home.config.write_text(f"timezone: {ZONE}\n")
        self.env = {
            "PATH": "/usr/bin:/bin", "HOME": str(folder), "TZ": ZONE, "HERMES_HOME": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1", "TENURE_HOME": str(folder / "tenure"),
        }  # fmt: skip
        self.served: subprocess.Popen[bytes] | None = None

    def hermes(self, *words: str) -> str:
        return self._run(str(self.venv.command), "-p", "la", *words)

    def python(self, script: str, document: Any) -> Any:
        """Run a script in Hermes' environment and the profile's home."""
        done = subprocess.run(
            [self.venv.python, "-I", "-B", "-c", script], input=json.dumps(document), text=True,
            env={**self.env, "HERMES_HOME": str(self.home.path)}, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tenure(self, *words: str) -> Any:
        return json.loads(self._run(*TENURE, *words, "--json"))

    def say(self, *words: str) -> str:
        return self._run(*TENURE, *words)

    def imports(self, *options: str) -> Any:
        python = str(self.venv.python)
        home = ["--hermes-home", str(self.root), "--hermes-profile", "la"]
        return self.tenure("import", "hermes", *home, "--hermes-python", python, *options)

    def serve(self) -> None:
        self.served = subprocess.Popen(
            [*TENURE, "serve"], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def end(self) -> None:
        if self.served is not None:
            self.served.terminate()
            self.served.wait(DEADLINE)

    def jobs(self) -> dict[str, Any]:
        document = json.loads(self.home.jobs_file.read_text())
        return {job["name"]: job for job in document["jobs"]}

    def _run(self, *argv: str) -> str:
        done = subprocess.run(
            argv, env=self.env, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
    }
