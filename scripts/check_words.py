"""Check the language rules that a program can check.

    check_words.py            every rule over the tree; each count must not exceed its LIMIT
    check_words.py PATH...    list the hits in these files and folders; exit code 1 if any
    check_words.py --wide     also list phrases that are often, but not always, wrong

``make check`` runs the first form. Lower a LIMIT when its count has fallen; never raise one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tenure"

LIMITS = {"spoken": 0, "module": 0, "class": 0, "unit": 0}
"""The most hits that each rule may have in the whole tree."""

SPOKEN = {
    "nobody": "name what is missing: 'no process owns the profile', 'no job has this name'",
    "somebody": "name the process or the user",
    "whoever": "'the process that', 'users who', 'any caller'",
    "whom": "rebuild the sentence around the one who acts: 'the process that asked'",
    "told": "'is notified', 'receives', 'is asked to', or say what it knows",
    "anew": "'again', or leave it out",
    "by now": "'already', or leave it out",
    "at hand": "'available', or leave it out",
    "in words": "'as text', 'readable', or leave it out",
}
SPOKEN_PATTERN = re.compile(
    r"\b(" + "|".join(word.replace(" ", r"\s+") for word in SPOKEN) + r")\b", re.IGNORECASE
)
WIDE_PATTERN = re.compile(
    r"\b(stands|at rest|so many|so long|so often|there is no|is no\b|whose gate|of late|forgo"
    r"|hasten|nor does|lest|as to|heed|whether or no|for it (?:is|has|was)|sees to it)\b",
    re.IGNORECASE,
)
TEXT_SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".sql", ".sh", ".toml", ".yml", ".yaml"}
SKIPPED_FOLDERS = {
    ".git",
    ".venv",
    ".venv-docs",
    "build",
    "dist",
    "site",
    "node_modules",
    "__pycache__",
}

ALLOWED_MODULES = {
    "hosting": "the field's noun: a web server hosts the application",
    "planning": "the field's noun",
}
"""Module names that end like a gerund or a participle, and why they may."""
NOT_PARTICIPLES = {"embed", "feed", "need", "seed", "speed", "ring", "spring", "string", "thing"}
IRREGULAR_PARTICIPLES = {
    "begun", "bound", "chosen", "done", "found", "given", "gone", "held", "hidden", "kept", "known",
    "lent", "lost", "made", "owing", "said", "seen", "sent", "shown", "spent", "taken", "thrown",
    "told", "written",
}  # fmt: skip

UNIT_SUFFIXES = (
    "_S", "_MS", "_US", "_NS", "_SECONDS", "_MINUTES", "_HOURS", "_DAYS", "_HZ", "_RATIO", "_SHARE",
    "_FRACTION", "_FACTOR", "_PERCENT", "_PX", "_BYTES", "_PER_S", "_PER_SECOND",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """One broken rule. ``others`` are further places of the same hit (a class defined twice)."""

    path: Path
    line: int
    rule: str
    text: str
    others: tuple[Path, ...] = ()

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {self.rule}: {self.text}"


def text_files(folder: Path) -> Iterator[Path]:
    """Files that people read below ``folder``, or ``folder`` itself if it is a file."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED_FOLDERS or path.is_symlink():
            continue
        if path.is_dir():
            yield from text_files(path)
        elif path.suffix in TEXT_SUFFIXES and path != Path(__file__).resolve():
            yield path


def whole_tree() -> Iterator[Path]:
    """What the spoken-word rule covers: src, scripts, docs and each .md file outside tests."""
    for path in text_files(ROOT):
        top = path.relative_to(ROOT).parts[0]
        if top in {"src", "scripts", "docs"} or (path.suffix == ".md" and top != "tests"):
            yield path


def spoken_words(paths: Iterable[Path], *, wide: bool = False) -> Iterator[Hit]:
    for path in paths:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            for found in SPOKEN_PATTERN.finditer(line):
                word = re.sub(r"\s+", " ", found[0].lower())
                if word == "in words" and re.search(r"\bfor \w+ in words\b", line):
                    continue  # a loop over a variable
                if line[found.start() - 1 : found.end() + 1] in ('"nobody"', "`nobody`"):
                    continue  # a state in JSON and metrics, which is a promise
                yield Hit(path, number, "spoken", f"{found[0]!r} -> {SPOKEN[word]}")
            for found in WIDE_PATTERN.finditer(line) if wide else ():
                yield Hit(path, number, "phrase", f"{found[0]!r} in: {line.strip()[:90]}")


def module_names(files: Iterable[Path]) -> Iterator[Hit]:
    for path in files:
        name = path.parent.name if path.name == "__init__.py" else path.stem
        last = name.strip("_").rpartition("_")[2]
        is_participle = (
            last in IRREGULAR_PARTICIPLES
            or (re.search(r"[a-z]{2}(ing|ed)$", last) and last not in NOT_PARTICIPLES)
            or name == "passed_over"
        )
        if is_participle and name not in ALLOWED_MODULES:
            text = f"{name} is a gerund or a participle -> name the module by a noun of the field"
            yield Hit(path, 1, "module", text)


def class_names(trees: dict[Path, ast.Module]) -> Iterator[Hit]:
    places: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append((path, node.lineno))
    for name, found in places.items():
        if len(found) > 1:
            (path, line), *others = found
            also = ", ".join(f"{p.relative_to(ROOT)}:{number}" for p, number in others)
            text = f"class {name} is also defined in {also} -> rename all but one"
            yield Hit(path, line, "class", text, tuple(p for p, _ in others))


def float_value(node: ast.expr, known: set[str]) -> bool:
    """Whether the expression is a float: a literal, or arithmetic on one."""
    match node:
        case ast.Constant(value=float()):
            return True
        case ast.Name(id=name):
            return name in known
        case ast.UnaryOp(operand=operand):
            return float_value(operand, known)
        case ast.BinOp(left=left, right=right):
            return float_value(left, known) or float_value(right, known)
    return False


def units(trees: dict[Path, ast.Module]) -> Iterator[Hit]:
    for path, tree in trees.items():
        known: set[str] = set()
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    pass
                case _:
                    continue
            if name != name.upper() or not float_value(value, known):
                continue
            known.add(name)
            if not name.endswith(UNIT_SUFFIXES):
                text = f"{name} has no unit -> {name}_S, or what it counts"
                yield Hit(path, node.lineno, "unit", text)


def all_hits(paths: list[Path], *, wide: bool) -> list[Hit]:
    """Hits of every rule, in the whole tree or in ``paths``."""
    sources = [p for p in text_files(SOURCE) if p.suffix == ".py"]
    trees = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in sources}
    code = [*module_names(sources), *class_names(trees), *units(trees)]
    if not paths:
        return sorted([*spoken_words(whole_tree(), wide=wide), *code])
    spoken = spoken_words((p for path in paths for p in text_files(path)), wide=wide)

    def chosen(hit: Hit) -> bool:
        places = (hit.path, *hit.others)
        return any(place.is_relative_to(path) for place in places for path in paths)

    return sorted({*spoken, *filter(chosen, code)})


def main(arguments: list[str]) -> int:
    wide = "--wide" in arguments
    paths = [Path(a).resolve() for a in arguments if a != "--wide"]
    missing = [p for p in paths if not p.exists()]
    if missing:
        print(f"no such file or folder: {', '.join(map(str, missing))}", file=sys.stderr)
        return 2
    hits = all_hits(paths, wide=wide)
    counts = {rule: sum(hit.rule == rule for hit in hits) for rule in LIMITS}
    summary = ", ".join(f"{rule} {counts[rule]}/{limit}" for rule, limit in LIMITS.items())
    if paths or wide:
        print(*hits, sep="\n")
        return 1 if any(counts.values()) else 0
    broken = [rule for rule, limit in LIMITS.items() if counts[rule] > limit]
    print(*(hit for hit in hits if hit.rule in broken), sep="\n", end="\n" if broken else "")
    print(f"words: {summary}" + ("" if not broken else f"; above the limit: {', '.join(broken)}"))
    for rule, limit in LIMITS.items():
        if counts[rule] < limit:
            print(f"words: lower the limit of '{rule}' to {counts[rule]} in scripts/check_words.py")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
