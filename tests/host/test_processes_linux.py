"""Identity, ancestry and evidence of real processes (C2, C10)."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure.domain.errors import NotFound
from tenure.domain.policy.evidence import Identity
from tenure.domain.process import Activity
from tenure.host import processes
from tenure.host.linux import proc as linux_proc
from tenure.host.linux.proc import namespaces
from waiting import eventually
from working import calls

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc"),
]

WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"
LIBC = "import ctypes, sys; libc = ctypes.CDLL(None); "


def test_own_identity_is_what_others_see(spawn) -> None:
    child = spawn(
        "from tenure.host import processes as p; import sys;"
        "i = p.own_identity(); print(i.pid, i.start, i.boot_id, i.pid_namespace, sep='|',"
        " flush=True); sys.stdin.read()"
    )
    identity = processes.identity_of(child.pid)
    assert identity is not None
    said = child.line().split("|")
    assert said == [
        str(identity.pid), str(identity.start), identity.boot_id, identity.pid_namespace
    ]  # fmt: skip
    assert identity.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_alive_stopped_zombie_gone(spawn) -> None:
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    assert processes.is_alive(identity) is True
    assert not processes.activity_of(identity).halted

    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert processes.is_alive(identity) is True, "a frozen process is alive"
    assert processes.activity_of(identity).halted
    assert not processes.activity_of(dataclasses.replace(identity, start=identity.start + 1)).halted

    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_alive(identity) is False, "a zombie has ended"
    assert not processes.activity_of(identity).halted
    assert processes.identity_of(child.pid) is None
    with pytest.raises(NotFound):
        processes.observe(child.pid)

    child.process.wait()
    assert processes.is_alive(identity) is False
    assert processes.identity_of(child.pid) is None


def test_a_leader_that_left_its_threads_running_is_alive(spawn) -> None:
    child = spawn(
        "import ctypes, threading, sys;"
        "threading.Thread(target=sys.stdin.read).start();"
        "print('ready', flush=True); ctypes.CDLL(None).pthread_exit(None)"
    )
    child.line()
    eventually(
        lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text(), "the first thread to end"
    )
    identity = processes.identity_of(child.pid)
    assert identity is not None
    assert processes.is_alive(identity) is True


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_no_such_pid(pid: int) -> None:
    assert processes.identity_of(pid) is None
    with pytest.raises(NotFound):
        processes.observe(pid)
    with pytest.raises(NotFound):
        processes.chain_of(pid)


def test_a_recycled_pid_is_dead_and_another_boot_too(spawn) -> None:
    own = processes.own_identity()
    assert processes.is_alive(dataclasses.replace(own, start=own.start - 1)) is False
    assert processes.is_alive(dataclasses.replace(own, boot_id="another")) is False


def test_another_namespace_cannot_be_verified() -> None:
    own = processes.own_identity()
    assert processes.is_alive(dataclasses.replace(own, pid_namespace="pid:[1]")) is None
    assert processes.is_alive(dataclasses.replace(own, pid_namespace="")) is None
    assert processes.is_alive(dataclasses.replace(own, boot_id="")) is None


def test_a_copied_pid_file_makes_nobody_somebody_else(spawn) -> None:
    """A pid read from a file identifies only together with the start and the boot."""
    victim, thief = spawn(WAIT), spawn(WAIT)
    copied = processes.identity_of(victim.pid)
    actual = processes.identity_of(thief.pid)
    assert copied is not None
    assert actual is not None
    assert copied != actual
    victim.kill()
    assert processes.is_alive(copied) is False
    forged = dataclasses.replace(copied, pid=thief.pid)
    assert forged == actual or processes.is_alive(forged) is False


FORGER = (
    LIBC
    + """
import os
libc.prctl(15, b"gw) S 1 1 1\\v", 0, 0, 0)
size = len(open("/proc/self/cmdline", "rb").read())
stat = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
ctypes.memset(int(stat[45]), ord("G"), size)  # arg_start
environ = open("/proc/self/environ", "rb").read()
ctypes.memset(int(stat[47]), ord("E"), len(environ))  # env_start
print("ready", flush=True); sys.stdin.read()
"""
)


def test_forged_environment_arguments_and_name_change_nothing(spawn) -> None:
    honest = spawn(WAIT)
    forger = spawn(
        FORGER,
        environment={
            "XPC_SERVICE_NAME": "ai.hermes.gateway-la",
            "INVOCATION_ID": "0" * 32,
            "TENURE_OWNER": "1",
        },
    )
    honest.line()
    forger.line()
    assert Path(f"/proc/{forger.pid}/cmdline").read_bytes().startswith(b"GGGG"), "it did forge"
    assert Path(f"/proc/{forger.pid}/environ").read_bytes().startswith(b"EEEE")

    a, b = processes.observe(honest.pid), processes.observe(forger.pid)
    for field in ("uid", "user", "groups", "executable", "service", "cgroup", "init", "session"):
        assert getattr(a, field) == getattr(b, field), field
    assert [link.pid for link in a.chain[1:]] == [link.pid for link in b.chain[1:]]
    assert a.unknown == b.unknown
    assert b.chain[0].name == "gw) S 1 1 1\v", "the name is carried for display only"


def test_evidence_of_oneself_is_whole() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    evidence = processes.observe(now=now)
    assert evidence.observed_at == now
    assert evidence.identity == processes.own_identity()
    assert evidence.uid == os.geteuid()
    assert evidence.user == pwd.getpwuid(os.geteuid()).pw_name
    assert set(evidence.groups) == {os.getegid(), *os.getgroups()}
    assert evidence.executable == os.path.realpath(sys.executable)
    assert evidence.session == os.getsid(0)
    assert evidence.hostname == os.uname().nodename
    assert evidence.cgroup is not None
    assert evidence.started_at is not None
    assert timedelta(0) < datetime.now(UTC) - evidence.started_at < timedelta(hours=2)
    assert evidence.chain[0].pid == os.getpid()
    assert evidence.chain[1].pid == os.getppid()
    starts = [link.start for link in evidence.chain]
    assert starts == sorted(starts, reverse=True), "a parent starts before its child"


def test_evidence_of_oneself_is_cheap() -> None:
    """It looks at its own chain only, at each link once: the number of processes is no matter."""
    processes.observe()
    made = calls(processes.observe)
    links, own = len(processes.observe().chain), len(os.listdir("/proc/self/fd"))
    assert made["open"] <= 8 + 3 * links + own
    assert made["readlink"] <= 10 + 6 * links + own
    assert made["listdir"] + made["scandir"] <= 1, "its own descriptors"


def test_the_chain_of_a_grandchild(spawn) -> None:
    child = spawn(
        "import subprocess, sys;"
        f"p = subprocess.Popen([sys.executable, '-c', {WAIT!r}], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True);"
        "sys.stdin.read(); p.stdin.close(); p.wait()"
    )
    grandchild = int(child.line())
    chain, _ = processes.chain_of(grandchild)
    assert [link.pid for link in chain[:3]] == [grandchild, child.pid, os.getpid()]
    assert processes.descends_from(grandchild, processes.own_identity()) is True
    middle = processes.identity_of(child.pid)
    assert middle is not None
    assert processes.descends_from(grandchild, middle) is True
    assert processes.descends_from(child.pid, middle) is True, "itself counts"
    recycled = dataclasses.replace(middle, start=middle.start - 1)
    assert processes.descends_from(grandchild, recycled) is not True
    assert processes.descends_from(os.getpid(), middle) is not True
    foreign = dataclasses.replace(middle, pid_namespace="pid:[1]")
    assert processes.descends_from(grandchild, foreign) is None
    assert processes.descends_from(grandchild, dataclasses.replace(middle, boot_id="x")) is False


DOUBLE_FORK = """
import os, sys
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(writing)
        os.read(reading, 1)          # until the launcher is gone
        print(os.getpid(), flush=True)
        sys.stdin.read()
    os._exit(0)
os.close(writing)
os.wait()
os._exit(0)
"""


def test_a_launcher_that_is_gone_makes_the_chain_incomplete(spawn) -> None:
    child = spawn(DOUBLE_FORK)
    orphan = int(child.line())
    child.process.wait()
    chain, complete = processes.chain_of(orphan)
    assert child.pid not in [link.pid for link in chain]
    assert not complete, "nobody can say who launched it"
    evidence = processes.observe(orphan)
    assert "chain" in evidence.unknown
    assert not evidence.init, "an orphan that init adopted is not init's child"
    gone = Identity(boot_id=processes.boot_id(), pid=child.pid, start=1, pid_namespace=namespaces())
    assert processes.descends_from(orphan, gone) is None


def test_a_subreaper_is_listed_but_the_gap_is_told(spawn) -> None:
    reaper = spawn(
        LIBC
        + "libc.prctl(36, 1, 0, 0, 0)\nimport subprocess\n"  # PR_SET_CHILD_SUBREAPER
        + f"p = subprocess.Popen([sys.executable, '-c', {DOUBLE_FORK!r}])\np.wait()\n"
        + "print('reaped', flush=True)\nsys.stdin.read()"
    )
    lines = sorted((reaper.line(), reaper.line()))
    orphan = int(lines[0])
    chain, complete = processes.chain_of(orphan)
    assert chain[1].pid == reaper.pid, "the adopter is a true ancestor"
    assert not complete
    assert "chain" in processes.observe(orphan).unknown


def test_a_deleted_program_is_named_and_said_to_be_deleted(tmp_path: Path) -> None:
    program = tmp_path / "gateway"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            before = processes.observe(process.pid)
            whole = processes.replaced_program(before.identity)
            program.unlink()
            after = processes.observe(process.pid)
            replaced = processes.replaced_program(before.identity)
            another = dataclasses.replace(before.identity, start=before.identity.start + 1)
            reused = processes.replaced_program(another)
        finally:
            process.kill()
    assert (before.executable, before.executable_deleted) == (str(program), False)
    assert (after.executable, after.executable_deleted) == (str(program), True)
    assert (whole, replaced, reused) == (None, str(program), None)


def test_a_program_whose_name_says_deleted_is_not_mistaken(tmp_path: Path) -> None:
    program = tmp_path / "gateway (deleted)"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            evidence = processes.observe(process.pid)
        finally:
            process.kill()
    assert (evidence.executable, evidence.executable_deleted) == (str(program), False)


def _unshare(*options: str) -> tuple[str, ...]:
    probe = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"unshare {' '.join(options)}: {probe.stderr.decode().strip()}")
    return ("unshare", *options)


def test_a_bind_mount_over_a_program_does_not_forge_its_path(spawn, tmp_path: Path) -> None:
    """In mounts of one's own any file can be given any name."""
    wrapper = _unshare("--user", "--map-root-user", "--mount")
    gateway, impostor = tmp_path / "gateway", tmp_path / "impostor"
    shutil.copy("/bin/true", gateway)
    shutil.copy("/bin/sleep", impostor)
    script = 'mount --bind "$1" "$2" && exec "$2" 60'
    with subprocess.Popen([*wrapper, "sh", "-c", script, "sh", impostor, gateway]) as process:
        try:

            def there() -> bool:
                assert process.poll() is None, "bind mounts are not possible here"
                return os.readlink(f"/proc/{process.pid}/exe") == str(gateway)

            eventually(there, "the impostor")
            evidence = processes.observe(process.pid)
        finally:
            process.kill()
    assert evidence.executable is None
    assert "executable" in evidence.unknown


def test_another_pid_namespace(spawn) -> None:
    wrapper = _unshare("--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
    child = spawn(
        "from tenure.host import processes as p; import sys; i = p.own_identity();"
        "c, complete = p.chain_of(i.pid); e = p.observe();"
        "print(i.pid, i.start, i.boot_id, i.pid_namespace, len(c), complete, e.init, sep='|',"
        "flush=True); sys.stdin.read()",
        wrapper=wrapper,
    )
    pid, start, boot, namespace, links, complete, init = child.line().split("|")
    inside = Identity(boot_id=boot, pid=int(pid), start=int(start), pid_namespace=namespace)
    assert processes.is_alive(inside) is None
    assert (inside.pid, links, complete, init) == (1, "1", "True", "True")


def test_a_foreign_proc_tells_only_about_oneself(spawn) -> None:
    wrapper = _unshare("--user", "--map-root-user", "--pid", "--fork")
    keep_init = ("sh", "-c", '"$@"; :', "sh")
    child = spawn(
        "from tenure.host import processes as p; from tenure.domain.errors import OutcomeUnknown\n"
        "import dataclasses\n"
        "e = p.observe(); other = dataclasses.replace(e.identity, pid=1)\n"
        "try: p.identity_of(1); told = True\n"
        "except OutcomeUnknown: told = False\n"
        "print(e.identity.pid, p.is_alive(e.identity), p.is_alive(other), told,"
        " 'chain' in e.unknown, 'init' in e.unknown, flush=True)",
        wrapper=(*wrapper, *keep_init),
    )
    assert child.line() == "2 True None False True True"


def test_another_time_namespace_reads_other_start_stamps(spawn) -> None:
    wrapper = _unshare("--user", "--map-root-user", "--time", "--boottime", "3600", "--fork")
    own = processes.own_identity()
    child = spawn(
        "from tenure.host import processes as p;"
        "from tenure.domain.policy.evidence import Identity;"
        "import sys; a = sys.argv; print(p.is_alive(Identity(boot_id=a[1], pid=int(a[2]),"
        " start=int(a[3]), pid_namespace=a[4])), flush=True)",
        own.boot_id, str(own.pid), str(own.start), own.pid_namespace,
        wrapper=wrapper,
    )  # fmt: skip
    assert child.line() == "None"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_another_user_may_not_read_is_unknown(spawn) -> None:
    """An ordinary user looks at a process of root."""
    source = Path(processes.__file__).parents[2]
    child = spawn(
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from tenure.host import processes as p\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "e = p.observe(int(sys.argv[1])); me = p.observe()\n"
        # Whoever started the tests may have ended: then their chain is not known whole.
        "print(e.executable, sorted(e.unknown - {'chain'}), e.uid, p.is_alive(e.identity),"
        " 'chain.executable' in me.unknown, me.uid, flush=True)",
        str(os.getpid()),
        str(source),
    )
    assert child.line() == "None ['executable', 'locks'] 0 True False 65534"


FREEZERS = {
    "version 2": ("0::/app\n", "app/cgroup.events", "populated 1\nfrozen 1\n", True),
    "version 2, thawed": ("0::/app\n", "app/cgroup.events", "populated 1\nfrozen 0\n", False),
    "beside version 1": ("1:cpu:/\n0::/app\n", "unified/app/cgroup.events", "frozen 1\n", True),
    "version 1": ("7:freezer:/app\n0::/\n", "freezer/app/freezer.state", "FROZEN\n", True),
    "version 1, thawed": ("7:freezer:/app\n", "freezer/app/freezer.state", "THAWED\n", False),
    "outside of our namespace": ("0::/../app\n", "../app/cgroup.events", "frozen 1\n", False),
    "nothing to read": ("0::/other\n", "app/cgroup.events", "frozen 1\n", False),
}


@pytest.mark.parametrize("case", FREEZERS)
def test_frozen_with_its_cgroup(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, name, text, frozen = FREEZERS[case]
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    for file, content in ((root / name, text), (proc / "cgroup", lines)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    monkeypatch.setattr(linux_proc, "folder", lambda pid: str(proc))
    assert linux_proc.is_frozen(1, str(root)) is frozen


def test_a_process_of_a_frozen_cgroup_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    own = processes.own_identity()
    assert processes.activity_of(own) is Activity.RUNNING
    monkeypatch.setattr("tenure.host.linux.proc.is_frozen", lambda pid: True)
    assert processes.activity_of(own) is Activity.FROZEN
    assert processes.activity_of(own).halted
    other = dataclasses.replace(own, pid_namespace=1)
    assert processes.activity_of(other) is Activity.UNKNOWN
