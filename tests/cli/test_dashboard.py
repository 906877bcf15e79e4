"""`tenure dashboard` and `serve --web`: what is said before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from clikit import Tenure

from tenure.domain.errors import InvalidInput
from tenure.surfaces.cli import web_options
from tenure.surfaces.cli.web_options import read_address

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
    monkeypatch.setattr(web_options, "_NEEDS", ("no_such_package",))
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
