"""What a dead process left behind, settled by the owner (C4, C6).

For each active run whose holder is dead:

* a command that never got as far as 'started' stood at a gate that nobody can open any more: it
  never ran, proved;
* a command that lives is adopted: watched, timed, and its true exit status recorded;
* a command that has ended has an exit record, or is lost;
* a callable died with its process, and whether it had finished cannot be known: lost.

A holder that lives, however slowly, or that cannot be verified, keeps its runs. One that was
deposed by force may be frozen between its commit of 'started' and the gate: what stands there is
withdrawn, so that it starts nothing when it wakes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tenure.domain.job import Command, Definition
from tenure.domain.ownership import Act, Authority, HolderLife
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.host.processes import boot_id, is_alive
from tenure.runtime.command_runner import CommandRunner, how_it_ended
from tenure.runtime.exits import Outcome
from tenure.runtime.liveness import life_of_process
from tenure.runtime.profile import Profile
from tenure.runtime.withdraw import withdraw

log = logging.getLogger("tenure.recovery")


class Recovery:
    """Used by the keeper's thread alone."""

    def __init__(
        self,
        profile: Profile,
        *,
        process: str,
        clock: Clock,
        commands: CommandRunner,
        report: Callable[[Result], None],
    ) -> None:
        self._profile = profile
        self._store = profile.store
        self._process = process
        self._clock = clock
        self._commands = commands
        self._report = report
        self._seen_open: set[str] = set()

    def settle(self, authority: Authority) -> None:
        """Look at every run that somebody else holds. Raises StaleTerm."""
        lives: dict[str, HolderLife] = {}
        for run in self._store.orphans(self._process):
            if run.holder not in lives:
                holder = self._store.process(run.holder)
                lives[run.holder] = life_of_process(self._profile, holder)
            if lives[run.holder] is not HolderLife.DEAD:
                self._withdraw(authority, run)
            elif self._store.adopt_run(authority, run.id, run.attempt, self._clock.now()):
                self._take_up(run)

    def _withdraw(self, authority: Authority, run: Run) -> None:
        """Shut the gate of a holder that was deposed by force."""
        if run.identity is None or run.term == authority.term or run.id in self._seen_open:
            return
        self._seen_open.add(run.id)
        if self._store.terms(limit=1)[0].how is not Act.TAKE_BY_FORCE:
            return
        record = withdraw(run.identity, self._exit_path(run))
        if record.outcome is Outcome.NEVER_RAN and self._store.adopt_run(
            authority, run.id, run.attempt, self._clock.now()
        ):
            self._end(run, RunState.NEVER_RAN, "its owner was deposed before the gate opened")

    def _take_up(self, run: Run) -> None:
        definition = self._store.definition(run.job, run.revision)
        if not isinstance(definition.action, Command):
            self._end(run, RunState.LOST, "its owner died; whether it had finished is not known")
        elif run.state is RunState.CLAIMED:
            self._end(run, RunState.NEVER_RAN, "its owner died before the gate opened")
        elif run.identity is not None and is_alive(run.identity):
            # A fork of the dead holder may keep its gate from closing: nobody may open it now.
            if withdraw(run.identity, self._exit_path(run)).outcome is Outcome.NEVER_RAN:
                self._end(run, RunState.NEVER_RAN, "its owner died before the gate opened")
                return
            log.info("adopting %s, pid %s", run.id, run.identity.pid)
            self._commands.adopt(run, definition)
        else:
            self._read_end(run, definition)

    def _read_end(self, run: Run, definition: Definition) -> None:
        same_boot = run.identity is not None and run.identity.boot_id == boot_id()
        state, reason, code, number = how_it_ended(self._exit_path(run), same_boot)
        if run.cancel_requested_at is not None and state is RunState.FAILED:
            state, reason = RunState.CANCELLED, f"cancelled on request ({reason})"
        self._end(run, state, reason, code, number)

    def _exit_path(self, run: Run) -> Path:
        return self._profile.folder.logs / run.id / f"{run.attempt}.exit"

    def _end(
        self,
        run: Run,
        state: RunState,
        reason: str,
        exit_code: int | None = None,
        number: int | None = None,
    ) -> None:
        self._report(
            Result(
                run=run.id,
                attempt=run.attempt,
                process=self._process,
                state=state,
                at=self._clock.now(),
                reason=reason,
                exit_code=exit_code,
                signal=number,
            )
        )
