"""Whether a process ticks, and whether it would run a job on request.

``yes`` and ``no`` rest on something observed (a lock, a thread, recorded runs) or on the code that
is installed. ``may`` rests on what the process states, which is not proof. ``fenced``: it ticks,
and each tick ends at the fence.

A ticker is a thread that looks for due jobs every 60 seconds: the gateway always has one, a
backend that the desktop app started has one, any other dashboard has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.installation import Installation
from tenure.adapters.hermes.look.processes import HermesCandidate

THREADS = frozenset({"desktop-cron-ti", "desktop-cron-ticker", "cron-scheduler", "cron-ticker"})
"""Names of ticker threads; Python hands them to the kernel from 3.14 on, cut to 15 letters."""


class Ticks(StrEnum):
    YES = "yes"
    MAY = "may"
    NO = "no"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Judgement:
    """``repeats``: it ticks by itself every 60 s, if it ticks. ``on_request``: see Installation."""

    ticks: Ticks
    why: str
    repeats: bool = False
    on_request: bool | None = False


def judge(
    member: HermesCandidate,
    *,
    holds_lock: bool | None,
    installation: Installation | None,
    ran: int,
    fence: bool,
) -> Judgement:
    """``ran``: of the recorded runs, how many its own ticks executed."""
    found = _unfenced(member, holds_lock, installation, ran)
    if fence and found.ticks in (Ticks.YES, Ticks.MAY):
        why = "its ticks end at the fence: cron/.tick.lock is a folder"
        return Judgement(Ticks.FENCED, why, found.repeats, found.on_request)
    return found


def _unfenced(
    member: HermesCandidate, holds_lock: bool | None, installation: Installation | None, ran: int
) -> Judgement:
    inline = None if installation is None else installation.runs_inline
    if member.role is Role.RUN:
        return Judgement(Ticks.NO, "it runs one job, and ends", on_request=True)
    if member.role is Role.TICK:
        return Judgement(Ticks.YES, "it ticks once, and ends", on_request=False)
    if member.role is Role.CHAT:
        return Judgement(Ticks.NO, _asked(inline, "an agent"), on_request=inline)
    if member.role is Role.PROGRAM:
        why = "a Python program that has Hermes' store open; what it does is not known"
        return Judgement(Ticks.MAY, why, on_request=None)
    if member.threads & THREADS:
        return Judgement(Ticks.YES, "its ticker thread is seen", True, inline)
    if ran:
        runs = "1 of the last runs" if ran == 1 else f"{ran} of the last runs"
        return Judgement(Ticks.YES, f"it ticks: it executed {runs}", True, inline)
    if member.role is Role.GATEWAY:
        return _gateway(holds_lock, inline)
    return _backend(member, installation, inline)


def _gateway(holds_lock: bool | None, inline: bool | None) -> Judgement:
    if holds_lock is None:
        why = "a gateway ticks while it holds gateway.lock; who holds it is unknown on this system"
        return Judgement(Ticks.MAY, why, True, inline)
    if holds_lock:
        why = "a gateway ticks every minute"
        return Judgement(Ticks.YES, why, True, inline)
    why = "a gateway without gateway.lock: it is starting or stopping, or another one has it"
    return Judgement(Ticks.NO, why, False, inline)


def _backend(
    member: HermesCandidate, installation: Installation | None, inline: bool | None
) -> Judgement:
    if not member.environ_known:
        why = "whether the desktop app started it cannot be read"
        return Judgement(Ticks.MAY, why, True, inline)
    if member.role is Role.DASHBOARD:
        why = f"no ticker: the desktop app did not start it; {_asked(inline, 'an agent in it')}"
        return Judgement(Ticks.NO, why, False, inline)
    if installation is not None and installation.desktop_ticks is False:
        version = installation.version or "this version"
        return Judgement(Ticks.NO, f"{version} has no ticker in its backends", False, inline)
    why = "it was started with HERMES_DESKTOP=1; no thread name and no recorded run confirms it"
    return Judgement(Ticks.MAY, why, True, inline)


def _asked(inline: bool | None, who: str) -> str:
    if inline is None:
        return f"{who} may run a job when asked"
    return f"{who} runs a job when asked" if inline else f"{who} only marks a job as due"
