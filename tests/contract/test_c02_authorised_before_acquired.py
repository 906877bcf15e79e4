"""C2 Authorised before acquired. Only a process that the profile's owner policy admits may own.
Admission is decided from evidence that the OS vouches for, never from environment variables, argv
or a process's own word. Evidence that cannot be read is 'unknown': it fails a rule that admits and
satisfies one that refuses.

With real processes that forge all they can: ``tests/real/test_forged.py``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tenure.domain.ownership import OwnershipState
from tenure.domain.policy.admission import admit
from tenure.domain.policy.evidence import Evidence
from tenure.domain.policy.text import make_policy, read_rules
from tenure.domain.process import ProcessStatus
from testkit.cluster import Cluster
from testkit.factories import make_process

Make = Callable[..., Cluster]

GATEWAY = '[[owner]]\nexecutable = "/opt/gateway"\n'


def test_only_who_is_admitted_may_own(make: Make) -> None:
    """C2: Only a process that the profile's owner policy admits may own."""
    cluster = make(toml=GATEWAY)
    desktop = cluster.node("desktop", executable="/opt/desktop")
    for _ in range(3):
        cluster.settle()
        cluster.clock.advance(3600)
    assert desktop.standing is ProcessStatus.REFUSED
    assert cluster.profile.store.ownership().hold is OwnershipState.VACANT
    gateway = cluster.node("gateway", executable="/opt/gateway")
    cluster.settle()
    assert gateway.owns
    cluster.kill(gateway)
    cluster.clock.advance(3600)
    cluster.settle()
    assert not desktop.owns, "not even when the admitted owner is dead"


UNREADABLE = ("[[owner", '[[owner]]\nservcie = "x"\n', "[[owner]]\nuser = true\n", "\0")


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_first_policy_that_cannot_be_read_admits_no_process(make: Make, text: str) -> None:
    """C2: A policy that cannot be read fails closed: if none was ever accepted nobody can become
    owner."""
    cluster = make(toml=text)
    node = cluster.node("gateway", executable="/opt/gateway")
    for _ in range(3):
        cluster.settle()
        cluster.clock.advance(60)
    assert node.standing is ProcessStatus.REFUSED
    assert cluster.profile.store.ownership().term == 0
    why = cluster.profile.store.process(node.id).why
    assert "profile.toml, line 1" in why or "profile.toml, line 2" in why
    cluster.write_toml(GATEWAY)
    cluster.settle()
    assert node.owns, "at once, when it can be read"


def test_an_unreadable_policy_leaves_the_accepted_one_in_force(make: Make) -> None:
    """C2: the last accepted policy stays in force."""
    cluster = make(toml=GATEWAY)
    gateway = cluster.node("gateway", executable="/opt/gateway")
    cluster.settle()
    term = cluster.profile.store.ownership().term
    for text in UNREADABLE:
        cluster.write_toml(text)
        cluster.clock.advance(60)
        cluster.settle()
        assert gateway.owns
    other = cluster.node("desktop", executable="/opt/desktop")
    cluster.kill(gateway)
    cluster.settle()
    assert other.standing is ProcessStatus.REFUSED
    again = cluster.node("gateway again", executable="/opt/gateway")
    cluster.settle()
    assert again.owns
    assert cluster.profile.store.ownership().term > term


def test_half_a_file_takes_nothing_from_an_owner_without_rules(make: Make) -> None:
    """C2: no process can become owner; the one that is goes on while the rules are written."""
    cluster = make()
    owner = cluster.node("first", executable="/opt/gateway")
    cluster.settle()
    assert owner.owns
    cluster.write_toml(GATEWAY[:20])
    cluster.clock.advance(60)
    cluster.settle()
    assert owner.owns
    late = cluster.node("second", executable="/opt/desktop")
    cluster.settle()
    assert late.standing is ProcessStatus.REFUSED
    cluster.kill(owner)
    cluster.settle()
    assert not late.owns
    cluster.write_toml(GATEWAY)
    cluster.settle()
    assert late.standing is ProcessStatus.REFUSED, "now by the rule"


def test_the_evidence_is_read_again_as_it_takes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2, C8: evidence that can change is read again at takeover."""
    cluster = make(toml=GATEWAY)
    gateway = cluster.node("gateway", executable="/opt/gateway")
    member = gateway.scheduler.member
    seen = member._observe

    def another(**options: Any) -> Evidence:
        found = seen(**options)
        link = replace(found.chain[0], executable="/opt/other")
        return replace(found, executable="/opt/other", chain=(link, *found.chain[1:]))

    monkeypatch.setattr(member, "_observe", another)
    gateway.look()
    assert not gateway.owns
    assert cluster.profile.store.ownership().term == 0
    monkeypatch.setattr(member, "_observe", seen)
    cluster.clock.advance(10)
    cluster.settle()
    assert gateway.owns, "who was refused is looked at again"


@pytest.mark.parametrize("word", ["gateway", "/opt/gateway", "owner"])
def test_its_own_word_admits_nobody(word: str, make: Make) -> None:
    """C2: never from environment variables, argv or a process's own word."""
    cluster = make(toml=GATEWAY)
    liar = cluster.node(word, executable="/opt/desktop", role=word)
    cluster.settle()
    assert liar.standing is ProcessStatus.REFUSED


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ('executable = "/opt/gateway"', "executable"),
        ('service = "gateway.service"', "service"),
        ('cgroup = "/system.slice/gateway.service"', "cgroup"),
        ("user = 1000", "uid"),
        ('holds = "/srv/gateway.lock"', "locks"),
    ],
)
def test_unknown_fails_what_admits_and_satisfies_what_refuses(rule: str, field: str) -> None:
    """C2: Evidence that cannot be read is 'unknown': it fails a rule that admits and satisfies one
    that refuses."""
    admits, refuses = (
        make_policy(read_rules(tomllib.loads(text)), version=1)
        for text in (
            f"[[owner]]\n{rule}\n",
            f'[[owner]]\n{rule}\nrefuse = true\n[[owner]]\nuser = "me"\n',
        )
    )
    known = make_process("p").evidence
    unread = replace(
        known, unknown=frozenset({field, "chain"}), uid=None if field == "uid" else known.uid
    )
    assert not admit(admits, unread, role=None, me_uid=1000).admitted
    assert not admit(refuses, unread, role=None, me_uid=1000).admitted
    other = replace(known, uid=2000, executable="/opt/other", cgroup="/")
    assert not admit(admits, other, role=None, me_uid=2000).admitted
    assert admit(refuses, other, role=None, me_uid=2000).admitted, "known and different"


def test_what_was_hidden_as_it_joined_stays_unknown(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: ancestry is the lineage at joining; a launcher that hid then is not read for absent
    later, when it has gone."""
    cluster = make(toml='[[owner]]\nancestor = "/opt/desktop"\nrefuse = true\n' + GATEWAY)
    gateway = cluster.node("gateway", executable="/opt/gateway")
    member = gateway.scheduler.member
    seen = member.evidence
    monkeypatch.setattr(
        member, "evidence", replace(seen, unknown=seen.unknown | {"chain.executable"})
    )
    cluster.clock.advance(60)
    member.observe_again()
    cluster.settle()
    assert gateway.standing is ProcessStatus.REFUSED
    assert not gateway.owns


def test_an_orphan_is_no_init_process_by_that(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: process 1 adopts whatever its launcher leaves behind; no authority comes of it."""
    cluster = make(toml="[[owner]]\ninit = true\n")
    node = cluster.node("orphan", executable="/opt/gateway")
    member = node.scheduler.member
    member.evidence = replace(member.evidence, init=False)
    seen = member._observe
    monkeypatch.setattr(member, "_observe", lambda **how: replace(seen(**how), init=True))
    cluster.clock.advance(60)
    member.observe_again()
    cluster.settle()
    assert not member.evidence.init
    assert not node.owns


def test_an_init_process_stays_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: what is read again is the same."""
    cluster = make(toml="[[owner]]\ninit = true\n")
    node = cluster.node("service", executable="/opt/gateway")
    member = node.scheduler.member
    member.evidence = replace(member.evidence, init=True)
    seen = member._observe
    monkeypatch.setattr(member, "_observe", lambda **how: replace(seen(**how), init=True))
    cluster.settle()
    cluster.clock.advance(60)
    node.look()
    assert node.owns
    assert cluster.profile.store.ownership().authoritative
