"""The names that a stored job of APScheduler 3 may hold, none of which is ever looked up."""

from __future__ import annotations

_FIELDS = ("BaseField", "MonthField", "WeekField", "DayOfMonthField", "DayOfWeekField")
_EXPRESSIONS = (
    "AllExpression",
    "RangeExpression",
    "MonthRangeExpression",
    "WeekdayRangeExpression",
    "WeekdayPositionExpression",
    "LastDayOfMonthExpression",
)
KNOWN = frozenset(
    (
        "apscheduler.triggers.cron.CronTrigger",
        "apscheduler.triggers.interval.IntervalTrigger",
        "apscheduler.triggers.date.DateTrigger",
        "apscheduler.triggers.calendarinterval.CalendarIntervalTrigger",
        "apscheduler.triggers.combining.AndTrigger",
        "apscheduler.triggers.combining.OrTrigger",
        *(f"apscheduler.triggers.cron.fields.{name}" for name in _FIELDS),
        *(f"apscheduler.triggers.cron.expressions.{name}" for name in _EXPRESSIONS),
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "zoneinfo.ZoneInfo",
        "zoneinfo.ZoneInfo._unpickle",
        "backports.zoneinfo.ZoneInfo",
        "backports.zoneinfo.ZoneInfo._unpickle",
        "pytz._UTC",
        "pytz._p",
        "pytz.FixedOffset",
        "collections.OrderedDict",
        # What pickle itself calls to put things together:
        "copyreg._reconstructor",
        "copy_reg._reconstructor",
        "_codecs.encode",
        "builtins.object",
        "builtins.set",
        "builtins.frozenset",
        "builtins.bytes",
        "builtins.getattr",
    )
)
