"""Check the subject of a commit message: `area: what and why`, at most 72 characters.

check_commit.py FILE    as git's commit-msg hook calls it
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LONGEST_SUBJECT = 72
GENERATED = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")


def problem(message: str) -> str | None:
    """What is wrong with the subject; None if it follows the form."""
    subject = message.partition("\n")[0]
    if subject.startswith(GENERATED):
        return None
    if len(subject) > LONGEST_SUBJECT:
        return f"subject: {len(subject)} characters -> at most {LONGEST_SUBJECT}"
    if not re.match(r"[a-z][a-z0-9_.,/ -]*: \S", subject):
        return "subject: no area -> write 'area: what and why'"
    if subject.endswith("."):
        return "subject: ends with a full stop -> leave it out"
    return None


if __name__ == "__main__":
    found = problem(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if found:
        sys.exit(found)
