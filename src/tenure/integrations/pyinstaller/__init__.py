"""PyInstaller asks for its hook by an entry point: the store's SQL and the page's templates are
files of the package, which it does not find by itself."""

from pathlib import Path


def hook_folders() -> list[str]:
    """Where PyInstaller looks for its hooks."""
    return [str(Path(__file__).parent)]
