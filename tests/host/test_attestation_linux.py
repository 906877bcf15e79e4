"""What an ordinary user could arrange for himself is not attested, or unknown (C2)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.domain.policy.evidence import Manager
from tenure.host import processes
from tenure.host.linux import proc as linux_proc
from tenure.host.linux.proc import service_of_process
from waiting import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.root,
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc"),
]

SOURCE = str(Path(processes.__file__).parents[2])
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def in_cgroup(monkeypatch: pytest.MonkeyPatch):
    """Make every process appear in the given cgroups, to a reader in given namespaces."""

    def appear(text: str, **namespaces: str) -> None:
        monkeypatch.setattr(linux_proc, "read", lambda path: text)
        first = {"cgroup": "cgroup:[4026531835]", "user": "user:[4026531837]", **namespaces}
        monkeypatch.setattr(linux_proc, "namespace", lambda kind, pid=None: first[kind])

    return appear


UNIT = "/system.slice/hermes-gateway.service"


def test_a_system_unit_is_attested(in_cgroup) -> None:
    in_cgroup(f"0::{UNIT}\n")
    path, service = service_of_process(os.getpid())
    assert path == UNIT
    assert service is not None
    assert (service.name, service.manager, service.attested) == (
        "hermes-gateway.service",
        Manager.SYSTEMD_SYSTEM,
        True,
    )


def test_a_unit_in_a_users_own_namespaces_is_not(in_cgroup) -> None:
    in_cgroup(f"0::{UNIT}\n", cgroup="cgroup:[4026532999]", user="user:[4026532998]")
    service = service_of_process(os.getpid())[1]
    assert service is not None
    assert not service.attested


def test_a_container_that_root_made_keeps_its_units(in_cgroup) -> None:
    in_cgroup(f"0::{UNIT}\n", cgroup="cgroup:[4026532999]")
    service = service_of_process(os.getpid())[1]
    assert service is not None
    assert service.attested


def test_above_the_root_of_our_cgroup_namespace_nothing_is_known(in_cgroup) -> None:
    in_cgroup(f"0::/../..{UNIT}\n")
    assert service_of_process(os.getpid()) == (f"/../..{UNIT}", None)


def test_version_1_units_count_only_where_root_owns_the_cgroup(
    in_cgroup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_cgroup(f"1:name=systemd:{UNIT}\n")
    monkeypatch.setattr(linux_proc, "_SYSTEMD_HIERARCHY", str(tmp_path))
    folder = tmp_path / UNIT[1:]

    def attested() -> bool:
        service = service_of_process(os.getpid())[1]
        assert service is not None
        return service.attested

    assert not attested(), "it cannot be looked at"
    folder.mkdir(parents=True)
    assert attested() is (os.geteuid() == 0)
    if os.geteuid() == 0:
        os.chown(folder, 1000, 1000)
        assert not attested(), "version 1 lets that user move anything into it"


@pytest.fixture(params=["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/systemd"])
def unit_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real cgroup that systemd could have made, removed afterwards."""
    root = Path(request.param)
    if not (root / "cgroup.procs").exists():
        pytest.skip(f"{root} is no cgroup hierarchy")
    name = f"tenure-test-{os.getpid()}"
    slice_, unit = root / f"{name}.slice", root / f"{name}.slice" / f"{name}.service"
    leaf = unit / "gateway.service"
    made: list[Path] = []
    try:
        for folder in (slice_, unit, leaf):
            folder.mkdir()
            made.append(folder)
    except OSError as error:
        for folder in reversed(made):
            folder.rmdir()
        pytest.skip(f"cgroups cannot be made here: {error}")
    yield leaf
    for folder in reversed(made):
        folder.rmdir()


def test_a_process_in_a_real_cgroup(spawn, unit_folder: Path) -> None:
    unit = unit_folder.parent
    child = spawn(WAIT)
    child.line()
    for place in (unit, unit_folder):
        (place / "cgroup.procs").write_text(str(child.pid))
        evidence = processes.observe(child.pid)
        assert evidence.service is not None
        assert evidence.service.name == unit.name, "a leaf in its subtree is not the unit"
        assert evidence.service.attested
        assert evidence.cgroup is not None
        assert evidence.cgroup.endswith(place.name)
    child.kill()
    eventually(
        lambda: not (unit_folder / "cgroup.procs").read_text().strip(), "the cgroup to be empty"
    )


@root_only
def test_a_process_that_hides_itself_is_unknown_and_not_excused_as_roots(spawn) -> None:
    """PR_SET_DUMPABLE 0 gives a process's folder in /proc to root. Its uid tells the truth."""
    parent = spawn(
        "import ctypes, os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tenure.host import processes as p\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "libc = ctypes.CDLL(None)\n"
        "for hides in (0, 1):\n"
        "    libc.prctl(4, 1 - hides, 0, 0, 0)\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        libc.prctl(4, 1, 0, 0, 0)\n"
        "        e = p.observe(); print('chain.executable' in e.unknown, flush=True)\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n",
        SOURCE,
    )
    assert [parent.line(), parent.line()] == ["False", "True"]


@root_only
def test_a_process_that_proc_hides_is_not_taken_for_dead(spawn) -> None:
    """``hidepid``: another user's processes are not shown."""
    wrapper = ("unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && "$@"')
    probe = subprocess.run([*wrapper, "sh", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no mounts: {probe.stderr.decode().strip()}")
    own = processes.own_identity()
    child = spawn(
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tenure.host import processes as p; from tenure.host.death import DeathWatch\n"
        "from tenure.domain.policy.evidence import Identity\n"
        "from tenure.domain.errors import OutcomeUnknown\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "a = sys.argv; other = Identity(boot_id=a[2], pid=int(a[3]), start=int(a[4]),"
        " pid_namespace=a[5])\n"
        "try: found = p.identity_of(other.pid)\n"
        "except OutcomeUnknown: found = 'undetermined'\n"
        "e = p.observe(); w = DeathWatch.open(other)\n"
        "print(os.path.exists('/proc/' + a[3]), found, p.is_alive(other), w.verifiable,"
        " 'chain' in e.unknown, flush=True)",
        SOURCE, own.boot_id, str(own.pid), str(own.start), own.pid_namespace,
        wrapper=(*wrapper, "sh"),
    )  # fmt: skip
    assert child.line() == "False undetermined None False True"


def test_a_user_that_our_user_namespace_does_not_know_is_unknown(spawn) -> None:
    wrapper = ("unshare", "--user", "--map-root-user")
    probe = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no user namespaces: {probe.stderr.decode().strip()}")
    if os.geteuid() != 0:
        pytest.skip("needs a process of another user")
    victim = subprocess.Popen(["sleep", "60"], user=65533, group=65533, extra_groups=[])
    try:
        child = spawn(
            "import sys; from tenure.host import processes as p; e = p.observe(int(sys.argv[1]));"
            "print(e.uid, 'uid' in e.unknown, 'user' in e.unknown, flush=True)",
            str(victim.pid),
            wrapper=wrapper,
        )
        assert child.line() == "None True True"
    finally:
        victim.kill()
        victim.wait()
