"""The exposition as Prometheus reads it: every figure that is promised, true and well-formed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from webkit import Web, World, now

from tenure.domain.job import Overlap
from tenure.domain.process import ProcessStatus
from tenure.runtime.profile import Profile
from testkit.factories import each, make_definition, plan_round
from waiting import DEADLINE, eventually

DOCS = Path(__file__).parents[2] / "docs" / "web.md"


def scrape(web: Web) -> dict[str, Metric]:
    answer = web.ask("GET", "/metrics", headers=reader(web))
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def reader(web: Web) -> dict[str, str]:
    """The read-only token will do."""
    return {"Authorization": f"Bearer {web.tokens.pair.read_only}"}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    wanted = {"profile": "default", **labels}
    values = [
        one.value
        for family in found.values()
        for one in family.samples
        if one.name == sample and wanted.items() <= one.labels.items()
    ]
    assert len(values) == 1, (sample, wanted, values)
    return values[0]


def add(world: World, name: str, **how: Any) -> None:
    wants = make_definition(name, schedule=each(seconds=1), **how)
    world.store.add_job(wants, by="test", now=world.now())


def test_what_the_documentation_names_is_there_and_nothing_else(web: Web) -> None:
    add(web.world, "job")
    web.world.owner()
    table = DOCS.read_text().partition("| Metric | What |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(tenure_\w+)", table))
    found = scrape(web)
    counted = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in found.values()
        if family.name.startswith("tenure_")
    }
    assert counted - {"tenure_web_listeners"} == named
    for family in found.values():
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
        for sample in family.samples:
            known = family.name.startswith("tenure_") and family.name != "tenure_web_listeners"
            assert not known or sample.labels.get("profile") == "default", sample


def test_a_histogram_adds_up(web: Web) -> None:
    add(web.world, "job")
    authority = web.world.owner()
    scrape(web)
    at = now() + timedelta(seconds=4)
    for seconds in (0, 7):
        plan_round(web.store, authority, at + timedelta(seconds=seconds))
    found = scrape(web)
    buckets = [s for s in found["tenure_claim_lag_seconds"].samples if s.name.endswith("_bucket")]
    bounds = [float(one.labels["le"]) for one in buckets]
    counts = [one.value for one in buckets]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert counts == sorted(counts)
    count = value(found, "tenure_claim_lag_seconds_count")
    assert counts[-1] == count > 0
    assert value(found, "tenure_claim_lag_seconds_sum") >= 0


def test_fires_by_what_became_of_them(web: Web) -> None:
    """Claimed, skipped because the one before still ran, held because nobody may run it."""
    add(web.world, "plain", overlap=Overlap.SKIP)
    add(web.world, "kept", protected=True)
    authority = web.world.owner()  # not authoritative
    before = scrape(web)
    assert value(before, "tenure_fires_total", outcome="held") == 0
    at = now() + timedelta(seconds=3)
    plan_round(web.store, authority, at)  # one run, which does not end
    plan_round(web.store, authority, at + timedelta(seconds=3))
    found = scrape(web)
    assert value(found, "tenure_fires_total", outcome="claimed") == 1
    assert value(found, "tenure_fires_total", outcome="skipped") >= 2
    assert value(found, "tenure_fires_total", outcome="held") >= 4
    assert value(found, "tenure_open_holds") == 1
    assert value(found, "tenure_jobs_protected") == 1
    assert value(found, "tenure_owner_authoritative") == 0
    again = scrape(web)
    for outcome in ("claimed", "skipped", "held", "missed"):
        assert value(again, "tenure_fires_total", outcome=outcome) == value(
            found, "tenure_fires_total", outcome=outcome
        ), "what was counted is not counted again"


def wait_seen(web: Web, state: str) -> None:
    """Until the watcher that a scrape starts has seen how the owner stands."""
    app: Any = web.client.app

    def seen() -> bool:
        room = app.state.hub._watchers.get("default")
        return room is not None and room._latest is not None and room._latest.mark.endswith(state)

    eventually(seen, f"the watcher to see that the owner is {state}")


def test_a_takeover_from_the_dead_is_measured(web: Web) -> None:
    world = web.world
    world.owner()
    assert value(scrape(web), "tenure_takeover_seconds_count") == 0
    world.join("p-next")
    wait_seen(web, "owned")
    world.die("p-gateway")
    wait_seen(web, "dead")
    world.take_from_dead("p-next")
    eventually(
        lambda: value(scrape(web), "tenure_takeover_seconds_count") == 1,
        "the takeover to be counted",
    )
    found = scrape(web)
    assert 0 <= value(found, "tenure_takeover_seconds_sum") < DEADLINE
    assert value(found, "tenure_owner_term") == 2


def test_foreign_schedulers_are_counted(web: Web, monkeypatch: Any) -> None:
    from tenure.surfaces.web import metrics
    from testkit.factories import make_process

    ticker = make_process("foreign-1", pid=4711)
    monkeypatch.setattr(metrics, "foreign_in", lambda profile: (ticker,))
    web.world.owner()
    found = scrape(web)
    assert value(found, "tenure_processes", standing=str(ProcessStatus.FOREIGN)) == 1
    assert value(found, "tenure_processes", standing="owner") == 1


def test_each_profile_has_its_own(web: Web) -> None:
    other = Profile.open("other-1", home=web.site.home, create=True, now=now())
    found = scrape(web)
    assert value(found, "tenure_owner_term", profile="other-1") == 0
    assert value(found, "tenure_owner_state", profile="other-1", state="nobody") == 1
    states = [
        s.value for s in found["tenure_owner_state"].samples if s.labels["profile"] == "default"
    ]
    assert sum(states) == 1, "it stands in one way at a time"
    other.close()
