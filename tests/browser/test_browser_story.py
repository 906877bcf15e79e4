"""What the page is for: jobs are made and asked for here, and run by the gateway alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Seat, Tab
from playwright.sync_api import expect
from webworld import WebWorld

pytestmark = pytest.mark.browser


def run_page(tab: Tab) -> str:
    """The text of the run's page, once the browser is on one."""
    tab.page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    return tab.page.inner_text("main")


def test_a_job_is_made_and_the_gateway_runs_it(world: WebWorld, sit: Callable[..., Seat]) -> None:
    gateway = world.gateway().wait_owner()
    tab = sit().tab(f"{world.path}/")
    page = tab.page
    expect(page.locator("#ownerbar")).to_contain_text(f"Owner: gateway, pid {gateway.pid}")

    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    page.get_by_role("link", name="New job").first.click()
    preview = page.locator("#preview")
    page.get_by_label("Command").fill("/bin/echo good morning")
    page.get_by_label("Name", exact=True).fill("greet")

    schedule = page.get_by_label("Schedule", exact=True)
    schedule.press_sequentially("every 9", delay=5)
    expect(preview).to_contain_text("every 90s")  # what is wrong, and an example of what is not
    schedule.press_sequentially("0s", delay=5)
    expect(preview).to_contain_text("Every 1 minute 30 seconds")
    expect(preview.locator("time")).to_have_count(10)
    schedule.fill("30 2 * * *")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(preview).to_contain_text("Next clock change")
    schedule.fill("every 2s")
    expect(preview).to_contain_text("Every 2 seconds")
    page.get_by_role("button", name="Add the job").click()

    page.wait_for_url(re.compile(r"/jobs/[^/]+\?done=added$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("greet")
    expect(page.get_by_role("status").filter(has_text="Added.")).to_be_visible()

    outcome = page.get_by_role("link", name="Succeeded").first
    outcome.click()  # it comes without a reload
    told = run_page(tab)
    assert "good morning" in told
    assert "gateway-launcher" in told
    assert str(gateway.pid) in told
    assert "its schedule" in told
    run = world.runs()[0]
    assert world.store.process(run.process).evidence.identity.pid == gateway.pid


def test_a_trigger_is_run_by_the_gateway(world: WebWorld, sit: Callable[..., Seat]) -> None:
    gateway = world.gateway().wait_owner()
    job = world.add("report", "echo the report")
    tab = sit().tab(f"{world.path}/jobs/{job.id}")
    tab.page.get_by_role("button", name="Run now").click()
    tab.page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    page = tab.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Succeeded")
    expect(page.get_by_role("log")).to_contain_text("the report")
    expect(page.locator("main")).to_contain_text(f"pid {gateway.pid}")
    why = page.get_by_role("region", name="Why it ran")
    expect(why).to_contain_text("a request")
    expect(why).to_contain_text("dashboard")
    world.check_audit()


def test_without_a_gateway_a_trigger_is_refused_and_can_be_left_for_it(
    world: WebWorld, sit: Callable[..., Seat]
) -> None:
    world.gateway().wait_owner().stop()
    job = world.add("report", "echo the report")
    tab = sit().tab(f"{world.path}/jobs/{job.id}")
    tab.expect("status of 409")
    page = tab.page
    expect(page.locator("#ownerbar")).to_contain_text("This profile has no owner")
    page.get_by_role("button", name="Run now").click()

    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("has no owner, so the request was refused")
    expect(refusal).to_contain_text("gateway-launcher")
    expect(refusal).to_contain_text("tenure serve")
    assert world.runs() == ()

    page.get_by_role("button", name="Leave it for the owner").click()
    page.wait_for_url(re.compile(r"/requests/[^/]+$"))
    expect(page.locator("main")).to_contain_text("It waits for an owner")
    assert world.runs() == ()

    gateway = world.gateway().wait_owner()
    link = page.locator("main dd").get_by_role("link", name="Succeeded")
    expect(link).to_be_visible()  # this page shows the answer when it comes
    link.click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    expect(page.get_by_role("log")).to_contain_text("the report")
    expect(page.locator("main")).to_contain_text(f"pid {gateway.pid}")
    assert len(world.runs()) == 1
    world.check_audit()


def test_a_killed_gateway_is_told_at_once_and_what_happens_to_protected_jobs(
    world: WebWorld, sit: Callable[..., Seat]
) -> None:
    gateway = world.gateway().wait_owner()
    world.add("read-mail", "true", schedule="every 1s", protected=True)
    seat = sit(looks=False)  # the kernel's word on the owner comes by the stream
    overview, owner = seat.tab(f"{world.path}/"), seat.tab(f"{world.path}/owner")
    pid = gateway.pid
    for tab in (overview, owner):
        expect(tab.page.locator("#ownerbar")).to_contain_text(re.compile(rf"Owner: .*pid {pid}"))
        expect(tab.page.locator("html")).to_have_attribute("data-link", "live")

    gateway.kill()
    bar = owner.page.locator("#ownerbar")
    expect(bar).to_contain_text("is dead")
    expect(bar).to_contain_text("Protected jobs are held")

    expect(overview.page.get_by_role("heading", name="The owner is dead")).to_be_visible()
    expect(overview.page.locator("#ownerbar")).to_contain_text("Protected jobs are held")
    warning = overview.page.locator(".note.warn").first
    expect(warning).to_contain_text("tenure serve")

    again = world.gateway().wait_owner()
    expect(bar).to_contain_text(re.compile(rf"Owner: .*pid {again.pid}"))
    expect(overview.page.get_by_role("heading", name="The owner")).to_be_visible()
    world.check_audit()
