"""Cron expressions in English words.

``cronsim`` says what a cron expression means; what is ambiguous or ungrammatical there is put
otherwise. The words are then read back and compared with the fires (:mod:`.words_check`); if
they are not true, the expression itself is the description.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cronsim.explain import Expression

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import CronFields, read_cron
from tenure.domain.schedule.words_check import days_of_each_shape, is_true

_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_NTH = re.compile(rf"^every (\d+|{'|'.join(_ORDINALS)})(?:st|nd|rd|th)? minute of every hour\b")
"""Could be read as one minute of the hour, or as a second."""
_EVERY_NTH_DAY = re.compile(r"(every \w+) day of month(?! from)")
_TH = re.compile(r"\b(\d*(?<!1)[123])th\b")
_ENDS = {"1": "st", "2": "nd", "3": "rd"}
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@lru_cache(maxsize=4096)
def cron_words(expression: str) -> str:
    """A true description of an expression; ``cron 0 9 ...`` if none was found."""
    fields = read_cron(expression)
    words = _explained(fields.expression)
    return words if is_true(words, fields) else f"cron {fields.expression}"


def _explained(expression: str) -> str:
    parts = expression.split(" ")
    if len(parts) == 5:
        parts.insert(0, "0")
    both = not (parts[3].startswith("*") or parts[5].startswith("*"))
    words = Expression([_spelled_out(part, n, parts) for n, part in enumerate(parts)]).explain()
    words = _NTH.sub(_each, words[0].lower() + words[1:])
    words = _EVERY_NTH_DAY.sub(r"\1 day of the month, from the 1st", words)
    # "and" reads as both at once, and either suffices.
    if both:
        words = words.replace(" and on ", " or on ")
    return _TH.sub(lambda m: m[1] + _ENDS.get(m[1][-1], "th"), words)


def _spelled_out(part: str, number: int, parts: list[str]) -> str:
    """A step that does not go on evenly, as the list of what it means: ``*/5`` hours are 0, 5,
    10, 15, 20, and then 0 again. Months and weekdays are always spelled out."""
    match = re.fullmatch(r"\*/(\d+)", part)
    low, high = _RANGES[number]
    if match is None or number == 3 or int(match[1]) == 1:
        return part
    step, cyclic = int(match[1]), number in (4, 5)
    if not cyclic and ((high - low + 1) % step == 0 or (number == 1 and parts[2] == "*")):
        return part
    return ",".join(map(str, range(low, high + 1, step)))


def either_day(expression: str) -> tuple[str, str] | None:
    """A warning (text, remedy) if the expression names days of the month and weekdays.

    As in every cron, either field suffices. None if it names at most one of them.
    """
    fields = read_cron(expression)
    parts = fields.expression.split(" ")
    days, weekdays = parts[-3], parts[-1]
    if days.startswith("*") or weekdays.startswith("*"):
        return None
    text = (
        f"either day field is enough: it runs when the day of the month is {days}, or when "
        f"the weekday is {weekdays}"
    )
    both = _both_days(fields, parts)
    if both is None:
        return text, "write * for one of them, and let the command check the other"
    return text, f"if both must match, write {both!r}"


def _both_days(fields: CronFields, parts: list[str]) -> str | None:
    """``0 9 1-7 * TUE`` that asks for both is ``0 9 * * TUE#1``; None where there is none."""
    nth = {"1-7": 1, "8-14": 2, "15-21": 3, "22-28": 4}.get(parts[-3])
    if nth is None or not re.fullmatch(r"\w+(,\w+)*", parts[-1]):
        return None
    nths = ",".join(f"{weekday}#{nth}" for weekday in parts[-1].split(","))
    expression = " ".join([*parts[:-3], "*", parts[-2], nths])
    try:
        nth_fields = read_cron(expression)
    except InvalidInput:
        return None
    first = 7 * nth - 6
    weekdays = read_cron(" ".join([*parts[:-3], "*", parts[-2], parts[-1]]))
    if any(
        nth_fields.rule.match_day(day)
        != (first <= day.day < first + 7 and weekdays.rule.match_day(day))
        for day in days_of_each_shape(fields.months)
    ):
        return None
    return expression


def _each(match: re.Match[str]) -> str:
    word = match[1]
    number = _ORDINALS.index(word) + 2 if word in _ORDINALS else int(word)
    return f"every {number} minutes, from the full hour"
