"""Which systemd unit a cgroup path belongs to, read the way systemd itself reads it.

A path is walked from the root of the hierarchy. Leading slices are skipped; the first component
after them is the unit of the system manager. If that unit is ``user@UID.service`` the rest is
the domain of that user's own manager and is walked by the same rule. Whatever lies below a unit
was made by the unit's own processes (delegation), so a name found there is never a unit:
``/system.slice/a.service/gateway.service`` is in ``a.service``.

Names are unescaped (one leading ``_`` is systemd's mark for a name that would clash with a
kernel file) and must be valid unit names. Sources: ``cg_path_get_unit``,
``cg_path_get_user_unit``, ``skip_slices`` and ``unit_name_is_valid`` in systemd's
``src/basic/cgroup-util.c`` and ``unit-name.c``. One difference, on purpose: systemd also looks
for user units below ``session-N.scope``; those are leaf names that the session's user chooses,
so here the scope is the unit.
"""

from __future__ import annotations

import string

from tenure.domain.policy.evidence import Manager, Service

_TYPES = frozenset(
    {"service", "socket", "target", "device", "mount", "automount", "swap"}
    | {"timer", "path", "slice", "scope"}
)
_CHARACTERS = frozenset(string.ascii_letters + string.digits + ":-_.\\@")
_LONGEST_NAME = 255


def service_of(path: str) -> Service | None:
    """The unit that the cgroup ``path`` is in, or None where it is in none.

    A unit of the system manager is attested: an ordinary user cannot move a process into it. A
    unit of a user's manager is not: that user may move his processes among his units.
    """
    unit, rest = _first_unit(path)
    if unit is None:
        return None
    if _is_user_manager(unit):
        user_unit, _ = _first_unit(rest)
        if user_unit is not None:
            return Service(name=user_unit, manager=Manager.SYSTEMD_USER, attested=False)
    return Service(name=unit, manager=Manager.SYSTEMD_SYSTEM, attested=True)


def is_unit_name(name: str) -> bool:
    """Whether systemd would accept ``name`` for a unit that can run (no bare template)."""
    prefix, dot, kind = name.rpartition(".")
    if not dot or not prefix or kind not in _TYPES or len(name) > _LONGEST_NAME:
        return False
    if not _CHARACTERS.issuperset(prefix) or prefix.startswith("@"):
        return False
    _, at, instance = prefix.partition("@")
    return not at or bool(instance)


def _first_unit(path: str) -> tuple[str | None, str]:
    """The first component that is no slice, if it is a unit, and the path below it."""
    components = [component for component in path.split("/") if component]
    while components and _is_slice(components[0]):
        del components[0]
    if not components:
        return None, ""
    name = _unescape(components[0])
    if len(components[0]) < 3 or not is_unit_name(name) or name.endswith(".slice"):
        return None, ""
    return name, "/".join(components[1:])


def _is_slice(component: str) -> bool:
    name = _unescape(component)
    return name.endswith(".slice") and "@" not in name and is_unit_name(name)


def _is_user_manager(unit: str) -> bool:
    uid = unit.removeprefix("user@").removesuffix(".service")
    return f"user@{uid}.service" == unit and uid.isascii() and uid.isdigit()


def _unescape(component: str) -> str:
    return component.removeprefix("_")
