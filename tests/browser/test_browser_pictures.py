"""Pictures of the page, after a day of work: for whoever looks at them, and two for the README.

They are written into TENURE_PICTURES, or a temporary folder. `make pictures` shows them, and
renews those of docs/images/.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from browsing import Surfer, Tab
from playwright.sync_api import Browser, expect
from stage import PROFILE, Stage
from webworld import now
from yesterday import live_through

from tenure.domain.run import RunState
from tenure.store.contract import RunFilter
from waiting import eventually

pytestmark = pytest.mark.browser
LARGEST = 200_000
"""Bytes of a picture for the README."""
INDEX = (
    "for box in inbox sent archive; do echo $box: 128 messages, 3 of them new; done; exec sleep 60"
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    try:
        live_through(made.profile, now() - timedelta(minutes=2))
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def into(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("TENURE_PICTURES")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def taken(tab: Tab, path: Path, *, to: str | None = None) -> None:
    """Picture the page, as far down as the element ``to``. Nothing is under the mouse."""
    page = tab.page
    page.mouse.move(0, 0)
    height = page.evaluate("document.documentElement.scrollHeight")
    if to is not None:
        box = page.locator(to).bounding_box()
        assert box is not None
        height = box["y"] + box["height"] + 20
    size = page.viewport_size
    assert size is not None
    page.screenshot(
        path=path, full_page=True, animations="disabled",
        clip={"x": 0, "y": 0, "width": size["width"], "height": min(height, 1600)},
    )  # fmt: skip
    assert path.stat().st_size < LARGEST, f"{path}: {path.stat().st_size} bytes"


def test_pictures_of_a_day(chromium: Browser, stage: Stage, into: Path) -> None:
    surfer = Surfer(chromium)
    try:
        _take(surfer, stage, into)
        assert not surfer.complaints()
    finally:
        surfer.leave()


def _take(surfer: Surfer, stage: Stage, into: Path) -> None:
    base = f"/p/{PROFILE}"
    link = stage.begin()
    light, dark = surfer.sits(link, width=1200), surfer.sits(link, width=1200, dark=True)

    new = light.tab(f"{base}/jobs/new")
    new.page.get_by_label("Command").fill(INDEX)
    new.page.get_by_label("Run it in a shell").check()
    new.page.get_by_label("Name", exact=True).fill("index-mail")
    new.page.get_by_label("Time zone").fill("Europe/Berlin")
    new.page.get_by_label("Schedule", exact=True).fill("every weekday at 2:30")
    expect(new.page.locator("#preview")).to_contain_text("Next clock change")
    taken(new, into / "new-job.png", to="[aria-labelledby=h-who]")
    new.page.get_by_role("button", name="Add the job").click()
    new.page.get_by_role("button", name="Run now").click()
    expect(new.page.get_by_role("log")).to_contain_text("archive: 128 messages")
    eventually(lambda: _running(stage), "the run to run")
    taken(new, into / "run.png")

    overview = light.tab(f"{base}/")
    expect(overview.page.locator("html")).to_have_attribute("data-link", "live")
    taken(overview, into / "overview.png", to="[aria-labelledby=h-next]")
    taken(light.tab(f"{base}/jobs"), into / "jobs.png")
    taken(light.tab(f"{base}/owner"), into / "owner.png")

    killed = dark.tab(f"{base}/")
    expect(killed.page.locator("html")).to_have_attribute("data-link", "live")
    stage.kill_gateway()
    expect(killed.page.get_by_role("heading", name="The owner is dead")).to_be_visible()
    taken(killed, into / "gateway-killed.png", to="[aria-labelledby=h-last]")


def _running(stage: Stage) -> bool:
    going = RunFilter(states=frozenset({RunState.RUNNING}))
    return bool(stage.profile.store.runs(going)[0])
