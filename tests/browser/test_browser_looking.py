"""What the page shows of others: output as it comes, hand-overs, profiles, other planners."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Seat, Surfer
from playwright.sync_api import expect
from webworld import Web, WebWorld

from tenure.domain.run import RunState

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]


def test_the_output_of_a_long_run_comes_as_it_is_written(world: WebWorld, sit: Sit) -> None:
    world.gateway().wait_owner()
    go = world.folder / "go"
    wait = f"until [ -e {go} ]; do sleep 0.05; done"
    job = world.add("long", f"echo first; {wait}; echo second; exec sleep 600")
    tab = sit().tab(f"{world.path}/jobs/{job.id}")
    page = tab.page
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Running")
    log = page.get_by_role("log")
    expect(log).to_have_text(re.compile(r"^first\s*$"))
    go.touch()
    expect(log).to_have_text(re.compile(r"^first\s+second\s*$"))

    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancelled")
    expect(log).to_have_text(re.compile(r"^first\s+second\s*$"))  # neither lost nor twice
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert world.run().state is RunState.CANCELLED


def test_ownership_is_handed_over_to_the_candidate_that_was_chosen(
    world: WebWorld, sit: Sit
) -> None:
    first = world.gateway(role="first").wait_owner()
    second = world.gateway(role="second")
    pid = second.pid

    world.wait_candidate("second")
    seat = sit()
    watching, tab = seat.tab(f"{world.path}/"), seat.tab(f"{world.path}/owner")
    page = tab.page
    judged = page.get_by_role("region", name="Each process against the rules")
    expect(judged).to_contain_text("Rule 1 admits it")
    expect(judged).to_contain_text("observer")  # the dashboard itself
    page.get_by_label("To", exact=True).select_option(label=f"second, pid {pid}, rule 1")
    page.get_by_role("button", name="Ask the owner to hand over").click()
    expect(page.locator("#ownerbar")).to_contain_text(f"Owner: second, pid {pid}")
    expect(watching.page.locator("#ownerbar")).to_contain_text(f"Owner: second, pid {pid}")
    expect(watching.page.locator("#ownerbar")).to_contain_text("term 2")
    tab.go(f"{world.path}/owner")
    terms = page.get_by_role("region", name="Terms")
    expect(terms.get_by_role("row")).to_have_count(3)
    expect(terms).to_contain_text("Requested by")  # why term 1 ended
    assert first.started.process.poll() is None
    world.check_audit()


def test_the_switcher_goes_from_one_profile_to_the_other(
    web: Web, world: WebWorld, sit: Sit
) -> None:
    gateway = world.gateway().wait_owner()
    world.add("mine", "true")
    other = web.world("another")
    other.add("theirs", "true")
    tab = sit().tab("/")
    page = tab.page
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=world.name, exact=True))
    expect(row).to_contain_text(f"gateway, pid {gateway.pid}")
    expect(page.get_by_role("row").filter(has_text="another")).to_contain_text("no owner")
    page.get_by_role("link", name=world.name, exact=True).click()
    expect(page.get_by_role("region", name="The next 24 hours")).to_contain_text("mine")
    page.get_by_label("choose another").click()
    page.get_by_role("link", name="another", exact=True).click()
    page.wait_for_url(f"**{other.path}/")
    expect(page.locator("#ownerbar")).to_contain_text("This profile has no owner")
    expect(page.get_by_role("region", name="The next 24 hours")).to_contain_text("theirs")


def test_a_job_that_hermes_plans_is_shown_and_not_changed_here(world: WebWorld, sit: Sit) -> None:
    job = world.add_foreign("backup")
    tab = sit().tab(f"{world.path}/jobs")
    page = tab.page
    row = page.get_by_role("row", name="backup")
    expect(row).to_contain_text("planned by Hermes")
    expect(row).to_contain_text("Hermes decides")
    page.get_by_role("link", name="backup", exact=True).click()
    expect(page.locator("main")).to_contain_text("Hermes plans this job and keeps its definition")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    tab.go(f"{world.path}/jobs/{job.id}/edit")
    expect(page.locator("main")).to_contain_text("is not edited here")
    expect(page.locator("main")).to_contain_text("hermes cron")
    tab.go(f"{world.path}/")
    expect(page.locator("main")).to_contain_text("Another scheduler plans these jobs")


def test_a_dashboard_that_goes_away_is_told_and_nothing_shown_is_lost(
    web: Web, world: WebWorld, surfer: Surfer
) -> None:
    world.gateway().wait_owner()
    world.add("report", "echo the report")
    own = web.dashboard()
    tab = surfer.sits(own.link).tab(f"{world.path}/")
    tab.expect("ERR_|Failed to fetch|NetworkError|network error")
    page = tab.page
    expect(page.locator("html")).to_have_attribute("data-link", "live")
    own.kill()
    expect(page.locator("html")).to_have_attribute("data-link", "lost")
    expect(page.locator("main")).to_contain_text("report")
    web.dashboard(port=own.port)
    expect(page.locator("html")).to_have_attribute("data-link", "live")
    world.add("added-meanwhile", "true")
    expect(page.locator("main")).to_contain_text("added-meanwhile")


def test_jobs_are_found_while_one_types(world: WebWorld, sit: Sit) -> None:
    for name in ("backup-photos", "backup-mail", "weekly-report"):
        world.add(name, "true", tags=("nightly",) if "mail" in name else ())
    tab = sit().tab(f"{world.path}/jobs")
    page = tab.page
    rows = page.locator("tbody th")
    expect(rows).to_have_count(3)
    page.get_by_role("searchbox").press_sequentially("backup", delay=10)
    expect(rows).to_have_count(2)
    page.get_by_role("searchbox").fill("tag:nightly")
    expect(rows).to_have_text([re.compile("backup-mail")])
    assert "q=tag%3Anightly" in page.url  # so that a reload shows the same
    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="clear").click()
    expect(rows).to_have_count(3)
