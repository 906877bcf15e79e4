"""Why a request cannot be answered: the expected owner, why there is none, what to do (C7).

A refusal must say what to do next. It is composed here, from the owner policy and from the
standing of each process of the profile.
"""

from __future__ import annotations

from tenure.client.health import Health
from tenure.domain.errors import Refused
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.evidence import Manager
from tenure.domain.policy.rule import Rule
from tenure.domain.process import Activity, Process


def expected_owner(policy: Policy) -> str:
    """The policy in one sentence."""
    if policy.closed:
        return f"unknown: no owner rules were ever accepted, and {policy.unread}"
    if policy.open:
        return "any of your processes: the profile has no owner rules"
    admitting = [rule.describe() for rule in policy.rules if not rule.refuse]
    if not admitting:
        return "none: every rule refuses"
    return "; ".join(admitting)


def why_no_owner(health: Health) -> str:
    """What became of the last owner, and why each process that is present does not own."""
    if health.problem is not None:
        return health.problem.text
    reasons = []
    owner = health.owner
    if owner is not None and owner.life is HolderLife.DEAD:
        reasons.append(f"the owner (pid {owner.process.pid}) is dead")
    others = [p.process for p in health.present if p is not owner and p.process.executes]
    alike: dict[tuple[str, str], list[str]] = {}
    for p in others:
        alike.setdefault((str(p.standing), p.why), []).append(f"pid {p.pid}{_role(p)}")
    reasons += [
        f"{', '.join(who)} {'is' if len(who) == 1 else 'are each'} {standing}: {why}"
        for (standing, why), who in alike.items()
    ]
    if not others:
        reasons.append("no scheduler process is running")
    return "; ".join(reasons)


def next_command(health: Health, profile: str, *, asking: bool = False) -> str:
    """The remedy; ``asking`` where a request could also be left for the owner."""
    name = "" if profile == "default" else f" --profile {profile}"
    queue = "; or ask with --queue to leave it for the owner" if asking else ""
    if health.problem is not None:
        return health.problem.remedy
    if health.policy.closed:
        return f"{health.policy.remedy}{queue}"
    if health.candidates():
        return f"wait for a candidate to take over: `tenure status{name}` says why it waits{queue}"
    if health.start is not None:
        return f"start it: `{health.start}`{queue}"
    best = next((rule for rule in health.policy.rules if not rule.refuse), None)
    serve = f"tenure serve{name}"
    if health.app is not None and best is None and not health.policy.rules:
        return f"start the app {health.app}, or `{serve} --app PKG.MOD:NAME` that carries it{queue}"
    if health.policy.rules and best is None:
        return f"correct the rules in profile.toml: each of them refuses{queue}"
    return f"{_start(best, serve)}{queue}"


def _start(rule: Rule | None, serve: str) -> str:
    """How to start a process that this rule admits; ``serve`` in a shell would do for few."""
    if rule is None or not set(rule.conditions()) - {"user", "host"}:
        return f"start `{serve}`"
    if rule.service is not None:
        command = _STARTING.get(rule.manager) if rule.manager else None
        start = f"start the service {rule.service}"
        return start if command is None else f"{start}: `{command.format(rule.service)}`"
    program = rule.executable or rule.ancestor
    if program is not None:
        where = "in it or under it" if rule.ancestor is None else "under it"
        return f"start {program}; `{serve}` is admitted only {where}"
    asked = " and ".join(rule.asks(key) for key in rule.conditions())
    return f"start the process that rule {rule.number} asks for: {asked}"


_STARTING = {
    Manager.SYSTEMD_SYSTEM: "systemctl start {}",
    Manager.SYSTEMD_USER: "systemctl --user start {}",
    Manager.LAUNCHD: "launchctl kickstart gui/$UID/{}",
    Manager.WINDOWS: "sc start {}",
}


def no_owner(health: Health, profile: str, action: str = "run it") -> Refused:
    """The refusal of an action. Facts: ``should_own`` and ``processes``."""
    return Refused(
        f"can't {action}: profile {profile!r} has no owner: {why_no_owner(health)}. "
        f"Expected owner: {expected_owner(health.policy)}",
        remedy=next_command(health, profile, asking=True),
        should_own=expected_owner(health.policy),
        processes=[
            {
                "id": p.process.id,
                "pid": p.process.pid,
                "standing": str(p.process.standing),
                "why": p.process.why,
            }
            for p in health.present
        ],
    )


def owner_halted(health: Health, profile: str, action: str) -> Refused:
    """The refusal of a request to an owner that is stopped or frozen. Facts as of
    :func:`no_owner`."""
    error = no_owner(health, profile, action)
    return Refused(
        f"{what_is_halted(health)}, so it answers no requests",
        remedy=f"{how_to_continue(health, profile)}; or ask with --queue to leave it for the owner",
        **error.facts,
    )


def what_is_halted(health: Health) -> str:
    """A clause that names the owner, and why it does nothing."""
    assert health.owner is not None
    frozen = health.owner.activity is Activity.FROZEN
    why = "is frozen with its cgroup" if frozen else "is stopped by a signal or a debugger"
    return f"the owner (pid {health.owner.process.pid}) {why}"


def how_to_continue(health: Health, profile: str) -> str:
    """What continues a halted owner, or puts another in its place."""
    assert health.owner is not None
    pid = health.owner.process.pid
    name = "" if profile == "default" else f" --profile {profile}"
    lets = f"`kill -CONT {pid}` continues it"
    if health.owner.activity is Activity.FROZEN:
        lets = "unpause its container, or thaw its cgroup"
    if health.candidates():
        return f"{lets}; `tenure owner take{name}` gives the ownership to the best candidate"
    return lets


def _role(process: Process) -> str:
    return f" ({process.role})" if process.role else ""
