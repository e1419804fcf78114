"""How what is queued becomes durable: one thread, one transaction in one round trip.

Theory of operation. The thread joins what is queued into a batch and sends the whole transaction in
one pipeline. Four things can come of it:

- COMMIT is confirmed: it is durable, and told so.
- A guard says that something is not as the batch expects: what, is asked; the core withdraws and
  confirms, and what is queued after that is written as usual.
- The server rolled it back through nobody's fault (a lock, a time-out): the same batch again, after
  a pause, for `AGAIN_S_MAX`. It refused for another reason (a full disk, a missing right): the core
  withdraws, and the thread tries a small write now and then until one succeeds.
- The connection was lost: nobody knows. The core is told to refuse new writes, and a connection is
  made anew, however long that takes. Then the node's own row says whether the batch is in (`FENCE`
  put the batch's number there, in the same transaction), and in the same step gets another number,
  so that a transaction which the server may still be working off can never come in later. If it is
  not in, it is sent again.

States: WRITING, FAILED (drops what is queued until the core confirms), PROBING. A node whose row
another has taken stays FAILED: it was silent for PLACE_IDLE_S.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

import psycopg

from lithox.errors import StoreCorrupt, StoreUnavailable
from lithox.store.crash_points import Reach
from lithox.store.engine import AuditPart, Part
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, Int
from lithox.store.postgres.batch import Batch
from lithox.store.postgres.connections import Connection, is_lost
from lithox.store.postgres.failures import AGAIN, GUARD, RETRY_AFTER_MS, meaning_of_failure
from lithox.store.postgres.link import Link
from lithox.store.postgres.notices import encode_notices
from lithox.store.postgres.schema import NODE_SEEN_S
from lithox.store.postgres.stale import find_stale
from lithox.store.shared import SharedStore

AGAIN_S_MAX: Final = 30.0
"""How long a batch is tried again after the server rolled it back through nobody's fault."""
GATHER_SHARE: Final = 0.25
GATHER_S_MAX: Final = 0.002
"""While some already wait, those just answered usually come again at once: for that share of what a
batch takes, but no longer than this, the next one waits for them. Half the batches of twice the
size cost the server less: measured in docs/decisions/0011-postgresql.md."""
GATHER_STEPS: Final = 4
AUDIT_DELAY_S: Final = 0.1
"""How long audit records alone wait for a commit to share its round trip."""
AUDIT_ROWS_MAX: Final = 100_000
AUDIT_TRIM_ROWS: Final = 1_024
"""The ring is trimmed once in so many records, and may be longer than its bound by as many."""


class _Confirmed:
    """In the queue: the core has withdrawn all that came before."""


class FencedError(Exception):
    """Another node has taken this one's row."""


Queued = Part | AuditPart | _Confirmed | None


class Writer:
    """The writer's thread, its queue and its connection. `start` it once; `stop` it once."""

    def __init__(self, connection: Connection, link: Link) -> None:
        """Writes over `connection`, and over others that `link` makes when it is lost."""
        self._connection = connection
        self._link = link
        self._place = link.place
        self._mailbox = link.mailbox
        self._options = link.options
        self._reach: Reach = link.options.reach
        self._core: SharedStore | None = None
        self._queue: SimpleQueue[Queued] = SimpleQueue()
        self._held: Part | AuditPart | None = None
        self._thread = threading.Thread(target=self._run, name="lithox-store-writer", daemon=True)
        self._applied = link.place.batch
        self._last_number = link.place.batch
        self._probe_wait_s: float | None = None
        self._last_parts = 0
        self._send_s = 0.0
        self._is_failed = False
        self._is_conflict = False
        self._is_damaged = False
        self._is_ended = False
        self._give_up_at: float | None = None
        self.has_peers = True
        self.batches = self.rows = self.failures = self.probes = 0
        self.conflicts = self.again = self.reconnects = 0

    # Called on the node's thread.

    def start(self, core: SharedStore) -> None:
        self._core = core
        self._thread.start()

    def put(self, part: Part | AuditPart) -> None:
        self._queue.put(part)

    def confirm_withdrawal(self) -> None:
        self._queue.put(_Confirmed())

    def stop(self) -> None:
        """Ends the thread after all that is queued, or after `close_wait_s`. Blocks."""
        self._give_up_at = time.monotonic() + self._options.close_wait_s
        self._queue.put(None)
        self._thread.join()
        if not is_lost(self._connection):
            # Without it others see by the time that this place is free.
            with suppress(psycopg.Error):
                self._connection.execute(statements.LEAVE, self._self())
            self._connection.close()

    # Called on the writer's thread.

    def _self(self) -> tuple[Int, Bytes]:
        return Int(self._place.slot), Bytes(self._place.node_id)

    def _run(self) -> None:
        while not self._is_ended or self._held is not None:
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
        """Returns all that is queued and fits, waiting for something to be."""
        queue = self._queue
        batch = Batch()
        if self._held is not None:
            batch.add(self._held)
            self._held = None
        deadline = time.monotonic() if batch.has_commits() else None
        if queue.qsize():
            self._gather(queue.qsize() + self._last_parts)
        while not self._is_ended:
            try:
                if deadline is None:
                    part = queue.get(timeout=NODE_SEEN_S)
                else:
                    part = queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                if batch.parts_count:
                    return batch
                self._say_seen()
                continue
            if self._add(batch, part):
                return batch
            for _ in range(queue.qsize()):
                if self._add(batch, queue.get()):
                    return batch
            if batch.has_commits():
                return batch
            deadline = deadline or time.monotonic() + AUDIT_DELAY_S
        return batch

    def _gather(self, wanted: int) -> None:
        """Waits a little, until `wanted` parts are queued."""
        step_s = min(GATHER_S_MAX, self._send_s * GATHER_SHARE) / GATHER_STEPS
        for _ in range(GATHER_STEPS):
            if self._queue.qsize() >= wanted or self._give_up_at is not None:
                return
            time.sleep(step_s)

    def _add(self, batch: Batch, part: Queued) -> bool:
        """Adds `part`; returns whether the batch ends here."""
        if part is None:
            self._is_ended = True
            return True
        if isinstance(part, _Confirmed):
            return False
        if not batch.may_add(part):
            self._held = part
            return True
        batch.add(part)
        return batch.is_full()

    def _write(self, batch: Batch) -> None:
        if not batch.has_rows():
            self._tell_durable(batch)
            return
        self._last_number += 1
        number = self._last_number
        started = time.monotonic()
        wait_s = self._options.retry_first_s
        while True:
            try:
                self._send(batch, number)
            except psycopg.Error as error:
                if is_lost(self._connection):
                    if self._settle_lost(error, number):
                        break
                    self._last_number += 1
                    number = self._last_number
                    continue
                self._roll_back()
                if isinstance(error, GUARD):
                    self._tell_conflict(batch)
                    return
                if not isinstance(error, AGAIN) or time.monotonic() - started > AGAIN_S_MAX:
                    raise
                self.again += 1
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, self._options.retry_last_s)
            else:
                self._applied = number
                break
        self.batches += 1
        self.rows += batch.count_rows()
        self._last_parts = batch.parts_count
        # A moving mean over about eight batches.
        self._send_s += (time.monotonic() - started - self._send_s) / 8
        self._reach("commit.after_sync")
        self._tell_durable(batch)

    def _send(self, batch: Batch, number: int) -> None:
        """Sends the whole transaction and waits for the server's word on it."""
        reach, connection = self._reach, self._connection
        chunks = batch.to_statements(self._place.node_id)
        slot, node_id = self._self()
        fence = (Int(number), Int(batch.version), slot, node_id, Int(self._applied))
        if batch.audit and batch.audit_sequence % AUDIT_TRIM_ROWS < len(batch.audit):
            chunks.append((statements.TRIM_AUDIT, (Int(AUDIT_ROWS_MAX),)))
        reach("commit.before_begin")
        with connection.pipeline() as pipeline:
            connection.execute(statements.BEGIN)
            reach("commit.after_begin")
            connection.execute(statements.FENCE, fence, prepare=True)
            for text, values in chunks:
                connection.execute(text, values, prepare=True)  # type: ignore[call-overload]
            reach("commit.after_rows")
            connection.execute(statements.COMMIT)
            # After the commit: inside it would make all nodes' commits wait for one another.
            if self.has_peers:
                for notice in encode_notices(self._place.node_id, batch.written):
                    connection.execute(statements.NOTIFY, (self._link.channel, notice))
            reach("commit.before_sync")
            pipeline.sync()

    def _roll_back(self) -> None:
        """Ends the failed transaction; a lost connection is found by whoever asks next."""
        try:
            self._connection.execute(statements.ROLLBACK)
        except psycopg.Error:
            self._connection.close()

    # The outcome.

    def _tell_durable(self, batch: Batch) -> None:
        version, audit_sequence = batch.version, batch.audit_sequence
        core = self._core
        assert core is not None, "the thread runs only after start"

        def answer() -> None:
            self._reach("commit.before_answer")
            core.notify_durable(version, audit_sequence)
            self._reach("commit.after_answer")

        self._mailbox.tell(answer)

    def _tell_conflict(self, batch: Batch) -> None:
        """Finds out what is stale and has the core withdraw what rests on it."""
        while True:
            try:
                found = find_stale(self._connection, batch, self._place)
                break
            except psycopg.Error as error:
                if not is_lost(self._connection):
                    raise
                self._settle_lost(error, self._last_number)
        if found.is_fenced:
            raise FencedError
        if found.is_empty():
            raise StoreUnavailable(
                "the database refused a commit and does not say why", retry_after_ms=RETRY_AFTER_MS
            )
        self.conflicts += 1
        self._drop_queued()
        core = self._core
        assert core is not None, "the thread runs only after start"
        self._mailbox.tell(lambda: core.notify_conflict(found.tokens, found.results))

    def _drop_queued(self) -> None:
        """Waits until the core has withdrawn, in the state FAILED; see `_wait_failed`."""
        self._held = None
        self._is_failed = True
        self._probe_wait_s = None
        self._is_conflict = True

    def _settle_lost(self, error: Exception, number: int) -> bool:
        """Makes a new connection; returns whether the batch of this number is in.

        Raises:
            FencedError: this node's row is another's now.
            StoreUnavailable: the store is being closed and the server does not answer.
        """
        core = self._core
        assert core is not None, "the thread runs only after start"
        meaning = meaning_of_failure(error, act="a commit")
        self._mailbox.tell(lambda: core.notify_stalled(meaning))
        wait_s = self._options.retry_first_s
        while True:
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                raise StoreUnavailable(
                    "the store was closed while the database server did not answer; a commit that "
                    "was sent may be found done",
                    retry_after_ms=RETRY_AFTER_MS,
                )
            try:
                self._connection.close()
                self._connection = self._link.connect_writer()
                is_in = self._move_fence(number)
                break
            except psycopg.Error:
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, self._options.retry_last_s)
        self.reconnects += 1
        self._mailbox.tell(core.notify_resumed)
        return is_in

    def _move_fence(self, number: int) -> bool:
        """Returns whether batch `number` is in, and sees to it that it cannot come in later."""
        with self._connection.transaction():
            row = self._connection.execute(statements.OUTCOME, self._self()).fetchone()
            if row is None:
                raise FencedError
            self._last_number += 1
            self._connection.execute(statements.MOVE_FENCE, (Int(self._last_number), *self._self()))
        self._applied = self._last_number
        return int(row[0]) == number

    # Failure.

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self._held = None
        self._is_failed = True
        self._is_conflict = False
        self._probe_wait_s = None
        if isinstance(error, StoreUnavailable):
            meaning = error
        elif isinstance(error, FencedError):
            self._is_damaged = True
            meaning = StoreUnavailable(
                "this node was silent for so long that another took its place in the database; "
                "start it again",
                retry_after_ms=RETRY_AFTER_MS,
            )
        else:
            meaning = meaning_of_failure(error, act="a commit")
        self._is_damaged |= isinstance(meaning, StoreCorrupt)
        core = self._core
        assert core is not None, "the thread runs only after start"
        self._mailbox.tell(lambda: core.notify_failed(meaning))

    def _wait_failed(self) -> None:
        """Drops what is queued until the withdrawal is confirmed, then probes at intervals."""
        try:
            part = self._queue.get(timeout=self._probe_wait_s)
        except Empty:
            self._probe()
            return
        if part is None:
            self._is_ended = True
        elif isinstance(part, _Confirmed) and self._is_conflict:
            self._is_failed = self._is_conflict = False
        elif isinstance(part, _Confirmed) and not self._is_damaged:
            self._probe_wait_s = self._options.retry_first_s

    def _probe(self) -> None:
        self.probes += 1
        core = self._core
        assert core is not None, "the thread runs only after start"
        try:
            if is_lost(self._connection):
                self._connection = self._link.connect_writer()
            self._move_fence(self._last_number)
        except psycopg.Error:
            wait_s = self._probe_wait_s or self._options.retry_first_s
            self._probe_wait_s = min(self._options.retry_last_s, wait_s * 2)
            return
        self._is_failed = False
        self._mailbox.tell(core.notify_resumed)

    def _say_seen(self) -> None:
        try:
            self._connection.execute(statements.SEEN, self._self())
        except psycopg.Error as error:
            if is_lost(self._connection):
                self._settle_lost(error, self._last_number)
