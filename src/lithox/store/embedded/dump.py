"""Everything of one SQLite database at one moment, and a new database made of such rows.

Dumping is one read transaction on a connection of its own: writers go on, only their log cannot be
reused before it ends. Loading makes a new file beside the wanted one, syncs it and renames it, so a
process that dies leaves no database or a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import apsw

from lithox.errors import BadArguments
from lithox.store.contract import AuditRecord, Item, ResultRecord
from lithox.store.dump import CellRow, DumpRow, LoadedVersions, cell_row
from lithox.store.embedded import connections, opening, statements
from lithox.store.embedded.failures import meaning_of_failure
from lithox.store.embedded.lock import StoreLock

CACHE_KIB: Final = 2 << 10
"""Of a connection that reads everything once, in order."""
LOAD_ROWS_MAX: Final = statements.ROWS_PER_STATEMENT_MAX
LOAD_BYTES_MAX: Final = 4 << 20
"""Rows, or bytes of their values, that one statement of a load inserts."""
TEMPORARY_SUFFIX: Final = "-loading"

_CELLS: Final = "SELECT entity, key, value, version FROM state WHERE entity >= ? "
_ORDER: Final = "ORDER BY entity, key"
_CELLS_FROM: Final = _CELLS + _ORDER
_CELLS_BETWEEN: Final = _CELLS + "AND entity < ? " + _ORDER
_RESULTS: Final = (
    "SELECT identity, entity, request_id, account, asked_digest, answer, expires_ns FROM results "
    "ORDER BY identity, entity, request_id"
)
_AUDIT: Final = "SELECT at_ns, identity, act, entity, outcome, detail FROM audit ORDER BY sequence"
_STORE_ID: Final = "SELECT value FROM meta WHERE name = 'store_id'"


class EmbeddedDump:
    """See DumpSource. Nothing is opened before it is entered."""

    __slots__ = ("_connection", "_path", "_vfs", "store_id")

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._connection: apsw.Connection | None = None
        self.store_id = ""

    def __enter__(self) -> Self:
        try:
            self._connection = connections.connect(
                self._path,
                vfs=self._vfs,
                cache_kib=CACHE_KIB,
                synchronous=connections.SYNCHRONOUS_DEFAULT,
            )
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")
            # The first read is the moment that everything read later shows.
            self.store_id = str(connections.fetch_single(self._connection, _STORE_ID))
        except apsw.Error as error:
            self._close()
            raise meaning_of_failure(error, act="beginning a dump") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(force=True)
            self._connection = None

    def cells(self, start: str = "", end: str | None = None) -> Iterator[CellRow]:
        if end is None:
            rows = self._rows(_CELLS_FROM, (start,))
        else:
            rows = self._rows(_CELLS_BETWEEN, (start, end))
        for entity, key, value, version in rows:
            yield cell_row(entity, key, Item(value, version))

    def results(self) -> Iterator[ResultRecord]:
        for identity, entity, request_id, account, asked, answer, expires_ns in self._rows(
            _RESULTS, ()
        ):
            yield ResultRecord(
                identity=identity,
                entity=entity,
                request_id=request_id,
                account=account,
                asked_digest=asked,
                answer=answer,
                expires_ns=expires_ns,
            )

    def audit(self) -> Iterator[AuditRecord]:
        for at_ns, identity, act, entity, outcome, detail in self._rows(_AUDIT, ()):
            yield AuditRecord(
                at_ns=at_ns,
                identity=identity,
                act=act,
                entity=entity,
                outcome=outcome,
                detail=detail,
            )

    def _rows(self, text: str, bindings: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        assert self._connection is not None, "a dump is read between entering and leaving it"
        cursor = self._connection.cursor()
        try:
            yield from cursor.execute(text, bindings)
        except apsw.Error as error:
            raise meaning_of_failure(error, act="a dump") from error
        finally:
            cursor.close(force=True)


def load_embedded(path: Path, rows: Iterable[DumpRow]) -> None:
    """Makes the database `path` of `rows`, all or nothing; durable when this returns. Blocks.

    Args:
        path: no database may be there; its folder must be. A file `path-loading` that an
            interrupted load has left is replaced.
        rows: in the order of a dump.

    Raises:
        BadArguments: a database is there already; or what `rows` raises.
        StoreInUse: a store has it open.
        ConfigError: the folder is not usable.
        StoreUnavailable: the disk is full or fails.
    """
    lock = StoreLock(path)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        if lock.had_state or path.exists():
            raise BadArguments(
                f"{path} is there already: what is loaded goes into an empty place; name another "
                "data directory, or move this one away"
            )
        temporary.unlink(missing_ok=True)
        try:
            _fill(temporary, rows)
            _sync(temporary)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, apsw.Error):
                raise meaning_of_failure(error, act="a load") from error
            raise
        temporary.rename(path)
        _sync(path.parent)
        lock.mark_state()
    finally:
        lock.release()


def _fill(path: Path, rows: Iterable[DumpRow]) -> None:
    # Nothing of an unfinished file is ever used, so SQLite need not protect it.
    connection = connections.connect(
        path, vfs=None, cache_kib=connections.WRITER_CACHE_KIB, synchronous="OFF"
    )
    try:
        connection.execute(f"PRAGMA page_size = {opening.PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        opening.migrate(connection, from_version=0)
        connection.execute("BEGIN EXCLUSIVE")
        newest = _Filling(connection).take(rows)
        connection.execute(statements.UPDATE_LIMIT, (newest,))
        connection.execute("COMMIT")
    finally:
        connection.close(force=True)


class _Filling:
    """Rows on their way into few statements; `_kind` is the table of those that wait."""

    __slots__ = ("_audit_sequence", "_bytes", "_connection", "_kind", "_versions", "_waiting")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._versions = LoadedVersions()
        self._audit_sequence = 0
        self._kind: statements.RowStatement = statements.PUT_STATE
        self._waiting: list[Any] = []
        self._bytes = 0

    def take(self, rows: Iterable[DumpRow]) -> int:
        """Inserts every row; returns the highest version."""
        for row in rows:
            kind, values, size = self._bindings_of(row)
            is_full = len(self._waiting) >= LOAD_ROWS_MAX * self._kind.width
            if kind is not self._kind or is_full or self._bytes >= LOAD_BYTES_MAX:
                self._flush()
                self._kind = kind
            self._waiting += values
            self._bytes += size
        self._flush()
        return self._versions.newest

    def _bindings_of(self, row: DumpRow) -> tuple[statements.RowStatement, tuple[Any, ...], int]:
        if isinstance(row, CellRow):
            values = (row.entity, row.key, row.value, self._versions.of(row))
            return statements.PUT_STATE, values, len(row.value)
        if isinstance(row, ResultRecord):
            return (
                statements.PUT_RESULTS,
                (row.identity, row.entity, row.request_id, row.account, row.asked_digest,
                 row.answer, row.expires_ns, self._versions.newest),
                len(row.answer),
            )  # fmt: skip
        self._audit_sequence += 1
        return (
            statements.PUT_AUDIT,
            (self._audit_sequence, row.at_ns, row.identity, row.act, row.entity, row.outcome,
             row.detail),
            len(row.detail),
        )  # fmt: skip

    def _flush(self) -> None:
        if self._waiting:
            for text, bindings in self._kind.chunk(self._waiting):
                self._connection.execute(text, bindings)
        self._waiting = []
        self._bytes = 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
