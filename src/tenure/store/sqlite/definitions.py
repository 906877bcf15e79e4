"""DefinitionCache as parsed, kept by (job, revision). A revision never changes once committed."""

from __future__ import annotations

from tenure.domain.errors import CorruptStore
from tenure.domain.job import Definition
from tenure.store.codec import job_name, salvage, unpack

MAX_CACHED = 2048


class DefinitionCache:
    """A bounded cache; the oldest entry goes first. Guarded by the connection's lock.

    Cleared when anything is undone: an undone revision's number may be given again.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Definition] = {}

    def get(
        self, job: str, revision: int, text: str | None, *, name: str = "", runner: str = "command"
    ) -> Definition:
        """The definition; ``text`` is parsed where it is not kept. One that cannot be read comes
        with its damage, and is read again the next time: the machine may have got its zone."""
        key = (job, revision)
        found = self._kept.pop(key, None)
        if found is None:
            try:
                found = unpack(Definition, "" if text is None else text)
            except CorruptStore as error:
                return salvage(text, error, name=job_name(name or job), runner=runner)
            if len(self._kept) >= MAX_CACHED:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = found
        return found

    def clear(self) -> None:
        self._kept.clear()
