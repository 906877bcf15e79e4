"""What every test starts from: its processes behave alike, whoever started the suite."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Unbuffered, print() writes each word by itself, and two processes that share a pipe mix lines.
os.environ.pop("PYTHONUNBUFFERED", None)

# How long one example takes, or its drawing, tells of the machine and of what else it does.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# Whoever works on Tenure draws anew each time, and may find something; CI judges one change by
# the same draws as the last one.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
