"""Windows: processes, from psutil and a few calls. Untested on a real Windows.

*Identity* is the pid with its creation time. *Ancestry* often has gaps, since Windows does not
adopt orphans: a parent that is gone leaves the chain incomplete. *Membership*: services run in
session 0 only; a process there belongs to the service of which it, or its nearest ancestor in a
complete chain, is the process. There are no numeric user and group ids: unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tenure.domain.policy.evidence import ChainLink, Manager, Service
from tenure.host.psutil_host import PsutilHost, attempt

_SYSTEM_PROCESS = 4
_SERVICES_SESSION = 0


class WindowsHost(PsutilHost):
    """See :class:`~tenure.host.psutil_host.PsutilHost`."""

    def read_boot_id(self) -> str:
        """The System process's creation time: a stamp taken at boot, never adjusted."""
        import psutil

        created = attempt(lambda: psutil.Process(_SYSTEM_PROCESS).create_time())
        return f"system:{round(created * 1_000_000)}" if (created or 0) > 0 else ""

    def particulars(self, pid: int, chain: tuple[ChainLink, ...], complete: bool) -> dict[str, Any]:
        session = session_of(pid)
        facts: dict[str, Any] = {
            "host": machine_guid(),
            "uid": None,
            "groups": None,
            "session": session,
            "confinement": None,
        }
        service, known = None, session is not None
        if session == _SERVICES_SESSION:
            service, known = service_among(chain, complete, running_services())
        if service is not None or not known:
            facts["service"] = service
        return facts


def service_among(
    chain: Iterable[ChainLink], complete: bool, services: Mapping[int, tuple[str, ...]] | None
) -> tuple[Service | None, bool]:
    """The service of the nearest process of ``chain`` that is one, and whether it is known.

    ``services`` maps a pid to the services in it. If one process hosts several (svchost), the
    service is unknown.
    """
    if services is None:
        return None, False
    for link in chain:
        names = services.get(link.pid, ())
        if len(names) == 1:
            return Service(name=names[0], manager=Manager.WINDOWS), True
        if names:
            return None, False
    return None, complete


def running_services() -> dict[int, tuple[str, ...]] | None:
    """Each service process and the names of its services; None if they cannot be listed."""
    import psutil

    listing = getattr(psutil, "win_service_iter", None)
    if listing is None:
        return None
    services: dict[int, tuple[str, ...]] = {}
    try:
        for service in listing():
            try:
                pid = service.pid()
                if pid:
                    services[pid] = (*services.get(pid, ()), service.name())
            except (psutil.Error, OSError):
                continue
    except (psutil.Error, OSError):
        return None
    return services


if sys.platform == "win32":
    import ctypes
    import winreg

    def session_of(pid: int) -> int | None:
        """The terminal services session of a process (``ProcessIdToSessionId``)."""
        session = ctypes.c_ulong()
        done = ctypes.WinDLL("kernel32").ProcessIdToSessionId(pid, ctypes.byref(session))
        return session.value if done else None

    def machine_guid() -> str | None:
        """``MachineGuid`` of the registry: one for each installation."""
        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE,
                r"SOFTWARE\Microsoft\Cryptography",
                access=winreg.KEY_READ | winreg.KEY_WOW64_64KEY,
            ) as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            return None

else:

    def session_of(pid: int) -> int | None:
        return None

    def machine_guid() -> str | None:
        return None
