"""What launchd knows of coalitions, each asked for once.

The kernel's coalition id is the proof: a process cannot leave its coalition, and no id is used
twice within a boot. So the name of a coalition does not change, and a call of ``launchctl`` that
fails or takes long later on takes nothing away that is known.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from tenure.domain.policy.evidence import Manager, Service
from tenure.host.macos import answers, calls

_ASK_AGAIN_AFTER_S = 5.0
"""Seconds between two calls for the same unanswered question: one that hangs takes two seconds,
and an owner asks before each claim."""
_CHECK_AGAIN_AFTER_S = 60.0
"""The same for whether launchd started the process, which only adds to what is known."""
_MOST_UNANSWERED = 256


class Launchd:
    """Thread-safe, and valid in a forked child: it holds no lock, and threads that ask at once
    only repeat a call."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._jobs: dict[int, int] = {}
        self._asked: dict[str, float] = {}

    def coalition_name(self, pid: int, coalition: int | None) -> str | None:
        """The name of the coalition that ``pid`` is in; None if it is not known yet."""
        if coalition is None:
            return None
        target = f"pid/{pid}"
        if coalition not in self._names and self._may_ask(target, _ASK_AGAIN_AFTER_S):
            text = calls.launchctl_print(target)
            name = answers.parse_coalition_name(text, coalition)
            if name is not None:
                self._names[coalition] = name
        return self._names.get(coalition)

    def service(
        self, label: str, coalition: int, pids: Collection[int], uid: int | None
    ) -> Service:
        """The service of a coalition; ``pids``: a process of it and the processes above it.

        Any process of the user can load a job of the same label into another domain. So the
        service is attested only if the system's or the login session's job of this label is one
        of these processes.
        """
        domains = ["system"] if uid is None else ["system", f"gui/{uid}"]
        if self._jobs.get(coalition) not in pids:
            self._find_job(coalition, [f"{domain}/{label}" for domain in domains])
        job = self._jobs.get(coalition)
        attested = job in pids and coalition_of(job) == coalition
        return Service(name=label, manager=Manager.LAUNCHD, attested=attested)

    def _find_job(self, coalition: int, targets: Iterable[str]) -> None:
        for target in targets:
            if self._may_ask(f"{coalition} {target}", _CHECK_AGAIN_AFTER_S):
                job = answers.parse_job_pid(calls.launchctl_print(target))
                if job is not None and coalition_of(job) == coalition:
                    self._jobs[coalition] = job
                    return

    def _may_ask(self, question: str, interval_s: float) -> bool:
        now = time.monotonic()
        asked = self._asked.get(question)
        if asked is not None and now - asked < interval_s:
            return False
        if len(self._asked) >= _MOST_UNANSWERED:
            self._asked.clear()
        self._asked[question] = now
        return True


def coalition_of(pid: int | None) -> int | None:
    """The kernel's id of the coalition that a process is in."""
    if pid is None:
        return None
    return answers.parse_coalition(calls.pid_info(pid, calls.COALITIONS, answers.COALITION_SIZE))
