"""One rule of an owner policy, as data.

A rule matches when all of its conditions hold. :mod:`~tenure.domain.policy.conditions` compares,
:mod:`~tenure.domain.policy.admission` decides by a list of rules, and
:mod:`~tenure.domain.policy.text` reads and writes rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tenure.domain.durations import format_duration
from tenure.domain.policy.evidence import Manager

CONDITIONS = (
    "service",
    "app",
    "executable",
    "ancestor",
    "holds",
    "user",
    "group",
    "cgroup",
    "init",
    "signature",
    "host",
    "role",
)
"""The keys of conditions, in the order in which they are checked and reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as the user wrote it, with what its reader resolved.

    Conditions that are None are not asked for.
    """

    rank: int
    """0 is the first rule of the file, and the best."""
    refuse: bool = False
    authoritative: bool = False
    """May run protected jobs. True by default for rule 0 only; see policy_text."""
    after: timedelta = timedelta(0)
    """How long, awake, no better candidate must have been there."""
    service: str | None = None
    manager: Manager | None = None
    """Narrows ``service`` to one manager; None takes the name from any."""
    app: str | None = None
    """macOS: the bundle id of an app, ``com.example.app``."""
    executable: str | None = None
    ancestor: str | None = None
    executable_paths: tuple[str, ...] = ()
    """``executable`` as written with ``~`` expanded, then as resolved on this machine."""
    ancestor_paths: tuple[str, ...] = ()
    holds: str | None = None
    """A file on which the process holds an exclusive lock."""
    holds_paths: tuple[str, ...] = ()
    """``holds``, spelt as ``executable_paths`` are."""
    scripts: tuple[str, ...] = ()
    """Of ``executable`` and ``ancestor``, those that name a script on this machine."""
    user: str | int | None = None
    """``"me"`` (the profile's own user), a name, or a uid."""
    group: str | int | None = None
    group_id: int | None = None
    """The gid of ``group`` on this machine; None where a name is not known here."""
    cgroup: str | None = None
    init: bool | None = None
    signature: str | None = None
    host: str | None = None
    role: str | None = None

    @property
    def number(self) -> int:
        """The rule's place as people count: the first is 1."""
        return self.rank + 1

    def conditions(self) -> dict[str, object]:
        """What the rule asks for, as written: key to value, without the keys it leaves open."""
        asked: dict[str, object] = {}
        for key in CONDITIONS:
            value = getattr(self, key)
            if value is not None:
                asked[key] = (value, self.manager) if key == "service" else value
        return asked

    def asks(self, key: str) -> str:
        """One condition as text that follows 'asks for'."""
        value = getattr(self, key)
        if key == "service":
            return f"service {value}" + (f" of {self.manager}" if self.manager else "")
        if key == "executable":
            return f"{value} in the process or above it"
        if key == "ancestor":
            return f"{value} above the process"
        if key == "holds":
            return f"a lock on {value}"
        if key == "user":
            return "the profile's own user" if value == "me" else f"user {value}"
        if key == "init":
            return "process 1 of its namespace or a child of it" if value else "no init process"
        return f"{key} {value}"

    def describe(self) -> str:
        """The whole rule in one line of words."""
        asked = " and ".join(self.asks(key) for key in self.conditions())
        if self.refuse:
            return f"rule {self.number} refuses {asked}"
        standing = "authoritative" if self.authoritative else "fallback"
        wait = f", after {format_duration(self.after)}" if self.after else ""
        return f"rule {self.number} admits {asked} ({standing}{wait})"
