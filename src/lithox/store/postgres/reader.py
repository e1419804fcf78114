"""Direct reads, on the node's thread: each one statement and so one moment of the database.

The wait is one round trip (some 0.1 ms on one machine); `prefetch` is there so that a run need not
begin with one. When the connection is lost reads end with StoreUnavailable at once, until the
background thread has made another: the node's thread never waits for a server that is gone.

For one that is silent (paused, overloaded, a table locked) it waits `direct_wait_ms` and no more;
then it asks nothing for QUIET_WAITS times as long, and until another connection shows that the
server is there. So a slow server takes at most a fifth of the thread's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from lithox.errors import InternalError, StoreUnavailable
from lithox.store.beliefs import Token
from lithox.store.cells import QUEUE_PREFIX
from lithox.store.contract import AuditRecord, Item, Page, Range, ResultRecord
from lithox.store.engine import ResultKey, check_text, prefix_end, take_page
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, BytesArray, Int, Packed
from lithox.store.postgres.batch import result_columns
from lithox.store.postgres.connections import Connection, SilentError, is_lost, long_wait_s
from lithox.store.postgres.failures import AGAIN, RETRY_AFTER_MS, meaning_of_failure
from lithox.store.postgres.options import PostgresOptions
from lithox.store.postgres.rows import LOAD_KEYS_MAX, audit_of, items_of, result_of

Learn = Callable[[Token, int], None]
QUIET_WAITS: Final = 4
"""After a wait in vain nothing is asked for so many times as long."""


class DirectReader:
    """The read half of the engine. Raises StoreUnavailable and StoreCorrupt throughout."""

    def __init__(
        self,
        connection: Connection,
        *,
        node_id: bytes,
        options: PostgresOptions,
        on_lost: Callable[[], None],
    ) -> None:
        """Reads over `connection`.

        Args:
            connection: its own, which nobody else uses.
            node_id: whose audit records may still be waiting.
            options: for how long is waited.
            on_lost: called when the connection is lost; somebody calls `replace` later.
        """
        self._connection: Connection | None = connection
        self._node_id = node_id
        self._on_lost = on_lost
        self._direct_wait_s = options.direct_wait_ms / 1_000
        self._long_wait_s = long_wait_s(options)
        self._quiet_until_s = 0.0
        self._learn: Learn | None = None
        self.reads = 0

    def bind(self, learn: Learn) -> None:
        """Makes `learn` the one told of versions, before what was read of them is returned."""
        self._learn = learn

    def replace(self, connection: Connection) -> None:
        """Reads over another connection from now on."""
        self.drop_connection()
        self._connection = connection

    def drop_connection(self) -> None:
        """Closes the connection, if there is one; until `replace` nothing can be read."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read_versions(self, entities: Sequence[str]) -> Mapping[str, int]:
        rows = self._rows(statements.VERSIONS, BytesArray([name.encode() for name in entities]))
        return {entity.decode(): version for entity, version in rows}

    def find_item(self, entity: str, key: str) -> Item | None:
        rows = self._rows(statements.FIND, _text(entity), _text(key))
        entity_version, value, version = rows[0]
        if entity.startswith(QUEUE_PREFIX):
            self._tell((entity, key), version or 0)
        else:
            self._tell(entity, entity_version)
        return None if value is None else Item(value, version)

    def load_items(self, entity: str, bytes_max: int) -> dict[str, Item] | None:
        rows = self._rows(statements.LOAD, _text(entity), Int(LOAD_KEYS_MAX + 1), Int(bytes_max))
        self._tell(entity, rows[0][0])
        return items_of(rows, bytes_max)

    def scan_items(self, area: Range, limit: int, bytes_max: int) -> Page:
        entity, start, end = area
        rows = self._rows(
            statements.SCAN,
            _text(entity),
            _text(start),
            Int(end is None),
            _text(end or ""),
            Int(limit),
            Int(bytes_max),
        )
        if not entity.startswith(QUEUE_PREFIX):
            self._tell(entity, rows[0][0])
        found = (
            (key.decode(), Item(value, version))
            for _, key, value, version in rows
            if key is not None
        )
        return take_page(found, limit, bytes_max)

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        end = prefix_end(prefix)
        # The smallest text greater than `after` follows it by a NUL.
        start = prefix if after < prefix else after + "\x00"
        rows = self._count_rows(
            statements.LIST_ENTITIES,
            _text(start),
            Int(end is None),
            _text(end or ""),
            Int(limit),
        )
        return [path.decode() for (path,) in rows]

    def measure_keys(self, entity: str, start: str) -> tuple[int, int]:
        rows = self._count_rows(statements.MEASURE, _text(entity), _text(start))
        count, size = rows[0]
        return int(count), int(size)

    def find_result(self, key: ResultKey) -> ResultRecord | None:
        texts = [_text(text) for text in key]
        for row in self._rows(statements.FIND_RESULT, *texts):
            return result_of(row)
        return None

    def count_results(self, account: str, among: Iterable[ResultKey]) -> tuple[int, set[ResultKey]]:
        keys = list(among)
        owner = _text(account)
        rows = self._count_rows(statements.COUNT_RESULTS, owner, *result_columns(keys), owner)
        count, places = rows[0]
        return int(count), {keys[place - 1] for place in places}

    def list_result_keys(self, start: ResultKey, limit: int) -> list[ResultKey]:
        """Never asked: what other nodes write cannot be known beforehand."""
        raise InternalError(f"nothing asks a shared store for {limit} keys from {start} on")

    def list_expired_results(self, now_ns: int, limit: int) -> list[ResultRecord]:
        rows = self._count_rows(statements.EXPIRED_RESULTS, Int(now_ns), Int(limit))
        return [result_of(row) for row in rows]

    def read_audit(self, below_sequence: int, limit: int) -> list[AuditRecord]:
        rows = self._count_rows(
            statements.READ_AUDIT, Bytes(self._node_id), Int(below_sequence), Int(limit)
        )
        return [audit_of(row) for row in rows]

    def _tell(self, token: Token, version: int) -> None:
        assert self._learn is not None, "the core is bound before it reads"
        self._learn(token, version)

    def _rows(self, text: str, *values: Packed) -> list[tuple[Any, ...]]:
        """Returns what one statement finds. Blocks up to `direct_wait_ms`."""
        connection = self._connection
        if connection is None or (self._quiet_until_s and time.monotonic() < self._quiet_until_s):
            raise StoreUnavailable(
                "the database server does not answer; this resumes by itself",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self.reads += 1
        try:
            return connection.execute(text, values, prepare=True, binary=True).fetchall()  # type: ignore[call-overload]
        except psycopg.Error as error:
            self._note_failure(connection, error)
            raise meaning_of_failure(error, act="a read") from error

    def _count_rows(self, text: str, *values: Packed) -> list[tuple[Any, ...]]:
        """The same for a statement that walks over much, and may so take `read_timeout_ms`.

        Asked only of a server that has just answered: a silent one is not waited for so long.
        """
        self._rows(statements.PING)
        connection = self._connection
        assert connection is not None, "it has just answered"
        connection.wait_s = self._long_wait_s
        try:
            return self._rows(text, *values)
        finally:
            connection.wait_s = self._direct_wait_s

    def _note_failure(self, connection: Connection, error: psycopg.Error) -> None:
        if isinstance(error, (SilentError, *AGAIN)):
            self._quiet_until_s = time.monotonic() + QUIET_WAITS * self._direct_wait_s
        if is_lost(connection):
            self.drop_connection()
            self._on_lost()


def _text(text: str) -> Bytes:
    """Returns `text` as a parameter; raises BadArguments for a lone surrogate."""
    check_text(text)
    return Bytes(text.encode())
