"""``tenure owner``, its rules and hand-overs; ``tenure whoami``, how the rules see a process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenure.client import requests
from tenure.client.documents.processes import (
    evidence_document,
    owner_document,
    process_document,
    term_document,
)
from tenure.client.documents.runs import request_document
from tenure.client.health import examine, expected_owner, why_no_owner
from tenure.client.presence import editor, nudge_all, requester
from tenure.client.warnings import policy_warnings_of
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.ownership import HolderLife, Term
from tenure.domain.policy.admission import OPEN, Policy, admit
from tenure.domain.policy.change import PolicyProblem, policy_in_force
from tenure.domain.policy.conditions import is_interpreter
from tenure.domain.policy.evidence import Evidence
from tenure.domain.policy.text import make_policy
from tenure.domain.run import ACTIVE
from tenure.domain.warnings import ProfileWarning
from tenure.host.processes import descends_from, observe
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import YES, Verb, VerbGroup, Where, now
from tenure.surfaces.cli.output import when

if TYPE_CHECKING:
    from tenure.client.force_takeover import Deposed


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.option(
    "-n", "--limit", type=click.IntRange(0, 1000), default=5, show_default=True, metavar="N",
    help="Number of terms to show.",
)  # fmt: skip
@click.pass_context
def owner(context: click.Context, limit: int) -> None:
    """Show the owner, the rule that admits it, when it became owner, and earlier terms."""
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Where), limit)


def _show(where: Where, limit: int) -> None:
    at, zone = now(), "UTC"
    terms: Sequence[Term] = ()
    new_profile = where.new_profile()
    if new_profile is not None:
        health = new_profile.health()
    else:
        with where.open(readonly=True) as profile:
            health = examine(profile, at)
            terms = profile.store.terms(limit=limit) if limit else ()
            zone = profile.timezone()
    holder = health.owner
    if where.json:
        output.print_json(
            {
                "owner": owner_document(health.ownership),
                "life": str(holder.life) if holder else None,
                "process": process_document(holder.process) if holder else None,
                "terms": [term_document(term) for term in terms],
            }
        )
        return
    if holder is None:
        output.say(f"{output.paint('no owner', 'red')}: {output.safe(why_no_owner(health))}")
        output.say(f"expected owner: {expected_owner(health.policy)}")
    else:
        current, process = health.ownership, holder.process
        alive = "" if holder.life is HolderLife.ALIVE else f" ({holder.life})"
        output.facts(
            [
                ("owner", f"pid {process.pid}{alive}, {process.id}"),
                ("role", process.role),
                ("program", process.evidence.executable),
                ("term", current.term),
                ("rule", "none (no owner rules)" if current.rule is None else current.rule + 1),
                ("authoritative", "yes" if current.authoritative else "no"),
                ("since", when(current.since, zone, at)),
                ("why", output.safe(process.why)),
            ]
        )
    if terms:
        output.say()
        rows = [
            [
                term.term,
                term.process,
                "-" if term.rule is None else term.rule + 1,
                when(term.taken_at, zone, at),
                term.how,
                when(term.ended_at, zone, at) if term.ended_at else "current",
                term.ended_why or "-",
            ]
            for term in terms
        ]
        output.table(["term", "process", "rule", "taken", "how", "ended", "why"], rows)


@owner.command(short_help="Show, accept or clear the owner rules.")
@click.option("--accept", is_flag=True, help="Accept the rules in profile.toml now.")
@click.option(
    "--clear", is_flag=True, help="Remove all rules: any of your processes may become owner."
)
@YES
@click.pass_obj
def policy(where: Where, accept: bool, clear: bool, yes: bool) -> int:
    """Show the owner rules, possible problems, and changes that are not accepted yet."""
    if accept and clear:
        raise InvalidInput("--accept and --clear cannot be combined", field="clear")
    new_profile = where.new_profile()
    if new_profile is not None and not (accept or clear):
        return _show_policy(
            where, new_profile.policy, list(new_profile.warnings()), new_profile.folder.toml
        )
    with where.open(readonly=not (accept or clear), warns=False) as profile:
        by = editor("tenure owner policy")
        if clear:
            _clear(profile, by, yes)
        if accept:
            _accept(profile, by)
        if accept or clear:
            nudge_all(profile, "policy")
        accepted = profile.policy()
        warnings = policy_warnings_of(profile, accepted)
        # People see also what is not accepted yet.
        if not where.json:
            accepted = policy_in_force(accepted, profile.policy_file())
        return _show_policy(where, accepted, warnings, profile.folder.toml)


def _accept(profile: Profile, by: str) -> None:
    file = profile.policy_file()
    if isinstance(file, PolicyProblem):
        raise InvalidInput(file.text, field=file.field or "profile.toml", remedy=file.remedy)
    if not file.rules and not profile.store.policy().open:
        raise InvalidInput(
            "profile.toml has no [[owner]] rule",
            field="owner",
            remedy="write the rules, or remove them all with `tenure owner policy --clear`",
        )
    profile.refresh_policy(by, now())


def _clear(profile: Profile, by: str, yes: bool) -> None:
    file = profile.policy_file()
    if isinstance(file, PolicyProblem) and file.wrong:
        raise InvalidInput(
            f"{file.text}; its rules would take effect again once it can be read",
            field="profile.toml",
            remedy=f"{file.remedy}; or remove the file first (Tenure never changes it)",
        )
    if not isinstance(file, PolicyProblem) and file.rules:
        raise InvalidInput(
            f"profile.toml still has {len(file.rules)} owner rules, which would be accepted again",
            field="owner",
            remedy=f"remove them from {profile.folder.toml} first (Tenure never changes the file)",
        )
    if profile.store.policy().version and profile.store.policy().open:
        return
    output.confirm(
        "Remove all owner rules, so that any of your processes may become owner and protected "
        "jobs are held?",
        yes=yes,
    )
    version = profile.store.policy().version + 1
    profile.store.accept_policy(make_policy((), version=version), by, now())


def _show_policy(where: Where, accepted: Policy, warnings: list[ProfileWarning], toml: Path) -> int:
    if where.json:
        output.print_json(
            {
                "version": accepted.version,
                "open": accepted.open,
                "text": accepted.text,
                "hash": accepted.hash,
                "rules": [
                    {
                        "number": rule.number,
                        "words": rule.describe(),
                        "refuse": rule.refuse,
                        "authoritative": rule.authoritative,
                        "after": rule.after.total_seconds(),
                    }
                    for rule in accepted.rules
                ],
                "warnings": output.warning_documents(warnings),
            }
        )
        return 1 if warnings else 0
    if accepted.closed:
        output.say("no process can become owner: no owner rules were ever accepted, and those in")
        output.say(f"{output.safe(toml)} cannot be read")
    elif accepted.open:
        output.say("no owner rules: any of your processes may become owner (first come, first")
        output.say("served); protected jobs won't run")
        output.say(f"→ write rules in {output.safe(toml)}, for example:")
        output.say("    [[owner]]")
        output.say('    service = "NAME"        # `tenure whoami` shows the values to use')
    else:
        if accepted.version:
            output.say(
                f"version {accepted.version}; rules apply from the top, and the first match decides"
            )
        else:
            output.say("no owner rules are in force yet; profile.toml has these:")
        for rule in accepted.rules:
            output.say(f"  {output.safe(rule.describe())}")
    for warning in warnings:
        output.warn(f"{warning.code}: {warning.text}", warning.remedy)
    return 1 if warnings else 0


@owner.command("hand-over")
@click.option(
    "--to", metavar="PROCESS", help="Id or pid of the candidate (default: the best candidate)."
)
@click.pass_obj
def hand_over(where: Where, to: str | None) -> None:
    """Ask the owner to hand over to a candidate."""
    with where.open() as profile:
        by = requester("tenure owner hand-over")
        request = requests.hand_over(profile, by=by, to=to or None)
    done = output.safe(request.answer or "the owner is handing over")
    where.answer({"request": request_document(request)}, done)


@owner.command(short_help="Take the ownership from a hung owner.")
@click.option("--force", is_flag=True, help="Even if the owner is alive and working.")
@click.option("--kill", is_flag=True, help="Kill a hung owner after checking its identity.")
@click.pass_obj
def take(where: Where, force: bool, kill: bool) -> None:
    """Take the ownership from a hung owner, for the best candidate.

    This command cannot become owner: it ends the term, which fences the old owner, and a
    candidate takes the next term.
    """
    from tenure.client import force_takeover

    with where.open() as profile:
        by = editor("tenure owner take")
        done = force_takeover.take(profile, by=by, now=now(), force=force, kill=kill)
    _report(where, done)


@owner.command()
@click.pass_obj
def release(where: Where) -> None:
    """End the term, so that the best candidate takes over.

    The owner takes it again if no other process may become owner.
    """
    from tenure.client import force_takeover

    with where.open() as profile:
        done = force_takeover.release(profile, by=editor("tenure owner release"), now=now())
    _report(where, done)


def _report(where: Where, done: Deposed) -> None:
    expected = done.candidate
    lines = [] if done.killed is None else [f"killed pid {done.killed}"]
    lines.append(f"term {done.term} is over" if done.term else "no process owned the profile")
    if done.owner is not None:
        lines.append(
            f"pid {done.owner.pid} ({done.owner.id}) is now the owner, term {done.new_term}"
        )
        if expected is not None and expected.id != done.owner.id:
            lines.append(
                f"pid {expected.pid} ({expected.id}) had precedence, but did not take over"
            )
    elif expected is not None:
        lines.append(
            f"no process has taken over yet; pid {expected.pid} ({expected.id}) has precedence"
        )
    else:
        lines.append("no candidate can take over now; start a process that the rules admit")
    where.answer(
        {
            "ended_term": done.term,
            "killed": done.killed,
            "candidate": expected.id if expected else None,
            "owner": done.owner.id if done.owner else None,
            "term": done.new_term,
        },
        *lines,
    )


# -- whoami ---------------------------------------------------------------------------------------
@click.command(cls=Verb)
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="Show this process instead.")
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
        new_profile = where.new_profile()
        if new_profile is not None:
            policy = new_profile.policy
    admission = admit(policy, evidence, role=role, me_uid=os.geteuid(), inside_run=inside)
    rule = admission.rule
    if where.json:
        output.print_json(
            {
                "evidence": evidence_document(evidence),
                "admitted": admission.admitted,
                "authoritative": admission.authoritative,
                "attested": admission.attested,
                "rule": rule.number if rule else None,
                "after": admission.after.total_seconds(),
                "why": admission.why,
                "remedy": admission.remedy or None,
                "policy_version": policy.version,
            }
        )
        return 0
    word = (
        output.paint("admitted", "green") if admission.admitted else output.paint("refused", "red")
    )
    kind = ", authoritative" if admission.authoritative else ""
    output.say(f"{word}{kind}: {output.safe(admission.why)}")
    if admission.remedy:
        output.say(f"→ {output.safe(admission.remedy)}")
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
            (
                "executable",
                f"{evidence.executable} (an interpreter)"
                if evidence.executable and is_interpreter(evidence.executable)
                else evidence.executable,
            ),
            ("started as", evidence.executable_as_run),
            ("service", f"{service.manager}:{service.name}" if service else "none"),
            ("app", evidence.app),
            ("cgroup", evidence.cgroup),
            ("groups", ", ".join(map(str, evidence.groups)) or None),
            ("init", "yes" if evidence.init else None),
            ("responsible", evidence.responsible_pid),
            ("signature", evidence.signature),
            ("locks", ", ".join(evidence.locks) or None),
            ("confined by", ", ".join(evidence.confinement) or None),
            ("host", evidence.hostname or None),
            ("unknown", ", ".join(sorted(evidence.unknown)) or "none"),
        ]
    )
    output.say("chain")
    for depth, link in enumerate(evidence.chain):
        output.say(
            f"  {'  ' * depth}{link.pid}  {output.safe(link.name or '?')}  "
            f"{output.paint(output.safe(link.executable or '?'), 'dim')}"
        )
