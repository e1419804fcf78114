"""How what is queued becomes durable: one thread, one SQLite transaction for all that waits.

Theory of operation. The thread takes everything that is queued (to a bound), joins it into one
batch and writes it in one transaction; what is queued meanwhile makes the next batch. When a
batch fails the writer tells so and drops what comes out of the queue until the core confirms that
it has withdrawn it all; from then on it probes the disk with a small durable write, less and less
often, until one succeeds.

States: WRITING -> (a batch failed) FAILED -> (withdrawal confirmed) PROBING -> (a probe succeeded)
WRITING. A damaged database stays FAILED. `None` in the queue ends the thread in any state, after
all that was queued before it.

Why the core's versions are never reused: `version_limit` in the database is above every version
that was visible, and is raised in steps long before it is reached; a new start begins there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, cast

import apsw

from lithox.errors import StoreCorrupt, TransactionError
from lithox.store.crash_points import Reach, reach_nothing
from lithox.store.embedded import statements
from lithox.store.embedded.batch import Batch
from lithox.store.embedded.checkpoints import Checkpoints
from lithox.store.embedded.connections import fetch_rows
from lithox.store.embedded.failures import meaning_of_failure
from lithox.store.engine import AuditPart, Listener, Part
from lithox.store.mailbox import Mailbox

VERSION_STEP: Final = 1 << 20
"""Versions reserved at a time. The next step is reserved when half of one is used up, so versions
that are visible but not durable (PENDING_COMMITS_MAX, 262,144) stay below the limit."""
AUDIT_DELAY_S: Final = 0.1
"""How long audit records alone wait for a commit to share its sync."""
AUDIT_ROWS_MAX: Final = 100_000
AUDIT_TRIM_ROWS: Final = 1_024
"""The ring is trimmed once in so many records, and may be longer than its bound by as many."""
PROBE_FIRST_S: Final = 0.1
PROBE_LAST_S: Final = 5.0
"""Seconds between two probes of a failed disk: doubled from the first to the last."""


class _Confirmed:
    """In the queue: the core has withdrawn all that came before."""


Queued = Part | AuditPart | _Confirmed | None


class Writer:
    """The writer's thread and its queue. `start` it once; `stop` it once."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        mailbox: Mailbox,
        checkpoints: Checkpoints,
        reach: Reach = reach_nothing,
        probe_first_s: float = PROBE_FIRST_S,
    ) -> None:
        self._connection = connection
        self._mailbox = mailbox
        self._listener: Listener | None = None
        self._checkpoints = checkpoints
        self._reach = reach
        # Inside one statement there is no place to stop at: a test of crashes sees them all.
        self._is_stepwise = reach is not reach_nothing
        self._queue: SimpleQueue[Queued] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lithox-store-writer", daemon=True)
        self._probe_first_s = probe_first_s
        self._probe_wait_s: float | None = None
        self._is_failed = False
        self._is_damaged = False
        self._is_ended = False
        self.version_limit = 0
        self.batches = self.rows = self.failures = self.probes = 0

    # Called on the node's thread.

    def start(self, listener: Listener, *, is_failed: bool) -> None:
        """Starts the thread; `is_failed`: the disk did not take writes, probe it first."""
        self._listener = listener
        if is_failed:
            self._is_failed = True
            self._probe_wait_s = self._probe_first_s
        self._thread.start()

    def put(self, part: Part | AuditPart) -> None:
        self._queue.put(part)

    def confirm_withdrawal(self) -> None:
        self._queue.put(_Confirmed())

    def stop(self) -> None:
        """Ends the thread after all that is queued. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def reserve_versions(self) -> int:
        """Returns the highest version ever possible so far; reserves the next step durably.

        Raises:
            apsw.Error: the database cannot be read, or (as FullError ...) not written; then
                `version_limit` is what it was and the thread's first probe reserves.
        """
        rows = fetch_rows(self._connection, statements.SELECT_LIMIT)
        used = rows[0][0] if rows else None
        if type(used) is not int or used < 0:
            raise apsw.CorruptError(f"meta.version_limit is {used!r}, not a version")
        self.version_limit = used
        self._reserve(used + VERSION_STEP)
        return used

    # Called on the writer's thread.

    def _run(self) -> None:
        while not self._is_ended:
            try:
                if self._is_failed:
                    self._wait_failed()
                else:
                    batch = self._collect()
                    if batch.parts_count:
                        self._write(batch)
            except Exception as error:  # noqa: BLE001 - who waits must hear of any
                self._fail(error)

    def _collect(self) -> Batch:
        """Returns all that is queued, waiting for something to be."""
        queue = self._queue
        batch = Batch()
        deadline: float | None = None
        while True:
            try:
                if deadline is not None:
                    part = queue.get(timeout=max(0.0, deadline - time.monotonic()))
                else:
                    part = queue.get(timeout=self._checkpoints.idle_wait_s())
            except Empty:
                if batch.parts_count:
                    return batch
                self._checkpoints.run_idle()
                continue
            if self._add(batch, part):
                return batch
            for _ in range(queue.qsize()):
                if self._add(batch, queue.get()):
                    return batch
            if batch.has_commits():
                return batch
            deadline = deadline or time.monotonic() + AUDIT_DELAY_S

    def _add(self, batch: Batch, part: Queued) -> bool:
        """Adds `part`; returns whether the batch ends here."""
        if part is None:
            self._is_ended = True
            return True
        if isinstance(part, _Confirmed):
            return False
        batch.add(part)
        return batch.is_full()

    def _write(self, batch: Batch) -> None:
        reach = self._reach
        chunks: list[tuple[str, Sequence[Any]]] = batch.to_statements()
        if batch.version > self.version_limit - VERSION_STEP // 2:
            chunks.append((statements.UPDATE_LIMIT, (self.version_limit + VERSION_STEP,)))
        if batch.audit and batch.audit_sequence % AUDIT_TRIM_ROWS < len(batch.audit):
            chunks.append((statements.TRIM_AUDIT, (batch.audit_sequence - AUDIT_ROWS_MAX,)))
        reach("commit.before_begin")
        self._execute(chunks)
        reach("commit.after_sync")
        if batch.version > self.version_limit - VERSION_STEP // 2:
            self.version_limit += VERSION_STEP
        rows = batch.count_rows()
        self.batches += 1
        self.rows += rows
        version, audit_sequence = batch.version, batch.audit_sequence
        self._mailbox.tell(lambda: self._answer(version, audit_sequence))
        self._checkpoints.count_rows(rows)

    def _answer(self, version: int, audit_sequence: int) -> None:
        """Tells the core, on the node's thread."""
        assert self._listener is not None, "the thread runs only after start"
        self._reach("commit.before_answer")
        self._listener.notify_durable(version, audit_sequence)
        self._reach("commit.after_answer")

    def _execute(self, chunks: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Runs the statements in one transaction, durable when this returns."""
        execute = cast("Callable[..., object]", self._connection.execute)
        if len(chunks) == 1 and not self._is_stepwise:
            # A single statement is its own transaction: one step does it all, the sync included.
            execute(*chunks[0])
            return
        execute("BEGIN IMMEDIATE")
        try:
            self._reach("commit.after_begin")
            for text, bindings in chunks:
                execute(text, bindings)
            self._reach("commit.after_rows")
            self._reach("commit.before_sync")
            execute("COMMIT")
        finally:
            # Some errors end the transaction, others leave it open.
            if self._connection.in_transaction:
                execute("ROLLBACK")

    def _reserve(self, limit: int) -> None:
        # One statement is one transaction; it is no commit, so it passes no crash point.
        self._connection.execute(statements.UPDATE_LIMIT, (limit,))
        self.version_limit = limit

    # Failure.

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self._is_failed = True
        self._probe_wait_s = None
        meaning: TransactionError = meaning_of_failure(error, act="a commit")
        self._is_damaged = isinstance(meaning, StoreCorrupt)
        listener = self._listener
        assert listener is not None, "the thread runs only after start"
        self._mailbox.tell(lambda: listener.notify_failed(meaning))

    def _wait_failed(self) -> None:
        """Drops what is queued until the withdrawal is confirmed, then probes at intervals."""
        try:
            part = self._queue.get(timeout=self._probe_wait_s)
        except Empty:
            self._probe()
            return
        if part is None:
            self._is_ended = True
        elif isinstance(part, _Confirmed) and not self._is_damaged:
            self._probe_wait_s = self._probe_first_s

    def _probe(self) -> None:
        self.probes += 1
        try:
            self._reserve(max(self.version_limit, 0) + VERSION_STEP)
        except apsw.Error:
            self._probe_wait_s = min(PROBE_LAST_S, (self._probe_wait_s or 0) * 2)
            return
        assert self._listener is not None, "the thread runs only after start"
        self._is_failed = False
        self._mailbox.tell(self._listener.notify_resumed)
