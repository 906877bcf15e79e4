"""Ends what the driver started, should the driver itself be killed, and removes its sockets.

It reads ``pid start`` a line, each the leader of a process group, until its input ends, which
happens when the driver does. What a driver has ended itself is gone by then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from canary import look  # type: ignore[import-not-found]


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    notes = sys.stdin.read().splitlines()
    for line in notes:
        pid, start = map(int, line.split())
        try:
            ours = look(pid)[1] == start
        except (OSError, ValueError, IndexError):
            # The leader is gone. Its number is not given away while its group has members.
            ours = True
        if ours:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
