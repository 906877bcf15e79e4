"""Whether the rules of a zone in use were replaced on disk: an upgrade of tzdata, mostly.

A process reads the rules of a zone once. Governments change them at three days' notice, and the
system's packages replace the files under running programs; a scheduler that goes on by the old
rules fires an hour off until it is restarted. Each file is known by its device, inode, size and
time of change; a look is one stat for each zone in use.

Authority for the places: :data:`zoneinfo.TZPATH`, then the ``tzdata`` package (PEP 615).
"""

from __future__ import annotations

import os
import zoneinfo
from functools import cache
from importlib.util import find_spec

from tenure.domain.schedule.zones import reload_zones, zones_in_use

_Mark = tuple[str, int, int, int, int]


class ZoneData:
    """The files of the zones in use as they were last seen. Thread-safe."""

    def __init__(self) -> None:
        self._marks: dict[str, _Mark | None] = {}

    def refresh(self) -> None:
        """Go by what is on disk now."""
        replaced = self.replaced()
        if replaced:
            self.reload(replaced)

    def replaced(self) -> frozenset[str]:
        """The zones whose rules on disk are other ones than those this process goes by.

        A file that is gone or unreadable at this moment counts as unchanged: the rules that were
        read stay in force.
        """
        changed = set()
        for key in zones_in_use():
            mark = _mark(key)
            seen = self._marks.setdefault(key, mark)
            if mark is not None and seen is None:
                self._marks[key] = mark
            elif mark is not None and mark != seen and _is_whole(key):
                changed.add(key)
        return frozenset(changed)

    def reload(self, keys: frozenset[str]) -> None:
        """Go by the new rules from now on."""
        for key in keys:
            self._marks[key] = _mark(key)
        reload_zones(keys)


def _mark(key: str) -> _Mark | None:
    for folder in (*zoneinfo.TZPATH, *_package()):
        path = os.path.join(folder, key)
        try:
            status = os.stat(path)
        except OSError:
            continue
        return (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return None


def _is_whole(key: str) -> bool:
    """Whether it can be read: a file that is being written is looked at again."""
    try:
        zoneinfo.ZoneInfo.no_cache(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _package() -> tuple[str, ...]:
    spec = find_spec("tzdata")
    places = spec.submodule_search_locations if spec is not None else None
    return tuple(os.path.join(place, "zoneinfo") for place in places or ())
