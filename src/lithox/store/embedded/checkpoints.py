"""When the log goes into the database file: after answers, when idle, and when the log is long.

The log (WAL) is the only file a commit syncs. Copying it into the database costs a read and a
write of every page changed since, and two syncs, so it is done by the writer between two batches
once the log has LOG_PAGES_MAX pages, never inside a commit, and when nothing is to be written.
A copied log is begun again from its start, so its file stays near LOG_PAGES_MAX pages, unless a
foreign program keeps a read transaction open. A failed copy harms nothing: the log remains.
"""

from __future__ import annotations

from typing import Final

import apsw

from lithox.store.crash_points import Reach

LOG_PAGES_MAX: Final = 16_384
"""64 MiB of pages of 4 KiB. See docs/decisions/0003-store-writer.md for other figures."""
LOG_PAGES_HARD_MAX: Final = 4 * LOG_PAGES_MAX
"""Where SQLite itself copies inside a commit, should we not have come to it."""
LOOK_SHARE: Final = 4
"""The log's length is asked for each time so many times fewer rows than pages allowed were
written: a row changes at most about one page."""
IDLE_S: Final = 0.5
"""Seconds without work after which the log is copied."""


class Checkpoints:
    """The policy and its counters; used on the writer's thread only."""

    __slots__ = (
        "_connection",
        "_log_pages_max",
        "_look_rows",
        "_reach",
        "_rows",
        "checkpoints",
        "failures",
        "log_pages",
    )

    def __init__(
        self, connection: apsw.Connection, *, reach: Reach, log_pages_max: int = LOG_PAGES_MAX
    ) -> None:
        self._connection = connection
        self._log_pages_max = log_pages_max
        self._look_rows = max(1, log_pages_max // LOOK_SHARE)
        self._reach = reach
        self._rows = 0
        self.checkpoints = self.failures = self.log_pages = 0

    def count_rows(self, rows: int) -> None:
        """Notes that `rows` were written; copies the log when it has grown long."""
        self._rows += rows
        if self._rows % self._look_rows >= rows:
            return
        try:
            self.log_pages, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        except apsw.Error:
            self.failures += 1
            return
        if self.log_pages >= self._log_pages_max:
            self._copy()

    def idle_wait_s(self) -> float | None:
        """Returns after how many seconds without work `run_idle` is due; None: never."""
        return IDLE_S if self._rows else None

    def run_idle(self) -> None:
        self._copy()

    def _copy(self) -> None:
        self._rows = 0
        self._reach("checkpoint.before")
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.checkpoints += 1
        except apsw.Error:
            self.failures += 1
        self._reach("checkpoint.after")
