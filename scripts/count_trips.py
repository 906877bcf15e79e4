"""How far one action travels through the code: modules entered, moves between modules, calls.

    count_trips.py            the table of docs/architecture.md, measured in a temporary home

Each action runs once before it is counted, so that what is loaded and cached once is not part of
it; a command line is a fresh process, so it includes opening the profile. Counted are calls of
named functions of the package, by ``sys.setprofile``, in every thread of the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

DEADLINE_S = 60.0


class Trip:
    """Counts between ``start`` and ``stop``: all threads, one, or all but one."""

    def __init__(self, only: int | None = None, but: int | None = None) -> None:
        self.only, self.but = only, but
        self.modules: dict[str, int] = {}
        self.functions: set[tuple[str, str]] = set()
        self.moves = 0
        self._last: dict[int, str] = {}
        self._counting = False

    def __call__(self, frame: object, event: str, argument: object) -> None:
        if event != "call" or not self._counting:
            return
        code = frame.f_code  # type: ignore[attr-defined]
        _, found, module = code.co_filename.partition("/src/tenure/")
        thread = threading.get_ident()
        if not found or "<" in code.co_qualname.rpartition(".")[2]:
            return
        if self.only not in (None, thread) or thread == self.but:
            return
        self.modules[module] = self.modules.get(module, 0) + 1
        self.functions.add((module, code.co_qualname))
        if self._last.get(thread) != module:
            self._last[thread] = module
            self.moves += 1

    def start(self) -> None:
        self._counting = True

    def stop(self, name: str) -> None:
        self._counting = False
        calls = sum(self.modules.values())
        print(f"| {name} | {len(self.modules)} | {self.moves} | {len(self.functions)} | {calls} |")
        if os.environ.get("TRIPS_MODULES"):
            print("  ", " ".join(self.modules))


def count(name: str, act: Callable[[], object], *, everywhere: bool = False) -> None:
    """Count one action, the second time that it runs."""
    act()
    time.sleep(0.5)  # the owner's threads are idle again
    trip = Trip(None if everywhere else threading.get_ident())
    sys.setprofile(trip)
    PROFILED[0] = trip
    trip.start()
    act()
    trip.stop(name)
    sys.setprofile(None)
    PROFILED[0] = None


PROFILED: list[Trip | None] = [None]


def _profile_thread(frame: object, event: str, argument: object) -> None:
    trip = PROFILED[0]
    if trip is not None:
        trip(frame, event, argument)


def count_in_owner() -> None:
    """Actions beside a settled owner in this process."""
    from tenure import Tenure
    from tenure.client.status import read_status, status_document
    from tenure.runtime.profile import Profile

    threading.setprofile(_profile_thread)
    owner = Tenure("trips")
    owner.add("hello", "every 1h", ["true"])
    owner.start()
    until = time.monotonic() + DEADLINE_S
    while not owner.owns and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)
    observer = Tenure("trips", execute=False)
    profile = Profile.open("trips", create=False, now=datetime.now(UTC))
    count("trigger, the side that asks", lambda: observer.trigger("hello"))
    time.sleep(1.0)
    count(
        "trigger, both sides, to the run's end",
        lambda: observer.trigger("hello", wait=DEADLINE_S),
        everywhere=True,
    )
    count("status document", lambda: status_document(read_status(profile, datetime.now(UTC))))
    observer.add("soon", "every 2s", ["true"])

    def ended() -> str | None:
        return next((run.id for run in observer.runs("soon", limit=2) if run.finished_at), None)

    def fire() -> None:
        before = ended()
        while ended() == before:
            time.sleep(0.02)

    fire()
    trip = Trip(but=threading.get_ident())
    PROFILED[0] = trip
    trip.start()
    fire()
    trip.stop("one fire in a settled owner")
    PROFILED[0] = None
    owner.stop()
    profile.close()


def count_page() -> None:
    """One edit of a job on the page: the form, a preview as it is typed, and the save."""
    import re
    from pathlib import Path

    from starlette.testclient import TestClient

    from tenure.surfaces.web.app import create_app
    from tenure.surfaces.web.site import Site
    from tenure.surfaces.web.tokens import Tokens

    tokens = Tokens.in_memory()
    app = create_app(Site(Path(os.environ["TENURE_HOME"]), tokens))
    hidden = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')
    hours = iter(range(24))
    origin = "http://127.0.0.1"
    with TestClient(app, base_url=origin, headers={"origin": origin}) as client:
        client.get("/", params={"token": tokens.pair.full})

        def edit() -> None:
            text = client.get("/p/trips/jobs/hello/edit").text
            form = dict(hidden.findall(text)) | {"name": "hello", "command": "true", "tz": "UTC"}
            form |= {"dst": "cron", "overlap": "skip", "schedule": f"0 {next(hours)} * * *"}
            client.get("/p/trips/jobs/preview", params=form)
            saved = client.post("/p/trips/jobs/hello/edit", data=form, follow_redirects=False)
            assert saved.headers["location"].endswith("?done=edited"), saved.text

        count("one job edit on the page: form, preview, save", edit, everywhere=True)


def count_command(name: str, arguments: list[str]) -> None:
    """A command line in a fresh process."""
    subprocess.run([sys.executable, __file__, "--command", name, *arguments], check=False)


def command(name: str, arguments: list[str]) -> int:
    import tenure.surfaces.cli.main as cli

    trip = Trip()
    sys.setprofile(trip)
    trip.start()
    sys.stdout, printed = open(os.devnull, "w"), sys.stdout  # noqa: SIM115
    try:
        code = cli.main(arguments)
    finally:
        sys.setprofile(None)
        sys.stdout = printed
    trip.stop(f"{name} (exit code {code})")
    return 0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--command"]:
        return command(arguments[1], arguments[2:])
    with tempfile.TemporaryDirectory() as home:
        os.environ["TENURE_HOME"] = home
        print("| trip | modules | moves | functions | calls |\n|---|---|---|---|---|")
        count_in_owner()
        count_page()
        serve = subprocess.Popen(
            [sys.executable, "-m", "tenure", "--profile", "trips", "serve"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(3.0)
            count_command("`tenure status`", ["status", "--profile", "trips"])
            waiting = ["trigger", "--profile", "trips", "hello", "--wait"]
            count_command("`tenure trigger --wait`", waiting)
        finally:
            serve.terminate()
            serve.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
