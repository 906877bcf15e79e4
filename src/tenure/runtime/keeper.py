"""The keeper: one thread that joins, competes, watches over ownership, and lets go of it.

    refused <--> candidate --take--> owner --hand over, step down, deposed--> candidate

Every decision is :mod:`tenure.domain.ownership`'s and :mod:`tenure.domain.policy`'s; the keeper
brings them the facts: evidence, who lives (from the kernel), for how long a better process has
been away. It looks once a second, and at once when the owner's process dies (a death notice from
the kernel), when somebody nudges the control socket, or when another thread wakes it.

As owner it also settles what dead processes left behind: it adopts their commands that live,
reads the exit records of those that ended, and declares the rest never run or lost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Container
from datetime import timedelta
from typing import Any

from tenure.domain.errors import (
    Conflict,
    Damaged,
    InvalidInput,
    Refused,
    StaleTerm,
    TenureError,
)
from tenure.domain.ownership import (
    RESERVED_FOR,
    Act,
    Authority,
    Contender,
    Hold,
    HolderLife,
    Move,
    Ownership,
    consider,
    should_yield,
    should_yield_to_newer,
)
from tenure.domain.plan import Standing as OwnerStanding
from tenure.domain.policy import Admission, Policy
from tenure.domain.process import Process, Standing
from tenure.domain.request import Request, RequestState
from tenure.domain.settings import Hung
from tenure.host.clocks import Clock
from tenure.host.processes import boot_id
from tenure.runtime.alarm import Alarm
from tenure.runtime.control import ControlSocket, tell
from tenure.runtime.dispatcher import Dispatcher, Mandate
from tenure.runtime.liveness import life_of_process
from tenure.runtime.member import Member
from tenure.runtime.peers import Peers
from tenure.runtime.probes import Probes
from tenure.runtime.profile import Profile
from tenure.runtime.recovery import Recovery
from tenure.store import profile_id

log = logging.getLogger("tenure.keeper")

LOOK_EVERY = 1.0
CANNOT_BEGIN_HOLD_OFF = 30.0
FULL_LOOK_EVERY = 5.0
PROBE_EVERY = 30.0
OBSERVE_EVERY = 10.0
DEPOSED_HOLD_OFF = 10.0
"""Seconds of awake time for which a deposed owner leaves the place to others."""
SOON_HUNG = timedelta(seconds=1)
"""An owner that leaves a due fire for so long is looked at every second."""
CLOCK_SET = 0.1
"""Seconds between the wall clock and awake time that no slewing makes between two looks."""
OPEN_RANK = 0


class Keeper:
    """Owns the membership of this process. Start with :meth:`begin`, end with :meth:`stop`."""

    def __init__(
        self,
        profile: Profile,
        member: Member,
        *,
        clock: Clock,
        dispatcher: Dispatcher,
        recovery: Recovery,
        probes: Probes,
        default_hung: Hung,
        on_owning: Callable[[Authority], None] | None = None,
        upkeep: Callable[[], None] | None = None,
        on_nudge: Callable[[str], None] | None = None,
        stays_out: Callable[[], str | None] = lambda: None,
        carried: Container[str] | None = None,
    ) -> None:
        self._profile = profile
        self._store = profile.store
        self._member = member
        self._clock = clock
        self._dispatcher = dispatcher
        self._recovery = recovery
        self._probes = probes
        self._default_hung = default_hung
        self._on_owning = on_owning
        self._upkeep = upkeep
        self._on_nudge = on_nudge
        self._stays_out = stays_out
        self._carried = carried
        self._peers = Peers(profile, member, clock)
        self._authority: Authority | None = None
        self._rank = OPEN_RANK
        self._prepared = False
        self._deposed_why: str | None = None
        self._hand_over: Request | None = None
        self._hold_off = 0.0
        self._stopping = threading.Event()
        self._alarm = Alarm()
        self._next_probe = 0.0
        self._next_full = 0.0
        self._mark: int | None = None
        self._ahead: float | None = None
        """By how much the wall clock is ahead of awake time, in seconds."""
        self._gives_way_until: float | None = None
        self._more_declared = threading.Event()
        self._may_rest = False
        """After a look: whether the next is only worth while when something was written."""
        self._thread = threading.Thread(target=self._loop, name="tenure-keeper", daemon=True)

    # -- from other threads ------------------------------------------------------------------
    def begin(self) -> None:
        """Join, and start to look. Raises what joining raises."""
        self.join()
        self._thread.start()

    def join(self) -> None:
        """Open the control socket and enter the profile, without a thread."""
        control: ControlSocket | None = None
        with contextlib.suppress(OSError):  # without it, polling suffices
            control = ControlSocket(self._member.id, self._heard)
            self._alarm.listen(control)
        self._member.join(control.path if control is not None else None)

    def wake(self) -> None:
        self._alarm.ring()

    def deposed(self, why: str) -> None:
        """The dispatcher was refused: look into it."""
        self._deposed_why = why
        self.wake()

    def declare_again(self) -> None:
        """More jobs were declared: an owner brings them in line at once."""
        self._more_declared.set()
        self.wake()

    def asked_to_hand_over(self, request: Request) -> None:
        self._hand_over = request
        self.wake()

    def recheck(self) -> bool:
        """Read the changeable evidence again; whether this owner is still authoritative."""
        self._member.observe_again()
        admission = self._member.admission(self._profile.policy())
        if not (admission.admitted and admission.authoritative):
            self.wake()
            return False
        return True

    @property
    def authority(self) -> Authority | None:
        return self._authority

    def stop(self, why: str) -> None:
        """End the term by a hand-over, and the thread. The process stays joined till leave()."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        self._let_go(Act.HAND_OVER, why)

    def close(self) -> None:
        """After stop: free what the thread used."""
        self._alarm.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child."""
        self._alarm.forget_in_child()

    # -- the thread --------------------------------------------------------------------------
    def _loop(self) -> None:
        rang, wait = True, LOOK_EVERY
        while not self._stopping.is_set():
            try:
                if rang or not self._nothing_new():
                    wait = self.look()
                rang = not self._stopping.is_set() and self._alarm.wait(wait)
            except (TenureError, OSError) as error:  # a full or failing disk among them
                log.warning("%s", error)
                rang = True
            except Exception:  # a look that failed changed nothing; the next one tries again
                log.exception("a look failed")
                rang = True
            else:
                continue
            self._stopping.wait(LOOK_EVERY)

    def _heard(self, message: dict[str, Any], pid: int | None) -> None:
        request = message.get("request")
        if isinstance(request, str) and pid is not None:
            with contextlib.suppress(TenureError):
                self._peers.observe_requester(request, pid)
        self._dispatcher.look()
        if self._on_nudge is not None:
            self._on_nudge(str(message.get("nudge", "")))

    def _nothing_new(self) -> bool:
        """Whether a look can be spared: nobody has written anything, and nothing waits for time.

        What no write tells (a folder that was moved, a probe, the death of somebody else than the
        owner) waits for the look that follows within FULL_LOOK_EVERY.
        """
        awake = self._clock.awake()
        mark = self._store.change_mark()
        quiet = (
            self._may_rest
            and self._deposed_why is None
            and self._hand_over is None
            and mark == self._mark
            and not self._profile.policy_file_changed()
            and self._store.is_same_file()
            and awake < self._next_full
        )
        if mark != self._mark or self._clock_was_set():
            self._dispatcher.look()
        if not quiet:
            self._mark, self._next_full = mark, awake + FULL_LOOK_EVERY
        return quiet

    def _clock_was_set(self) -> bool:
        """Whether the wall clock parted from the one that waits go by, since it was last asked: it
        was set, or the machine slept. What is due comes earlier or later than it is waited for."""
        ahead = self._clock.now().timestamp() - self._clock.awake()
        was, self._ahead = self._ahead, ahead
        return was is not None and abs(ahead - was) > CLOCK_SET

    def look(self) -> float:
        """One look, by the thread or by a test; the seconds until the next is due."""
        self._may_rest = False
        if not self._store.is_same_file():
            self._gone_astray()
            return LOOK_EVERY
        why = self._stays_out()
        if why is not None:
            self._let_go(Act.HAND_OVER, why)
            self._member.say(Standing.REFUSED, why, None)
            return LOOK_EVERY
        now = self._clock.now()
        policy, _ = self._profile.refresh_policy(self._member.id, now)
        if self._authority is not None and not (policy.open and self._member.is_same_user()):
            # An owner with nothing to claim is to notice too that it is no longer admitted.
            self._member.observe_again(at_most_every=OBSERVE_EVERY)
        admission = self._member.admission(policy)
        if not self._member.executes:
            self._member.say(Standing.OBSERVER, admission.why, None)
            self._may_rest = True
            return LOOK_EVERY
        ownership = self._store.ownership()
        self._notice_loss(ownership)
        if self._authority is None and ownership.process == self._member.id:
            ownership = self._finish_letting_go(ownership)
        if self._authority is not None:
            self._peers.look(policy, ownership)
            return self._look_as_owner(admission, ownership)
        return self._look_as_contender(policy, admission, ownership)

    # -- not the owner -----------------------------------------------------------------------
    def _look_as_contender(self, policy: Policy, admission: Admission, current: Ownership) -> float:
        why_not = self._why_not_able() if admission.admitted else None
        rank = admission.rule.rank if admission.rule else OPEN_RANK
        holder, life = self._holder(current)
        if life is not HolderLife.ALIVE or rank > 0:  # else that is the owner's to do
            self._peers.look(policy, current)
        if not admission.admitted or why_not is not None:
            # Evidence may change: a service manager moves processes after their start.
            self._member.observe_again(at_most_every=OBSERVE_EVERY)
            why = why_not or admission.why
            if self._member.say(Standing.REFUSED, why, rank if admission.rule else None):
                log.log(logging.WARNING if why_not else logging.INFO, "no candidate: %s", why)
            self._alarm.watch(None)
            return LOOK_EVERY
        me = Contender(
            process=self._member.id,
            admitted=True,
            rank=rank,
            after=admission.after,
            better_absent_for=self._peers.better_absent_for(rank),
            hung_for=self._peers.hung_for(current),
            replaces_hung=self._replaces_hung(),
        )
        move = consider(me, self._clock.now(), current, life)
        move = self._unless_newer(move, policy, current, rank)
        if move.act is not None and self._clock.awake() >= self._hold_off:
            return self._take(move, admission, current)
        self._member.say(Standing.CANDIDATE, f"{admission.why}; {move.why}", rank)
        self._alarm.watch(holder if life is HolderLife.ALIVE else None)
        self._may_rest = (
            move.again_in is None and self._alarm.is_watching and me.hung_for < SOON_HUNG
        )
        again = move.again_in.total_seconds() if move.again_in else LOOK_EVERY
        return max(0.01, min(LOOK_EVERY, again))

    def _unless_newer(self, move: Move, policy: Policy, current: Ownership, rank: int) -> Move:
        """Of two versions of one app the newer goes first, so that a deploy changes the
        declarations once; for a while, since its process may be frozen."""
        if move.act is Act.TAKE_BY_FORCE:
            self._peers.look(policy, current)
        newer = self._peers.newer_candidate(rank) if move.act is not None else None
        if newer is None:
            self._gives_way_until = None
            return move
        awake = self._clock.awake()
        if self._gives_way_until is None:
            self._gives_way_until = awake + RESERVED_FOR.total_seconds()
        if awake >= self._gives_way_until:
            return move
        why = f"{newer.process}, of a newer version, goes first"
        return Move(act=None, why=why, again_in=timedelta(seconds=0.2))

    def _why_not_able(self) -> str | None:
        try:
            problem = self._profile.identity_problem()
        except Damaged as error:
            return str(error)
        if problem is not None:
            return f"{problem.text} ({problem.remedy})"
        return self._peers.why_app_refused()

    def _holder(self, current: Ownership) -> tuple[Process | None, HolderLife | None]:
        if current.hold is Hold.VACANT or current.process is None:
            return None, None
        holder = self._store.process(current.process)
        return holder, life_of_process(self._profile, holder)

    def _replaces_hung(self) -> bool:
        return (self._profile.settings().hung or self._default_hung) is Hung.REPLACE

    def _take(self, move: Move, admission: Admission, current: Ownership) -> float:
        """Reserve a term outside the store, take it there, record it outside again (C1)."""
        assert move.act is not None
        self._member.observe_again(at_most_every=0.0)
        policy = self._profile.policy()
        admission = self._member.admission(policy)
        if not admission.admitted:
            return 0.0
        if self._store.ownership().term != current.term:
            return 0.0  # somebody was faster: no need to reserve a term for nothing
        folder = self._profile.folder
        term = profile_id.reserve_term(folder, self._store.facts().term)
        now = self._clock.now()
        try:
            authority = self._store.take_ownership(
                process=self._member.id,
                act=move.act,
                expected_term=current.term,
                new_term=term,
                rule=admission.rule.rank if admission.rule else None,
                authoritative=admission.authoritative,
                policy_version=policy.version,
                boot_id=boot_id(),
                awake=self._clock.awake(),
                now=now,
                why=move.why,
            )
        except (Conflict, Refused) as error:
            log.info("somebody else was first: %s", error)
            return 0.05
        profile_id.commit_term(folder, term)
        self._owns(authority, admission)
        return 0.0

    def _owns(self, authority: Authority, admission: Admission) -> None:
        self._authority = authority
        self._deposed_why = None
        self._rank = admission.rule.rank if admission.rule else OPEN_RANK
        self._alarm.watch(None)
        self._prepared = False
        log.info("owner of %s, term %s: %s", self._profile.name, authority.term, admission.why)
        self._prepare(admission)
        self._mandate(admission)

    def _prepare(self, admission: Admission) -> None:
        """What must be done before the first claim of a term; begun anew if it is cut short."""
        authority = self._authority
        assert authority is not None
        worse = range(self._rank + 1, len(self._profile.policy().rules))
        if worse:
            self._store.end_absence(worse)
        self._store.restart_planning(authority, self._clock.now())
        if self._on_owning is not None:
            self._on_owning(authority)
        if self._carried is not None:  # an owner of another version may have held some
            self._store.revisit_held(authority, self._clock.now())
        # Said before anything is claimed: see Recovery, which reads it of a deposed process.
        self._member.say(
            Standing.OWNER, admission.why, admission.rule.rank if admission.rule else None
        )
        # What the dead left behind ends first: their runs are not previous runs that still go on.
        self._recovery.settle(authority)
        self._prepared = True

    def _mandate(self, admission: Admission) -> None:
        assert self._authority is not None
        self._dispatcher.own(
            Mandate(
                authority=self._authority,
                standing=OwnerStanding(
                    authoritative=admission.authoritative,
                    approve_protected=self._profile.settings().approve_protected,
                    carried=self._carried,
                ),
            )
        )

    # -- the owner ---------------------------------------------------------------------------
    def _notice_loss(self, current: Ownership) -> None:
        """Whether the term that we believe to hold is still ours."""
        mine = self._authority
        if mine is None:
            return
        if current.hold is Hold.HELD and (current.term, current.process) == (
            mine.term,
            mine.process,
        ):
            if self._deposed_why is not None and self._store.is_same_file():
                # Only the policy had moved on; the look below reaffirms or steps down.
                self._deposed_why = None
                self._authority = Authority(
                    term=mine.term, process=mine.process, policy_version=current.policy_version
                )
            elif self._deposed_why is not None:
                self._let_go(Act.STEP_DOWN, self._deposed_why)
            return
        log.warning("deposed: term %s is over (%s)", mine.term, current.ended_why)
        # Somebody wanted it to let go: it does not take the place again at once.
        self._hold_off = self._clock.awake() + DEPOSED_HOLD_OFF
        self._dispatcher.disown()
        self._authority = None

    def _finish_letting_go(self, current: Ownership) -> Ownership:
        """The record says that we own, and we do not act on it: a take, or the end of a term, was
        cut short by an error. End it, and take anew."""
        if current.authority is not None:
            self._authority = current.authority
            self._let_go(Act.STEP_DOWN, "its taking or its end had been cut short")
        return self._store.ownership()

    def _gone_astray(self) -> None:
        """Another file stands in the database's place, or none: nothing can be said to it."""
        self._dispatcher.disown()
        authority, self._authority = self._authority, None
        if authority is not None:
            log.error(
                "term %s ended: the database at its path is not the one that this process opened; "
                "`tenure status` says what to do about it, then restart this process",
                authority.term,
            )

    def _look_as_owner(self, admission: Admission, current: Ownership) -> float:
        assert self._authority is not None
        if not admission.admitted:
            self._let_go(Act.STEP_DOWN, f"no longer admitted: {admission.why}")
            self._member.say(Standing.REFUSED, admission.why, None)
            return 0.0
        problem = self._why_not_able()
        if problem is not None:
            self._let_go(Act.STEP_DOWN, problem)
            return LOOK_EVERY
        self._reaffirm(admission, current)
        if self._more_declared.is_set():
            self._more_declared.clear()
            self._prepared = False
        if not self._prepared:
            if not self._prepare_or_let_go(admission):
                return LOOK_EVERY
            self._dispatcher.look()  # which may rest, and knows nothing of what is new
        if not self._dispatcher.owns(self._authority):
            self._mandate(admission)
        if self._yields():
            return LOOK_EVERY
        self._recovery.settle(self._authority)
        self._look_at_probes()
        if self._upkeep is not None:
            self._upkeep()
        best = self._peers.best_candidate()
        better = best is not None and best.rank < self._rank
        self._may_rest = not better and self._peers.newer_candidate(self._rank) is None
        return LOOK_EVERY

    def _reaffirm(self, admission: Admission, current: Ownership) -> None:
        """Bring the record in line with a policy that changed; the term stays."""
        assert self._authority is not None
        policy = self._profile.policy()
        rank = admission.rule.rank if admission.rule else None
        same = (current.policy_version, current.rule, current.authoritative) == (
            policy.version,
            rank,
            admission.authoritative,
        )
        if same and self._authority.policy_version == policy.version:
            return
        self._authority = self._store.reaffirm(
            self._authority,
            rule=rank,
            authoritative=admission.authoritative,
            policy_version=policy.version,
            now=self._clock.now(),
        )
        self._rank = rank if rank is not None else OPEN_RANK
        self._dispatcher.disown()
        self._member.say(Standing.OWNER, admission.why, rank)

    def _prepare_or_let_go(self, admission: Admission) -> bool:
        """An owner that can never begin (its declarations are refused) must not keep the place."""
        try:
            self._prepare(admission)
        except StaleTerm:
            raise
        except (Conflict, InvalidInput, Refused) as error:
            self._let_go(Act.STEP_DOWN, f"it cannot begin: {error}")
            self._hold_off = self._clock.awake() + CANNOT_BEGIN_HOLD_OFF
            return False
        return True

    def _yields(self) -> bool:
        """Hand over on request, or to a better-ranked candidate that has lived long enough."""
        request, self._hand_over = self._hand_over, None
        if request is not None:
            return self._answer_hand_over(request)
        best = self._peers.best_candidate()
        if best is not None and should_yield(self._rank, best.rank, best.lived_for):
            self._let_go(Act.HAND_OVER, f"{best.process} ranks better", reserved_for=best.process)
            return True
        newer = self._peers.newer_candidate(self._rank)
        if newer is not None and should_yield_to_newer(newer.lived_for):
            why = f"{newer.process} is of a newer version"
            self._let_go(Act.HAND_OVER, why, reserved_for=newer.process)
            return True
        return False

    def _answer_hand_over(self, request: Request) -> bool:
        assert self._authority is not None
        now = self._clock.now()
        to = request.to_process
        best = self._peers.best_candidate()
        if to is None and best is not None:
            to = best.process
        if to is None or not self._peers.is_candidate(to):
            why = f"{to} is no living candidate" if to else "there is no other candidate"
            with contextlib.suppress(TenureError):
                self._store.answer(
                    request.id,
                    RequestState.REFUSED,
                    authority=self._authority,
                    now=now,
                    answer=why,
                    remedy="`tenure status` lists the candidates; `tenure owner release` lets go "
                    "without one",
                )
            return False
        try:
            answered = self._store.answer(
                request.id,
                RequestState.DONE,
                authority=self._authority,
                now=now,
                answer=f"handed over to {to}",
            )
        except TenureError as error:  # withdrawn, or answered by now
            log.info("no hand-over: %s", error)
            return False
        if answered.state is not RequestState.DONE:
            return False
        self._let_go(Act.HAND_OVER, f"asked by {request.requester.describe()}", reserved_for=to)
        return True

    def _let_go(self, act: Act, why: str, *, reserved_for: str | None = None) -> None:
        """Stop claiming, then end the term; candidates are told at once."""
        authority, self._authority = self._authority, None
        if authority is None:
            return
        self._dispatcher.disown()
        now = self._clock.now()
        until = now + RESERVED_FOR if reserved_for else None
        # One commit: who says 'owner' and does not own was deposed, and has not noticed.
        standing = Standing.CANDIDATE if act is Act.HAND_OVER else Standing.REFUSED
        with contextlib.suppress(TenureError), self._store.batch():
            self._store.end_term(
                authority,
                act=act,
                why=why,
                now=now,
                reserved_for=reserved_for,
                reserved_until=until,
            )
            self._member.say(standing, f"its term {authority.term} ended: {why}", self._rank)
        self._hold_off = (
            self._clock.awake()
            + (RESERVED_FOR if reserved_for else timedelta(seconds=1)).total_seconds()
        )
        log.info("term %s ended: %s", authority.term, why)
        for socket in self._peers.sockets():
            tell(socket, {"nudge": "ownership"})

    def _look_at_probes(self) -> None:
        awake = self._clock.awake()
        if self._authority is not None and self._probes.take_freed():
            self._store.revisit_held(self._authority, self._clock.now())
            self._dispatcher.look()
        denied = self._probes.all_denied()
        if denied and awake >= self._next_probe:
            self._next_probe = awake + PROBE_EVERY
            self._probes.ask_soon(denied, self._clock.awake, self._probed)

    def _probed(self, freed: bool) -> None:
        if freed:
            self.wake()
