"""The keeper: one thread that joins, competes for ownership, watches over it, and gives it up.

    refused <--> candidate --take--> owner --hand over, step down, loss--> candidate

Every decision is made by :mod:`tenure.domain.ownership` and :mod:`tenure.domain.policy.admission`;
the keeper supplies the facts: evidence, which processes live (from the kernel), for how long no
better process has been present. :mod:`.candidacy` acts where this process does not own,
:mod:`.term` where it does. The keeper looks once a second, and at once when the owner's process
dies (a death notice from the kernel), when ownership or the policy may have changed (a message on
the control socket), or when another thread wakes it.

As owner it also settles the runs of dead processes: it adopts commands that still run, reads the
exit records of those that ended, and declares the rest never run or lost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from datetime import datetime
from typing import Any

from tenure.domain.errors import CorruptStore, TenureError
from tenure.domain.event import EventKind
from tenure.domain.ownership import Authority, Ownership, OwnershipAction
from tenure.domain.policy.admission import Admission, Policy
from tenure.domain.process import ProcessStatus
from tenure.domain.warnings import ProfileWarning
from tenure.host.zone_data import ZoneData
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.recovery import Recovery
from tenure.runtime.failure import Watch, WatchedThread, lost_store, lost_thread
from tenure.runtime.members import OBSERVE_EVERY_S
from tenure.runtime.ownership.candidacy import Election
from tenure.runtime.ownership.control import ControlSocket
from tenure.runtime.ownership.peers import Peers
from tenure.runtime.ownership.term import ActiveTerm
from tenure.runtime.ownership.upkeep import HistoryPurge, Replanner
from tenure.runtime.ownership.waker import Waker

log = logging.getLogger("tenure.keeper")

LOOK_EVERY_S = 1.0
FULL_LOOK_EVERY_S = 5.0
"""The same where no process wrote and nothing waits for time. An idle process must cost next to
nothing. What no write announces (a folder that was moved, a probe, the death of a process other
than the owner) waits for that look."""
CLOCK_STEP_S = 0.1
"""Difference between wall clock and awake time that no slewing makes between two looks."""
DISPATCHERS_NUDGES = frozenset({"request", "jobs"})
"""Messages on which the keeper itself need not look at once."""
PROBE_EVERY_S = 30.0
GIVE_UP_PATIENCE_S = 2.0
"""How long another thread waits for the keeper's thread to end the term."""


class Keeper:
    """Start with :meth:`begin`, end with :meth:`stop`."""

    def __init__(
        self,
        context: OwnerContext,
        dispatcher: Dispatcher,
        recovery: Recovery,
        waker: Waker,
    ) -> None:
        self._context = context
        self._profile = context.profile
        self._store = context.store
        self._member = context.member
        self._clock = context.clock
        self._probes = context.probes
        self._signals = context.signals
        self._waker = waker
        self._dispatcher = dispatcher
        self._recovery = recovery
        self._on_nudge = context.program.on_nudge
        self._stays_out = context.program.stays_out
        self._peers = Peers(context)
        self._term = ActiveTerm(context, dispatcher, recovery, self._peers)
        self._election = Election(context, self._peers, self._term)
        self._replanner = Replanner(context, dispatcher.look)
        self._purge = HistoryPurge(context)
        self._zone_data = ZoneData()
        self._zone = context.profile.settings().timezone
        self._file_warning: ProfileWarning | None = None
        self._stopping = threading.Event()
        self._why_failed = ""
        self._next_probe = 0.0
        self._more_declared = threading.Event()
        self._may_rest = False
        """After a look: whether only a write or a signal makes the next one worthwhile."""
        self._next_full = 0.0
        self._mark: int | None = None
        self._other_commits = 0
        self._ahead_s: float | None = None
        """By how much the wall clock is ahead of awake time."""
        self._wait_s = LOOK_EVERY_S
        self._woken = True
        self._failed = False
        """Whether the last look raised."""
        self._gave_up = threading.Event()
        self.thread = WatchedThread(
            self._work,
            self._rest,
            name="tenure-keeper",
            is_stopping=self._stopping.is_set,
            ended=lambda why: context.fail(lost_thread(why)),
        )
        self._watches: list[Watch] = []

    # -- from other threads ------------------------------------------------------------------
    def begin(self, *watched: WatchedThread) -> None:
        """Join and start the thread; it also watches ``watched``. Raises what joining raises."""
        self._watches = [Watch(thread, self._clock) for thread in watched]
        self.join()
        self.thread.start()

    def join(self) -> None:
        """Open the control socket and enter the profile, without a thread."""
        control: ControlSocket | None = None
        # Without it, polling suffices.
        with contextlib.suppress(OSError):
            control = ControlSocket(self._member.id, self._heard)
            self._waker.listen(control)
        self._member.join(control.path if control is not None else None)
        if self._member.executes:
            self._waker.watch_launchers(self._member.launchers())

    def wake(self) -> None:
        self._waker.wake()

    def declare_again(self) -> None:
        """More jobs were declared: an owner reconciles them at once."""
        self._more_declared.set()
        self.wake()

    @property
    def authority(self) -> Authority | None:
        return self._term.authority

    def stop(self, why: str) -> None:
        """End the term by a hand-over, then the thread. The process stays joined until leave()."""
        self._stopping.set()
        self.wake()
        self.thread.join(timeout=5)
        self._term.end(OwnershipAction.HAND_OVER, why)
        # While it drains it is not a candidate.
        with contextlib.suppress(TenureError):
            if self._member.executes:
                self._member.say(ProcessStatus.REFUSED, why, None)

    def give_up(self, why: str) -> None:
        """End the term because this process has failed, and stop looking. The keeper's own thread
        does it where it still works, else the calling thread: returns within seconds."""
        self._why_failed = why
        self._stopping.set()
        self.wake()
        if self.thread.is_alive() and not self.thread.is_current():
            self._gave_up.wait(GIVE_UP_PATIENCE_S)
        if not self._gave_up.is_set():
            self._end_failed()

    def _end_failed(self) -> None:
        try:
            self._term.end(OwnershipAction.STEP_DOWN, self._why_failed)
        finally:
            self._gave_up.set()

    def close(self) -> None:
        """After stop: free the thread's resources."""
        self._waker.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child."""
        self._waker.forget_in_child()

    # -- the thread --------------------------------------------------------------------------
    def _work(self) -> bool:
        if not self._stopping.is_set():
            try:
                if self._woken or not self._nothing_new():
                    self._wait_s = self.look()
                awake = self._clock.awake()
                for problem in filter(None, (watch.problem(awake) for watch in self._watches)):
                    self._context.fail(lost_thread(problem))
            except Exception as error:  # noqa: BLE001  it changed nothing; the next tries again
                self._note_error(error)
        if not self._stopping.is_set():
            return True
        if self._why_failed and not self._gave_up.is_set():
            self._end_failed()
        return False

    def _rest(self) -> None:
        """Wait for the next look; after an error without regard to wakeups."""
        try:
            if not self._failed:
                self._woken = self._waker.wait(self._wait_s)
                return
        except Exception as error:  # noqa: BLE001  logged, and the next look tries again
            self._note_error(error)
        self._stopping.wait(LOOK_EVERY_S)
        self._woken, self._failed = True, False

    def _note_error(self, error: Exception) -> None:
        self._failed = True
        # These include a full or failing disk.
        if isinstance(error, (TenureError, OSError)):
            log.warning("%s", error)
        else:
            log.exception("checking the ownership failed")

    def _heard(self, message: dict[str, Any], pid: int | None) -> None:
        request, what = message.get("request"), str(message.get("nudge", ""))
        if isinstance(request, str) and pid is not None:
            with contextlib.suppress(TenureError):
                self._peers.observe_requester(request, pid)
        self._dispatcher.look()
        if what not in DISPATCHERS_NUDGES:
            self.wake()
        if self._on_nudge is not None:
            self._on_nudge(what)

    def _nothing_new(self) -> bool:
        """Whether a look can be skipped. Also wakes the dispatcher where it has work."""
        try:
            mark = self._store.change_mark()
        except CorruptStore:  # its files are not those that were opened: the look says so
            return False
        awake = self._clock.awake()
        ahead = self._clock.now().timestamp() - awake
        others = self._store.commits(besides=(self.thread.ident, self._dispatcher.thread.ident))
        # Perhaps a job, from a thread of the host that wakes no other thread.
        written = mark != self._mark or others != self._other_commits
        # It was set, or the machine slept: what is due comes earlier or later than the dispatcher
        # waits for.
        clock_was_set = self._ahead_s is not None and abs(ahead - self._ahead_s) > CLOCK_STEP_S
        quiet = (
            self._may_rest
            and self._signals.doubt is None
            and self._signals.hand_over is None
            and mark == self._mark
            and not self._profile.policy_file_changed()
            and awake < self._next_full
            and not self._zone_data.replaced()
        )
        if written or clock_was_set:
            self._dispatcher.look()
        self._other_commits, self._ahead_s = others, ahead
        if not quiet:
            self._mark, self._next_full = mark, awake + FULL_LOOK_EVERY_S
        return quiet

    def look(self) -> float:
        """One look, by the thread or by a test; returns the seconds until the next is due."""
        self._may_rest = False
        loss = self._store.loss()
        if loss is not None:
            self._term.lose_the_store(loss)
            self._context.fail(lost_store(loss.text, loss.remedy))
            return LOOK_EVERY_S
        why = self._stays_out()
        if why is not None:
            self._term.end(OwnershipAction.HAND_OVER, why)
            self._member.say(ProcessStatus.REFUSED, why, None)
            return LOOK_EVERY_S
        self._member.look_at_chain()
        now = self._clock.now()
        self._look_at_zone_data(now)
        policy = self._profile.refresh_policy(self._member.id, now)
        self._log_file_warning()
        if self.authority is not None and not (policy.open and self._member.is_same_user()):
            # An owner with nothing to claim must also notice that it is no longer admitted.
            self._member.observe_again(at_most_every=OBSERVE_EVERY_S)
        admission = self._member.admission(policy, owns=self.authority is not None)
        if not self._member.executes:
            self._member.say(ProcessStatus.OBSERVER, admission.why, None)
            self._may_rest = True
            return LOOK_EVERY_S
        ownership = self._term.reconcile(self._store.ownership())
        if self.authority is not None:
            self._peers.look(ownership)
            return self._look_as_owner(admission, ownership)
        return self._look_as_candidate(policy, admission, ownership)

    def _log_file_warning(self) -> None:
        """Once per problem with profile.toml, and once when it is fixed."""
        warning = self._profile.file_warning
        if warning != self._file_warning:
            self._file_warning = warning
            if warning is not None:
                log.warning("%s (%s)", warning.text, warning.remedy)
            else:
                log.info("profile.toml can be read again")

    def _look_as_candidate(self, policy: Policy, admission: Admission, current: Ownership) -> float:
        decision = self._election.look(policy, admission, current)
        move = decision.move
        if move.act is not None:
            self._waker.watch(None)
            return self._term.take(move, current)
        news = self._member.say(decision.standing, decision.why, decision.rule)
        if news and decision.standing is ProcessStatus.REFUSED:
            expected = not (admission.admitted or policy.closed)
            level = logging.INFO if expected else logging.WARNING
            log.log(level, "this process may not become owner: %s", decision.why)
        self._waker.watch(decision.holder)
        self._may_rest = decision.rests and self._waker.is_watching
        again = move.again_in.total_seconds() if move.again_in else LOOK_EVERY_S
        return max(0.01, min(LOOK_EVERY_S, again))

    def _look_as_owner(self, admission: Admission, current: Ownership) -> float:
        if not admission.admitted:
            self._term.end(OwnershipAction.STEP_DOWN, f"no longer admitted: {admission.why}")
            self._member.say(ProcessStatus.REFUSED, admission.why, None)
            return 0.0
        problem = self._election.why_not_able()
        if problem is not None:
            self._term.end(OwnershipAction.STEP_DOWN, problem)
            return LOOK_EVERY_S
        zone, self._zone = self._zone, self._profile.settings().timezone
        if self._more_declared.is_set() or zone != self._zone:
            self._more_declared.clear()
            self._term.prepare_again()
        before = self._term.rank
        if not self._term.work(admission, current):
            return LOOK_EVERY_S
        candidates = self._peers.candidates(self._profile.policy(), self._term.rank)
        successor = self._term.find_successor(candidates, fell=self._term.rank > before)
        if successor is not None:
            if self._term.hand_over(successor):
                self._peers.forget(successor.to)
            return 0.0
        assert self.authority is not None
        self._recovery.settle(self.authority)
        self._look_at_probes()
        self._purge.look(self.authority)
        goes_on = self._replanner.look(self.authority)
        # Notes the files of zones that were used for the first time.
        self._zone_data.replaced()
        rank = self._term.rank
        waits = any(c.rank < rank or (c.newer and c.rank == rank) for c in candidates)
        self._may_rest = not (waits or goes_on)
        return 0.0 if goes_on else LOOK_EVERY_S

    def _look_at_zone_data(self, now: datetime) -> None:
        """Use the rules that an upgrade of the zone data put on disk, without a restart."""
        replaced = self._zone_data.replaced()
        if not replaced:
            return
        # A turn that began with the old rules must not store their results after this.
        self._dispatcher.between_turns(lambda: self._zone_data.reload(replaced))
        self._replanner.begin_again()
        zones = ", ".join(sorted(replaced))
        text = f"time zone rules were replaced on disk ({zones}); due times follow the new rules"
        log.warning("%s", text)
        if self.authority is not None:
            facts = {"code": "zone_rules_replaced", "text": text}
            term, process = self.authority.term, self._member.id
            self._store.record_event(
                EventKind.WARNING, now, term=term, process=process, facts=facts
            )

    def _look_at_probes(self) -> None:
        awake = self._clock.awake()
        if self.authority is not None and self._probes.take_freed():
            self._store.wake_held_jobs(self.authority, self._clock.now())
            self._dispatcher.look()
        denied = self._probes.denied()
        if denied and awake >= self._next_probe:
            self._next_probe = awake + PROBE_EVERY_S
            self._probes.ask_soon(denied, self._clock.awake, self._probed)

    def _probed(self, freed: bool) -> None:
        if freed:
            self.wake()
