"""A home in a temporary folder, a profile in it, and the site over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from webkit import ORIGIN, Web, World, now

from tenure.runtime.profile import Profile
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Tokens
from webapp import make_app


@pytest.fixture
def web_home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def web_world(web_home: Path) -> Iterator[World]:
    """The default profile, opened beside the site."""
    profile = Profile.open("default", home=web_home, create=True, now=now())
    made = World(profile)
    yield made
    for lock in made.locks.values():
        lock.release()
    profile.close()


@pytest.fixture
def web(web_home: Path, web_world: World) -> Iterator[Web]:
    tokens = Tokens.in_memory()
    site = Site(web_home, tokens)
    with TestClient(make_app(site), base_url=ORIGIN) as client:
        yield Web(site, web_world, client, tokens)
