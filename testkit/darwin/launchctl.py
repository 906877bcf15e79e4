"""What ``/bin/launchctl`` prints on a Mac (macOS 12 to 26), from the settings of processes.

``print pid/N``: the coalition in ``DARWIN_COALITION=ID:NAME`` of that process. ``print
DOMAIN/LABEL`` and everything else: as the file ``DARWIN_LAUNCHD`` says, JSON:

* ``"fail"``: how many calls fail, -1 for all of them; ``"delay_s"``: how long each call takes.
* ``"jobs"``: ``{"gui/501/ai.example": PID}``, the services that are loaded.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TERMINAL = "900:application.com.apple.Terminal.1152921500311879701.1152921500311879706"
NO_SUCH, USAGE = 113, 64


def main(arguments: list[str]) -> int:
    state = read_state()
    record(arguments)
    time.sleep(state.get("delay_s", 0))
    if failures := state.get("fail", 0):
        if failures > 0:
            write_state({**state, "fail": failures - 1})
        print("Bad request.\nCould not find domain for pid", file=sys.stderr)
        return NO_SUCH
    if len(arguments) != 2 or arguments[0] != "print":
        print("Usage: launchctl print <service-target>", file=sys.stderr)
        return USAGE
    domain, _, name = arguments[1].partition("/")
    if domain == "pid":
        return print_process(int(name))
    if arguments[1] in (jobs := state.get("jobs", {})):
        print_service(arguments[1], jobs[arguments[1]])
        return 0
    print(f"Bad request.\nCould not find service {name!r} in domain", file=sys.stderr)
    return NO_SUCH


def print_process(pid: int) -> int:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        print(f"Bad request.\nCould not find domain for pid: {pid}", file=sys.stderr)
        return NO_SUCH
    settings = dict(entry.partition("=")[::2] for entry in environment.split("\0"))
    print(f"pid/{pid} = {{")
    print_lines("type = pid", f"handle = {pid}", "active count = 1", "uniqueid = 121596")
    print_block("security context", f"uid = {os.geteuid()}", "asid = 100023")
    print_block("services")
    print_block("task-special ports", "\t 0x1ce03 4       bootstrap  (unknown)")
    print_coalitions(settings.get("DARWIN_COALITION", TERMINAL))
    print("\n\tproperties = \n}")
    return 0


def print_service(target: str, pid: int) -> None:
    label = target.rpartition("/")[2]
    print(f"{target} = {{")
    print_lines("active count = 1", "type = LaunchAgent", "state = running", "", "program = /x")
    print_block("environment", f"XPC_SERVICE_NAME => {label}", "JSON => {", "}")
    print_lines("runs = 1", f"pid = {pid}", "immediate reason = speculative")
    print("}")


def print_coalitions(coalition: str) -> None:
    number, _, name = coalition.partition(":")
    for kind, own_number in (("resource", number), ("jetsam", str(int(number) + 1))):
        print_block(
            f"{kind} coalition",
            f"ID = {own_number}",
            f"type = {kind}",
            "state = active",
            "active count = 1",
            f"name = {name}",
        )


def print_block(name: str, *lines: str) -> None:
    print(f"\t{name} = {{")
    print_lines(*(f"\t{line}" for line in lines))
    print("\t}\n")


def print_lines(*lines: str) -> None:
    for line in lines:
        print(f"\t{line}" if line else "")


def read_state() -> dict[str, Any]:
    path = os.environ.get("DARWIN_LAUNCHD")
    return json.loads(Path(path).read_text()) if path and os.path.exists(path) else {}


def write_state(state: dict[str, Any]) -> None:
    path = Path(os.environ["DARWIN_LAUNCHD"])
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(state))
    beside.replace(path)


def record(arguments: list[str]) -> None:
    if path := os.environ.get("DARWIN_LOG"):
        with open(path, "a") as log:
            log.write(f"launchctl {' '.join(arguments)}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
