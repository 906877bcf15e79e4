"""Each ``--json`` document of the command line is, byte for byte, what its golden file has."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from goldenkit import HERE, check_none_is_left, compare
from scenes import Play, Scene, Shelf, answering

from tenure.surfaces.cli.main import main

pytestmark = pytest.mark.usefixtures("plain")
FOLDER = HERE / "cli"


@dataclass(frozen=True)
class Case:
    """``{running}`` in the line is the id of a run in that state; ``{asked_done}`` of a request."""

    name: str
    scene: str
    line: str
    answer: str | None = None

    @property
    def file(self) -> str:
        return f"{self.name}.txt"


JOBS_TOML = """[[job]]
name = "heartbeat"
schedule = "every 2 hours"
command = ["true"]
tags = ["ops"]

[[job]]
name = "applied"
schedule = "0 4 * * *"
tz = "America/New_York"
dst = "gap=shift,fold=both"
shell = "make all"
env = { API_TOKEN = "abc", LANG = "C" }
retries = 3
backoff = "5m"
requires = ["read:/etc"]
protected = true
"""
CRONTAB = """MAILTO=ada
LANG=C
# every night
15 2 * * * /usr/local/bin/nightly --all
@reboot /usr/local/bin/once
*/5 9-17 * * 1-5 cd / && ./poll | logger
61 * * * * broken
"""
FULL = ("add '30 2 * * 1-5' --name full --protected --requires read:/etc --tz Europe/London "
        "--dst gap=skip,fold=second --overlap cancel --catch-up all:6h --grace 5m --jitter 30s "
        "--timeout 10m --retries 3 --backoff 2m --retry-lost --env API_TOKEN=abc --env LANG=C "
        "--cwd / --stdin hello --tag a --tag b --paused -- /bin/echo hello world")  # fmt: skip

LOOKING = [
    *(Case(f"status-{scene}", scene, "status")
      for scene in ("idle", "owned", "fallback", "hung", "dead",
                          "declared", "broken", "repoliced", "damaged",
                          "unadopted", "unmade", "empty")),
    *(Case(f"whoami-{scene}", scene, "whoami")
      for scene in ("idle", "broken", "repoliced", "unmade",
                          "empty")),
    Case("whoami-role", "idle", "whoami --role gateway"),
    Case("whoami-no-such-pid", "idle", "whoami --pid 4194304"),
    *(Case(f"owner-{scene}", scene, "owner")
      for scene in ("idle", "owned", "fallback", "hung", "dead",
                          "unmade")),
    Case("owner-terms", "owned", "owner -n 1"),
    *(Case(f"policy-{scene}", scene, "owner policy")
      for scene in ("idle", "broken", "repoliced", "unmade")),
    Case("list", "idle", "list"),
    Case("list-declared", "declared", "list"),
    Case("list-damaged", "damaged", "list"),
    Case("list-removed", "idle", "list --state removed"),
    Case("list-tag", "idle", "list --tag finance"),
    Case("list-page", "idle", "list -n 2"),
    Case("list-next-page", "idle",
         "list -n 1 --cursor '[\"half-past-two\",\"j1kmr77y806xn9q5atd\"]'"),
    Case("list-wrong-cursor", "idle", "list --cursor nonsense"),
    Case("list-secrets", "idle", "list --show-secrets --tag backup"),
    *(Case(f"show-{name.replace(' ', '-').replace(':', '-')}", "idle", f"show '{name}'")
      for name in ("photos-backup", "mail-digest", "heartbeat", "move-house", "greet",
                   "search index", "shop:nightly", "shop:mail", "weekly-report")),
    Case("show-secrets", "idle", "show photos-backup --show-secrets"),
    Case("show-revisions", "idle", "show price-watch --revisions"),
    Case("show-foreign", "declared", "show 'morning briefing'"),
    Case("show-damaged", "damaged", "show heartbeat"),
    Case("show-unknown", "idle", "show heartbeet"),
    Case("runs", "idle", "runs"),
    Case("runs-owned", "owned", "runs -n 4"),
    Case("runs-all", "idle", "runs --all -n 30"),
    Case("runs-job", "idle", "runs invoices -n 3"),
    Case("runs-all-job", "idle", "runs invoices --all -n 30"),
    Case("runs-next-page", "idle", "runs -n 2 --cursor '[1774727941000000,80]'"),
    *(Case(f"runs-{state.replace('_', '-')}", "idle", f"runs --state {state} -n 2")
      for state in ("claimed", "running", "retrying", "succeeded", "failed", "timed_out",
                    "cancelled", "lost", "never_ran")),
    Case("runs-wrong-state", "idle", "runs --state gone"),
    Case("runs-empty", "empty", "runs"),
    Case("logs", "idle", "logs {running}"),
    Case("logs-attempt", "idle", "logs {failed} --attempt 2"),
    Case("logs-job", "idle", "logs invoices"),
    Case("logs-none", "idle", "logs {never_ran}"),
    Case("logs-attempt-unknown", "idle", "logs {failed} --attempt 9"),
    Case("logs-unknown", "idle", "logs r1kmtsmn910d1bsdn00"),
    Case("logs-lines", "idle", "logs {running} --lines 1"),
    Case("next", "idle", "next"),
    Case("next-declared", "declared", "next -n 3"),
    Case("next-damaged", "damaged", "next -n 3"),
    *(Case(f"next-{name}", "idle", f"next {name} -n 4")
      for name in ("half-past-two", "heartbeat", "move-house", "weekly-report", "greet")),
    *(Case(f"explain-{name.replace(' ', '-').replace(':', '-')}", "idle", f"explain '{name}'")
      for name in ("photos-backup", "heartbeat", "greet", "weekly-report", "shop:nightly",
                   "price-watch")),
    Case("explain-owned", "owned", "explain photos-backup"),
    Case("explain-owned-active", "owned", "explain price-watch"),
    Case("explain-fallback", "fallback", "explain photos-backup"),
    Case("explain-hung", "hung", "explain heartbeat"),
    Case("explain-foreign", "declared", "explain 'morning briefing'"),
    Case("explain-damaged", "damaged", "explain heartbeat"),
    Case("requests", "idle", "requests"),
    Case("requests-state", "idle", "requests list --state done -n 2"),
    Case("export", "idle", "export"),
    Case("export-secrets", "idle", "export 'search index' --show-secrets"),
    Case("export-unknown", "idle", "export nothing"),
    Case("audit", "idle", "audit"),
    Case("audit-owned", "owned", "audit"),
    Case("audit-doctored", "doctored", "audit"),
    Case("profile-list", "idle", "profile list"),
    Case("profile-list-owned", "owned", "profile list"),
    Case("profile-list-empty", "empty", "profile list"),
]  # fmt: skip
ACTING = [
    Case("add", "idle", "add @daily -- echo hi"),
    Case("add-full", "owned", FULL),
    Case("add-shell", "idle", "add 'every 5m' --shell --name loop 'echo $HOME'"),
    Case("add-once", "idle", "add '2026-03-29 02:30' --name gap -- true"),
    Case("add-first", "empty", "add @hourly --tz Europe/Berlin --name first -- true"),
    Case("add-again", "idle", "add @daily --name heartbeat -- true"),
    Case("add-schedule", "idle", "add '61 * * * *' --name n -- true"),
    Case("add-past", "idle", "add 2020-01-01 --name n -- true"),
    Case("add-zone", "idle", "add @daily --tz Mars/Base --name n -- true"),
    Case("add-dst", "idle", "add @daily --dst weird --name n -- true"),
    Case("add-no-command", "idle", "add @daily --name n"),
    Case("add-option", "idle", "add @daily --colour red -- true"),
    Case("edit", "owned", "edit heartbeat --schedule 'every 2h' --retries 2 --tag a --env K=V"),
    Case("edit-rename", "idle", "edit heartbeat --rename pulse --reset jitter"),
    Case("edit-approve", "idle", "edit photos-backup --timeout 1h --approve"),
    Case("edit-nothing", "idle", "edit heartbeat"),
    Case("edit-declared", "idle", "edit shop:mail --schedule @daily"),
    Case("edit-unknown", "idle", "edit nothing --retries 1"),
    Case("pause", "idle", "pause heartbeat invoices"),
    Case("pause-all", "idle", "pause --all"),
    Case("pause-none", "idle", "pause"),
    Case("resume", "idle", "resume weekly-report"),
    Case("resume-dormant", "idle", "resume shop:nightly"),
    Case("remove", "idle", "remove heartbeat"),
    Case("remove-unknown", "idle", "remove nothing"),
    Case("apply", "idle", "apply {tmp}/jobs.toml"),
    Case("apply-dry-run", "idle", "apply {tmp}/jobs.toml --prune --dry-run"),
    Case("apply-wrong", "idle", "apply {tmp}/wrong.toml"),
    Case("apply-missing", "idle", "apply {tmp}/missing.toml"),
    Case("import-crontab", "idle", "import crontab {tmp}/crontab --dry-run "
         "--dialect cronie --tz Europe/Berlin --skip-broken"),
    # -- asking
    Case("trigger-idle", "idle", "trigger heartbeat"),
    Case("trigger-queue", "idle", "trigger invoices --queue --key k1"),
    Case("trigger-owned", "owned", "trigger photos-backup --key k2", "accept"),
    Case("trigger-wait", "owned", "trigger move-house --wait --key k3", "finish"),
    Case("trigger-active", "owned", "trigger price-watch --key k4", "accept"),
    Case("trigger-protected", "fallback", "trigger invoices --key k5", "accept"),
    Case("trigger-paused", "owned", "trigger weekly-report --key k6", "accept"),
    Case("trigger-hung", "dead", "trigger heartbeat --key k7"),
    Case("trigger-unknown", "idle", "trigger nothing"),
    Case("cancel-owned", "owned", "cancel {running} --key k8", "accept"),
    Case("cancel-idle", "idle", "cancel {running}"),
    Case("cancel-retrying", "owned", "cancel {retrying} --key k9", "accept"),
    Case("cancel-ended", "owned", "cancel {failed}"),
    Case("retry-owned", "owned", "retry {timed_out} --key ka", "accept"),
    Case("retry-running", "owned", "retry {running}"),
    Case("retry-idle", "idle", "retry {failed} --queue --key kb"),
    Case("requests-cancel", "idle", "requests cancel {asked_pending}"),
    Case("requests-cancel-done", "idle", "requests cancel {asked_done}"),
    # -- owners
    Case("hand-over-idle", "idle", "owner hand-over"),
    Case("hand-over-unknown", "owned", "owner hand-over --to p-nothing"),
    Case("release", "owned", "owner release"),
    Case("release-idle", "idle", "owner release"),
    Case("take-working", "owned", "owner take"),
    Case("policy-accept", "repoliced", "owner policy --accept"),
    Case("policy-clear", "unadopted", "owner policy --clear --yes"),
    # -- upkeep
    Case("adopt-moved", "unadopted", "profile adopt --moved"),
    Case("adopt-copied", "unadopted", "profile adopt --copied"),
    Case("adopt-restored", "unadopted", "profile adopt --restored"),
    Case("adopt-how", "unadopted", "profile adopt"),
    Case("profile-remove", "idle", "profile remove default --yes"),
    Case("profile-remove-asks", "idle", "profile remove default"),
    Case("backup", "idle", "backup {tmp}/saved.db"),
    Case("backup-again", "idle", "backup {tmp}/jobs.toml"),
    Case("restore-wrong", "idle", "restore {tmp}/jobs.toml --yes"),
    Case("migrate", "idle", "migrate"),
    Case("unknown-verb", "idle", "frobnicate"),
]  # fmt: skip


@pytest.mark.parametrize("case", LOOKING, ids=lambda case: case.name)
def test_what_is_shown(case: Case, shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    check(case, shelf(case.scene), capfd, Path("/nowhere"))


@pytest.mark.timeout(20)  # the clock is stopped: a wait for a deadline would never end
@pytest.mark.parametrize("case", ACTING, ids=lambda case: case.name)
def test_what_is_done(
    case: Case, play: Play, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS_TOML)
    (tmp_path / "wrong.toml").write_text('[[job]]\nname = "x"\nshedule = "@daily"\n')
    (tmp_path / "crontab").write_text(CRONTAB)
    with play(case.scene) as scene, answering(scene.home, case.answer):
        check(case, scene, capfd, tmp_path)


def check(case: Case, scene: Scene, capfd: pytest.CaptureFixture[str], tmp: Path) -> None:
    """The common options come first, so that a command after ``--`` does not take them."""
    line = case.line.format(**scene.names(), tmp=tmp)
    capfd.readouterr()
    code = main(["--json", "--home", str(scene.home), *shlex.split(line)])
    text = scene.normaliser().json(capfd.readouterr().out, indent=2)
    text = text.replace(str(tmp), "<tmp>")
    compare(FOLDER / case.file, f"$ tenure --json {case.line}\nexit {code}\n{text}")


def test_each_file_belongs_to_a_case() -> None:
    check_none_is_left(FOLDER, {case.file for case in (*LOOKING, *ACTING)})
