"""The whole look: processes, locks, runs, forecast, verdict and warnings of recorded situations."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hermestree import NOW, Tree

from tenure.adapters.hermes.facts.home import home_of
from tenure.adapters.hermes.look import survey as survey_module
from tenure.adapters.hermes.look.report import Survey
from tenure.adapters.hermes.look.survey import JoinedProcesses
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.warnings import ProfileWarning


def codes(found: Survey) -> list[str]:
    return [warning.code for warning in found.warnings]


def text(found: Survey, code: str) -> str:
    return next(f"{w.text} → {w.remedy}" for w in found.warnings if w.code == code)


class TestTheFoundingBug:
    @pytest.fixture
    def found(self, tree: Tree) -> Survey:
        """One gateway and two desktops; the desktops started 20 and 40 s after the gateway."""
        self.gateway = tree.gateway(started=3600)
        self.desktops = [tree.desktop(started=3620), tree.desktop(started=3640)]
        tree.jobs({"name": "read mail"})
        a, b = self.desktops
        # The last tick of each: b's was 29 s ago, so that it comes first after the due instant.
        tree.ran((a, 189), (self.gateway, 69), (b, 89), (b, 29))
        return tree.survey()

    def test_who_is_there(self, found: Survey) -> None:
        assert [(p.pid, str(p.role), str(p.ticks)) for p in found.processes] == [
            (self.gateway, "gateway", "yes"),
            (self.desktops[0], "desktop", "yes"),
            (self.desktops[1], "desktop", "yes"),
        ]

    def test_who_holds_the_locks(self, found: Survey) -> None:
        assert (found.gateway_lock.known, found.gateway_lock.pid) == (True, self.gateway)
        assert (found.tick_lock.known, found.tick_lock.held) == (True, False)

    def test_who_ran_the_last_jobs(self, found: Survey) -> None:
        assert found.by_role() == {"desktop": 3, "gateway": 1}

    def test_who_runs_the_next(self, found: Survey) -> None:
        ahead = found.next_run()
        assert ahead is not None
        assert (ahead.winner, ahead.certain) == (None, False)
        assert set(ahead.rivals) == {self.gateway, *self.desktops}

    def test_the_verdict(self, found: Survey) -> None:
        assert found.verdict.startswith("3 processes can execute this profile's jobs")
        assert codes(found) == ["several_tickers"]
        said = text(found, "several_tickers")
        assert f"pid {self.desktops[1]} (desktop backend)" in said
        assert "`tenure hermes adopt --profile la`" in said

    def test_its_document(self, found: Survey) -> None:
        document = json.loads(json.dumps(found.to_json()))
        assert document["v"] == 1
        assert set(document) == {
            "v", "at", "hermes", "adoption", "verdict", "processes", "elsewhere", "hidden",
            "locks", "next", "runs", "jobs", "warnings",
        }  # fmt: skip
        assert document["hermes"]["version"] == "0.19.0"
        assert document["hermes"]["verified"] is True
        assert document["adoption"] is None
        assert document["locks"]["gateway"] == {"known": True, "held": True, "pid": self.gateway}
        assert document["locks"]["tick"]["fence"] is False
        assert set(document["next"]) == {
            "job", "job_name", "due", "at", "winner", "rivals", "certain", "rotates", "why",
        }  # fmt: skip
        assert document["next"]["winner"] is None
        assert len(document["next"]["rivals"]) == 3
        assert document["runs"]["by_role"] == {"desktop": 3, "gateway": 1}
        assert [run["role"] for run in document["runs"]["last"]] == [
            "desktop", "gateway", "desktop", "desktop",
        ]  # fmt: skip
        assert document["jobs"]["next_due"] == "2030-01-01T12:00:30Z"
        process = document["processes"][0]
        assert (process["standing"], process["store"]) == ("foreign", "observed")
        assert process["evidence"]["pid"] == self.gateway


class TestWithoutAnAdoption:
    def test_a_gateway_alone_is_fine(self, tree: Tree) -> None:
        pid = tree.gateway()
        tree.hermes("chat", files=tree.log("agent.log"))
        tree.jobs({})
        found = tree.survey()
        assert codes(found) == []
        assert found.verdict == f"Pid {pid} (gateway) runs the jobs: nothing else ticks."
        ahead = found.next_run()
        assert ahead is not None
        assert (ahead.winner, ahead.certain) == (pid, False)

    def test_no_gateway_and_jobs_fire_all_the_same(self, tree: Tree) -> None:
        pid = tree.desktop()
        tree.jobs({})
        found = tree.survey()
        assert codes(found) == ["desktop_ticks_alone"]
        assert found.verdict == (f"No gateway runs; pid {pid} (desktop backend) runs the jobs.")
        assert "`hermes -p la gateway run`" in text(found, "desktop_ticks_alone")

    def test_several_desktops_and_no_gateway(self, tree: Tree) -> None:
        tree.desktop(started=3600)
        tree.desktop(started=3630)
        tree.jobs({})
        assert "No gateway runs" in tree.survey().verdict
        assert "No gateway runs" in text(tree.survey(), "several_tickers")

    def test_runs_on_request_are_no_ticks(self, tree: Tree) -> None:
        desktop = tree.desktop()
        tree.ran((desktop, 20), source="direct")
        found = tree.survey()
        assert [str(p.ticks) for p in found.processes] == ["may"]
        assert found.by_role() == {"desktop": 1}

    def test_nothing_ticks(self, tree: Tree) -> None:
        tree.jobs({}, {})
        tree.make_bin()
        found = tree.survey()
        assert codes(found) == ["nothing_ticks"]
        assert "2 jobs are enabled" in text(found, "nothing_ticks")
        assert found.verdict == "No job runs: no process was found that ticks."

    def test_nothing_ticks_and_there_is_nothing_to_run(self, tree: Tree) -> None:
        tree.make_bin()
        tree.jobs({"enabled": False})
        assert codes(tree.survey()) == []

    def test_a_ticker_that_cannot_be_seen(self, tree: Tree) -> None:
        tree.make_bin()
        tree.jobs({})
        beat = tree.home.cron / "ticker_heartbeat"
        beat.write_text(str(NOW.timestamp() - 20))
        assert codes(tree.survey()) == ["nothing_ticks", "unseen_ticker"]
        beat.write_text(str(NOW.timestamp() - 200))
        assert codes(tree.survey()) == ["nothing_ticks"]

    def test_a_fence_that_nobody_recorded(self, tree: Tree) -> None:
        tree.gateway()
        tree.desktop()
        tree.jobs({})
        tree.home.tick_lock.mkdir()
        found = tree.survey()
        assert {str(p.ticks) for p in found.processes} == {"fenced"}
        assert codes(found) == ["fence_without_adoption"]
        assert found.verdict.startswith("No job runs: the fence at")
        ahead = found.next_run()
        assert ahead is not None
        assert (ahead.winner, ahead.why) == (None, "nothing ticks")

    def test_the_remedy_names_the_root_unless_it_is_hermes_own(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HERMES_HOME", "/srv/hermes")
        tree.gateway()
        tree.desktop()
        remedy = next(w.remedy for w in tree.survey().warnings)
        assert remedy == f"`tenure hermes adopt --hermes-home {tree.root} --profile la`"


class TestWhatIsUnusual:
    def test_jobs_that_cannot_be_read(self, tree: Tree) -> None:
        tree.gateway()
        tree.home.jobs_file.write_text("{")
        found = tree.survey()
        assert codes(found) == ["jobs_damaged"]
        assert found.verdict.startswith("No job runs")
        assert found.to_json()["jobs"]["problem"]

    def test_a_ledger_that_cannot_be_read(self, tree: Tree) -> None:
        tree.gateway()
        tree.home.executions.write_bytes(b"no database" * 100)
        found = tree.survey()
        assert codes(found) == ["ledger_damaged"]
        assert found.to_json()["runs"]["known"] is False

    def test_a_version_that_records_nothing(self, tree: Tree) -> None:
        tree.venv = tree.make_venv("0.18.2", ledger=False)
        tree.gateway()
        runs = tree.survey().to_json()["runs"]
        assert (runs["known"], runs["why"]) == (
            False, "Hermes 0.18.2 does not record what executed a run",
        )  # fmt: skip

    def test_a_version_that_was_not_verified(self, tree: Tree) -> None:
        tree.venv = tree.make_venv("0.21.0")
        tree.gateway()
        found = tree.survey()
        assert codes(found) == ["version_unverified"]
        assert found.to_json()["hermes"]["verified"] is False

    def test_no_hermes_at_all(self, tree: Tree) -> None:
        found = tree.survey()
        assert codes(found) == ["hermes_not_found"]
        assert found.to_json()["hermes"]["version"] is None

    def test_a_lock_that_a_stranger_holds(self, tree: Tree) -> None:
        tree.make_bin()
        tree.process("/usr/bin/flock", "x", lock=tree.home.gateway_lock)
        assert codes(tree.survey()) == ["lock_stranger"]

    def test_a_process_that_ends_while_it_is_looked_at(self, tree: Tree) -> None:
        tree.gateway()
        pid, observe = tree.desktop(), tree.observe

        def look(wanted: int) -> Any:
            if wanted == pid:
                (tree.proc / str(pid) / "stat").unlink()
            return observe(wanted)

        tree.observe = look  # type: ignore[method-assign]
        assert [str(p.role) for p in tree.survey().processes] == ["gateway"]

    def test_other_homes_are_left_out_and_said(self, tree: Tree) -> None:
        pid = tree.process("hermes", "-p", "la", "gateway", "run", env={"HERMES_HOME": "/srv"})
        tree.gateway()
        found = tree.survey()
        assert codes(found) == []
        assert found.to_json()["elsewhere"] == [
            {"pid": pid, "role": "gateway", "home": "/srv/profiles/la", "store": "stated",
             "same_profile_name": True}
        ]  # fmt: skip


class TestNothingIsTouched:
    def test_the_home_stays_as_it_is(self, tree: Tree) -> None:
        tree.gateway()
        tree.desktop()
        tree.jobs({})
        tree.ran((1, 10))
        before = _state(tree.root)
        tree.survey()
        assert _state(tree.root) == before


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    paths = sorted(folder.rglob("*"))
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in paths}


class TestAdopted:
    """The Tenure profile is stood in for; the real one is looked at with a real Hermes."""

    joined: dict[int, ProcessStatus]
    owner: int | None

    @pytest.fixture
    def adopted(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
        self.joined, self.owner = {}, None

        def membership(adoption: object, now: object) -> JoinedProcesses:
            processes = {}
            for pid, standing in self.joined.items():
                evidence = tree.observe(pid)
                processes[evidence.identity] = Process(
                    id=f"p{pid}", evidence=evidence, joined_at=NOW, executes=True,
                    standing=standing, why="rule 1 admits it",
                )  # fmt: skip
            owner = None if self.owner is None else tree.observe(self.owner).identity
            return JoinedProcesses(processes=processes, owner=owner)

        monkeypatch.setattr(survey_module, "read_membership", membership)
        tree.home.tick_lock.mkdir()
        self.record(tree)
        tree.jobs({})
        return tree

    def record(self, tree: Tree, **more: Any) -> None:
        record = {
            "v": 1, "state": "adopted", "hermes_home": str(tree.home.path),
            "tenure_profile": "hermes-la", "tenure_home": str(tree.folder / "tenure"),
            "hermes_profile": "la", "hermes_version": "0.19.0", "hermes_python": None,
            "tenure_version": "0.1.0", "forced": False, "unverified": [], "steps": [],
            "adopted_at": (NOW - timedelta(hours=1)).isoformat(),
        }  # fmt: skip
        tree.home.tenure.mkdir(exist_ok=True)
        tree.home.adoption.write_text(json.dumps({**record, **more}))

    late = 11.5 * 3600  # after the adoption, which was 11 hours after the boot

    def test_the_gateway_owns(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        desktop = adopted.desktop(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER, desktop: ProcessStatus.REFUSED}
        found = adopted.survey()
        assert codes(found) == []
        assert found.verdict == f"Pid {gateway} (gateway) owns the jobs; only its ticks run them."
        assert [(str(p.standing), str(p.ticks)) for p in found.processes] == [
            ("owner", "yes"), ("refused", "no"),
        ]  # fmt: skip
        ahead = found.next_run()
        assert ahead is not None
        assert (ahead.winner, ahead.certain) == (gateway, True)
        assert found.to_json()["adoption"]["owner"] == gateway

    def test_a_process_from_before(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        desktop = adopted.desktop(started=3600)
        found = adopted.survey()
        assert codes(found) == ["restart_needed"]
        said = text(found, "restart_needed")
        assert f"pid {desktop} (desktop backend) started before the adoption" in said
        assert "quit the desktop app" in said
        (listed,) = [p for p in found.to_json()["processes"] if p["pid"] == desktop]
        assert (listed["ticks"], listed["before_adoption"]) == ("fenced", True)

    def test_a_process_in_which_the_plugin_is_not_loaded(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        adopted.desktop(started=self.late)
        assert codes(adopted.survey()) == ["plugin_not_loaded"]

    def test_one_that_has_only_just_started(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        adopted.desktop(started=12 * 3600 - 5)
        assert codes(adopted.survey()) == []

    def test_a_chat_after_the_adoption_need_not_join(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        adopted.hermes("chat", files=adopted.log("agent.log"), started=self.late)
        assert codes(adopted.survey()) == []

    def test_nobody_owns(self, adopted: Tree) -> None:
        desktop = adopted.desktop(started=self.late)
        self.joined = {desktop: ProcessStatus.REFUSED}
        found = adopted.survey()
        assert codes(found) == ["nobody_owns"]
        assert found.verdict.startswith("No job runs: no process owns the jobs")
        assert "`hermes -p la gateway run`" in text(found, "nobody_owns")
        adopted.gateway(started=3600)
        found = adopted.survey()
        assert codes(found) == ["nobody_owns", "restart_needed"]
        assert "`hermes -p la gateway restart`" in text(found, "nobody_owns")

    def test_the_fence_is_gone(self, adopted: Tree) -> None:
        """A ticker that does not obey is worse than one that must be restarted."""
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        adopted.desktop(started=3600)
        adopted.home.tick_lock.rmdir()
        found = adopted.survey()
        assert codes(found) == ["unadopted_ticker"]
        assert found.verdict.startswith("2 processes can execute")

    def test_a_copied_home(self, adopted: Tree) -> None:
        self.record(adopted, hermes_home="/srv/original")
        adopted.gateway()
        found = adopted.survey()
        assert codes(found) == ["adoption_damaged"]
        assert "copy of /srv/original" in text(found, "adoption_damaged")
        copied = ProfileWarning(code="home_copied", text="x", remedy="y")
        assert codes(adopted.survey(drift=lambda *_: [copied])) == ["home_copied"]

    def test_a_record_that_cannot_be_understood(self, adopted: Tree) -> None:
        adopted.home.adoption.write_text("{")
        adopted.gateway()
        found = adopted.survey()
        assert codes(found) == ["adoption_damaged"]
        assert found.to_json()["adoption"]["problem"]

    @pytest.mark.parametrize(("state", "verb"), [("adopting", "adopt"), ("releasing", "release")])
    def test_an_adoption_that_was_interrupted(self, adopted: Tree, state: str, verb: str) -> None:
        self.record(adopted, state=state)
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        found = adopted.survey()
        assert codes(found) == ["adoption_unfinished"]
        assert f"tenure hermes {verb}" in text(found, "adoption_unfinished")

    def test_what_an_adoption_has_lost_is_added(self, adopted: Tree) -> None:
        self.owner = gateway = adopted.gateway(started=self.late)
        self.joined = {gateway: ProcessStatus.OWNER}
        lost = ProfileWarning(code="plugin_disabled", text="x", remedy="y")
        found = adopted.survey(drift=lambda home, _: [lost] if home == adopted.home else [])
        assert found.warnings == (lost,)

    def test_a_profile_that_cannot_be_read(
        self, adopted: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted.gateway(started=self.late)
        monkeypatch.undo()
        monkeypatch.setenv("TENURE_HOME", str(adopted.folder / "none"))
        monkeypatch.setenv("HOME", str(adopted.folder / "home"))
        assert codes(adopted.survey())[0] == "tenure_unreadable"


def test_drift_is_not_asked_of_a_home_that_is_not_adopted(tree: Tree) -> None:
    tree.gateway()

    def drift(*of: object) -> list[ProfileWarning]:
        raise AssertionError("asked")

    assert tree.survey(drift=drift).warnings == ()


def test_a_default_profile(tree: Tree) -> None:
    home = home_of(tree.root)
    (tree.root / "logs").mkdir()
    log = tree.root / "logs" / "agent.log"
    log.touch()
    argv = (str(tree.venv), "-m", "hermes_cli.main", "gateway", "run")
    pid = tree.process(*argv, files=[log], lock=tree.root / "gateway.lock")
    tree.desktop()
    found = tree.survey(home)
    assert [p.pid for p in found.processes] == [pid]
    assert len(found.elsewhere) == 1
    assert found.to_json()["hermes"]["profile"] == "default"
