"""The thread that polls one profile, four times a second, while a stream is open."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tenure.domain.errors import TenureError
from tenure.surfaces.web.live.changes import TOPICS, ChangePoller, Changes
from tenure.surfaces.web.live.news import Update, make_update, unreadable_update
from tenure.surfaces.web.site import Site

POLL_INTERVAL_S = 0.25
log = logging.getLogger("tenure.web")


class Watcher:
    """Tells each piece of news from its own thread. What fails is tried again at the next look."""

    def __init__(self, site: Site, profile: str, tell: Callable[[Update], None]) -> None:
        self._site = site
        self._profile = profile
        self._tell = tell
        self._over = threading.Event()
        self._looker: ChangePoller | None = None
        self._failing = False

    def start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"tenure-web-{self._profile}", daemon=True)
        thread.start()

    def stop(self) -> None:
        """It ends within one interval; the caller does not wait."""
        self._over.set()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    self._look()
                    self._failing = False
                except (TenureError, OSError) as error:
                    self._failed(error)
                self._over.wait(POLL_INTERVAL_S)
        finally:
            self._close()

    def _look(self) -> None:
        profile = self._site.profile(self._profile)
        looker = self._looker
        if looker is not None and looker.profile is profile:
            news = looker.look()
        else:
            self._close()
            looker = self._looker = ChangePoller(profile, self._site.clock)
            news = Changes(topics=TOPICS, owner=looker.owner)
        if news:
            self._tell(make_update(news, mark=looker.mark_text, owner=looker.owner))

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.warning("cannot look at the profile %s: %s", self._profile, error)
            self._tell(unreadable_update())
        self._failing = True
        self._close()

    def _close(self) -> None:
        looker, self._looker = self._looker, None
        if looker is not None:
            looker.close()
