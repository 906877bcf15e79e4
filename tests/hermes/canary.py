"""What a job of the tests does: it writes down who ran it, and whether it could read the file.

Run by Hermes' Python, in a process of its own: the standard library only.
"""

import json
import os
import time


def stat_of(pid: int) -> tuple[int, int]:
    """The parent of a process and the stamp of its start (0.01 s since boot)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])


def chain_of(pid: int) -> list[list[int]]:
    """The process and those above it, each with the stamp of its start."""
    found = []
    while pid:
        parent, start = stat_of(pid)
        found.append([pid, start])
        pid = parent
    return found


def could_read(path: str) -> bool:
    """Whether the kernel lets this process read the file."""
    try:
        with open(path, encoding="utf-8") as file:
            return bool(file.read())
    except PermissionError:
        return False


def began() -> float:
    """When this process was started: its first line may come much later on a busy machine."""
    ticks = stat_of(os.getpid())[1]
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def main(job: str, log: str, secret: str, seconds: float = 0.0) -> None:
    """One line in the log, written at once; then work for so long."""
    line = {
        "job": job,
        "at": began(),
        "chain": chain_of(os.getpid()),
        "desktop": os.environ.get("HERMES_DESKTOP"),
        "read": could_read(secret),
    }
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
    time.sleep(seconds)
