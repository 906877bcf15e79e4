"""Chromium, its tabs, and what they complain about.

Every tab listens from its first byte: errors and warnings of the console, uncaught exceptions,
what the content security policy stopped, and requests to any other host. A test that ends with a
complaint that it did not :meth:`Tab.expect` has failed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Playwright
from playwright.sync_api import Request as Asked

from waiting import DEADLINE

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
PATIENCE = 1000 * DEADLINE
"""Milliseconds in which what is waited for has to come, on a busy machine."""
_NEVER_LOOKS = "window.setInterval = () => 0;"
_TELL = """document.addEventListener('securitypolicyviolation', e => console.error(
  `CSP: ${e.effectiveDirective} stopped ${e.blockedURI} (${e.sourceFile}:${e.lineNumber})`));"""


def chromium_path() -> str | None:
    """The Chromium to drive: CHROMIUM, or one that is installed."""
    if named := os.environ.get("CHROMIUM"):
        return named
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def launch(playwright: Playwright, path: str) -> Browser:
    """With a fresh profile, which ends with it."""
    return playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)


@dataclass
class Tab:
    """A page, and what went wrong in it."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", self._request)
        self.page.on("dialog", self._dialog)

    def expect(self, pattern: str) -> None:
        """Complaints like this are what the test is about."""
        self._expected.append(re.compile(pattern))

    def go(self, path: str, **options: Any) -> Page:
        answer = self.page.goto(self.origin + path, **options)
        assert answer is not None
        assert answer.status < 500, f"{path}: {answer.status} {answer.text()[:500]}"
        return self.page

    def go_anyway(self, path: str) -> Page:
        """The same, where the answer may say that something is broken."""
        self.page.goto(self.origin + path)
        return self.page

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    def unexpected(self) -> list[str]:
        return [c for c in self.complaints if not any(e.search(c) for e in self._expected)]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self.complaints.append(f"console {message.type}: {message.text} ({where})")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, asked: Asked) -> None:
        parts = urlsplit(asked.url)
        own = f"{parts.scheme}://{parts.netloc}" == self.origin
        if not own and parts.scheme not in ("data", "blob", "about"):
            self.complaints.append(f"asked another host: {asked.url}")


class Surfer:
    """Somebody at a browser: each one has cookies of their own."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.tabs: list[Tab] = []
        self.contexts: list[BrowserContext] = []

    def sits(
        self,
        link: str,
        *,
        dark: bool = False,
        phone: bool = False,
        scripts: bool = True,
        width: int = 1280,
        height: int = 900,
        scale: float = 1,
        looks: bool = True,
    ) -> Seat:
        """Open the link that the dashboard printed, in a browser of one's own. Without ``looks``
        its pages never look by themselves: what they show was told them by their stream."""
        size = (390, 844) if phone else (width, height)
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            is_mobile=phone,
            has_touch=phone,
            device_scale_factor=scale,
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-GB",
        )
        context.set_default_timeout(PATIENCE)
        context.set_default_navigation_timeout(PATIENCE)
        context.add_init_script(_TELL)
        if not looks:
            context.add_init_script(_NEVER_LOOKS)
        self.contexts.append(context)
        return Seat(self, context, link)

    def complaints(self) -> list[str]:
        return [one for tab in self.tabs for one in tab.unexpected()]

    def leave(self) -> None:
        for context in self.contexts:
            context.close()


class Seat:
    """One browser window's worth of tabs, which share cookies."""

    def __init__(self, surfer: Surfer, context: BrowserContext, link: str) -> None:
        self.surfer, self.context, self.link = surfer, context, link
        parts = urlsplit(link)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._entered = False

    def tab(self, path: str = "/") -> Tab:
        """A new tab, at a path. The first one enters by the link, and gets the cookie."""
        tab = Tab(self.context.new_page(), self.origin)
        self.surfer.tabs.append(tab)
        if not self._entered:
            tab.page.goto(self.link)
            self._entered = True
        if path != "/" or tab.path != "/":
            tab.go(path)
        return tab


@dataclass
class Traffic:
    """What one page cost."""

    urls: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.bytes.values())

    def largest(self) -> str:
        ranked = sorted(self.bytes.items(), key=lambda item: -item[1])
        return ", ".join(f"{urlsplit(self.urls[id]).path} {size}" for id, size in ranked)


@contextmanager
def counted(page: Page) -> Iterator[Traffic]:
    """Bytes that come over the wire, headers too, as Chromium counts them; nothing from caches."""
    traffic = Traffic()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def asked(event: dict[str, Any]) -> None:
        traffic.urls[event["requestId"]] = event["request"]["url"]

    def came(event: dict[str, Any]) -> None:
        id = event["requestId"]
        if id in traffic.urls:  # and is not the stream of the page before
            traffic.bytes[id] = traffic.bytes.get(id, 0) + max(0, event["encodedDataLength"])

    def ended(event: dict[str, Any]) -> None:
        if event["requestId"] in traffic.urls:
            traffic.bytes[event["requestId"]] = event["encodedDataLength"]

    session.on("Network.requestWillBeSent", asked)
    session.on("Network.dataReceived", came)
    session.on("Network.loadingFinished", ended)
    try:
        yield traffic
    finally:
        session.detach()


def scratch() -> Path:
    """Where what a failed test saw is kept."""
    named = os.environ.get("TENURE_BROWSER_FAILURES")
    return Path(named) if named else Path(tempfile.gettempdir()) / "tenure-browser-failures"


def keep_what_was_seen(tabs: list[Tab], name: str, into: Path) -> list[Path]:
    """A picture and the HTML of every open tab."""
    into.mkdir(parents=True, exist_ok=True)
    kept = []
    for number, tab in enumerate(tabs):
        if tab.page.is_closed():
            continue
        stem = into / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{number}"
        try:
            tab.page.screenshot(path=stem.with_suffix(".png"), full_page=True, timeout=5000)
            stem.with_suffix(".html").write_text(f"<!-- {tab.page.url} -->\n{tab.page.content()}")
        except Exception as error:  # noqa: BLE001 - the test has failed; say what can be said
            stem.with_suffix(".html").write_text(f"<!-- {tab.page.url}: {error} -->")
        kept += [
            path for path in (stem.with_suffix(".png"), stem.with_suffix(".html")) if path.exists()
        ]
    return kept
