"""``tenure whoami``: what the OS vouches for about this process, and what the policy says of it."""

from __future__ import annotations

import os

import click

from tenure.domain.errors import NotFound
from tenure.domain.evidence import Evidence
from tenure.domain.policy import OPEN, Policy, admit
from tenure.domain.policy_text import make_policy
from tenure.domain.run import ACTIVE
from tenure.host.processes import descends_from, observe
from tenure.runtime.client.documents import evidence_document
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.store.policy_file import read_policy_file
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import Where, now


@click.command(cls=Verb)
@click.option("--pid", type=click.IntRange(1), help="Another process, by its pid.")
@click.option("--role", metavar="ROLE", help="As if it called itself so.")
@click.pass_obj
def whoami(where: Where, pid: int | None, role: str | None) -> int:
    """Show this process's evidence, and whether the profile's policy would admit it.

    The command itself never owns; a scheduler started from here would stand as this one does,
    its own executable excepted.
    """
    evidence = observe(pid, now=now())
    policy, inside, version = OPEN, False, 0
    try:
        with where.open(readonly=True) as profile:
            policy, version = _policy(profile)
            inside = _inside_a_run(profile, evidence)
    except NotFound:
        pass  # before the first job there is nothing to be admitted to, and it is open
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
                "policy_version": version,
            }
        )
        return 0
    word = output.paint("admitted", "green") if found.admitted else output.paint("refused", "red")
    kind = ", authoritative" if found.authoritative else ""
    output.say(f"{word}{kind}: {output.safe(found.why)}")
    if found.remedy:
        output.say(f"→ {output.safe(found.remedy)}")
    output.say()
    _print_evidence(evidence)
    return 0


def _policy(profile: Profile) -> tuple[Policy, int]:
    accepted = profile.policy()
    if accepted.version == 0:
        found = read_policy_file(profile.folder.toml)
        rules = getattr(found, "rules", ())
        if rules:  # nobody has accepted the first rules yet; they will be
            return make_policy(rules, version=1), 0
    return accepted, accepted.version


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
