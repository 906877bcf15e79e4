"""C9: everybody may look, and looking costs the owner nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure.domain.errors import NotFound
from tenure.domain.job import JobState
from tenure.domain.request import RequestKind, RequestState
from tenure.domain.run import RunState
from tenure.store.contract import Mark, Page, RunFilter, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    REQUESTER,
    START,
    after,
    claim_one,
    each,
    ended,
    make_definition,
    own,
    plan_round,
)


class MonitoringConformance(StoreCase):
    def test_the_mark_grows_with_what_is_new(self, store: Store) -> None:
        """C9: what is new is found without reading what is old."""
        assert store.mark() == Mark()
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=START)
        assert (store.mark().run, store.mark().omission) == (0, 0)
        assert store.mark().event == store.events(limit=1000)[-1].seq
        before = store.mark()
        run = claim_one(store, authority, job, after(minutes=1))
        assert store.mark().run > before.run
        assert store.runs_after(before.run) == ((run,), store.mark().run)
        assert store.runs_after(store.mark().run) == ((), store.mark().run)

    def test_new_runs_come_in_the_order_of_their_claims(self, store: Store) -> None:
        """C10: a reader that polls sees each run once."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=START)
        runs = []
        for minute in range(1, 6):
            runs.append(claim_one(store, authority, job, after(minutes=minute)))
            store.finish([ended(runs[-1])], after(minutes=minute, seconds=1))
        first, number = store.runs_after(0, limit=2)
        second, last = store.runs_after(number, limit=10)
        assert [run.id for run in (*first, *second)] == [run.id for run in runs]
        assert len(first) == 2
        assert last == store.mark().run

    def test_runs_are_found_by_their_ids(self, store: Store) -> None:
        """C10: what became of those that were active, asked at once."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=START)
        run = claim_one(store, authority, job, after(minutes=1))
        store.finish([ended(run)], after(minutes=1, seconds=1))
        (found,) = store.runs_by_id([run.id, "nothing"])
        assert found == store.run(run.id)
        assert found.state is RunState.SUCCEEDED
        assert store.runs_by_id([]) == ()

    def test_the_latest_runs_of_each_job(self, store: Store) -> None:
        """C9: how each job did last."""
        authority = own(store)
        busy = store.add_job(make_definition("busy"), by="ada", now=START)
        idle = store.add_job(make_definition("idle", schedule=each(days=9)), by="ada", now=START)
        runs = []
        for minute in range(1, 5):
            runs.append(claim_one(store, authority, busy, after(minutes=minute)))
            store.finish([ended(runs[-1])], after(minutes=minute, seconds=1))
        latest = store.latest_runs([busy.id, idle.id, "nothing"], each=3)
        assert list(latest) == [busy.id]
        assert [run.id for run in latest[busy.id]] == [run.id for run in runs[:0:-1]]
        assert len(store.latest_runs([busy.id])[busy.id]) == 1

    def test_jobs_are_found_by_part_of_a_name_and_by_a_tag(self, store: Store) -> None:
        """C9: ten thousand jobs are looked through by name, tag and state."""
        for name, tags in (("Report A", ("x",)), ("report b", ("x", "y")), ("mail", ("y",))):
            store.add_job(make_definition(name, tags=tags), by="ada", now=START)

        def names(**wanted: object) -> list[str]:
            return [job.name for job in store.jobs(**wanted)[0]]  # type: ignore[arg-type]

        assert names(text="REPORT") == ["Report A", "report b"]
        assert names(text="%") == names(text="_") == []
        assert names(tag="y") == ["mail", "report b"]
        assert names(text="rep", tag="y") == ["report b"]
        assert names(tag="z") == []
        store.set_job_state(store.job("mail").id, JobState.PAUSED, by="ada", now=START)
        assert names(tag="y", states=frozenset({JobState.PAUSED})) == ["mail"]
        first, cursor = store.jobs(text="report", page=Page(limit=1))
        second, over = store.jobs(text="report", page=Page(limit=1, cursor=cursor))
        assert [first[0].name, second[0].name, over] == ["Report A", "report b", None]

    def test_active_runs_are_found_among_many(self, store: Store) -> None:
        """C9: what runs now."""
        authority = own(store)
        for name in ("a", "b"):
            store.add_job(make_definition(name), by="ada", now=START)
        plan_round(store, authority, after(minutes=1))
        first, second = store.runs(RunFilter())[0]
        store.finish([ended(first)], after(minutes=1, seconds=1))
        claimed = frozenset({RunState.CLAIMED})
        assert [r.id for r in store.runs(RunFilter(states=claimed))[0]] == [second.id]
        either = frozenset({RunState.CLAIMED, RunState.SUCCEEDED})
        assert len(store.runs(RunFilter(states=either))[0]) == 2
        assert store.runs(RunFilter(states=frozenset()))[0] == ()

    def test_omissions_since(self, store: Store) -> None:
        """C5: what was left out lately."""
        job = store.add_job(make_definition(), by="ada", now=START)
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(minutes=3))
        (missed,) = store.omissions(since=after(minutes=3))[0]
        assert missed.count == 3
        assert store.omissions(since=after(minutes=4))[0] == ()

    def test_terms_are_paged(self, store: Store) -> None:
        """C1: the history of the ownership, a page at a time."""
        for _ in range(4):
            own(store)
        assert [t.term for t in store.terms(limit=2)] == [4, 3]
        assert [t.term for t in store.terms(limit=2, before=3)] == [2, 1]
        assert store.terms(before=1) == ()

    def test_requests_are_paged(self, store: Store) -> None:
        """C7: what was asked, newest first, a page at a time."""
        store.add_job(make_definition(), by="ada", now=START)
        ids = [
            store.create_request(
                kind=RequestKind.TRIGGER, key=f"k{i}", requester=REQUESTER, now=after(seconds=i),
                deadline=timedelta(seconds=30), job="report",
            ).id
            for i in range(4)
        ]  # fmt: skip
        store.resolve_request(
            ids[1], RequestState.REFUSED, authority=None, now=after(seconds=9), answer=""
        )
        assert [r.id for r in store.requests(before=ids[3], limit=2)] == [ids[2], ids[1]]
        pending = frozenset({RequestState.PENDING})
        older = store.requests(before=ids[3], states=pending, newest_first=True)
        assert [r.id for r in older] == [ids[2], ids[0]]
        assert [r.id for r in store.requests(before=ids[3], states=pending)] == [ids[0], ids[2]]
        assert store.requests(before=ids[0]) == ()
        with pytest.raises(NotFound):
            store.requests(before="nothing")
