"""Reading Linux' /proc about one process: what is there, gone, hidden, or not to be believed.

*Identity* is pid, start ticks and boot id, together with the namespaces that give the pid and
the ticks their meaning. What a process can write itself (its name in ``stat``, its environment,
its arguments) is either not read at all or, as the name, only carried for display. A /proc of
another pid namespace (mounted before ``unshare --pid``) describes only the calling process.

Source: proc(5), pid_namespaces(7), time_namespaces(7), cgroups(7).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tenure.domain.errors import NotFound, OutcomeUnknown
from tenure.domain.policy.evidence import Identity, Service
from tenure.domain.process import Activity
from tenure.host.linux.systemd_units import service_of

_MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_DELETED = " (deleted)"
_SYSTEMD_HIERARCHY = "/sys/fs/cgroup/systemd"
# The kernel's fixed inodes of the first cgroup and user namespaces (linux/proc_ns.h).
_FIRST_CGROUP_NAMESPACE = "cgroup:[4026531835]"
FIRST_USER_NAMESPACE = "user:[4026531837]"

_DEAD_STATES = frozenset("ZXx")
_STOPPED_STATES = frozenset("Tt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What is needed of ``/proc/<pid>/stat`` (proc_pid_stat(5))."""

    pid: int
    name: str
    """The comm. A process sets it as it likes."""
    state: str
    parent: int
    session: int
    threads: int
    start: int
    """Clock ticks from boot to the start, as the reader's time namespace sees it."""

    @property
    def dead(self) -> bool:
        """Ended, whether reaped or not. A leader that left its threads running is alive."""
        return self.state in _DEAD_STATES and self.threads <= 1

    @property
    def stopped(self) -> bool:
        """By a signal, or by a debugger."""
        return self.state in _STOPPED_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcStatus:
    """What is needed of ``/proc/<pid>/status``; None where the kernel does not say it."""

    uid: int | None
    groups: tuple[int, ...] | None
    confinement: tuple[str, ...] | None


def parse_stat(text: str) -> Stat:
    """Parse ``stat``. The name is in parentheses and may hold anything, also `` ) 1 (``."""
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 1 :].split()
    return Stat(
        pid=int(text[:opening]),
        name=text[opening + 1 : closing],
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start=int(fields[19]),
    )


def parse_status(text: str) -> ProcStatus:
    """Parse ``status``: effective uid, effective and supplementary groups, confinement."""
    # The kernel escapes line feeds in the name. ``splitlines`` would also take a vertical tab in it
    # for an end, and let a process forge lines.
    lines = dict(line.split(":", 1) for line in text.split("\n") if ":" in line)
    uid = int(lines["Uid"].split()[1]) if "Uid" in lines else None
    groups: tuple[int, ...] | None = None
    if "Gid" in lines and "Groups" in lines:
        effective = int(lines["Gid"].split()[1])
        groups = tuple(dict.fromkeys((effective, *map(int, lines["Groups"].split()))))
    confinement: tuple[str, ...] | None = None
    if "NoNewPrivs" in lines and "Seccomp" in lines:
        flags = (("no_new_privs", "NoNewPrivs"), ("seccomp", "Seccomp"))
        confinement = tuple(name for name, key in flags if lines[key].strip() != "0")
    return ProcStatus(uid=uid, groups=groups, confinement=confinement)


def holds_flock(text: str, pid: str) -> bool:
    """Whether ``/proc/<pid>/fdinfo/<n>`` lists an exclusive flock that process ``pid`` took.

    ``lock: 1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF``, for this open file alone.
    """
    lines = (line.split() for line in text.split("\n"))
    expected = ["FLOCK", "ADVISORY", "WRITE", pid]
    return any(words[:1] == ["lock:"] and words[2:6] == expected for words in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """Where a process is in the hierarchy that systemd manages."""

    path: str
    version: int


def parse_cgroup(text: str) -> Cgroup | None:
    """The cgroup of ``/proc/<pid>/cgroup``: version 2's, else that of ``name=systemd``."""
    hierarchies = dict(_hierarchies(text))
    unified, named = hierarchies.get(""), hierarchies.get("name=systemd")
    # Where both exist (the hybrid layout) systemd keeps both alike; a version 2 path of ``/``
    # beside a longer ``name=systemd`` one means that systemd uses only the latter.
    if named is not None and unified in (None, "/"):
        return Cgroup(path=named, version=1)
    return None if unified is None else Cgroup(path=unified, version=2)


def _hierarchies(text: str) -> Iterator[tuple[str, str]]:
    """The controllers of each hierarchy, '' for version 2's, and the path in it."""
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (controllers or number == "0"):
            yield controllers, path


# -- reading --------------------------------------------------------------------------------------
_boot_id = ""
_machine_id: str | None = None


def boot_id() -> str:
    """'' where there is none. Raises OutcomeUnknown where it cannot be read now: an identity
    without it could never be verified."""
    global _boot_id
    if not _boot_id:
        try:
            _boot_id = read("/proc/sys/kernel/random/boot_id").strip()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return ""
        except OSError as error:
            raise OutcomeUnknown(f"the boot id cannot be read: {error.strerror}") from error
    return _boot_id


def namespaces() -> str:
    """The namespaces in which a pid and a start stamp mean something: pid's and time's inodes.

    Raises OutcomeUnknown where they cannot be read now.
    """
    # A process keeps its own for life (unshare and setns move its children); a fork's are new.
    return _namespaces_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _namespaces_of(pid: int) -> str:
    links = []
    for kind in ("pid", "time"):
        try:
            links.append(os.readlink(f"/proc/self/ns/{kind}"))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # the kernel has no such thing
        except OSError as error:  # a passing fault must not be remembered
            raise OutcomeUnknown(f"/proc cannot be read: {error.strerror}") from error
    return " ".join(links)


def namespace(kind: str, pid: int | None = None) -> str:
    """The kernel's name of a namespace, by default of the calling process; '' if unreadable."""
    try:
        return os.readlink(f"{folder(pid or os.getpid())}/ns/{kind}")
    except OSError:
        return ""


def read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "backslashreplace")
    finally:
        os.close(descriptor)


def read_stat(pid: int) -> Stat:
    """``stat`` as it is now, also of a dead process. Raises OSError, ValueError."""
    return parse_stat(read(f"{folder(pid)}/stat"))


def folder(pid: int) -> str:
    """Where /proc describes ``pid``. One's own entry is right even in a foreign /proc."""
    return "/proc/self" if pid == os.getpid() else f"/proc/{pid}"


def proc_is_ours() -> bool:
    """Whether /proc is of this pid namespace. Raises OutcomeUnknown."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutcomeUnknown(f"/proc cannot be read: {error.strerror}") from error


def stat_of(pid: int) -> Stat | None:
    """``stat`` of a process, also of a dead one; None if there is no such process.

    Raises OutcomeUnknown where it is hidden, and where it cannot be read now (no descriptor free):
    what was not read is not gone.
    """
    if pid <= 0:
        return None
    if pid != os.getpid() and not proc_is_ours():
        raise OutcomeUnknown(
            f"cannot determine if process {pid} lives: /proc belongs to another pid namespace",
            remedy="mount a /proc of this pid namespace (unshare --mount-proc)",
        )
    for _ in range(3):  # one that is taken and not shown may have ended in between
        try:
            return read_stat(pid)
        except PermissionError:
            break
        except (FileNotFoundError, ProcessLookupError):
            try:
                os.kill(pid, 0)
            except (ProcessLookupError, OverflowError):
                return None
            except PermissionError:  # it exists, and /proc does not show it (``hidepid``)
                pass
        except OSError as error:
            raise OutcomeUnknown(
                f"process {pid} cannot be read: {error.strerror}", errno=error.errno
            ) from error
    raise OutcomeUnknown(
        f"process {pid} exists, but /proc does not show it to this user",
        remedy="mount /proc without hidepid, or look as that process's user",
    )


def no_such(pid: int) -> NotFound:
    return NotFound(f"no process has pid {pid}", pid=pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    path: str
    deleted: bool


def executable_of(pid: int) -> tuple[Executable | None, bool]:
    """The program that a process runs, and whether nothing that matters was hidden."""
    link = f"{folder(pid)}/exe"
    try:
        path = os.fsencode(os.readlink(link)).decode("utf-8", "backslashreplace")
        file = os.stat(link)
        ours = namespace("mnt", pid) == namespace("mnt")
    except OSError as error:
        hidden = isinstance(error, PermissionError)  # else it ended, or is the kernel's own
        return None, pid == 1 or (hidden and _is_roots_alone(pid))
    # The kernel prints the path as the *process's* mounts name it. Where those are not ours, it
    # counts only if it leads here to the very file. A program without a path (memfd) is unknown.
    if path.startswith("/memfd:") or not (ours or _leads_to(path, file)):
        return None, pid == 1
    deleted = path.endswith(_DELETED) and not _leads_to(path, file)
    return Executable(path=path.removesuffix(_DELETED) if deleted else path, deleted=deleted), True


def _leads_to(path: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), file)
    except OSError:
        return False


def _is_roots_alone(pid: int) -> bool:
    """Whether it is root's, and looked at by an ordinary user, whose ancestry ends in such
    processes (sshd, login) without a choice of his."""
    try:
        # Not the owner of the *folder*: one that made itself undumpable belongs to root too.
        uid = parse_status(read(f"{folder(pid)}/status")).uid
    except OSError:
        return False
    return uid == 0 and os.geteuid() != 0


def service_of_process(pid: int) -> tuple[str | None, Service | None]:
    """The cgroup's path and its unit. Raises OSError."""
    cgroup = parse_cgroup(read(f"{folder(pid)}/cgroup"))
    if cgroup is None or cgroup.path.startswith("/.."):
        return (None if cgroup is None else cgroup.path), None
    service = service_of(cgroup.path)
    if service is not None and service.attested and not _is_hierarchy_roots(cgroup):
        service = replace(service, attested=False)
    return cgroup.path, service


def _is_hierarchy_roots(cgroup: Cgroup) -> bool:
    """Whether the names in the hierarchy were given by the machine's administrator."""
    # A user can make a user namespace with a cgroup namespace in it, in which his own subtree
    # looks like the root.
    if namespace("cgroup") != _FIRST_CGROUP_NAMESPACE and namespace("user") != FIRST_USER_NAMESPACE:
        return False
    if cgroup.version == 2:
        return True
    try:
        # Version 1 lets a user move processes into any cgroup that was delegated to him.
        return os.stat(f"{_SYSTEMD_HIERARCHY}{cgroup.path}").st_uid == 0
    except OSError:
        return False


def machine_id() -> str | None:
    """None where it cannot be read; that is asked again, for it may be for a moment only."""
    global _machine_id
    for file in () if _machine_id else _MACHINE_ID_FILES:
        with contextlib.suppress(OSError):
            text = read(file).strip()
            if len(text) == 32 and set(text) <= set("0123456789abcdef"):
                _machine_id = text
                break
    return _machine_id


def is_frozen(pid: int, hierarchies: str = "/sys/fs/cgroup") -> bool:
    """Whether the process is frozen with its cgroup (cgroups(7): the freezer of version 2, that
    of version 1). False where that cannot be read: most processes are in no frozen one."""
    try:
        text = read(f"{folder(pid)}/cgroup")
    except OSError:
        return False
    for controllers, path in _hierarchies(text):
        if ".." in path.split("/"):
            continue  # outside our cgroup namespace: its files are not at that place here
        if not controllers:
            # Beside version 1 the hierarchy is mounted one folder down (the hybrid layout).
            places = [f"{path}/cgroup.events", f"/unified{path}/cgroup.events"]
            frozen = "frozen 1"
        elif "freezer" in controllers.split(","):
            places, frozen = [f"/freezer{path}/freezer.state"], "FROZEN"
        else:
            continue
        for place in places:
            with contextlib.suppress(OSError):
                if frozen in read(f"{hierarchies}{place}").splitlines():
                    return True
    return False


# -- one process ----------------------------------------------------------------------------------
def identity_of(pid: int) -> Identity | None:
    stat = stat_of(pid)
    if stat is None or stat.dead:
        return None
    return Identity(boot_id=boot_id(), pid=pid, start=stat.start, pid_namespace=namespaces())


def own_identity() -> Identity:
    identity = identity_of(os.getpid())
    assert identity is not None, "/proc does not show this very process"
    return identity


def is_alive(identity: Identity) -> bool | None:
    try:
        here = boot_id()
        if identity.boot_id and here and identity.boot_id != here:
            return False
        if identity.pid_namespace != namespaces():
            return None
        stat = stat_of(identity.pid)
    except OutcomeUnknown:
        return None
    if stat is None or stat.dead or stat.start != identity.start:
        return False
    # Without a boot id the same pid and ticks may be another boot's: likely, not verified.
    return True if identity.boot_id and here else None


def activity_of(identity: Identity) -> Activity:
    if is_alive(identity) is not True:
        return Activity.UNKNOWN
    try:
        stat = stat_of(identity.pid)
    except OutcomeUnknown:
        return Activity.UNKNOWN
    if stat is None or stat.start != identity.start:
        return Activity.UNKNOWN
    if stat.stopped:
        return Activity.STOPPED
    return Activity.FROZEN if is_frozen(identity.pid) else Activity.RUNNING
