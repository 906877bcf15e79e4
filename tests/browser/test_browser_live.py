"""Changes comes by itself, by events or by looking, and disturbs nobody at what they are doing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Seat, Surfer, Tab
from playwright.sync_api import expect
from webworld import WebWorld, link_of

from waiting import eventually

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
COLOURED = r"\033[31mred\033[0m"


def test_without_events_the_page_looks_by_itself(world: WebWorld, sit: Sit) -> None:
    seat = sit()
    tab = seat.tab("/")
    tab.expect("ERR_FAILED|Failed to fetch")
    tab.page.route("**/live?*", lambda route: route.abort())
    tab.go(f"{world.path}/jobs")
    world.add("added-by-another", "true")
    expect(tab.page.get_by_role("link", name="added-by-another")).to_be_visible()
    expect(tab.page.locator("html")).to_have_attribute("data-link", "polling")


def test_many_tabs_of_one_browser_are_all_served(world: WebWorld, sit: Sit) -> None:
    """A browser keeps six connections to a server; here every tab is seen at once."""
    seat = sit()
    tabs = [seat.tab(f"{world.path}/jobs") for _ in range(9)]

    def live() -> list[Tab]:
        link = "data-link"
        return [t for t in tabs if t.page.locator("html").get_attribute(link) == "live"]

    eventually(lambda: len(live()) == 3, "three of the tabs to have a stream")
    world.add("seen-by-all", "true")
    for tab in tabs:
        expect(tab.page.get_by_role("link", name="seen-by-all")).to_be_visible()
    eventually(lambda: len(live()) == 3, "three of the tabs to have a stream still")
    closed = live()[0]
    tabs.remove(closed)
    closed.page.close()
    eventually(lambda: len(live()) == 3, "another tab to take the place of the one that was closed")


def test_news_does_not_disturb_what_a_person_is_doing(world: WebWorld, sit: Sit) -> None:
    world.gateway(role="first").wait_owner()
    second = world.gateway(role="second").pid
    world.wait_candidate("second")
    seat = sit()
    owner, jobs = seat.tab(f"{world.path}/owner"), seat.tab(f"{world.path}/jobs")

    chosen = owner.page.get_by_label("To", exact=True)
    expect(chosen.locator("option")).to_have_count(2)
    chosen.select_option(label=f"second, pid {second}, rule 1")
    rules = owner.page.locator("#d-toml")
    rules.locator("summary").click()
    expect(rules).to_have_attribute("open", "")
    search = jobs.page.get_by_role("searchbox")
    search.fill("new")  # half a word

    world.add("news", "true")
    world.gateway(role="third")
    expect(jobs.page.get_by_role("link", name="news")).to_be_visible()
    judged = owner.page.get_by_role("region", name="Each process against the rules")
    expect(judged).to_contain_text("third")
    assert chosen.evaluate("e => e.selectedOptions[0].textContent").startswith("second")
    expect(rules).to_have_attribute("open", "")
    expect(search).to_have_value("new")
    expect(search).to_be_focused()


def test_the_focus_stays_where_it_is_when_the_list_changes(world: WebWorld, sit: Sit) -> None:
    world.add("middle", "true")
    page = sit().tab(f"{world.path}/jobs").page
    button = page.get_by_role("button", name="Pause middle")
    button.focus()
    world.add("above", "true")
    expect(page.get_by_role("link", name="above")).to_be_visible()
    expect(button).to_be_focused()


def test_two_clicks_ask_once(world: WebWorld, sit: Sit) -> None:
    world.gateway().wait_owner()
    job = world.add("report", "echo the report")
    page = sit().tab(f"{world.path}/jobs/{job.id}").page
    page.get_by_role("button", name="Run now").dblclick()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Succeeded")
    assert len(world.store.requests(limit=10)) == 1
    assert len(world.runs()) == 1


def test_what_a_job_writes_is_text_and_nothing_else(world: WebWorld, sit: Sit) -> None:
    world.gateway().wait_owner()
    go = world.folder / "go"
    say = f"printf '%b' '{COLOURED} {HOSTILE}\\n'"
    wait = f"until [ -e {go} ]; do sleep 0.05; done"
    job = world.add("hostile", f"{say}; {wait}; {say}; printf 'a\\rb\\n'")
    page = sit().tab(f"{world.path}/jobs/{job.id}").page
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    log = page.get_by_role("log")
    line = f"red {HOSTILE}\n"
    expect(log).to_contain_text("onerror")
    go.touch()
    expect(page.get_by_role("heading", level=1)).to_have_text("Succeeded")
    whole = f"{line}{line}a\nb\n"
    # The heading comes by one stream, what was written by another.
    eventually(lambda: len(log.evaluate("e => e.textContent")) >= len(whole), "all of its output")
    assert log.evaluate("e => e.textContent") == whole
    page.reload()
    assert log.evaluate("e => e.textContent") == whole
    assert log.locator("*").count() == 0


def test_a_stopped_gateway_is_named_and_a_trigger_of_it_is_refused_until_it_goes_on(
    world: WebWorld, sit: Sit
) -> None:
    gateway = world.gateway().wait_owner()
    job = world.add("report", "echo the report")
    tab = sit().tab(f"{world.path}/jobs/{job.id}")
    tab.expect("status of 403")
    page = tab.page
    world.freeze_outside_a_transaction(gateway)
    try:
        page.get_by_role("button", name="Run now").click()
        expect(page.locator("main")).to_contain_text("is stopped by a signal")
        expect(page.locator("main")).to_contain_text(f"kill -CONT {gateway.pid}")
    finally:
        gateway.wake()
    tab.go(f"{world.path}/jobs/{job.id}")
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/(requests|runs)/[^/]+$"))
    expect(page.locator("main")).to_contain_text("succeeded", ignore_case=True)


def test_the_page_can_be_served_by_the_gateway_itself(world: WebWorld, surfer: Surfer) -> None:
    gateway = world.gateway("--web", "127.0.0.1:0").wait_owner()
    found = eventually(lambda: link_of(gateway.started.said()), "the link")
    assert found is not None
    tab = surfer.sits(found[0], looks=False).tab(f"{world.path}/")
    tab.expect("ERR_|Failed to fetch|network error")
    expect(tab.page.locator("#ownerbar")).to_contain_text(
        re.compile(rf"Owner: .*pid {gateway.pid}")
    )
    expect(tab.page.locator("html")).to_have_attribute("data-link", "live")
    gateway.kill()
    expect(tab.page.locator("html")).to_have_attribute("data-link", "lost")
    note = "e => getComputedStyle(e, '::after').content"
    assert "no connection" in tab.page.locator("#ownerbar .made").evaluate(note)
