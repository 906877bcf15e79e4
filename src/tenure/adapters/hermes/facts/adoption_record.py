"""The record of an adoption, ``<home>/tenure/adoption.json``: what was done, to be undone.

Each step is written here before it is done, with what is needed to undo it. The record gets its
last state when all is done, and goes last when all is undone, so any process that finds one can
continue. ``state``: ``adopting`` until the fence exists, ``adopted``, ``releasing``.

Steps, in the order in which they were done; paths are relative to the Hermes home:

``{"kind": "made", "path"}``            a folder that was not there
``{"kind": "wrote", "path", "sha256"}`` a file that was not there
``{"kind": "config", "path", "before": {"sha256", "mode", "mtime_ns"} | null, "after", "added"}``
``{"kind": "fence", "path", "was"}``    what stood at ``.tick.lock``: ``file`` or ``absent``

``link.read_link`` reads of it what Hermes' own processes need; ``release`` undoes it by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.back.disk import Disk
from tenure.adapters.hermes.facts.home import HermesHome
from tenure.domain.errors import CorruptStore, OutcomeUnknown

VERSION = 1
ADOPTING, ADOPTED, RELEASING = "adopting", "adopted", "releasing"

Step = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What the record says. Instants are UTC."""

    state: str
    hermes_home: Path
    hermes_profile: str
    hermes_version: str | None
    hermes_python: str | None
    tenure_version: str
    tenure_home: Path
    tenure_profile: str
    adopted_at: datetime | None = None
    """When the fence was first put up, or a repair changed something."""
    forced: bool = False
    unverified: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    def is_of(self, home: HermesHome) -> bool:
        """Whether it is about the folder that it lies in, and not one that this is a copy of."""
        return self.hermes_home.resolve() == home.path

    def step(self, kind: str, path: str) -> Step | None:
        """The latest of this kind about a path."""
        found = [s for s in self.steps if s["kind"] == kind and s["path"] == path]
        return found[-1] if found else None

    def document(self) -> dict[str, Any]:
        at = self.adopted_at
        return {
            "v": VERSION,
            "state": self.state,
            "hermes_home": str(self.hermes_home),
            "hermes_profile": self.hermes_profile,
            "hermes_version": self.hermes_version,
            "hermes_python": self.hermes_python,
            "tenure_version": self.tenure_version,
            "tenure_home": str(self.tenure_home),
            "tenure_profile": self.tenure_profile,
            "adopted_at": at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None,
            "forced": self.forced,
            "unverified": list(self.unverified),
            "steps": list(self.steps),
        }


def read_adoption(home: HermesHome) -> Adoption | None:
    """The record that lies in this home, perhaps another one's. None if there is none.

    Raises CorruptStore for one that cannot be understood, OutcomeUnknown for one that cannot be
    read.
    """
    try:
        document = json.loads(home.adoption.read_text(encoding="utf-8"))
        return _parse(document)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutcomeUnknown(
            f"{home.adoption} cannot be read: {error.strerror or error}",
            remedy="fix the cause, then try again",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptStore(
            f"{home.adoption} cannot be understood: {error}",
            remedy=f"move it away, then `tenure hermes release --hermes-home {home.path}` takes "
            "out what is recognisably Tenure's",
        ) from error


def write_adoption(disk: Disk, folder: Path, adoption: Adoption) -> None:
    """The record, whole or not at all, into ``folder``. Raises OSError."""
    content = json.dumps(adoption.document(), indent=1).encode()
    disk.write(str(folder / "adoption.json"), content)


def _parse(document: dict[str, Any]) -> Adoption:
    if document["v"] != VERSION:
        raise ValueError(f"version {document['v']!r} is not known here")
    at = document["adopted_at"]
    return Adoption(
        state=str(document["state"]),
        hermes_home=Path(document["hermes_home"]),
        hermes_profile=str(document["hermes_profile"]),
        hermes_version=document["hermes_version"],
        hermes_python=document["hermes_python"],
        tenure_version=str(document["tenure_version"]),
        tenure_home=Path(document["tenure_home"]),
        tenure_profile=str(document["tenure_profile"]),
        adopted_at=datetime.fromisoformat(at) if at else None,
        forced=bool(document["forced"]),
        unverified=tuple(map(str, document["unverified"])),
        steps=tuple(dict(step) for step in document["steps"]),
    )
