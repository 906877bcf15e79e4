"""One process at a time changes ``profile.id``; a suspended one does not block the others (C1)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezing import is_frozen
from tenure.store.folder import identity, identity_file
from tenure.store.folder.layout import ProfileFolder
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

SUSPENDS_ITSELF = """
import os, signal, sys
from pathlib import Path
from tenure.store.folder import identity, identity_file as change
from tenure.store.folder.layout import ProfileFolder

place, verb = sys.argv[2:]
of = change.os if place.startswith("os.") else change
name = place.split(".")[-1]
original, met = getattr(of, name), []

def suspend(*args, **options):
    if not met:
        met.append(1)
        os.kill(os.getpid(), signal.SIGSTOP)
    return original(*args, **options)

setattr(of, name, suspend)
folder = ProfileFolder.open("la", Path(sys.argv[1]))
if verb == "reserve":
    print(identity.reserve_term(folder))
else:
    print(identity.commit_term(folder, 1))
"""
PLACES = [
    "_try",
    "_change",
    "_is_at",
    "_remove_others",
    "read",
    "as_text",
    "os.fsync",
    "os.replace",
]


@pytest.fixture
def folder(tmp_path: Path) -> ProfileFolder:
    made = ProfileFolder.open("la", tmp_path, create=True)
    identity.create(made, machine="m")
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_file, "PATIENCE_S", 0.05)


class Frozen:
    def __init__(self, folder: ProfileFolder, place: str, verb: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUSPENDS_ITSELF, folder.home, place, verb],
            stdout=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: is_frozen(self.process.pid), f"it to stop at {place}")

    def wake(self) -> str:
        self.process.send_signal(signal.SIGCONT)
        said, _ = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0
        return said.strip()


@pytest.fixture
def frozen(folder: ProfileFolder, request: pytest.FixtureRequest) -> Iterator[Frozen]:
    made = Frozen(folder, *request.param)
    yield made
    made.process.kill()
    made.process.communicate(timeout=DEADLINE)


def known(folder: ProfileFolder) -> tuple[int, int]:
    found = identity.read(folder)
    assert found is not None
    return found.term, found.reserved_term


@pytest.mark.parametrize("frozen", [(p, "reserve") for p in PLACES], indirect=True, ids=PLACES)
def test_a_suspended_process_blocks_no_other_and_gets_another_term(
    folder: ProfileFolder, hasty: None, frozen: Frozen
) -> None:
    """C1: each term is given out once, however late a process wakes."""
    mine = [identity.reserve_term(folder), identity.reserve_term(folder)]
    late = int(frozen.wake())
    assert len({*mine, late}) == 3
    assert known(folder) == (0, 3)
    assert left(folder) == ["profile.id", "profile.id.lock"]


@pytest.mark.parametrize("frozen", [(p, "commit") for p in PLACES], indirect=True, ids=PLACES)
def test_a_process_that_wakes_late_sets_nothing_back(
    folder: ProfileFolder, hasty: None, frozen: Frozen
) -> None:
    term = 0
    while term < 5:
        term = identity.reserve_term(folder)
    identity.commit_term(folder, term)
    frozen.wake()
    assert known(folder) == (5, 5)
    assert left(folder) == ["profile.id", "profile.id.lock"]


def left(folder: ProfileFolder) -> list[str]:
    return sorted(name for name in os.listdir(folder.path) if name.startswith("profile.id"))


RESERVES = """
import os, sys, time
from pathlib import Path
from tenure.store.folder import identity_file
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.identity import reserve_term
identity_file.PATIENCE_S, slowness, times = float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
fsync = os.fsync
os.fsync = lambda file: (time.sleep(slowness), fsync(file))
folder = ProfileFolder.open("la", Path(sys.argv[1]))
print(*[reserve_term(folder) for _ in range(int(times))])
"""


def reserve_at_once(folder: ProfileFolder, patience: float, slowness: float, each: int) -> None:
    command = [sys.executable, "-c", RESERVES, str(folder.home), *map(str, (patience, slowness))]
    children = [
        subprocess.Popen(
            [*command, str(each)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(4)
    ]
    try:
        terms = [int(t) for child in children for t in child.communicate(timeout=60)[0].split()]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert sorted(terms) == list(range(1, 4 * each + 1))


@pytest.mark.parametrize("patience", [60, 0.002])
def test_no_term_is_given_out_twice_to_many_at_once(folder: ProfileFolder, patience: float) -> None:
    """Also not where each steals the lock from the others all the time."""
    reserve_at_once(folder, patience, slowness=0.0, each=20)


def test_on_a_disk_slower_than_the_patience_each_gets_its_turn(folder: ProfileFolder) -> None:
    """Else they steal it from each other without end."""
    reserve_at_once(folder, patience=0.1, slowness=0.15, each=1)


def test_a_file_system_that_never_knows_a_file_again_is_an_error(
    folder: ProfileFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_file, "_is_at", lambda descriptor, path: False)
    with pytest.raises(OSError, match="again and again"):
        identity.reserve_term(folder)
    assert left(folder) == ["profile.id", "profile.id.lock"]


def test_a_child_forked_during_a_change_does_not_block_the_next(
    folder: ProfileFolder,
) -> None:
    ended, end = os.pipe()
    with identity_file._locked(folder, 2.0), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os.close(end)
            os.read(ended, 1)
            os._exit(0)
    try:
        descriptor = os.open(folder.path / "profile.id.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the child holds it
        os.close(descriptor)
    finally:
        os.close(end)
        os.close(ended)
        os.waitpid(child, 0)


def test_what_the_dead_left_is_removed(folder: ProfileFolder) -> None:
    for name in ("profile.id.tmp", "profile.id.tmp.0123", "profile.id.lock.0123"):
        (folder.path / name).write_text("half")
    assert identity.reserve_term(folder) == 1
    assert left(folder) == ["profile.id", "profile.id.lock"]


@pytest.fixture
def held(folder: ProfileFolder) -> Iterator[None]:
    """By a process that does not release it."""
    descriptor = os.open(folder.path / "profile.id.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def test_a_thief_that_stands_still_takes_nothing_from_those_after_it(
    folder: ProfileFolder, held: None, hasty: None
) -> None:
    """It wakes with a lock file in hand that was cleared away."""
    thief = Frozen(folder, "os.replace", "reserve")
    try:
        assert not (folder.path / "profile.id.lock").samefile(left_by_thief(folder))
        assert identity.reserve_term(folder) == 1
        assert thief.wake() == "2"
    finally:
        thief.process.kill()
        thief.process.communicate(timeout=DEADLINE)
    assert left(folder) == ["profile.id", "profile.id.lock"]


def left_by_thief(folder: ProfileFolder) -> Path:
    (found,) = folder.path.glob("profile.id.lock.*")
    return found
