"""Which Tenure profile a Hermes home is adopted into, as its own processes read it.

A record that is there and cannot be believed (unreadable, of a copied home, of a newer Tenure)
refuses: an adopted home's jobs may run only in the owner.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome

VERSION = 1


@dataclass(frozen=True, slots=True)
class AdoptionLink:
    """An adoption in force. ``refusal`` says why nothing may run all the same."""

    home: HermesHome
    tenure_home: str | None
    tenure_profile: str
    hermes_version: str | None = None
    refusal: str = ""


def read_link(home: HermesHome) -> AdoptionLink | None:
    """None if the home is not adopted. Never raises."""
    try:
        text = home.adoption.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        return _broken(home, f"{home.adoption} cannot be read: {error}")
    try:
        return _link(home, json.loads(text))
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return _broken(home, f"{home.adoption} is damaged")


def _link(home: HermesHome, record: Any) -> AdoptionLink:
    if record["v"] != VERSION:
        return _broken(home, f"{home.adoption} was written by another version of Tenure")
    where, profile = Path(_text(record["hermes_home"])), _text(record["tenure_profile"])
    if where.resolve() != home.path:
        what = "is a copy of" if where.exists() else "was moved from"
        return _broken(home, f"{home.path} {what} {where}, which is the one that was adopted")
    return AdoptionLink(
        home=home,
        tenure_home=None if record.get("tenure_home") is None else _text(record["tenure_home"]),
        tenure_profile=profile,
        hermes_version=record.get("hermes_version"),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _broken(home: HermesHome, why: str) -> AdoptionLink:
    return AdoptionLink(
        home=home, tenure_home=None, tenure_profile=home.tenure_profile, refusal=why
    )
