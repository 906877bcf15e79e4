"""A page as a browser would read it, without one: checked for what every page must have."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

VOID = frozenset({"br", "col", "img", "input", "link", "meta", "option", "rect", "use", "path"})
"""Elements that are never closed, or need not be."""
NAMED = frozenset({"input", "select", "textarea"})


class Shown(HTMLParser):
    """The elements of a page in order, and what is wrong with them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        if self.open:
            self.wrong.append(f"not closed: {self.open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self.wrong += [f"{tag} has {name}" for name in found if name.startswith("on")]
        if "style" in found or tag == "style":
            self.wrong.append(f"{tag} has a style of its own")
        if tag == "script" and not found.get("src", "").startswith("/static/"):
            self.wrong.append("a script that is no file of ours")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self.open[-3:]}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    # -- asked by tests ------------------------------------------------------------------------
    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(attrs.get(k) == v for k, v in wanted.items())
        ]

    def said(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def value(self, name: str) -> str:
        """What an input of the form holds."""
        for attrs in self.all("input", name=name):
            if attrs.get("type") in ("checkbox", "radio"):
                return "on" if "checked" in attrs else ""
            return attrs.get("value", "")
        found = re.search(rf'<textarea[^>]*name="{name}"[^>]*>\n?(.*?)</textarea>', self.text, re.S)
        if found:
            import html

            return html.unescape(found[1])
        found = re.search(rf'<select[^>]*name="{name}".*?</select>', self.text, re.S)
        chosen = re.search(r'value="([^"]*)" selected', found[0]) if found else None
        return chosen[1] if chosen else ""

    def form(self) -> dict[str, str]:
        """The job form as a browser would send it untouched."""
        names = {a["name"] for t, a in self.tags if t in NAMED and "name" in a}
        names -= {"theme", "next", "preview"}
        sent = {name: self.value(name) for name in names}
        return {name: value for name, value in sent.items() if value or name not in CHECKS}


CHECKS = ("shell", "protected", "retry_lost", "paused")


def shown(answer: Any, status: int = 200) -> Shown:
    """The page of an answer, sound in what every page must be."""
    assert answer.status_code == status, answer.text[:2000]
    assert answer.headers["content-type"].startswith("text/html")
    page = Shown(answer.text)
    assert not page.wrong, page.wrong
    ids = Counter(attrs["id"] for _, attrs in page.tags if "id" in attrs)
    assert not [name for name, count in ids.items() if count > 1], ids.most_common(3)
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert page.all("html", lang="en")
    _labelled(page, set(ids))
    for attrs in page.all("time"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", attrs["datetime"]), attrs
    return page


def _labelled(page: Shown, ids: set[str]) -> None:
    """Each input has a name that can be spoken, each reference leads somewhere."""
    pointed = {attrs.get("for") for attrs in page.all("label")}
    wrapped = {"checkbox", "radio"}  # their labels are around them
    for tag, attrs in page.tags:
        hidden = attrs.get("type") == "hidden" or "hidden" in attrs
        if tag in NAMED and not hidden and attrs.get("type") not in wrapped:
            assert attrs.get("id") in pointed or "aria-label" in attrs, (tag, attrs)
        for name in ("aria-labelledby", "aria-describedby"):
            for reference in attrs.get(name, "").split():
                assert reference in ids, (tag, name, reference)
