"""This process as a host of one adopted Hermes home: its ticks, runs and requests.

tick     the owner's runs under a lock of its own, and each due job is claimed before Hermes
         runs it; a tick of any other process is refused
run      only with a claimed run; every other way to run a job is refused
request  a trigger is a request to the owner, also in the owner's own process
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tenure.adapters.hermes.adopt.fence import assert_fence, fence_exists
from tenure.adapters.hermes.facts.adoption_record import AdoptionLink
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.hermes_api import Originals, TickerCall
from tenure.adapters.hermes.inside.membership import APP, ProfileMembership
from tenure.adapters.hermes.inside.refusals import Refusals
from tenure.adapters.hermes.inside.run_handoff import RunHandoff
from tenure.domain.errors import TenureError
from tenure.domain.process import ProcessStatus

log = logging.getLogger("tenure.hermes")

CLAIM_WAIT_S = 3.0
"""How long a tick waits for an owner that has the term but has not begun to claim."""


class HermesHost:
    """Thread-safe. Made for one adoption; a changed adoption gets a new host."""

    def __init__(self, link: AdoptionLink, originals: Originals) -> None:
        self.link = link
        self.home = link.home
        self.membership = ProfileMembership(link)
        self.refusals = Refusals(self.membership)
        self.handoff = RunHandoff(self.membership, self.refusals, originals)
        self._originals = originals
        self._nudge_lock = threading.Lock()
        self._tick_wanted: bool | None = None
        """Whether a tick was requested; None while no thread runs to carry it out."""

    # -- ticks -------------------------------------------------------------------------------
    def tick(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """A tick of this process: Hermes' own if it owns, else refused."""
        why = self.link.refusal or self._why_not_owner()
        if why:
            return self.refusals.tick(why, args, kwargs)
        self.handoff.ticker_call = TickerCall.of(args, kwargs)
        return self._tick(*args, **kwargs)

    def _tick(self, *args: Any, **kwargs: Any) -> int:
        repaired = assert_fence(self.home)
        if self.refusals.log_change("fence", repaired or "") and repaired:
            self.refusals.record("fence", repaired)
        membership = self.membership
        try:
            assert membership.profile is not None
            membership.mirrored = membership.follow(membership.profile, whole=True)
        except Exception as error:  # noqa: BLE001  a damaged jobs.json or sidecar: nothing may run
            self.refusals.log_change(
                "follow", f"the jobs cannot be mirrored, so no job runs: {error}"
            )
            return 0
        self.refusals.log_change("follow", "")
        for id, problem in membership.mirrored.problems.items():
            self.refusals.log_change(id, f"job {id} cannot be mirrored, and is not run: {problem}")
        thread = self.handoff.thread
        thread.ticking, thread.claimed = True, ()
        try:
            return self._originals.tick(*args, **kwargs)
        finally:
            thread.ticking = False
            self.handoff.settle()

    def _why_not_owner(self) -> str:
        """Empty if this process owns. The first call joins, and waits for the decision."""
        try:
            scheduler = self.membership.join(_Functions(self.handoff.run_now), self._nudged)
        except TenureError as error:
            return f"{error.text} ({error.remedy})" if error.remedy else error.text
        except Exception as error:  # noqa: BLE001  a full disk, for example: then nothing may run
            return f"it cannot join the Tenure profile: {type(error).__name__}: {error}"
        began = time.monotonic()
        while not self.owns():
            decision = scheduler.member.said
            standing, why = decision or (ProcessStatus.CANDIDATE, "the owner is not decided yet")
            if standing is ProcessStatus.OWNER:
                deadline, why = began + CLAIM_WAIT_S, "it has just become the owner"
            elif standing is ProcessStatus.CANDIDATE:
                deadline = self.membership.decision_deadline
            else:
                deadline = 0.0
            if time.monotonic() >= deadline:
                return why
            time.sleep(0.02)
        return ""

    def owns(self) -> bool:
        """Whether this process owns, and has begun to claim."""
        return self.membership.owns()

    def lock_paths(self, folder: Any, path: Any) -> tuple[Any, Any]:
        """Where a tick locks: the owner's own file beside the fence, else the fence."""
        # Without a fence it must be Hermes' own lock: nothing else then separates this process
        # from processes that do not obey Tenure.
        if self.handoff.thread.ticking and fence_exists(self.home):
            return folder, self.home.tenure / "tick.lock"
        return folder, path

    # -- ticks on request --------------------------------------------------------------------
    def _nudged(self, nudge: str) -> None:
        """A tick was requested."""
        if nudge != "tick" or not self.owns():
            return
        # It runs on a thread of its own, since it may wait for a lock: one at a time, and once more
        # if another request arrives meanwhile.
        with self._nudge_lock:
            idle, self._tick_wanted = self._tick_wanted is None, True
        if idle:
            threading.Thread(
                target=self._tick_on_request, name="tenure-hermes-tick", daemon=True
            ).start()

    def _tick_on_request(self) -> None:
        while True:
            with self._nudge_lock:
                self._tick_wanted = False if self._tick_wanted else None
                if self._tick_wanted is None:
                    return
            try:
                with hermes_api.scoped(self.home):
                    self._tick(verbose=False, sync=False, **self.handoff.ticker_call.arguments())
            except Exception:
                log.exception("the requested tick failed")

    def close(self, drain: float = 1.0) -> None:
        """Hand over at once; close when active runs have ended, or after ``drain`` seconds."""
        self.membership.leave(drain)

    def forget_in_child(self) -> None:
        """After a fork, in the child: ownership and threads stay with the parent."""
        self.membership.forget_in_child()


class _Functions(Mapping[str, Callable[..., Any]]):
    """The function of every ``hermes:<id>``."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def __getitem__(self, target: str) -> Callable[..., Any]:
        app, _, id = target.partition(":")
        if app != APP or not id:
            raise KeyError(target)
        return lambda **_: self._run(id)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
