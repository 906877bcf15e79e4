"""Which version of an app is newer, where all that is known is two strings.

Numbers compare as numbers, words as words, and a number is newer than a word in the same place,
so that 1.10 follows 1.9 and 1.0 follows 1.0rc1. What is longer is newer only where it goes on
with a number. No format is asked for: a date or a build number does.
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"\d+|[a-z]+")
_END = (1, 0, "")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts versions; equal for versions that only differ in punctuation."""
    parts = _PARTS.findall(version.lower())
    key = tuple((2, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)
    return (*key, _END)


def is_newer(version: str, than: str) -> bool:
    """Whether ``version`` is strictly newer than ``than``."""
    return version_key(version) > version_key(than)
