"""A real database, doctored with plain SQL, and audited through its store."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from tenure.audit import Finding
from tenure.audit.reader import audit_store
from tenure.store.sqlite.store import SqliteStore

sys.path.insert(0, str(Path(__file__).parent.parent / "domain"))
from auditkit import START, eventful_day

POLL = "(SELECT id FROM jobs WHERE name = 'poll')"
A_POLL_RUN = f"(SELECT id FROM runs WHERE job = {POLL} AND term = 1 ORDER BY fire_time LIMIT 1)"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    path = tmp_path_factory.mktemp("audited") / "tenure.db"
    with SqliteStore.create(path, profile_id="p", now=START) as store:
        story = eventful_day(store)
    return path, story.now


@pytest.fixture
def doctored(database: tuple[Path, object], tmp_path: Path) -> Path:
    """A copy of the closed database."""
    path = tmp_path / "tenure.db"
    shutil.copy(database[0], path)
    path.chmod(0o600)
    return path


def findings(path: Path, now: object, *statements: str) -> tuple[Finding, ...]:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = on")
    with connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
    connection.close()
    with SqliteStore.open(path, readonly=True) as store:
        return audit_store(store, now).findings  # type: ignore[arg-type]


def test_a_real_database_is_clean(database: tuple[Path, object], doctored: Path) -> None:
    with SqliteStore.open(doctored, readonly=True) as store:
        report = audit_store(store, database[1])  # type: ignore[arg-type]
    assert report.clean, [f.text for f in report.findings]
    assert report.checked["runs"] > 150
    assert report.checked["requests"] == 3
    assert report.checked["holds"] == 2


@pytest.mark.parametrize(
    ("expected", "statement"),
    [
        ("C5 fire_unaccounted", f"DELETE FROM runs WHERE id = {A_POLL_RUN}"),
        ("C5 fire_unaccounted", f"DELETE FROM omissions WHERE job = {POLL}"),
        ("C3 not_the_holder", f"UPDATE runs SET term = 2 WHERE id = {A_POLL_RUN}"),
        ("C3 not_the_holder", f"UPDATE runs SET process = 'desk' WHERE id = {A_POLL_RUN}"),
        ("C3 policy_unknown", f"UPDATE runs SET policy_version = 8 WHERE id = {A_POLL_RUN}"),
        ("C1 ownership_disagrees", "UPDATE ownership SET term = 3"),
        ("C1 two_owners", "UPDATE terms SET ended_at = NULL WHERE term = 2"),
        ("C1 terms_overlap", "UPDATE terms SET ended_at = ended_at + 60000000 WHERE term = 1"),
        ("C4 finished_before_start", f"UPDATE runs SET finished_at = 5 WHERE id = {A_POLL_RUN}"),
        ("C5 hold_miscounted", "UPDATE omissions SET claimed = claimed + 1 WHERE kind = 'held'"),
        ("C6 end_missing", f"UPDATE runs SET finished_at = NULL WHERE id = {A_POLL_RUN}"),
        ("C7 accepted_late", "UPDATE requests SET deadline = asked_at WHERE state = 'done'"),
        ("C7 refused_without_remedy", "UPDATE requests SET remedy = '' WHERE state = 'refused'"),
        (
            "C8 protected_without_authority",
            "UPDATE runs SET protected = 1 WHERE term = 2 AND job_name = 'poll'",
        ),
        ("C10 provenance_missing", "DELETE FROM processes WHERE id = 'desk'"),
        (
            "C5 watermark_ahead",
            "UPDATE jobs SET watermark = watermark + 86400000000 WHERE name = 'once'",
        ),
    ],
)
def test_what_sql_doctored_is_found(
    database: tuple[Path, object], doctored: Path, expected: str, statement: str
) -> None:
    found = findings(doctored, database[1], statement)
    assert {f"{f.clause} {f.code}" for f in found} == {expected}, [f.text for f in found]
