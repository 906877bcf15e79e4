"""C9 Everybody is seen, C2 Authorised before acquired: processes, policy, absences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenure.domain.errors import Conflict, NotFound
from tenure.domain.event import EventKind
from tenure.domain.policy.admission import Policy, hash_of
from tenure.domain.policy.evidence import ChainLink
from tenure.domain.process import ProcessStatus
from tenure.store.contract import Absence, Store
from testkit.conformance.base import StoreCase
from testkit.factories import START, after, make_process


class ProcessesConformance(StoreCase):
    def test_processes_join(self, store: Store) -> None:
        """C9: status lists every scheduler-capable process of the profile."""
        assert store.processes() == ()
        one, two = make_process("one", pid=7), make_process("two", joined_at=after(seconds=1))
        store.join(one)
        store.join(two)
        assert store.processes() == (one, two)
        assert store.process("one") == one
        with pytest.raises(Conflict):
            store.join(one)
        with pytest.raises(NotFound):
            store.process("three")
        joined = store.events()[0]
        assert (joined.kind, joined.process) == (EventKind.PROCESS_JOINED, "one")

    def test_what_was_observed_of_a_process_may_change(self, store: Store) -> None:
        """C10: one of its chain has ended since it joined."""
        one = make_process("one")
        store.join(one)
        link = ChainLink(pid=9, executable="/opt/gateway", start=3, ended_at=after(seconds=5))
        evidence = replace(one.evidence, chain=(*one.evidence.chain, link))
        store.observe_process("one", evidence)
        assert store.process("one") == replace(one, evidence=evidence)
        with pytest.raises(NotFound):
            store.observe_process("two", evidence)

    def test_standing_is_recorded_with_why(self, store: Store) -> None:
        """C9: its standing (owner, candidate, observer, refused, foreign) and why."""
        store.join(make_process("one"))
        events = len(store.events())
        store.set_standing("one", ProcessStatus.CANDIDATE, "for a test", None, START)
        assert len(store.events()) == events
        store.set_standing("one", ProcessStatus.REFUSED, "no rule admits it", 3, START)
        found = store.process("one")
        assert (found.standing, found.why, found.rule) == (
            ProcessStatus.REFUSED,
            "no rule admits it",
            3,
        )
        assert store.events()[-1].kind is EventKind.STANDING_CHANGED
        with pytest.raises(NotFound):
            store.set_standing("two", ProcessStatus.REFUSED, "", None, START)

    @pytest.mark.parametrize("died", [False, True])
    def test_processes_leave_once(self, store: Store, died: bool) -> None:
        """C9: everybody is seen; who left is kept for provenance."""
        store.join(make_process("one"))
        store.leave("one", after(seconds=1), died=died, why="killed")
        store.leave("one", after(seconds=2))
        assert store.processes() == ()
        (gone,) = store.processes(gone=True)
        assert gone.left_at == after(seconds=1)
        kind = EventKind.PROCESS_DIED if died else EventKind.PROCESS_LEFT
        assert [e.kind for e in store.events()][1:] == [kind]
        with pytest.raises(NotFound):
            store.leave("two", START)

    def test_a_policy_is_accepted_by_version(self, store: Store) -> None:
        """C3: the policy version that every claim names."""
        assert (store.policy().version, store.policy().rules) == (0, ())
        text = ""
        assert store.accept_policy(Policy(text=text, hash=hash_of(text)), "ada", START).version == 0
        text = "# a remark"
        accepted = store.accept_policy(Policy(text=text, hash=hash_of(text)), "ada", START)
        assert (accepted.version, accepted.text) == (1, text)
        assert store.policy() == accepted
        again = store.accept_policy(Policy(text=text, hash=hash_of(text)), "bob", START)
        assert again == accepted
        assert [e.kind for e in store.events()] == [EventKind.POLICY_ACCEPTED]

    def test_the_earliest_absence_of_a_boot_counts(self, store: Store) -> None:
        """A rule's 'after' counts awake time from a start that is kept."""
        first = Absence(rank=1, boot_id="a", awake=50.0, since=START)
        later = Absence(rank=1, boot_id="a", awake=70.0, since=after(seconds=20))
        earlier = Absence(rank=1, boot_id="a", awake=40.0, since=after(seconds=-10))
        reboot = Absence(rank=1, boot_id="b", awake=90.0, since=after(hours=1))
        assert store.absence(1) is None
        assert store.note_absence(first) == first
        assert store.note_absence(later) == first
        assert store.note_absence(earlier) == earlier
        assert store.note_absence(reboot) == reboot
        assert store.absence(1) == reboot
        store.note_absence(Absence(rank=2, boot_id="b", awake=1.0, since=START))
        store.end_absence([0, 1])
        assert store.absence(1) is None
        assert store.absence(2) is not None
