"""``tenure owner``: who owns, the policy, and passing the ownership on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tenure.client import force_takeover, requests
from tenure.client.documents.processes import owner_document, process_document, term_document
from tenure.client.documents.runs import request_document
from tenure.client.health import examine, expected_owner, why_no_owner
from tenure.client.presence import editor, nudge_all, requester
from tenure.client.warnings import policy_warnings_of
from tenure.domain.errors import InvalidInput
from tenure.domain.ownership import HolderLife, Term
from tenure.domain.policy.admission import Policy
from tenure.domain.policy.change import PolicyProblem, policy_in_force
from tenure.domain.policy.text import make_policy
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import VerbGroup, Where, now
from tenure.surfaces.cli.output import when


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.option(
    "-n", "--limit", type=click.IntRange(0, 1000), default=5, help="Number of terms to show."
)
@click.pass_context
def owner(context: click.Context, limit: int) -> None:
    """Show the owner, its rule, since when it owns, and earlier terms."""
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Where), limit)


def _show(where: Where, limit: int) -> None:
    at, zone = now(), "UTC"
    terms: Sequence[Term] = ()
    unmade = where.unmade()
    if unmade is not None:
        health = unmade.health()
    else:
        with where.open(readonly=True) as profile:
            health = examine(profile, at)
            terms = profile.store.terms(limit=limit) if limit else ()
            zone = profile.timezone()
    found = health.owner
    if where.json:
        output.print_json(
            {
                "owner": owner_document(health.ownership),
                "life": str(found.life) if found else None,
                "process": process_document(found.process) if found else None,
                "terms": [term_document(term) for term in terms],
            }
        )
        return
    if found is None:
        output.say(f"{output.paint('no owner', 'red')}: {output.safe(why_no_owner(health))}")
        output.say(f"expected owner: {expected_owner(health.policy)}")
    else:
        current = health.ownership
        alive = "" if found.life is HolderLife.ALIVE else f" ({found.life})"
        output.facts(
            [
                ("owner", f"pid {found.process.pid}{alive}, {found.process.id}"),
                ("role", found.process.role),
                ("program", found.process.evidence.executable),
                ("term", current.term),
                ("rule", "open policy" if current.rule is None else current.rule + 1),
                ("authoritative", "yes" if current.authoritative else "no"),
                ("since", when(current.since, zone, at)),
                ("why", output.safe(found.process.why)),
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
                when(term.ended_at, zone, at) if term.ended_at else "lasts",
                term.ended_why or "-",
            ]
            for term in terms
        ]
        output.table(["term", "process", "rule", "taken", "how", "ended", "why"], rows)


@owner.command()
@click.option("--accept", is_flag=True, help="Accept what profile.toml says now.")
@click.option("--clear", is_flag=True, help="Remove every rule: any process may own.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def policy(where: Where, accept: bool, clear: bool, yes: bool) -> int:
    """Show the owner rules, possible problems, and changes that are not accepted yet."""
    if accept and clear:
        raise InvalidInput("--accept and --clear cannot be combined", field="clear")
    unmade = where.unmade()
    if unmade is not None and not (accept or clear):
        return _show_policy(where, unmade.policy, list(unmade.warnings()), unmade.folder.toml)
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
        if not where.json:  # people see also what is not accepted yet
            accepted = policy_in_force(accepted, profile.policy_file())
        return _show_policy(where, accepted, warnings, profile.folder.toml)


def _accept(profile: Profile, by: str) -> None:
    found = profile.policy_file()
    if isinstance(found, PolicyProblem):
        raise InvalidInput(found.text, field=found.field or "profile.toml", remedy=found.remedy)
    if not found.rules and not profile.store.policy().open:
        raise InvalidInput(
            "profile.toml has no [[owner]] rule",
            field="owner",
            remedy="write the rules, or remove them all with `tenure owner policy --clear`",
        )
    profile.refresh_policy(by, now())


def _clear(profile: Profile, by: str, yes: bool) -> None:
    found = profile.policy_file()
    if isinstance(found, PolicyProblem) and found.wrong:
        raise InvalidInput(
            f"{found.text}; the rules in it would count again once it can be read",
            field="profile.toml",
            remedy=f"{found.remedy}, or remove it first; the file is yours",
        )
    if not isinstance(found, PolicyProblem) and found.rules:
        raise InvalidInput(
            f"profile.toml still has {len(found.rules)} owner rules, which would be accepted again",
            field="owner",
            remedy=f"remove them from {profile.folder.toml} first; the file is yours",
        )
    if profile.store.policy().version and profile.store.policy().open:
        return
    output.confirm(
        "Any process of this user may then become owner, and protected jobs are held.", yes=yes
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
                "warnings": [
                    {"code": w.code, "text": w.text, "remedy": w.remedy} for w in warnings
                ],
            }
        )
        return 1 if warnings else 0
    if accepted.closed:
        output.say("no process can become owner: no owner rules were ever accepted, and those in")
        output.say(f"{output.safe(toml)} cannot be read")
    elif accepted.open:
        output.say(
            "no owner rules: any process of this user may become owner; protected jobs won't run"
        )
        output.say(f"→ write rules in {output.safe(toml)}, for example:")
        output.say(
            '    [[owner]]\n    service = "NAME"        # `tenure whoami` shows what is seen'
        )
    else:
        if accepted.version:
            output.say(f"version {accepted.version}, read from the top, the first match wins")
        else:
            output.say("no owner rules are in force yet; profile.toml has these:")
        for rule in accepted.rules:
            output.say(f"  {output.safe(rule.describe())}")
    for warning in warnings:
        output.warn(f"{warning.code}: {warning.text}", warning.remedy)
    return 1 if warnings else 0


@owner.command("hand-over")
@click.option("--to", metavar="PROCESS", help="Id or pid of the candidate (the best).")
@click.pass_obj
def hand_over(where: Where, to: str | None) -> None:
    """Ask the owner to hand over to a candidate."""
    with where.open() as profile:
        by = requester("tenure owner hand-over")
        request = requests.hand_over(profile, by=by, to=to or None)
    if where.json:
        output.print_json({"request": request_document(request)})
    else:
        output.say(output.safe(request.answer or "the owner hands over"))


@owner.command()
@click.option("--force", is_flag=True, help="Also from an owner that is alive and working.")
@click.option("--kill", is_flag=True, help="Kill a hung owner after checking its identity.")
@click.pass_obj
def take(where: Where, force: bool, kill: bool) -> None:
    """Take the ownership from a hung owner, for the best candidate.

    This command cannot become owner: it ends the term, which fences the old owner, and a
    candidate takes the next term.
    """
    with where.open() as profile:
        done = force_takeover.take(
            profile, by=editor("tenure owner take"), now=now(), force=force, kill=kill
        )
    _report(where, done)


@owner.command()
@click.pass_obj
def release(where: Where) -> None:
    """End the term, so that the best candidate takes over.

    The owner takes it again if no other process may own.
    """
    with where.open() as profile:
        done = force_takeover.release(profile, by=editor("tenure owner release"), now=now())
    _report(where, done)


def _report(where: Where, done: force_takeover.Deposed) -> None:
    follows = done.candidate
    if where.json:
        output.print_json(
            {
                "ended_term": done.term,
                "killed": done.killed,
                "candidate": follows.id if follows else None,
                "owner": done.owner.id if done.owner else None,
                "term": done.new_term,
            }
        )
        return
    if done.killed is not None:
        output.say(f"ended pid {done.killed}")
    output.say(f"term {done.term} is over" if done.term else "no process owned the profile")
    if done.owner is not None:
        output.say(f"pid {done.owner.pid} ({done.owner.id}) owns now, term {done.new_term}")
        if follows is not None and follows.id != done.owner.id:
            output.say(
                f"the place was kept for pid {follows.pid} ({follows.id}), which did not take it"
            )
    elif follows is not None:
        output.say(f"no process has taken it yet; it was kept for pid {follows.pid} ({follows.id})")
    else:
        output.say("no other candidate can take it now; a process that the rules admit may")
