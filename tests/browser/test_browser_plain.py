"""Without scripts, without a mouse, without the right to write: each can do what it should."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Seat, Surfer
from playwright.sync_api import Page, expect
from webworld import Dashboard, Web, WebWorld

from waiting import eventually

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]


def test_without_scripts_everything_can_be_read_and_a_job_made(world: WebWorld, sit: Sit) -> None:
    gateway = world.gateway().wait_owner()
    tab = sit(scripts=False).tab(f"{world.path}/")
    page = tab.page
    expect(page.locator("#ownerbar")).to_contain_text(f"Owner: gateway, pid {gateway.pid}")
    expect(page.locator("#ownerbar").get_by_role("link", name="reload")).to_be_visible()
    page.get_by_role("link", name="New job").first.click()
    page.get_by_label("Command").fill("echo by hand")
    page.get_by_label("Name", exact=True).fill("by-hand")
    page.get_by_label("Schedule", exact=True).fill("every 2h")
    page.get_by_role("button", name="Show the next scheduled runs").click()
    expect(page.locator("#preview")).to_contain_text("Every 2 hours")
    expect(page.locator("#preview time")).to_have_count(10)
    expect(page.get_by_label("Command")).to_have_value("echo by hand")
    page.get_by_role("button", name="Add the job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("by-hand")
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/(runs|requests)/[^/]+$"))
    eventually(lambda: world.runs() and world.run().finished_at, "the run to end")
    tab.go(f"{world.path}/runs/{world.run().id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Succeeded")
    expect(page.get_by_role("log")).to_contain_text("by hand")
    for name in ("Overview", "Jobs", "Runs", "Requests", "Owner"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("main")).not_to_be_empty()


def test_the_keyboard_alone_makes_a_job_and_runs_it(world: WebWorld, sit: Sit) -> None:
    world.gateway().wait_owner()
    page = sit().tab(f"{world.path}/").page
    keys = page.keyboard
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keys.press("Enter")  # past the navigation
    tab_to(page, "New job")
    keys.press("Enter")
    page.wait_for_url("**/jobs/new")
    tab_to(page, "Command")
    keys.type("echo typed")
    tab_to(page, "Name")
    keys.type("typed")
    tab_to(page, "Schedule")
    keys.type("in 5h")
    keys.press("Enter")  # as in every form
    page.wait_for_url(re.compile(r"/jobs/[^/]+\?done=added$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("typed")
    tab_to(page, "Run now")
    keys.press("Enter")
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Succeeded")
    expect(page.get_by_role("log")).to_contain_text("typed")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on what is called so; each stop on the way must be seen."""
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focus = page.evaluate(_FOCUS)
        seen.append(focus["name"])
        assert focus["visible"], f"the focus is not to be seen on {focus['name']!r}"
        if focus["name"] == name:
            return
    raise AssertionError(f"no {name!r} came under the focus, but {seen}")


_FOCUS = """() => {
  const at = document.activeElement;
  const label = at.labels && at.labels[0];
  const name = (label || at).textContent.trim().split('\\n')[0].trim();
  const ring = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  const visible = at === document.body ||
    (box.width > 1 && box.height > 1 && ring.outlineStyle !== 'none');
  return {name, visible};
}"""


def test_who_may_only_look_sees_everything_and_is_offered_nothing(
    web: Web, world: WebWorld, surfer: Surfer
) -> None:
    world.gateway().wait_owner()
    job = world.add("report", "echo the report", schedule="every 1s")
    eventually(world.runs, "a run")
    tab = surfer.sits(web.dashboard("--read-only").link).tab(f"{world.path}/")
    page = tab.page
    expect(page.locator("#ownerbar")).to_contain_text("Read-only")
    for path in ("/", "/jobs", f"/jobs/{job.id}", f"/runs/{world.runs()[0].id}", "/owner"):
        tab.go(world.path + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("main form[method=post]")).to_have_count(0)
    tab.expect("status of 403")
    answer = page.request.post(
        f"{tab.origin}{world.path}/jobs/{job.id}/state",
        form={"to": "pause"},
        headers={"Origin": tab.origin},
    )
    assert answer.status == 403
    assert "is read-only" in answer.text()
    assert str(world.store.job(job.id).state) == "active"


def test_without_the_token_nothing_is_shown(
    world: WebWorld, dashboard: Dashboard, surfer: Surfer
) -> None:
    world.add("secret-report", "true")
    tab = surfer.sits(f"{dashboard.origin}{world.path}/jobs").tab(f"{world.path}/jobs")
    tab.expect("status of 401")
    expect(tab.page.locator("body")).to_contain_text("tenure dashboard")
    expect(tab.page.locator("body")).not_to_contain_text("secret-report")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_dark_can_be_chosen_and_stays_chosen(world: WebWorld, sit: Sit, scripts: bool) -> None:
    tab = sit(scripts=scripts).tab(f"{world.path}/jobs")
    page = tab.page
    assert "rgb(2" in _ground(page)  # light, as the system has it
    page.get_by_role("button", name="Dark").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert tab.path == f"{world.path}/jobs"
    tab.go(f"{world.path}/owner")
    assert "rgb(1" in _ground(page)
    page.get_by_role("button", name="As the system").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "false")
    assert "rgb(2" in _ground(page)


def _ground(page: Page) -> str:
    """The colour behind everything: ``rgb(245, 246, 248)``."""
    return str(page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"))
