"""The guard: figures of the hot path that no machine changes, kept in the repository."""
