"""Pickles are read as data: any protocol, any library's time zones; nothing of them is called."""

from __future__ import annotations

import collections
import decimal
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.adapters.apscheduler.pickles import KNOWN, Made, read_pickle
from tenure.adapters.apscheduler.stored_job import StoredJob, instant_of, read_job, span_of, zone_of
from tenure.domain.errors import InvalidInput

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
BERLIN = ZoneInfo("Europe/Berlin")


def state(**changes: Any) -> dict[str, Any]:
    trigger = CronTrigger(hour=3, day="2nd mon", timezone=BERLIN, start_date="2020-02-03 04:05:06")
    return {
        "version": 1, "id": "j", "func": "shop.reports:Report.nightly", "trigger": trigger,
        "executor": "default", "args": (1, "a"), "kwargs": {"to": ["x"]}, "name": "nightly",
        "misfire_grace_time": 60, "coalesce": False, "max_instances": 2,
        "next_run_time": datetime(2030, 10, 27, 2, 30, tzinfo=BERLIN, fold=1), **changes,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_job_is_read_in_every_protocol(protocol: int) -> None:
    job = read_job(pickle.dumps(state(), protocol))
    assert job == StoredJob(
        id="j", func="shop.reports:Report.nightly", trigger=job.trigger, executor="default",
        args=(1, "a"), kwargs={"to": ["x"]}, name="nightly", misfire_grace_time=60, coalesce=False,
        max_instances=2, next_run_time=job.next_run_time,
    )  # fmt: skip
    assert str(job.trigger) == "cron[day='2nd mon', hour='3']"
    assert job.trigger.start == datetime(2020, 2, 3, 3, 5, 6, tzinfo=UTC)  # type: ignore[union-attr]
    if protocol > 3:  # the older ones do not keep which of two equal times it is
        assert job.next_run_time == datetime(2030, 10, 27, 1, 30, tzinfo=UTC)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.sets(st.integers()) | st.frozensets(st.text(max_size=3)),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_times_come_back(protocol: int) -> None:
    def through(value: Any) -> Any:
        return read_pickle(pickle.dumps(value, protocol))

    at = datetime(2026, 7, 1, 9, 30, 15, 123456, tzinfo=BERLIN)
    assert instant_of(through(at)) == at
    assert instant_of(through(at.astimezone(timezone(timedelta(hours=-3))))) == at
    assert span_of(through(timedelta(3, 4, 5))) == timedelta(3, 4, 5)
    assert zone_of(through(BERLIN)) == "Europe/Berlin"
    assert zone_of(through(UTC)) == "UTC"
    assert zone_of(through(timezone(timedelta(hours=2)))) == "Etc/GMT-2"
    assert zone_of(through(timezone(timedelta(hours=-9)))) == "Etc/GMT+9"
    with pytest.raises(InvalidInput, match="without a name"):
        zone_of(through(timezone(timedelta(hours=5, minutes=30))))


def test_pytz_is_read_without_pytz() -> None:
    """As pytz pickles itself: a name, and in a datetime the offset of just that instant."""
    zone = Made("pytz._p", ("Europe/Berlin", 7200, 3600, "CEST"))
    packed = datetime(2026, 7, 1, 9, 30).__reduce__()[1][0]
    assert zone_of(zone) == "Europe/Berlin"
    assert instant_of(Made("datetime.datetime", (packed, zone))) == datetime(
        2026, 7, 1, 7, 30, tzinfo=UTC
    )
    assert zone_of(Made("pytz._UTC")) == "UTC"
    assert zone_of(Made("pytz.FixedOffset", (120,))) == "Etc/GMT-2"
    content = b"\x80\x02cpytz\n_p\n(U\rEurope/BerlinM \x1cM\x10\x0eU\x04CESTtR."
    assert zone_of(read_pickle(content)) == "Europe/Berlin"


# -- what is refused ---------------------------------------------------------------------------
class Evil:
    def __init__(self, call: Any, *args: Any) -> None:
        self.made = (call, args)

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (subprocess.Popen, "Popen"),
        (decimal.Decimal, "decimal.Decimal"),
        (getattr, "builtins.exec"),
    ],
)
def test_what_is_not_known_is_refused_by_name_and_not_called(
    protocol: int, call: Any, name: str, tmp_path: Path
) -> None:
    mark = tmp_path / "called"
    args: tuple[Any, ...] = (f"open({str(mark)!r}, 'w')",)
    if call is getattr:
        args = (sys.modules["builtins"].__dict__["exec"], "__call__")
    content = pickle.dumps(state(kwargs={"x": Evil(call, *args)}), protocol)
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")):
        read_job(content)
    assert not mark.exists()


def test_no_class_is_looked_up_even_for_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = DateTrigger(datetime(2030, 1, 1, tzinfo=UTC))
    content = pickle.dumps({"a": trigger, "b": collections.OrderedDict(x=1)})
    for module in [name for name in sys.modules if name.startswith("apscheduler")]:
        monkeypatch.setitem(sys.modules, module, None)  # importing it would fail
    assert read_pickle(content)["a"].of == "apscheduler.triggers.date.DateTrigger"


DOUBLED_40_TIMES = b"]K\x01a" + b"".join(b"q%c0](h%ch%ce" % (n, n, n) for n in range(40)) + b"."
"""Some hundred bytes that no memory holds when they are written out."""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a valid pickle|truncated"),
        (b"not a pickle", "not a valid pickle"),
        (b'{"version": 1}', "not a valid pickle"),
        (b"\x80\x05", "truncated|not a valid pickle"),
        (b"\x80\x05.", "not a valid pickle"),
        (b"\x80\x05]\x94.", "not that of an APScheduler 3 job"),
        (b"\x80\x05(.", "not that"),
        (b"N" * 300_000 + b".", "more than"),
        (b"N" * 2_000_000, "larger than"),
        (b"cposix\nsystem\n(S'x'\ntR.", "posix.system"),
        (b"(cbuiltins\neval\nS'x'\no.", "builtins.eval"),
        (b"(S'x'\niposix\nsystem\n.", "INST"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (b"\x80\x05h\x05.", "not a valid pickle"),
        (b"\x80\x05]]s.", "not a valid pickle"),
        (b"\x80\x05}](Ks.", "not a valid pickle"),
        (b"\x80\x05}]Ns.", "neither text nor numbers"),
        (b"cdatetime\ndatetime\n)RNb)R.", "not a valid pickle"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", "not a valid pickle"),
        (b"\x8b" + struct.pack("<i", -5) + b".", "not a valid pickle"),
        (DOUBLED_40_TIMES, "expands to more"),
        (b"]q\x00h\x00a.", "reference to itself"),
    ],
)
def test_what_is_no_pickle_of_a_job_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_job(content)


def test_what_is_put_aside_once_may_be_taken_up_again() -> None:
    shared = ["x"] * 10
    assert read_pickle(pickle.dumps([shared] * 1000)) == [shared] * 1000


def test_nesting_does_not_end_the_process() -> None:
    deep = b"]" + b"\x85" * 190_000 + b"."
    code = (
        "import sys; from tenure.adapters.apscheduler.stored_job import read_job\n"
        "from tenure.domain.errors import InvalidInput\n"
        "for tail in (b'', b'N}hs'):\n"
        "    try: read_job(sys.stdin.buffer.read() if not tail else b'}(' + b')' + "
        "b'\\x85' * 190000 + b'Nu.')\n"
        "    except InvalidInput as error: print(error.text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=deep, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 2}, "not that of"),
        ({"func": "os:system; x"}, "not a function of a module"),
        ({"func": "a b:c"}, "not a function of a module"),
        ({"func": "nocolon"}, "not a function of a module"),
        ({"func": "m:import"}, "not a function of a module"),
        ({"func": None}, "text"),
        ({"trigger": None}, "not a trigger of APScheduler"),
        ({"kwargs": {1: 2}}, "dictionary"),
        ({"kwargs": None}, "dictionary"),
        ({"args": None}, "incomplete or invalid"),
        ({"misfire_grace_time": float("nan")}, "seconds"),
        ({"next_run_time": datetime(2030, 1, 1)}, "zone"),
        ({"next_run_time": date(2030, 1, 1)}, "time"),
        ({"max_instances": "x"}, "incomplete or invalid"),
    ],
)
def test_what_is_missing_or_wrong_is_said(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_job(pickle.dumps(state(**changes)))


GOOD = pickle.dumps(state())
OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.lists(st.sampled_from(OPCODES) | st.binary(max_size=6), max_size=30).map(b"".join),
        st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=3), st.integers(0, 3)).map(
            lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + cut[2] :]
        ),
    )
)
@example(b"\x80\x05(K\x01K\x02t.")
def test_any_bytes_are_a_job_or_refused(content: bytes) -> None:
    try:
        assert isinstance(read_job(content), StoredJob)
    except InvalidInput as error:
        assert error.text  # noqa: PT017


def test_only_names_that_do_nothing_are_known() -> None:
    modules = {name.partition(".")[0] for name in KNOWN}
    assert modules == {
        "apscheduler", "datetime", "zoneinfo", "backports", "pytz", "collections", "copyreg",
        "copy_reg", "_codecs", "builtins",
    }  # fmt: skip
