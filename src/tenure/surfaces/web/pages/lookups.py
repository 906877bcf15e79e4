"""What several pages read: names of processes, terms as stretches of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache

from markupsafe import Markup

from tenure.client.health import Health
from tenure.domain.errors import NotFound
from tenure.domain.ownership import HolderLife, Term
from tenure.runtime.profile import Profile
from tenure.surfaces.web import words
from tenure.surfaces.web.charts.day import Holding


def named(profile: Profile) -> Callable[[str], str]:
    """From a process id to what its user knows it by; looked up once each."""

    @cache
    def name(id: str) -> str:
        try:
            return words.who(profile.store.process(id))
        except NotFound:
            return id

    return name


def holdings(profile: Profile, now: datetime, health: Health, limit: int = 50) -> list[Holding]:
    """The latest terms, oldest first; the present one ends now.

    A term goes on in the record until it is ended or taken; here it ends with its process.
    """
    return [
        _holding(profile, term, now, health) for term in reversed(profile.store.terms(limit=limit))
    ]


def _holding(profile: Profile, term: Term, now: datetime, health: Health) -> Holding:
    end, who = term.ended_at or now, term.process
    try:
        process = profile.store.process(term.process)
        who = words.process_label(process)
        end = min(end, process.left_at or end)
    except NotFound:
        pass
    dead = health.owner is not None and health.owner.life is HolderLife.DEAD
    if dead and term.term == health.ownership.term:
        end = min(end, health.ownership.progress_at or term.taken_at)
    return Holding(
        start=term.taken_at,
        end=max(end, term.taken_at),
        who=who,
        term=term.term,
        authoritative=term.authoritative,
    )


@cache
def zone_options() -> Markup:
    """The IANA zones by region, as options of a list; others may be typed. Rendered once: 600
    values take longer than the rest of a page."""
    from zoneinfo import available_timezones

    regions = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe",
               "Indian", "Pacific")  # fmt: skip
    found = [z for z in available_timezones() if z.partition("/")[0] in regions]
    return Markup().join(Markup('<option value="{}">').format(z) for z in ("UTC", *sorted(found)))
