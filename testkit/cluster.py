"""A cluster in one process: several schedulers, one profile, one settable clock, no threads.

Each node is a real :class:`~tenure.runtime.scheduler.Scheduler` on a real profile folder, with
live locks that the kernel holds; what is missing is only its threads. A test moves the clock and
says who looks, so that what happens is a matter of order and not of luck::

    cluster = Cluster(tmp_path)
    gateway = cluster.node("gateway", executable="/opt/gateway")
    cluster.settle()            # everybody looks until nothing changes
    cluster.clock.advance(60)
    gateway.turn()
    cluster.kill(gateway)       # as kill -9: not a word, the kernel frees its lock
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tenure.domain.policy.evidence import ChainLink, Evidence
from tenure.domain.process import ProcessStatus
from tenure.host.processes import observe
from tenure.runtime.dispatch.context import HostProgram
from tenure.runtime.profile import Profile
from tenure.runtime.scheduler import Scheduler
from testkit.clock import ManualClock


class Node:
    """One scheduler of the cluster. Not thread-safe."""

    def __init__(self, name: str, scheduler: Scheduler) -> None:
        self.name = name
        self.scheduler = scheduler
        self.alive = True

    @property
    def id(self) -> str:
        return self.scheduler.member.id

    @property
    def owns(self) -> bool:
        """Whether it believes to own; the store may know better."""
        return self.scheduler.keeper.authority is not None

    @property
    def standing(self) -> ProcessStatus:
        return self.scheduler.profile.store.process(self.id).standing

    @property
    def why(self) -> str:
        return self.scheduler.profile.store.process(self.id).why

    def look(self) -> None:
        """One look of its keeper."""
        self.scheduler.keeper.look()

    def turn(self) -> None:
        """One turn of its dispatcher."""
        self.scheduler.dispatcher.turn()


class Cluster:
    """Nodes on one profile. Close it, or use it in a ``with``."""

    def __init__(self, home: Path, *, toml: str = "", profile: str = "test") -> None:
        self.clock = ManualClock()
        self._home = home
        self._name = profile
        self.profile = self._open()
        if toml:
            self.write_toml(toml)
        self.nodes: list[Node] = []

    def write_toml(self, text: str) -> None:
        """Write profile.toml, as its user would."""
        self.profile.folder.toml.write_text(text)

    def node(
        self,
        name: str,
        *,
        executable: str | None = None,
        role: str | None = None,
        executes: bool = True,
        **program: Any,
    ) -> Node:
        """Join one more scheduler, whose evidence says that it runs ``executable``."""

        def seen(pid: int | None = None, *, now: datetime | None = None) -> Evidence:
            real = observe(pid, now=now)
            if executable is None:
                return real
            me = replace(real.chain[0], executable=executable) if real.chain else ChainLink(pid=0)
            return replace(real, executable=executable, chain=(me, *real.chain[1:]))

        scheduler = Scheduler(
            self._open(),
            HostProgram(**program),
            role=role,
            executes=executes,
            clock=self.clock,
            observe=seen,
        )
        scheduler.keeper.join()
        node = Node(name, scheduler)
        self.nodes.append(node)
        return node

    def settle(self, rounds: int = 4) -> None:
        """Everybody alive looks and takes a turn, ``rounds`` times over."""
        for _ in range(rounds):
            for node in self.nodes:
                if node.alive:
                    node.look()
                    node.turn()

    def owner(self) -> Node | None:
        """The node that the store says owns, dead or alive."""
        process = self.profile.store.ownership().process
        return next((n for n in self.nodes if n.id == process), None)

    def kill(self, node: Node) -> None:
        """It dies without a word: the kernel frees its live lock, and nothing else happens."""
        node.alive = False
        node.scheduler.member.die()

    def close(self) -> None:
        for node in self.nodes:
            node.scheduler.abandon()
        self.profile.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Profile:
        return Profile.open(
            self._name, home=self._home, environ={}, create=True, now=self.clock.now()
        )
