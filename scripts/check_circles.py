"""Check that no modules import each other in a circle, also for type checking or in functions.

    check_circles.py

import-linter keeps packages apart; this looks at single modules. Exit code 1 if there is a circle.
"""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import grimp


def circle() -> list[str]:
    """The modules of a circle, each importing the next; empty if the tree has none."""
    graph = grimp.build_graph("tenure")
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def main() -> int:
    found = circle()
    if found:
        print(f"modules import each other: {' -> '.join(found)}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
