"""A PostgreSQL server of the test's own: a new cluster, a socket in its folder, no port."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        found = next((str(p) for p in sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)), None)
    if found is None:
        pytest.skip(f"there is no {name}: PostgreSQL is not installed")
    return found


@contextmanager
def server() -> Iterator[str]:
    """The address of its database ``postgres``, for SQLAlchemy. It refuses to run as root."""
    initdb, control = _binary("initdb"), _binary("pg_ctl")
    with TemporaryDirectory(prefix="tenure-pg-") as made:  # a socket's path must be short
        folder = Path(made)
        as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
            shutil.chown(folder, USER, USER)
            as_user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--")
        data = folder / "data"

        def run(*argv: str) -> None:
            done = subprocess.run(
                [*as_user, *argv], cwd=folder, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"

        run(initdb, "-D", str(data), "-U", USER, "--auth=trust", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        start = ("-D", str(data), "-o", options, "-l", str(folder / "log"), "-w")
        run(control, "start", *start)
        try:
            yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
        finally:
            run(control, "stop", "-D", str(data), "-m", "immediate")
