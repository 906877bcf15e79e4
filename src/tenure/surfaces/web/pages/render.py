"""From a template and what it shows to an answer: one environment, one view of a profile.

Times are shown in the profile's zone, which the view knows; markup comes from templates and charts
only, and everything else is escaped.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from tenure import __version__
from tenure.client.health import Health, examine
from tenure.client.status import UPCOMING, Status
from tenure.runtime.profile import Profile
from tenure.surfaces.web import words
from tenure.surfaces.web.assets import addresses
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.reports import kept, mark_text, state_of, status_of
from tenure.surfaces.web.site import ProfileDep, site_of
from tenure.surfaces.web.svg import ICONS
from tenure.surfaces.web.tokens import Access

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


class ProfileView:
    """A profile, looked at for one page. Reads what the page asks for, once; not thread-safe."""

    def __init__(self, request: Request, profile: Profile) -> None:
        self.profile = profile
        self.now: datetime = site_of(request).now()
        self._request = request
        # Before anything else is read: the page's stream goes on from here.
        self._grown = profile.store.mark()

    @cached_property
    def zone(self) -> str:
        return self.profile.timezone()

    @cached_property
    def health(self) -> Health:
        return examine(self.profile, self.now)

    def status(self, upcoming: int = UPCOMING) -> Status:
        """The whole status, its health included."""
        status = status_of(self.profile, self.now, upcoming=upcoming)
        self.health = status.health
        return status

    @cached_property
    def bar(self) -> ownership.Bar:
        """The line about the owner on top of the page."""
        return ownership.bar(self.health, self.now)

    @property
    def mark(self) -> str:
        """How far the profile had grown before it was read, and how its owner stands."""
        return mark_text(self._grown, state_of(self.health))

    @cached_property
    def named(self) -> Callable[[str], str]:
        """From a process id to what its user knows it by; looked up once each."""
        return cache(self._name_of)

    def _name_of(self, id: str) -> str:
        process = kept(self.profile.store.process, id)
        return id if process is None else words.who(process)

    def url(self, path: str) -> str:
        return f"/p/{self.profile.name}{path}"

    def page(self, template: str, *, code: int = 200, **context: Any) -> HTMLResponse:
        """Render ``template``; ``code`` is HTTP's."""
        around = {
            "view": self,
            "now": self.now,
            "zone": self.zone,
            "profile": self.profile,
            "place": self.profile.name,
            "base": self.url(""),
            "named": self.named,
        }
        return page(self._request, template, code=code, **{**around, **context})

    def back_to(self, path: str) -> RedirectResponse:
        return back_to(self.url(path))


def _view(request: Request, profile: ProfileDep) -> ProfileView:
    return ProfileView(request, profile)


ViewDep = Annotated[ProfileView, Depends(_view)]


def page(
    request: Request,
    template: str,
    *,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Render ``template``; ``code`` is HTTP's. Of itself the page is about no profile."""
    viewer: Access | None = getattr(request.state, "access", None)
    site = site_of(request)
    shown = {
        "viewer": viewer or Access(may_write=False, cookie="", csrf=""),
        "known": viewer is not None,
        "profile_names": site.names,
        "theme": _theme(request),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "version": __version__,
        "view": None,
        "zone": _ZONELESS,
        "profile": None,
        "place": "",
        "base": "",
        "section": "",
        "live": "",
        "every": 0,
        "mark": "",
        "done": None,
        "named": str,
        **context,
    }
    if "now" not in shown:
        shown["now"] = site.now()
    text = environment().get_template(template).render(shown)
    return _packed(request, HTMLResponse(text, status_code=code, headers=dict(headers or {})))


def _packed(request: Request, response: HTMLResponse) -> HTMLResponse:
    """By gzip, where the browser takes it: a page repeats itself, a tenth of it is left."""
    # A page mixes user input with a secret (the form's token). Its size still leaks nothing:
    # requests of other sites come without the cookie, and get no page.
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" in request.headers.get("accept-encoding", "") and len(response.body) > SMALL:
        response.body = gzip.compress(bytes(response.body), compresslevel=3, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))
    return response


def back_to(path: str) -> RedirectResponse:
    """303, so that reloading the page repeats nothing."""
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
    made.globals |= {"icon": icon, "asset": addresses(), "words": words}
    made.filters |= {
        "at": _at,
        "when": _when,
        "ago": _ago,
        "span": words.span,
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
    """The same; each rule begins a line, and so does the expected owner. ``end`` ends it."""
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
    """A sentence with the names of processes in place of their ids."""
    return _with_rules(_PROCESS.sub(lambda match: str(context["named"](match[0])), text), end)


def _link_run(text: str, base: str) -> Markup:
    """A sentence with a link in place of a run's id."""
    link = Markup('<a href="{}/runs/{{}}">{{}}his run</a>').format(base)
    plain = _STATE.sub(lambda match: match[0].replace("_", " "), text)
    run = _RUN.search(plain)
    if run is None:
        return mark_code(plain)
    before, after = plain[: run.start()], plain[run.end() :]
    way = link.format(run[2], "T" if run[1] == "R" else "t")
    return mark_code(before) + way + mark_code(after)


NOT_YET = Markup("–")


@pass_context
def _at(context: Context, instant: datetime | None, seconds: bool = False) -> Markup:
    """``Tue 14:03 CET``."""
    if instant is None:
        return NOT_YET
    zone, now = context["zone"], context["now"]
    return _time(instant, zone, words.day_and_time(instant, zone, now, seconds=seconds))


@pass_context
def _ago(context: Context, instant: datetime | None) -> Markup:
    """``in 4 min``; the clock time is its title."""
    if instant is None:
        return NOT_YET
    return _time(instant, context["zone"], words.relative(instant, context["now"]))


@pass_context
def _when(context: Context, instant: datetime | None) -> Markup:
    """``Tue 14:03 CET`` and, beside it, ``in 4 min``."""
    if instant is None:
        return NOT_YET
    away = words.relative(instant, context["now"])
    return _at(context, instant) + Markup(' <span class="rel nowrap">{}</span>').format(away)


def _time(instant: datetime, zone: str, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{}" class="nowrap">{}</time>').format(
        words.machine_time(instant), words.whole(instant, zone), text
    )


def _theme(request: Request) -> str:
    chosen = request.cookies.get(THEME_COOKIE, "system")
    return chosen if chosen in THEMES else "system"
