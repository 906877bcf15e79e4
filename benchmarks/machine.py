"""Facts about the machine that the figures were taken on."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def facts(folder: Path) -> dict[str, Any]:
    """Facts, with those of the file system that ``folder`` lies on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "kernel": f"{platform.system()} {platform.release()}",
        "sqlite": sqlite3.sqlite_version,
        "file_system": _file_system(folder),
        "fsync_ms": round(fsync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
        "tenure": _version("tenure"),
        "apscheduler": _version("apscheduler"),
        "sqlalchemy": _version("sqlalchemy"),
    }


def fsync_ms(folder: Path, count: int = 100) -> float:
    """Median milliseconds of writing 4 KiB and fsync(2)."""
    path = folder / "fsync-probe"
    took = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return sorted(took)[count // 2] * 1000


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _file_system(folder: Path) -> str:
    """The type of the mount with the longest path above the folder."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    where = str(folder.resolve())
    for line in mounts:
        point, found = line.split()[1:3]
        inside = point == "/" or where == point or where.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
