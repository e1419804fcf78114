"""The embedded engine: one SQLite file, through apsw, with group commit."""

from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore

__all__ = ["EmbeddedOptions", "EmbeddedStore"]
