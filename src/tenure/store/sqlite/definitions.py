"""Definitions as parsed, kept by (job, revision). A revision never changes once committed."""

from __future__ import annotations

from tenure.domain.job import Definition
from tenure.store.codec import unpack

MOST = 2048


class Definitions:
    """A bounded cache; the oldest entry goes first. Guarded by the connection's lock.

    Cleared when anything is undone: an undone revision's number may be given again.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Definition] = {}

    def get(self, job: str, revision: int, text: str) -> Definition:
        """The definition; ``text`` is parsed where it is not kept. Raises Damaged."""
        key = (job, revision)
        found = self._kept.pop(key, None)
        if found is None:
            found = unpack(Definition, text)
            if len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = found
        return found

    def clear(self) -> None:
        self._kept.clear()
