"""Which Tenure profile a Hermes home is adopted into, as its own processes read it.

A record that is there and cannot be believed (unreadable, of a copied home, of a newer Tenure)
refuses: whoever adopted this home said that only the owner may run its jobs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tenure.adapters.hermes.home import HermesHome

VERSION = 1


@dataclass(frozen=True, slots=True)
class Link:
    """An adoption that stands. ``refusal`` says why nothing may run in spite of it."""

    home: HermesHome
    tenure_home: str | None
    tenure_profile: str
    hermes_version: str | None = None
    refusal: str = ""


def read_link(home: HermesHome) -> Link | None:
    """None if the home is not adopted. Never raises."""
    try:
        text = home.adoption.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        return _broken(home, f"{home.adoption} cannot be read: {error}")
    try:
        record = json.loads(text)
        profile = str(record["tenure_profile"])
        where = str(record["hermes_home"])
        version = int(record["v"])
    except (ValueError, KeyError, TypeError):
        return _broken(home, f"{home.adoption} is damaged")
    if version != VERSION:
        return _broken(home, f"{home.adoption} was written by another version of Tenure")
    if Path(where).resolve() != home.path:
        return _broken(home, f"{home.path} is a copy of {where}, which is the one that was adopted")
    return Link(
        home=home,
        tenure_home=record.get("tenure_home"),
        tenure_profile=profile,
        hermes_version=record.get("hermes_version"),
    )


def _broken(home: HermesHome, why: str) -> Link:
    return Link(home=home, tenure_home=None, tenure_profile=home.tenure_profile, refusal=why)
