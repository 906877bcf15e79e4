"""Which characters a name may have, and which names look alike.

A name is kept as it was typed. Every script is allowed, and emoji as people write them: with
joiners (U+200C, U+200D, which Devanagari and Persian need too), variation selectors and flag tags.
Control characters, and those that turn the direction of text, are not: a name must look the same
wherever it is shown.
"""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""A black flag and the tags of its region."""
_IGNORED = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f]")


def escape_hidden(text: str) -> str:
    """``text`` with what is not shown, or shows other text than there is, escaped."""
    if text.isprintable():
        return text
    found, at = [], 0
    while at < len(text):
        flag = _FLAG.match(text, at)
        if flag is not None:
            found.append(flag[0])
            at = flag.end()
            continue
        character = text[at]
        shown = _is_shown(character, text[at - 1] if at else "")
        found.append(character if shown else repr(character)[1:-1])
        at += 1
    return "".join(found)


def is_shown(text: str) -> bool:
    """Whether every character of ``text`` is shown as it is."""
    return escape_hidden(text) == text


def look_of(name: str) -> str:
    """Equal for names that a person cannot tell apart, or only by case: NFKC and case folding."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKC", _IGNORED.sub("", name)).casefold()
    return unicodedata.normalize("NFKC", folded)


def _is_shown(character: str, before: str) -> bool:
    if character.isprintable():
        return True
    if character in _JOINERS:
        return before != "" and not before.isascii()
    # An emoji that is newer than this Python's table of characters.
    return 0x1F000 <= ord(character) <= 0x1FAFF and unicodedata.category(character) == "Cn"
