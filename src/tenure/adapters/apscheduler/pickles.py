"""A pickle read as data: what it says is built is described, and nothing of it is called.

Authority: the opcodes of :mod:`pickletools`, protocols 0 to 5. A pickle is a program for a stack
machine that may call any function it names; here each call becomes a :class:`Made`, which only
says what was to be called with what. No module is imported and no class looked up, so that a
pickle from anywhere can be read. Names that :data:`KNOWN` does not list are refused, and so is
what is too large, too deep or cut off.

Pure; safe from any thread.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenure.domain.errors import InvalidInput

LARGEST = 1_000_000
"""Bytes of one pickle."""
MOST = 200_000
"""Opcodes of one pickle."""

_MODULES = {
    "apscheduler.triggers.cron": "CronTrigger",
    "apscheduler.triggers.interval": "IntervalTrigger",
    "apscheduler.triggers.date": "DateTrigger",
    "apscheduler.triggers.calendarinterval": "CalendarIntervalTrigger",
    "apscheduler.triggers.combining": "AndTrigger OrTrigger",
    "apscheduler.triggers.cron.fields": (
        "BaseField MonthField WeekField DayOfMonthField DayOfWeekField"
    ),
    "apscheduler.triggers.cron.expressions": (
        "AllExpression RangeExpression MonthRangeExpression WeekdayRangeExpression "
        "WeekdayPositionExpression LastDayOfMonthExpression"
    ),
    "datetime": "datetime date time timedelta timezone",
    "zoneinfo": "ZoneInfo ZoneInfo._unpickle",
    "backports.zoneinfo": "ZoneInfo ZoneInfo._unpickle",
    "pytz": "_UTC _p FixedOffset",
    "collections": "OrderedDict",
    # What pickle itself calls to put things together:
    "copyreg": "_reconstructor",
    "copy_reg": "_reconstructor",
    "_codecs": "encode",
    "builtins": "object set frozenset bytes getattr",
}
KNOWN = frozenset(f"{module}.{name}" for module in _MODULES for name in _MODULES[module].split())
"""The names that a stored job of APScheduler 3 may hold, none of which is ever looked up."""


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function, by name."""

    name: str


@dataclass(slots=True, eq=False)
class Made:
    """What calling ``of`` with ``args`` would give; ``state`` is its state then."""

    of: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None


def read_pickle(content: bytes) -> Any:
    """What a pickle holds: plain values, and :class:`Made` for everything else.

    Raises InvalidInput, naming what it may not name, or saying what is wrong with it.
    """
    if len(content) > LARGEST:
        raise InvalidInput(f"its state is larger than {LARGEST} bytes")
    machine = _Machine()
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(content)):
            if number > MOST:
                raise InvalidInput(f"its state has more than {MOST} parts")
            if opcode.name == "STOP":
                return unfolded(machine.result())
            machine.step(opcode.name, value)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, Warning) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"its state is not a valid pickle: {error}") from None
    raise InvalidInput("its state is a truncated pickle")


def unfolded(value: Any) -> Any:
    """``value``, if it can be written out: what is put aside once may be taken up any number of
    times, and a few hundred bytes then say more than any memory holds."""
    size = unfolded_size(value, MOST)
    if size is None:
        raise InvalidInput("its state contains a reference to itself")
    if size > MOST:
        raise InvalidInput(f"its state expands to more than {MOST} parts")
    return value


def unfolded_size(value: Any, most: int) -> int | None:
    """The number of parts when it is written out, each as often as it occurs; any number above
    ``most`` where there are more; None where it contains itself."""
    sizes: dict[int, int] = {}
    begun: set[int] = set()
    # No recursion: no depth can end the process, and each part is visited once.
    stack = [value]
    while stack:
        part = stack[-1]
        if id(part) in sizes:
            stack.pop()
            continue
        inside = _parts(part)
        left = [inner for inner in inside if id(inner) not in sizes]
        if not left:
            stack.pop()
            sizes[id(part)] = min(most + 1, 1 + sum(sizes[id(inner)] for inner in inside))
        elif id(part) in begun:
            return None
        else:
            begun.add(id(part))
            stack.extend(left)
    return sizes[id(value)]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Made):
        return [value.args, value.kwargs, value.state]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


_MARK = object()
_IGNORED = frozenset(("PROTO", "FRAME"))
_PUSHED = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
     "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
     "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8")
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack, and what was put aside."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self.stack
        return value

    def step(self, name: str, value: Any) -> None:
        if name in _IGNORED:
            return
        if name in _PUSHED:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop(_TUPLES[name])))
        else:
            act = getattr(self, f"do_{name.lower()}", None)
            if act is None:
                raise InvalidInput(f"its state uses the unsupported pickle operation {name}")
            act(value)

    def pop(self, count: int = 1) -> list[Any]:
        if len(self.stack) < count:
            raise InvalidInput("its state is not a valid pickle: the stack is empty")
        popped = self.stack[-count:]
        del self.stack[-count:]
        return popped

    def to_mark(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise InvalidInput("its state is not a valid pickle: a mark is missing")
        above = self.stack[at + 1 :]
        del self.stack[at:]
        return above

    # -- putting aside -----------------------------------------------------------------------
    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    do_binput = do_long_binput = do_put

    def do_get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    do_binget = do_long_binget = do_get

    def do_pop(self, _: None) -> None:
        self.pop()

    def do_pop_mark(self, _: None) -> None:
        self.to_mark()

    def do_dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    # -- containers --------------------------------------------------------------------------
    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.to_mark()))

    def do_list(self, _: None) -> None:
        self.stack.append(self.to_mark())

    def do_dict(self, _: None) -> None:
        self.stack.append(_pairs(self.to_mark()))

    def do_frozenset(self, _: None) -> None:
        self.stack.append(frozenset(map(_key, self.to_mark())))

    def do_append(self, _: None) -> None:
        (item,) = self.pop()
        _expect(self.stack[-1], list).append(item)

    def do_appends(self, _: None) -> None:
        items = self.to_mark()
        _expect(self.stack[-1], list).extend(items)

    def do_setitem(self, _: None) -> None:
        self.set_items(self.pop(2))

    def do_setitems(self, _: None) -> None:
        self.set_items(self.to_mark())

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        # An ordered dictionary.
        if isinstance(target, Made):
            target.state = {**(target.state or {}), **_pairs(flat)}
        else:
            _expect(target, dict).update(_pairs(flat))

    def do_additems(self, _: None) -> None:
        items = self.to_mark()
        _expect(self.stack[-1], set).update(map(_key, items))

    # -- names and calls ---------------------------------------------------------------------
    def do_global(self, value: str) -> None:
        module, _, name = value.partition(" ")
        self.stack.append(_named(module, name))

    def do_stack_global(self, _: None) -> None:
        module, name = self.pop(2)
        self.stack.append(_named(_expect(module, str), _expect(name, str)))

    def do_reduce(self, _: None) -> None:
        of, args = self.pop(2)
        self.stack.append(_call(_expect(of, Named).name, _expect(args, tuple)))

    do_newobj = do_reduce

    def do_newobj_ex(self, _: None) -> None:
        of, args, kwargs = self.pop(3)
        name = _expect(of, Named).name
        self.stack.append(Made(name, _expect(args, tuple), _expect(kwargs, dict)))

    def do_build(self, _: None) -> None:
        (state,) = self.pop()
        _expect(self.stack[-1], Made).state = state


def _named(module: str, name: str) -> Named:
    module = "builtins" if module == "__builtin__" else module
    full = f"{module}.{name}"
    if full not in KNOWN:
        raise InvalidInput(
            f"its state names {full[:100]}, which cannot be read: only APScheduler's own triggers,"
            " dates and time zones are",
            remedy="declare this job by hand",
        )
    return Named(full)


def _call(name: str, args: tuple[Any, ...]) -> Any:
    """What a call would give, where that is a plain value; else a description of it."""
    if name == "builtins.getattr" and len(args) == 2 and isinstance(args[0], Named):
        module, _, owner = args[0].name.rpartition(".")
        return _named(module, f"{owner}.{args[1]}")
    if name == "_codecs.encode" and len(args) == 2 and args[1] in ("latin1", "latin-1"):
        return _expect(args[0], str).encode("latin-1")
    if name == "builtins.bytes" and not args:
        return b""
    if name.endswith("._reconstructor") and args and isinstance(args[0], Named):
        return Made(args[0].name)
    if name in ("builtins.set", "builtins.frozenset") and len(args) == 1:
        return set(map(_key, _expect(args[0], list)))
    return Made(name, args)


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    if len(flat) % 2:
        raise InvalidInput("its state is not a valid pickle: a value is missing")
    return {_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _key(value: Any) -> Any:
    """Of a dictionary or set. Only what is flat: hashing what is nested deep could end us."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    raise InvalidInput("its state has keys that are neither text nor numbers")


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise InvalidInput(f"its state is not a valid pickle: {kind.__name__} expected")
    return value
