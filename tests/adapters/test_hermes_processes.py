"""Which processes belong to a profile: by what they have open, else by what they were told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hermestree import TICKS, Tree

from tenure.adapters.hermes.facts.home import home_of
from tenure.adapters.hermes.facts.invocation import Role
from tenure.adapters.hermes.look.processes import Found, HomeEvidence, find_processes
from tenure.adapters.hermes.look.scan import LinuxScan
from working import calls


def look(tree: Tree) -> Found:
    return find_processes(tree.home, tree.scan)


def test_a_gateway_is_known_by_the_lock_it_holds(tree: Tree) -> None:
    pid = tree.gateway()
    (member,) = look(tree).members
    assert (member.pid, member.role, member.store) == (pid, Role.GATEWAY, HomeEvidence.OBSERVED)
    assert member.holds_gateway_lock is True
    assert member.seen == "it holds gateway.lock"
    assert member.python == str(tree.venv)


def test_whoever_holds_the_lock_is_the_gateway_whatever_it_was_called(tree: Tree) -> None:
    tree.process("/opt/python3", "serve.py", lock=tree.home.gateway_lock)
    (member,) = look(tree).members
    assert member.role is Role.GATEWAY


def test_a_gateway_without_the_lock(tree: Tree) -> None:
    tree.hermes("gateway", "run", files=tree.log("agent.log"))
    (member,) = look(tree).members
    assert (member.role, member.holds_gateway_lock) == (Role.GATEWAY, False)


def test_a_desktop_backend_is_known_by_its_log(tree: Tree) -> None:
    tree.desktop()
    (member,) = look(tree).members
    assert (member.role, member.store) == (Role.DESKTOP, HomeEvidence.OBSERVED)
    assert member.seen == "it has logs/gui.log open"


def test_with_nothing_open_its_word_counts_and_is_said_to_be_that(tree: Tree) -> None:
    tree.desktop(files=[])
    (member,) = look(tree).members
    assert member.store is HomeEvidence.STATED
    assert "no file of it open" in member.seen


def test_a_profile_of_the_same_name_in_another_home(tree: Tree) -> None:
    other = tree.make_home(tree.folder / "second" / ".hermes" / "profiles" / "la")
    log = other.path / "logs" / "gui.log"
    log.touch()
    # It even claims our root: what it has open decides.
    pid = tree.desktop(files=[log])
    found = look(tree)
    assert found.members == ()
    (left_out,) = found.elsewhere
    assert (left_out.pid, left_out.home) == (pid, str(other.path))
    assert left_out.store is HomeEvidence.OBSERVED
    assert left_out.same_name
    assert [m.pid for m in find_processes(other, tree.scan).members] == [pid]


def test_another_home_by_its_word(tree: Tree) -> None:
    pid = tree.process("hermes", "-p", "la", "dashboard", env={"HERMES_HOME": "/srv/hermes"})
    found = look(tree)
    assert found.members == ()
    assert [(o.pid, o.home, o.store) for o in found.elsewhere] == [
        (pid, "/srv/hermes/profiles/la", HomeEvidence.STATED)
    ]


def test_the_root_is_a_profile_of_its_own(tree: Tree) -> None:
    """What lies below ``profiles`` is not the default profile's, nor is what all profiles share."""
    shared = tree.root / "kanban" / ".dispatcher.lock"
    shared.parent.mkdir()
    shared.touch()
    tree.hermes("gateway", "run", files=[shared], lock=tree.home.gateway_lock)
    assert find_processes(home_of(tree.root), tree.scan).members == ()
    assert len(look(tree).members) == 1


def test_another_profiles_database_open_in_passing(tree: Tree) -> None:
    """A dashboard of the default profile that lists our sessions stays the default profile's."""
    log = tree.root / "logs" / "gui.log"
    log.parent.mkdir(parents=True)
    log.touch()
    database = tree.home.path / "state.db"
    database.touch()
    argv = (str(tree.venv), "-m", "hermes_cli.main", "-p", "default", "dashboard")
    tree.process(*argv, env={"HERMES_HOME": str(tree.root)}, files=[database, log])
    assert look(tree).members == ()
    assert [o.home for o in look(tree).elsewhere] == [str(tree.root)]


def test_our_database_alone_is_ours(tree: Tree) -> None:
    tree.hermes("chat", files=[tree.home.path / "state.db"])
    (member,) = look(tree).members
    assert (member.role, member.store) == (Role.CHAT, HomeEvidence.OBSERVED)


@pytest.mark.parametrize(
    "argv",
    [
        ("tail", "-f", "agent.log"),
        ("/usr/bin/sqlite3", "state.db"),
        ("hermes", "logs", "-f"),
        ("hermes", "cron", "list"),
        ("/opt/python3", "-m", "http.server"),
        ("bash", "-c", "hermes gateway run"),
        (),
    ],
)
def test_onlookers_and_commands_are_not_listed(tree: Tree, argv: tuple[str, ...]) -> None:
    tree.process(*argv, files=tree.log("agent.log"))
    assert look(tree) == Found(members=(), elsewhere=(), hidden=())


def test_a_python_program_with_the_store_open(tree: Tree) -> None:
    tree.process("/opt/python3.12", "mine.py", files=[tree.home.cron / ".tick.lock"])
    (member,) = look(tree).members
    assert member.role is Role.PROGRAM


def test_a_rotated_log_still_tells(tree: Tree) -> None:
    tree.desktop(files=[f"{tree.home.path}/logs/gui.log.1", f"{tree.home.path}/gateway.lock"])
    (member,) = look(tree).members
    assert (member.store, member.role) == (HomeEvidence.OBSERVED, Role.DESKTOP)


def test_a_path_of_another_name_space(tree: Tree) -> None:
    """In a container the home has another path: the files' identity tells that it is ours."""
    (log,) = tree.log("gui.log")
    alias = tree.folder / "mounted" / "gui.log"
    alias.parent.mkdir()
    alias.hardlink_to(log)
    pid = tree.desktop(files=[alias])
    (member,) = look(tree).members
    assert member.pid == pid


def in_a_container(tree: Tree, pid: int) -> None:
    for who, name in ((str(pid), "mnt:[2]"), ("self", "mnt:[1]")):
        (tree.proc / who / "ns").mkdir(parents=True)
        (tree.proc / who / "ns" / "mnt").symlink_to(name)


def test_our_path_in_another_name_space_is_another_file(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tree.desktop()
    in_a_container(tree, pid)
    assert [m.pid for m in look(tree).members] == [pid]  # by the files' identity
    monkeypatch.setattr(LinuxScan, "file_id", lambda *_: (0, 0))
    found = look(tree)
    assert found.members == ()
    assert [other.pid for other in found.elsewhere] == [pid]


def test_what_a_contained_process_says_is_of_its_own_folders(tree: Tree) -> None:
    pid = tree.desktop(files=[])
    in_a_container(tree, pid)
    inside = tree.proc / str(pid) / "root"
    inside.mkdir()
    assert look(tree).members == ()
    # Where the container's path leads to our very folder, its word counts.
    (inside / str(tree.root.parent).lstrip("/")).mkdir(parents=True)
    (inside / str(tree.root).lstrip("/")).symlink_to(tree.root)
    assert [m.pid for m in look(tree).members] == [pid]


def test_processes_that_may_not_be_looked_into(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    pid, scan = tree.gateway(), tree.scan
    monkeypatch.setattr(type(scan), "files", lambda self, pid: None)
    found = find_processes(tree.home, scan)
    assert (found.members, found.hidden) == ((), (pid,))
    # Somebody else's, who cannot even open the home, is no concern of ours; root's is.
    tree.home.path.chmod(0o700)
    for user, hidden in ((tree.home.path.stat().st_uid + 1, ()), (0, (pid,)), (None, (pid,))):
        monkeypatch.setattr(type(scan), "user", lambda self, pid, user=user: user)
        assert find_processes(tree.home, scan).hidden == hidden
    tree.home.path.chmod(0o750)
    monkeypatch.setattr(type(scan), "user", lambda self, pid: 12345)
    assert find_processes(tree.home, scan).hidden == (pid,)


def test_an_environment_that_may_not_be_read(tree: Tree) -> None:
    pid = tree.desktop(files=[])
    (tree.proc / str(pid) / "environ").unlink()
    found = look(tree)
    assert (found.members, found.hidden) == ((), (pid,))
    pid = tree.desktop()
    (tree.proc / str(pid) / "environ").unlink()
    (member,) = look(tree).members
    assert (member.environ_known, member.role) == (False, Role.DASHBOARD)


def test_a_process_that_is_replaced_while_it_is_looked_at(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tree.gateway()

    def threads(self: object, pid: int) -> frozenset[str]:
        stat = Path(tree.proc, str(pid), "stat")
        stat.write_text(stat.read_text().replace(f" {3600 * TICKS}", f" {7200 * TICKS}"))
        return frozenset()

    monkeypatch.setattr(type(tree.scan), "threads", threads)
    assert look(tree).members == ()
    assert tree.scan.pids() == [pid]


def test_its_work_grows_with_the_number_of_processes_and_no_faster(tree: Tree) -> None:
    def hundred_more() -> int:
        for _ in range(100):
            tree.process("/opt/python3", "work.py", files=[f"/srv/data/{n}" for n in range(20)])
        return calls(lambda: look(tree)).total()

    tree.gateway()
    of_none = calls(lambda: look(tree)).total()
    of_hundred = hundred_more() - of_none
    of_two_hundred = hundred_more() - of_none
    assert of_two_hundred == pytest.approx(2 * of_hundred, rel=0.05)
    assert of_hundred < 100 * 20 * 20
    assert len(look(tree).members) == 1
