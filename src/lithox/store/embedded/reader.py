"""Durable reads, on the node's thread, over a connection of their own that writers never block.

Every method is one statement, or several in one read transaction: what it returns was durable at
one moment. A page that is not in memory is read from the disk meanwhile: the only wait there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import apsw

from lithox.errors import InternalError
from lithox.store.contract import AuditRecord, Item, Page, Range, ResultRecord
from lithox.store.embedded.connections import fetch_rows
from lithox.store.embedded.failures import meaning_of_failure
from lithox.store.engine import ResultKey, prefix_end, take_page, text_bytes

_FIND: Final = "SELECT value, version FROM state WHERE entity = ? AND key = ?"
_LOAD: Final = "SELECT key, value, version FROM state WHERE entity = ?"
_SCAN: Final = (
    "SELECT key, value, version FROM state WHERE entity = ? AND key >= ? ORDER BY key LIMIT ?"
)
_SCAN_TO: Final = (
    "SELECT key, value, version FROM state "
    "WHERE entity = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
)
_MEASURE: Final = (
    "SELECT count(*), total(octet_length(key) + octet_length(value)) FROM state "
    "WHERE entity = ? AND key >= ?"
)
# One descent of the tree per entity, however many keys it has.
_ENTITIES_FROM: Final = """
WITH RECURSIVE found (path) AS (
  SELECT min(entity) FROM state WHERE entity >= ?1
  UNION ALL
  SELECT (SELECT min(entity) FROM state WHERE entity > found.path) FROM found
  WHERE found.path IS NOT NULL AND (?2 IS NULL OR found.path < ?2)
)
SELECT path FROM found WHERE path IS NOT NULL AND (?2 IS NULL OR path < ?2) LIMIT ?3
"""
_ENTITIES_AFTER: Final = _ENTITIES_FROM.replace(">= ?1", "> ?1")
_RESULT: Final = """
SELECT identity, entity, request_id, account, asked_digest, answer, expires_ns
FROM results WHERE identity = ? AND entity = ? AND request_id = ?
"""
_EXPIRED: Final = """
SELECT identity, entity, request_id, account, asked_digest, answer, expires_ns
FROM results WHERE expires_ns <= ? ORDER BY expires_ns LIMIT ?
"""
# The table's unique index has all of it: no answer is read.
_RESULT_KEYS: Final = """
SELECT identity, entity, request_id FROM results
WHERE (identity, entity, request_id) >= (?, ?, ?)
ORDER BY identity, entity, request_id LIMIT ?
"""
_COUNT: Final = "SELECT count(*) FROM results WHERE account = ?"
_AUDIT: Final = (
    "SELECT at_ns, identity, act, entity, outcome, detail FROM audit "
    "WHERE sequence < ? ORDER BY sequence DESC LIMIT ?"
)


class DurableReader:
    """The read half of the engine. Raises StoreUnavailable and StoreCorrupt throughout."""

    __slots__ = ("_connection", "reads")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.reads = 0

    def find_item(self, entity: str, key: str) -> Item | None:
        for value, version in self._rows(_FIND, (entity, key)):
            return Item(value, version)
        return None

    def load_items(self, entity: str, bytes_max: int) -> dict[str, Item] | None:
        self.reads += 1
        items: dict[str, Item] = {}
        size = 0
        cursor = self._connection.cursor()
        try:
            for key, value, version in cursor.execute(_LOAD, (entity,)):
                size += text_bytes(key) + len(value)
                if size > bytes_max:
                    return None
                items[key] = Item(value, version)
        except Exception as error:
            raise self._meaning(error) from error
        finally:
            # Ends the read transaction even when the rest of the entity is not wanted.
            cursor.close(force=True)
        return items

    def scan_items(self, area: Range, limit: int, bytes_max: int) -> Page:
        self.reads += 1
        entity, start, end = area
        text, bindings = _SCAN, (entity, start, limit)
        if end is not None:
            text, bindings = _SCAN_TO, (entity, start, end, limit)
        cursor = self._connection.cursor()
        try:
            rows = cursor.execute(text, bindings)
            pairs = ((key, Item(value, version)) for key, value, version in rows)
            return take_page(pairs, limit, bytes_max)
        except Exception as error:
            raise self._meaning(error) from error
        finally:
            # Ends the read transaction even when the rest of the range is not wanted.
            cursor.close(force=True)

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        # A single bound, so that SQLite goes straight to the first one.
        if after < prefix:
            rows = self._rows(_ENTITIES_FROM, (prefix, prefix_end(prefix), limit))
        else:
            rows = self._rows(_ENTITIES_AFTER, (after, prefix_end(prefix), limit))
        return [path for (path,) in rows]

    def measure_keys(self, entity: str, start: str) -> tuple[int, int]:
        ((count, size),) = self._rows(_MEASURE, (entity, start))
        return count, int(size)

    def find_result(self, key: ResultKey) -> ResultRecord | None:
        for row in self._rows(_RESULT, key):
            return _record_of(row)
        return None

    def count_results(self, account: str, among: Iterable[ResultKey]) -> tuple[int, set[ResultKey]]:
        self._rows("BEGIN", ())
        try:
            ((count,),) = self._rows(_COUNT, (account,))
            found: set[ResultKey] = set()
            for key in among:
                record = self.find_result(key)
                if record is not None and record.account == account:
                    found.add(key)
        finally:
            self._rows("COMMIT", ())
        return count, found

    def list_result_keys(self, start: ResultKey, limit: int) -> list[ResultKey]:
        return [ResultKey(*row) for row in self._rows(_RESULT_KEYS, (*start, limit))]

    def list_expired_results(self, now_ns: int, limit: int) -> list[ResultRecord]:
        return [_record_of(row) for row in self._rows(_EXPIRED, (now_ns, limit))]

    def read_audit(self, below_sequence: int, limit: int) -> list[AuditRecord]:
        rows = self._rows(_AUDIT, (below_sequence, limit))
        return [_audit_of(row) for row in rows]

    def _rows(self, text: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self.reads += 1
        try:
            return fetch_rows(self._connection, text, bindings)
        except Exception as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, apsw.Error):
            return meaning_of_failure(error, act="a read")
        return InternalError(f"a read of the store failed: {error!r}")


def _record_of(row: tuple[Any, ...]) -> ResultRecord:
    identity, entity, request_id, account, asked_digest, answer, expires_ns = row
    return ResultRecord(
        identity=identity,
        entity=entity,
        request_id=request_id,
        account=account,
        asked_digest=asked_digest,
        answer=answer,
        expires_ns=expires_ns,
    )


def _audit_of(row: tuple[Any, ...]) -> AuditRecord:
    at_ns, identity, act, entity, outcome, detail = row
    return AuditRecord(
        at_ns=at_ns, identity=identity, act=act, entity=entity, outcome=outcome, detail=detail
    )
