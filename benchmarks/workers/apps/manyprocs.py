"""``python manyprocs.py 8 fork|spawn|forkserver [before]``: so many, each with a scheduler.

``before``: started once, before the others are forked, as by a library that does not know of them.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys

import beat


def child() -> None:
    if "before" not in sys.argv:
        beat.start()
    signal.pause()


if __name__ == "__main__":
    how = multiprocessing.get_context(sys.argv[2])
    if "before" in sys.argv:
        beat.start()
    for _ in range(int(sys.argv[1]) - 1):
        how.Process(target=child, daemon=True).start()
    if "before" not in sys.argv:
        beat.start()
    signal.pause()
