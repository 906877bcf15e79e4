"""One installed Hermes Agent, seen from outside; see scripts/hermes_venvs.py."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "hermes_venvs.py"
_spec = importlib.util.spec_from_file_location("hermes_venvs", _SCRIPT)
assert _spec is not None
assert _spec.loader is not None
venvs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(venvs)


@dataclass(frozen=True, slots=True)
class HermesVenv:
    """A Hermes Agent as its users have it: not edited, in an environment of its own."""

    version: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter: what ``import cron.jobs`` needs."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """``hermes``."""
        return self.folder / "bin" / "hermes"

    @property
    def site_packages(self) -> Path:
        """Where its modules lie. To be read only."""
        return next(self.folder.glob("lib/python3.*/site-packages"))
