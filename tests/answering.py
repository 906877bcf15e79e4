"""An owner that resolves requests, on a thread instead of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tenure.domain.request import Request, RequestState
from tenure.runtime.profile import Profile
from waiting import DEADLINE


class Answering:
    """Resolves requests on its own thread and connection."""

    def __init__(self, home: Path, answer: Callable[[Profile, Request], None]) -> None:
        self._home = home
        self._answer = answer
        self._stop = threading.Event()
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self.errors, self.errors

    def _loop(self) -> None:
        profile = Profile.open("default", home=self._home)
        try:
            while not self._stop.wait(0.005):
                for request in profile.store.requests(states=frozenset({RequestState.PENDING})):
                    self._answer(profile, request)
        except BaseException as error:  # the test must hear of it
            self.errors.append(error)
            raise
        finally:
            profile.close()
