"""Landlock stands in for TCC: by ancestry, for owner and root, for good."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from scenario import landlock
from tenure.domain.errors import InvalidInput

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not landlock.available(), reason="this kernel has no Landlock"),
]

SCENARIO = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
TRY = """
import os, subprocess, sys
from pathlib import Path
from scenario import landlock
from tenure.host import processes
denied, usable = Path(sys.argv[1]), Path(sys.argv[2])
def attempt(name, act):
    try: act(); print(name, "ok", flush=True)
    except OSError as e: print(name, e.strerror, flush=True)
landlock.deny_beneath(denied)
attempt("read", lambda: (denied / "secret").read_bytes())
attempt("write", lambda: (denied / "secret").write_bytes(b"x"))
attempt("access", lambda: print("access says", os.access(denied / "secret", os.R_OK)))
attempt("beside", lambda: (usable / "file").write_bytes(b"new"))
attempt("rename", lambda: (usable / "file").rename(usable / "deeper" / "file"))
attempt("list", lambda: os.listdir(denied))
attempt("link", lambda: os.link(denied / "secret", usable / "stolen"))
attempt("move", lambda: denied.rename(usable / "stolen"))
shell = 'cat "$1" >/dev/null 2>&1 && echo ok || echo denied'
for command in (["sh", "-c", shell, "sh"], ["setsid", "-w", "sh", "-c", shell, "sh"]):
    print(subprocess.run([*command, denied / "secret"], capture_output=True, text=True).stdout,
          end="", flush=True)
e = processes.observe()
print(e.executable is not None, "chain.executable" in e.unknown, *e.confinement, flush=True)
print(processes.is_alive(processes.identity_of(os.getppid())), flush=True)
"""


def test_one_place_is_denied_to_a_chain_and_nothing_else(spawn, tmp_path: Path) -> None:
    denied, usable = tmp_path / "protected", tmp_path / "usable"
    denied.mkdir()
    (usable / "deeper").mkdir(parents=True)
    (denied / "secret").write_text("42")
    (usable / "alias").symlink_to(denied)
    child = spawn(TRY, str(denied), str(usable), environment=SCENARIO)
    said = [child.line() for _ in range(13)]
    assert said[:2] == ["read Permission denied", "write Permission denied"]
    assert said[2:4] == ["access says True", "access ok"], "access(2) does not see it, as with TCC"
    assert said[4:7] == ["beside ok", "rename ok", "list ok"]
    assert not said[7].endswith("ok")
    assert not said[8].endswith("ok")
    assert said[9:11] == ["denied", "denied"], "a child and a new session inherit it"
    assert said[11] == "True True no_new_privs", "programs of the chain outside are unknown"
    assert said[12] == "True", "whether they live is not"
    assert (denied / "secret").read_text() == "42", "this process may"


def test_a_link_beside_the_place_is_no_way_in(spawn, tmp_path: Path) -> None:
    denied = tmp_path / "protected"
    denied.mkdir()
    (denied / "secret").write_text("42")
    (tmp_path / "alias").symlink_to(denied / "secret")
    child = spawn(
        "import sys; from pathlib import Path; from scenario import landlock\n"
        "landlock.deny_beneath(Path(sys.argv[1]))\n"
        "try: open(sys.argv[2]); print('open', flush=True)\n"
        "except PermissionError: print('denied', flush=True)",
        str(denied),
        str(tmp_path / "alias"),
        environment=SCENARIO,
    )
    assert child.line() == "denied"


def test_only_what_is_allowed_stays(spawn, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    child = spawn(
        "import sys; from pathlib import Path; from scenario import landlock\n"
        "landlock.restrict([Path(sys.argv[1]), Path('/no/such')])\n"
        "print(open(sys.argv[1] + '/file').read(), flush=True)\n"
        "try: open(sys.argv[2] + '/file'); print('open', flush=True)\n"
        "except PermissionError: print('denied', flush=True)",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        environment=SCENARIO,
    )
    assert [child.line(), child.line()] == ["a", "denied"]


@pytest.mark.parametrize("place", ["/", "/no/such/place"])
def test_a_place_that_cannot_be_denied_changes_nothing(place: str) -> None:
    with pytest.raises(InvalidInput):
        landlock.deny_beneath(Path(place))
    assert Path(sys.executable).read_bytes()
    assert os.access("/", os.R_OK)


def test_a_kernel_without_it_says_so(monkeypatch) -> None:
    monkeypatch.setattr(landlock, "available", lambda: 0)
    with pytest.raises(landlock.LandlockMissing):
        landlock.restrict([Path("/")])
