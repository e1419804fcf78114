"""How what is queued becomes durable: one thread, each transaction one round trip, two at a time.

Theory of operation. The thread joins what is queued into a batch and sends the whole transaction at
once; while the server works on it, those who were answered before it come again, and the next batch
follows. The server executes them in turn. Four things can come of one:

- COMMIT is confirmed: it is durable, and told so.
- A guard says that something is not as the batch expects: what, is asked; the core withdraws and
  confirms, and what is queued after that is written as usual.
- The server rolled it back through nobody's fault (a lock, a time-out): the same batch again, after
  a pause, for `AGAIN_S_MAX`. It refused for another reason (a full disk, a missing right): the core
  withdraws, and the thread tries a small write now and then until one succeeds.
- The connection was lost: nobody knows. The core is told to refuse new writes, and a connection is
  made anew, however long that takes. Then the node's own row says which batches are in (`FENCE` put
  their numbers there, in the same transactions), and in the same step gets another number, so that
  a transaction which the server may still be working off can never come in later. What is not in
  is sent again.

A batch behind one that failed fails with it: it begins in a failed transaction, and its fence
expects the number of the one before.

States: WRITING, FAILED (drops what is queued until the core confirms), PROBING. A node whose row
another has taken stays FAILED: it was silent for PLACE_IDLE_S.

The module is long because the states share the queue, the connection and the fence's number: parts
of it could be moved elsewhere, but not understood there.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

import psycopg
from psycopg import pq

from lithox.errors import StoreCorrupt, StoreUnavailable
from lithox.store.crash_points import Reach
from lithox.store.engine import AuditPart, Part
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, Int, Packed, Text
from lithox.store.postgres.batch import Batch, Statement
from lithox.store.postgres.connections import Connection, is_lost
from lithox.store.postgres.failures import AGAIN, GUARD, RETRY_AFTER_MS, meaning_of_failure
from lithox.store.postgres.link import Link
from lithox.store.postgres.notices import encode_notices
from lithox.store.postgres.pipeline import Pipeline
from lithox.store.postgres.schema import NODE_SEEN_S
from lithox.store.postgres.stale import find_stale
from lithox.store.shared import SharedStore

AGAIN_S_MAX: Final = 30.0
"""How long a batch is tried again after the server rolled it back through nobody's fault."""
FLYING_MAX: Final = 2
"""Transactions on their way at once: one at work, one that waits for it at the server."""
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


class Flight:
    """A batch on its way; `number` 0: it has no rows and goes nowhere."""

    __slots__ = ("batch", "number", "started_s")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.number = 0
        self.started_s = time.monotonic()


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
        self._wake_read, self._wake_write = os.pipe()
        self._wake_at = 0
        self._pipeline = Pipeline(connection, wake=self._wake_read)
        self._flying: deque[Flight] = deque()
        self._again: deque[Flight] = deque()
        self._landed_parts = 1
        self._applied = link.place.batch
        self._last_number = link.place.batch
        self._moved: dict[int, int] = {}
        """Number a try has moved the fence to -> newest batch it had found in."""
        self._audit_taken = self._audit_durable = 0
        self._again_wait_s = link.options.retry_first_s
        self._probe_wait_s: float | None = None
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
        """Starts the thread; `core` is told what becomes of what is put."""
        self._core = core
        self._thread.start()

    def put(self, part: Part | AuditPart) -> None:
        """Queues `part`; wakes the thread if as much waits as it waits for."""
        self._queue.put(part)
        wake_at = self._wake_at
        if wake_at and self._queue.qsize() >= wake_at:
            self._wake_at = 0
            os.write(self._wake_write, b"w")

    def confirm_withdrawal(self) -> None:
        """Tells that the core has withdrawn what it was told to."""
        self._queue.put(_Confirmed())

    def stop(self) -> None:
        """Ends the thread after all that is queued, or after `close_wait_s`. Blocks."""
        self._give_up_at = time.monotonic() + self._options.close_wait_s
        self._queue.put(None)
        self._thread.join()
        if not is_lost(self._connection):
            # Without it others see by the time that this place is free.
            with suppress(psycopg.Error):
                self._pipeline.leave()
                self._connection.execute(statements.LEAVE, self._self())
            self._connection.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # Called on the writer's thread.

    def _self(self) -> tuple[Int, Bytes]:
        return Int(self._place.slot), Bytes(self._place.node_id)

    def _run(self) -> None:
        while self._flying or self._again or self._held is not None or not self._is_ended:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - who waits must hear of any
                self._fail(error)

    def _step(self) -> None:
        """Does what is next: one batch sent, one answer heard, one look at a failed server."""
        if self._is_failed:
            self._wait_failed()
        elif self._again:
            self._launch(self._again.popleft())
        elif not self._flying or self._is_next_due():
            batch = self._collect(is_waiting=not self._flying)
            if batch.parts_count:
                self._launch(Flight(batch))
        else:
            self._land()

    def _is_next_due(self) -> bool:
        """Returns whether another batch may follow: as many wait as were answered last."""
        if len(self._flying) >= FLYING_MAX or self._is_ended:
            return False
        return self._held is not None or self._queue.qsize() >= self._landed_parts

    def _collect(self, *, is_waiting: bool) -> Batch:
        """Returns all that is queued and fits; `is_waiting`: waits for something to be."""
        queue = self._queue
        batch = Batch()
        if self._held is not None:
            batch.add(self._held)
            self._held = None
        deadline = None if is_waiting and not batch.parts_count else time.monotonic()
        while not self._is_ended:
            try:
                if deadline is None:
                    part = queue.get(timeout=NODE_SEEN_S)
                else:
                    part = queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                if batch.parts_count or not is_waiting:
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
            if batch.parts_count:
                deadline = deadline or time.monotonic() + AUDIT_DELAY_S
        return batch

    def _add(self, batch: Batch, part: Queued) -> bool:
        """Adds `part`; returns whether the batch ends here."""
        if part is None:
            self._is_ended = True
            return True
        if isinstance(part, _Confirmed):
            return False
        if isinstance(part, AuditPart):
            # After a pause the core gives all that it has not heard of once more.
            if part.sequence <= self._audit_taken:
                return False
            self._audit_taken = part.sequence
        if not batch.may_add(part):
            self._held = part
            return True
        batch.add(part)
        return batch.is_full()

    def _launch(self, flight: Flight) -> None:
        """Sends a batch after those that are on their way."""
        batch = flight.batch
        if not batch.has_rows():
            self._flying.append(flight)
            return
        chunks = batch.to_statements(self._place.node_id)
        if batch.audit and batch.audit_sequence % AUDIT_TRIM_ROWS < len(batch.audit):
            chunks.append((statements.TRIM_AUDIT, (Int(AUDIT_ROWS_MAX),)))
        before = next((f.number for f in reversed(self._flying) if f.number), self._applied)
        self._last_number += 1
        flight.number = self._last_number
        slot, node_id = self._self()
        fence = (Int(flight.number), Int(batch.version), slot, node_id, Int(before))
        self._flying.append(flight)
        try:
            self._send(chunks, fence, batch)
        except psycopg.Error as error:
            self._land_failed(self._flying[0], error)

    def _send(self, chunks: list[Statement], fence: tuple[Packed, ...], batch: Batch) -> None:
        reach, send = self._reach, self._pipeline.send
        reach("commit.before_begin")
        send(statements.BEGIN)
        reach("commit.after_begin")
        send(statements.FENCE, fence)
        for text, values in chunks:
            send(text, values)
        reach("commit.after_rows")
        send(statements.COMMIT)
        reach("commit.before_sync")
        self._pipeline.sync()
        # After the commit: inside it would make all nodes' commits wait for one another. Apart from
        # it: what becomes of a notice says nothing about the commit, and being deaf is only slow.
        if self.has_peers and batch.written:
            channel = Text(self._link.channel.encode())
            for notice in encode_notices(self._place.node_id, batch.written):
                send(statements.NOTIFY, (channel, Text(notice)))
            self._pipeline.sync(is_heeded=False)

    # The outcome.

    def _land(self) -> None:
        """Waits for the oldest batch on its way, or until another is due."""
        flight = self._flying[0]
        if flight.number:
            if len(self._flying) < FLYING_MAX:
                self._wake_at = self._landed_parts
                if self._is_next_due():
                    return
            try:
                if not self._pipeline.receive(self._give_up_at):
                    os.read(self._wake_read, 64)
                    return
            except psycopg.Error as error:
                self._land_failed(flight, error)
                return
            self._reach("commit.after_sync")
        self._flying.popleft()
        self._note_applied(flight)

    def _note_applied(self, flight: Flight) -> None:
        batch = flight.batch
        if flight.number:
            self._applied = flight.number
            self.batches += 1
            self.rows += batch.count_rows()
            self._landed_parts = batch.parts_count
            self._again_wait_s = self._options.retry_first_s
        self._audit_durable = max(self._audit_durable, batch.audit_sequence)
        self._tell_durable(batch)

    def _land_failed(self, flight: Flight, error: psycopg.Error) -> None:
        """Decides what becomes of the oldest batch, and of those behind it, which failed too."""
        try:
            if not self._is_lost_or_closing():
                self._pipeline.leave()
                self._connection.execute(statements.ROLLBACK)
        except psycopg.Error:
            self._connection.close()
        if self._is_lost_or_closing():
            self._settle_lost(error)
            return
        flights = list(self._flying)
        self._flying.clear()
        if isinstance(error, GUARD):
            self._tell_conflict(flight.batch)
            return
        if not isinstance(error, AGAIN) or time.monotonic() - flight.started_s > AGAIN_S_MAX:
            raise error
        self.again += 1
        self._again.extendleft(reversed(flights))
        time.sleep(self._again_wait_s)
        self._again_wait_s = min(2 * self._again_wait_s, self._options.retry_last_s)

    def _is_lost_or_closing(self) -> bool:
        if self._give_up_at is not None and time.monotonic() > self._give_up_at:
            return True
        return is_lost(self._connection)

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
                self._settle_lost(error)
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
        self._flying.clear()
        self._again.clear()
        self._audit_taken = self._audit_durable
        self._probe_wait_s = None
        self._is_failed = True
        self._is_conflict = True

    def _settle_lost(self, error: Exception) -> None:
        """Makes a new connection and finds out which batches are in; the rest is sent again.

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
                self._flying.clear()
                raise StoreUnavailable(
                    "the store was closed while the database server did not answer; a commit that "
                    "was sent may be found done",
                    retry_after_ms=RETRY_AFTER_MS,
                )
            try:
                self._connect_anew()
                newest = self._move_fence()
                break
            except psycopg.Error:
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, self._options.retry_last_s)
            except FencedError:
                self._flying.clear()
                raise
        self.reconnects += 1
        moved = self._applied
        while self._flying and self._flying[0].number <= newest:
            self._note_applied(self._flying.popleft())
        self._applied = moved
        self._again.extendleft(reversed(self._flying))
        self._flying.clear()
        self._mailbox.tell(core.notify_resumed)

    def _connect_anew(self) -> None:
        self._connection.close()
        self._connection = self._link.connect_writer()
        self._pipeline = Pipeline(self._connection, wake=self._wake_read)

    def _move_fence(self) -> int:
        """Returns the newest batch that is in, and sees to it that no other can come in later."""
        self._pipeline.leave()
        execute = self._connection.execute
        # Ends what an earlier try may have left open, when the server refused it half way.
        if self._connection.info.transaction_status != pq.TransactionStatus.IDLE:
            execute(statements.ROLLBACK)
        execute(statements.BEGIN)
        row = execute(statements.OUTCOME, self._self()).fetchone()
        if row is None:
            execute(statements.ROLLBACK)
            raise FencedError
        # What it reads may be the number an earlier try has put there, whose answer was lost.
        newest = self._moved.get(int(row[0]), int(row[0]))
        self._last_number += 1
        self._moved[self._last_number] = newest
        execute(statements.MOVE_FENCE, (Int(self._last_number), *self._self()))
        self._reach("fence.before_commit")
        execute(statements.COMMIT)
        self._moved.clear()
        self._applied = self._last_number
        return newest

    # Failure.

    def _fail(self, error: Exception) -> None:
        """The oldest batch will never be in, or our own code failed: the core withdraws."""
        self.failures += 1
        if self._flying:
            try:
                # What is on its way may be in: nobody is told otherwise before that is known.
                self._connection.close()
                self._settle_lost(error)
            except Exception as worse:  # noqa: BLE001 - who waits must hear of any
                error = worse
        self._drop_queued()
        self._is_conflict = False
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
                self._connect_anew()
            self._move_fence()
        except psycopg.Error:
            wait_s = self._probe_wait_s or self._options.retry_first_s
            self._probe_wait_s = min(self._options.retry_last_s, wait_s * 2)
            return
        self._is_failed = False
        self._mailbox.tell(core.notify_resumed)

    def _say_seen(self) -> None:
        try:
            self._pipeline.leave()
            self._connection.execute(statements.SEEN, self._self())
        except psycopg.Error as error:
            if is_lost(self._connection):
                self._settle_lost(error)
