"""A report in words, a line each, for a terminal or a log."""

from __future__ import annotations

from tenure.audit.report import Finding, Report

_SHOWN = 20
"""Findings of one code that are told one by one; the rest are counted."""


def render_report(report: Report) -> list[str]:
    """The report as lines of plain text: findings first, then over how much they were sought."""
    lines: list[str] = []
    told: dict[str, int] = {}
    for finding in report.findings:
        told[finding.code] = told.get(finding.code, 0) + 1
        if told[finding.code] <= _SHOWN:
            lines.extend(_finding(finding))
    for code, times in told.items():
        if times > _SHOWN:
            lines.append(f"... and {times - _SHOWN} more of {code}")
    lines.append(_count(len(report.findings), "finding") + " in " + _checked(report))
    lines.extend(f"not checked: {times} {what}" for what, times in report.not_checked.items())
    lines.extend(f"note: {note}" for note in report.notes)
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"{finding.clause} {finding.code}: {finding.text}"]
    if finding.remedy:
        lines.append(f"   {finding.remedy}")
    return lines


_KINDS = (
    ("runs", "run"),
    ("attempts", "attempt"),
    ("fires", "due fire"),
    ("omissions", "omission record"),
    ("terms", "term"),
    ("requests", "request"),
    ("jobs", "job"),
    ("events", "event"),
)


def _checked(report: Report) -> str:
    return ", ".join(_count(report.checked.get(key, 0), noun) for key, noun in _KINDS)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
