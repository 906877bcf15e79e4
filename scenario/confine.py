"""Start a program that the kernel denies a file, it and all that it starts.

    confine.py [--deny PATH] [--uid N] [--groups N,N] -- PROGRAM ARGV0 [ARGUMENT]...

The program takes this process's place. ``--deny`` is Landlock's stand-in for TCC; where Landlock
is missing, a file of a supplementary group is denied by not being in it (``--uid``, ``--groups``:
only root may give up being root).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--deny", type=Path)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--groups", default="")
    wish = parser.parse_args(arguments[:split])
    if wish.uid is not None:
        become(wish.uid, [int(g) for g in wish.groups.split(",") if g])
    if wish.deny is not None:
        from landlock import deny_beneath

        deny_beneath(wish.deny)
    program, *argv = arguments[split + 1 :]
    os.execv(program, argv)


def become(uid: int, groups: list[int]) -> None:
    """Be this user, in these groups, for good."""
    os.seteuid(0)
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    main(sys.argv[1:])
