"""A profile in the making: its folder and ``profile.toml`` are there, its database is not yet.

Who could own it is known before the first job: the rules are in the file. Reading creates nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

from tenure.client.health import Health
from tenure.client.status import Status
from tenure.client.warnings import warnings_of_policy
from tenure.domain.errors import NotFound
from tenure.domain.ownership import Ownership
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.change import PolicyFile, PolicyProblem, ProblemKind, policy_in_force
from tenure.domain.warnings import ProfileWarning
from tenure.store.contract import Counts
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.layout import home as home_folder
from tenure.store.folder.policy_file import read_policy_file


class Unmade:
    """What can be said of such a profile. Reads the file once."""

    def __init__(self, folder: ProfileFolder, found: PolicyFile | PolicyProblem) -> None:
        self.folder = folder
        self.name = folder.name
        self.found = found
        self.policy: Policy = policy_in_force(OPEN, found)

    @classmethod
    def find(
        cls,
        name: str,
        *,
        home: str | os.PathLike[str] | None,
        environ: Mapping[str, str] | None = None,
    ) -> Unmade | None:
        """The profile if it is in the making; None if there is no such folder or file, or if it
        has a database. Raises InvalidInput and Refused, as opening it does."""
        try:
            where = home_folder(home, os.environ if environ is None else environ)
            folder = ProfileFolder.open(name, where)
        except NotFound:
            return None
        if folder.database.exists():
            return None
        found = read_policy_file(folder.toml)
        if isinstance(found, PolicyProblem) and found.kind is ProblemKind.MISSING:
            return None
        return cls(folder, found)

    def text(self) -> str:
        """What there is, in one sentence."""
        return (
            f"profile {self.name} is in the making: it has {self.folder.toml} and no database yet; "
            "`tenure add` or `tenure serve` creates it"
        )

    def warnings(self) -> tuple[ProfileWarning, ...]:
        found = warnings_of_policy(self.found, self.policy, self.name)
        # The rules are accepted when there is something to keep them in.
        return tuple(one for one in found if one.code != "policy_not_accepted")

    def health(self) -> Health:
        start = self.found.settings.start if isinstance(self.found, PolicyFile) else None
        return Health(
            ownership=Ownership(), policy=self.policy, present=(), owner=None, start=start
        )

    def status(self, now: datetime) -> Status:
        """The same report as of a profile that has a database, with nothing in it."""
        return Status(
            profile=self.name,
            folder=str(self.folder.path),
            at=now,
            health=self.health(),
            warnings=self.warnings(),
            counts=Counts(),
            upcoming=(),
        )
