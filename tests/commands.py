"""What a command printed, and its exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        document = json.loads(self.out)
        assert document["v"] == 1
        return document

    @property
    def error(self) -> Any:
        """The error document; the remedy must be in it."""
        document = json.loads(self.out)
        assert document["error"]["remedy"], document
        return document["error"]

    @property
    def codes(self) -> set[str]:
        """The warnings of a status."""
        return {warning["code"] for warning in self.json["warnings"]}

    def warning(self, code: str) -> Any:
        found = [w for w in self.json["warnings"] if w["code"] == code]
        assert found, f"no warning {code}: {self.json['warnings']}"
        assert found[0]["remedy"]
        return found[0]
