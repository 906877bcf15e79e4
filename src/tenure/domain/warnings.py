"""Every warning about a profile: its stable code, how grave it is, its text and its remedy.

One table for all interfaces. Codes are contract: in JSON they never change; texts may improve. The
order is that in which ``status`` lists them, the gravest first. ``{option}`` is empty or
`` --profile NAME``. Hermes' own codes are in :mod:`tenure.adapters.hermes.look.findings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    """Jobs do not run, or cannot be shown to."""
    WARNING = "warning"
    """Some jobs do not run, or they run where they should not."""
    NOTE = "note"
    """Probably not meant so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileWarning:
    """Something is probably not meant so: a stable code, what, and what to do."""

    code: str
    text: str
    remedy: str

    @property
    def severity(self) -> Severity:
        known = TABLE.get(self.code)
        return Severity.WARNING if known is None else known.severity


@dataclass(frozen=True, slots=True)
class Template:
    severity: Severity
    text: str
    remedy: str


def warn(code: str, **facts: object) -> ProfileWarning:
    """The warning of this code in :data:`TABLE`, filled in. A key such as ``no_owner.brief`` is
    another text of the code before the dot."""
    template = TABLE[code]
    return ProfileWarning(
        code=code.partition(".")[0],
        text=template.text.format(**facts),
        remedy=template.remedy.format(**facts),
    )


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

TABLE: dict[str, Template] = {
    # -- the profile as a whole
    "identity_problem": Template(_ERROR, "{problem}", "{remedy}"),
    "read_only": Template(
        _ERROR, "{path} cannot be written: {why}; no job runs and none can be changed", "{remedy}"
    ),
    # -- the owner
    "no_owner": Template(
        _ERROR, "no process owns the profile: {why}. Expected owner: {expected}", "{remedy}"
    ),
    "no_owner.brief": Template(
        _ERROR,
        "no scheduler is running for this profile; jobs won't run until you start one",
        "{remedy}",
    ),
    "no_owner.yet": Template(
        _ERROR, "no process owns this profile; jobs won't run until one does", "{remedy}"
    ),
    "owner_dead": Template(
        _ERROR,
        "the owner (pid {pid}, term {term}) is dead, and no process has taken over: {why}",
        "{remedy}",
    ),
    "owner_unverifiable": Template(
        _ERROR,
        "it cannot be verified from here whether the owner (pid {pid}) is alive",
        "if you know that it is dead: `tenure owner take --force{option}`",
    ),
    "owner_stopped": Template(
        _ERROR, "{what}; it starts no jobs and answers no requests", "{remedy}"
    ),
    "hung": Template(
        _ERROR,
        "the owner (pid {pid}) has left a due run unclaimed for {span}",
        "`tenure owner take{option}` gives the ownership to the best candidate",
    ),
    # -- runs that are due
    "due_unclaimed": Template(
        _WARNING, "the scheduled run of {job} has been due for {span}{also}, {why}", "{remedy}"
    ),
    "due_unstarted": Template(
        _WARNING,
        "{jobs} due, and no process owns the profile; waiting for {span}: {names}",
        "once an owner starts, {they} will run or be recorded as missed, depending on the catch-up "
        "setting; `tenure explain {job}{option}` says more",
    ),
    "queued_requests": Template(
        _WARNING, "{requests} for an owner", "`tenure requests list{option}` shows {them}"
    ),
    "unreadable_job": Template(_WARNING, "{text}", "{remedy}"),
    "store_blocked": Template(
        _ERROR, "pid {pid}{who} keeps holding the store's write lock", "{remedy}"
    ),
    "record_unreadable": Template(
        _WARNING,
        "run {run} of {job}: {reason}{more}",
        "fix what the reason names; the run then ends with its true result. "
        "`tenure cancel {run}{option}` gives it up",
    ),
    # -- several processes
    "open_policy_many_executors": Template(
        _WARNING,
        "{count} processes can execute jobs (pids {pids}), and no rule says which should: the "
        "first to start owns, and protected jobs won't run",
        "name the owner in profile.toml with an [[owner]] rule; `tenure whoami` shows how a "
        "process can be recognised",
    ),
    "refused_executor": Template(
        _WARNING,
        "pid {pids} may not execute jobs: {why}",
        "stop it, start it as an observer, or admit it with a rule",
    ),
    # -- protected jobs
    "protected_but_open": Template(
        _WARNING,
        "{what}, and the profile names no authoritative owner: scheduled runs are on hold",
        'add an [[owner]] rule to {toml}, such as [[owner]] service = "NAME"; `tenure whoami` '
        "shows how a process can be recognised",
    ),
    "protected_without_authority": Template(
        _WARNING,
        "{what}, and the owner is not authoritative: scheduled runs are on hold",
        "{remedy}",
    ),
    "held_fires": Template(
        _WARNING,
        "{ranges} on hold until an authoritative owner starts",
        "`tenure runs --all{option}` lists them, `tenure explain JOB{option}` says why",
    ),
    "launcher_ended": Template(
        _WARNING,
        "pid {pid}{who} was started by {launcher} (pid {launcher_pid}), which rule {rule} names "
        "and which has ended: the rule no longer admits it, so it runs no protected jobs",
        "stop pid {pid}, and start it again under {launcher}",
    ),
    "owner_code_replaced": Template(
        _WARNING,
        "the program of the owner (pid {pid}), {program}, was replaced or deleted after it "
        "started, so the owner runs the old one",
        "{remedy}",
    ),
    "unattested_owner": Template(
        _NOTE,
        "the owner is authoritative, but any process of the user could be: {why}",
        "name a service or an executable in the rule, if there is one",
    ),
    # -- profile.toml
    "policy_not_accepted": Template(
        _WARNING,
        "profile.toml has other owner rules than those in force",
        "a scheduler process accepts them when it next looks; `tenure owner policy "
        "--accept{option}` does it now",
    ),
    "policy_file_problem": Template(_WARNING, "{problem}", "{remedy}"),
    "profile_file_without_rules": Template(
        _WARNING,
        "profile.toml no longer has an [[owner]] rule; the accepted rules stay in force",
        "write the rules again (`tenure owner policy` shows them), or remove them all with "
        "`tenure owner policy --clear`",
    ),
    "no_authoritative_rule": Template(
        _WARNING,
        "{why}no rule is authoritative: protected jobs stay on hold",
        "write authoritative = true in the rule that may run them",
    ),
    "unattested_authority": Template(
        _NOTE, "rule {rule} is authoritative, but any process of the user could {how}", "{remedy}"
    ),
    "rule_names_interpreter": Template(
        _WARNING,
        "rule {rule}: {key} {path} is an interpreter: {what} may own and run protected jobs",
        "name the service, launcher or lock of the scheduler in rule {rule} (service, ancestor, "
        "holds), instead or as well; `tenure whoami --pid PID` shows them for a process",
    ),
    "executable_resolves_elsewhere": Template(
        _NOTE,
        "rule {rule}: {key} {path} resolves to {target}, so the rule matches every process that "
        "runs that, for instance every virtual environment of one Python",
        "prefer a launcher of its own, or a service",
    ),
    "executable_is_script": Template(
        _WARNING,
        "rule {rule}: {key} {path} is a script; the system runs and reports its interpreter, so "
        "the rule matches nothing",
        "name a program or a folder of programs, or a service that starts the script",
    ),
    "rule_matches_nothing": Template(
        _WARNING,
        "rule {rule}: ancestor {path} is above every process of a session, so it matches none",
        "name the program in between, or use service or init",
    ),
    "rule_never_reached": Template(
        _NOTE,
        "rule {rule} never decides: rule {earlier} already matches everything that it asks for",
        "remove rule {rule}, or put it above rule {earlier}",
    ),
    "group_unknown": Template(
        _WARNING,
        "rule {rule} asks for group {group}, which this machine does not know",
        "correct the name, or give the gid as a number",
    ),
    "foreign": Template(
        _WARNING,
        "pid {pid} is a scheduler that does not use Tenure: {why}",
        "stop it, or have it delegate to the owner",
    ),
    # -- a job that was just added or edited
    "either_day": Template(_NOTE, "{text}", "{remedy}"),
    "tz_variable": Template(
        _NOTE, "{text}, but it is not used: the schedule is read in {zone}, {whose}", "{remedy}"
    ),
    "no_folder": Template(
        _WARNING,
        "the folder {path} does not exist: the command cannot start there",
        "create it before the first run, or give another --cwd",
    ),
    "no_home_folder": Template(
        _NOTE, "{why}: the command runs in {path}", "give --cwd DIR to run it elsewhere"
    ),
    "no_command": Template(
        _WARNING,
        "{path} does not exist or is not executable",
        "create it, or correct the path with `tenure edit`",
    ),
    "no_command.path": Template(
        _WARNING, "{program} is not found in {whose} PATH ({path})", "{remedy}"
    ),
}
