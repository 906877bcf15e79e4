"""What a web process shows: a home, its profiles opened once each, its tokens, its clock.

Each profile that is shown is joined as an observer (``executes=False``, role ``dashboard``), so
that `tenure status` lists the page among the processes of the profile. A profile that was removed
or replaced meanwhile is opened again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from tenure.domain.errors import InvalidInput, NotFound, TenureError
from tenure.domain.process import ProcessStatus
from tenure.host.clocks import Clock, SystemClock
from tenure.host.zone_data import ZoneData
from tenure.runtime.members import ProfileMember
from tenure.runtime.profile import Profile
from tenure.store.folder.layout import list_profiles
from tenure.surfaces.web.tokens import Tokens

ROLE = "dashboard"
log = logging.getLogger("tenure.web")


@dataclass(frozen=True, slots=True)
class _Open:
    profile: Profile
    member: ProfileMember | None


class Site:
    """Thread-safe. Close it when done."""

    def __init__(
        self,
        home: Path,
        tokens: Tokens,
        *,
        hosts: Collection[str] = (),
        clock: Clock | None = None,
        joined: Collection[str] = (),
    ) -> None:
        """``hosts``: names that browsers may use besides those of loopback. ``joined``: profiles
        that this process has joined already, in another role."""
        self.home = home
        self.tokens = tokens
        self.hosts = frozenset(hosts)
        self.clock = clock or SystemClock()
        self._joined = frozenset(joined)
        self._open: dict[str, _Open] = {}
        self._retired: list[_Open] = []
        self._lock = threading.Lock()
        self._closed = False
        self._zone_data = ZoneData()

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return self.clock.now()

    def names(self) -> list[str]:
        """The profiles of the home, sorted, whether they are open or not."""
        return list_profiles(self.home)

    def profile(self, name: str) -> Profile:
        """The opened profile. Blocks while it is opened for the first time.

        Raises NotFound, also for a name that no profile can have; what ``Profile.open`` raises.
        """
        self._zone_data.refresh()
        entry = self._open.get(name)
        if entry is not None and _is_current(entry.profile):
            return entry.profile
        with self._lock:
            if self._closed:
                raise TenureError("the dashboard is closing")
            entry = self._open.get(name)
            if entry is None or not _is_current(entry.profile):
                # Others may still be reading the old one: it is closed with the site.
                if entry is not None:
                    self._retired.append(self._open.pop(name))
                entry = self._open[name] = self._enter(name)
            return entry.profile

    def opened(self) -> tuple[str, ...]:
        """The names of those that are open now."""
        return tuple(self._open)

    def close(self) -> None:
        """Leave and close every profile. May be called again."""
        with self._lock:
            self._closed = True
            for entry in [*self._open.values(), *self._retired]:
                if entry.member is not None:
                    entry.member.leave("its dashboard was closed")
                with contextlib.suppress(TenureError):
                    entry.profile.close()
            self._open.clear()
            self._retired.clear()

    def _enter(self, name: str) -> _Open:
        try:
            profile = Profile.open(name, home=self.home)
        except InvalidInput as error:
            raise NotFound(
                f"profile {name[:80]!r} does not exist", remedy="`tenure profile list` shows them"
            ) from error
        return _Open(profile, None if name in self._joined else self._join(profile))

    def _join(self, profile: Profile) -> ProfileMember | None:
        # A page is shown also where nothing can be written: it is then not listed.
        try:
            member = ProfileMember(profile, clock=self.clock, role=ROLE, executes=False)
            member.join(None)
            member.say(ProcessStatus.OBSERVER, "displays the profile and never runs jobs", None)
        except (TenureError, OSError) as error:
            log.warning("not listed among the processes of %s: %s", profile.name, error)
            return None
        return member


def _is_current(profile: Profile) -> bool:
    # Two calls of stat(2): cheap enough for every request.
    return profile.folder.is_current() and profile.store.is_same_file()


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _opened(profile: str, request: Request) -> Profile:
    """The profile of the path. Raises NotFound, which is shown as a page or as a problem."""
    return site_of(request).profile(profile)


async def _now(request: Request) -> datetime:
    return site_of(request).now()


SiteDep = Annotated[Site, Depends(site_of)]
ProfileDep = Annotated[Profile, Depends(_opened)]
NowDep = Annotated[datetime, Depends(_now)]
