"""Rules and jobs that name what macOS replaces: framework Pythons, variables of the linker."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PATHS = """
    import sys
    from pathlib import Path
    from tenure.domain.policy.conditions import covers
    from tenure.store.folder.policy_file import read_policy_file
    (rule,) = read_policy_file(Path(sys.argv[1])).rules
    print(any(covers(path, sys.argv[2]) for path in rule.executable_paths))
"""


@pytest.mark.parametrize("written", ["venv/bin/python3", "Versions/3.13/bin/python3.13"])
def test_a_frameworks_python_is_its_app(run, tmp_path: Path, written: str) -> None:
    version = tmp_path.resolve() / "Versions" / "3.13"
    app = version / "Resources/Python.app/Contents/MacOS/Python"
    for program in (app, version / "bin" / "python3.13"):
        program.parent.mkdir(parents=True)
        program.touch(0o755)
    venv = tmp_path / "venv" / "bin" / "python3"
    venv.parent.mkdir(parents=True)
    venv.symlink_to(version / "bin" / "python3.13")
    toml = tmp_path / "profile.toml"
    toml.write_text(f'[[owner]]\nexecutable = "{tmp_path / written}"\n')
    assert run(PATHS, str(toml), str(app)) == "True"
    app.unlink()
    assert run(PATHS, str(toml), str(app)) == "False", "a Python that is no framework's"


def test_variables_of_the_linker_reach_the_job(run, tmp_path: Path) -> None:
    source = """
        import subprocess, sys, time
        from pathlib import Path
        from tenure.runtime.commands.gate import CommandSpec, spawn_gated
        shell = subprocess.run(["/bin/sh", "-c", "env"], env={"DYLD_X": "1"}, capture_output=True)
        assert b"DYLD_X" not in shell.stdout, "System Integrity Protection"
        env = {"PATH": "/usr/bin:/bin", "DYLD_LIBRARY_PATH": "/opt/lib", "PLAIN": "1"}
        job = CommandSpec(argv=("env",), shell=False, env=env, cwd=Path("/"), stdin=None)
        command = spawn_gated(job, folder=Path(sys.argv[1]), attempt=1)
        command.open_gate()
        while b"PLAIN" not in command.log_path.read_bytes():
            time.sleep(0.01)
        print(command.log_path.read_text())
    """
    seen = run(source, str(tmp_path / "run")).splitlines()
    assert {"DYLD_LIBRARY_PATH=/opt/lib", "PLAIN=1"} <= set(seen)
