"""Windows by recorded answers. No Windows was asked."""

from __future__ import annotations

import os

import pytest

from tenure.domain.policy.evidence import ChainLink, Manager
from tenure.host.windows import processes
from tenure.host.windows.processes import WindowsHost, service_among

psutil = pytest.importorskip("psutil")

CHAIN = (ChainLink(pid=40), ChainLink(pid=30), ChainLink(pid=20))


def test_the_service_of_the_nearest_process_that_is_one() -> None:
    service, known = service_among(CHAIN, False, {30: ("HermesGateway",), 20: ("Other",)})
    assert known
    assert service is not None
    assert (service.name, service.manager) == ("HermesGateway", Manager.WINDOWS)


def test_what_cannot_be_told_is_unknown() -> None:
    assert service_among(CHAIN, True, {30: ("a", "b")}) == (None, False), "a shared process"
    assert service_among(CHAIN, True, None) == (None, False)
    assert service_among(CHAIN, False, {}) == (None, False), "the chain has a gap"
    assert service_among(CHAIN, True, {}) == (None, True)


class FakeService:
    def __init__(self, name: str, pid: int | None, refused: bool = False) -> None:
        self._name, self._pid, self._refused = name, pid, refused

    def pid(self) -> int | None:
        if self._refused:
            raise psutil.AccessDenied
        return self._pid

    def name(self) -> str:
        return self._name


def test_running_services(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [FakeService("a", 7), FakeService("b", 7), FakeService("off", None)]
    listed.append(FakeService("hidden", 9, refused=True))
    monkeypatch.setattr(psutil, "win_service_iter", lambda: iter(listed), raising=False)
    assert processes.running_services() == {7: ("a", "b")}


def test_evidence_in_each_session(monkeypatch: pytest.MonkeyPatch) -> None:
    host = WindowsHost()
    services = {os.getpid(): ("HermesGateway",)}
    monkeypatch.setattr(processes, "running_services", lambda: services)
    monkeypatch.setattr(processes, "machine_guid", lambda: "guid")

    monkeypatch.setattr(processes, "session_of", lambda pid: 0)
    evidence = host.observe(None, None)
    assert evidence.service is not None
    assert evidence.service.name == "HermesGateway"
    assert (evidence.session, evidence.host) == (0, "guid")
    assert {"uid", "groups"} <= evidence.unknown

    monkeypatch.setattr(processes, "session_of", lambda pid: 1)
    evidence = host.observe(None, None)
    assert evidence.service is None, "services run in session 0 alone"
    assert "service" not in evidence.unknown

    monkeypatch.setattr(processes, "session_of", lambda pid: None)
    assert "service" in host.observe(None, None).unknown


def test_the_boot_is_told_by_the_system_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        def __init__(self, pid: int) -> None:
            assert pid == 4

        def create_time(self) -> float:
            return 1_760_000_000.25

    monkeypatch.setattr(psutil, "Process", System)
    assert WindowsHost().boot_id() == "system:1760000000250000"

    def refused(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", refused)
    assert WindowsHost().boot_id() == ""
