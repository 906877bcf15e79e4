"""Who needs it larger, without movement, or without a mouse: the same page, all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browsing import Seat
from playwright.sync_api import Page, expect
from webworld import WebWorld

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]
_UNSEEN_FOCUS = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return 'nowhere';
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  const name = `${e.tagName}#${e.id} ${(e.getAttribute('aria-label') || e.textContent).trim()}`;
  if (!box.width || !box.height) return `no place: ${name}`;
  if (box.bottom <= 0 || box.top >= innerHeight) return `out of sight: ${name}`;
  const ring = parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== 'none';
  return ring ? '' : `no ring: ${name}`;
}"""
_LEFT_OUT = """() =>
  [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
  .filter(e => e.checkVisibility() && !e.disabled && e.type !== 'hidden' && e.tabIndex >= 0)
  .filter(e => !('reached' in e.dataset) && (e.type !== 'radio' || e.checked))
  .map(e => `${e.tagName}#${e.id} ${e.textContent.trim()}`)"""
MOST = 200


def walked(page: Page) -> list[str]:
    """Tab through the whole page; what has the focus and does not show it."""
    wrong = []
    for _ in range(MOST):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        if page.evaluate("'reached' in document.activeElement.dataset"):
            break
        page.evaluate("document.activeElement.dataset.reached = ''")
        if unseen := page.evaluate(_UNSEEN_FOCUS):
            wrong.append(unseen)
    return wrong


@pytest.mark.parametrize("where", ["", "/jobs", "/jobs/new", "/jobs/{job}", "/owner"])
def test_tab_reaches_everything_and_shows_where_it_is(
    world: WebWorld, sit: Sit, where: str
) -> None:
    job = world.add("read-mail", "true", "every 2h", protected=True)
    page = sit().tab(f"{world.path}{where.format(job=job.id) or '/'}").page
    expect(page.locator("html")).to_have_attribute("data-link", "live")
    assert not walked(page)
    assert not page.evaluate(_LEFT_OUT)


def test_at_twice_the_size_nothing_is_cut_off(world: WebWorld, sit: Sit) -> None:
    """A window of 1280 pixels, enlarged to 200 %, has room for 640."""
    job = world.add("a-job-with-a-rather-long-name-" * 4, "true", "every 2h", protected=True)
    tab = sit(width=640, height=450, scale=2).tab(f"{world.path}/")
    for path in ("/", "/jobs", "/jobs/new", f"/jobs/{job.id}", "/runs", "/requests", "/owner"):
        tab.go(world.path + path)
        room = tab.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert room[0] <= room[1], (path, room)


def test_who_asks_for_no_movement_sees_none(world: WebWorld, sit: Sit) -> None:
    world.gateway().wait_owner()
    job = world.add("long", "exec sleep 60")
    page = sit().tab(f"{world.path}/jobs/{job.id}").page
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Running")
    moving = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert page.evaluate(moving) == 0
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
