"""The hosts of this process: one for each adopted Hermes home that it works on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.link import AdoptionLink, read_link
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.replacement import original_of

if TYPE_CHECKING:  # loaded with the first host: most processes of Hermes never need it
    from tenure.adapters.hermes.inside.host import HermesHost

DRAIN_AFTER_RELEASE_S = 3600.0
"""How long active runs may take to report their end when their home is released."""


class HostRegistry:
    """Thread-safe. Each call reads whether the home is adopted: one small file."""

    def __init__(self) -> None:
        self._hosts: dict[HermesHome, HermesHost] = {}
        self._leaving: list[HermesHost] = []
        self._lock = threading.Lock()

    def of(self, home: HermesHome) -> HermesHost | None:
        """None where the home is not adopted: Hermes then works as without Tenure."""
        link = read_link(home)
        with self._lock:
            old = self._hosts.get(home)
            if old is not None and old.link == link:
                return old
            self._hosts.pop(home, None)
            host = None
            if link is not None:
                host = self._hosts[home] = _make_host(link)
        if old is not None:
            self._leave(old)
        return host

    def marked(self, job_id: str, *how: Any) -> None:
        """Hermes has recorded how a run of one of the homes ended."""
        for host in (*list(self._hosts.values()), *self._leaving):
            host.handoff.marked(job_id, *how)

    def _leave(self, host: HermesHost) -> None:
        if not host.handoff.active():
            host.close()
            return
        self._leaving.append(host)
        threading.Thread(
            target=self._close_later, args=(host,), name="tenure-hermes-leaving", daemon=True
        ).start()

    def _close_later(self, host: HermesHost) -> None:
        try:
            host.close(DRAIN_AFTER_RELEASE_S)
        finally:
            self._leaving.remove(host)

    def close(self) -> None:
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            host.close()

    def forget_in_child(self) -> None:
        self._lock = threading.Lock()
        hosts, self._hosts = [*self._hosts.values(), *self._leaving], {}
        self._leaving = []
        for host in hosts:
            host.forget_in_child()


hosts = HostRegistry()


def _make_host(link: AdoptionLink) -> HermesHost:
    """Raises RuntimeError if a part cannot be loaded: then nothing runs."""
    try:
        from tenure.adapters.hermes.inside.host import HermesHost
        from tenure.adapters.hermes.inside.run_handoff import Originals
    except Exception as error:
        why = f"Tenure cannot be loaded here ({type(error).__name__}: {error})"
        raise RuntimeError(f"refused: {why}; run: tenure hermes status") from error
    scheduler = hermes_api.scheduler_module()
    whole = hasattr(scheduler, "run_one_job")
    originals = Originals(
        tick=original_of(scheduler.tick),
        body=original_of(scheduler.run_one_job if whole else scheduler.run_job),
        whole=whole,
    )
    return HermesHost(link, originals)
