"""What every test starts from: its processes behave alike, whoever started the suite."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tenure.adapters.hermes.look.scan import LinuxScan

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


@pytest.fixture(scope="session", autouse=True)
def other_users_run_no_hermes() -> Iterator[None]:
    """A survey of this machine sees no process of another user: suites run side by side, as root
    and as an ordinary user, and a hidden process of Hermes is a warning."""
    listed = LinuxScan.pids

    def own_pids(scan: LinuxScan) -> list[int]:
        recorded = scan._proc != "/proc"
        return [pid for pid in listed(scan) if recorded or scan.user(pid) in (None, os.getuid())]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LinuxScan, "pids", own_pids)
        yield
