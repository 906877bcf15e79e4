"""Cgroup paths as systemd reads them, honest and hostile."""

from __future__ import annotations

import pytest

from tenure.domain.policy.evidence import Manager
from tenure.host.linux.systemd_units import is_unit_name, service_of

SYSTEM, USER = Manager.SYSTEMD_SYSTEM, Manager.SYSTEMD_USER
USER_TREE = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "name", "manager"),
    [
        ("/system.slice/hermes-gateway.service", "hermes-gateway.service", SYSTEM),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", SYSTEM),
        ("/init.scope", "init.scope", SYSTEM),
        ("/system.slice/docker-0a1b.scope", "docker-0a1b.scope", SYSTEM),
        ("/user.slice/user-1000.slice/session-2.scope", "session-2.scope", SYSTEM),
        (f"{USER_TREE}/app.slice/gateway.service", "gateway.service", USER),
        (f"{USER_TREE}/app.slice/app-gnome.slice/app-term-9.scope", "app-term-9.scope", USER),
        (f"{USER_TREE}/init.scope", "init.scope", USER),
        (f"{USER_TREE}/gateway.service", "gateway.service", USER),
        (USER_TREE, "user@1000.service", SYSTEM),
        ("/a.service", "a.service", SYSTEM),
        # '_' escapes a name that clashes with a kernel file
        ("/system.slice/_cgroup.service", "cgroup.service", SYSTEM),
        ("/_odd.slice/x.service", "x.service", SYSTEM),
        (f"{USER_TREE}/_app.slice/_tasks.scope", "tasks.scope", USER),
        ("/system.slice/dev-hugepages.mount", "dev-hugepages.mount", SYSTEM),
        ("//system.slice///a.service//", "a.service", SYSTEM),
    ],
)
def test_the_unit_that_systemd_would_name(path: str, name: str, manager: Manager) -> None:
    service = service_of(path)
    assert service is not None
    assert (service.name, service.manager) == (name, manager)
    assert service.attested is (manager is SYSTEM)


@pytest.mark.parametrize(
    ("path", "name", "manager"),
    [
        ("/system.slice/a.service/gateway.service", "a.service", SYSTEM),
        ("/system.slice/a.service/system.slice/gateway.service", "a.service", SYSTEM),
        ("/system.slice/a.service/payload", "a.service", SYSTEM),
        (f"{USER_TREE}/app.slice/x.scope/gateway.service", "x.scope", USER),
        (f"{USER_TREE}/app.slice/x.scope/system.slice/gateway.service", "x.scope", USER),
        (f"{USER_TREE}/system.slice/gateway.service", "gateway.service", USER),
        ("/user.slice/user-1000.slice/session-2.scope/gateway.service", "session-2.scope", SYSTEM),
        # a user manager nested in a user's tree is no manager
        (f"{USER_TREE}/x.service/user@0.service/gateway.service", "x.service", USER),
        (f"{USER_TREE}/user@0.service/gateway.service", "user@0.service", USER),
        # not a uid: an instance of some unit called 'user@'
        ("/system.slice/user@eve.service/gateway.service", "user@eve.service", SYSTEM),
        ("/system.slice/user@１.service/gateway.service", None, None),
    ],
)
def test_a_leaf_in_a_delegated_subtree_does_not_pass_for_the_unit(
    path: str, name: str | None, manager: Manager | None
) -> None:
    service = service_of(path)
    found = (None, None) if service is None else (service.name, service.manager)
    assert found == (name, manager)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/system.slice",
        "/user.slice/user-1000.slice",
        "/docker/0123456789abcdef",
        "/docker/abc/system.slice/gateway.service",
        "/kubepods/burstable/pod1/gateway.service",
        "/../gateway.service",
        "/system.slice/gateway.service (deleted)",
        "/system.slice/@x.service",
        "/system.slice/template@.service",
        "/system.slice/.service",
        "/system.slice/a b.service",
        "/system.slice/evil@.slice/gateway.service",
        "/system.slice/" + "x" * 300 + ".service",
    ],
)
def test_what_is_in_no_unit(path: str) -> None:
    assert service_of(path) is None


def test_unit_names() -> None:
    assert is_unit_name("a.service")
    assert is_unit_name(r"a-\x2d:b@c@d.scope")
    assert not is_unit_name("a.exe")
    assert not is_unit_name("service")
