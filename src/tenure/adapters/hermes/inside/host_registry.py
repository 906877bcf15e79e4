"""The seats of this process: one for each adopted Hermes home that it works on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.link import Link, read_link
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.replacement import original_of

if TYPE_CHECKING:  # loaded with the first seat: most processes of Hermes never need one
    from tenure.adapters.hermes.inside.host import Seat

LEAVING = 3600.0
"""Seconds that runs under way get, when their home is released, to say how they ended."""


class Seats:
    """Thread-safe. Whether a home is adopted is read anew each time: one file, opened or not."""

    def __init__(self) -> None:
        self._seats: dict[HermesHome, Seat] = {}
        self._leaving: list[Seat] = []
        self._lock = threading.Lock()

    def of(self, home: HermesHome) -> Seat | None:
        """None where the home is not adopted (any more): Hermes then does as it always did."""
        link = read_link(home)
        with self._lock:
            old = self._seats.get(home)
            if old is not None and old.link == link:
                return old
            self._seats.pop(home, None)
            seat = None
            if link is not None:
                seat = self._seats[home] = _seat(link)
        if old is not None:
            self._leave(old)
        return seat

    def marked(self, job_id: str, *how: Any) -> None:
        """A run of one of them was written down."""
        for seat in (*list(self._seats.values()), *self._leaving):
            seat.carrying.marked(job_id, *how)

    def _leave(self, seat: Seat) -> None:
        if not seat.carrying.active():
            seat.close()
            return
        self._leaving.append(seat)
        threading.Thread(
            target=self._close_later, args=(seat,), name="tenure-hermes-leaving", daemon=True
        ).start()

    def _close_later(self, seat: Seat) -> None:
        try:
            seat.close(LEAVING)
        finally:
            self._leaving.remove(seat)

    def close(self) -> None:
        with self._lock:
            seats, self._seats = list(self._seats.values()), {}
        for seat in seats:
            seat.close()

    def forget_in_child(self) -> None:
        self._lock = threading.Lock()
        seats, self._seats = [*self._seats.values(), *self._leaving], {}
        self._leaving = []
        for seat in seats:
            seat.forget_in_child()


seats = Seats()


def _seat(link: Link) -> Seat:
    """Raises RuntimeError if what it needs cannot be loaded: then nothing runs."""
    try:
        from tenure.adapters.hermes.inside.host import Seat
        from tenure.adapters.hermes.inside.run_handoff import Originals
    except Exception as error:
        why = f"Tenure cannot be loaded here ({type(error).__name__}: {error})"
        raise RuntimeError(f"refused: {why}; run: tenure hermes status") from error
    scheduler = hermes_api.scheduler_module()
    whole = hasattr(scheduler, "run_one_job")
    originals = Originals(
        tick=original_of(scheduler.tick),
        body=original_of(scheduler.run_one_job if whole else scheduler.run_job),
        whole=whole,
    )
    return Seat(link, originals)
