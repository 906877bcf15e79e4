"""Evidence and policies by hand, for the policy tests."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

from tenure.domain.policy.admission import Admission, Policy, admit
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity, Manager, Service
from tenure.domain.policy.text import make_policy, read_rules

ME = 1000
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def policy(text: str) -> Policy:
    return make_policy(read_rules(tomllib.loads(text)), version=1)


def seen(
    *above: str | None, pid: int = 500, executable: str | None = "/usr/bin/python3.11", **facts: Any
) -> Evidence:
    """A process of the user; ``above`` are the programs up its chain (None: not readable)."""
    links = [ChainLink(pid=pid, executable=executable)]
    links += [ChainLink(pid=400 - i, executable=path) for i, path in enumerate(above)]
    links.append(ChainLink(pid=1, executable=None))
    values: dict[str, Any] = {
        "identity": Identity(boot_id="b", pid=pid, start=7),
        "observed_at": NOW,
        "uid": ME,
        "user": "alice",
        "groups": (ME, 27),
        "executable": executable,
        "host": "m1",
        "hostname": "lap",
        "cgroup": "/user.slice/user-1000.slice/session-3.scope",
        "chain": tuple(links),
    }
    unknown = frozenset(facts.pop("unknown", ()))
    return Evidence(**{**values, **facts}, unknown=unknown)


def unit(name: str, manager: Manager = Manager.SYSTEMD_SYSTEM, attested: bool = True) -> Service:
    return Service(name=name, manager=manager, attested=attested)


def decide(text: str, evidence: Evidence, role: str | None = None) -> Admission:
    return admit(policy(text), evidence, role=role, me_uid=ME)
