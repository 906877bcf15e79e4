"""Wall clocks: which instants a local time names, and what to do when it names none or two.

Authority: the IANA database through :mod:`zoneinfo`, read once for each zone and year.

Time is counted here in whole seconds since 1970-01-01: an *instant* on the UTC clock, a *local
second* on the wall clock. A zone is a row of :class:`OffsetPeriod`, each with one offset::

    instants   ----- winter ------|------ summer -------|---- winter ----
    local      00:00 ...... 02:00 | 03:00 ....... 03:00 | 02:00 ........
                             \\ gap: 02:00-03:00 does not exist
                                                    fold: 02:00-03:00 comes twice /

:class:`Dst` says what a schedule does there. Everything here is a pure function of its arguments
and of the zone tables, which are memoised until :func:`reload_zones`; safe to call from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from tenure.domain.errors import PASSING, InvalidInput, OutcomeUnknown

DAY = 86400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = EPOCH.toordinal()
SECOND = timedelta(seconds=1)
FIRST_YEAR, LAST_YEAR = 1970, 9900
"""Schedules fire in these years only; before and after is silence, not an error."""

_PROBE = 3 * DAY
"""No zone since 1970 keeps an offset for less than six days (a test reads them all)."""
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")
_NOT_ZONES = ("right/", "posix/", "posixrules", "localtime", "leapseconds", "Factory")


class Gap(StrEnum):
    """A local time that does not exist because clocks jumped forward over it."""

    SKIP = "skip"
    """It does not fire that day."""
    SHIFT = "shift"
    """It fires at the first instant after the gap; several in one gap fire once."""


class Fold(StrEnum):
    """A local time that comes twice because clocks were put back."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dst:
    """What a schedule does when clocks change.

    With ``cron`` the rule is Debian cron's, and ``gap`` and ``fold`` serve a one-shot only: a job
    at fixed times (five fields, minute and hour not beginning with ``*``) is shifted out of a gap
    and fires on the first of two; any other fires at each instant whose wall clock matches it.
    """

    gap: Gap = Gap.SHIFT
    fold: Fold = Fold.FIRST
    cron: bool = False

    def __str__(self) -> str:
        """The form that :func:`parse_dst` reads."""
        return "cron" if self.cron else f"gap={self.gap},fold={self.fold}"


CRON_DST = Dst(gap=Gap.SHIFT, fold=Fold.FIRST, cron=True)
"""The rule where the user names none."""

_DST_REMEDY = "use cron, skip, shift, first, second, both or a pair such as gap=skip,fold=both"


def parse_dst(text: str) -> Dst:
    """Read ``cron``, or a gap and a fold word, with or without their names.

    What is not said is ``gap=shift`` and ``fold=first``. Raises :class:`InvalidInput` on ``dst``.
    """
    if not isinstance(text, str) or len(text) > 64:
        raise InvalidInput("a DST rule is short text", field="dst", remedy=_DST_REMEDY)
    words = text.lower().replace(" ", "").split(",")
    if words == ["cron"]:
        return CRON_DST
    chosen: dict[str, str] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        home = "gap" if value in set(Gap) else "fold" if value in set(Fold) else ""
        if not home or name not in ("", home) or home in chosen:
            raise InvalidInput(f"{text!r} is not a valid DST rule", field="dst", remedy=_DST_REMEDY)
        chosen[home] = value
    return Dst(gap=Gap(chosen.get("gap", "shift")), fold=Fold(chosen.get("fold", "first")))


_loaded: dict[str, tzinfo] = {}


def load_zone(key: str) -> tzinfo:
    """The zone of an IANA key. Raises :class:`InvalidInput` on ``timezone``, with near names, and
    :class:`OutcomeUnknown` where no descriptor is free to read its rules."""
    if key == "UTC":
        return UTC
    zone = _loaded.get(key)
    if zone is not None:
        return zone
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if _KEY.fullmatch(key) and not key.startswith(_NOT_ZONES):
        try:
            return _loaded.setdefault(key, ZoneInfo.no_cache(key))
        except OSError as error:
            if error.errno in PASSING:
                why = error.strerror
                raise OutcomeUnknown(f"the rules of {key} cannot be read now: {why}") from error
        except (ZoneInfoNotFoundError, ValueError):
            pass
    known = _known_zones()
    if not known:
        raise InvalidInput(
            f"this machine has no time zone data, so {key[:64]!r} is unknown",
            field="timezone",
            remedy=INSTALL_ZONES,
        )
    raise InvalidInput(
        f"unknown time zone {key[:64]!r}", field="timezone", remedy=_near_zones(key, known)
    )


INSTALL_ZONES = "install the package tzdata, the system's or `pip install tzdata`, or use UTC"


def has_zones() -> bool:
    """Whether this machine has time zone data at all."""
    return is_zone("Europe/London") or bool(_known_zones())


def _known_zones() -> list[str]:
    from zoneinfo import available_timezones

    return sorted(name for name in available_timezones() if not name.startswith(_NOT_ZONES))


def zones_in_use() -> frozenset[str]:
    """The keys whose rules this process has read and goes by; never ``UTC``."""
    return frozenset(_loaded.copy())


def reload_zones(keys: Iterable[str]) -> None:
    """Read the rules of these zones again: they were replaced. One that cannot be read keeps those
    that it has."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    for key in keys:
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            _loaded[key] = ZoneInfo.no_cache(key)
    _stretches.cache_clear()


def is_zone(key: str) -> bool:
    """Whether this machine knows the zone."""
    try:
        load_zone(key)
    except InvalidInput:
        return False
    return True


def check_zone(key: object) -> str:
    """The key of a zone that exists ('utc' in any case is ``UTC``); else as :func:`load_zone`."""
    if not isinstance(key, str):
        raise InvalidInput(
            f"a time zone is a name, not {type(key).__name__}",
            field="timezone",
            remedy="use an IANA name such as Europe/Berlin, or UTC",
        )
    key = "UTC" if key.upper() in ("UTC", "Z") else key
    load_zone(key)
    return key


def _near_zones(key: str, known: list[str]) -> str:
    from difflib import get_close_matches

    written = key[:64].strip().replace(" ", "_").lower()
    names = {name.lower(): name for name in known}
    cities = {low.rpartition("/")[2]: low for low in names}
    exact = [low for low in names if written in (low, low.rpartition("/")[2])]
    near = exact or [
        *get_close_matches(written, names, n=3),
        *(cities[city] for city in get_close_matches(written, cities, n=2)),
    ]
    if not near:
        return "use an IANA name such as Europe/Berlin, or UTC"
    return "did you mean " + " or ".join(dict.fromkeys(names[low] for low in near[:3])) + "?"


class OffsetPeriod(NamedTuple):
    """Instants ``[start, end)`` with one offset, all in seconds.

    ``before`` is the offset up to ``start`` (its own where a stretch was only cut at the turn of
    a year). Local seconds below ``fresh`` came already before it; from ``again`` on they will
    come once more after it.
    """

    start: int
    end: int
    offset: int
    before: int
    fresh: int
    again: int


def to_seconds(instant: datetime) -> int:
    """The last whole second at or before an instant (aware; naive raises ``TypeError``)."""
    return (instant - EPOCH) // SECOND


def to_instant(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def _year_start(year: int) -> int:
    return (date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY


def _year_of(instant: int) -> int:
    low, high = FLOOR, CEILING - 1
    return date.fromordinal(min(max(instant, low), high) // DAY + EPOCH_DAY).year


FLOOR, CEILING = _year_start(FIRST_YEAR), _year_start(LAST_YEAR + 1)
_ALWAYS = OffsetPeriod(start=FLOOR, end=CEILING, offset=0, before=0, fresh=FLOOR, again=CEILING)


@lru_cache(maxsize=4096)
def _stretches(key: str, year: int) -> tuple[OffsetPeriod, ...]:
    """The stretches of one year of a zone, cut at its ends."""
    start, end = _year_start(year), _year_start(year + 1)
    edges = _edges(key, start - _PROBE, end + _PROBE)
    periods = []
    for i, (at, offset) in enumerate(edges):
        before = edges[i - 1][1] if i else offset
        until, then = edges[i + 1] if i + 1 < len(edges) else (end + _PROBE, offset)
        if at < end and until > start:
            periods.append(
                OffsetPeriod(
                    start=max(at, start),
                    end=min(until, end),
                    offset=offset,
                    before=before if at >= start else offset,
                    fresh=at + before,
                    again=until + then,
                )
            )
    return tuple(periods)


def _edges(key: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where offsets begin: sampled, and each change bisected to its second."""
    zone = load_zone(key)

    def offset(at: int) -> int:
        found = datetime.fromtimestamp(at, zone).utcoffset()
        return (found or timedelta()) // SECOND

    edges = [(start, offset(start))]
    for high in (*range(start + _PROBE, end, _PROBE), end):
        low, was, now = high - _PROBE, edges[-1][1], offset(high)
        while now != was and high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == was else (low, middle)
        if now != was:
            edges.append((high, now))
    return edges


def stretches_from(key: str, instant: int) -> Iterator[OffsetPeriod]:
    """The stretch that holds an instant (or the first after it), and all later ones."""
    if key == "UTC":
        yield from (_ALWAYS,) if instant < CEILING else ()
        return
    for year in range(_year_of(instant), LAST_YEAR + 1):
        for stretch in _stretches(key, year):
            if stretch.end > instant:
                yield stretch


def stretches_back(key: str, instant: int) -> Iterator[OffsetPeriod]:
    """The stretch that holds an instant (or the last before it), and all earlier ones."""
    if key == "UTC":
        yield from (_ALWAYS,) if instant >= FLOOR else ()
        return
    for year in range(_year_of(instant), FIRST_YEAR - 1, -1):
        for stretch in reversed(_stretches(key, year)):
            if stretch.start <= instant:
                yield stretch


def resolve_local(local: int, key: str, dst: Dst) -> int | None:
    """The instant of one local second, by policy; ``None`` if it is skipped.

    For one single fire ``fold=both`` cannot be had: it is the first.
    """
    images: list[int] = []
    shifted = None
    for stretch in stretches_from(key, local - 2 * DAY):
        if stretch.start > local + 2 * DAY:
            break
        if stretch.start <= local - stretch.offset < stretch.end:
            images.append(local - stretch.offset)
        if stretch.start + stretch.before <= local < stretch.start + stretch.offset:
            shifted = stretch.start
    if images:
        return images[-1] if dst.fold is Fold.SECOND else images[0]
    return shifted if dst.gap is Gap.SHIFT else None
