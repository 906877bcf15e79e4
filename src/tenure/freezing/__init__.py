"""PyInstaller: what it does not find by itself. It asks for this by an entry point of the package.

The CLI, the page and the adapters are loaded by name; the store's SQL and the page's templates are
files of the package.
"""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Where PyInstaller looks for its hooks."""
    return [str(Path(__file__).parent)]
