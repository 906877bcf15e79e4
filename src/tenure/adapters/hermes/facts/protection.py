"""Which Hermes jobs are protected, as the owner reads it at each tick; ``sidecar`` changes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.domain.errors import InvalidInput

VERSION = 1


@dataclass(frozen=True, slots=True)
class Protection:
    """The sidecar: which jobs are protected, and what they require."""

    jobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_protection(home: HermesHome) -> Protection:
    """Without a sidecar nothing is protected. Raises InvalidInput for one that is damaged, or that
    a newer Tenure wrote."""
    try:
        record = json.loads(home.sidecar.read_text(encoding="utf-8"))
        if record["v"] != VERSION:
            raise ValueError(f"version {record['v']} was written by another version of Tenure")
        return Protection(
            {
                str(id): _capabilities(entry.get("requires", []))
                for id, entry in record["protected"].items()
            }
        )
    except FileNotFoundError:
        return Protection()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            f"{home.sidecar}, which says which jobs are protected, cannot be read: {error}",
            remedy="restore it, or delete it and protect the jobs again: tenure hermes protect JOB",
        ) from None


def _capabilities(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{found!r} is no list of capabilities")
    return tuple(found)
