"""The job of the scenario: records its chain, as the kernel reports it, and what it can read.

    canary.py LOG FILE [--needs] [--lasts SECONDS]

It appends one line of JSON to LOG. It imports nothing of a scheduler: the chain comes from /proc
(``ps`` on systems without it), the answer about FILE from reading it. With ``--needs`` it exits
with 1 if it cannot read FILE.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

Link = tuple[int, int, str]
"""pid, start stamp, program; the program is ``?`` where the kernel does not let us look."""


def main(arguments: list[str]) -> int:
    log, file = arguments[:2]
    links = chain(os.getpid())
    read = attempt(file)
    line = {
        "run": os.environ.get("TENURE_RUN") or os.environ.get("SCENARIO_RUN"),
        "job": os.environ.get("TENURE_JOB") or os.environ.get("SCENARIO_JOB"),
        "fire": os.environ.get("TENURE_FIRE_TIME") or os.environ.get("SCENARIO_FIRE"),
        "term": os.environ.get("TENURE_TERM"),
        "attempt": os.environ.get("TENURE_ATTEMPT"),
        "at": time.time(),
        "read": read,
        "chain": links,
    }
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps(line).encode() + b"\n")
    os.close(descriptor)
    if "--lasts" in arguments:
        time.sleep(float(arguments[arguments.index("--lasts") + 1]))
    return 1 if "--needs" in arguments and read == "no" else 0


def attempt(path: str) -> str:
    """``yes``, ``no``, or ``-`` if the file does not exist."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        return "-"
    except OSError:
        return "no"
    return "yes"


def chain(pid: int) -> list[Link]:
    """The process, its parent, and so on up to process 1."""
    links: list[Link] = []
    while pid > 0 and len(links) < 64:
        try:
            parent, start, program = look(pid)
        except (OSError, ValueError, IndexError):
            break
        links.append((pid, start, program))
        pid = parent
    return links


def look(pid: int) -> tuple[int, int, str]:
    """Parent, start stamp and program of a process. OSError if it is gone."""
    if not os.path.exists("/proc/self/stat"):
        return _look_with_ps(pid)
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        program = "?"
    return int(fields[1]), int(fields[19]), program


def _look_with_ps(pid: int) -> tuple[int, int, str]:
    text = subprocess.run(
        ["ps", "-o", "ppid=,lstart=,comm=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(None, 6)
    if len(text) < 7:
        raise ProcessLookupError(pid)
    start = int(time.mktime(time.strptime(" ".join(text[1:6]))))
    return int(text[0]), start, text[6].strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
