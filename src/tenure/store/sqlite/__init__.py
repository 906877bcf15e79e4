from tenure.store.sqlite.store import SqliteStore, load_verbs

__all__ = ["SqliteStore", "load_verbs"]
