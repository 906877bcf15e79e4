"""A ``tenure dashboard`` of its own process, asked over one kept connection a client."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import kit
from benchmarks.serving import CLI, where

BASE = f"/api/v1/profiles/{kit.PROFILE}"


@dataclass(slots=True)
class Shown:
    """A server of the page and the API: where it listens, its token, its process."""

    port: int
    token: str
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def rss(self) -> float:
        """Resident megabytes (10**6 bytes), as the kernel counts them."""
        return rss(self.pid)

    def times(self, path: str, turns: int) -> list[float]:
        """Milliseconds of each of so many GETs of one client; a few unmeasured ones before."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        took = []
        for turn in range(turns + 5):
            began = time.perf_counter()
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            body = answer.read()
            if turn >= 5:
                took.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}: {body[:200]!r}")
        connection.close()
        return took


@contextmanager
def dashboard(work: Path) -> Iterator[Shown]:
    """``tenure dashboard`` over the home of ``work``, once it listens."""
    home = where(work)[:2]
    process = subprocess.Popen(
        [*CLI, "dashboard", "--port", "0", "--json", *home],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield shown(_document(process)["url"], process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=15)


def _document(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            found: dict[str, str] = json.loads(text)
            return found
    raise RuntimeError("the dashboard ended without a word")


def shown(url: str, pid: int) -> Shown:
    address, _, token = url.partition("token=")
    port = int(address.partition("127.0.0.1:")[2].partition("/")[0])
    return Shown(port=port, token=token, pid=pid)


def rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no VmRSS of {pid}")
