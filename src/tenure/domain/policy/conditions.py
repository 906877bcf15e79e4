"""The conditions of a rule, each answered from evidence: yes, no, or unknown.

Three answers, not two. 'Unknown' is what a process could use to slip through: it must not pass
where a rule admits and must not escape where a rule refuses (C2), so it is carried up to the
policy, which knows which kind of rule asks.

Names that could mislead:

* **service** compares the name that the manager reports, never a part of a cgroup path: the
  owner of a delegated subtree may create any folder name in it.
* **app** is the bundle id by which launchd names a process's group of processes. It attests
  nothing: any process of the user can load a job under such a name.
* **cgroup** compares whole paths from the root of the hierarchy, for the same reason.
* **executable** looks at the process and up its chain, **ancestor** strictly above it. Process 1
  and session managers above match nothing: they are everybody's ancestors. A process of the chain
  that has ended since makes a condition that only it met unknown: what it vouched for, nothing
  vouches for any more. One that no rule names may end freely.
* **holds** asks for the lock, not for the file to be open: a process that only opens the file, or
  inherited it from the process that locked it, does not hold the lock. The lock attests nothing:
  the kernel gives it to a single process, but to any of the user's processes that asks first.
* **init** holds for an orphan too that made itself a session leader: outside a container, where
  process 1 is the machine's own, that is anybody's to do. Only process 1 itself is vouched for.
* **role** is the process's own word, and so never vouches for anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from tenure.domain.policy.evidence import ChainLink, Evidence, Manager
from tenure.domain.policy.rule import Rule


class ConditionAnswer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionResult:
    """What one condition found."""

    key: str
    answer: ConditionAnswer
    asks: str
    """The condition as text."""
    observed: str
    """The value that was observed, as text."""
    vouched: bool = False
    """Something that other processes of the same user cannot simply give themselves."""


_Result = tuple[ConditionAnswer, str, bool]

_UNIT_SUFFIXES = (".service", ".scope", ".slice", ".socket", ".timer", ".mount", ".path")

_SYSTEM_FOLDERS = ("/sbin/", "/bin/", "/usr/", "/lib/", "/System/", "/nix/store/", "c:/windows/")
_SESSION_MANAGERS = frozenset(
    {
        "launchd",
        "loginwindow",
        "systemd",
        "init",
        "login",
        "agetty",
        "getty",
        "sshd",
        "sshd-session",
        "sshd-auth",
        "gdm",
        "gdm3",
        "gdm-session-worker",
        "gdm-x-session",
        "gdm-wayland-session",
        "lightdm",
        "sddm",
        "sddm-helper",
        "gnome-session-binary",
        "gnome-session-service",
        "startplasma-wayland",
        "startplasma-x11",
        "plasma_session",
        "wininit.exe",
        "winlogon.exe",
        "services.exe",
        "userinit.exe",
        "explorer.exe",
    }
)
"""Programs that begin a login session, by name, and only in the system's own folders: a program
of that name in a home folder is an ordinary program."""


_INTERPRETERS = re.compile(
    r"(python|pythonw|pypy|node|nodejs|ruby|perl|php|lua|java|javaw|deno|bun|sh|bash|dash|zsh|ksh"
    r"|mksh|fish|busybox|pwsh|powershell)(-?\d[\d.]*[a-z]{0,2})?(\.exe|\.app)?",
    re.IGNORECASE,
)
"""Names of programs that run the code of others: ``python3.13t``, ``php8.2``, ``Python.app``."""


def is_interpreter(executable: str) -> bool:
    """Whether the program runs any script it is given, so that its path identifies no program.

    Pass a resolved path: the name of a link says nothing about its target."""
    name = re.split(r"[/\\]", executable.rstrip("/\\"))[-1]
    return _INTERPRETERS.fullmatch(name) is not None


def is_system_program(executable: str) -> bool:
    """Whether it lies in one of the system's own folders: any user starts programs of these."""
    path = executable.replace("\\", "/")
    return (path.casefold() if _is_windows(executable) else path).startswith(_SYSTEM_FOLDERS)


def is_session_manager(executable: str) -> bool:
    """Whether the program is above all processes of a session, so that it proves nothing."""
    name = executable.replace("\\", "/").rpartition("/")[2]
    known = (name.casefold() if _is_windows(executable) else name) in _SESSION_MANAGERS
    return known and is_system_program(executable)


def covers(rule_path: str, observed: str) -> bool:
    """Whether ``observed`` is ``rule_path`` or lies in it (a folder, an ``.app``)."""
    if _is_windows(rule_path):
        rule_path = rule_path.replace("\\", "/").casefold()
        observed = observed.replace("\\", "/").casefold()
    rule_path = rule_path.rstrip("/")
    return bool(rule_path) and (observed == rule_path or observed.startswith(rule_path + "/"))


def findings(
    rule: Rule, evidence: Evidence, *, role: str | None, me_uid: int
) -> tuple[ConditionResult, ...]:
    """Every condition of ``rule`` against ``evidence``, in the order of the keys."""
    answers: dict[str, Callable[[], _Result]] = {
        "service": lambda: _service(rule, evidence),
        "app": lambda: _app(rule, evidence),
        "executable": lambda: _executable(rule, evidence),
        "ancestor": lambda: _ancestor(rule, evidence),
        "holds": lambda: _holds(rule, evidence),
        "user": lambda: _user(rule, evidence, me_uid),
        "group": lambda: _group(rule, evidence),
        "cgroup": lambda: _cgroup(rule, evidence),
        "init": lambda: _init(rule, evidence),
        "signature": lambda: _signature(rule, evidence),
        "host": lambda: _host(rule, evidence),
        "role": lambda: _role(rule, role),
    }
    results = []
    for key in rule.conditions():
        answer, observed, vouched = answers[key]()
        results.append(
            ConditionResult(
                key=key,
                answer=answer,
                asks=rule.asks(key),
                observed=observed,
                vouched=vouched and answer is ConditionAnswer.YES,
            )
        )
    return tuple(results)


def _service(rule: Rule, evidence: Evidence) -> _Result:
    if "service" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "its service could not be read", False
    service = evidence.service
    if service is None:
        return ConditionAnswer.NO, "it belongs to no service", False
    seen = f"its service is {service.name} ({service.manager})"
    if rule.manager is not None and rule.manager is not service.manager:
        return ConditionAnswer.NO, seen, False
    names = {rule.service}
    systemd = service.manager in (Manager.SYSTEMD_SYSTEM, Manager.SYSTEMD_USER)
    if systemd and rule.service and not rule.service.endswith(_UNIT_SUFFIXES):
        names.add(f"{rule.service}.service")
    if service.name not in names:
        return ConditionAnswer.NO, seen, False
    return ConditionAnswer.YES, seen, service.attested


def _app(rule: Rule, evidence: Evidence) -> _Result:
    if "app" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "its app could not be read", False
    seen = f"its app is {evidence.app}" if evidence.app else "it belongs to no app"
    return _same(evidence.app == rule.app), seen, False


def _executable(rule: Rule, evidence: Evidence) -> _Result:
    own = [evidence.executable, evidence.executable_as_run]
    own += [link.executable for link in evidence.chain[:1]]
    unread = ["its own program"] if "executable" in evidence.unknown else []
    paths = rule.executable_paths or (rule.executable or "",)
    return _in_chain(paths, evidence, [p for p in own if p], unread)


def _ancestor(rule: Rule, evidence: Evidence) -> _Result:
    paths = rule.ancestor_paths or (rule.ancestor or "",)
    return _in_chain(paths, evidence, [], [])


def _in_chain(
    paths: Iterable[str], evidence: Evidence, own: list[str], unread: list[str]
) -> _Result:
    seen = list(dict.fromkeys(own))
    above = [link for link in evidence.ancestors() if not _proves_nothing(link)]
    seen += [link.executable for link in above if link.executable and link.ended_at is None]
    if "chain.executable" in evidence.unknown:
        hidden = [f"the program of process {a.pid}" for a in above if not a.executable]
        unread = unread + (hidden or ["a program in its chain"])
    if "chain" in evidence.unknown:
        unread = [*unread, "the chain above it"]
    for path in paths:
        for observed in seen:
            if covers(path, observed):
                return ConditionAnswer.YES, f"{observed} is in its chain", True
    for link in ended_links(paths, evidence):
        return (
            ConditionAnswer.UNKNOWN,
            f"{link.executable} (pid {link.pid}) in its chain has ended",
            False,
        )
    chain = ", then ".join(seen[:6]) + (", ..." if len(seen) > 6 else "")
    observed = f"its chain is {chain}" if seen else "nothing in its chain counts"
    if unread:
        return (
            ConditionAnswer.UNKNOWN,
            f"{observed}; {', '.join(unread[:3])} could not be read",
            False,
        )
    return ConditionAnswer.NO, observed, False


def ended_links(paths: Iterable[str], evidence: Evidence) -> list[ChainLink]:
    """The processes of the chain that one of ``paths`` names, and that have ended."""
    return [
        link
        for link in evidence.ancestors()
        if link.ended_at is not None
        and link.executable is not None
        and not _proves_nothing(link)
        and any(covers(path, link.executable) for path in paths)
    ]


def _proves_nothing(link: ChainLink) -> bool:
    return link.pid <= 1 or (link.executable is not None and is_session_manager(link.executable))


def _holds(rule: Rule, evidence: Evidence) -> _Result:
    paths = rule.holds_paths or (rule.holds or "",)
    for path in paths:
        if path in evidence.locks:
            return ConditionAnswer.YES, f"it holds the lock on {path}", False
    passed_over = "locks.other" in evidence.unknown and not paths[-1].endswith(".lock")
    if passed_over or "locks" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "which locks it holds could not be read", False
    return ConditionAnswer.NO, f"it holds no lock on {rule.holds}", False


def _user(rule: Rule, evidence: Evidence, me_uid: int) -> _Result:
    named = isinstance(rule.user, str) and rule.user != "me"
    if ("user" if named else "uid") in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "its user could not be read", False
    seen = f"it runs as {evidence.user or 'uid'} ({evidence.uid})"
    if named:
        return _same(evidence.user == rule.user), seen, False
    uid = me_uid if rule.user == "me" else rule.user
    return _same(evidence.uid is not None and evidence.uid == uid), seen, False


def _group(rule: Rule, evidence: Evidence) -> _Result:
    gid = rule.group if isinstance(rule.group, int) else rule.group_id
    if gid is None:
        return ConditionAnswer.UNKNOWN, f"this machine knows no group {rule.group}", False
    if "groups" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "its groups could not be read", False
    seen = "its groups are " + (", ".join(map(str, evidence.groups)) or "none")
    return _same(gid in evidence.groups), seen, True


def _cgroup(rule: Rule, evidence: Evidence) -> _Result:
    observed = evidence.cgroup
    if "cgroup" in evidence.unknown or (observed and ".." in observed.split("/")):
        # A path with '..' lies outside our cgroup namespace: its real name cannot be seen.
        return ConditionAnswer.UNKNOWN, "its cgroup could not be read", False
    if not observed:
        return ConditionAnswer.NO, "it is in no cgroup", False
    movable = any(p.startswith("user@") and p.endswith(".service") for p in observed.split("/"))
    stated = evidence.service is not None and not evidence.service.attested
    same = _same(covers(rule.cgroup or "", observed))
    return same, f"its cgroup is {observed}", not (movable or stated)


def _init(rule: Rule, evidence: Evidence) -> _Result:
    if "init" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "whether it is an init process could not be read", False
    seen = "it is " + ("" if evidence.init else "not ") + "process 1 or a child of it"
    # Any process can become a child of process 1, but not process 1 itself.
    return _same(evidence.init == rule.init), seen, evidence.identity.pid == 1


def _signature(rule: Rule, evidence: Evidence) -> _Result:
    if "signature" in evidence.unknown:
        return ConditionAnswer.UNKNOWN, "its signature could not be read", False
    seen = f"its signature is {evidence.signature}" if evidence.signature else "it has no signature"
    return _same(evidence.signature == rule.signature), seen, True


def _host(rule: Rule, evidence: Evidence) -> _Result:
    names = [name for name in (evidence.hostname, evidence.host) if name]
    seen = "its host is " + (" or ".join(names) or "nameless")
    if rule.host in names:
        return ConditionAnswer.YES, seen, False
    if evidence.unknown & {"host", "hostname"}:
        return ConditionAnswer.UNKNOWN, "its host could not be read", False
    return ConditionAnswer.NO, seen, False


def _role(rule: Rule, role: str | None) -> _Result:
    return _same(role == rule.role), f"it calls itself {role or 'nothing'}", False


def _same(equal: bool) -> ConditionAnswer:
    return ConditionAnswer.YES if equal else ConditionAnswer.NO


def _is_windows(path: str) -> bool:
    return path[1:2] == ":"
