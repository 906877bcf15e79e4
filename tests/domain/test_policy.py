"""The owner policy: tables of rules and evidence, and the properties that C2 promises."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_making import ME, NOW, decide, policy, seen, unit

from tenure.domain.policy.admission import OPEN, Admission, Rule, admit, hash_of
from tenure.domain.policy.conditions import covers, is_interpreter, is_session_manager
from tenure.domain.policy.evidence import ChainLink, Evidence, Manager

APP = "/Applications/Hermes.app"
IN_APP = APP + "/Contents/MacOS/Hermes"
GATEWAY = '[[owner]]\nservice = "ai.hermes.gateway-la"\n'
FOUNDING = GATEWAY + f'[[owner]]\nexecutable = "{APP}"\nafter = "5m"\n'


def rule(line: str) -> str:
    return f"[[owner]]\n{line}\n"


HOLDS = rule('holds = "/h/gw.lock"')


def refusal(line: str) -> str:
    return f'[[owner]]\n{line}\nrefuse = true\n[[owner]]\nuser = "me"\n'


# (rules, evidence, admitted, a piece of why)
TABLE: list[tuple[str, Evidence, bool, str]] = [
    # service: the manager's own name, of the manager that the rule says
    (
        GATEWAY,
        seen(service=unit("ai.hermes.gateway-la", Manager.LAUNCHD)),
        True,
        "its service is ai.hermes.gateway-la (launchd)",
    ),
    (GATEWAY, seen(), False, "it belongs to no service"),
    (GATEWAY, seen(service=unit("ai.hermes.gateway")), False, "its service is ai.hermes.gateway "),
    (GATEWAY, seen(unknown=["service"]), False, "its service could not be read"),
    (rule('service = "shop"'), seen(service=unit("shop.service")), True, "rule 1 admits"),
    (rule('service = "shop.service"'), seen(service=unit("shop.service")), True, "rule 1 admits"),
    (rule('service = "shop"'), seen(service=unit("shop.scope")), False, "shop.scope"),
    (rule('service = "shop.socket"'), seen(service=unit("shop.socket")), True, ""),
    (
        rule('service = "shop"'),
        seen(service=unit("shop.service", Manager.LAUNCHD)),
        False,
        "shop.service (launchd)",
    ),
    (
        rule('service = "systemd:shop"'),
        seen(service=unit("shop.service", Manager.SYSTEMD_USER, False)),
        False,
        "(systemd-user)",
    ),
    (
        rule('service = {name = "shop", manager = "systemd-user"}'),
        seen(service=unit("shop.service", Manager.SYSTEMD_USER, False)),
        True,
        "Not attested",
    ),
    # executable: in the process or above it, a file or a folder
    (rule(f'executable = "{APP}"'), seen("/bin/sh", IN_APP), True, f"{IN_APP} is in its chain"),
    (rule(f'executable = "{APP}/"'), seen(executable=IN_APP), True, ""),
    (rule(f'executable = "{APP}"'), seen("/Applications/Hermes.app.evil/x"), False, "its chain is"),
    (rule('executable = "/opt/gw"'), seen(executable_as_run="/opt/gw/bin/gw"), True, "/opt/gw"),
    (
        rule('executable = "/opt/gw"'),
        seen("/bin/sh", None, unknown=["chain.executable"]),
        False,
        "the program of process 399 could not be read",
    ),
    (rule('executable = "/opt/gw"'), seen(chain=(), unknown=["chain"]), False, "chain above it"),
    (
        rule('executable = "/opt/gw"'),
        seen(executable=None, unknown=["executable"]),
        False,
        "its own program could not be read",
    ),
    (rule('executable = "/opt/gw"'), seen(executable=None), False, "nothing in its chain counts"),
    (
        rule('executable = "/opt/gw"'),
        seen(*[f"/usr/bin/{n}" for n in "abcdefg"]),
        False,
        ", ...",
    ),
    # ancestor: strictly above; session managers and process 1 match nothing
    (rule('ancestor = "/opt/gw"'), seen("/opt/gw/bin/gw"), True, ""),
    (rule('ancestor = "/opt/gw"'), seen(executable="/opt/gw/bin/gw"), False, "rule 1 asks for"),
    (rule('ancestor = "/usr/sbin/sshd"'), seen("/bin/bash", "/usr/sbin/sshd"), False, ""),
    (rule('executable = "/usr/lib/systemd"'), seen("/usr/lib/systemd/systemd"), False, ""),
    (rule('ancestor = "/home/a/bin"'), seen("/home/a/bin/login"), True, "/home/a/bin/login"),
    # holds: exactly that file; a lock that could not be looked at is unknown
    (HOLDS, seen(locks=("/h/a.lock", "/h/gw.lock")), True, "it holds the lock on /h/gw.lock"),
    (HOLDS, seen(locks=("/h/gw.lock",), unknown=["locks"]), True, "a lock on /h/gw.lock"),
    (HOLDS, seen(), False, "asks for a lock on /h/gw.lock, but it holds no lock on /h/gw.lock"),
    (HOLDS, seen(locks=("/h/gw.lock/x", "/h/gw.lock2", "/h")), False, "it holds no lock on"),
    (HOLDS, seen(unknown=["locks"]), False, "which locks it holds could not be read"),
    (HOLDS, seen(unknown=["locks.other"]), False, "it holds no lock on /h/gw.lock"),
    (rule('holds = "/h/gw.pid"'), seen(unknown=["locks.other"]), False, "could not be read"),
    # user
    (rule('user = "me"'), seen(), True, "Not attested"),
    (rule('user = "me"'), seen(uid=0, user="root"), False, "it runs as root (0)"),
    (rule('user = "me"'), seen(unknown=["uid"]), False, "its user could not be read"),
    (rule('user = "alice"'), seen(), True, "Not attested"),
    (rule('user = "alice"'), seen(user=None, unknown=["user"]), False, "could not be read"),
    (rule("user = 1000"), seen(), True, "user 1000"),
    (rule("user = 0"), seen(uid=None), False, "it runs as alice (None)"),
    # group
    (rule("group = 27"), seen(), True, "its groups are 1000, 27"),
    (rule("group = 28"), seen(groups=()), False, "its groups are none"),
    (rule("group = 27"), seen(unknown=["groups"]), False, "its groups could not be read"),
    (rule('group = "wheel"'), seen(), False, "knows no group wheel"),
    # cgroup: whole paths; a leaf name in a delegated subtree does not pass for the unit
    (
        rule('cgroup = "/system.slice/gw.service"'),
        seen(cgroup="/system.slice/gw.service"),
        True,
        "",
    ),
    (rule('cgroup = "/system.slice"'), seen(cgroup="/system.slice/gw.service"), True, ""),
    (
        rule('cgroup = "/system.slice/gw.service"'),
        seen(cgroup="/user.slice/user@1000.service/system.slice/gw.service"),
        False,
        "its cgroup is /user.slice/user@1000.service/system.slice/gw.service",
    ),
    (
        rule('service = "gw.service"'),
        seen(service=unit("docker-1.scope"), cgroup="/system.slice/docker-1.scope/gw.service"),
        False,
        "its service is docker-1.scope",
    ),
    (rule('cgroup = "/a"'), seen(cgroup="/../a"), False, "its cgroup could not be read"),
    (rule('cgroup = "/a"'), seen(cgroup=None), False, "it is in no cgroup"),
    (rule('cgroup = "/a"'), seen(cgroup=None, unknown=["cgroup"]), False, "could not be read"),
    # app
    (rule('app = "com.example.gw"'), seen(app="com.example.gw"), True, "its app is com.example.gw"),
    (rule('app = "com.example.gw"'), seen(app="com.example.gw"), True, "Not attested"),
    (rule('app = "com.example.gw"'), seen(app="com.example.g"), False, "its app is com.example.g"),
    (rule('app = "com.example.gw"'), seen(), False, "it belongs to no app"),
    (rule('app = "com.example.gw"'), seen(unknown=["app"]), False, "its app could not be read"),
    # init, signature, host
    (rule("init = true"), seen(init=True, pid=1), True, "it is process 1 or a child of it"),
    (rule("init = true"), seen(init=True), True, "Not attested"),
    (rule("init = true"), seen(), False, "it is not process 1"),
    (rule("init = true"), seen(unknown=["init"]), False, "could not be read"),
    (rule('signature = "TEAM"'), seen(signature="TEAM"), True, "its signature is TEAM"),
    (rule('signature = "TEAM"'), seen(), False, "it has no signature"),
    (rule('signature = "TEAM"'), seen(unknown=["signature"]), False, "could not be read"),
    (rule('host = "lap"'), seen(), True, "its host is lap or m1"),
    (rule('host = "m1"'), seen(unknown=["hostname"]), True, ""),
    (rule('host = "x"'), seen(), False, "its host is lap or m1"),
    (rule('host = "x"'), seen(host="", unknown=["host"]), False, "its host could not be read"),
    # refusing: a known match and an unknown one
    (refusal(f'executable = "{APP}"'), seen(IN_APP), False, "rule 1 refuses it"),
    (refusal(f'executable = "{APP}"'), seen("/bin/sh"), True, "rule 2 admits"),
    (
        refusal(f'executable = "{APP}"'),
        seen(None, unknown=["chain.executable"]),
        False,
        "counts for a rule that refuses",
    ),
    (refusal(f'ancestor = "{APP}"'), seen(unknown=["chain.executable"]), False, "a program in its"),
    (refusal("user = 0"), seen(unknown=["uid"]), False, "rule 1 refuses"),
    (refusal('group = "wheel"'), seen(), False, "knows no group wheel"),
    (refusal('holds = "/h/gw.lock"'), seen(locks=("/h/gw.lock",)), False, "rule 1 refuses it"),
    (refusal('holds = "/h/gw.lock"'), seen(), True, "rule 2 admits"),
    (refusal('holds = "/h/gw.lock"'), seen(unknown=["locks"]), False, "counts for a rule that"),
    (refusal('holds = "/h/gw.pid"'), seen(unknown=["locks.other"]), False, "rule 1 refuses it"),
    (refusal('host = "lap"\ninit = true'), seen(), True, "rule 2 admits"),
    (rule('user = "me"\nrefuse = true'), seen(uid=5), False, "every rule refuses"),
]


@pytest.mark.parametrize(("rules", "evidence", "admitted", "why"), TABLE)
def test_table(rules: str, evidence: Evidence, admitted: bool, why: str) -> None:
    decision = decide(rules, evidence)
    assert decision.admitted is admitted, decision.why
    assert why in decision.why
    assert admitted or decision.remedy


def test_the_founding_policy_tells_gateway_from_desktop() -> None:
    gateway = decide(FOUNDING, seen(service=unit("ai.hermes.gateway-la", Manager.LAUNCHD)))
    desktop = decide(FOUNDING, seen("/usr/bin/zsh", IN_APP))
    shell = decide(FOUNDING, seen("/usr/bin/zsh"))
    assert (gateway.authoritative, gateway.attested, gateway.after) == (True, True, timedelta(0))
    assert (desktop.authoritative, desktop.after) == (False, timedelta(minutes=5))
    assert desktop.rule is not None
    assert desktop.rule.number == 2
    assert not shell.admitted
    assert "rule 1 asks for service ai.hermes.gateway-la, but it belongs to no service" in shell.why
    assert "rule 2 asks for /Applications/Hermes.app" in shell.why
    assert "`tenure owner policy`" in shell.remedy
    assert "executable /usr/bin/python3.11 is an interpreter" in shell.remedy
    assert gateway.rule is not None
    assert desktop.rule is not None
    assert gateway.rule.rank < desktop.rule.rank


def test_the_remedy_suggests_the_most_telling_fact() -> None:
    text = rule("user = 0")
    in_unit = decide(text, seen(service=unit("gw.service"))).remedy
    assert 'service = "systemd:gw.service"' in in_unit
    assert 'user = "me"' in decide(text, seen(executable=None)).remedy
    assert 'executable = "/opt/shop"' in decide(text, seen(executable="/opt/shop")).remedy


def test_the_remedy_never_suggests_an_interpreter() -> None:
    text = rule("user = 0")
    launched = decide(text, seen("/usr/bin/zsh", "/opt/gw/launcher", "/opt/above")).remedy
    assert 'for example [[owner]] ancestor = "/opt/gw/launcher"' in launched
    locked = decide(text, seen("/usr/bin/sudo", locks=("/home/a/gw.lock",))).remedy
    assert 'for example [[owner]] holds = "/home/a/gw.lock"' in locked
    bare = decide(text, seen("/usr/bin/zsh", "/usr/bin/tmux", "/opt/venv/bin/python3")).remedy
    assert (
        "add a rule to profile.toml that names a service, a launcher of its own or a lock" in bare
    )
    assert "[[owner]]" not in bare


def test_a_launcher_that_has_ended_is_not_suggested() -> None:
    chain = (
        ChainLink(pid=500, executable="/usr/bin/python3.11"),
        ChainLink(pid=400, executable="/opt/gw/launcher", ended_at=NOW),
    )
    assert "/opt/gw/launcher" not in decide(rule("user = 0"), seen(chain=chain)).remedy


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/python",
        "/usr/bin/python3.11",
        "/opt/py/bin/python3.13t",
        "/opt/pypy3.10",
        "/usr/bin/dash",
        "/usr/bin/nodejs",
        "/usr/bin/node-22",
        "/usr/bin/ruby3.1",
        "/usr/bin/perl5.36.0",
        "/usr/bin/php8.2",
        "/bin/busybox",
        "/usr/lib/jvm/java-17/bin/java",
        "/opt/deno",
        "/opt/bun",
        "/bin/zsh",
        "C:\\Python\\pythonw.exe",
        "/Library/Frameworks/Python.framework/Versions/3.12/Resources/Python.app/",
        "/Library/Frameworks/Python.framework/Versions/3.12/Resources/Python.app/Contents/MacOS/Python",
    ],
)
def test_interpreters(path: str) -> None:
    assert is_interpreter(path)


@pytest.mark.parametrize(
    "path",
    [
        "/opt/gateway",
        "/opt/python/gateway",
        "/opt/shop.sh",
        "/usr/bin/python3-config",
        "/usr/bin/bundle",
        "/usr/sbin/sshd",
        "/usr/bin/nodemon",
        "/usr/sbin/php-fpm8.2",
        "/Applications/Bun.Shop.app",
        "/",
    ],
)
def test_other_programs(path: str) -> None:
    assert not is_interpreter(path)


def test_the_first_match_decides_whatever_stands_below() -> None:
    twice = rule('user = "me"\nauthoritative = false') + rule("user = 1000\nauthoritative = true")
    assert decide(twice, seen()).authoritative is False
    assert decide(rule("user = 1000") + refusal("user = 1000"), seen()).admitted is True


def test_a_run_and_an_observer_never_own() -> None:
    for given_policy in (OPEN, policy(rule('user = "me"'))):
        inside = admit(given_policy, seen(), role=None, me_uid=ME, inside_run=True)
        watching = admit(given_policy, seen(), role=None, me_uid=ME, executes=False)
        assert not inside.admitted
        assert "descends from a run" in inside.why
        assert not watching.admitted
        assert "observer" in watching.why


def test_an_open_policy_admits_any_process_of_the_user_and_gives_nobody_authority() -> None:
    mine = admit(OPEN, seen(), role=None, me_uid=ME)
    assert (mine.admitted, mine.authoritative, mine.attested, mine.rule) == (
        True,
        False,
        False,
        None,
    )
    theirs = admit(OPEN, seen(uid=0), role=None, me_uid=ME)
    assert not theirs.admitted
    assert "its uid is 0" in theirs.why
    hidden = admit(OPEN, seen(uid=None, unknown=["uid"]), role=None, me_uid=ME)
    assert not hidden.admitted
    assert "could not be read" in hidden.why
    assert OPEN.open
    assert OPEN.hash == hash_of("") != hash_of("x")


def test_a_role_counts_only_beside_a_fact_of_the_os() -> None:
    text = rule('role = "gateway"\nexecutable = "/opt/gw"')
    assert decide(text, seen("/opt/gw"), role="gateway").attested
    assert "it calls itself desktop" in decide(text, seen("/opt/gw"), role="desktop").why
    assert "it calls itself nothing" in decide(text, seen("/opt/gw")).why
    alone = decide(rule('role = "gateway"\nauthoritative = false'), seen(), role="gateway")
    assert alone.admitted
    assert not alone.attested
    assert not alone.authoritative


@pytest.mark.parametrize(
    ("line", "evidence", "attested"),
    [
        ('service = "gw"', seen(service=unit("gw.service")), True),
        ('service = "gw"', seen(service=unit("gw.service", Manager.SYSTEMD_USER, False)), False),
        ('executable = "/opt/gw"', seen("/opt/gw"), True),
        ('ancestor = "/opt/gw"', seen("/opt/gw"), True),
        ("group = 27", seen(), True),
        ("init = true", seen(init=True, pid=1), True),
        ("init = true", seen(init=True), False),
        ("init = false", seen(), False),
        ('cgroup = "/system.slice/a"', seen(cgroup="/system.slice/a"), True),
        ('cgroup = "/u"', seen(cgroup="/u/user@1000.service/a"), False),
        (
            'cgroup = "/u"',
            seen(cgroup="/u/a", service=unit("a.service", attested=False)),
            False,
        ),
        ('user = "me"\nhost = "lap"', seen(), False),
        ('holds = "/h/gw.lock"', seen(locks=("/h/gw.lock",)), False),
        (
            'holds = "/h/gw.lock"\nservice = "gw"',
            seen(locks=("/h/gw.lock",), service=unit("gw.service")),
            True,
        ),
    ],
)
def test_attested_is_what_the_user_cannot_bring_about(
    line: str, evidence: Evidence, attested: bool
) -> None:
    decision = decide(rule(line), evidence)
    assert decision.admitted
    assert decision.attested is attested
    assert ("Not attested" in decision.why) is not attested


def test_resolved_paths_and_groups_are_what_counts() -> None:
    resolved = policy(rule('executable = "~/venv/bin/python"') + rule('group = "wheel"'))
    first, second = resolved.rules
    first = dataclasses.replace(
        first, executable_paths=("/home/a/venv/bin/python", "/usr/bin/python3.11")
    )
    second = dataclasses.replace(second, group_id=27)
    for one in (first, second):
        given_policy = dataclasses.replace(resolved, rules=(one,))
        assert admit(given_policy, seen(), role=None, me_uid=ME).admitted


def test_a_lock_is_asked_for_as_written_and_as_resolved() -> None:
    (one,) = policy(rule('holds = "~/gw.lock"')).rules
    spelt = dataclasses.replace(one, holds_paths=("/home/a/gw.lock", "/disk/a/gw.lock"))
    given_policy = dataclasses.replace(policy(HOLDS), rules=(spelt,))
    for path, admitted in (
        ("/home/a/gw.lock", True),
        ("/disk/a/gw.lock", True),
        ("/home/b/gw.lock", False),
    ):
        found = admit(given_policy, seen(locks=(path,)), role=None, me_uid=ME)
        assert found.admitted is admitted, found.why


def test_paths() -> None:
    assert covers("/a", "/a/b")
    assert not covers("/a", "/ab")
    assert not covers("", "/a")
    assert covers("C:\\Apps\\Hermes", "c:\\apps\\hermes\\hermes.exe")
    assert is_session_manager("/sbin/launchd")
    assert is_session_manager("C:\\Windows\\System32\\winlogon.exe")
    assert is_session_manager("C:\\WINDOWS\\Explorer.EXE")
    assert not is_session_manager("/home/a/systemd")
    assert not is_session_manager("/usr/bin/bash")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GATEWAY, "rule 1 admits service ai.hermes.gateway-la (authoritative)"),
        (
            rule('user = "me"\nexecutable = "/x"\nauthoritative = false\nafter = "5m"'),
            (
                "rule 1 admits /x in the process or above it and the profile's own user "
                "(fallback, after 5m)"
            ),
        ),
        (
            rule("init = false\nuser = 7\nrefuse = true"),
            "rule 1 refuses user 7 and no init process",
        ),
        (HOLDS, "rule 1 admits a lock on /h/gw.lock (authoritative)"),
        (
            rule('service = "systemd:a"\nancestor = "/x"\ninit = true\ngroup = 4'),
            (
                "rule 1 admits service a of systemd and /x above the process and group 4 and "
                "process 1 of its namespace or a child of it (authoritative)"
            ),
        ),
    ],
)
def test_a_rule_describes_itself(text: str, words: str) -> None:
    assert policy(text).rules[0].describe() == words


# -- properties ------------------------------------------------------------------------------

FIELDS = ["executable", "executable_as_run", "chain", "chain.executable", "uid", "user"]
FIELDS += ["service", "app", "groups", "cgroup", "init", "signature", "host", "hostname", "locks"]
LINES = [
    'service = "gw"',
    'app = "com.example.gw"',
    'executable = "/opt/gw"',
    'ancestor = "/opt/gw"',
    'holds = "/h/gw.lock"',
    'user = "me"',
    'user = "alice"',
    "group = 27",
    'cgroup = "/system.slice/gw.service"',
    "init = true",
    'signature = "TEAM"',
    'host = "lap"',
]
MATCHING = seen(
    "/opt/gw/bin/gw",
    service=unit("gw.service"),
    app="com.example.gw",
    cgroup="/system.slice/gw.service",
    init=True,
    signature="TEAM",
    locks=("/h/gw.lock",),
)
BARE: dict[str, object] = {
    "service": None,
    "app": None,
    "executable": None,
    "executable_as_run": None,
    "chain": (),
    "uid": None,
    "user": None,
    "groups": (),
    "cgroup": None,
    "init": False,
    "signature": None,
    "host": "",
    "hostname": "",
    "locks": (),
}


def hide(evidence: Evidence, fields: set[str]) -> Evidence:
    """The same process, seen by somebody who may not read ``fields``."""
    values = {name: BARE[name] for name in fields if name in BARE}
    if "chain.executable" in fields and "chain" not in fields:
        values["chain"] = tuple(dataclasses.replace(x, executable=None) for x in evidence.chain)
    return dataclasses.replace(evidence, **values, unknown=frozenset(fields))


hidden_fields = st.sets(st.sampled_from(FIELDS))
conditions = st.lists(st.sampled_from(LINES), min_size=1, max_size=4, unique_by=lambda x: x[:4])


@given(conditions, hidden_fields)
def test_unknown_never_admits_and_never_escapes(lines: list[str], fields: set[str]) -> None:
    asked = "\n".join(lines)
    other = hide(seen(uid=1, user="x", groups=(), hostname="q", host="q"), fields)
    mine = hide(MATCHING, fields)
    # What is hidden can only take an admission away; it never brings one.
    assert decide(rule(asked), MATCHING).admitted
    admits_other = decide(rule(asked), other).admitted
    assert not admits_other or decide(rule(asked), hide(other, set())).admitted
    # A process that a rule refuses is refused however much of it is hidden.
    assert not decide(refusal(asked), mine).admitted


@given(hidden_fields)
def test_a_process_of_which_nothing_is_known_is_never_admitted(fields: set[str]) -> None:
    blind = hide(MATCHING, set(FIELDS))
    for line in LINES:
        assert not decide(rule(line), blind).admitted
        assert decide(rule(line), blind).why.count("could not be read") == 1
    assert isinstance(decide(rule(LINES[0]), hide(MATCHING, fields)), Admission)


@given(st.lists(st.tuples(st.sampled_from([*LINES, "user = 7", "group = 8"]), st.booleans())))
def test_the_first_matching_rule_decides(rules: list[tuple[str, bool]]) -> None:
    text = "".join(rule(line + ("\nrefuse = true" if no else "")) for line, no in rules)
    decision = decide(text, MATCHING)
    matching = [i for i, (line, _) in enumerate(rules) if line in LINES]
    if not rules:
        assert decision.admitted  # open
    elif matching:
        assert isinstance(decision.rule, Rule)
        assert decision.rule.rank == matching[0]
        assert decision.admitted is not rules[matching[0]][1]
    else:
        assert not decision.admitted


def after_its_end(evidence: Evidence, pid: int) -> Evidence:
    chain = [
        dataclasses.replace(one, ended_at=NOW) if one.pid == pid else one for one in evidence.chain
    ]
    return dataclasses.replace(evidence, chain=tuple(chain))


@pytest.mark.parametrize("key", ["executable", "ancestor"])
def test_what_a_process_that_has_ended_vouched_for_is_unknown(key: str) -> None:
    """C2: it fails a rule that admits, and satisfies one that refuses."""
    whole = seen("/bin/sh", "/opt/gw")
    orphan = after_its_end(whole, 399)
    admitting, refusing = rule(f'{key} = "/opt/gw"'), refusal(f'{key} = "/opt/gw"')
    assert decide(admitting, whole).admitted
    found = decide(admitting, orphan)
    assert not found.admitted
    assert "/opt/gw (pid 399) in its chain has ended" in found.why
    assert not decide(refusing, whole).admitted
    assert not decide(refusing, orphan).admitted


def test_a_process_that_no_rule_names_may_end() -> None:
    whole = seen("/bin/sh", "/opt/gw")
    assert decide(rule('executable = "/opt/gw"'), after_its_end(whole, 400)).admitted


def test_another_of_the_same_program_that_lives_is_enough() -> None:
    whole = seen("/opt/gw", "/bin/sh", "/opt/gw")
    assert decide(rule('executable = "/opt/gw"'), after_its_end(whole, 400)).admitted
    assert not decide(
        rule('executable = "/opt/gw"'), after_its_end(after_its_end(whole, 400), 398)
    ).admitted
