"""``tenure whoami``: what the OS vouches for about this process, and what the policy says of it."""

from __future__ import annotations

import os

import click

from tenure.client.documents.processes import evidence_document
from tenure.domain.errors import NotFound
from tenure.domain.policy.admission import OPEN, admit
from tenure.domain.policy.change import policy_in_force
from tenure.domain.policy.evidence import Evidence
from tenure.domain.run import ACTIVE
from tenure.host.processes import descends_from, observe
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where, now


@click.command(cls=Verb)
@click.option("--pid", type=click.IntRange(1), help="Another process, by its pid.")
@click.option("--role", metavar="ROLE", help="Assume that the process states this role.")
@click.pass_obj
def whoami(where: Where, pid: int | None, role: str | None) -> int:
    """Show this process's evidence, and whether the owner rules would admit it.

    This command never becomes owner. A scheduler started from here would be classified in the
    same way, except for its executable.
    """
    evidence = observe(pid, now=now())
    policy, inside, made = OPEN, False, True
    try:
        with where.open(readonly=True) as profile:
            # Rules that were not accepted yet will be, before a process can own.
            policy = policy_in_force(profile.policy(), profile.policy_file())
            inside = _inside_a_run(profile, evidence)
    except NotFound:
        made = False
        unmade = where.unmade()
        if unmade is not None:
            policy = unmade.policy
    found = admit(policy, evidence, role=role, me_uid=os.geteuid(), inside_run=inside)
    rule = found.rule
    if where.json:
        output.print_json(
            {
                "evidence": evidence_document(evidence),
                "admitted": found.admitted,
                "authoritative": found.authoritative,
                "attested": found.attested,
                "rule": rule.number if rule else None,
                "after": found.after.total_seconds(),
                "why": found.why,
                "remedy": found.remedy or None,
                "policy_version": policy.version,
            }
        )
        return 0
    word = output.paint("admitted", "green") if found.admitted else output.paint("refused", "red")
    kind = ", authoritative" if found.authoritative else ""
    output.say(f"{word}{kind}: {output.safe(found.why)}")
    if found.remedy:
        output.say(f"→ {output.safe(found.remedy)}")
    if not made:
        output.say(f"profile {where.name} has no database yet; `tenure add` creates it")
    output.say()
    _print_evidence(evidence)
    return 0


def _inside_a_run(profile: Profile, evidence: Evidence) -> bool:
    runs, _ = profile.store.runs(RunFilter(states=ACTIVE), Page(limit=1000))
    return any(
        run.identity is not None and descends_from(evidence.identity.pid, run.identity)
        for run in runs
    )


def _print_evidence(evidence: Evidence) -> None:
    service = evidence.service
    output.facts(
        [
            ("pid", evidence.identity.pid),
            ("boot", evidence.identity.boot_id or None),
            ("user", f"{evidence.user} (uid {evidence.uid})"),
            ("executable", evidence.executable),
            ("started as", evidence.executable_as_run),
            ("service", f"{service.manager}:{service.name}" if service else "none"),
            ("cgroup", evidence.cgroup),
            ("groups", ", ".join(map(str, evidence.groups)) or None),
            ("init", "yes" if evidence.init else None),
            ("responsible", evidence.responsible_pid),
            ("signature", evidence.signature),
            ("locks", ", ".join(evidence.locks) or None),
            ("confined by", ", ".join(evidence.confinement) or None),
            ("host", evidence.hostname or None),
            ("unknown", ", ".join(sorted(evidence.unknown)) or "nothing"),
        ]
    )
    output.say("chain")
    for depth, link in enumerate(evidence.chain):
        output.say(
            f"  {'  ' * depth}{link.pid}  {output.safe(link.name or '?')}  "
            f"{output.paint(output.safe(link.executable or '?'), 'dim')}"
        )
