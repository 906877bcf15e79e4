"""Files of YAML that somebody may have written, with all that is odd in them; some are none."""

from __future__ import annotations

import random

_TOP = (
    "model: gpt\n", "a: 'it''s'\n", "b: it's fine # x\n", "c: |\n  plugins:\n    enabled: [x]\n",
    "d: >-\n   foo\n\n   bar\n", "e: {x: 1,\nplugins: 2}\n", 'f: "multi\nplugins: no\n  x"\n',
    "g:\n- 1\n- plugins: 3\n", "h:\n  plugins:\n    enabled:\n      - q\n", "# plugins:\n", "\n",
    "i: plain\n  'cont\n  more\n", "j: [a, 'b]', \"c\n  d\"]\n", "k: !!str 5\n", "l: &x\n  y: 1\n",
    "m: *x\n", "n: http://x:80/#a\n", "'o': {}\n", "? p\n: q\n", "r: []\n", "s:\t4\n",
    "t: - 3\n", "u: 'x' # '\n", 'v: "a\\"\n', "---\n", "...\n", "<<: *x\n", "w: |2\n    x\n",
    "x: |+\n  x\n\n\n", "y: 'a\n\nplugins: z'\n", "z: @\n", "aa: >\n\n", "bb: [\n# c ] '\n 1]\n",
    "cc: {a: it's}\n", "dd: {'a':'b', \"c\":\"[\"}\n",
    "ee:\n  - |\n    plugins:\n  - - a\n    - b\n", "ff:\n- a: |\n    x\n  b: c\n",
)  # fmt: skip
_NAMES = (
    "a", "'a'", '"b"', "b-c", "d # hi", "x/y", "tenure", "'tenure'", "[n]", "{z: 1}", "k: v",
    "|\n          lit", "*x", "1", "a b", "it's", '"ten\\x75re"', "!!str tenure",
)  # fmt: skip


def _list(r: random.Random, indent: str, key: str) -> str:
    head = indent + r.choice([key, key, key, f"'{key}'", f'"{key}"'])
    kind = r.random()
    if kind < 0.15:
        return f"{head}:{r.choice(['', ' ', '  # c'])}\n"
    if kind < 0.25:
        value = r.choice(["[]", "[ ]", "null", "~", "[] # c", "foo", "{}", "[tenure"])
        return f"{head}: {value}\n"
    if kind < 0.55:
        names = [r.choice([*_NAMES[:4], *_NAMES[5:8], "1"]) for _ in range(r.randint(1, 3))]
        inner = r.choice([", ", ","]).join(names)
        end = r.choice(["", " # z"])
        return f"{head}: [{r.choice(['', ' '])}{inner}{r.choice(['', ' ', ','])}]{end}\n"
    sub = indent + r.choice(["", "  ", "    "])
    rest = ("", "", "", "\n", "# c\n", f"{sub}# d\n")
    names = [r.choice(_NAMES if r.random() < 0.2 else _NAMES[:8]) for _ in range(r.randint(1, 3))]
    lines = [f"{sub}-{r.choice([' ', '   '])}{name}\n{r.choice(rest)}" for name in names]
    return f"{head}:{r.choice(['', ' # c'])}\n" + "".join(lines)


def _plugins(r: random.Random) -> str:
    head = r.choice(["plugins", "plugins", "'plugins'"])
    if r.random() < 0.1:
        values = ("{}", "null", "{} # x", "{enabled: [a]}", "[a]", "foo", "&p", "")
        return f"{head}: {r.choice(values)}\n"
    indent = r.choice(["  ", "    ", " "])
    parts = [_list(r, indent, key) for key in ("enabled", "disabled") if r.random() < 0.7]
    if r.random() < 0.3:
        parts.append(f"{indent}other: |\n{indent}  enabled: [q]\n")
    if r.random() < 0.2:
        parts.append(f"{indent}entries:\n{indent}  a:\n{indent}    enabled: true\n")
    if r.random() < 0.15:
        parts.append(r.choice(["\n", f"{indent}# c\n", "# c\n"]))
    r.shuffle(parts)
    return f"{head}:{r.choice(['', ' ', ' # c'])}\n" + "".join(parts)


def written(seed: int) -> str:
    """The text of this number."""
    r = random.Random(seed)
    parts = [r.choice(_TOP) for _ in range(r.randint(0, 4))]
    if r.random() < 0.8:
        parts.insert(r.randint(0, len(parts)), _plugins(r))
    text = "".join(parts)
    if r.random() < 0.2:
        text = text.replace("\n", "\r\n")
    if r.random() < 0.2:
        text = text.rstrip("\r\n")
    return ("\ufeff" if r.random() < 0.03 else "") + text
