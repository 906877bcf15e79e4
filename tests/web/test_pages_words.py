"""What the page says and draws, from values alone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from markupsafe import escape

from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity, Manager, Service
from tenure.domain.process import Process
from tenure.domain.run import Cause, Run, RunState
from tenure.domain.schedule.model import Schedule, cron_schedule, every_schedule
from tenure.surfaces.web import charts, svg, words
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.render import format_title, mark_code
from tenure.surfaces.web.pages.runs import plain
from tenure.surfaces.web.schedule_preview import next_change, upcoming
from testkit.factories import START, after, make_process

BERLIN = "Europe/Berlin"
DAY = svg.ChartWindow(start=START - timedelta(hours=24), end=START)


def run(state: RunState, at: datetime, seconds: float = 5, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": f"r{at:%H%M%S}", "job": "j1", "job_name": "report", "revision": 1, "fire_time": at,
        "cause": Cause.SCHEDULE, "state": state, "term": 1, "process": "p1", "holder": "p1",
        "policy_version": 0, "protected": False, "attempt": 1, "claimed_at": at, "started_at": at,
        "finished_at": at + timedelta(seconds=seconds),
    }  # fmt: skip
    return Run(**(values | changes))


def gap(kind: OmissionKind, first: datetime, last: datetime, count: int) -> Omission:
    return Omission(
        id=1, job="j1", job_name="report", revision=1, kind=kind, first=first, last=last,
        count=count, reason="nobody was there", decided_at=last, decided_by="p1", term=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.02, "20 ms"), (4.25, "4.2 s"), (42, "42 s"), (250, "4 min 10 s"),
     (240, "4 min"), (1500, "25 min"), (7800, "2 h 10 min"), (7200, "2 h"), (90000, "1 d")],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == text


def test_instants_are_told_in_the_zone_with_the_day_where_it_matters() -> None:
    at = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert words.day_and_time(at, BERLIN, at) == "13:00 CET"
    assert words.day_and_time(at, BERLIN, at + timedelta(days=1)) == "Mon 13:00 CET"
    assert words.day_and_time(at, BERLIN, at + timedelta(days=9)) == "2 Mar 13:00 CET"
    assert words.day_and_time(at, BERLIN, at + timedelta(days=900)) == "2 Mar 2026 13:00 CET"
    assert words.day_and_time(at, "Asia/Kathmandu", at) == "17:45 UTC+05:45"
    assert words.day_and_time(at + timedelta(seconds=3), BERLIN, at) == "13:00:03 CET"
    assert words.relative(at, at + timedelta(hours=3)) == "3 h ago"
    assert words.relative(at + timedelta(minutes=4, seconds=50), at) == "in 4 min"
    assert words.until(at + timedelta(seconds=8.9), at) == "in 8 s"
    assert words.until(at + timedelta(seconds=0.2), at) == "now"
    assert words.machine_time(at.astimezone()) == "2026-03-02T12:00:00Z"


def test_remedies_show_what_to_type_as_code_and_nothing_else_as_markup() -> None:
    assert mark_code("type `tenure serve` <b>") == "type <code>tenure serve</code> &lt;b&gt;"
    assert format_title("it is so: because") == "<strong>It is so:</strong> because"
    assert format_title("x" * 200 + ": y").startswith("X")


def test_who_should_own_begins_a_line_and_each_rule_another() -> None:
    text = "nobody owns: pid 7 is refused. Expected owner: rule 1 admits a; rule 2 admits b"
    assert format_title(text) == (
        "<strong>Nobody owns:</strong> pid 7 is refused. "
        '<span class="should">Expected owner: rule 1 admits a;<br>rule 2 admits b</span>'
    )


def test_a_file_keeps_its_name_at_the_beginning_of_a_sentence() -> None:
    assert words.capitalised("profile.toml has other rules") == "profile.toml has other rules"
    assert words.capitalised("nobody owns") == "Nobody owns"


def test_sizes_and_zones_are_told_as_people_say_them() -> None:
    assert [words.size(n) for n in (1, 812, 48_100, 2_652_650)] == [
        "1 byte", "812 bytes", "48 kB", "2.7 MB",
    ]  # fmt: skip
    assert words.zone_name("Etc/UTC") == "UTC"
    assert words.zone_name(BERLIN) == BERLIN


def test_a_terminal_is_taken_out_of_the_output() -> None:
    wrote = "\x1b[1;31mred\x1b[0m\x1b]0;title\x07 10%\r20%\r\nend\x00"
    assert plain(wrote) == "red 10%\n20%\nend\ufffd"


@pytest.mark.parametrize("turns", ["\u202e", "\u2066", "\x9b31m"])
def test_output_cannot_show_other_text_than_was_written(turns: str) -> None:
    assert plain(f"safe {turns}rm") == f"safe \ufffd{turns[1:]}rm"
    assert plain("שלום \u200f12 äé") == "שלום \u200f12 äé"


# -- schedules and clocks --------------------------------------------------------------------------


def whys(schedule: Schedule, since: datetime) -> list[str]:
    return [fire.why for fire in upcoming(schedule, since, 3)]


def test_a_fire_that_is_moved_out_of_a_gap_is_marked() -> None:
    nightly = cron_schedule("30 2 * * *", BERLIN)
    moved = whys(nightly, datetime(2026, 3, 28, 0, 0, tzinfo=UTC))
    assert moved[:2] == ["", "moved: its usual time does not exist on this day"]
    assert "moved" not in moved[2]


def test_a_time_that_comes_twice_is_marked() -> None:
    nightly = cron_schedule("30 2 * * *", BERLIN)
    twice = whys(nightly, datetime(2026, 10, 24, 12, 0, tzinfo=UTC))
    assert twice[0] == "this time occurs twice; this is the first"


def test_a_change_of_clocks_before_a_fire_is_marked() -> None:
    morning = cron_schedule("0 7 * * *", BERLIN)
    assert whys(morning, datetime(2026, 3, 28, 12, 0, tzinfo=UTC))[0].startswith(
        "clocks went forward by 1 h"
    )


def test_elapsed_time_knows_no_clocks() -> None:
    hourly = every_schedule(timedelta(hours=1), START, BERLIN)
    assert set(whys(hourly, datetime(2026, 3, 29, 0, 0, tzinfo=UTC))) == {""}
    assert next_change(hourly, START) is None


def test_the_next_change_of_clocks_is_told_with_what_the_job_does_then() -> None:
    found = next_change(cron_schedule("30 2 * * *", BERLIN), START)
    assert found is not None
    assert found.words == "Sunday 29 March 2026, 02:00 CET becomes 03:00 CEST"
    local = [f"{fire.local:%d %H:%M}" for fire in found.fires]
    assert local == ["28 02:30", "29 03:00", "30 02:30"]
    assert next_change(cron_schedule("30 2 * * *", "UTC"), START) is None
    monthly = next_change(cron_schedule("0 0 1 * *", BERLIN), START)
    assert monthly is not None
    assert monthly.fires == ()


# -- charts ----------------------------------------------------------------------------------------


def frame(*holdings: charts.Holding) -> charts.LaneContext:
    return charts.LaneContext(
        window=DAY,
        zone=BERLIN,
        holdings=holdings,
        run_url=lambda r: f"/r/{r.id}",
        by=lambda r: "me",
    )


def test_nobody_owned_between_terms() -> None:
    first = charts.Holding(start=after(hours=-30), end=after(hours=-10), who="gateway", term=1)
    second = charts.Holding(start=after(hours=-8), end=START, who="desktop", term=2)
    found = charts.holdings_in(DAY, [first, second])
    assert [(part.who, part.start, part.end) for part in found] == [
        ("gateway", DAY.start, after(hours=-10)),
        (None, after(hours=-10), after(hours=-8)),
        ("desktop", after(hours=-8), START),
    ]
    assert "No owner from 03:00 CET to 05:00 CET" in charts.band(frame(*found))
    assert charts.holdings_in(DAY, []) == [charts.Holding(start=DAY.start, end=START, who=None)]


def test_a_lane_has_a_shape_for_each_outcome_and_words_for_all() -> None:
    bad = [s for s in RunState if s is not RunState.SUCCEEDED]
    runs = [run(state, after(hours=-number - 1)) for number, state in enumerate(bad)]
    runs.append(run(RunState.SUCCEEDED, after(hours=-20)))
    gaps = [
        gap(OmissionKind.HELD, after(hours=-23), after(hours=-21), 3),
        gap(OmissionKind.MISSED, after(hours=-15), after(hours=-15), 1),
    ]
    lane = charts.Lane(id="j1", name="a <job>", runs=runs, omissions=gaps)
    drawn = charts.lane(0, lane, frame())
    for state in bad:
        assert f"#{state}" in drawn
    assert 'class="gap-held"' in drawn
    assert 'class="gap-missed"' in drawn
    assert "a &lt;job&gt;" in drawn
    assert "<job>" not in drawn
    said_so = charts.summary(lane)
    assert said_so.startswith("1 ok, ")
    assert said_so.endswith("3 held, 1 missed")
    assert str(escape(said_so)) in drawn


def test_many_good_runs_are_a_bar_and_a_gap_stays_a_gap() -> None:
    hours = [h / 10 for h in range(1, 200) if not 50 < h < 80]
    runs = [run(RunState.SUCCEEDED, after(hours=-h)) for h in hours]
    lane = charts.Lane(id="j1", name="often", runs=runs, omissions=[])
    drawn = charts.lane(0, lane, frame())
    assert drawn.count("<circle") == 0
    assert drawn.count('class="b-ok"') == 2
    assert len(drawn) < 2000


def test_the_strip_stacks_jobs_and_counts_what_does_not_fit() -> None:
    window = svg.ChartWindow(start=START, end=after(hours=24))
    fires = [
        charts.Coming(at=after(minutes=5), job=f"j{n}", name=f"job {n}", protected=n == 0)
        for n in range(9)
    ]
    drawn = charts.strip(fires, window, BERLIN)
    assert drawn.count("<circle") == 4
    assert "+5" in drawn
    assert drawn.count("dot protected") == 1
    assert "9 scheduled runs of 9 jobs" in drawn
    assert "Nothing is due" in charts.strip([], window, BERLIN)


def test_durations_are_bars_and_the_bad_ones_lead_to_their_runs() -> None:
    runs = [run(RunState.SUCCEEDED, after(minutes=-n), n) for n in range(1, 5)]
    runs.append(run(RunState.FAILED, after(minutes=-9)))
    assert "took 1 s to 5 s; 1 failed" in charts.spark(runs, START)
    drawn = charts.durations(runs, START, lambda r: f"/r/{r.id}")
    assert drawn.count("<a ") == 1
    assert "#failed" in drawn
    assert "no runs yet" in charts.spark([], START)


def test_hours_follow_the_wall_clock_of_the_zone() -> None:
    window = svg.ChartWindow(
        start=datetime(2026, 3, 28, 23, 30, tzinfo=UTC), end=datetime(2026, 3, 29, 12, tzinfo=UTC)
    )
    there = words.load_zone(BERLIN)
    clock = [f"{at.astimezone(there):%H:%M}" for at in svg.hours(window, BERLIN, 3)]
    assert clock == ["03:00", "06:00", "09:00", "12:00"]  # 00:00 lies before; 02:00 does not exist
    kolkata = svg.hours(DAY, "Asia/Kolkata", 6)
    assert len(kolkata) == 4


# -- the chain -------------------------------------------------------------------------------------


def launched(*names: str, **changes: Any) -> Process:
    """A process below launchers of these names, the outermost first; pid 1 is the first."""
    above = [ChainLink(pid=n + 1, name=name) for n, name in enumerate(names)]
    chain = (ChainLink(pid=100, name="python"), *reversed(above))
    evidence = Evidence(
        identity=Identity(boot_id="b", pid=100, start=1), observed_at=START, chain=chain,
        executable="/usr/bin/python3.11", **changes,
    )  # fmt: skip
    return replace(make_process("p1"), evidence=evidence, role="gateway")


def titles(process: Process, **how: Any) -> list[str]:
    return [node.title for node in ownership.chain(process, **how)]


def test_the_chain_goes_from_the_service_manager_to_the_owner() -> None:
    service = Service(name="gateway.service", manager=Manager.SYSTEMD_SYSTEM)
    nodes = ownership.chain(launched("systemd", "gateway", service=service))
    assert [node.title for node in nodes] == ["systemd", "gateway", "gateway"]
    assert nodes[0].sub == ("pid 1", "gateway.service")
    assert nodes[-1].css == "is-owner"
    assert ownership.chain(launched("systemd"), dead=True)[-1].css == "is-dead"


def test_a_long_chain_is_folded_in_the_middle() -> None:
    found = ownership.chain(launched("init", "sshd", "bash", "tmux", "bash", "sh"))
    assert [node.title for node in found] == ["init", "3 more", "bash", "sh", "gateway"]
    assert found[1].sub == ("sshd, bash, tmux",)


def test_a_launcher_that_is_gone_is_told_as_unknown() -> None:
    found = ownership.chain(launched("bash", unknown=frozenset({"chain"})))
    assert [node.title for node in found] == ["bash", "unknown", "gateway"]  # pid 1 adopted it
    assert found[1].css == "is-unknown"
    assert ownership.chain(launched(unknown=frozenset({"chain"})))[0].css == "is-unknown"
    listed = dict(ownership.facts(launched(unknown=frozenset({"chain"})).evidence))
    assert listed["not readable"] == "chain"


def test_every_state_has_words_a_tone_and_an_icon() -> None:
    assert set(words.RUN_STATES) == set(words.TONES) == set(RunState)
    assert re.fullmatch(r"/static/icons\.svg\?[0-9a-f]+", svg.ICONS)
