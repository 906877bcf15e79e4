"""Definitions are changed from any tab, with or without an owner, and no edit is lost."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Seat, Tab
from playwright.sync_api import Page, expect
from webworld import WebWorld

from tenure.domain.job import Command, JobState

pytestmark = pytest.mark.browser
Sit = Callable[..., Seat]


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def saved(page: Page) -> None:
    page.wait_for_url(re.compile(r"/jobs/[^/]+\?done="))


def two_tabs(world: WebWorld, sit: Sit) -> tuple[Tab, Tab]:
    """Two browsers with the same job open to be edited."""
    job = world.add("report", "make report", timeout=None)
    path = f"{world.path}/jobs/{job.id}/edit"
    return sit().tab(path), sit().tab(path)


def test_two_tabs_that_change_the_same_part_both_see_both_versions(
    world: WebWorld, sit: Sit
) -> None:
    one, other = two_tabs(world, sit)
    other.expect("status of 409")
    one.page.get_by_label("Command").fill("make report --fast")
    save(one.page)
    saved(one.page)

    page = other.page
    page.get_by_label("Command").fill("make report --quiet")
    page.get_by_label("Tags").fill("nightly")
    save(page)
    expect(page.get_by_role("alert")).to_contain_text("saved revision 2")
    expect(page.get_by_role("alert")).to_contain_text("Both versions are kept")
    row = page.get_by_role("row", name="Command")
    for version in ("make report", "make report --fast", "make report --quiet"):
        expect(row).to_contain_text(version)
    assert world.store.job("report").revision == 2  # nothing is written before the choice

    row.get_by_label("yours").check()
    page.get_by_role("button", name="Save as chosen").click()
    saved(page)
    job = world.store.job("report")
    assert isinstance(job.definition.action, Command)
    assert job.definition.action.argv == ("make report --quiet",)
    assert job.definition.tags == ("nightly",)
    assert [r.revision for r in world.store.revisions(job.id)] == [1, 2, 3]


def test_the_other_version_can_be_kept_and_the_rest_of_mine_with_it(
    world: WebWorld, sit: Sit
) -> None:
    one, other = two_tabs(world, sit)
    other.expect("status of 409")
    one.page.get_by_label("Command").fill("make report --fast")
    save(one.page)
    saved(one.page)
    page = other.page
    page.get_by_label("Command").fill("make report --quiet")
    page.get_by_label("Tags").fill("nightly")
    save(page)
    page.get_by_role("row", name="Command").get_by_label("revision 2").check()
    page.get_by_role("button", name="Save as chosen").click()
    saved(page)
    job = world.store.job("report")
    assert isinstance(job.definition.action, Command)
    assert job.definition.action.argv == ("make report --fast",)
    assert job.definition.tags == ("nightly",)


def test_two_tabs_that_change_different_parts_are_merged_and_told(
    world: WebWorld, sit: Sit
) -> None:
    one, other = two_tabs(world, sit)
    one.page.get_by_label("Timeout").fill("10m")
    save(one.page)
    saved(one.page)
    other.page.get_by_label("Schedule", exact=True).fill("every 3h")
    save(other.page)
    saved(other.page)
    expect(
        other.page.get_by_role("status").filter(has_text="Changes that others made")
    ).to_be_visible()
    definition = world.store.job("report").definition
    assert definition.timeout is not None
    assert definition.timeout.total_seconds() == 600
    assert definition.schedule.text == "every 3h"


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    world: WebWorld, sit: Sit
) -> None:
    tab = sit().tab(f"{world.path}/jobs/new")
    tab.expect("status of 422")
    page = tab.page
    page.get_by_label("Command").fill("echo 'half a quote")
    page.get_by_label("Schedule", exact=True).fill("every 5m")
    page.get_by_role("button", name="Add the job").click()
    expect(page.get_by_role("alert")).to_contain_text("a quote is not closed")
    command = page.get_by_label("Command")
    expect(command).to_have_value("echo 'half a quote")
    expect(command).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Schedule", exact=True)).to_have_value("every 5m")
    command.fill("echo whole")
    page.get_by_role("button", name="Add the job").click()
    saved(page)
    assert len(world.store.jobs()[0]) == 1


def test_pause_resume_remove_and_undo(world: WebWorld, sit: Sit) -> None:
    gateway = world.gateway().wait_owner()
    job = world.add("tidy", "true", schedule="every 1s")
    tab = sit().tab(f"{world.path}/jobs")
    page = tab.page
    expect(page.get_by_role("link", name="Succeeded")).to_be_visible()
    page.get_by_role("button", name="Pause tidy").click()
    expect(page.get_by_role("status").filter(has_text="is paused")).to_be_visible()
    assert world.store.job(job.id).state is JobState.PAUSED
    page.get_by_role("button", name="Resume tidy").click()
    expect(page.get_by_role("status").filter(has_text="is resumed")).to_be_visible()
    assert world.store.job(job.id).state is JobState.ACTIVE

    page.get_by_role("link", name="tidy", exact=True).first.click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="is removed")).to_be_visible()
    assert world.store.job(job.id).state is JobState.REMOVED
    page.get_by_role("button", name="Undo: add it again").click()
    expect(page.get_by_role("status").filter(has_text="Added again")).to_be_visible()
    again = world.store.job("tidy")
    assert again.state is JobState.ACTIVE
    assert again.id != job.id
    assert again.definition == job.definition
    gateway.stop()
    world.check_audit()
