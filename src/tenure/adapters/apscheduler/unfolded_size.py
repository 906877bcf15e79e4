"""How large a value is when it is written out, each part as often as it stands in it.

Pure. Without recursion, so that no depth ends the process, and each part is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def size_of(value: Any, parts: Callable[[Any], Iterable[Any]], kind: type, most: int) -> int | None:
    """So many parts; anything above ``most`` where there are more; None where it holds itself.

    ``parts`` says what an object of ``kind`` consists of.
    """
    sizes: dict[int, int] = {}
    begun: set[int] = set()
    stack = [value]
    while stack:
        one = stack[-1]
        if id(one) in sizes:
            stack.pop()
            continue
        inside = list(parts(one)) if isinstance(one, kind) else _inside(one)
        left = [part for part in inside if id(part) not in sizes]
        if not left:
            stack.pop()
            sizes[id(one)] = min(most + 1, 1 + sum(sizes[id(part)] for part in inside))
        elif id(one) in begun:
            return None
        else:
            begun.add(id(one))
            stack.extend(left)
    return sizes[id(value)]


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []
