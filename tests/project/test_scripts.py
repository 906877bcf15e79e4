"""The checks of `make check` and of the commit hook find what they should, and no more."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_commit  # noqa: E402
import check_words  # noqa: E402
import mkdocs_hooks  # noqa: E402


def rules(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "module.py"
    path.write_text(text)
    trees = {path: ast.parse(text)}
    return [hit.rule for hit in [*check_words.spoken_words([path]), *check_words.units(trees)]]


@pytest.mark.parametrize("word", check_words.SPOKEN)
def test_each_spoken_word_is_found(word: str, tmp_path: Path) -> None:
    assert rules(f"# {word.upper()} here\n", tmp_path) == ["spoken"]
    assert rules(f"# x{word}x\n", tmp_path) == []


def test_a_float_constant_needs_a_unit(tmp_path: Path) -> None:
    text = "A_S = 1.0\nB = 2 * A_S\n_C: float = -0.5\nN = 3\nlocal = 1.0\nD_RATIO = 0.1\n"
    assert rules(text, tmp_path) == ["unit", "unit"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("holding", True), ("passed_over", True), ("schedule_reading", True), ("lent", True),
        ("stored", True), ("settings", False), ("feed", False), ("string", False),
        ("claims", False),
    ],
)  # fmt: skip
def test_a_module_is_named_by_a_noun(name: str, wrong: bool) -> None:
    assert bool(list(check_words.module_names([Path(f"{name}.py")]))) is wrong


def test_a_class_name_is_defined_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check_words, "ROOT", tmp_path)
    trees = {
        tmp_path / "a.py": ast.parse("class Line: ...\nclass _Own: ...\n"),
        tmp_path / "b.py": ast.parse("class Line: ...\nclass _Own: ...\nclass Other: ...\n"),
    }
    (hit,) = check_words.class_names(trees)
    assert "class Line is also defined in b.py:1" in hit.text


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("store: claims name the job's revision\n\nWhy.\n", False),
        ("runtime, store: units in constants", False),
        ("Merge branch 'x'", False),
        ("claims name the job's revision", True),
        ("store: claims name the job's revision.", True),
        ("store: " + "x" * 70, True),
    ],
)
def test_the_subject_of_a_commit(message: str, wrong: bool) -> None:
    assert bool(check_commit.problem(message)) is wrong


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[test_page](../tests/contract/test_page.py)", "`tests/contract/test_page.py`"),
        ("[the tests](../tests/)", "the tests (`tests`)"),
        ("[audit](audit.md#time)", "[audit](audit.md#time)"),
        ("[missing](../no-such-file.py)", "[missing](../no-such-file.py)"),
        ("[elsewhere](https://example.org/x)", "[elsewhere](https://example.org/x)"),
    ],
)
def test_links_out_of_the_documentation_become_paths(link: str, shown: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(abs_src_path=str(ROOT / "docs" / "contract.md")))
    config = {"docs_dir": str(ROOT / "docs")}
    assert mkdocs_hooks.on_page_markdown(link, page=page, config=config, files=None) == shown
