"""Recovery of runs whose process is dead or has lost ownership, by the owner (C4, C6).

For each active run whose holder is dead:

* a command without 'started' waited at a gate that no process can open any more: it never ran,
  proved;
* a command that lives is adopted: watched, timed, and its true exit status recorded;
* a command that has ended has an exit record, or is lost;
* a callable died with its process, and whether it had finished is unknown: lost.

A holder that lives, however slowly, or that cannot be verified, keeps its runs. An exception is a
holder that was replaced by force and has not noticed: it may be frozen, for ever. Nothing of its
term can be committed any more, so a command that is not 'started' never will be; a gate that it
could open when it wakes is shut; commands that run are adopted, and the owner records their ends.
Its callables stay with it, because only it can report how they end; a callable with a timeout is
timed out in its place, or the job would wait for a frozen process for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from tenure.domain.durations import format_duration
from tenure.domain.errors import CorruptStore, NotFound, OutcomeUnknown
from tenure.domain.job import Command, Definition
from tenure.domain.ownership import Authority, HolderLife
from tenure.domain.policy.evidence import Identity
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import Result, Run, RunState
from tenure.host.processes import is_alive
from tenure.runtime.commands.child import Outcome, RecordUnreadable, Stage, how_it_ended
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.commands.terminate import abort_at_gate
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.members import life_of_process

log = logging.getLogger("tenure.recovery")

NEVER_OPENED = "its owner died or lost ownership before the gate opened"


TIMEOUT_GRACE = timedelta(seconds=5)
"""Beyond a run's timeout, for the process that lost ownership to end the run by itself."""
LOST_TRACK_AFTER_S = 10.0
"""Awake time after which a run of this process that no part works on is settled."""


class Recovery:
    """Used by the keeper's thread alone."""

    def __init__(
        self, context: OwnerContext, commands: CommandRunner, dispatcher: Dispatcher
    ) -> None:
        self._profile = context.profile
        self._store = context.store
        self._process = context.process
        self._clock = context.clock
        self._report = context.inbox.report
        self._commands = commands
        self._dispatcher = dispatcher
        self._astray: dict[str, float] = {}
        self._unsettled: dict[str, str] = {}
        """Why a run could not be settled at the last look: it is logged once."""
        self._unreadable: set[str] = set()

    def settle(self, authority: Authority) -> None:
        """Settle every run of another process that is dead or replaced. Raises StaleTerm."""
        holders: dict[str, Process] = {}
        lives: dict[str, HolderLife] = {}
        for run in self._store.orphans(self._process):
            # Without what is missing, whether it has ended is unknown.
            if run.damage:
                self._say_unreadable(run)
                continue
            if run.holder not in lives:
                holders[run.holder] = self._store.process(run.holder)
                lives[run.holder] = life_of_process(self._profile, holders[run.holder])
            life = lives[run.holder]
            if life is HolderLife.DEAD:
                self._settle_one(partial(self._take_from_dead, authority), run)
            elif life is HolderLife.ALIVE and holders[run.holder].standing is ProcessStatus.OWNER:
                # It is recorded as owner, but this process owns: it was replaced unnoticed.
                self._settle_one(partial(self._take_from_replaced, authority), run)
        self._settle_own()

    def _say_unreadable(self, run: Run) -> None:
        if run.id not in self._unreadable:
            self._unreadable.add(run.id)
            log.warning("run %s of %s cannot be settled: %s", run.id, run.job_name, run.damage)

    def _settle_own(self) -> None:
        """A safety net: a run of this process that no part has worked on for a while would never
        end. A shorter gap is normal: a turn may be between its commit and the runners."""
        awake = self._clock.awake()
        mine = {run.id: run for run in self._store.runs_held_by(self._process)}
        astray = frozenset(mine) - self._dispatcher.runs()
        self._astray = {run_id: self._astray.get(run_id, awake) for run_id in astray}
        for run_id, since in list(self._astray.items()):
            if awake - since >= LOST_TRACK_AFTER_S:
                run = mine[run_id]
                log.error("lost track of run %s of %s", run.id, run.job_name)
                self._commands.forget(run.id)
                if self._settle_one(self._take_own, run):
                    del self._astray[run_id]

    def _take_own(self, run: Run) -> None:
        self._take_up(run, self._store.definition(run.job, run.revision))

    def _settle_one(self, take: Callable[[Run], None], run: Run) -> bool:
        """A run that cannot be settled stays as it is for the next look, and blocks no other."""
        try:
            take(run)
        except (NotFound, CorruptStore, OutcomeUnknown, OSError) as error:
            level = logging.DEBUG if self._unsettled.get(run.id) == str(error) else logging.WARNING
            log.log(level, "run %s of %s cannot be settled: %s", run.id, run.job_name, error)
            self._unsettled[run.id] = str(error)
            return False
        self._unsettled.pop(run.id, None)
        return True

    def _take_from_dead(self, authority: Authority, run: Run) -> None:
        if run.identity is not None and is_alive(run.identity) is None:
            # Started in another pid namespace: whether it has ended is unknown here.
            return
        # Read before it is adopted: an adopted run that is not watched would never end.
        definition = self._store.definition(run.job, run.revision)
        if self._store.adopt_run(authority, run.id, run.attempt, self._clock.now()):
            self._take_up(run, definition)

    def _take_from_replaced(self, authority: Authority, run: Run) -> None:
        definition = self._store.definition(run.job, run.revision)
        if run.term == authority.term:
            return
        if not isinstance(definition.action, Command):
            self._time_out(authority, run, definition)
            return
        if run.identity is not None:
            record = abort_at_gate(run.identity, self._exit_path(run))
            if record.stage is Stage.GATE and record.outcome is Outcome.NO_RECORD:
                # Undecided; the next look tries again.
                return
        if self._store.adopt_run(authority, run.id, run.attempt, self._clock.now()):
            self._take_up(run, definition)

    def _time_out(self, authority: Authority, run: Run, definition: Definition) -> None:
        """As its own process would: a thread cannot be ended, so the reason says it may run on."""
        now, began = self._clock.now(), run.started_at or run.claimed_at
        if definition.timeout is None or now - began < definition.timeout + TIMEOUT_GRACE:
            return
        if self._store.adopt_run(authority, run.id, run.attempt, now):
            timeout = format_duration(definition.timeout)
            why = f"timed out after {timeout}; its process lost ownership and may run on"
            self._end(run, RunState.TIMED_OUT, why)

    def _take_up(self, run: Run, definition: Definition) -> None:
        if not isinstance(definition.action, Command):
            self._end(run, RunState.LOST, "its owner died; whether it had finished is unknown")
        elif run.state is RunState.CLAIMED:
            self._end(run, RunState.NEVER_RAN, NEVER_OPENED)
        elif run.identity is None or is_alive(run.identity) is False:
            self._read_end(run, definition)
        else:
            # A fork of the dead holder may keep its gate from closing: shut it.
            if self._never_ran(run, run.identity):
                self._end(run, RunState.NEVER_RAN, NEVER_OPENED)
                return
            log.info("adopting %s, pid %s", run.id, run.identity.pid)
            self._commands.adopt(run, definition)

    def _never_ran(self, run: Run, identity: Identity) -> bool:
        try:
            return abort_at_gate(identity, self._exit_path(run)).outcome is Outcome.NEVER_RAN
        except RecordUnreadable:  # the runner that adopts it reads its end
            return False

    def _read_end(self, run: Run, definition: Definition) -> None:
        try:
            self._end(run, *how_it_ended(run, self._exit_path(run)))
        except RecordUnreadable:
            if run.identity is None:
                raise
            # The runner repeats the read until it succeeds.
            self._commands.adopt(run, definition)

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
