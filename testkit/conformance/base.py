"""The fixture that the suite's parts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.store.contract import Store


class StoreCase:
    """A fresh store for each test, from the author's :meth:`make_store`."""

    def make_store(self, folder: Path) -> Store:
        """A new, empty store; ``folder`` is empty and the test's own."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        made = self.make_store(tmp_path)
        yield made
        made.close()
