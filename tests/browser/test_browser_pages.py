"""Every page, light and dark, at a desk and on a phone: what it must not do, what it may cost.

axe-core (vendor/, MPL-2.0) looks for what keeps people out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from browsing import Surfer, Tab, counted
from playwright.sync_api import Route, expect
from webworld import Dashboard, Web, WebWorld, now
from yesterday import Habit, live_through

from tenure.domain.job import JobState
from tenure.domain.run import FINAL, RunState
from tenure.store.contract import RunFilter
from waiting import eventually

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
BUDGET = 150_000
"""Bytes over the wire, headers too, for a page that nothing of is cached."""
PAGES = {
    "profiles": "/",
    "overview": "{p}/",
    "jobs": "{p}/jobs",
    "found": "{p}/jobs?q=no-such-job",
    "new": "{p}/jobs/new",
    "job": "{p}/jobs/{job}",
    "protected": "{p}/jobs/{protected}",
    "foreign": "{p}/jobs/{foreign}",
    "removed": "{p}/jobs/{removed}",
    "edit": "{p}/jobs/{job}/edit",
    "runs": "{p}/runs",
    "active": "{p}/runs?show=active",
    "not-run": "{p}/runs?show=not-run",
    "run": "{p}/runs/{run}",
    "running": "{p}/runs/{running}",
    "requests": "{p}/requests",
    "request": "{p}/requests/{request}",
    "owner": "{p}/owner",
    "missing": "{p}/jobs/no-such-job",
    "hostile": "{p}/jobs/{hostile}",
    "much": "{p}/runs/{much}",
    "busy": "/p/busy/",
    "busy-jobs": "/p/busy/jobs",
    "busy-runs": "/p/busy/runs",
    "empty": "/p/empty/",
    "empty-jobs": "/p/empty/jobs",
    "empty-owner": "/p/empty/owner",
}


@pytest.fixture(scope="module")
def furnished(web: Web) -> dict[str, str]:
    """A profile with a day behind it and something of everything, whose gateway was killed; and
    one with nothing."""
    rules = (
        f'[[owner]]\nexecutable = "{web.launcher}"\n\n'
        '[[owner]]\nexecutable = "/Applications/Desktop.app"\nafter = "5m"\n'
    )
    world = web.world("furnished", toml=rules)
    web.world("empty")
    busy = web.world("busy", toml=rules)
    live_through(busy.profile, now(), habits=BUSY)
    live_through(world.profile, now() - timedelta(minutes=1))
    gateway = world.gateway().wait_owner()
    ids = _furnish(world)
    gateway.kill()
    return {"p": world.path, **ids, "foreign": world.add_foreign("backup").id}


def _furnish(world: WebWorld) -> dict[str, str]:
    job = world.add("report", "echo the report", tags=("nightly", "finance"))
    long = world.add("long", "echo begun; exec sleep 600")
    held = world.add("guarded", "true", schedule="every 1s", protected=True)
    world.add("failing", "echo it fails >&2; exit 3", schedule="every 1s")
    removed = world.add("removed", "true")
    much = world.add("much", "head -c 2000000 /dev/urandom | base64")
    hostile = world.add(HOSTILE, f"echo '{HOSTILE}'", tags=(HOSTILE[:40],))
    world.tenure("remove", "removed")
    world.tenure("pause", "failing")
    for name in ("report", "much", "long"):
        asked = world.tenure("trigger", name)
        assert asked.code == 0, asked.err
    done = RunFilter(job=job.id, states=FINAL)
    eventually(lambda: world.store.runs(done)[0], "the report to be made")
    written = RunFilter(job=much.id, states=FINAL)
    eventually(lambda: world.store.runs(written)[0], "much to be written")
    now_running = RunFilter(job=long.id, states=frozenset({RunState.RUNNING}))
    eventually(lambda: world.store.runs(now_running)[0], "the long run to run")
    (request, *_) = world.store.requests(limit=10)
    assert world.store.job(removed.id).state is JobState.REMOVED
    return {
        "job": job.id,
        "protected": held.id,
        "removed": removed.id,
        "run": world.store.runs(done)[0][0].id,
        "running": world.store.runs(now_running)[0][0].id,
        "much": world.store.runs(written)[0][0].id,
        "request": request.id,
        "hostile": hostile.id,
    }


@pytest.fixture(scope="module")
def visitor(chromium: Any, dashboard: Dashboard) -> Iterator[Callable[..., Tab]]:
    """One tab for each way of looking, kept for all pages."""
    surfer = Surfer(chromium)
    kept: dict[tuple[tuple[str, Any], ...], Tab] = {}

    def look(**options: Any) -> Tab:
        key = tuple(sorted(options.items()))
        if key not in kept:
            kept[key] = surfer.sits(dashboard.link, **options).tab("/")
        return kept[key]

    yield look
    surfer.leave()


def opened(tab: Tab, page: str, furnished: dict[str, str]) -> Tab:
    """On one page, with no complaint."""
    tab.complaints.clear()
    if page == "missing":
        tab.expect("status of 404")
    tab.go(PAGES[page].format(**furnished))
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    return tab


BUSY = tuple(
    Habit(
        name=f"job-{n:02}-" + "x" * (n * 7 % 90),
        schedule=f"{n % 30}/30 * * * *",
        command="echo " + "word" * n,
        takes=2.0 + n,
        fails=tuple(range(n, 200, 37)),
        protected=n % 2 == 0,
        tags=("nightly", f"tag-{n}"),
    )
    for n in range(60)
)
"""Sixty jobs, a run each half hour, some of them failing."""
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"
each_page = pytest.mark.parametrize("page", PAGES)


@each_page
def test_axe_finds_nothing_serious_in_light_nor_dark(
    page: str, furnished: dict[str, str], visitor: Callable[..., Tab]
) -> None:
    tab = opened(visitor(), page, furnished)
    tab.page.evaluate(AXE)
    tab.page.evaluate("document.querySelectorAll('details.more').forEach(d => d.open = true)")
    bad = []
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        found = tab.page.evaluate("async () => (await axe.run(document)).violations")
        bad += [
            f"{scheme}: {one['impact']} {one['id']}: {node['html']}\n   {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
    assert not bad, "\n".join(bad)
    assert not tab.unexpected()


@each_page
def test_a_phone_shows_it_without_scrolling_sideways(
    page: str, furnished: dict[str, str], visitor: Callable[..., Tab]
) -> None:
    tab = opened(visitor(phone=True), page, furnished)
    wide = tab.page.evaluate(_WIDER)
    assert not wide, f"wider than the screen: {wide}"
    assert not tab.unexpected()


_OUT_OF_ITS_CARD = """() => [...document.querySelectorAll('.card:not(.scroll) *, .note *')]
  .filter(e => !e.closest('.hidden, svg, pre, details:not([open])'))
  .filter(e => e.getBoundingClientRect().right
               > e.closest('.card, .note').getBoundingClientRect().right + 1)
  .map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`).slice(0, 8)"""
_WIDER = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  return [`${document.documentElement.scrollWidth} > ${room}`].concat(
    [...document.querySelectorAll('body *')]
      .filter(e => e.getBoundingClientRect().right > room + 1)
      .map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`).slice(0, 8));
}"""


@each_page
def test_it_costs_little_and_shows_its_content_before_any_script(
    page: str, furnished: dict[str, str], visitor: Callable[..., Tab]
) -> None:
    tab = visitor(width=1200)
    held: list[Route] = []
    tab.page.route("**/*.js*", lambda route: held.append(route))  # asked for, and not answered
    try:
        tab.go(PAGES[page].format(**furnished), wait_until="commit")
        expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
        expect(tab.page.locator("main")).not_to_be_empty()
    finally:
        for route in held:
            route.abort()
        tab.page.unroute("**/*.js*")
    with counted(tab.page) as traffic:
        opened(tab, page, furnished)
        tab.page.wait_for_load_state("load")
    wide = tab.page.evaluate(_OUT_OF_ITS_CARD)
    assert not wide, f"wider than the card that they are in: {wide}"
    assert traffic.total > 1000
    assert traffic.total < BUDGET, traffic.largest()
