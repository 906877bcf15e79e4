"""The gate with real shells: what a job gets, what is recorded, what never runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandkit import (
    ENV,
    PYTHONPATH,
    SHELLS,
    ended,
    line,
    read_env,
    run,
    shell_path,
    spec,
    wait_for,
)

from tenure.host.processes import is_alive
from tenure.runtime.commands import gate
from tenure.runtime.commands.child import Children, Outcome, Stage, read_exit
from tenure.runtime.commands.gate import CommandNotStarted, spawn_gated
from tenure.runtime.commands.terminate import stop
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

SHOW = (
    "import json,os,signal,sys;"
    "print(json.dumps({'argv': sys.argv[1:], 'cwd': os.getcwd(), 'stdin': sys.stdin.read(),"
    " 'fds': sorted(int(f) for f in os.listdir('/proc/self/fd')),"
    " 'sid': os.getsid(0), 'pgid': os.getpgid(0),"
    " 'blocked': [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())],"
    " 'status': open('/proc/self/status').read()}))"
)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = shell_path(request.param, tmp_path)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


@pytest.mark.parametrize("code", [0, 1, 7, 126, 255])
def test_the_true_exit_code_is_recorded(code: int, shell: str, tmp_path: Path) -> None:
    exit_, _ = run(line(f"exit {code}"), tmp_path / "r", shell=shell)
    assert (exit_.outcome, exit_.exit_code) == (Outcome.EXITED, code)
    assert exit_.finished_at is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal_is_recorded(number: int, shell: str, tmp_path: Path) -> None:
    exit_, output = run(line(f"kill -{int(number)} $$"), tmp_path / "r", shell=shell)
    assert (exit_.exit_code, exit_.signal) == (128 + number, number)
    assert output == b"", "the gate's own shell writes nothing into the log"


def test_arguments_arrive_exactly(shell: str, tmp_path: Path) -> None:
    odd = [
        "",
        " ",
        "it's",
        'a "b"',
        "$HOME `x` \\n",
        "a\nb\n",
        "grüße 🌍",
        "-c",
        "--",
        "*",
        "x" * 100_000,
    ]
    exit_, output = run(spec(sys.executable, "-c", SHOW, *odd), tmp_path / "r", shell=shell)
    assert exit_.exit_code == 0
    assert json.loads(output)["argv"] == odd


def test_the_job_gets_its_folder_stdin_and_three_descriptors(shell: str, tmp_path: Path) -> None:
    where = tmp_path / "a folder"
    where.mkdir()
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    text = b"line\n\xc3\xbc, no newline"
    job = spec(sys.executable, "-c", SHOW, cwd=str(where), stdin=text)
    command = spawn_gated(job, folder=tmp_path / "r", attempt=1, shell=shell)
    os.close(leaked)
    command.open_gate()
    assert ended(command).exit_code == 0
    seen = json.loads(command.log_path.read_bytes())
    assert (seen["cwd"], seen["stdin"]) == (str(where), text.decode())
    assert len(seen["fds"]) == 4, "0, 1, 2 and the listing's own"
    assert seen["sid"] == seen["pgid"] == command.identity.pid


def test_without_stdin_there_is_end_of_file(shell: str, tmp_path: Path) -> None:
    assert run(spec("cat"), tmp_path / "r", shell=shell)[0].exit_code == 0


def test_the_environment_is_exact(shell: str, tmp_path: Path) -> None:
    env = {
        **ENV,
        "QUOTED": 'it\'s $x "y" \n new line',
        "EMPTY": "",
        "UNICODE": "ü",
        "BASH_FUNC_x%%": "() { :; }",
        "with-dash": "1",
        "IFS": "x",
        "PPID": "1",
        "DYLD_LIBRARY_PATH": "/opt/lib",
        "BASH_ENV": "/nonexistent",
        "tenure_gate": "mine",
        "t0": "mine too",
        "UID": "12",
        "RANDOM": "5",
        "a.b": "c",
        "n\nl": "1",
        "SHLVL": "9",
    }
    exit_, output = run(spec("env", "-0", env=env), tmp_path / "r", shell=shell)
    assert exit_.exit_code == 0
    seen = dict(read_env(output))
    assert seen.pop("PWD", "/") == "/"
    for noise in ("SHLVL", "_", "OLDPWD"):
        seen.pop(noise, None)
    env.pop("SHLVL")
    assert seen == env


PLAIN = {
    **ENV,
    "LD_LIBRARY_PATH": "/nowhere",
    "GLIBC_TUNABLES": "",
    "DYLD_INSERT_LIBRARIES": "/no.dylib",
    "LC_ALL": "xx_YY.none",
    "LANG": "C",
    "TZ": "Nowhere/City",
    "ENV": "/nonexistent",
    "BASH_ENV": "/nonexistent",
    "PS4": "$(false)",
    "CDPATH": "/usr",
    "MAIL": "",
    "TERM": "dumb",
    "POSIXLY_CORRECT": "1",
    "QUOTED": "'\\\"$(false)`false`\n",
    "BIG": "x" * 120_000,
    "BIG2": "ü" * 60_000,
}
"""What a shell can give a name to; nothing of it must act in the gate's own."""


def test_the_environment_is_exact_where_the_shell_gives_the_names(
    shell: str, tmp_path: Path
) -> None:
    exit_, output = run(spec("env", "-0", env=PLAIN), tmp_path / "r", shell=shell)
    assert exit_.exit_code == 0
    seen = dict(read_env(output))
    for noise in ("PWD", "SHLVL", "_", "OLDPWD"):
        seen.pop(noise, None)
    assert seen == PLAIN
    assert run(spec("/usr/bin/env", env={}), tmp_path / "bare", shell=shell)[0].exit_code == 0


def test_bytes_that_are_no_text_arrive(shell: str, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    for number, env in enumerate(({**ENV, "X": odd}, {**ENV, "X": odd, "a.b": odd})):
        _, output = run(spec("env", "-0", env=env), tmp_path / f"r{number}", shell=shell)
        assert b"X=\xff\xfe\0" in output


def _arguments(session: int) -> bytes:
    """What any user sees in `ps` of the processes of a session."""
    seen = b""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.getsid(int(name)) == session:
                seen += Path(f"/proc/{name}/cmdline").read_bytes()
    return seen


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("name", ["PLAIN", "a.b", "BASH_FUNC_x%%", "with-dash", "UID", "IFS"])
def test_no_value_of_the_environment_is_an_argument(name: str, shell: str, tmp_path: Path) -> None:
    """Arguments are every user's to read, the environment is not."""
    secret, go = "s3cr3t-of-mine", tmp_path / "go"
    job = spec(sys.executable, "-S", "-c", UNTIL, str(go), env={**ENV, name: secret})
    command = spawn_gated(job, folder=tmp_path / "r", attempt=1, shell=shell)
    # Its file descriptors are closed a moment before the kernel shows its arguments.
    seen = [eventually(lambda: _arguments(command.identity.pid), "the shell's arguments")]
    command.open_gate()
    while not command.log_path.read_bytes():  # from the gate's opening to the job's first word
        seen.append(_arguments(command.identity.pid))
    go.touch()
    assert ended(command).exit_code == 0
    assert secret.encode() in command.log_path.read_bytes()
    assert b"tenure-gate" in seen[0]
    assert secret.encode() not in b"".join(seen)


UNTIL = """
import os, sys, time
os.write(1, b"\\0".join(os.environb.values()))
while not os.path.exists(sys.argv[1]):
    time.sleep(0.005)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's loader")
@pytest.mark.parametrize("odd", [{}, {"a.b": "1"}])
def test_a_loaders_variables_act_in_the_job_alone(
    odd: dict[str, str], shell: str, tmp_path: Path
) -> None:
    """C4: nothing of a job runs before 'started' is committed, not even in its shell's loader.
    The loader writes a file for each program that it starts with these two variables."""
    env = {**ENV, **odd, "LD_DEBUG": "statistics", "LD_DEBUG_OUTPUT": str(tmp_path / "ld")}
    subprocess.run(["true"], env={**env, "LD_DEBUG_OUTPUT": str(tmp_path / "x")}, check=True)
    if not list(tmp_path.glob("x.*")):
        pytest.skip("this C library's loader has no LD_DEBUG")
    command = spawn_gated(spec("true", env=env), folder=tmp_path / "r", attempt=1, shell=shell)
    eventually(lambda: os.readlink(f"/proc/{command.identity.pid}/exe"), "the shell")
    until_waiting(command.identity.pid)
    assert not list(tmp_path.glob("ld.*")), "at the gate"
    command.open_gate()
    assert ended(command).exit_code == 0
    loaded = [path.name for path in tmp_path.glob("ld.*")]
    assert len(loaded) == 1
    assert loaded != [f"ld.{command.identity.pid}"], "the shell's own loader"


def until_waiting(pid: int) -> None:
    """Until the shell sleeps in its read at the gate."""
    eventually(
        lambda: (
            Path(f"/proc/{pid}/wchan").read_text() not in ("", "0")
            or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        ),
        "the shell to wait at the gate",
    )


@pytest.mark.parametrize(
    "env",
    [
        {"ENV": "{file}"},
        {"BASH_ENV": "{file}"},
        {"SHELLOPTS": "xtrace", "PS4": "$(. {file})"},
        {"SHELLOPTS": "noexec"},
        {"PATH": "{folder}"},
        {"IFS": "xo"},
        {"BASH_FUNC_echo%%": "() {{ . {file}; }}", "BASH_FUNC_read%%": "() {{ . {file}; }}"},
    ],
    ids=lambda env: "+".join(env),
)
def test_what_a_shell_obeys_does_not_act_in_the_gates_shell(
    env: dict[str, str], shell: str, tmp_path: Path
) -> None:
    canary, file = tmp_path / "canary", tmp_path / "file"
    file.write_text(f": > {canary}\n")
    for name in ("echo", "read", "shift"):
        (tmp_path / name).write_text(f"#!/bin/sh\n: > {canary}\n")
        (tmp_path / name).chmod(0o700)
    filled = {n: v.format(file=file, folder=tmp_path) for n, v in env.items()}
    exit_, _ = run(spec("/bin/true", env=filled), tmp_path / "r", shell=shell)
    assert exit_.exit_code == 0
    assert not canary.exists()


def test_a_command_is_found_alike_whatever_its_variables_are_called(
    shell: str, tmp_path: Path
) -> None:
    """By the job's own PATH; what is not found is 127, what cannot be run 126, and a file without
    an interpreter line is the shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mine").write_text("echo mine $1; exit 9\n")
    (folder / "mine").chmod(0o700)
    (folder / "data").write_text("data\n")
    for number, odd in enumerate(({}, {"a.b": "1"})):
        env = {**odd, "PATH": f"/no/such:{folder}:/usr/bin:/bin"}
        results = [
            run(spec(*argv, env=env), tmp_path / f"r{number}{at}", shell=shell)
            for at, argv in enumerate((("mine", "a b"), ("no-such",), (f"{folder}/data",)))
        ]
        assert [exit_.exit_code for exit_, _ in results] == [9, 127, 126]
        assert results[0][1] == b"mine a b\n"
        assert b"no-such" in results[1][1]


def test_a_job_whose_variables_python_hands_on_has_plain_signals_and_descriptors(
    tmp_path: Path,
) -> None:
    job = spec("/bin/sh", "-c", "cat /proc/self/status; ls /proc/self/fd", env={"a.b": "1"})
    exit_, output = run(job, tmp_path / "r")
    assert exit_.exit_code == 0
    rows = output.decode().splitlines()
    masks = {row[:6]: int(row[8:], 16) for row in rows if row.startswith(("SigBlk", "SigIgn"))}
    # 32 and 33 are glibc's own: posix_spawn ignores them in a child, make's are born like that.
    assert {name: mask & ~(0b11 << 31) for name, mask in masks.items()} == {
        "SigBlk": 0,
        "SigIgn": 0,
    }
    assert rows[-4:] == ["0", "1", "2", "3"]


def test_without_a_python_such_variables_are_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/sbin/server-with-python-inside")
    monkeypatch.setattr(sys, "_base_executable", "")
    odd = spec("env", env={**ENV, "a.b": "seen"})
    exit_, output = run(odd, tmp_path / "r1")
    assert (exit_.exit_code, b"a.b=seen" in output) == (0, True), "another one is found"
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "python" not in str(path) and access(path, mode)
    )
    with pytest.raises(CommandNotStarted, match="a shell cannot set"):
        spawn_gated(odd, folder=tmp_path / "r2", attempt=1)
    assert run(spec("env"), tmp_path / "r3")[0].exit_code == 0


@pytest.mark.parametrize("signals", ["plain", "odd"])
def test_an_inherited_descriptor_beyond_the_limit_is_in_no_commands_way(
    signals: str, tmp_path: Path
) -> None:
    """The flock idiom (descriptor 200) under a lower `ulimit -n`, and nohup's ignored signal."""
    import resource

    leaked = os.open("/dev/null", os.O_RDONLY)
    high = 700
    os.dup2(leaked, high, inheritable=True)
    os.close(leaked)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ignored = signal.SIG_IGN if signals == "odd" else signal.SIG_DFL
    before = signal.signal(signal.SIGUSR2, ignored)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        exit_, output = run(spec(sys.executable, "-c", SHOW), tmp_path / "r")
        assert os.get_inheritable(high), "as its host had it"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        signal.signal(signal.SIGUSR2, before)
        os.close(high)
    assert exit_.exit_code == 0
    assert len(json.loads(output)["fds"]) == 4


def test_a_job_whose_stdin_cannot_be_opened_never_runs(shell: str, tmp_path: Path) -> None:
    """No exit status that is the shell's passes for the job's."""
    canary = tmp_path / "canary"
    job = spec("touch", str(canary), stdin=b"text")
    command = spawn_gated(job, folder=tmp_path / "r", attempt=1, shell=shell)
    (tmp_path / "r" / "stdin").unlink()
    command.open_gate()
    assert ended(command).outcome is Outcome.NEVER_RAN
    assert not canary.exists()


def test_builtins_of_the_shell_are_not_the_command(shell: str, tmp_path: Path) -> None:
    """A command is a program: `exec` or `exit` as its name must not end the gate's shell."""
    for number, name in enumerate(("exit", "exec", "return", "no-such-command")):
        exit_, output = run(spec(name, "5"), tmp_path / f"r{number}", shell=shell)
        assert exit_.exit_code == 127, name
        assert name.encode() in output


def test_a_missing_path_and_a_file_that_is_no_program(shell: str, tmp_path: Path) -> None:
    assert run(spec("/no/such"), tmp_path / "r1", shell=shell)[0].exit_code == 127
    plain = tmp_path / "plain"
    plain.write_text("")
    exit_, output = run(spec(str(plain)), tmp_path / "r2", shell=shell)
    assert exit_.exit_code == 126
    assert b"plain" in output


def test_standard_error_and_output_share_the_log_in_order(shell: str, tmp_path: Path) -> None:
    _, output = run(line("echo 1; echo 2 >&2; echo 3"), tmp_path / "r", shell=shell)
    assert output == b"1\n2\n3\n"


def test_a_job_that_truncates_its_output_keeps_its_exit_code(shell: str, tmp_path: Path) -> None:
    exit_, _ = run(line("echo a; : >/dev/stdout; exit 3"), tmp_path / "r", shell=shell)
    assert exit_.exit_code == 3


def test_nothing_runs_before_the_gate_opens_and_nothing_after_it_was_abandoned(
    shell: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    command = spawn_gated(line(f"touch {canary}"), folder=tmp_path / "r", attempt=1, shell=shell)
    assert read_exit(command.exit_path).stage is Stage.GATE
    command.abandon()
    exit_ = ended(command)
    assert (exit_.outcome, exit_.stage) == (Outcome.NEVER_RAN, Stage.DONE)
    assert not command.open_gate()
    assert not canary.exists()


def test_a_shell_killed_at_the_gate_proves_that_nothing_ran(shell: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    command = spawn_gated(line(f"touch {canary}"), folder=tmp_path / "r", attempt=1, shell=shell)
    os.kill(command.identity.pid, signal.SIGKILL)
    exit_ = ended(command)
    assert (exit_.outcome, exit_.stage) == (Outcome.NEVER_RAN, Stage.GATE)
    assert read_exit(command.exit_path).outcome is Outcome.NO_RECORD, "unless known to be dead"
    assert not command.open_gate()
    assert not canary.exists()


def test_a_stop_at_the_gate_means_never(shell: str, tmp_path: Path) -> None:
    command = spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1, shell=shell)
    # A signal before the shell has set its traps kills it: never ran either way.
    stop(command.identity)
    command.abandon()
    assert ended(command).outcome is Outcome.NEVER_RAN


def test_a_shell_killed_while_the_job_runs_leaves_no_record(shell: str, tmp_path: Path) -> None:
    command = spawn_gated(line("echo up; sleep 30"), folder=tmp_path / "r", attempt=1, shell=shell)
    command.open_gate()
    eventually(lambda: command.log_path.read_bytes(), "the job's first line")
    os.kill(command.identity.pid, signal.SIGKILL)
    exit_ = ended(command)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.OPEN)
    members = stop(command.identity, number=signal.SIGKILL)
    assert members, "the job lives on without its shell, and is found by its session"
    eventually(lambda: not stop(command.identity, number=signal.SIGKILL), "the job's end")


def test_signals_are_plain_in_the_job_whatever_the_host_did(shell: str, tmp_path: Path) -> None:
    """A host may block and ignore signals; a job that inherited that could not be stopped."""
    job = spec(sys.executable, "-c", SHOW, cwd=str(tmp_path))
    normal = run(job, tmp_path / "r1", shell=shell)[1]
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    found: list[bytes] = []

    def hosted() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        found.append(run(job, tmp_path / "r2", shell=shell)[1])

    try:
        thread = threading.Thread(target=hosted)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGHUP, ignored)
    for output in (normal, found[0]):
        seen = json.loads(output)
        assert seen["blocked"] == []
        assert seen["cwd"] == str(tmp_path)
        assert len(seen["fds"]) == 4
        masks = dict(row.split(":", 1) for row in seen["status"].splitlines())
        pythons_own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
        ordinary = (1 << 31) - 1
        assert int(masks["SigIgn"], 16) & ordinary & ~pythons_own == 0


def test_a_leaked_descriptor_is_closed_on_the_slow_way_too(tmp_path: Path) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        exit_, output = run(spec(sys.executable, "-c", SHOW), tmp_path / "r")
    finally:
        signal.signal(signal.SIGUSR2, before)
        os.close(leaked)
    assert exit_.exit_code == 0
    assert len(json.loads(output)["fds"]) == 4


def test_a_shell_killed_as_it_starts_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(gate, "identity_of", lambda pid: None)
    with pytest.raises(CommandNotStarted, match="killed as it started"):
        spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1)
    assert set(os.listdir("/proc/self/fd")) == before
    path = tmp_path / "r" / "1.exit"
    eventually(lambda: read_exit(path).outcome is Outcome.NEVER_RAN, "the gate to close")


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with pytest.raises(CommandNotStarted, match="Permission denied") as error:
            spawn_gated(spec("true", cwd=str(tmp_path)), folder=tmp_path / "r", attempt=1)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert "permissions" in error.value.remedy


def test_nothing_else_of_ours_is_left_in_the_job(tmp_path: Path) -> None:
    """No variable, descriptor or trap of the gate reaches the job's children either."""
    exit_, output = run(line("set; ls /proc/self/fd; trap"), tmp_path / "r")
    assert exit_.exit_code == 0
    assert b"tenure" not in output


DAEMON = """
import os, signal, sys
from pathlib import Path
for number in (0, 1, 2):
    os.close(number)
if sys.argv[2] == "odd":
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
from commandkit import ended, line, spawn_gated
job = line("cat; echo out; echo err >&2; exit 3")
command = spawn_gated(job, folder=Path(sys.argv[1]), attempt=1)
command.open_gate()
os._exit(ended(command).exit_code)
"""


@pytest.mark.parametrize("signals", ["plain", "odd"])
def test_a_host_that_closed_its_standard_descriptors(signals: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    arguments = [sys.executable, "-c", DAEMON, str(tmp_path / "r"), signals]
    assert subprocess.run(arguments, env=environment, timeout=DEADLINE, check=False).returncode == 3
    assert (tmp_path / "r" / "1.log").read_bytes() == b"out\nerr\n"


def test_the_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run(spec("true", stdin=b"secret"), folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"1.log": 0o600, "1.exit": 0o600, "stdin": 0o600}


def test_an_attempt_is_never_started_twice(tmp_path: Path) -> None:
    run(spec("true"), tmp_path / "r")
    with pytest.raises(CommandNotStarted, match="File exists") as error:
        run(spec("true"), tmp_path / "r")
    assert "never started twice" in error.value.remedy
    assert run(spec("true"), tmp_path / "r", attempt=2)[0].exit_code == 0


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"argv": ()}, "argv", "no command"),
        ({"argv": ("",)}, "argv", "no command"),
        ({"argv": ("-x",)}, "argv", "dash"),
        ({"argv": ("a\0b",)}, "argv", "NUL"),
        ({"env": {"a=b": "1"}}, "env", "variable"),
        ({"env": {"A": "\0"}}, "argv", "NUL"),
        ({"cwd": "relative"}, "cwd", "not absolute"),
        ({"cwd": "/no/such/folder"}, "cwd", "does not exist"),
        ({"cwd": "/etc/passwd"}, "cwd", "does not exist"),
        ({"argv": ("true", "x" * 300_000)}, None, "too long"),
    ],
)
def test_what_cannot_start_says_why(
    changes: dict[str, object], field: str | None, words: str, tmp_path: Path
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CommandNotStarted, match=words) as error:
        spawn_gated(spec("true", **changes), folder=tmp_path / "r", attempt=1)
    assert error.value.field == field
    assert set(os.listdir("/proc/self/fd")) == before, "no descriptor is left open"


@pytest.mark.parametrize("odd", [False, True])
def test_a_shell_that_is_not_there(odd: bool, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN if odd else signal.SIG_DFL)
    try:
        with pytest.raises(CommandNotStarted, match="No such file"):
            spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1, shell="/no/sh")
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_two_hundred_at_once_are_all_recorded(tmp_path: Path) -> None:
    with Children() as children:
        commands = []
        for number in range(200):
            command = spawn_gated(line(f"exit {number}"), folder=tmp_path / str(number), attempt=1)
            children.add(str(number), command.identity)
            commands.append(command)
        for command in commands:
            command.open_gate()
        assert not wait_for(children, set(map(str, range(200))), DEADLINE), (
            "some shells did not end"
        )
    for number, command in enumerate(commands):
        assert read_exit(command.exit_path).exit_code == number
        assert is_alive(command.identity) is False
        with pytest.raises(ChildProcessError):
            os.waitpid(command.identity.pid, os.WNOHANG)  # reaped


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def _fill(disk: Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.root
def test_a_full_disk_is_found_before_anything_starts(tiny_disk: Path) -> None:
    (tiny_disk / "r").mkdir()
    _fill(tiny_disk)
    with pytest.raises(CommandNotStarted, match="No space left") as error:
        spawn_gated(spec("true"), folder=tiny_disk / "r", attempt=1)
    assert "free space" in error.value.remedy


@pytest.mark.root
def test_a_disk_filled_by_the_job_still_takes_its_exit_code(tiny_disk: Path) -> None:
    job = line(f"cat /dev/zero >{tiny_disk}/filler; echo lost; exit 9")
    exit_, _ = run(job, tiny_disk / "r")
    assert exit_.exit_code == 9
