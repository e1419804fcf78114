"""Everything of one database on a server at one moment, and a database filled with such rows.

Dumping is one REPEATABLE READ transaction on a connection of its own, read page by page in the
order of keys, each page bounded in rows and in bytes; other nodes and this one go on. Loading is
one transaction: who dies on the way leaves the database as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg

from lithox.errors import BadArguments, ConfigError, StoreInUse
from lithox.store.cells import QUEUE_PREFIX
from lithox.store.contract import AuditRecord, Item, ResultRecord
from lithox.store.dump import LOADED_VERSION, CellRow, DumpRow, LoadedVersions, cell_row
from lithox.store.postgres import connections, schema
from lithox.store.postgres.arrays import Bytes, Int, Packed
from lithox.store.postgres.connections import Connection
from lithox.store.postgres.failures import meaning_of_failure
from lithox.store.postgres.options import PostgresOptions
from lithox.store.postgres.rows import audit_of, result_of

PAGE_ROWS_MAX: Final = 2_000
PAGE_BYTES_MAX: Final = 4 << 20
"""Rows, or bytes of their values, that one page of a dump has at most; one row always comes."""
AT_WORK_S: Final = 2 * schema.NODE_SEEN_S
"""A node that was heard of since is at work."""
_LAST_SEQUENCE: Final = 0
"""Loaded audit records are of no node at work, so their sequence is nobody's."""
_LOADER: Final = b"loaded"

_BEGIN: Final[tuple[LiteralString, ...]] = (
    # A reader that stops reading holds back the server's cleaning, so not for ever.
    "SET idle_in_transaction_session_timeout = '10min'",
    "SET statement_timeout = '5min'",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
)
# `before` is the bytes of the values before a row; lengths are known without reading the values.
_PAGE: Final[LiteralString] = """SELECT entity, key, value, version FROM (
  SELECT entity, key, value, version,
    coalesce(sum(octet_length(value)) OVER (ORDER BY entity, key
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM (SELECT * FROM state WHERE (entity, key) {above} (%(entity)s, %(key)s)
    AND (%(end)s::bytea IS NULL OR entity < %(end)s) ORDER BY entity, key LIMIT %(rows)s) AS page
) AS sized WHERE before < %(bytes)s ORDER BY entity, key"""
_FIRST_CELLS: Final = _PAGE.replace("{above}", ">=")
_MORE_CELLS: Final = _PAGE.replace("{above}", ">")
_RESULTS: Final[LiteralString] = """
SELECT identity, entity, request_id, account, asked_digest, answer, expires_ns FROM (
  SELECT *, coalesce(sum(octet_length(answer)) OVER (ORDER BY identity, entity, request_id
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM (SELECT * FROM results
    WHERE %(first)s OR (identity, entity, request_id) > (%(identity)s, %(entity)s, %(id)s)
    ORDER BY identity, entity, request_id LIMIT %(rows)s) AS page
) AS sized WHERE before < %(bytes)s ORDER BY identity, entity, request_id"""
_AUDIT: Final[LiteralString] = (
    "SELECT at_ns, identity, act, entity, outcome, detail, place FROM audit WHERE place > %s "
    "ORDER BY place LIMIT %s"
)
_COPY_STATE: Final = "COPY state (entity, key, value, version) FROM STDIN (FORMAT BINARY)"
_COPY_RESULTS: Final = (
    "COPY results (identity, entity, request_id, account, asked_digest, answer, expires_ns, "
    "version, replaced_ns) FROM STDIN (FORMAT BINARY)"
)
_COPY_AUDIT: Final = (
    "COPY audit (node_id, sequence, at_ns, identity, act, entity, outcome, detail) "
    "FROM STDIN (FORMAT BINARY)"
)
_ADD_ENTITIES: Final = (
    "INSERT INTO entities (entity, version, before) SELECT DISTINCT entity, %s::bigint, 0 "
    "FROM state WHERE substring(entity FROM 1 FOR %s) <> %s"
)
_ADD_PLACE: Final = (
    "INSERT INTO nodes (slot, node_id, last_batch, last_version, seen_at) "
    "VALUES ((SELECT count(*) FROM nodes), NULL, 0, %s, now())"
)
_IS_EMPTY: Final = (
    "SELECT NOT EXISTS (SELECT FROM state) AND NOT EXISTS (SELECT FROM results) "
    "AND NOT EXISTS (SELECT FROM audit)"
)
_AT_WORK: Final = (
    "SELECT count(*) FROM nodes WHERE node_id IS NOT NULL "
    "AND seen_at > now() - make_interval(secs => %s)"
)


class PostgresDump:
    """See DumpSource. Nothing is opened before it is entered."""

    def __init__(self, address: str, options: PostgresOptions) -> None:
        self._address = address
        self._options = options
        self._connection: Connection | None = None
        self.store_id = ""

    def __enter__(self) -> Self:
        try:
            connection = connections.connect(self._address, self._options)
            self._connection = connection
            check_schema(connection, self._options)
            for text in _BEGIN:
                connection.execute(text)
            # The first read is the moment that everything read later shows.
            row = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()
            self.store_id = "" if row is None else str(row[0])
        except BaseException as error:
            self._close()
            if isinstance(error, psycopg.Error):
                raise meaning_of_failure(error, act="beginning a dump") from None
            raise
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
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def cells(self, start: str = "", end: str | None = None) -> Iterator[CellRow]:
        asked: dict[str, Any] = {
            "entity": start.encode(),
            "key": b"",
            "end": None if end is None else end.encode(),
            "rows": PAGE_ROWS_MAX,
            "bytes": PAGE_BYTES_MAX,
        }
        text = _FIRST_CELLS
        while rows := self._rows(text, asked):
            for entity, key, value, version in rows:
                yield cell_row(entity.decode(), key.decode(), Item(value, version))
            asked["entity"], asked["key"] = rows[-1][:2]
            text = _MORE_CELLS

    def results(self) -> Iterator[ResultRecord]:
        asked: dict[str, Any] = {
            "first": True,
            "identity": b"",
            "entity": b"",
            "id": b"",
            "rows": PAGE_ROWS_MAX,
            "bytes": PAGE_BYTES_MAX,
        }
        while rows := self._rows(_RESULTS, asked):
            yield from map(result_of, rows)
            asked["identity"], asked["entity"], asked["id"] = rows[-1][:3]
            asked["first"] = False

    def audit(self) -> Iterator[AuditRecord]:
        place = -1
        while rows := self._rows(_AUDIT, (place, PAGE_ROWS_MAX)):
            for row in rows:
                yield audit_of(row[:6])
            place = rows[-1][6]

    def _rows(self, text: LiteralString, asked: Any) -> list[tuple[Any, ...]]:
        assert self._connection is not None, "a dump is read between entering and leaving it"
        try:
            return self._connection.execute(text, asked, binary=True).fetchall()
        except psycopg.Error as error:
            raise meaning_of_failure(error, act="a dump") from None


def check_schema(connection: Connection, options: PostgresOptions) -> None:
    """Raises ConfigError unless the schema is there and of this version; StoreCorrupt too."""
    version = schema.find_version(connection, options.schema)
    if version != schema.SCHEMA_VERSION:
        found = f"has version {version}" if version else "is not there"
        raise ConfigError(
            f"the schema {options.schema!r} {found}, this lithox needs {schema.SCHEMA_VERSION}"
        )


def check_at_rest(address: str, options: PostgresOptions) -> None:
    """Raises StoreInUse when a node is at work on the database; what a dump raises, too. Blocks."""

    def ask(connection: Connection) -> None:
        check_schema(connection, options)
        _check_nobody(connection)

    _with_connection(address, options, "asking for nodes at work", ask)


def load_postgres(address: str, options: PostgresOptions, rows: Iterable[DumpRow]) -> None:
    """Fills the database at `address` with `rows`, all or nothing. Blocks.

    Args:
        address: see PostgresStore.open.
        options: the schema; it is made if it is not there.
        rows: in the order of a dump.

    Raises:
        BadArguments: something is stored there already; or what `rows` raises.
        ConfigError: the address is wrong, the schema old, or the server may lose what it confirms.
        StoreInUse: a node is at work on it.
        StoreCorrupt: the schema is newer, damaged, or another program's.
        StoreUnavailable: the server cannot be reached, refuses, or is full.
    """

    def fill(connection: Connection) -> None:
        connections.check_durable(connection, is_unsafe=options.is_unsafe)
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET idle_in_transaction_session_timeout = '10min'")
        with connection.transaction():
            schema.make_current(connection, options.schema)
            connection.execute("LOCK TABLE nodes IN EXCLUSIVE MODE")
            _check_nobody(connection)
            row = connection.execute(_IS_EMPTY).fetchone()
            if row is None or not row[0]:
                raise BadArguments(
                    f"something is stored in the schema {options.schema!r} already: what is loaded "
                    "goes into an empty place; name another schema or database"
                )
            newest = _copy_all(connection, rows)
            prefix = QUEUE_PREFIX.encode()
            connection.execute(_ADD_ENTITIES, (LOADED_VERSION, len(prefix), prefix))
            connection.execute(_ADD_PLACE, (newest,))
        # Else the first nodes would plan for empty tables.
        connection.execute("ANALYZE state, entities, results")

    _with_connection(address, options, "a load", fill)


def _with_connection(
    address: str, options: PostgresOptions, act: str, work: Callable[[Connection], None]
) -> None:
    options.check()
    connection: Connection | None = None
    try:
        connection = connections.connect(address, options)
        work(connection)
    except psycopg.Error as error:
        raise meaning_of_failure(error, act=act) from None
    finally:
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def _check_nobody(connection: Connection) -> None:
    row = connection.execute(_AT_WORK, (AT_WORK_S,)).fetchone()
    count = 0 if row is None else int(row[0])
    if count:
        raise StoreInUse(
            f"nodes at work on this database, now or less than {AT_WORK_S:.0f} s ago: {count}; "
            "stop them first"
        )


def _copy_all(connection: Connection, rows: Iterable[DumpRow]) -> int:
    """Copies every row; returns the highest version."""
    versions = LoadedVersions()
    ways: dict[type, tuple[str, list[str], Callable[[Any], tuple[Packed, ...]]]] = {
        CellRow: (_COPY_STATE, ["bytea"] * 3 + ["int8"], lambda row: _cell(row, versions)),
        ResultRecord: (_COPY_RESULTS, ["bytea"] * 6 + ["int8"] * 3, _result),
        AuditRecord: (_COPY_AUDIT, ["bytea", "int8", "int8"] + ["bytea"] * 5, _audit),
    }
    for kind, group in groupby(rows, key=type):
        text, types, values_of = ways[kind]
        with connection.cursor() as cursor, cursor.copy(text.encode()) as copy:
            copy.set_types(types)
            for row in group:
                copy.write_row(values_of(row))
    return versions.newest


def _cell(row: CellRow, versions: LoadedVersions) -> tuple[Packed, ...]:
    return _text(row.entity), _text(row.key), Bytes(row.value), Int(versions.of(row))


def _result(row: ResultRecord) -> tuple[Packed, ...]:
    return (
        _text(row.identity),
        _text(row.entity),
        _text(row.request_id),
        _text(row.account),
        Bytes(row.asked_digest),
        Bytes(row.answer),
        Int(row.expires_ns),
        Int(LOADED_VERSION),
        Int(0),
    )


def _audit(row: AuditRecord) -> tuple[Packed, ...]:
    return (
        Bytes(_LOADER),
        Int(_LAST_SEQUENCE),
        Int(row.at_ns),
        _text(row.identity),
        _text(row.act),
        _text(row.entity),
        _text(row.outcome),
        _text(row.detail),
    )


def _text(text: str) -> Bytes:
    return Bytes(text.encode())
