"""A program of version 1 or 2 of an app: ``python deployed.py HOME VERSION FOLDER``.

Version 1 has ``beat`` and ``old``, version 2 ``beat`` and ``new``, every second each; a run adds a
line (version, pid, fire) to a file of the job's name. SIGTERM ends it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tenure import Context, Tenure, every

HOME, VERSION, FOLDER = sys.argv[1:]
tenure = Tenure("app", home=HOME, version=VERSION)


def declare(name: str) -> None:
    def run(context: Context) -> None:
        line = f"{VERSION} {os.getpid()} {context.fire_time.timestamp():.3f}\n"
        with open(Path(FOLDER) / name, "a") as file:
            file.write(line)

    # A machine that stands still for a second makes fires late, and costs none.
    tenure.job(every("1s"), run, name=name, catch_up="all", overlap="allow")


if __name__ == "__main__":
    for job in ("beat", "old" if VERSION == "1" else "new"):
        declare(job)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tenure.start()
    signal.pause()
