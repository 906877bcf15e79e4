"""The tests could fail: what they look for is found where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Seat, Tab, counted
from webworld import WebWorld

from waiting import eventually

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]
AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()


def complained(tab: Tab, of: str) -> None:
    """What the browser tells is heard while Playwright is asked something."""

    def heard() -> bool:
        tab.page.wait_for_timeout(20)
        return any(of in one for one in tab.complaints)

    eventually(heard, f"a complaint of {of!r}")


def test_what_a_page_must_not_do_is_seen(world: WebWorld, sit: Sit) -> None:
    tab = sit().tab(f"{world.path}/jobs")
    page = tab.page
    assert tab.complaints == []
    page.evaluate("console.warn('odd')")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), "
                  "{textContent: 'document.title = 1'}))")  # fmt: skip
    page.evaluate("document.body.append(Object.assign(document.createElement('img'), "
                  "{src: 'http://elsewhere.invalid/x.png'}))")  # fmt: skip
    for wanted in ("odd", "thrown", "CSP: script-src", "CSP: img-src"):
        complained(tab, wanted)
    assert tab.unexpected()
    tab.expect("")
    assert not tab.unexpected()


def test_a_request_to_another_host_is_seen(world: WebWorld, sit: Sit) -> None:
    tab = sit().tab(f"{world.path}/jobs")
    tab.page.evaluate("location.href = 'http://elsewhere.invalid/'")
    complained(tab, "asked another host: http://elsewhere.invalid/")
    tab.expect("")


def test_axe_sees_what_cannot_be_read_and_the_meter_what_is_loaded(
    world: WebWorld, sit: Sit
) -> None:
    page = sit().tab(f"{world.path}/jobs").page
    page.evaluate(AXE)
    page.evaluate("document.querySelector('h1').style.color = '#ccc'")
    found = page.evaluate("async () => (await axe.run(document)).violations")
    assert [v["id"] for v in found if v["impact"] == "serious"] == ["color-contrast"]
    with counted(page) as traffic:
        page.reload()
        page.wait_for_load_state("load")
    assert {Path(u.partition("?")[0]).suffix for u in traffic.urls.values()} >= {".css", ".js"}
    assert max(traffic.bytes.values()) > 10_000  # htmx, compressed
