"""The adoption of a home, seen from outside: its record, and the processes that obey Tenure.

A damaged record, or one in a copied home, is a finding and not an error. The
Tenure profile is opened for reading only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tenure.adapters.hermes.facts.adoption_record import ADOPTED, read_adoption
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.client.documents import instant
from tenure.domain.errors import CorruptStore, OutcomeUnknown, TenureError
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.evidence import Identity
from tenure.domain.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionView:
    """What of the record matters to who may run jobs. Instants are UTC."""

    state: str = "unknown"
    tenure_profile: str
    tenure_home: str | None = None
    adopted_at: datetime | None = None
    hermes_version: str | None = None
    forced: bool = False
    problem: str | None = None
    """Why nothing of it may be relied on; then every process refuses everything."""
    remedy: str = ""

    @property
    def complete(self) -> bool:
        return self.state == ADOPTED and self.problem is None

    def document(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "tenure_home": self.tenure_home,
            "tenure_profile": self.tenure_profile,
            "adopted_at": instant(self.adopted_at),
            "hermes_version": self.hermes_version,
            "forced": self.forced,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedProcesses:
    """The processes that have joined the Tenure profile, by identity; living ones only."""

    processes: Mapping[Identity, Process] = field(default_factory=dict)
    owner: Identity | None = None
    problem: str | None = None
    """Why the profile could not be read."""


def view_adoption(home: HermesHome) -> AdoptionView | None:
    """None if the home is not adopted. Nothing is raised."""
    try:
        found = read_adoption(home)
    except (CorruptStore, OutcomeUnknown) as error:
        return AdoptionView(
            tenure_profile=home.tenure_profile, problem=error.text, remedy=error.remedy
        )
    if found is None:
        return None
    copied = not found.is_of(home)
    return AdoptionView(
        state=found.state,
        tenure_profile=found.tenure_profile,
        tenure_home=str(found.tenure_home),
        adopted_at=found.adopted_at,
        hermes_version=found.hermes_version,
        forced=found.forced,
        problem=f"{home.path} is a copy of {found.hermes_home}, which was adopted"
        if copied
        else None,
    )


def read_membership(adoption: AdoptionView | None, now: datetime) -> JoinedProcesses:
    """Who has joined the profile of this adoption, and who owns. ``now`` is UTC."""
    if adoption is None or adoption.problem is not None:
        return JoinedProcesses()
    from tenure.client.health import examine
    from tenure.runtime.profile import Profile

    try:
        profile = Profile.open(adoption.tenure_profile, home=adoption.tenure_home, readonly=True)
    except TenureError as error:
        return JoinedProcesses(problem=error.text)
    except OSError as error:
        return JoinedProcesses(problem=str(error))
    try:
        health = examine(profile, now)
    except TenureError as error:
        return JoinedProcesses(problem=error.text)
    finally:
        profile.close()
    owner = health.owner
    return JoinedProcesses(
        processes={p.process.evidence.identity: p.process for p in health.present},
        owner=owner.process.evidence.identity
        if owner is not None and owner.life is not HolderLife.DEAD
        else None,
    )
