"""macOS by recorded answers: bytes as xnu lays them out, text as launchctl prints it.

No Mac was asked. What these tests hold is that documented answers are read rightly and that
everything else becomes 'unknown' and never an error.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from datetime import UTC, datetime

import pytest

from tenure.domain.errors import NotFound
from tenure.domain.policy.evidence import Identity, Manager
from tenure.domain.process import Activity
from tenure.host.macos import answers
from tenure.host.macos import calls as macos_calls
from tenure.host.macos.processes import MacHost

pytest.importorskip("psutil")

BOOT = "5F2C6C1D-9A0B-4C7E-8D51-0123456789AB"

LAUNCHCTL = """\
pid/321 = {
\ttype = process
\tstate = running
\tbundle id = org.python.python

\tresource coalition = {
\t\tID = 711
\t\ttype = resource
\t\tstate = active
\t\tactive count = 2
\t\tname = ai.hermes.gateway-la
\t\tinherited = {
\t\t\tname = com.example.forged
\t\t}
\t}

\tjetsam coalition = {
\t\tID = 712
\t\ttype = jetsam
\t\tname = ai.hermes.other
\t}
}
"""


def unique(number: int, launcher: int) -> bytes:
    return struct.pack("=16sQQi20x", b"u" * 16, number, launcher, 7)


def coalition(resource: int) -> bytes:
    return struct.pack("=QQ24x", resource, resource + 1)


def team(name: bytes) -> bytes:
    blob = struct.pack(">II", 0xFADE0001, 8 + len(name) + 1) + name + b"\0"
    return blob.ljust(answers.TEAM_SIZE, b"\0")


def test_unique_ids() -> None:
    assert len(unique(1, 2)) == answers.UNIQUE_SIZE
    assert answers.parse_unique(unique(4242, 17)) == answers.Unique(number=4242, launcher=17)
    assert answers.parse_unique(None) is None
    assert answers.parse_unique(b"short") is None
    assert answers.parse_unique(bytes(answers.UNIQUE_SIZE)) is None


def test_coalitions() -> None:
    assert answers.parse_coalition(coalition(711)) == 711
    assert answers.parse_coalition(coalition(0)) is None
    assert answers.parse_coalition(None) is None
    assert answers.parse_coalition(b"x") is None


def test_the_label_of_the_job() -> None:
    assert answers.parse_coalition_name(LAUNCHCTL, 711) == "ai.hermes.gateway-la"


@pytest.mark.parametrize(
    ("text", "coalition"),
    [
        (LAUNCHCTL, 712),  # not the coalition that the kernel told
        (LAUNCHCTL, None),
        (None, 711),
        ("", 711),
        ("Could not find service\n", 711),
        (LAUNCHCTL.replace("resource coalition = {", "coalition = {"), 711),
        ("x = {\n\tnested = {\n\t\tresource coalition = {\n\t\t\tID = 711\n\t\t\tname = no\n", 711),
        (LAUNCHCTL.replace("\t\tname = ai.hermes.gateway-la\n", ""), 711),
    ],
)
def test_text_of_another_shape_says_nothing(text: str | None, coalition: int | None) -> None:
    assert answers.parse_coalition_name(text, coalition) is None


def test_signatures() -> None:
    valid, adhoc = (0x1).to_bytes(4, "little"), (0x3).to_bytes(4, "little")
    digest = bytes(range(20))
    by_hash = f'cdhash H"{digest.hex()}"'
    assert answers.parse_signature(valid, team(b"ABCDE12345"), digest) == ("ABCDE12345", True)
    assert answers.parse_signature(adhoc, team(b"ABCDE12345"), digest) == (by_hash, True)
    assert answers.parse_signature(valid, None, digest) == (by_hash, True), "Apple's own: no team"
    assert answers.parse_signature(bytes(4), team(b"ABCDE12345"), digest) == (None, True)
    assert answers.parse_signature(None, team(b"ABCDE12345"), digest) == (None, False)
    assert answers.parse_signature(valid, None, None) == (None, False)
    lies = struct.pack(">II", 0, 4000) + b"ABC"
    assert answers.parse_signature(valid, lies, digest) == (by_hash, True)


def test_the_machines_uuid() -> None:
    assert answers.parse_host(bytes(range(16))) == "00010203-0405-0607-0809-0A0B0C0D0E0F"
    assert answers.parse_host(bytes(16)) is None
    assert answers.parse_host(None) is None


class Recorded:
    """Answers of a Mac for this very process, whose parent launched it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers = {os.getpid(): (900, 800), os.getppid(): (800, 1)}
        monkeypatch.setattr(macos_calls, "pid_info", self.pid_info)
        monkeypatch.setattr(macos_calls, "sysctl_text", lambda name: BOOT)
        monkeypatch.setattr(macos_calls, "host_uuid", lambda: bytes(range(16)))
        monkeypatch.setattr(macos_calls, "launchctl_print", lambda pid: LAUNCHCTL)
        monkeypatch.setattr(macos_calls, "responsible_pid", lambda pid: 77)
        monkeypatch.setattr(macos_calls, "code_signing", self.code_signing)
        monkeypatch.setattr(macos_calls, "open_files", lambda: {2**20: "/srv/closed.lock"})

    def pid_info(self, pid: int, flavor: int, size: int) -> bytes | None:
        if flavor == macos_calls.COALITIONS:
            return coalition(711)
        return unique(*self.numbers[pid]) if pid in self.numbers else unique(pid, 1)

    def code_signing(self, pid: int, operation: int, size: int) -> bytes | None:
        return {
            macos_calls.CODE_STATUS: (0x1).to_bytes(4, "little"),
            macos_calls.CODE_TEAM: team(b"ABCDE12345"),
            macos_calls.CODE_HASH: bytes(20),
        }[operation]


def test_evidence_from_recorded_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    evidence = MacHost().observe(None, now)
    assert evidence.identity == Identity(boot_id=BOOT, pid=os.getpid(), start=900)
    assert evidence.service is not None
    assert (evidence.service.name, evidence.service.manager) == (
        "ai.hermes.gateway-la",
        Manager.LAUNCHD,
    )
    assert (evidence.coalition, evidence.responsible_pid) == ("711", 77)
    assert evidence.signature == "ABCDE12345"
    assert evidence.host == "00010203-0405-0607-0809-0A0B0C0D0E0F"
    assert evidence.uid == os.geteuid()
    assert evidence.observed_at == now
    assert [link.pid for link in evidence.chain[:2]] == [os.getpid(), os.getppid()]
    assert {"service", "coalition", "uid", "signature", "locks"}.isdisjoint(evidence.unknown)
    assert evidence.locks == ()


def test_a_launcher_that_is_gone_shows_by_its_unique_id(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(monkeypatch)
    recorded.numbers[os.getpid()] = (900, 850)
    chain, complete = MacHost().chain_of(os.getpid())
    assert chain[1].pid == os.getppid()
    assert not complete


def test_a_younger_parent_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(monkeypatch)
    recorded.numbers[os.getppid()] = (901, 1)
    chain, complete = MacHost().chain_of(os.getpid())
    assert ([link.pid for link in chain], complete) == ([os.getpid()], False)


def test_life(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch)
    host = MacHost()
    own = host.own_identity()
    assert host.is_alive(own) is True
    assert host.activity_of(own) in (Activity.RUNNING, Activity.UNKNOWN)
    assert host.is_alive(dataclasses.replace(own, start=899)) is False
    assert host.is_alive(dataclasses.replace(own, boot_id="other")) is False
    assert host.is_alive(dataclasses.replace(own, boot_id="")) is None
    assert host.is_alive(dataclasses.replace(own, pid_namespace="pid:[1]")) is None
    assert host.is_alive(dataclasses.replace(own, start=1_760_000_000_000_000)) is None
    assert host.is_alive(dataclasses.replace(own, pid=2**22 + 1)) is False


def test_where_every_call_is_missing_all_is_unknown() -> None:
    """On this machine none of the calls exists; psutil answers."""
    if macos_calls.sysctl_text("kern.bootsessionuuid") is not None:
        pytest.skip("a Mac")
    host = MacHost()
    evidence = host.observe(None, None)
    assert {"service", "coalition", "responsible_pid", "signature", "host"} <= evidence.unknown
    assert "locks" in evidence.unknown
    assert evidence.service is None
    assert evidence.executable is not None
    assert host.boot_id() == ""
    assert host.is_alive(evidence.identity) is None, "without a boot id nothing is verified"
    near = dataclasses.replace(evidence.identity, start=evidence.identity.start + 10)
    assert host.is_alive(near) is None
    far = dataclasses.replace(evidence.identity, start=evidence.identity.start - 10**9)
    assert host.is_alive(far) is False
    with pytest.raises(NotFound):
        host.observe(2**22 + 1, None)
    with pytest.raises(NotFound):
        host.chain_of(-1)


LABEL = "ai.hermes.gateway-la"
HEAD = "pid/7 = {\n\ttype = pid\n"
COALITION = f"\tresource coalition = {{\n\t\tID = 12\n\t\tname = {LABEL}\n\t}}\n"
OTHER = COALITION.replace(LABEL, "ai.hermes.other")


def block(name: str, *lines: str) -> str:
    return f"\t{name} = {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (HEAD + COALITION + "}\n", LABEL),
        (HEAD + COALITION, LABEL),  # cut
        ((HEAD + COALITION).replace("\n", "\r\n"), LABEL),
        ((HEAD + COALITION).replace("\t", "    "), LABEL),
        (HEAD + block("environment", "PS1 => ${x:+(y)} {") + COALITION, LABEL),
        (HEAD + block("environment", "A => x", "}") + COALITION, LABEL),
        (HEAD + block("endpoints", '"com.x" = {', "\tport = 0x2e", "}") + COALITION, LABEL),
        (
            HEAD + block("uninteresting") + "\n" + COALITION.replace(LABEL, "Mein Agent é"),
            "Mein Agent é",
        ),
        (HEAD + block("environment", "A => x\n" + COALITION.rstrip()) + OTHER, None),
        (HEAD + block("jetsam coalition", "ID = 12", "name = other") + COALITION, LABEL),
        (HEAD + OTHER.replace("12", "77"), None),
        ("Could not print domain: 1: Operation not permitted\n", None),
        ("Bad request.\nCould not find domain for pid: 99\n", None),
        ("Usage: launchctl print <domain>\n", None),
    ],
)
def test_shapes_of_launchctls_text(text: str, name: str | None) -> None:
    assert answers.parse_coalition_name(text, 12) == name


@pytest.mark.parametrize(
    ("name", "app"),
    [
        (
            "application.com.apple.Terminal.1152921500311879701.1152921500311879706",
            "com.apple.Terminal",
        ),
        ("application.com.nous.hermes.51942802.51942814", "com.nous.hermes"),
        ("application.com.example.7.1919153.1919664", "com.example.7"),
        (
            "application.com.example.x.184.187.7BE6B5B9-0000-4444-8888-123456789ABC",
            "com.example.x",
        ),
        (LABEL, None),
        ("application.example", None),
        ("com.openssh.sshd.2E7C0D6B-1111-2222-3333-444455556666", None),
    ],
)
def test_the_name_of_an_apps_coalition(name: str, app: str | None) -> None:
    assert answers.app_of(name) == app


def test_the_main_process_of_a_service() -> None:
    text = "gui/501/x = {\n\tstate = running\n" + block("environment", "pid = 5") + "\tpid = 7\n}\n"
    assert answers.parse_job_pid(text) == 7
    assert answers.parse_job_pid(text.replace("\tpid = 7", "\tpid = 7\n\tpid = 8")) is None
    assert answers.parse_job_pid("gui/501/x = {\n\tstate = waiting\n}\n") is None
    assert answers.parse_job_pid(None) is None
