"""Tenure into plugins.enabled and out of it, in every way that people write it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tenure.adapters.hermes.adopt.config_edit import (
    Edit,
    enabled_in,
    is_enabled,
    plan_edit,
    scalar_in,
    verify,
)
from tenure.adapters.hermes.back import config_lines
from tenure.adapters.hermes.back.config_lines import NotEditable
from tenure.domain.errors import OutcomeUnknown, Refused

PATH = Path("/home/me/.hermes/config.yaml")


def enable(text: str) -> str:
    return plan_edit(PATH, text.encode()).after.decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "plugins:\n  enabled:\n  - tenure\n"),
        ("# only this\n", "# only this\nplugins:\n  enabled:\n  - tenure\n"),
        ("a: 1\n", "a: 1\nplugins:\n  enabled:\n  - tenure\n"),
        ("a: 1", "a: 1\nplugins:\n  enabled:\n  - tenure"),
        ("a: 1\r\n", "a: 1\r\nplugins:\r\n  enabled:\r\n  - tenure\r\n"),
        ("---\na: 1\n", "---\na: 1\nplugins:\n  enabled:\n  - tenure\n"),
        ("plugins:\n", "plugins:\n  enabled:\n  - tenure\n"),
        ("plugins:  # none\nb: 2\n", "plugins:  # none\n  enabled:\n  - tenure\nb: 2\n"),
        ("plugins: {}\n", "plugins:\n  enabled:\n  - tenure\n"),
        ("plugins: {}  # none\n", "plugins:  # none\n  enabled:\n  - tenure\n"),
        ("plugins: null\n", "plugins:\n  enabled:\n  - tenure\n"),
        (
            "plugins:\n    # mine\n    disabled: [a]\n",
            "plugins:\n    enabled:\n    - tenure\n    # mine\n    disabled: [a]\n",
        ),
        ("plugins:\n  enabled:\n", "plugins:\n  enabled:\n  - tenure\n"),
        (
            "plugins:\n  enabled: # none\n  x: 1\n",
            "plugins:\n  enabled: # none\n  - tenure\n  x: 1\n",
        ),
        ("plugins:\n  enabled: []\n", "plugins:\n  enabled: [tenure]\n"),
        ("plugins:\n  enabled: [ ]  # none\n", "plugins:\n  enabled: [tenure ]  # none\n"),
        ("plugins:\n  enabled: null\n", "plugins:\n  enabled: [tenure]\n"),
        ("plugins:\n  enabled: ~ # x\n", "plugins:\n  enabled: [tenure] # x\n"),
        (
            "plugins:\n  enabled: [a, 'b']  # two\n",
            "plugins:\n  enabled: [a, 'b', tenure]  # two\n",
        ),
        ("plugins:\n  enabled: [a, ]\n", "plugins:\n  enabled: [a, tenure ]\n"),
        (
            "plugins:\n  enabled:\n    - a  # one\n    # two\n\nb: 2\n",
            "plugins:\n  enabled:\n    - a  # one\n    - tenure\n    # two\n\nb: 2\n",
        ),
        ("plugins:\n  enabled:\n  - a", "plugins:\n  enabled:\n  - a\n  - tenure"),
        ("plugins:\n  'enabled':\n  - \"a\"\n", "plugins:\n  'enabled':\n  - \"a\"\n  - tenure\n"),
        (
            "plugins:\n  disabled:\n  - tenure\n  - a\n",
            "plugins:\n  enabled:\n  - tenure\n  disabled:\n  - a\n",
        ),
        (
            "plugins:\n  enabled: []\n  disabled: [tenure]\n",
            "plugins:\n  enabled: [tenure]\n  disabled: []\n",
        ),
        (
            "plugins:\n  enabled: [a]\n  disabled: # why\n    - 'tenure'\n",
            "plugins:\n  enabled: [a, tenure]\n  disabled: [] # why\n",
        ),
    ],
)
def test_every_other_byte_stays(before: str, after: str) -> None:
    assert enable(before) == after
    assert enabled_in(after.encode()) == (True, False)
    assert enable(after) == after


@pytest.mark.parametrize(
    "hidden",
    [
        "a: |\n  plugins:\n    enabled: [x]\n",
        "a: >-\n\n    plugins:\n  \n",
        "a:\n  plugins:\n    enabled: [x]\n",
        "a:\n- plugins: x\n",
        "a: it's\n  'plugins: x\n",
        "# plugins: [x]\n",
    ],
)
def test_what_only_looks_like_the_key_is_left(hidden: str) -> None:
    assert enable(hidden) == hidden + "plugins:\n  enabled:\n  - tenure\n"


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nplugins: {enabled: [a]}\n", 2, "more than one key"),
        ("plugins:\n\tenabled: []\n", 2, "tab"),
        ("plugins: &p\n  enabled: []\n", 1, "anchor"),
        ("x: &e [a]\nplugins:\n  enabled: *e\n", 3, "anchor"),
        ("plugins:\n  enabled: [a,\n    b]\n", 2, "several lines"),
        ("plugins:\n  enabled: [[a]]\n", 2, "more than names"),
        ("plugins:\n  enabled: a\n", 2, "not a list"),
        ("plugins:\n  enabled:\n    a: b\n", 3, "one name a line"),
        ("plugins:\n  enabled:\n  - |\n    a\n", 3, "one name a line"),
        ("plugins:\n  enabled:\n  -   {a: 1}\n", 3, "one name a line"),
        ("plugins:\n  enabled:\n  - *a\n", 3, "one name a line"),
        ("plugins:\n  enabled:\n  - a\n    b\n", 4, "one name a line"),
        ("plugins:\n- a\n", 2, "list"),
        ('plugins:\n  disabled:\n  - a\n  - "ten\\x75re"\n', 4, "one name a line"),
        ("plugins: {}\nplugins: {}\n", 2, "second time"),
        ("plugins:\n  enabled: []\n  enabled: []\n", 3, "second time"),
        ("plugins:\n  <<: *x\n", 2, "plain key"),
        ("<<: *x\n", 1, "merge"),
        ("a: 1\n---\nb: 2\n", 2, "documents"),
        ("%YAML 1.1\n---\na: 1\n", 1, "directives"),
        ("{}\n", 1, "outermost"),
        ("- a\n", 1, "outermost"),
        ("a: 'x\n\nplugins: y'\n", 3, "more than one key"),
        ('a: "x\\"\nplugins: y"\n', 2, "more than one key"),
        ("a: {b: 1,\nplugins: 2}\n", 2, "more than one key"),
        ("a: [1, # ]\nplugins: 2]\n", 2, "more than one key"),
        ("a: [1,\n2]\n", 2, "outermost"),
        ("a: |\n  text", 2, "block of text"),
        ("a: 1\rb: 2\n", 1, "line break"),
        ("a: x\u2028plugins: y\n", 1, "line break"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_line(text: str, line: int, word: str) -> None:
    with pytest.raises(Refused, match=word) as refused:
        enable(text)
    assert refused.value.facts["line"] == line
    assert str(PATH) in refused.value.remedy


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Refused, match="line 2: not UTF-8"):
        plan_edit(PATH, b"a: 1\nb: \xff\n")


def test_a_byte_order_mark_stays() -> None:
    edit = plan_edit(PATH, "\ufeffplugins: {}\n".encode())
    assert edit.after.decode() == "\ufeffplugins:\n  enabled:\n  - tenure\n"
    assert enabled_in(edit.after) == (True, False)


def test_a_new_file_does_not_look_older_than_hermes() -> None:
    edit = plan_edit(PATH, None, version=33)
    assert edit.after == b"_config_version: 33\nplugins:\n  enabled:\n  - tenure\n"
    assert edit.added == ("plugins", "plugins.enabled")


@pytest.mark.parametrize(
    ("before", "prune", "after"),
    [
        ("a: 1\nplugins:\n  enabled:\n  - tenure\n", True, "a: 1\n"),
        ("a: 1\nplugins:\n  enabled:\n  - tenure", True, "a: 1"),
        ("plugins:\n  enabled:\n  - b\n  - tenure\n", True, "plugins:\n  enabled:\n  - b\n"),
        ("plugins:\n  enabled: [tenure]\n", False, "plugins:\n  enabled: []\n"),
        ("plugins:\n  enabled: [tenure, b]\n", False, "plugins:\n  enabled: [b]\n"),
        ("plugins:\n  enabled: [b, 'tenure']\n", False, "plugins:\n  enabled: [b]\n"),
        ("plugins:\n  enabled: [tenure,]\n", False, "plugins:\n  enabled: []\n"),
        ("plugins:\n  enabled: # x\n  - tenure\n", False, "plugins:\n  enabled: [] # x\n"),
        ("plugins:\n  enabled: [tenure, tenure]\n", False, "plugins:\n  enabled: []\n"),
        ("plugins:\n  enabled: [tenure]\n  b: 1\n", True, "plugins:\n  b: 1\n"),
        ("plugins: {enabled: [b]}\n", True, "plugins: {enabled: [b]}\n"),
        ("a: 1\n", True, "a: 1\n"),
    ],
)
def test_taken_out_again(before: str, prune: bool, after: str) -> None:
    keys = ("plugins", "plugins.enabled") if prune else ()
    assert config_lines.remove(before, "enabled", keys) == after


def test_what_is_not_clear_is_not_taken_out() -> None:
    with pytest.raises(NotEditable, match="several lines"):
        config_lines.remove("plugins:\n  enabled: [tenure,\n    b]\n")
    with pytest.raises(NotEditable, match="plain key"):
        config_lines.remove("plugins:\n  enabled: [tenure,\n  b]\n")


TOP = (
    "model: gpt\n", "a: 'it''s'\n", "b: it's # x\n", "c: |\n  plugins:\n    enabled: [x]\n",
    "d: >-\n   foo\n\n   bar\n", "e: {x: 1,\n plugins: 2}\n", 'f: "multi\n plugins: no\n  x"\n',
    "g:\n- 1\n- plugins: 3\n", "h:\n  plugins:\n    enabled:\n      - q\n", "# plugins:\n", "\n",
    "i: plain\n  'cont\n  more\n", "j: [a, 'b]', \"c\n  d\"]\n", "k: !!str 5\n", "u: 'x' # '\n",
    "n: http://x:80/#a\n", "'o': {}\n", "r: []\n", "t: - 3\n", "bb: [\n# c ] '\n 1]\n",
    "cc: {a: it's}\n", "dd: {'a':'b', \"c\":\"[\"}\n", "y: 'a\n\n plugins: z'\n",
)  # fmt: skip
NAMES = ("a", "'a'", '"b"', "b-c", "x/y", "it's", "1")


def lists(r: random.Random, indent: str, key: str) -> tuple[str, list[str]]:
    """A list as somebody may write it, and what is in it."""
    names = [r.choice(NAMES) for _ in range(r.randint(0, 3))]
    head = indent + r.choice([key, key, f"'{key}'", f'"{key}"'])
    plain = [name.strip("\"'") if name[0] in "'\"" else name for name in names]
    if not names:
        return head + r.choice([":", ":  # c", ": []", ": null", ": ~ # c"]) + "\n", []
    if r.random() < 0.5:
        inner = r.choice([", ", ","]).join(names)
        return f"{head}: [{r.choice(['', ' '])}{inner}{r.choice(['', ' '])}]\n", plain
    sub = indent + r.choice(["", "  ", "    "])
    rest = ("", "", "\n", "# c\n", f"{sub}# d\n")
    lines = [f"{sub}-{r.choice([' ', '   '])}{name}\n{r.choice(rest)}" for name in names]
    return f"{head}:{r.choice(['', ' # c'])}\n" + "".join(lines), plain


def written(r: random.Random) -> tuple[str, list[str]]:
    """A whole config.yaml of known meaning, and what it enables."""
    parts = [r.choice(TOP) for _ in range(r.randint(0, 5))]
    enabled: list[str] = []
    if r.random() < 0.8:
        indent = r.choice(["  ", "    ", " "])
        block, enabled = lists(r, indent, "enabled")
        others = [lists(r, indent, "disabled")[0]] if r.random() < 0.5 else []
        others += [f"{indent}other: |\n{indent}  enabled: [q]\n"] if r.random() < 0.5 else []
        inside = [block, *others]
        r.shuffle(inside)
        parts.insert(r.randint(0, len(parts)), "plugins:\n" + "".join(inside))
    text = "".join(parts)
    return (text.replace("\n", "\r\n") if r.random() < 0.2 else text), enabled


@pytest.mark.parametrize("seed", range(0, 3000, 300))
def test_whatever_is_written_it_goes_in_and_out(seed: int) -> None:
    for number in range(seed, seed + 300):
        text, enabled = written(random.Random(number))
        edit = plan_edit(PATH, text.encode())
        after = edit.after.decode()
        config = config_lines.read(after)
        found = [item.value for item in config_lines.listing(config, "enabled").items]
        assert found == [*enabled, "tenure"], f"{number}: {text!r}"
        rest = iter(after)
        assert all(char in rest for char in text if char not in "~nul"), f"{number}: {text!r}"
        back = config_lines.remove(after, "enabled", edit.added)
        assert enabled_in(back.encode())[0] is False
        if enabled or "plugins.enabled" in edit.added:
            assert back.rstrip() == text.rstrip(), f"{number}: {text!r}"


def test_reading_a_plain_value() -> None:
    content = (
        b"timezone: 'Asia/Tokyo'  # here\ncron:\n  provider: chronos # x\n  x: 1\nb:\n  c: d\n"
    )
    assert scalar_in(content, "timezone") == "Asia/Tokyo"
    assert scalar_in(content, "cron", "provider") == "chronos"
    assert scalar_in(content, "b", "provider") is None
    assert scalar_in(content, "provider") is None
    assert scalar_in(b"a: [", "a") is None
    assert scalar_in(None, "a") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("plugins:\n  enabled: [tenure]\n", (True, False)),
        ("plugins:\n  enabled: [tenure]\n  disabled:\n  - tenure\n", (True, True)),
        ("plugins: {enabled: [tenure]}\n", (None, None)),
        ('plugins:\n  enabled: ["ten\\x75re"]\n', (None, False)),
        ("a: 1\n", (False, False)),
        ("a: 1\n'open\n", (None, None)),
    ],
)
def test_enabled_or_not_or_it_cannot_be_told(
    text: str, answer: tuple[bool | None, bool | None]
) -> None:
    assert enabled_in(text.encode()) == answer


def test_no_python_to_ask_is_said() -> None:
    edit = plan_edit(PATH, b"")
    with pytest.raises(OutcomeUnknown, match="could not be asked"):
        verify(Path("/nowhere/python"), PATH, edit)


def parser(tmp_path: Path, answer: str) -> Path:
    """A Python that answers so."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{answer}'\n")
    script.chmod(0o700)
    return script


def test_an_edit_that_means_something_else_is_refused(tmp_path: Path) -> None:
    edit = Edit(before=b"a: 1\n", after=b"a: 2\n")
    with pytest.raises(Refused, match="something else"):
        verify(parser(tmp_path, '{"same": false, "enabled": true}'), PATH, edit)
    with pytest.raises(Refused, match="ScannerError"):
        verify(parser(tmp_path, '{"error": "ScannerError: x"}'), PATH, edit)
    verify(parser(tmp_path, '{"same": true, "enabled": true}'), PATH, edit)
    assert is_enabled(parser(tmp_path, '{"same": true, "enabled": true}'), PATH, b"")
