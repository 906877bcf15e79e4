"""``make run``: the founding scenario in two parts, with its claims checked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from scenario.lineage import Lineage, Place
from scenario.verify import Verdict, check
from scenario.view import View
from scenario.watcher import watching
from scenario.world import DESKTOPS, HERE, PROFILE, Violated, World, stage

_READ = {"yes": "yes", "no": "no", "-": "(no file)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of each phase."""

    plain: float = 16
    alone: float = 4
    together: float = 9
    after: int = 8
    fallback: float = 7
    again: float = 7


FAST = Pace(plain=5, alone=1, together=5, after=5, fallback=3, again=3)


def run_story(view: View, *, fast: bool = False, keep: bool = False) -> int:
    """Both parts; 0 if every claim held, 1 if one did not."""
    pace = FAST if fast else Pace()
    try:
        with stage(view, keep=keep) as world:
            plain = _part_one(world, pace)
        with stage(view, keep=keep) as world:
            _part_two(world, pace)
            return _conclude(world, *plain)
    except Violated as problem:
        view.say(f"violated: {problem}", "red bold")
        return 1


# -- part one ----------------------------------------------------------------------------------
def _part_one(world: World, pace: Pace) -> tuple[int, int]:
    """A shared file lock: the runs of read-mail that could not read the file, and all of them."""
    view = world.view
    view.title("Part one: a shared file lock")
    view.note(
        "A gateway and four desktop backends tick one job store, guarded by a lock. The job "
        f"read-mail needs a file that the kernel denies the desktop chain ({world.denied.words})."
    )
    if not world.denied.works:
        view.note("This machine cannot deny a file to a process chain: every chain can read it.")
    jobs = [
        {"name": "read-mail", "every": 2.0, "due": time.time(), "command": world.canary()},
        {"name": "refresh-feed", "every": 3.0, "due": time.time(), "command": world.canary()},
    ]
    (world.home / "jobs.json").write_text(json.dumps(jobs))
    for seed, name in enumerate(("gateway", *DESKTOPS)):
        command = [sys.executable, "-S", str(HERE / "plain.py"), str(world.home)]
        world.keep(name, [*command, "--seconds", "3600", "--seed", str(seed)])
    view.say("gateway and desktop-1 to desktop-4 tick; the process that gets the lock runs the job")
    world.wait_for("a first run under the file lock", world.canaries, 20)
    world.rest(pace.plain)
    rows = _rows(world, {"read-mail"})
    view.table(("job", "executed by", "chain", "could read the file"), [row[1:] for row in rows])
    failed = sum(row[-1] == "no" for row in rows)
    view.say(
        f"each job ran once, but {failed} of {len(rows)} in a chain that cannot read the file: "
        "the lock does not control which process runs a job",
        "bold",
    )
    return failed, len(rows)


# -- part two ----------------------------------------------------------------------------------
JOBS = {
    "read-mail": ("every 4s", ("--protected",), ("--needs",)),
    "post-digest": ("every 5s", ("--protected",), ()),
    "send-report": ("0 4 1 1 *", ("--protected",), ()),
    "refresh-feed": ("every 3s", (), ()),
    "tidy-cache": ("every 4s", (), ()),
}


def write_policy(world: World, *, after: str, more: str = "") -> None:
    """Rule 1: below the gateway's launcher. Rule 2: below the desktop app, as a fallback."""
    folder = world.home / "profiles" / PROFILE
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, exist_ok=True)
    app = world.base / "Desktop.app"
    (folder / "profile.toml").write_text(
        f"{more}\n[[owner]]\nancestor = {json.dumps(str(world.launchers['gateway']))}\n\n"
        f'[[owner]]\nexecutable = {json.dumps(str(app))}\nafter = "{after}"\n'
    )


def _part_two(world: World, pace: Pace) -> None:
    view = world.view
    view.title("Part two: Tenure, profile la")
    view.note(
        "Rule 1 of its policy: ancestor = bin/gateway-launcher (authoritative). Rule 2: "
        f'executable = Desktop.app, after = "{pace.after}s" (a fallback). Protected: read-mail, '
        "post-digest, send-report."
    )
    write_policy(world, after=f"{pace.after}s")
    for name, (schedule, options, extra) in JOBS.items():
        world.add(name, schedule, *options, extra=extra)
    with watching(world):
        _gateway_comes(world, pace)
        _gateway_goes(world, pace)
        _gateway_is_back(world, pace)


def _gateway_comes(world: World, pace: Pace) -> None:
    world.view.say("four desktop backends start first", "bold")
    for name in DESKTOPS:
        world.serve(name)
    world.rest(pace.alone)
    world.view.say("the gateway's supervisor starts", "bold")
    world.serve("gateway")
    world.wait_for("the gateway to own", lambda: owner_of(world) == "gateway", 30)
    world.rest(pace.together / 2)
    world.view.say("inside the desktop chain: tenure trigger send-report --wait", "bold")
    answer = world.asked("trigger", "send-report", "--wait", chain="desktop")
    line, place = _canary_of(world, answer["run"]["id"])
    world.view.say(
        f"delegated, and executed by the {place.backend}: {place.words()}; "
        f"could read the file: {_READ[line['read']]}",
        "green",
    )
    if place.chain != "gateway":
        raise Violated("a trigger from a desktop was not executed in the gateway's chain")
    _stranger(world)
    world.rest(pace.together / 2)


def _stranger(world: World) -> None:
    """A scheduler below neither launcher: visible, refused with the reason, and runs no job."""
    world.view.say("in a shell, below neither launcher: tenure serve", "bold")
    argv, executable = world.words_of("serve", "--role", "stranger")
    process = world.group.start(
        argv,
        executable=executable,
        env=world.environment,
        cwd=world.base,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def refused() -> bool:
        found = [p for p in status_of(world)["processes"] if p["role"] == "stranger"]
        return any(p["standing"] == "refused" and p["why"] != "just joined" for p in found)

    world.wait_for("the stranger to be refused", refused, 20)
    world.rest(1.5)
    process.terminate()
    process.wait(20)
    world.group.forget(process)


def _gateway_goes(world: World, pace: Pace) -> None:
    world.view.say("kill -9: the gateway and its supervisor, as launchctl bootout would", "bold")
    world.kept["gateway"].boot_out()
    world.wait_for(
        "the gateway to be seen dead", lambda: world.kept["gateway"].backend() is None, 10
    )
    _refused(world, "send-report")
    world.wait_for("a fallback", lambda: owner_of(world).startswith("desktop"), pace.after + 30)
    _refused(world, "send-report")
    world.rest(pace.fallback)


def _gateway_is_back(world: World, pace: Pace) -> None:
    world.view.say("the supervisor starts again; hand-over after 10 s of stable life", "bold")
    world.kept["gateway"].restart()
    world.wait_for("the hand-over", lambda: owner_of(world) == "gateway", 45)
    world.rest(pace.again)
    quiesce(world)


def _refused(world: World, job: str) -> None:
    """A trigger that no process may run now: refused with a remedy, and never run."""
    done = world.tenure("trigger", job, "--json", chain="desktop")
    answer = json.loads(done.stdout)
    if done.returncode != 3:
        code = done.returncode
        raise Violated(f"a trigger without the gateway ended with {code}, not 3: {answer}")
    error = answer["error"]
    text = str(error["text"]).replace(str(world.base) + "/", "")
    remedy = str(error["remedy"]).replace(str(world.base) + "/", "")
    world.view.say(f"desktop: tenure trigger {job} is refused: {text}", "yellow")
    world.view.say(f"→ {remedy}", "yellow")


def quiesce(world: World, seconds: float = 60) -> None:
    """Stop planning, and let active runs end."""
    world.asked("pause", "--all")

    def quiet() -> bool:
        counts = status_of(world)["jobs"]
        return not counts.get("active_runs") and not counts.get("open_holds")

    world.wait_for("the last runs to end", quiet, seconds)


def status_of(world: World) -> dict[str, Any]:
    """``tenure status --json``; its exit code 1 only says that there are warnings."""
    done = world.tenure("status", "--json")
    if done.returncode not in (0, 1):
        raise Violated(f"tenure status ended with {done.returncode}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def owner_of(world: World) -> str:
    """The role of the owner, '' without an owner."""
    status = status_of(world)
    owner = status["owner"]
    names = {p["id"]: p["role"] or "" for p in status["processes"]}
    return names.get(owner["process"], "") if owner else ""


# -- the end -----------------------------------------------------------------------------------
def _conclude(world: World, failed: int, tried: int) -> int:
    view = world.view
    view.title("tenure audit")
    audit = world.tenure("audit")
    view.note(audit.stdout.strip().replace("\n", " "))
    verdict = check(world)
    if audit.returncode:
        verdict.violated("audit", f"exit code {audit.returncode}: {audit.stdout}{audit.stderr}")
    view.title("What ran where")
    protected = {name for name, (_, options, _) in JOBS.items() if options}
    headers = ("run", "job", "executed by", "chain", "could read the file")
    view.table(headers, [*_rows(world, protected), *_summed(world, set(JOBS) - protected)])
    for violation in verdict.violations:
        view.say(f"violated: {violation}", "red bold")
    view.title("In one sentence")
    view.note(_sentence(verdict, failed, tried))
    return 1 if verdict.violations else 0


def _sentence(verdict: Verdict, failed: int, tried: int) -> str:
    f = verdict.figures
    return (
        f"With the file lock, {failed} of {tried} read-mail runs ran where they could not read the "
        f"file. With Tenure: {f['protected']} protected runs, "
        f"{f['protected outside the gateway chain']} of them outside the gateway's chain; "
        f"{f['ran']} runs in all over {f['terms']} terms, {f['ran twice']} of them twice; of "
        f"{f['due']} scheduled runs {f['not accounted for']} are unaccounted for; "
        f"the audit has {f['audit']} findings."
    )


def _rows(world: World, jobs: set[str]) -> list[tuple[str, ...]]:
    """A row for each run of these jobs."""
    lines = [line for line in world.canaries() if line["job"] in jobs]
    places = Lineage(world.launchers, world.kept.values()).places(lines)
    return [
        (str(line["run"]), line["job"], place.backend, place.words(), _READ[line["read"]])
        for line, place in zip(lines, places, strict=True)
    ]


def _summed(world: World, jobs: set[str]) -> list[tuple[str, ...]]:
    """The runs of these jobs, equal rows counted."""
    alike = Counter(row[1:] for row in _rows(world, jobs))
    return [(f"{count} runs", *row) for row, count in alike.items()]


def _canary_of(world: World, run: str) -> tuple[dict[str, Any], Place]:
    lines = [line for line in world.canaries() if line["run"] == run]
    if not lines:
        raise Violated(f"run {run} is recorded as done, but did not run")
    place = Lineage(world.launchers, world.kept.values()).places(lines)[0]
    return lines[0], place
