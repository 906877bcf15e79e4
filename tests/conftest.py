"""What every test starts from: its processes behave alike, whoever started the suite."""

from __future__ import annotations

import os
import signal
import sys

from hypothesis import HealthCheck, settings

# Unbuffered, print() writes each word by itself, and two processes that share a pipe mix lines.
os.environ.pop("PYTHONUNBUFFERED", None)
# Without cached bytecode each process that a test starts compiles Tenure anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell starts what it puts into the background with these ignored, and children inherit that.
_PLAIN = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL}
for number, plain in _PLAIN.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, plain)

# How long one example takes, or its drawing, tells of the machine and of what else it does.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# Whoever works on Tenure draws anew each time, and may find something; CI judges one change by
# the same draws as the last one.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
settings.register_profile("quick", max_examples=15)
if os.environ.get("TENURE_QUICK_TESTS"):
    settings.load_profile("quick")
