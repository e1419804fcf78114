"""The store in SQLite, one batch of commits at a time: what it asks of Python, SQLite and the disk.

The writer takes whatever is queued, so left alone no two batches are alike. Here the simulated disk
(`lossy_vfs`) is held inside a first commit's write; what is submitted meanwhile is queued whole and
makes exactly one batch when the disk goes on.
"""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import apsw

from bench.guard.counting import Calls, total
from lithox.store.contract import Commit
from lithox.store.embedded.lossy_vfs import LossyDisk
from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore

VALUE: Final = bytes(23)
BATCH: Final = 64
DISK: Final = "lithox-guard"
HELD_BATCHES: Final = 2
"""The one that is held, with one commit, and the one behind it."""
ANSWER_S_MAX: Final = 30.0
"""A disk that is held for longer is a bug of this module."""


class BatchFigures:
    """Counts of the store's work for one batch of `BATCH` commits of one cell each.

    Args:
        folder: an empty one.
        is_counted: False leaves the writer's thread alone, for counting its instructions.
    """

    def __init__(self, folder: Path, *, is_counted: bool = True) -> None:
        self._posted: SimpleQueue[Any] = SimpleQueue()
        self._writer = Calls()
        self._statements = 0
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._disk = LossyDisk(DISK)
        self._left = 0
        apsw.connection_hooks.append(self._listen)
        if is_counted:
            self._writer.count_elsewhere()
        try:
            self._store = EmbeddedStore.open(
                folder / "lithox.db", post=self._posted.put, options=EmbeddedOptions(vfs=DISK)
            )
        finally:
            self._writer.stop_elsewhere()
            apsw.connection_hooks.remove(self._listen)

    def _listen(self, connection: apsw.Connection) -> None:
        connection.set_exec_trace(self._note_statement)

    def _note_statement(self, *_: Any) -> bool:
        self._statements += 1
        self._begun.put(None)
        return True

    def _submit(self, number: int) -> None:
        entity = f"shop/cart/{number}"
        snapshot = self._store.open_snapshot()
        snapshot.find(entity, "count")
        reads = [(entity, "count")]
        writes: dict[tuple[str, str], bytes | None] = {(entity, "count"): VALUE}
        commit = Commit(snapshot.version, reads, (), writes)
        snapshot.release()
        if self._store.submit(commit, self._on_done) is None:
            raise SystemExit("nothing else writes to this store")
        self._left += 1

    def _on_done(self, error: Exception | None) -> None:
        if error is not None:
            raise SystemExit(f"the guard's own disk failed: {error!r}")
        self._left -= 1

    def _await_all(self) -> None:
        while self._left:
            self._posted.get(timeout=ANSWER_S_MAX)()

    def make_batch(self) -> None:
        """Makes one batch of `BATCH` commits behind one that is held."""
        while not self._begun.empty():
            self._begun.get()
        self._disk.hold()
        self._submit(BATCH)
        self._begun.get(timeout=ANSWER_S_MAX)
        for number in range(BATCH):
            self._submit(number)
        self._disk.release()
        self._await_all()

    def measure(self) -> dict[str, float]:
        """Returns the figures of the two batches together, by commit. Blocks: milliseconds."""
        for _ in range(3):
            self.make_batch()
        store, disk = self._store, self._disk
        before = (store.statistics()["batches"], self._statements)
        files = (disk.syncs.total(), disk.writes.total())
        self._writer.clear()
        submitting = Calls()
        submitting.count(self.make_batch)
        batches = store.statistics()["batches"] - before[0]
        if batches != HELD_BATCHES:
            raise SystemExit(f"{batches} batches, and there should be {HELD_BATCHES}")
        commits = BATCH + 1
        return {
            "statements_a_batch": (self._statements - before[1]) / batches,
            "syncs_a_batch": (disk.syncs.total() - files[0]) / batches,
            "file_writes_a_batch": (disk.writes.total() - files[1]) / batches,
            "python_calls": total(submitting.python) / commits,
            "c_calls": total(submitting.c) / commits,
            "writer_python_calls": total(self._writer.python) / commits,
            "writer_c_calls": total(self._writer.c) / commits,
        }

    def close(self) -> None:
        """Closes the store and forgets the disk."""
        self._store.close()
        self._disk.unregister()
