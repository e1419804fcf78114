"""What may wait for the server without anybody's thread waiting: checks, fetches, notices.

One thread with one connection. It sleeps until the node's thread wakes it or the server has a
notice for it; then it confirms all answers that wait in one question, and fetches the entities that
are asked for. It also makes the connections that others have lost.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg

from lithox.errors import TransactionError
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, BytesArray, Int
from lithox.store.postgres.connections import Connection, is_lost
from lithox.store.postgres.failures import meaning_of_failure
from lithox.store.postgres.link import Link
from lithox.store.postgres.notices import decode_notice
from lithox.store.postgres.rows import LOAD_KEYS_MAX, items_of
from lithox.store.shared import SharedStore
from lithox.store.shared_engine import Fetched, ReadCheck

FETCHES_MAX: Final = 64
"""Fetches sent in one pipeline."""
PEERS_EVERY_S: Final = 10.0
"""How often the nodes at work are counted: alone, a node tells nobody of its commits."""


class Background:
    """The thread and its connection. `start` it once; `stop` it once."""

    def __init__(
        self, connection: Connection, link: Link, *, on_peers: Callable[[bool], None]
    ) -> None:
        """Reads over `connection`, and over others that `link` makes when it is lost.

        Args:
            connection: its own.
            link: to the database.
            on_peers: told, on this thread, whether other nodes are at work.
        """
        self._connection = connection
        self._link = link
        self._node_id = link.place.node_id
        self._mailbox = link.mailbox
        self._options = link.options
        self._on_peers = on_peers
        self._core: SharedStore | None = None
        self._checks: deque[ReadCheck] = deque()
        self._fetches: deque[tuple[str, int]] = deque()
        self._wanted: deque[Callable[[Connection], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._is_woken = False
        self._is_ended = False
        self._retry_s = 0.0
        self._next_peers_s = 0.0
        self._thread = threading.Thread(target=self._run, name="lithox-store-reader", daemon=True)
        self.pending = 0
        self.rounds = self.notices = 0

    # Called on the node's thread.

    def start(self, core: SharedStore) -> None:
        self._core = core
        self._thread.start()

    def check(self, check: ReadCheck) -> None:
        """Has `check` answered soon."""
        self.pending += 1
        if self._is_ended:
            closed = meaning_of_failure(_closed(), act="a read")
            self._tell_checked([check], {}, closed)
            return
        self._checks.append(check)
        self._wake()

    def fetch(self, entity: str, bytes_max: int) -> None:
        """Has `entity` read soon; not called after `stop`."""
        self.pending += 1
        self._fetches.append((entity, bytes_max))
        self._wake()

    def want_connection(self, take: Callable[[Connection], None]) -> None:
        """Has a connection for direct reads made, however long that takes, and given to `take`."""
        if self._is_ended:
            return
        self._wanted.append(take)
        self._wake()

    def stop(self) -> None:
        """Ends the thread after all that waits, if the server answers. Blocks."""
        self._is_ended = True
        self._wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._connection.close()

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with suppress(BlockingIOError):
                os.write(self._wake_write, b"w")

    # Called on its own thread.

    def _run(self) -> None:
        while not self._is_ended:
            try:
                self._wait()
                self._work()
            except Exception as error:  # noqa: BLE001 - who waits must hear of any
                self._fail(error)
        self._wanted.clear()
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _wait(self) -> None:
        if is_lost(self._connection):
            time.sleep(self._retry_s)
            self._connection.close()
            self._connection = self._link.connect_reader()
            self._retry_s = 0.0
            self._next_peers_s = 0.0
        now = time.monotonic()
        if now >= self._next_peers_s:
            self._listen_and_count()
            self._next_peers_s = time.monotonic() + PEERS_EVERY_S
        if self._checks or self._fetches or self._wanted:
            return
        wait_s = max(0.0, self._next_peers_s - time.monotonic())
        readable, _, _ = select.select([self._wake_read, self._connection.fileno()], [], [], wait_s)
        if self._wake_read in readable:
            os.read(self._wake_read, 64)
            self._is_woken = False
        if len(readable) > (self._wake_read in readable):
            self._connection.pgconn.consume_input()
        self._take_notices()

    def _listen_and_count(self) -> None:
        if not self._options.is_deaf:
            self._connection.execute(f'LISTEN "{self._link.channel}"')  # type: ignore[arg-type]
        row = self._connection.execute(statements.COUNT_PEERS, (Bytes(self._node_id),)).fetchone()
        self._on_peers(row is not None and int(row[0]) > 0)

    def _take_notices(self) -> None:
        core = self._core
        assert core is not None, "the thread runs only after start"
        own = self._node_id.hex()
        while (found := self._connection.pgconn.notifies()) is not None:
            notice = decode_notice(found.extra.decode("utf-8", "replace"))
            if notice is None or notice.node == own:
                continue
            self._on_peers(True)
            self.notices += 1
            changed = notice.changed
            self._mailbox.tell(lambda changed=changed: core.notify_rumour(changed))

    def _work(self) -> None:
        checks = [self._checks.popleft() for _ in range(len(self._checks))]
        try:
            if checks:
                self._run_checks(checks)
                checks = []
            while self._fetches:
                self._run_fetches()
        except BaseException:
            self._checks.extendleft(reversed(checks))
            raise
        while self._wanted:
            connection = self._link.connect_direct()
            take = self._wanted.popleft()
            self._mailbox.tell(lambda take=take, made=connection: take(made))

    def _run_checks(self, checks: list[ReadCheck]) -> None:
        self.rounds += 1
        names = {entity for check in checks for entity in check.entities}
        column = BytesArray([name.encode() for name in names])
        rows = self._connection.execute(
            statements.VERSIONS, (column,), prepare=True, binary=True
        ).fetchall()
        versions = {entity.decode(): int(version) for entity, version in rows}
        self._tell_checked(checks, versions, None)

    def _run_fetches(self) -> None:
        taken = [self._fetches.popleft() for _ in range(min(FETCHES_MAX, len(self._fetches)))]
        cursors: deque[Any] = deque()
        core = self._core
        assert core is not None, "the thread runs only after start"
        told = 0
        try:
            with self._connection.pipeline():
                for entity, bytes_max in taken:
                    values = (Bytes(entity.encode()), Int(LOAD_KEYS_MAX + 1), Int(bytes_max))
                    cursors.append(
                        self._connection.execute(statements.LOAD, values, prepare=True, binary=True)
                    )
            for entity, bytes_max in taken:
                rows = cursors.popleft().fetchall()
                found = Fetched(entity, rows[0][0], items_of(rows, bytes_max))
                self._mailbox.tell(lambda found=found: self._give(core, found.entity, found))
                told += 1
        except BaseException:
            self._fetches.extendleft(reversed(taken[told:]))
            raise

    def _give(self, core: SharedStore, entity: str, found: Fetched | None) -> None:
        self.pending -= 1
        core.notify_loaded(entity, found)

    def _tell_checked(
        self, checks: list[ReadCheck], versions: dict[str, int], error: TransactionError | None
    ) -> None:
        core = self._core
        assert core is not None, "the thread runs only after start"

        def tell() -> None:
            self.pending -= len(checks)
            core.notify_checked(checks, versions, error)

        self._mailbox.tell(tell)

    def _fail(self, error: Exception) -> None:
        """Nothing could be read: who waits is told so, and another connection is made."""
        if not is_lost(self._connection):
            # A statement failed, not the connection: another try would do no better at once.
            self._connection.close()
        self._retry_s = min(self._options.retry_last_s, 2 * self._retry_s)
        self._retry_s = self._retry_s or self._options.retry_first_s
        self._answer_failed(error)

    def _answer_failed(self, error: Exception) -> None:
        meaning = meaning_of_failure(error, act="a read")
        checks = [self._checks.popleft() for _ in range(len(self._checks))]
        if checks:
            self._tell_checked(checks, {}, meaning)
        core = self._core
        assert core is not None, "the thread runs only after start"
        while self._fetches:
            entity, _ = self._fetches.popleft()
            self._mailbox.tell(lambda entity=entity: self._give(core, entity, None))


def _closed() -> psycopg.Error:
    return psycopg.OperationalError("the store is closed")
