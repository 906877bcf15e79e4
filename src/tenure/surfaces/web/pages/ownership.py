"""Who owns, as a page tells it: the bar on top, and the chain of processes down to the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tenure.client.health import Health
from tenure.domain.ownership import HolderLife, Term
from tenure.domain.policy.evidence import ChainLink, Evidence, Manager, Service
from tenure.domain.process import Process, ProcessStatus
from tenure.runtime.profile import Profile
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import Holding
from tenure.surfaces.web.reports import kept

LONGEST = 4
"""Launchers that are drawn: of more, the first and the last two, and the rest by name."""
COMM = 15
"""Characters of a name that Linux keeps; a longer one is cut."""
_MANAGERS = {
    Manager.SYSTEMD_SYSTEM: "systemd",
    Manager.SYSTEMD_USER: "systemd, of the user",
    Manager.LAUNCHD: "launchd",
    Manager.WINDOWS: "Windows services",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One line about the owner, on every page."""

    css: str
    icon: str
    text: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One box of the chain."""

    icon: str
    title: str
    sub: tuple[str, ...] = ()
    css: str = ""


def bar(health: Health, now: datetime) -> Bar:
    """What the top of each page says. What it means for the jobs comes with it."""
    owner = health.owner
    if health.problem is not None:
        return Bar("gone", "warning", "No process may become owner", health.problem.text)
    if owner is None or owner.life is HolderLife.DEAD:
        held = "Protected jobs are held and no others run until a process becomes owner."
        if owner is None:
            return Bar("gone", "warning", "This profile has no owner", held)
        if health.candidates():
            held = "A candidate may take over; protected jobs wait for an authoritative owner."
        return Bar("gone", "warning", f"The owner, {words.who(owner.process)}, is dead", held)
    who = words.who(owner.process)
    if owner.life is HolderLife.UNVERIFIABLE:
        return Bar("doubt", "unknown", f"Owner unknown: cannot verify that {who} is alive")
    if health.halted:
        text, more = (
            f"The owner, {who}, is {owner.activity}",
            "It runs nothing until it is resumed.",
        )
        return Bar("doubt", "warning", text, more)
    if health.hung:
        more = "A due run is unclaimed."
        return Bar("doubt", "warning", f"The owner, {who}, makes no progress", more)
    term, since = f"term {health.ownership.term}", health.ownership.since
    lasting = f", for {words.span(now - since)}" if since else ""
    authoritative = health.ownership.authoritative
    if health.policy.open and not authoritative:
        more = f"{term}{lasting}. No owner rules are set, so protected jobs are held."
    else:
        kind = "authoritative" if authoritative else "not authoritative"
        more = f"{term}, {kind}{lasting}"
    return Bar("", "owner", f"Owner: {who}", more)


def chain(
    process: Process, *, dead: bool = False, owner: bool = True, at: datetime | None = None
) -> list[Node]:
    """From the first launcher that can be seen down to the process itself, as they were ``at``
    that instant, by default at the last look."""
    evidence = process.evidence
    above = list(reversed(evidence.ancestors()))
    nodes = [
        node if link.lived(at) else replace(node, sub=(*node.sub, "has ended"), css="is-dead")
        for link in above
        for node in (_launcher(link, evidence.service),)
    ]
    if len(nodes) > LONGEST:
        folded = nodes[1:-2]
        names = ", ".join(dict.fromkeys(node.title for node in folded))
        middle = Node("process", f"{len(folded)} more", (names,))
        nodes = [nodes[0], middle, *nodes[-2:]]
    if "chain" in evidence.unknown:
        # Below pid 1, which took over what it left.
        top = int(bool(above) and above[0].pid == 1)
        nodes.insert(top, Node("unknown", "unknown", ("its launcher has exited",), "is-unknown"))
    if evidence.service is not None and not any(node.icon == "service" for node in nodes):
        nodes.insert(0, _service(evidence.service))
    return [*nodes, _self(process, dead, owner)]


def chain_of(process: Process) -> list[Node]:
    """The same for a process that may own or not."""
    return chain(process, owner=process.standing is ProcessStatus.OWNER)


def _self(process: Process, dead: bool, owner: bool) -> Node:
    evidence = process.evidence
    what = [f"pid {process.pid}"]
    if process.role and evidence.executable:
        what.append(words.program(process))
    if dead:
        return Node("dead", words.process_label(process), (*what, "dead"), "is-dead")
    icon, css = ("owner", "is-owner") if owner else ("process", "")
    return Node(icon, words.process_label(process), tuple(what), css)


def _launcher(link: ChainLink, service: Service | None) -> Node:
    program = _last(link.executable)
    cut = link.name is None or (len(link.name) == COMM and program.startswith(link.name))
    name = (program if cut else link.name) or "?"
    if link.pid == 1:
        sub = ["pid 1"] + ([service.name] if service else [])
        return Node("service", name, tuple(sub))
    return Node("process", name, (f"pid {link.pid}",))


def _service(service: Service) -> Node:
    sub = (_MANAGERS[service.manager],) + (() if service.attested else ("user-managed",))
    return Node("service", service.name, sub)


def _last(path: str | None) -> str:
    return (path or "").rstrip("/").rsplit("/", 1)[-1]


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """What was observed of a process, for a list of facts; what is absent is left out."""
    service = evidence.service
    observed: Sequence[tuple[str, object]] = (
        ("pid", evidence.identity.pid),
        ("program", evidence.executable),
        ("started as", evidence.executable_as_run),
        ("user", f"{evidence.user or '?'} (uid {evidence.uid})"),
        ("service", f"{service.name} ({_MANAGERS[service.manager]})" if service else None),
        ("app", evidence.app),
        ("cgroup", evidence.cgroup),
        ("responsible", evidence.responsible_pid and f"pid {evidence.responsible_pid}"),
        ("coalition", evidence.coalition),
        ("signature", evidence.signature),
        ("locks", ", ".join(evidence.locks)),
        ("confined by", ", ".join(evidence.confinement)),
        ("host", evidence.hostname),
        ("not readable", ", ".join(sorted(evidence.unknown)) or "none"),
    )
    listed = [(name, str(value)) for name, value in observed if value]
    if evidence.executable_deleted:
        listed.append(("replaced", "its program file was removed or replaced after it started"))
    return listed


def holdings(profile: Profile, now: datetime, health: Health, limit: int = 50) -> list[Holding]:
    """The latest terms, oldest first; the present one ends now.

    A term goes on in the record until it is ended or taken; here it ends with its process.
    """
    terms = reversed(profile.store.terms(limit=limit))
    return [_holding(profile, term, now, health) for term in terms]


def _holding(profile: Profile, term: Term, now: datetime, health: Health) -> Holding:
    end, who = term.ended_at or now, term.process
    process = kept(profile.store.process, term.process)
    if process is not None:
        who = words.process_label(process)
        end = min(end, process.left_at or end)
    dead = health.owner is not None and health.owner.life is HolderLife.DEAD
    if dead and term.term == health.ownership.term:
        end = min(end, health.ownership.progress_at or term.taken_at)
    return Holding(
        start=term.taken_at,
        end=max(end, term.taken_at),
        who=who,
        term=term.term,
        authoritative=term.authoritative,
    )
