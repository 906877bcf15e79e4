"""A Jupyter kernel of its own, spoken to as a notebook does."""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from benchmarks.workers.running import PYCACHE, wait_for
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter

PROFILE = "notebook"


class _Manager(KernelManager):
    """Of this Python: whatever kernels are installed for the user are none of a test's business."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", display_name="Python")


class Kernel:
    """Started; close it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.log = folder / "log"
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "TENURE"))}
        environ |= {
            "TENURE_HOME": str(self.home),
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(folder),
            "PYTHONPYCACHEPREFIX": PYCACHE,
        }
        # Ports that are free when they are chosen may be taken when the kernel binds them; and the
        # path of a socket must be short.
        self._sockets = tempfile.TemporaryDirectory(prefix="tenure-kernel-")
        self.manager = _Manager(
            connection_file=str(folder / "kernel.json"),
            transport="ipc",
            ip=str(Path(self._sockets.name) / "kernel"),
            shutdown_wait_time=60.0,  # it is killed after that
        )
        self._out = self.log.open("wb")
        self.manager.start_kernel(env=environ, stdout=self._out, stderr=self._out, cwd=folder)
        self._connect()
        self._profile: Profile | None = None

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def execute(self, code: str) -> tuple[str, str]:
        """A cell: what it and what runs meanwhile prints, and the exception that ends it."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=hear)
        return "".join(printed), reply["content"].get("ename", "")

    def value(self, expression: str) -> Any:
        """Of what JSON can say."""
        wanted = f"__import__('json').dumps({expression})"
        message = self.client.execute(
            "", silent=True, user_expressions={"it": wanted}, store_history=False
        )
        found = self.client.get_shell_msg(timeout=60)
        while found["parent_header"].get("msg_id") != message:
            found = self.client.get_shell_msg(timeout=60)
        it = found["content"]["user_expressions"]["it"]
        assert it["status"] == "ok", it
        return json.loads(ast.literal_eval(it["data"]["text/plain"]))

    def restart(self, *, now: bool = False) -> None:
        """As the notebook's button does; ``now``: without a word to it."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=now)
        self._connect()

    @property
    def profile(self) -> Profile:
        if self._profile is None:
            self._profile = Profile.open(PROFILE, home=self.home)
        return self._profile

    def runs(self) -> tuple[Run, ...]:
        """Those that have succeeded."""
        return self.profile.store.runs(RunFilter(states=frozenset({RunState.SUCCEEDED})))[0]

    def active(self) -> set[str]:
        return {run.id for run in self.profile.store.runs(RunFilter(states=ACTIVE))[0]}

    def wait_runs(self, more: int, of: Callable[[Run], bool] = lambda run: True) -> None:
        """So many more than there are."""
        enough = sum(map(of, self.runs())) + more
        wait_for(f"{more} more runs", lambda: sum(map(of, self.runs())) >= enough)

    def output(self, run: Run) -> str:
        return (self.profile.folder.logs / run.id / "1.log").read_text()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self._sockets.cleanup()
        self._out.close()
        if self._profile is not None:
            self._profile.close()
