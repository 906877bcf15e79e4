"""Whether a lock file of Hermes is held: asked of the kernel, without taking the lock."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ASK = """
    import sys
    from pathlib import Path
    from tenure.adapters.hermes.look.scan import read_lock
    lock = read_lock(Path(sys.argv[1]))
    print(lock.known, lock.held, lock.pid, lock.named)
"""


def test_a_held_lock_is_seen_without_its_holder(run, tmp_path: Path) -> None:
    path = tmp_path / "gateway.lock"
    with open(path, "w") as file:
        assert run(ASK, str(path)) == "True False None False"
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(ASK, str(path)) == "True True None False"
        fcntl.flock(file, fcntl.LOCK_UN)
        assert run(ASK, str(path)) == "True False None False"
