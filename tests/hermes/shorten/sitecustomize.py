"""Hermes' ticker threads wait for HERMES_TEST_TICK seconds between ticks. Nothing else changes.

Found by every Python that has this folder on its path. Hermes starts its tickers as threads with
these names, whose function takes ``interval`` (60 seconds unless told).
"""

import os
import threading

_TICKERS = ("cron-ticker", "cron-scheduler", "desktop-cron-ticker")
_start = threading.Thread.start


def _start_sooner(self: threading.Thread) -> None:
    if self.name in _TICKERS:
        kwargs = self._kwargs  # type: ignore[attr-defined]
        kwargs["interval"] = float(os.environ["HERMES_TEST_TICK"])
    _start(self)


if "HERMES_TEST_TICK" in os.environ:
    threading.Thread.start = _start_sooner  # type: ignore[method-assign]
