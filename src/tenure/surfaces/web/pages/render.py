"""From a template and what it shows to an answer: one environment, one frame around every page.

Times are shown in the profile's zone, which the frame knows; markup comes from templates and charts
only, and everything else is escaped.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from tenure import __version__
from tenure.client.health import Health, examine
from tenure.runtime.profile import Profile
from tenure.surfaces.web import words
from tenure.surfaces.web.assets import address
from tenure.surfaces.web.charts.svg import ICONS
from tenure.surfaces.web.deps import Viewer, site
from tenure.surfaces.web.live.changes import mark_text
from tenure.surfaces.web.pages import lookups, ownership
from tenure.surfaces.web.reports import state_of

HERE = Path(__file__).parent.parent
SMALL = 1400
"""Bytes that fit one packet anyway."""
THEMES = ("light", "dark", "system")
THEME_COOKIE = "tenure_theme"
_CODE = re.compile(r"`([^`\n]+)`")
_PROCESS = re.compile(r"\bp1[0-9a-z]{16,}\b")
_RUN = re.compile(r"\b([Rr])un (r1[0-9a-z]{12,})\b")
_STATE = re.compile(r"\b(?:timed_out|never_ran)\b")
_SHOULD = re.compile(r"\. Expected owner: ")
_NEXT_RULE = re.compile(r"; (?=rule \d)")
_ZONELESS = "UTC"
LONGEST_HEADING = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every page of a profile shows around its own."""

    profile: Profile
    now: datetime
    zone: str
    health: Health
    mark: str
    """How far the profile had grown before it was read: the stream goes on from there."""


def frame(request: Request, profile: Profile) -> Frame:
    """Look at the profile once, for one page. Blocks: for threads only."""
    now, grown = site(request).now(), profile.store.mark()
    health = examine(profile, now)
    mark = mark_text(grown, state_of(health))
    return Frame(profile=profile, now=now, zone=profile.timezone(), health=health, mark=mark)


def page(
    request: Request,
    template: str,
    around: Frame | None = None,
    *,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Render ``template``; ``code`` is HTTP's. Without a frame the page is about no profile."""
    found: Viewer | None = getattr(request.state, "viewer", None)
    shown = {
        "viewer": found or Viewer(may_write=False, csrf=""),
        "known": found is not None,
        "theme": _theme(request),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "version": __version__,
        "names": site(request).names() if found is not None else [],
        "now": site(request).now(),
        "zone": _ZONELESS,
        "profile": None,
        "place": "",
        "mark": "",
        "base": "",
        "section": "",
        "live": "",
        "every": 0,
        "done": None,
        "bar": None,
        "named": str,
    }
    if around is not None:
        shown |= {
            "now": around.now,
            "zone": around.zone,
            "profile": around.profile,
            "place": around.profile.name,
            "base": f"/p/{around.profile.name}",
            "health": around.health,
            "mark": around.mark,
            "bar": ownership.bar(around.health, around.now),
            "named": lookups.named(around.profile),
        }
    text = environment().get_template(template).render({**shown, **context})
    return _packed(request, HTMLResponse(text, status_code=code, headers=dict(headers or {})))


def _packed(request: Request, response: HTMLResponse) -> HTMLResponse:
    """By gzip, where the browser takes it: a page repeats itself, a tenth of it is left.

    A page mixes user input with a secret (the form's token). Its size still leaks nothing: requests
    of other sites come without the cookie, and get no page.
    """
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" in request.headers.get("accept-encoding", "") and len(response.body) > SMALL:
        response.body = gzip.compress(bytes(response.body), compresslevel=3, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))
    return response


def back_to(path: str) -> RedirectResponse:
    """303: the browser loads the page again, and reloading it repeats nothing."""
    return RedirectResponse(path, status_code=303)


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals |= {"icon": icon, "asset": address, "words": words}
    made.filters |= {
        "at": _at,
        "when": _when,
        "ago": _ago,
        "span": words.span,
        "duration": _duration,
        "code": mark_code,
        "named": _name_processes,
        "run_link": _link_run,
        "titled": format_title,
        "plural": words.plural,
        "visible": words.visible,
        "capitalised": words.capitalised,
    }
    return made


def icon(name: object, tone: str = "") -> Markup:
    """A symbol of the sprite; the text beside it has its meaning."""
    return Markup(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>'
    ).format(tone, ICONS, str(name))


def mark_code(text: str) -> Markup:
    """A sentence as the runtime words it: what stands in backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def format_title(text: str) -> Markup:
    """The same, with the part before a first colon as its heading."""
    head, colon, rest = text.partition(": ")
    if not colon or len(head) > LONGEST_HEADING:
        return _with_rules(words.capitalised(text))
    return Markup("<strong>{}:</strong> {}").format(
        mark_code(words.capitalised(head)), _with_rules(rest)
    )


def _with_rules(text: str, end: str = "") -> Markup:
    """The same; each rule begins a line, and so does who should own. ``end`` ends it."""
    why, *rules = _SHOULD.split(text, maxsplit=1)
    if not rules:
        return _lines(why) + end
    begun = _lines(why) + (". " if why else "")
    return begun + Markup('<span class="should">Expected owner: {}{}</span>').format(
        _lines(rules[0]), end
    )


def _lines(text: str) -> Markup:
    return Markup(";<br>").join(mark_code(part) for part in _NEXT_RULE.split(text))


@pass_context
def _name_processes(context: Context, text: str, end: str = "") -> Markup:
    """A sentence in which processes go by their ids, with what people call them instead."""
    return _with_rules(_PROCESS.sub(lambda match: str(context["named"](match[0])), text), end)


def _link_run(text: str, base: str) -> Markup:
    """A sentence about a run that goes by its id, with the way to it instead."""
    link = Markup('<a href="{}/runs/{{}}">{{}}his run</a>').format(base)
    plain = _STATE.sub(lambda match: match[0].replace("_", " "), text)
    found = _RUN.search(plain)
    if found is None:
        return mark_code(plain)
    before, after = plain[: found.start()], plain[found.end() :]
    way = link.format(found[2], "T" if found[1] == "R" else "t")
    return mark_code(before) + way + mark_code(after)


@pass_context
def _at(context: Context, instant: datetime | None, seconds: bool = False) -> Markup:
    """``Tue 14:03 CET``."""
    if instant is None:
        return Markup("–")
    zone, now = context["zone"], context["now"]
    return _time(instant, zone, words.day_and_time(instant, zone, now, seconds=seconds))


@pass_context
def _ago(context: Context, instant: datetime | None) -> Markup:
    """``in 4 min``; the clock time is its title."""
    if instant is None:
        return Markup("–")
    return _time(instant, context["zone"], words.relative(instant, context["now"]))


@pass_context
def _when(context: Context, instant: datetime | None) -> Markup:
    """``Tue 14:03 CET`` and, beside it, ``in 4 min``."""
    if instant is None:
        return Markup("–")
    away = words.relative(instant, context["now"])
    return _at(context, instant) + Markup(' <span class="rel nowrap">{}</span>').format(away)


def _time(instant: datetime, zone: str, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{}" class="nowrap">{}</time>').format(
        words.machine_time(instant), words.whole(instant, zone), text
    )


def _duration(value: timedelta | None) -> str:
    from tenure.domain.durations import format_duration

    return "–" if value is None else format_duration(value)


def _theme(request: Request) -> str:
    chosen = request.cookies.get(THEME_COOKIE, "system")
    return chosen if chosen in THEMES else "system"
