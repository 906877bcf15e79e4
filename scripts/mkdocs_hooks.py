"""Hooks of mkdocs: pages link to files of the repository that the site does not contain.

Such a link becomes the path of the file, as code, if the file exists. If not, it stays, and
``mkdocs build --strict`` fails on it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    docs = Path(config["docs_dir"]).resolve()
    here = Path(page.file.abs_src_path).parent

    def replaced(link: re.Match[str]) -> str:
        target = link["target"]
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = (here / target).resolve()
        if path.is_relative_to(docs) or not path.exists():
            return link[0]
        name = path.relative_to(docs.parent).as_posix()
        text = link["text"].strip("`")
        return f"`{name}`" if text in (path.name, path.stem, name) else f"{link['text']} (`{name}`)"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings name other methods by Sphinx's roles; show them as code."""
    return re.sub(r":(?:meth|func|class|attr|mod|exc|data):<code>", "<code>", html)
