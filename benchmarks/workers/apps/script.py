"""A plain script; SIGTERM ends it as ``sys.exit`` would."""

from __future__ import annotations

import signal
import sys

import beat

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    beat.start()
    signal.pause()
