"""Why a scheduler process has failed, and how it exits then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``text`` is a sentence without its full stop. ``exit_code``: how ``tenure serve`` ends, so
    that its service manager starts it again."""

    text: str
    remedy: str
    exit_code: int


def lost_store(text: str, remedy: str) -> Failure:
    """A file of the store is gone, replaced or cut short."""
    return Failure(text=text, remedy=remedy, exit_code=75)


def lost_thread(text: str) -> Failure:
    """A thread that ownership depends on ended, or makes no progress."""
    return Failure(
        text=text, remedy="start this process again; its log says what happened", exit_code=70
    )
