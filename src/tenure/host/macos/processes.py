"""macOS: processes, from psutil, libproc, csops and launchd. Untested on a real Mac.

*Identity* is the pid with the kernel's unique id, which outlives reparenting and is never reused
within a boot. *Ancestry* is checked against the launcher's unique id, so that an adoption by
launchd shows. *Membership* is the resource coalition: launchd makes one for each job and each app,
children inherit it and cannot leave it. Its name, the job's label or the app's bundle id, comes
from ``launchctl print``, whose text may change: then service and app are unknown.

``XPC_SERVICE_NAME`` is not asked: it is inherited, and any process may set it.
"""

from __future__ import annotations

import os
from typing import Any

from tenure.domain.policy.evidence import ChainLink
from tenure.host.linux.held_locks import UNREAD, HeldLocks
from tenure.host.macos import answers, calls
from tenure.host.macos.launchd import Launchd, coalition_of
from tenure.host.macos.locks import own_locks
from tenure.host.psutil_host import PsutilHost, attempt


def host_id() -> str | None:
    """The machine's hardware id; None where it cannot be read."""
    return answers.parse_host(calls.host_uuid())


class MacHost(PsutilHost):
    """See :class:`~tenure.host.psutil_host.PsutilHost`."""

    def __init__(self) -> None:
        super().__init__()
        self._launchd = Launchd()

    def read_boot_id(self) -> str:
        return calls.sysctl_text("kern.bootsessionuuid") or ""

    def counter_of(self, pid: int) -> int | None:
        unique = self._unique(pid)
        return None if unique is None else unique.number

    def is_parent(self, pid: int, parent: int) -> bool | None:
        child, above = self._unique(pid), self._unique(parent)
        if child is None or above is None:
            return None
        return child.launcher == above.number

    def particulars(self, pid: int, chain: tuple[ChainLink, ...], complete: bool) -> dict[str, Any]:
        import psutil

        own = pid == os.getpid()
        coalition = coalition_of(pid)
        uid = attempt(lambda: int(psutil.Process(pid).uids().effective))
        signature, signature_known = answers.parse_signature(
            calls.code_signing(pid, calls.CODE_STATUS, answers.STATUS_SIZE),
            calls.code_signing(pid, calls.CODE_TEAM, answers.TEAM_SIZE),
            calls.code_signing(pid, calls.CODE_HASH, answers.CODE_HASH_SIZE),
        )
        facts: dict[str, Any] = {
            "host": host_id(),
            "uid": uid,
            "groups": tuple(dict.fromkeys((os.getegid(), *os.getgroups()))) if own else None,
            "session": attempt(lambda: os.getsid(pid)),
            "coalition": None if coalition is None else str(coalition),
            "responsible_pid": calls.responsible_pid(pid),
            "init": pid == 1,
            "confinement": None,
        }
        if signature is not None or not signature_known:
            facts["signature"] = signature
        name = self._launchd.coalition_name(pid, coalition)
        if coalition is None or name is None:
            facts |= {"service": None, "app": None}
        elif app := answers.app_of(name):
            facts["app"] = app
        else:
            pids = [link.pid for link in chain]
            facts["service"] = self._launchd.service(name, coalition, pids, uid)
        return facts

    def locks_of(self, pid: int) -> HeldLocks:
        """Another process's descriptors can be listed, but not who locked them."""
        return own_locks() if pid == os.getpid() else UNREAD

    def _unique(self, pid: int) -> answers.Unique | None:
        return answers.parse_unique(
            calls.pid_info(pid, calls.UNIQUE_IDENTIFIER, answers.UNIQUE_SIZE)
        )
