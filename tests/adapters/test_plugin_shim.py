"""The folder plugin: it finds a Tenure that works, or lets no job run; the rest goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cronsim
import pytest
from minihermes import MiniHermes, job

import tenure

pytestmark = pytest.mark.real
SOURCE = Path(tenure.__file__).parent
BROKEN = "def broken(:\n"
OLDER = "__version__ = '0.0.1'\n"
WAYS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("hermes_plugins.tenure", sys.argv[1])
module = importlib.util.module_from_spec(spec)
early = "early" in sys.argv
if early:
    import cron.scheduler, cron.jobs, tools.cronjob_tools, tools.api_server
sys.modules[spec.name] = module
spec.loader.exec_module(module)
module.register(object())
loaded = "cron.scheduler" in sys.modules
import cron, cron.jobs, cron.scheduler, tools.cronjob_tools, tools.api_server
said = {}
def way(name, call):
    try: said[name] = repr(call())
    except BaseException as error: said[name] = f"{type(error).__name__}: {error}"
stored = cron.jobs.get_job("a")
way("tick", lambda: cron.tick(verbose=False, sync=False))
way("typed", lambda: cron.scheduler.tick())
way("run_one_job", lambda: cron.scheduler.run_one_job(stored))
way("run_job", lambda: cron.scheduler.run_job(stored))
way("trigger", lambda: tools.api_server._cron_trigger("a"))
way("tool", lambda: json.loads(tools.cronjob_tools.cronjob("run", "a"))["error"])
way("get", lambda: cron.jobs.get_job("a")["name"])
said["same"] = cron.jobs.get_job("a") == stored
said["ran"] = len(cron.scheduler.RAN)
said["loaded"] = loaded
tenure = sys.modules.get("tenure")
said["tenure"] = tenure and getattr(tenure, "__file__", None)
print(json.dumps(said))
"""


class Folder:
    """A home with the folder plugin, its copy, and an environment beside."""

    def __init__(self, folder: Path) -> None:
        self.mini = MiniHermes(folder)
        self.mini.adopt()
        self.mini.write(job("a"))
        self.plugin = self.mini.home.plugin / "__init__.py"
        self.plugin.parent.mkdir(parents=True)
        shutil.copy(SOURCE / "adapters" / "hermes" / "inside" / "shim.py", self.plugin)
        self.lib = self.mini.home.tenure / "lib"
        self.env = folder / "env"
        self.env.mkdir()

    def copy(self) -> Path:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE, self.lib / "tenure", ignore=ignored)
        shutil.copytree(Path(cronsim.__file__).parent, self.lib / "cronsim", ignore=ignored)
        return self.lib / "tenure"

    def run(self, *how: str) -> dict[str, object]:
        """The ways to run a job, in a process of its own without any other Tenure."""
        done = subprocess.run(
            [sys.executable, "-S", "-c", WAYS, str(self.plugin), *how],
            env={
                "HERMES_HOME": str(self.mini.home.path), "HOME": str(self.mini.tenure_home),
                "PYTHONPATH": f"{self.env}:{self.mini.site}", "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        return {"printed": lines[:-1], **json.loads(lines[-1])}


@pytest.fixture(params=["plain", "with spaces and ümlauts"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def refused(said: dict[str, object], why: str) -> None:
    """Nothing ran or was asked for; everything else is as ever."""
    assert said["tick"] == "0"
    assert said["typed"] == "SystemExit: 3"
    for way in ("run_one_job", "run_job", "trigger"):
        assert str(said[way]).startswith("RuntimeError: refused: Tenure cannot be loaded"), way
    assert "refused: Tenure cannot be loaded" in str(said["tool"])
    assert why in str(said["run_job"])
    assert "tenure hermes status" in str(said["printed"])
    assert (said["get"], said["same"], said["ran"]) == ("'job a'", True, 0)


def test_the_copy_is_loaded(folder: Folder) -> None:
    folder.copy()
    said = folder.run()
    assert said["tenure"] == str(folder.lib / "tenure" / "__init__.py")
    assert "only the owner may run it" in str(said["run_job"])
    assert said["run_one_job"] == "False"
    assert said["ran"] == 0
    assert not said["loaded"], "a process that never touches its jobs pays for no import of them"


def test_one_that_is_installed_comes_first(plain: Folder) -> None:
    plain.copy()
    (plain.env / "tenure").symlink_to(SOURCE)
    (plain.env / "cronsim").symlink_to(Path(cronsim.__file__).parent)
    said = plain.run()
    assert said["tenure"] == str(plain.env / "tenure" / "__init__.py")
    assert said["ran"] == 0


@pytest.mark.parametrize("installed", [BROKEN, OLDER])
def test_the_copy_is_loaded_in_place_of_one_that_does_not_work(
    plain: Folder, installed: str
) -> None:
    plain.copy()
    (plain.env / "tenure").mkdir()
    (plain.env / "tenure" / "__init__.py").write_text(installed)
    said = plain.run()
    assert said["tenure"] == str(plain.lib / "tenure" / "__init__.py")
    assert "Tenure cannot be loaded" not in str(said)


@pytest.mark.parametrize("how", [(), ("early",)])
def test_without_any_nothing_runs(folder: Folder, how: tuple[str, ...]) -> None:
    said = folder.run(*how)
    refused(said, "No module named 'tenure'")
    assert said["loaded"] == bool(how)


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("adapters/hermes/inside/patches.py", BROKEN, "SyntaxError"),
        ("__init__.py", "raise OSError(5, 'a disk that fails')\n", "a disk that fails"),
        ("adapters/hermes/plugin.py", "", "ImportError"),
    ],
)
def test_a_broken_copy_runs_nothing(plain: Folder, file: str, text: str, why: str) -> None:
    (plain.copy() / file).write_text(text)
    refused(plain.run(), why)


def test_a_copy_without_what_it_needs_runs_nothing(plain: Folder) -> None:
    plain.copy()
    shutil.rmtree(plain.lib / "cronsim")
    said = plain.run()
    for way in ("tick", "typed", "run_one_job", "run_job", "trigger", "tool"):
        assert "refused: Tenure cannot be loaded here" in str(said[way]), way
        assert "cronsim" in str(said[way])
    assert (said["same"], said["ran"]) == (True, 0)


def test_a_home_that_is_not_adopted_any_more_is_left_alone(plain: Folder) -> None:
    """The plugin is still loaded in a process that runs on."""
    plain.mini.release()
    said = plain.run()
    assert said["run_one_job"] == "True"
    assert said["ran"] == 4
