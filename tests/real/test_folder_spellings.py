"""One folder under several names, from other namespaces, by other users."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worldkit import ROOT, SOURCE, TENURE, World

from waiting import eventually

pytestmark = pytest.mark.real
needs_root = pytest.mark.skipif(not ROOT, reason="only root may")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def standings(world: World) -> dict[int, str]:
    return {p["pid"]: p["standing"] for p in world.status().json["processes"]}


def one_owner_then_the_other(world: World, other: Path) -> None:
    """Two `serve`, each by its spelling: one owns, and when it dies the other does."""
    first = world.owner()
    world.add()
    second = world.serve(home=other)
    eventually(
        lambda: standings(world) == {first.pid: "owner", second.pid: "candidate"},
        "one owner and one candidate",
    )
    seen = world.status(home=other)
    assert seen.json["owner"] == world.status().json["owner"] | {
        "progress_at": seen.json["owner"]["progress_at"]
    }
    assert "identity_problem" not in seen.codes
    assert world.trigger(home=other).json["run"]["process"] == seen.json["owner"]["process"]
    first.kill()
    second.says("owner of default")
    assert world.status().json["owner"]["term"] == 2
    assert world.trigger().code == 0
    world.audit()


def test_a_symbolic_link_to_the_home(world: World) -> None:
    link = world.folder / "link"
    link.symlink_to(world.home)
    one_owner_then_the_other(world, link)


@pytest.mark.root
@needs_root
def test_a_bind_mount_of_the_home(world: World) -> None:
    world.add(name="first")
    bound = world.folder / "bound"
    bound.mkdir()
    if subprocess.run(["mount", "--bind", world.home, bound], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        one_owner_then_the_other(world, bound)
    finally:
        world.close()
        world.started.clear()
        subprocess.run(["umount", "-l", bound], check=True)


NAMESPACE = ("unshare", "-rpf", "--kill-child", "--mount-proc")


def needs_namespaces() -> None:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False,
        capture_output=True).returncode:  # fmt: skip
        pytest.skip("this machine lets nobody make pid namespaces")


def test_another_pid_namespace_waits_and_takes_over_when_the_owner_dies(world: World) -> None:
    """C11: nothing is concluded from a pid that means something else here."""
    needs_namespaces()
    outside = world.owner()
    world.add()
    inside = world.serve(prefix=NAMESPACE)

    def both() -> bool:
        return sorted(standings(world).values()) == ["candidate", "owner"]

    eventually(both, "an owner and a candidate")
    status = world.status().json
    (there,) = [p for p in status["processes"] if p["standing"] == "candidate"]
    (here,) = [p for p in status["processes"] if p["standing"] == "owner"]
    # They are told apart though the pid of the one inside is 1 or so.
    assert there["pid"] != here["pid"]
    assert there["evidence"]["pid_namespace"] != here["evidence"]["pid_namespace"]
    assert there["life"] == here["life"] == "alive"
    # A command from inside sees the owner's lock too, and does not take it for dead.
    seen = world.tenure("status", "--json", prefix=NAMESPACE)
    assert seen.json["owner"]["life"] == "alive"
    assert "owner_dead" not in seen.codes
    taken = world.tenure("owner", "take", "--json", prefix=NAMESPACE)
    assert taken.code == 3
    assert world.status().json["owner"]["term"] == 1
    outside.kill()
    inside.says("owner of default")
    status = world.status().json
    assert status["owner"]["life"] == "alive"
    assert status["owner"]["term"] == 2
    assert world.trigger().code == 0

    # And back: the owner inside dies, one outside waits for exactly that.
    back = world.serve()
    eventually(lambda: "candidate" in world.status().out, "a candidate outside")
    assert "owner of" not in back.log
    inside.kill()
    back.says("owner of default")
    world.audit()


def test_a_live_file_that_is_gone_proves_nothing(world: World) -> None:
    """A file gone, or another namespace: unverifiable, so only by force."""
    needs_namespaces()
    inside = world.serve(prefix=NAMESPACE)
    inside.says("owner of default")
    (live,) = (world.profile / "live").iterdir()
    live.unlink()
    second = world.serve()
    eventually(lambda: "candidate" in world.status().out, "the second to be a candidate")
    warning = world.status().warning("owner_unverifiable")
    assert "owner take --force" in warning["remedy"]
    refused = world.tenure("owner", "take", "--json")
    assert refused.code == 3
    assert "--force" in refused.error["remedy"]
    assert "owner of" not in second.log
    world.ok("owner", "take", "--force")
    second.says("owner of default")
    inside.says("lost ownership")
    world.audit()


NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def foreign_tenure(prefix: tuple[str, ...] = NOBODY) -> tuple[str, ...]:
    """A `tenure` that another uid can run: its Python must lie where that uid may read."""
    for python in (sys.executable, "/usr/bin/python3"):
        found = subprocess.run(
            [*prefix, python, "-c", "import tenure.surfaces.cli.main, tenure.runtime.daemon"],
            check=False, capture_output=True, env=foreign_env(),
        )  # fmt: skip
        if found.returncode == 0:
            return (python, "-m", TENURE[2])
    pytest.skip("no Python of 3.11 or later that another uid can run")


def foreign_env() -> dict[str, str]:
    packages = [p for p in sys.path if p.endswith("site-packages")]
    return {"PYTHONPATH": os.pathsep.join([str(SOURCE), *packages]), "PATH": os.environ["PATH"]}


@pytest.fixture
def open_world() -> Iterator[World]:
    """Where another uid may go: pytest keeps its own folders shut."""
    folder = Path(tempfile.mkdtemp(prefix="tenure-world-"))
    folder.chmod(0o777)
    one = World(folder)
    yield one
    one.close()
    shutil.rmtree(folder)


@pytest.mark.root
@needs_root
def test_another_uid_is_refused(open_world: World) -> None:
    world = open_world
    world.owner()
    world.add()
    before = sorted(os.listdir(world.profile))
    tenure = foreign_tenure()
    # Even where the file modes would let it in.
    for folder in (world.home, world.home / "profiles", world.profile):
        folder.chmod(0o777)
    for verb in (("status",), ("add", "every 1h", "--", "true"), ("serve",), ("list",)):
        world.profile.chmod(0o777)
        answer = world.tenure("--json", *verb, prefix=NOBODY, tenure=tenure, env=foreign_env())
        assert answer.code == 3, answer
        assert "belongs to uid 0" in answer.error["text"]
        assert "as that user" in answer.error["remedy"]
    assert sorted(os.listdir(world.profile)) == before
    assert [j["name"] for j in world.ok("list", "--json").json["jobs"]] == ["job"]
    # The owner's own next command has closed the folder again.
    assert world.profile.stat().st_mode & 0o077 == 0
    # Not even let in, it is told the same way.
    world.profile.chmod(0o700)
    (world.home / "profiles").chmod(0o700)
    world.home.chmod(0o700)
    shut = world.tenure("--json", "status", prefix=NOBODY, tenure=tenure, env=foreign_env())
    assert shut.code == 3
    assert shut.error["remedy"]


@pytest.mark.root
@needs_root
def test_root_is_another_uid_too(open_world: World) -> None:
    """Root could open a user's profile; it would leave files there that the user cannot use."""
    world = open_world
    tenure = foreign_tenure()
    as_nobody = {"prefix": NOBODY, "tenure": tenure, "env": foreign_env()}
    made = world.tenure("add", "every 1h", "--name", "theirs", "--", "true", **as_nobody)
    assert made.code == 0, made
    answer = world.tenure("status", "--json")
    assert answer.code == 3
    assert "belongs to uid 65534" in answer.error["text"]
    assert world.tenure("status", **as_nobody).code == 1


def output_of(world: World, **how: Any) -> list[str]:
    """What a triggered `pwd; id -u` printed."""
    how["env"] = {**how.get("env", {}), "TENURE_LOG": "info"}
    owner = world.serve(**how)
    owner.says("owner of default")
    world.ok("add", "every 1h", "--name", "where", "--shell", "--", "pwd; id -u", **how)
    run = world.trigger("where", **how)
    assert run.code == 0, (run, owner.log)
    return world.ok("logs", "where", **how).out.splitlines()


WITHOUT_ENTRY = ("setpriv", "--reuid", "54321", "--regid", "0", "--clear-groups")


@pytest.mark.root
@needs_root
@pytest.mark.parametrize(("prefix", "user"), [(WITHOUT_ENTRY, "54321"), (NOBODY, "65534")])
def test_a_user_without_a_home_folder_runs_jobs(
    open_world: World, prefix: tuple[str, ...], user: str
) -> None:
    """As containers are run: a uid without a passwd entry, or one whose home does not exist."""
    how = {"prefix": prefix, "tenure": foreign_tenure(), "env": {**foreign_env(), "HOME": "/"}}
    assert output_of(open_world, **how) == ["/", user]


def test_root_of_a_user_namespace_runs_jobs_in_a_folder_that_it_can_enter(
    open_world: World,
) -> None:
    """Rootless containers: uid 0 there is not root, and the home folder of root is shut."""
    prefix: tuple[str, ...] = ("unshare", "-r")
    how: dict[str, Any] = {"env": {"HOME": str(open_world.folder)}}
    if ROOT:
        prefix = (*NOBODY, *prefix)
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no user namespaces")
    if ROOT:
        how = {"tenure": foreign_tenure(prefix), "env": {**foreign_env(), **how["env"]}}
    enters = subprocess.run(
        [*prefix, "sh", "-c", "cd ~root"], capture_output=True, check=False
    ).returncode
    assert enters, "the home folder of root is open here: nothing is shown by what follows"
    assert output_of(open_world, prefix=prefix, **how) == [str(open_world.folder), "0"]
