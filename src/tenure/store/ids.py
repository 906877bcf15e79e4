"""Ids that sort by the time they were made.

A prefix, nine characters of milliseconds since 1970 and nine random ones (45 bits), in Crockford's
base 32 (no i, l, o, u), lower-case: ``r1jd6s9k0m3x8q2v5z7``. Safe as file names and in URLs.
Source of the alphabet: https://www.crockford.com/base32.html
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TRIPLES = tuple(a + b + c for a in _DIGITS for b in _DIGITS for c in _DIGITS)
_MASK = 2**45 - 1


def new_id(prefix: str, now: datetime) -> str:
    """A new id made at ``now`` (aware). Thread-safe."""
    time = (now - _EPOCH) // _MILLISECOND & _MASK
    chance = int.from_bytes(os.urandom(6), "big") & _MASK
    return prefix + _nine(time) + _nine(chance)


def _nine(number: int) -> str:
    return _TRIPLES[number >> 30] + _TRIPLES[number >> 15 & 0x7FFF] + _TRIPLES[number & 0x7FFF]
