"""Which Hermes serves a profile: found by processes, service definitions and the PATH."""

from __future__ import annotations

import hashlib
import json
import plistlib
import sys
from pathlib import Path

import pytest
from hermestree import Tree

from tenure.adapters.hermes.facts.home import home_of
from tenure.adapters.hermes.facts.services import service_definitions, service_suffix
from tenure.adapters.hermes.look.installation import (
    Installation,
    find_installations,
    installation_of,
    interpreters_of,
)
from tenure.adapters.hermes.look.processes import find_processes
from tenure.domain.policy.evidence import Manager


def find(tree: Tree) -> tuple[Installation, ...]:
    members = find_processes(tree.home, tree.scan).members
    return find_installations(tree.home, members, path=str(tree.folder / "bin"))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class TestWhatIsRead:
    def test_a_release(self, tree: Tree) -> None:
        found = installation_of(str(tree.venv), "a test")
        assert found is not None
        assert (found.version, found.verified, found.found_by) == ("0.19.0", True, "a test")
        assert (found.desktop_ticks, found.runs_inline, found.keeps_ledger) == (True, True, True)
        assert found.site_packages == found.code

    def test_what_the_code_says_counts_not_the_number(self, tree: Tree) -> None:
        """A checkout that calls itself 0.16.0 may have the ticker that the release has not."""
        release = installation_of(str(tree.make_venv("0.16.0", ticker=False, ledger=False)), "")
        assert release is not None
        assert (release.desktop_ticks, release.runs_inline, release.keeps_ledger) == (
            False, False, False,
        )  # fmt: skip

    def test_another_version_is_not_verified(self, tree: Tree) -> None:
        found = installation_of(str(tree.make_venv("0.20.0")), "")
        assert found is not None
        assert not found.verified

    def test_a_checkout_that_is_installed_editable(self, tree: Tree) -> None:
        site = tree.venv.parents[1] / "lib" / "python3.11" / "site-packages"
        checkout = tree.folder / "hermes agent"
        checkout.mkdir()
        (site / "hermes_cli").rename(checkout / "hermes_cli")
        (checkout / "hermes_cli" / "__init__.py").write_text('__version__ = "0.19.1.dev3"\n')
        info = site / "hermes_agent-0.19.0.dist-info"
        info.mkdir()
        url = checkout.as_uri()
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
        found = installation_of(str(tree.venv), "")
        assert found is not None
        assert (found.version, found.code) == ("0.19.1.dev3", str(checkout))

    def test_no_hermes_in_it(self, tree: Tree) -> None:
        empty = tree.folder / "empty"
        (empty / "bin").mkdir(parents=True)
        (empty / "pyvenv.cfg").touch()
        assert installation_of(str(empty / "bin" / "python"), "") is None
        assert installation_of(str(tree.folder / "nowhere" / "bin" / "python"), "") is None

    def test_an_interpreter_without_an_environment_is_asked(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = tree.folder / "elsewhere" / "hermes_cli"
        code.mkdir(parents=True)
        (code / "__init__.py").write_text('__version__ = "0.18.2"\nraise SystemExit("imported")\n')
        bare = script(
            tree.folder / "bare" / "bin" / "python3",
            f'#!/bin/sh\nshift 2\nexec {sys.executable} -c "import sys\n'
            f"sys.path.insert(0, {str(code.parent)!r})\n"
            '$1"\n',
        )
        found = installation_of(str(bare), "")
        assert found is not None
        assert (found.version, found.code) == ("0.18.2", str(code.parent))


class TestWhereItIsLookedFor:
    def test_nowhere(self, tree: Tree) -> None:
        assert find(tree) == ()

    def test_the_gateways_comes_first(self, tree: Tree) -> None:
        old = tree.make_venv("0.18.2")
        tree.desktop()
        tree.venv = old
        gateway = tree.gateway()
        found = find(tree)
        assert [i.version for i in found] == ["0.18.2", "0.19.0"]
        assert found[0].found_by == f"pid {gateway} (gateway)"

    def test_the_path(self, tree: Tree) -> None:
        script(tree.folder / "bin" / "hermes", f"#!{tree.venv}\nimport hermes_cli\n")
        (found,) = find(tree)
        assert found.found_by.endswith("bin/hermes on the PATH")

    def test_the_service_definition(self, tree: Tree) -> None:
        unit = tree.folder / "home/.config/systemd/user/hermes-gateway-la.service"
        script(unit, f'[Service]\nExecStart="{tree.venv}" -m hermes_cli.main gateway run\n')
        (found,) = find(tree)
        assert found.found_by == f"the service definition {unit}"

    @pytest.mark.parametrize(
        "text",
        [
            "#!/opt/h/bin/python3\nimport sys\n",
            "#!/opt/h/bin/python3 -E\n",
            '#!/bin/sh\n\'\'\'exec\' "/opt/h/bin/python3" "$0" "$@"\n',
            '#!/usr/bin/env bash\nexec "/opt/h/bin/hermes" "$@"\n',
        ],
    )
    def test_launchers(self, tmp_path: Path, text: str) -> None:
        found = interpreters_of(script(tmp_path / "hermes", text))
        assert [Path(python).parent for python in found] == [Path("/opt/h/bin")]

    def test_a_program_that_is_no_script(self, tmp_path: Path) -> None:
        binary = tmp_path / "hermes"
        binary.write_bytes(b"\x7fELF\x02\xff")
        assert interpreters_of(binary) == ()
        assert interpreters_of(tmp_path / "none") == ()


class TestServices:
    def test_labels(self, tmp_path: Path) -> None:
        root = tmp_path / ".hermes"
        assert service_suffix(home_of(root), user=tmp_path) == ""
        assert service_suffix(home_of(root / "profiles" / "la"), user=tmp_path) == "la"
        assert service_suffix(home_of("/opt/data"), user=tmp_path) == ""
        odd = home_of(root / "odd")
        expected = hashlib.sha256(str(odd.path).encode()).hexdigest()[:8]
        assert service_suffix(odd, user=tmp_path) == expected

    def test_launchd(self, tree: Tree) -> None:
        file = tree.folder / "home/Library/LaunchAgents/ai.hermes.gateway-la.plist"
        file.parent.mkdir(parents=True)
        arguments = ["/v/bin/python", "-m", "hermes_cli.main", "--profile", "la", "gateway", "run"]
        document = {
            "Label": "ai.hermes.gateway-la",
            "ProgramArguments": arguments,
            "EnvironmentVariables": {"HERMES_HOME": str(tree.home.path)},
        }
        file.write_bytes(plistlib.dumps(document))
        (found,) = service_definitions(tree.home)
        assert (found.label, found.manager) == ("ai.hermes.gateway-la", Manager.LAUNCHD)
        assert found.python == "/v/bin/python"

    def test_systemd(self, tree: Tree) -> None:
        file = tree.folder / "home/.config/systemd/user/hermes-gateway-la.service"
        script(
            file,
            "[Unit]\nDescription=x\n[Service]\n"
            "ExecStart=-/v/bin/python -m hermes_cli.main --profile la gateway run\n"
            f'Environment="PATH=/usr/bin" "HERMES_HOME={tree.home.path}"\n',
        )
        (found,) = service_definitions(tree.home)
        assert found.label == "hermes-gateway-la.service"
        assert (found.manager, found.python) == (Manager.SYSTEMD_USER, "/v/bin/python")

    def test_a_definition_of_another_home(self, tree: Tree) -> None:
        """Labels name the profile alone: two roots of one user share them."""
        file = tree.folder / "home/.config/systemd/user/hermes-gateway-la.service"
        script(file, "[Service]\nExecStart=/v/bin/python\nEnvironment=HERMES_HOME=/srv/profiles/la")
        assert service_definitions(tree.home) == ()

    @pytest.mark.parametrize("content", [b"", b"<plist", b"\xff\xfe", b"[]"])
    def test_damaged_ones(self, tree: Tree, content: bytes) -> None:
        file = tree.folder / "home/Library/LaunchAgents/ai.hermes.gateway-la.plist"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        assert service_definitions(tree.home) == ()
