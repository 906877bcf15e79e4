"""The record of an adoption, ``<home>/tenure/adoption.json``: what was done, to be undone.

Each step is written here before it is done, with what is needed to undo it. The record gets its
last state when all is done, and goes last when all is undone, so any process that finds one can
continue. ``state``: ``adopting`` until the fence exists, ``adopted``, ``releasing``.

Steps, in the order in which they were done; paths are relative to the Hermes home:

``{"kind": "made", "path"}``            a folder that was not there
``{"kind": "wrote", "path", "sha256"}`` a file that was not there
``{"kind": "config", "path", "before": {"sha256", "mode", "mtime_ns"} | null, "after", "added"}``
``{"kind": "fence", "path", "was"}``    what stood at ``.tick.lock``: ``file`` or ``absent``

Hermes' own processes read only a link of it (:func:`read_link`); ``release`` undoes it by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
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
        """Whether it describes this folder, not one that this folder is a copy of."""
        return self.hermes_home.resolve() == home.path

    def step(self, kind: str, path: str) -> Step | None:
        """The latest of this kind about a path."""
        steps = [s for s in self.steps if s["kind"] == kind and s["path"] == path]
        return steps[-1] if steps else None

    def document(self) -> dict[str, Any]:
        from tenure.client.documents import to_json

        content = {field.name: to_json(getattr(self, field.name)) for field in fields(self)}
        return {"v": VERSION, **content}


def read_adoption(home: HermesHome) -> Adoption | None:
    """The record in this home, which may describe another home. None without a record.

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


# -- for Hermes' own processes ------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AdoptionLink:
    """An adoption as Hermes' own processes read it. ``refusal``: why nothing may run."""

    home: HermesHome
    tenure_home: str | None
    tenure_profile: str
    hermes_version: str | None = None
    refusal: str = ""


def read_link(home: HermesHome) -> AdoptionLink | None:
    """None if the home is not adopted. Never raises.

    A record that cannot be believed (unreadable, of a copied home, of another Tenure) refuses: an
    adopted home's jobs may run only in the owner.
    """
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
        return _broken(home, f"{home.path} {what} {where}, which was adopted")
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
