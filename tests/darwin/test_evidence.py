"""What Tenure observes of processes on the imitated Mac: services, apps and failing launchctl."""

from __future__ import annotations

import json
import os

import pytest

pytestmark = pytest.mark.real

GATEWAY = "1296:ai.hermes.gateway-la"
OBSERVE = """
    import json
    from tenure.host import processes
    def look():
        evidence = processes.observe()
        service = evidence.service and [evidence.service.name, evidence.service.attested]
        return [service, evidence.app, sorted({"service", "app"} & evidence.unknown)]
"""
UNKNOWN = [None, None, ["app", "service"]]


def of_gateway(attested: bool) -> list[object]:
    return [["ai.hermes.gateway-la", attested], None, []]


def test_a_label_is_asked_for_once(run, mac) -> None:
    answer = run(OBSERVE + "    print(json.dumps([look() for _ in range(5)]))", coalition=GATEWAY)
    assert json.loads(answer) == [of_gateway(False)] * 5
    calls = mac.calls()
    assert [call for call in calls if call.startswith("launchctl print pid/")] == calls[:1]
    assert len(calls) == 3, "and each domain for its job"


def test_what_is_known_survives_a_launchctl_that_fails(run, mac) -> None:
    source = OBSERVE + (
        "    import sys\n"
        "    before = look()\n"
        "    open(sys.argv[1], 'w').write('{\"fail\": -1, \"delay_s\": 60}')\n"
        "    print(json.dumps([before, look()]))\n"
    )
    state = str(mac._launchd)
    assert json.loads(run(source, state, coalition=GATEWAY)) == [of_gateway(False)] * 2


def test_a_first_look_that_fails_is_repeated_later(run, mac) -> None:
    mac.launchd(fail=1)
    source = OBSERVE + (
        "    from tenure.host.macos import launchd\n"
        "    first, second = look(), look()\n"
        "    launchd._ASK_AGAIN_AFTER_S = 0.0\n"
        "    print(json.dumps([first, second, look()]))\n"
    )
    answer = json.loads(run(source, coalition=GATEWAY))
    assert answer == [UNKNOWN, UNKNOWN, of_gateway(False)]


def test_an_agent_is_attested_if_launchd_started_this_process(run, mac) -> None:
    label = GATEWAY.partition(":")[2]
    domain = f"gui/{os.geteuid()}"
    source = OBSERVE + (
        "    import os, sys\n"
        "    state = {'jobs': {sys.argv[1]: os.getpid()}}\n"
        "    open(sys.argv[2], 'w').write(json.dumps(state))\n"
        "    print(json.dumps(look()))\n"
    )
    state = str(mac._launchd)
    assert json.loads(run(source, f"{domain}/{label}", state, coalition=GATEWAY)) == of_gateway(
        True
    )
    other = f"user/{os.geteuid()}/{label}"
    assert json.loads(run(source, other, state, coalition=GATEWAY)) == of_gateway(False)
    # The job of this label is another process: the one of this test.
    mac.launchd(jobs={f"{domain}/{label}": os.getpid()})
    answer = run(OBSERVE + "    print(json.dumps(look()))", coalition=GATEWAY)
    assert json.loads(answer) == of_gateway(False)


def test_an_apps_processes_belong_to_no_service(run) -> None:
    source = OBSERVE + "    print(json.dumps(look()))"
    assert json.loads(run(source)) == [None, "com.apple.Terminal", []]
    hermes = "902:application.com.nous.hermes.51942802.51942814"
    assert json.loads(run(source, coalition=hermes)) == [None, "com.nous.hermes", []]


def test_a_requesters_account_needs_no_launchctl(run, mac) -> None:
    source = """
        import os
        from tenure.host import processes
        uid, user, executable = processes.account_of(os.getpid())
        assert user and executable
        print(uid)
    """
    assert int(run(source)) == os.geteuid()
    assert mac.calls() == []


@pytest.mark.parametrize(
    ("coalition", "advice"),
    [
        (None, 'app = "com.apple.Terminal"'),
        (GATEWAY, 'service = "launchd:ai.hermes.gateway-la"'),
    ],
)
def test_the_rule_that_a_refusal_advises_holds_again(run, coalition, advice) -> None:
    source = """
        from tenure.domain.policy.admission import admit
        from tenure.domain.policy.text import make_policy, read_rules
        from tenure.host import processes
        policy = make_policy(read_rules({"owner": [{"service": "other"}]}), version=1)
        print(admit(policy, processes.observe(), role=None, me_uid=0).remedy)
    """
    options = {} if coalition is None else {"coalition": coalition}
    assert f"for example [[owner]] {advice}" in run(source, **options)
    session = "903:com.openssh.sshd.2E7C0D6B-1111-2222-3333-444455556666"
    assert "com.openssh" not in run(source, coalition=session)
