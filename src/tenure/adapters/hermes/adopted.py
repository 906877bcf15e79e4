"""The adoption of a home as an onlooker sees it: its record, and who obeys Tenure by now.

The record is read tolerantly: one that cannot be read, or that lies in a copied home, is a
finding. The Tenure profile is opened for reading only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tenure.adapters.hermes.home import HermesHome
from tenure.adapters.hermes.jobsfile import parse_instant
from tenure.adapters.hermes.link import read_link
from tenure.domain.errors import TenureError
from tenure.domain.evidence import Identity
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What ``adoption.json`` says. ``problem``: why nothing of it may be relied on."""

    state: str
    tenure_profile: str
    tenure_home: str | None
    adopted_at: datetime | None
    hermes_version: str | None = None
    forced: bool = False
    problem: str | None = None

    @property
    def complete(self) -> bool:
        return self.state == "adopted" and self.problem is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The processes that have joined the Tenure profile, by identity; living ones only."""

    processes: Mapping[Identity, Process] = field(default_factory=dict)
    owner: Identity | None = None
    problem: str | None = None
    """Why the profile could not be read."""


def read_adoption(home: HermesHome) -> Adoption | None:
    """None if the home is not adopted. Nothing is raised."""
    link = read_link(home)
    if link is None:
        return None
    record: dict[str, Any] = {}
    try:
        found = json.loads(home.adoption.read_text("utf-8"))
        record = found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        pass  # the link says what is wrong with it
    return Adoption(
        state=str(record.get("state", "unknown")),
        tenure_profile=link.tenure_profile,
        tenure_home=link.tenure_home,
        adopted_at=parse_instant(record.get("adopted_at")),
        hermes_version=link.hermes_version,
        forced=bool(record.get("forced", False)),
        problem=link.refusal or None,
    )


def read_membership(adoption: Adoption | None, now: datetime) -> Membership:
    """Who has joined the profile of this adoption, and who owns. ``now`` is UTC."""
    if adoption is None or adoption.problem is not None:
        return Membership()
    from tenure.runtime.client.health import examine
    from tenure.runtime.profile import Profile

    try:
        profile = Profile.open(adoption.tenure_profile, home=adoption.tenure_home, readonly=True)
    except TenureError as error:
        return Membership(problem=error.text)
    except OSError as error:
        return Membership(problem=str(error))
    try:
        health = examine(profile, now)
    except TenureError as error:
        return Membership(problem=error.text)
    finally:
        profile.close()
    owner = health.owner
    return Membership(
        processes={p.process.evidence.identity: p.process for p in health.present},
        owner=owner.process.evidence.identity
        if owner is not None and owner.life is not HolderLife.DEAD
        else None,
    )
