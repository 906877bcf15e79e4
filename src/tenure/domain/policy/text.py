"""Owner rules in TOML: read strictly, written canonically.

``[[owner]]`` tables, first to last. Each has at least one condition (see
:mod:`tenure.domain.policy.rule`) and may set ``refuse``, ``authoritative`` and ``after``. All else
is an error that names the field, counted as people count: ``owner[2].servce`` is the second
rule. Nothing is corrected or skipped: half a policy is a different policy.

* The first rule is authoritative unless it refuses or says ``authoritative = false``; a later
  one only where it says ``authoritative = true``.
* ``service`` is a name, ``"systemd:shop.service"``, or ``{ name = ..., manager = ... }``.
* ``role`` alone, or with ``user``, ``host`` or ``init = false`` only, is a process's own word: it
  must set ``authoritative = false``.

The canonical text is what the store keeps as the accepted policy. It holds the rules as written,
not what their paths resolve to: processes that see different mounts must agree on its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from tenure.domain.durations import format_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.policy.admission import Policy, hash_of
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import CONDITIONS, Rule
from tenure.domain.tables import Table, check_text, kind_of

MOST_RULES = 64
_VOUCHING = (
    "service",
    "app",
    "executable",
    "ancestor",
    "holds",
    "group",
    "cgroup",
    "signature",
)
_LARGEST_ID = 2**32 - 2


def read_rules(document: Mapping[str, object]) -> tuple[Rule, ...]:
    """The rules under ``owner`` in a parsed profile.toml; () where there are none.

    Raises :class:`InvalidInput` naming the field. Paths and groups are left unresolved.
    """
    entries = document.get("owner")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise InvalidInput(
            f"a list of tables expected, not {kind_of(entries)}",
            field="owner",
            remedy="write [[owner]], with two brackets, above each rule",
        )
    if len(entries) > MOST_RULES:
        raise InvalidInput(f"more than {MOST_RULES} rules", field="owner")
    return tuple(_read_rule(rank, entry) for rank, entry in enumerate(entries))


def write_rules(rules: Iterable[Rule]) -> str:
    """The canonical TOML of ``rules``; reading it gives the same rules, unresolved."""
    return "\n".join(_write_rule(rule) for rule in rules)


def make_policy(rules: Iterable[Rule], *, version: int) -> Policy:
    """The policy of these rules, with its text and hash."""
    rules = tuple(rules)
    text = write_rules(rules)
    return Policy(rules=rules, version=version, text=text, hash=hash_of(text))


def _read_rule(rank: int, entry: object) -> Rule:
    where = f"owner[{rank + 1}]"
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"a table expected, not {kind_of(entry)}", field=where)
    table = Table(entry, where)
    service, manager = _read_service(table)
    rule = Rule(
        rank=rank,
        refuse=table.flag("refuse") or False,
        service=service,
        manager=manager,
        app=_read_app(table),
        executable=_read_path(table, "executable"),
        ancestor=_read_path(table, "ancestor"),
        holds=_read_path(table, "holds", too_wide="names no file"),
        user=_read_who(table, "user"),
        group=_read_who(table, "group"),
        cgroup=_read_cgroup(table),
        init=table.flag("init"),
        signature=table.text("signature"),
        host=table.text("host"),
        role=table.text("role"),
    )
    authoritative = table.flag("authoritative")
    after = table.duration("after")
    table.done()
    if isinstance(rule.group, int):
        rule = replace(rule, group_id=rule.group)
    return _check(rule, where, authoritative, after)


def _check(rule: Rule, where: str, authoritative: bool | None, after: timedelta | None) -> Rule:
    if not rule.conditions():
        raise InvalidInput(
            "the rule asks for nothing, so it would match every process",
            field=where,
            remedy="give one of " + ", ".join(CONDITIONS),
        )
    if rule.refuse:
        for key, value in (("authoritative", authoritative or None), ("after", after)):
            if value is not None:
                raise InvalidInput("means nothing in a rule that refuses", field=f"{where}.{key}")
        return rule
    vouched = rule.init or any(getattr(rule, key) is not None for key in _VOUCHING)
    if rule.role is not None and not vouched and authoritative is not False:
        raise InvalidInput(
            "a role is the process's own word, and here nothing else vouches for it",
            field=f"{where}.role",
            remedy="add a service, an executable or another fact of the OS, "
            "or say authoritative = false",
        )
    return replace(
        rule,
        authoritative=rule.rank == 0 if authoritative is None else authoritative,
        after=after or timedelta(0),
    )


def _read_service(table: Table) -> tuple[str | None, Manager | None]:
    value = table.raw("service")
    if isinstance(value, dict):
        inner = Table(value, table.field("service"))
        name, manager = inner.text("name"), inner.choice("manager", Manager)
        inner.done()
        if name is None:
            raise InvalidInput("a service needs a name", field=inner.field("name"))
    else:
        name, manager = table.text("service"), None
        prefix, colon, rest = (name or "").partition(":")
        if colon and prefix in list(Manager):
            name, manager = check_text(rest, table.field("service")), Manager(prefix)
    if name is not None and "/" in name:
        raise InvalidInput(
            "a service is a name as its manager lists it, not a path",
            field=table.field("service"),
            remedy="for a control group write cgroup = ...; for a launchd service its label alone",
        )
    return name, manager


def _read_app(table: Table) -> str | None:
    app = table.text("app")
    if app is not None and "/" in app:
        raise InvalidInput(
            "an app is named by its bundle id, not by a path",
            field=table.field("app"),
            remedy="for a path write executable = ...; `tenure whoami` shows the bundle id",
        )
    return app


def _read_path(
    table: Table, key: str, *, too_wide: str = "would match every program"
) -> str | None:
    path = table.text(key)
    if path is None:
        return None
    start = re.match(r"/|~/|[A-Za-z]:[/\\]", path)
    if start is None:
        raise InvalidInput(
            "a full path expected; a bare name proves nothing",
            field=table.field(key),
            remedy="begin with / or ~/",
        )
    if not path[start.end() :].strip("/\\."):
        raise InvalidInput(too_wide, field=table.field(key))
    return path


def _read_cgroup(table: Table) -> str | None:
    path = table.text("cgroup")
    if path is not None and (not path.startswith("/") or ".." in path.split("/")):
        raise InvalidInput(
            "a path from the root of the hierarchy expected",
            field=table.field("cgroup"),
            remedy='for example "/system.slice/shop.service"; /proc/PID/cgroup shows it',
        )
    if path is not None and not path.strip("/"):
        raise InvalidInput("would match every process", field=table.field("cgroup"))
    return path


def _read_who(table: Table, key: str) -> str | int | None:
    value = table.raw(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= _LARGEST_ID:
            raise InvalidInput("no such id", field=table.field(key))
        return value
    text = check_text(value, table.field(key))
    if text.isascii() and text.isdigit():
        raise InvalidInput(
            "an id is written without quotes", field=table.field(key), remedy=f"{key} = {text}"
        )
    return text


def _write_rule(rule: Rule) -> str:
    lines = ["[[owner]]"]
    for key in rule.conditions():
        lines.append(f"{key} = {_write_condition(rule, key)}")
    if rule.refuse:
        lines.append("refuse = true")
    else:
        lines.append(f"authoritative = {_write(rule.authoritative)}")
        if rule.after:
            lines.append(f"after = {_write(format_duration(rule.after))}")
    return "\n".join(lines) + "\n"


def _write_condition(rule: Rule, key: str) -> str:
    value = getattr(rule, key)
    if key != "service":
        return _write(value)
    if rule.manager is not None:
        return f"{{ name = {_write(value)}, manager = {_write(str(rule.manager))} }}"
    if value.partition(":")[0] in list(Manager):
        return f"{{ name = {_write(value)} }}"
    return _write(value)


def _write(value: object) -> str:
    """A TOML value. JSON's strings are TOML's where there is no control character."""
    return json.dumps(value, ensure_ascii=False)
