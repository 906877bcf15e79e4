"""One Chromium for all tests, one home with its dashboard a file, a profile a test.

``surfer`` checks at the end that no tab had anything to complain about; a test that fails leaves
a picture and the HTML of each of its tabs, and what its processes printed.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Generator, Iterator

import pytest
from browsing import PATIENCE, Seat, Surfer, chromium_path, keep_what_was_seen, launch, scratch
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import expect as expects
from webworld import Dashboard, Web, WebWorld

Sit = Callable[..., Seat]

_NUMBERS = itertools.count(1)
_FAILED = pytest.StashKey[str]()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Ended before other packages' tests: its event loop would be in their way."""
    if sys.platform != "linux":
        pytest.skip("the gateways are told apart by Linux' /proc")
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium: `make system` installs it on Debian as root; or set CHROMIUM")
    expects.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A home, to which profiles are added."""
    made = Web(tmp_path_factory.mktemp("web"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def dashboard(web: Web) -> Dashboard:
    return web.dashboard()


@pytest.fixture
def world(web: Web, request: pytest.FixtureRequest) -> Iterator[WebWorld]:
    """A profile of the test's own, named after it."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    made = web.world(f"{name[:24].strip('-')}-{next(_NUMBERS)}")
    yield made
    web.worlds.remove(made)
    made.close()


@pytest.fixture
def surfer(chromium: Browser, request: pytest.FixtureRequest) -> Generator[Surfer, None, None]:
    """Somebody who opens browsers. Nothing may have gone wrong in any of their tabs."""
    made = Surfer(chromium)
    yield made
    try:
        complaints = made.complaints()
        if request.node.stash.get(_FAILED, None) or complaints:
            kept = keep_what_was_seen(made.tabs, request.node.name, scratch())
            print("kept:", *kept, sep="\n  ")
            said = [one.said() for world in _worlds(request) for one in world.processes]
            print("its processes printed:", *said, sep="\n")
    finally:
        made.leave()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def sit(surfer: Surfer, dashboard: Dashboard) -> Sit:
    """A browser of one's own, at the file's dashboard: ``sit(dark=True).tab("/")``."""
    return lambda **options: surfer.sits(dashboard.link, **options)


def _worlds(request: pytest.FixtureRequest) -> list[WebWorld]:
    return request.getfixturevalue("web").worlds if "web" in request.fixturenames else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = str(report.longrepr)
    return report
