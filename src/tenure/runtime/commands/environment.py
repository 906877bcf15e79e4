"""The environment of a command: the owner's, then the profile's, then the job's variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tenure.domain.job import Command
from tenure.domain.run import Run
from tenure.host.clocks import Clock
from tenure.runtime.commands.child import reason_file
from tenure.runtime.commands.gate import CommandSpec
from tenure.runtime.run_context import CHILD_ARGUMENTS, REASON_VARIABLE
from tenure.store.folder.user_home import account_variables, job_folder

_REFRESH_EVERY_S = 1.0
_NOT_INHERITED = frozenset(
    (
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "XPC_SERVICE_NAME",
    )
)
"""Variables that a service manager sets for one process: a job is not that process."""


class JobEnvironment:
    """Used by the command runner's thread alone."""

    def __init__(self, variables: Callable[[], Mapping[str, str]], clock: Clock) -> None:
        """``variables``: those of the profile."""
        self._variables = variables
        self._clock = clock
        self._base: dict[str, str] = {}
        self._base_until = 0.0

    def spec(self, run: Run, action: Command, exit_path: Path) -> CommandSpec:
        """What to run for this attempt, with nothing left to inherit."""
        env = self._inherited()
        env.update(self._variables())
        env.update(action.env)
        env["TENURE_RUN"] = run.id
        env["TENURE_JOB"] = run.job_name
        env["TENURE_TERM"] = str(run.term)
        env["TENURE_FIRE_TIME"] = run.fire_time.isoformat()
        env["TENURE_ATTEMPT"] = str(run.attempt)
        if action.argv[1:3] == CHILD_ARGUMENTS:
            env[REASON_VARIABLE] = str(reason_file(exit_path))
        return CommandSpec(
            argv=action.argv,
            shell=action.shell,
            env=env,
            cwd=action.cwd or job_folder(os.environ),
            stdin=action.stdin.encode() if action.stdin is not None else None,
        )

    def _inherited(self) -> dict[str, str]:
        """A fresh copy of what a command inherits from the owner, at most a second old.

        Variables that a service manager leaves out, or empty, are filled in as cron does; the
        owner's own values stay.
        """
        now = self._clock.awake()
        if now >= self._base_until:
            account = account_variables(os.environ)
            own = {k: v for k, v in os.environ.items() if v or k not in account}
            self._base = {k: v for k, v in (account | own).items() if k not in _NOT_INHERITED}
            self._base_until = now + _REFRESH_EVERY_S
        return dict(self._base)
