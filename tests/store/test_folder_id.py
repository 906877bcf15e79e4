"""profile.id: terms that are never reused, and folders that are not what they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.domain.errors import Conflict, CorruptStore, InvalidInput, NotFound
from tenure.store.folder import identity, identity_file
from tenure.store.folder.identity import AdoptionReason, IdentityKind, IdentityProblem, ProfileId
from tenure.store.folder.layout import ProfileFolder

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HERE = "machine-1"


@pytest.fixture
def folder(tmp_path: Path) -> ProfileFolder:
    return ProfileFolder.open("la", tmp_path / "t", create=True)


@pytest.fixture
def first(folder: ProfileFolder) -> ProfileId:
    return identity.create(folder, machine=HERE)


def known(folder: ProfileFolder) -> ProfileId:
    content = identity.read(folder)
    assert content is not None
    return content


def found(
    folder: ProfileFolder, database: tuple[str, int] | None, machine: str = HERE
) -> IdentityProblem:
    problem = identity.check(folder, database, machine=machine)
    assert problem is not None
    assert "`tenure " in problem.remedy
    return problem


def test_creating(folder: ProfileFolder) -> None:
    assert identity.read(folder) is None
    made = identity.create(folder, machine=HERE)
    assert known(folder) == made
    assert uuid.UUID(made.id)
    assert (made.device, made.inode) == folder.key
    assert (made.term, made.reserved_term, made.adopted) == (0, 0, ())
    assert folder.id_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        identity.create(folder, machine=HERE)
    assert known(folder) == made


def test_creating_with_the_databases_id(folder: ProfileFolder) -> None:
    given_id = str(uuid.uuid4())
    with pytest.raises(InvalidInput, match="uuid"):
        identity.create(folder, machine=HERE, id="x")
    assert identity.create(folder, machine="", id=given_id).id == given_id


def test_terms_only_grow_and_survive_a_crash_between(
    folder: ProfileFolder, first: ProfileId
) -> None:
    assert identity.reserve_term(folder) == 1
    assert identity.reserve_term(folder) == 2  # the first was never committed: a gap
    identity.commit_term(folder, 2)
    assert identity.reserve_term(folder, at_least=10) == 11
    assert known(folder).term == 2
    identity.commit_term(folder, 1)  # late, and older
    assert known(folder).term == 2
    identity.commit_term(folder, 30)
    assert (known(folder).term, known(folder).reserved_term) == (30, 30)
    for bad in (-1, 2**62):
        with pytest.raises(InvalidInput):
            identity.reserve_term(folder, at_least=bad)
    assert known(folder).reserved_term == 30


def test_terms_need_a_file(folder: ProfileFolder) -> None:
    for act in (identity.reserve_term, lambda f: identity.commit_term(f, 1)):
        with pytest.raises(NotFound, match="gone"):
            act(folder)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=20,
)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["reserve", "commit", "adopt"]), st.integers(0, 9)))
)
def test_no_term_is_given_out_twice(folder: ProfileFolder, steps: list[tuple[str, int]]) -> None:
    folder.id_file.unlink(missing_ok=True)
    identity.create(folder, machine=HERE)
    highest = 0
    for verb, number in steps:
        if verb == "commit":
            identity.commit_term(folder, number)
            highest = max(highest, number)
            continue
        if verb == "reserve":
            new = identity.reserve_term(folder, at_least=number)
        else:
            new = identity.adopt(folder, AdoptionReason.RESTORED, number, machine=HERE, now=NOW)
        assert new > max(highest, number)
        highest = new


@pytest.mark.real
def test_processes_that_reserve_at_once_get_different_terms(
    folder: ProfileFolder, first: ProfileId
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tenure.store.folder.layout import ProfileFolder\n"
        "from tenure.store.folder.identity import reserve_term\n"
        "folder = ProfileFolder.open('la', Path(sys.argv[1]))\n"
        "print(*[reserve_term(folder) for _ in range(20)])\n"
    )
    command = [sys.executable, "-c", code, str(folder.home)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    terms = [int(t) for child in children for t in child.communicate(timeout=60)[0].split()]
    assert sorted(terms) == list(range(1, 61))


# -- checking --------------------------------------------------------------------------------


def test_what_belongs_together_is_no_problem(folder: ProfileFolder, first: ProfileId) -> None:
    identity.commit_term(folder, 3)
    for term in (3, 4):
        assert identity.check(folder, (first.id, term), machine=HERE) is None
    assert identity.check(folder, (first.id, 3), machine="") is None


def test_another_device_number_is_the_same_place(folder: ProfileFolder, first: ProfileId) -> None:
    document = json.loads(folder.id_file.read_text())
    document["device"] += 1
    folder.id_file.write_text(json.dumps(document))
    assert identity.check(folder, (first.id, 0), machine=HERE) is None


def test_a_profile_in_the_making_is_no_problem(folder: ProfileFolder) -> None:
    assert identity.check(folder, None, machine=HERE) is None
    assert identity.check(folder, (str(uuid.uuid4()), 0), machine=HERE) is None


def test_a_lost_id_and_a_lost_database(folder: ProfileFolder) -> None:
    assert found(folder, (str(uuid.uuid4()), 5)).kind is IdentityKind.MISSING_ID
    identity.create(folder, machine=HERE)
    gone = found(folder, None)
    assert gone.kind is IdentityKind.MISSING_DB
    assert "restore" in gone.remedy


def test_a_copied_or_moved_folder(folder: ProfileFolder, first: ProfileId, tmp_path: Path) -> None:
    shutil.copytree(folder.path, folder.path.parent / "copy")
    copy = ProfileFolder.open("copy", folder.home)
    elsewhere = found(copy, (first.id, 0))
    assert elsewhere.kind is IdentityKind.ELSEWHERE
    assert "--moved" in elsewhere.remedy
    assert "--copied" in elsewhere.remedy
    assert identity.check(folder, (first.id, 0), machine=HERE) is None
    # Renamed within one file system, it is the same folder.
    os.rename(folder.path, folder.path.parent / "renamed")
    renamed = ProfileFolder.open("renamed", folder.home)
    assert identity.check(renamed, (first.id, 0), machine=HERE) is None
    # The same numbers on a cloned machine are not.
    assert found(renamed, (first.id, 0), machine="machine-2").kind is IdentityKind.ELSEWHERE


def test_a_restored_or_replaced_database(folder: ProfileFolder, first: ProfileId) -> None:
    identity.commit_term(folder, 7)
    old = found(folder, (first.id, 6))
    assert old.kind is IdentityKind.RESTORED
    assert "term 6, but term 7" in old.text
    other = found(folder, (str(uuid.uuid4()), 9))
    assert other.kind is IdentityKind.RESTORED
    assert "not the one" in other.text


@pytest.mark.parametrize("how", list(AdoptionReason))
def test_adopting_settles_it_above_both(folder: ProfileFolder, how: AdoptionReason) -> None:
    first = identity.create(folder, machine="old-machine")
    identity.reserve_term(folder, at_least=4)
    floor = identity.adopt(folder, str(how), 9, machine=HERE, now=NOW, database_id=first.id)
    assert floor == 10
    assert known(folder).term == known(folder).reserved_term == floor
    now_known = known(folder)
    assert (now_known.id == first.id) is (how is not AdoptionReason.COPIED)
    assert identity.check(folder, (now_known.id, floor), machine=HERE) is None
    # A crash before the floor reached the database leaves the problem standing.
    assert found(folder, (now_known.id, 9)).kind is IdentityKind.RESTORED
    assert identity.reserve_term(folder) == 11
    record = now_known.adopted[-1]
    assert (record["how"], record["term"], record["from_machine"]) == (how, 10, "old-machine")
    assert identity.adopt(folder, how, 2, machine=HERE, now=NOW) == 12


def test_adopting_without_a_file_takes_the_databases_id(folder: ProfileFolder) -> None:
    database = (str(uuid.uuid4()), 5)
    floor = identity.adopt(
        folder, AdoptionReason.RESTORED, 5, machine=HERE, now=NOW, database_id=database[0]
    )
    assert (known(folder).id, floor) == (database[0], 6)
    folder.id_file.unlink()
    assert identity.adopt(folder, AdoptionReason.MOVED, 5, machine=HERE, now=NOW) == 6
    assert known(folder).adopted[0]["from_id"] is None


def test_adopting_wrongly_changes_nothing(folder: ProfileFolder, first: ProfileId) -> None:
    with pytest.raises(InvalidInput) as caught:
        identity.adopt(folder, "stolen", 1, machine=HERE, now=NOW)
    assert caught.value.field == "how"
    with pytest.raises(InvalidInput):
        identity.adopt(folder, AdoptionReason.MOVED, -1, machine=HERE, now=NOW)
    with pytest.raises(InvalidInput):
        identity.adopt(folder, AdoptionReason.MOVED, 1, machine=HERE, now=NOW, database_id="x")
    assert known(folder) == first


def test_adoptions_are_bounded(folder: ProfileFolder, first: ProfileId) -> None:
    for _ in range(25):
        identity.adopt(folder, AdoptionReason.MOVED, 0, machine=HERE, now=NOW)
    assert len(known(folder).adopted) == 20
    assert known(folder).adopted[-1]["term"] == 25


# -- the file --------------------------------------------------------------------------------

GOOD = {"v": 1, "id": str(uuid.uuid4()), "device": 1, "inode": 2, "machine": "m", "term": 0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 40_000,
        json.dumps({**GOOD, "v": 2, "reserved_term": 0}),
        json.dumps(GOOD),
        json.dumps({**GOOD, "reserved_term": -1}),
        json.dumps({**GOOD, "reserved_term": True}),
        json.dumps({**GOOD, "reserved_term": "5"}),
        json.dumps({**GOOD, "reserved_term": 0, "id": "x"}),
        json.dumps({**GOOD, "reserved_term": 0, "id": 5}),
        json.dumps({**GOOD, "reserved_term": 0, "machine": None}),
        json.dumps({**GOOD, "reserved_term": 0, "adopted": 1}),
        json.dumps({**GOOD, "reserved_term": 0, "adopted": [1]}),
    ],
)
def test_a_damaged_file_is_never_overwritten(folder: ProfileFolder, text: str) -> None:
    folder.id_file.write_text(text)
    acts = (
        lambda: identity.read(folder),
        lambda: identity.create(folder, machine=HERE),
        lambda: identity.reserve_term(folder),
        lambda: identity.commit_term(folder, 1),
        lambda: identity.check(folder, None, machine=HERE),
        lambda: identity.adopt(folder, AdoptionReason.MOVED, 1, machine=HERE, now=NOW),
    )
    for act in acts:
        with pytest.raises(CorruptStore) as caught:
            act()
        assert caught.value.remedy
    assert folder.id_file.read_text() == text


def test_an_unreadable_file_is_damage(folder: ProfileFolder) -> None:
    folder.id_file.mkdir()
    with pytest.raises(CorruptStore):
        identity.read(folder)


def test_a_failed_write_leaves_the_old_file(
    folder: ProfileFolder, first: ProfileId, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(identity_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        identity.reserve_term(folder)
    monkeypatch.undo()
    assert known(folder) == first
    assert identity.reserve_term(folder) == 1


def test_a_file_that_is_looked_at_again_is_not_read_again(
    folder: ProfileFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process of a profile looks every few seconds."""
    identity.create(folder, machine="m1")
    reads = []
    read = identity_file._read
    monkeypatch.setattr(identity_file, "_read", lambda f: reads.append(1) or read(f))
    first = identity_file.look(folder)
    identity_file.look(folder)
    assert len(reads) == 2, "one that was written just now may change without a trace"
    monkeypatch.setattr(identity_file, "_SETTLED_NS", 0)
    assert [identity_file.look(folder) for _ in range(3)] == [first] * 3
    assert len(reads) == 3
    term = identity.reserve_term(folder, 0)
    looked = identity_file.look(folder)
    assert looked is not None
    assert looked.reserved_term == term
    os.utime(folder.id_file)
    folder.id_file.write_bytes(b"?")
    with pytest.raises(CorruptStore):
        identity_file.look(folder)
    folder.id_file.unlink()
    assert identity_file.look(folder) is None
