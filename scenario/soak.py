"""The same world for long: every process killed, frozen and restarted at random, by a seed.

Blows fall every second or so: kill -9 of backends and supervisors, freezes, restarts; triggers,
edits, pauses and hand-over requests from random chains; and writes that name a term long over.
At the end everything is resumed, the world comes to rest, and is judged by what the jobs
themselves wrote (:mod:`scenario.verify`), then by ``tenure audit``.

The seed repeats the schedule of blows, not the machine's timing.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from scenario.process_group import signal_exactly
from scenario.stale import StaleWriter
from scenario.story import owner_of, quiesce, write_policy
from scenario.verify import Verdict, check
from scenario.view import View
from scenario.watcher import watching
from scenario.world import DESKTOPS, Violated, World, stage

JOBS = {
    "read-mail": ("every 2s", ("--protected",), ("--needs",)),
    "post-digest": ("every 3s", ("--protected", "--catch-up", "all"), ()),
    "long-sync": ("every 7s", ("--protected",), ("--lasts", "4")),
    "send-report": ("0 4 1 1 *", ("--protected", "--overlap", "allow"), ()),
    "heartbeat": ("every 1s", (), ()),
    "refresh-feed": ("every 3s", ("--catch-up", "latest"), ()),
    "long-index": ("every 5s", ("--overlap", "queue"), ("--lasts", "6")),
    "edited": ("every 4s", (), ()),
}
_SETTINGS = 'hung = "replace"\n'
_CHAINS = ("", "desktop", "gateway")
_LONG = 300.0
"""From this length on (seconds) a soak also freezes processes for longer than an owner may hang."""
_EXPECTED_CODES = frozenset({0, 1, 3, 4, 5, 75})


class Blows:
    """What happens to the world, drawn from the seed."""

    def __init__(self, world: World, seed: int, seconds: float) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._long = seconds >= _LONG
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._frozen: dict[str, float] = {}
        self._asked: list[tuple[list[str], subprocess.Popen[str], IO[str], float]] = []
        self.stale = StaleWriter(world)
        self.figures: Counter[str] = Counter()
        self.failures: list[str] = []
        self._record = world.logs / "blows"
        self._acts: list[tuple[float, Callable[[], None]]] = [
            (3, self._kill_backend),
            (1, self._kill_supervisor),
            (2, self._boot_out),
            (3, self._freeze),
            (1, self._freeze_supervisor),
            (3, self._trigger),
            (2, self._edit),
            (1, self._pause),
            (1, self._hand_over),
            (2, self._write_stale),
        ]

    def fall(self, until: float) -> None:
        """One blow after another until then (monotonic seconds)."""
        weights = [weight for weight, _ in self._acts]
        while time.monotonic() < until:
            self._chance.choices([act for _, act in self._acts], weights)[0]()
            pause = self._chance.uniform(0.2, 2.0)
            rest_until = min(until, time.monotonic() + pause)
            while time.monotonic() < rest_until:
                self._do_what_is_due()
                self._world.rest(0.1)

    def cease(self) -> None:
        """Resume what is frozen, restart what is gone, wait for what was asked."""
        for name in self._world.kept:
            self._thaw(name)
        for kept in self._world.kept.values():
            if not kept.kept:
                kept.restart()
        self._later.clear()
        for words, process, out, since in self._asked:
            left = max(1.0, 90 - (time.monotonic() - since))
            try:
                process.wait(left)
            except subprocess.TimeoutExpired:
                self.failures.append(f"tenure {' '.join(words)} did not end")
                self._world.group.end(process)
            self._heard(words, process, out)
        self._asked.clear()

    def _strike(self, what: str, on: str) -> None:
        """Count a fault, and record it for the analysis of a failure."""
        self.figures[what] += 1
        with self._record.open("a") as record:
            record.write(f"{datetime.now(UTC).isoformat()} {what}: {on}\n")

    # -- on processes --------------------------------------------------------------------------
    def _someone(self) -> str:
        # The gateway as often as all the desktops: it is what the claims are about.
        return self._chance.choice(("gateway",) * len(DESKTOPS) + DESKTOPS)

    def _victim(self) -> tuple[str, tuple[int, int] | None]:
        """A living backend: as often as not the owner, else anyone's.

        There are several of a name where supervisors were killed.
        """
        name = self._someone()
        living = self._world.kept[name].living()
        other = self._chance.choice(living) if living else None
        if self._chance.random() < 0.5:
            return "the owner", self.stale.owner() or other
        return name, other

    def _kill_backend(self) -> None:
        name, backend = self._victim()
        if backend is not None and signal_exactly(*backend, signal.SIGKILL):
            self._strike("backends killed", name)

    def _kill_supervisor(self) -> None:
        """The backend lives on, an orphan; the next supervisor starts one more."""
        name = self._someone()
        if self._world.kept[name].signal_supervisor(signal.SIGKILL):
            self._strike("supervisors killed", name)
        self._restart_later(name)

    def _boot_out(self) -> None:
        """All of a name, orphans too: for the gateway this is when the fallback's time comes."""
        name = self._someone()
        self._world.kept[name].boot_out()
        self._strike("booted out", name)
        self._restart_later(name)

    def _restart_later(self, name: str) -> None:
        def restart() -> None:
            if not self._world.kept[name].kept:
                self._world.kept[name].restart()

        self._at(self._chance.uniform(0.5, 10), restart)

    def _freeze(self) -> None:
        name, backend = self._victim()
        seconds = self._chance.uniform(0.2, 5)
        if self._long and self._chance.random() < 0.1:
            seconds = self._chance.uniform(31, 45)
            self._strike("frozen beyond 30 s", name)
        if backend is not None and signal_exactly(*backend, signal.SIGSTOP):
            self._strike("backends frozen", f"{name}, {seconds:.1f} s")
            self._at(seconds, lambda: self._world.resume(backend))

    def _freeze_supervisor(self) -> None:
        kept = self._world.kept[self._someone()]
        if kept.signal_supervisor(signal.SIGSTOP):
            self._strike("supervisors frozen", kept.name)
            self._at(self._chance.uniform(0.5, 5), lambda: kept.signal_supervisor(signal.SIGCONT))

    def _thaw(self, name: str) -> None:
        kept = self._world.kept[name]
        kept.signal_supervisor(signal.SIGCONT)
        for backend in kept.backends():
            self._world.resume(backend)

    # -- by command ----------------------------------------------------------------------------
    def _trigger(self) -> None:
        words = ["trigger", self._chance.choice(list(JOBS))]
        if self._chance.random() < 0.3:
            words.append("--queue")
        elif self._chance.random() < 0.5:
            words.append("--wait")
        self._ask("triggers", words)

    def _edit(self) -> None:
        if self._chance.random() < 0.5:
            words = ["edit", "edited", "--schedule", f"every {self._chance.randint(2, 6)}s"]
        else:
            job = self._chance.choice(list(JOBS))
            words = ["edit", job, "--tag", f"t{self._chance.randrange(1000)}"]
        self._ask("edits", words)

    def _pause(self) -> None:
        job = self._chance.choice(("heartbeat", "edited", "post-digest"))
        self._ask("pauses", ["pause", job])
        self._at(self._chance.uniform(1, 4), lambda: self._ask("resumes", ["resume", job]))

    def _hand_over(self) -> None:
        self._ask("hand-over requests", ["owner", "hand-over"])

    def _write_stale(self) -> None:
        self.figures["stale writes tried"] += self.stale.try_one(self._chance)

    def _ask(self, what: str, words: list[str]) -> None:
        """A command from a random chain; its answer is looked at later."""
        chain = self._chance.choice(_CHAINS)
        self._strike(what, f"{' '.join(words)}, from {chain or 'a shell'}")
        argv, executable = self._world.words_of(*words, chain=chain)
        out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the command has ended
        process = self._world.group.start(
            argv,
            executable=executable,
            env=self._world.environment,
            cwd=self._world.base,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        self._asked.append((words, process, out, time.monotonic()))

    def _heard(self, words: list[str], process: subprocess.Popen[Any], out: IO[str]) -> None:
        self._world.group.forget(process)
        self.figures[f"commands that ended with {process.returncode}"] += 1
        out.seek(0)
        text = out.read()
        out.close()
        if process.returncode not in _EXPECTED_CODES or "Traceback" in text:
            self.failures.append(f"tenure {' '.join(words)}: {process.returncode}: {text[:400]}")

    def _at(self, seconds: float, act: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        due = [act for at, act in self._later if at <= now]
        self._later = [(at, act) for at, act in self._later if at > now]
        for act in due:
            act()
        ended = [entry for entry in self._asked if entry[1].poll() is not None]
        self._asked = [entry for entry in self._asked if entry not in ended]
        for words, process, out, _ in ended:
            self._heard(words, process, out)


def soak(view: View, *, seconds: float, seed: int, keep: bool = False) -> int:
    """Let it run, then judge. 0 if every claim held; else 1, and the folder is kept."""
    view.title(f"Soak: {seconds:.0f} s, seed {seed}")
    try:
        with stage(view, keep=keep) as world:
            _let_run(world, seconds, seed)
    except Violated as problem:
        view.say(f"violated (seed {seed}): {problem}", "red bold")
        return 1
    return 0


def _let_run(world: World, seconds: float, seed: int) -> None:
    write_policy(world, after="2s", more=_SETTINGS)
    for name, (schedule, options, extra) in JOBS.items():
        world.add(name, schedule, *options, extra=extra)
    for name in DESKTOPS:
        world.serve(name, pause=0.5)
    world.serve("gateway", pause=0.5)
    world.wait_for("the gateway to own", lambda: owner_of(world) == "gateway", 60)
    blows = Blows(world, seed, seconds)
    with watching(world, gather=20):
        blows.fall(time.monotonic() + seconds)
        world.view.say("the blows cease; everything is resumed and restarted", "bold")
        blows.cease()
        for job in ("heartbeat", "edited", "post-digest"):
            world.tenure("resume", job)
        world.wait_for("the gateway to own again", lambda: owner_of(world) == "gateway", 90)
        world.rest(4)
        quiesce(world, 90)
    blows.stale.close()
    _judge(world, blows, seed)


def _judge(world: World, blows: Blows, seed: int) -> None:
    verdict = check(world)
    verdict.figures["stale writes tried"] = blows.figures["stale writes tried"]
    for accepted in blows.stale.accepted:
        verdict.violated("stale writes", accepted)
    for failure in blows.failures:
        verdict.violated("command failed", failure)
    audit = world.tenure("audit", "--json")
    document = json.loads(audit.stdout)
    if audit.returncode or not document["clean"]:
        findings = document.get("findings", document)
        verdict.violated("audit", json.dumps(findings, indent=1)[:4000])
    for violation in _tracebacks(world.logs):
        verdict.violated("traceback in a backend's log", violation)
    _report(world, blows, verdict, seed)
    if verdict.violations:
        raise Violated("; ".join(verdict.violations))


def _tracebacks(logs: Path) -> list[str]:
    """Tracebacks in the backends' logs, also of backends that continued."""
    found = []
    for log in sorted(logs.glob("*.log")):
        text = log.read_text(errors="replace")
        at = text.find("Traceback (most recent call last)")
        if at >= 0:
            found.append(f"{log.name}: {text[at : at + 3000]}")
    return found


def _report(world: World, blows: Blows, verdict: Verdict, seed: int) -> None:
    view, f = world.view, verdict.figures
    view.title(f"Seed {seed}")
    view.table(("blow", "count"), [(k, str(v)) for k, v in sorted(blows.figures.items())])
    rows = [(k, str(v)) for k, v in sorted(f.items()) if k not in _CLAIMS]
    view.table(("figure", "count"), rows)
    view.table(("claim: none of these", "count"), [(claim, str(f[claim])) for claim in _CLAIMS])


_CLAIMS = (
    "protected outside the gateway chain",
    "read past the kernel",
    "ran twice",
    "stale writes",
    "two owners",
    "not recorded",
    "recorded, and never ran",
    "said never to have run, and ran",
    "recorded otherwise",
    "left open",
    "not accounted for",
    "accounted for twice",
    "command failed",
    "traceback in a backend's log",
    "audit",
)
