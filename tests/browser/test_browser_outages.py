"""What an open page says and does when what it looks at goes away, stands still or is replaced."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Seat, Surfer
from playwright.sync_api import Page, expect
from webworld import Web, WebWorld

from freezing import freeze
from waiting import eventually

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]
OUTAGE = "ERR_|Failed to fetch|NetworkError|network error|the server responded with a status of"


def link(page: Page, state: str) -> None:
    expect(page.locator("html")).to_have_attribute("data-link", state)


def test_a_followed_output_goes_on_over_a_restart_of_the_dashboard(
    web: Web, world: WebWorld, surfer: Surfer
) -> None:
    """And the cookie is still good: nobody is asked for the link again."""
    world.gateway().wait_owner()
    steps = [world.folder / "one", world.folder / "two"]
    waits = [f"until [ -e {step} ]; do sleep 0.05; done" for step in steps]
    line = f"echo 'first ä'; {waits[0]}; echo second; {waits[1]}; echo third; exec sleep 600"
    job = world.add("long", line)
    own = web.dashboard()
    seat = surfer.sits(own.link)
    tab = seat.tab(f"{world.path}/jobs/{job.id}")
    tab.expect(OUTAGE)
    page = tab.page
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    log = page.get_by_role("log")
    expect(log).to_have_text("first ä\n", use_inner_text=False)
    own.kill()
    steps[0].touch()
    log_file = next(iter(world.profile.folder.logs.glob("*/1.log")))
    eventually(lambda: b"second" in log_file.read_bytes(), "the job to write on")
    link(page, "lost")
    web.dashboard(port=own.port)
    expect(log).to_have_text(re.compile("second"))
    link(page, "live")
    steps[1].touch()
    expect(log).to_have_text(re.compile("third"))
    shown = log.evaluate("e => e.textContent")
    assert shown == "first ä\nsecond\nthird\n", "neither lost nor twice"
    page.reload()  # from here on the page itself brings it, and follows from its end
    expect(log).to_have_text(re.compile("third"))
    assert log.evaluate("e => e.textContent") == shown
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancelled")
    assert log.evaluate("e => e.textContent") == shown


def test_a_dashboard_that_stands_still_is_told_and_recovers(
    web: Web, world: WebWorld, surfer: Surfer
) -> None:
    world.add("report", "true")
    own = web.dashboard()
    tab = surfer.sits(own.link).tab("/")
    tab.expect(OUTAGE + "|aborted")
    tab.page.clock.install()
    page = tab.go(f"{world.path}/")
    link(page, "live")
    pid = own.started.pid
    freeze(pid)
    try:
        world.add("added-meanwhile", "true")
        page.clock.fast_forward(13_000)  # no word from its stream for so long
        link(page, "lost")
        expect(page.locator("main")).to_contain_text("report")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(page.locator("main")).to_contain_text("added-meanwhile")
    page.clock.fast_forward(3_000)
    link(page, "live")


def test_a_profile_that_is_deleted_and_comes_back_under_an_open_page(
    world: WebWorld, sit: Sit
) -> None:
    world.add("report", "true")
    seat = sit()
    tab, overall = seat.tab(f"{world.path}/jobs"), seat.tab("/")
    tab.expect(OUTAGE)
    page = tab.page
    link(page, "live")
    expect(page.locator("main")).to_contain_text("report")
    folder = world.profile.folder.path
    backup = folder.with_name("backup-of-it")
    shutil.copytree(folder, backup, symlinks=True, ignore=_no_sockets)
    hidden = world.folder / "deleted"
    folder.rename(hidden)
    expect(page.locator("main")).to_contain_text(f"Profile {world.name} does not exist")
    expect(overall.page.get_by_role("link", name=world.name, exact=True)).to_have_count(0)
    backup.rename(folder)
    expect(overall.page.get_by_role("link", name=world.name, exact=True)).to_have_count(1)
    expect(page.get_by_role("row", name="report")).to_contain_text("Once at")
    link(page, "live")


def test_a_profile_that_is_made_and_an_owner_that_dies_under_the_page_of_all(
    web: Web, world: WebWorld, sit: Sit
) -> None:
    page = sit(looks=False).tab("/").page
    link(page, "live")
    other = web.world("made-meanwhile")
    try:
        row = page.get_by_role("row", name="made-meanwhile")
        expect(row).to_contain_text("no owner")
        gateway = other.gateway().wait_owner()
        expect(row).to_contain_text(re.compile(rf"Owner: .*pid {gateway.pid}"))
        gateway.kill()
        expect(row).to_contain_text("is dead")
    finally:
        web.worlds.remove(other)
        other.close()


def test_a_damaged_store_is_told_with_what_to_do_and_the_page_recovers(
    world: WebWorld, sit: Sit
) -> None:
    world.add("report", "true")
    tab = sit().tab(f"{world.path}/jobs")
    tab.expect(OUTAGE)
    page = tab.page
    link(page, "live")
    database = world.profile.folder.database
    whole, aside = database.read_bytes(), world.folder / "whole.db"
    database.rename(aside)
    database.write_bytes(os.urandom(len(whole)))
    link(page, "lost")
    expect(page.locator("main")).to_contain_text("report")  # what was shown is kept, marked as old
    tab.go_anyway(f"{world.path}/jobs")
    expect(page.locator("main")).to_contain_text("damaged")
    aside.rename(database)
    tab.go(f"{world.path}/jobs")
    expect(page.locator("main")).to_contain_text("report")


def test_who_is_locked_out_is_told_how_to_come_in_and_can(
    web: Web, world: WebWorld, surfer: Surfer
) -> None:
    """New tokens while a page is open: its cookie is wrong, each time it asks."""
    world.add("report", "true")
    own = web.dashboard()
    seat = surfer.sits(own.link)
    tab = seat.tab(f"{world.path}/jobs")
    tab.expect(OUTAGE)
    page = tab.page
    link(page, "live")
    tokens = web.home / "web.json"
    before = tokens.read_text()
    try:
        said = world.tenure("dashboard", "--new-token", "--port", str(own.port))
        assert said.code == 0, said
        world.add("added-meanwhile", "true")
        expect(page.locator("main")).to_contain_text("tenure dashboard")
        expect(page.locator("main")).not_to_contain_text("report")
        new = seat.context.new_page()
        new.goto(said.out.strip())
        expect(new.get_by_role("link", name="API")).to_be_visible()
        expect(page.locator("main")).to_contain_text("added-meanwhile")
        link(page, "live")
    finally:
        tokens.write_text(before)


def test_two_dashboards_show_the_same(web: Web, world: WebWorld, surfer: Surfer, sit: Sit) -> None:
    job = world.add("report", "true")
    here = sit().tab(f"{world.path}/jobs/{job.id}").page
    there = surfer.sits(web.dashboard().link).tab(f"{world.path}/").page
    link(there, "live")
    here.get_by_role("button", name="Pause").click()
    expect(here.get_by_role("button", name="Resume")).to_be_visible()
    there.goto(there.url + "jobs")
    expect(there.get_by_role("row", name="report")).to_contain_text("paused")
    link(there, "live")
    here.get_by_role("button", name="Resume").click()
    expect(there.get_by_role("row", name="report")).not_to_contain_text("paused")


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [
        name for name in names if not (Path(folder, name).is_file() or Path(folder, name).is_dir())
    ]
