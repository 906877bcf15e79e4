"""The conformance suite: what every store must do, clause by clause.

A store's author writes a test class, and pytest runs the whole suite on it::

    class TestMyStore(StoreConformance):
        def make_store(self, folder: Path) -> Store:
            return MyStore(folder / "my.db")

Each test quotes the clause of the contract that it holds. Needs pytest.
"""

from testkit.conformance.suite import StoreConformance

__all__ = ["StoreConformance"]
