"""`tenure dashboard` and `serve --web`: what is said before anything is served."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from clikit import Tenure

from tenure.domain.errors import InvalidInput
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import serve
from tenure.surfaces.cli.serve import read_address

pytest.importorskip("fastapi")


def test_the_link_without_starting_anything(tenure: Tenure, home: Path) -> None:
    first = tenure("dashboard", "--link")
    assert first.out.startswith("http://127.0.0.1:8787/?token=")
    assert tenure("dashboard", "--link").out == first.out
    assert tenure("dashboard", "--link", "--read-only").out != first.out
    named = tenure("dashboard", "--link", "--profile", "work", "--port", "99").out
    assert named.startswith("http://127.0.0.1:99/p/work/?token=")
    assert (home / "web.json").stat().st_mode & 0o777 == 0o600


def test_new_tokens(tenure: Tenure, home: Path) -> None:
    first = tenure("dashboard", "--link").out
    second = tenure("dashboard", "--new-token").out
    assert second != first
    assert tenure("dashboard", "--link").out == second


def test_without_the_extra(tenure: Tenure, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with the remedy; nothing is created and nobody joins."""
    monkeypatch.setattr(serve, "_NEEDS", ("no_such_package",))
    for verb in (("dashboard",), ("serve", "--web")):
        said = tenure(*verb)
        assert said.code == 3
        assert "no_such_package" in said.err
        assert "pip install 'tenure[web]'" in said.err
    assert not home.exists()


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_ports_that_are_none(tenure: Tenure, port: str) -> None:
    assert tenure("dashboard", "--port", port).code == 2


def test_addresses_that_are_none(tenure: Tenure) -> None:
    said = tenure("dashboard", "--host", "no.such.host.invalid", "--port", "0")
    assert said.code == 2
    assert "no.such.host.invalid" in said.err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9000", ("127.0.0.1", 9000)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0", ("0.0.0.0", 8787)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("localhost:80", ("localhost", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", 8787)),
        ("::1", ("::1", 8787)),
        (":80", ("127.0.0.1", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize("text", ["a:b", "a:65536", "a:²", "[::1]:x"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_address(text)
    assert error.value.field == "web"


def test_other_schedulers_words(tenure: Tenure) -> None:
    assert "dashboard" in tenure("web").err


def test_a_signal_before_it_serves_leaves_nothing_behind(
    tenure: Tenure, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link was printed, and it was seen in the profile; no lifespan has begun."""
    assert tenure("add", "@daily", "--name", "backup", "--", "true").code == 0
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    say = serve._say_link

    def ended(*said: Any) -> None:
        say(*said)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(serve, "_say_link", ended)
    try:
        assert tenure("dashboard", "--port", "0").code == 0
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    profile = Profile.open("default", home=home)
    try:
        assert profile.store.processes() == ()
        assert len(profile.store.processes(gone=True)) == 1
    finally:
        profile.close()
