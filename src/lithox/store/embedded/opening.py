"""Is this file a database of ours, whole and of a version we know; and how it is opened or made.

Nothing is ever repaired. What is checked, in this order, and what it costs: the file's first 100
bytes (not SQLite: refused); that SQLite can read its schema (damaged head: refused); the
application id and schema version (foreign or newer: refused); that the tables are those of the
version; that a file without a log is as long as its head says (cut off: refused). All of that is
independent of size. `PRAGMA quick_check`, which reads everything, runs only for files up to
QUICK_CHECK_BYTES_MAX or when asked. Unclean ends are no reason for it: the log covers those.
Damage inside a page shows when the page is read, as StoreCorrupt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from lithox.errors import ConfigError, StoreCorrupt, TransactionError
from lithox.store import migrations
from lithox.store.embedded.checkpoints import LOG_PAGES_HARD_MAX, LOG_PAGES_MAX
from lithox.store.embedded.connections import fetch_rows, fetch_single
from lithox.store.embedded.failures import meaning_of_failure

QUICK_CHECK_BYTES_MAX: Final = 8 << 20
"""quick_check reads about 1 GB/s from memory: some 10 ms for this size."""
PAGE_BYTES: Final = 4096

_HEADER_BYTES: Final = 100
_FILE_FORMATS: Final = {1, 2}
"""Bytes 18 and 19 of the head: with a rollback journal, with a log."""
_MAGIC: Final = b"SQLite format 3\x00"


def check_head(path: Path, *, had_state: bool = False) -> bool:
    """Returns whether there is a file to check further; False: a new database.

    Args:
        path: the database.
        had_state: it is known to have been made, so it was not empty.

    Raises:
        ConfigError: the file cannot be read.
        StoreCorrupt: it is not SQLite, is cut off, or was emptied.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        if had_state:
            raise _corrupt(path, f"it is empty, and a store was kept in it (see {path.name}-lock)")
        return False
    if head[: len(_MAGIC)] != _MAGIC[: len(head)]:
        raise StoreCorrupt(
            f"{path} is not a database of lithox (it does not begin as SQLite files do); "
            "name another data directory, or restore a backup"
        )
    if len(head) < _HEADER_BYTES:
        raise _corrupt(path, f"it ends after {len(head)} bytes")
    if not set(head[18:20]) <= _FILE_FORMATS:
        # SQLite would open it for reading only, and blame the disk.
        raise _corrupt(path, f"its head names the file formats {head[18]} and {head[19]}")
    # Bytes 16-17 and 28-31 of the head: page size, and pages in the file; see
    # sqlite.org/fileformat.html. With a log beside it the file may be shorter than its head says:
    # the rest is in the log, whose copying a crash has cut short.
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        needed = int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")
        size = path.stat().st_size
        if size < needed:
            raise _corrupt(path, f"it has {size} bytes and needs {needed}")
    return True


def prepare(connection: apsw.Connection, path: Path, *, is_checked: bool) -> None:
    """Checks the database, makes or migrates its schema, and puts it into WAL mode.

    Raises:
        StoreCorrupt: it is damaged, not ours, or of a newer version.
        StoreUnavailable: it cannot be read or made.
    """
    try:
        _prepare(connection, path, is_checked=is_checked)
    except apsw.Error as error:
        raise meaning_at_opening(error, path) from error


def meaning_at_opening(error: apsw.Error, path: Path) -> TransactionError:
    """Returns the error to raise for one of SQLite's that opening `path` met."""
    if isinstance(error, apsw.SQLError):
        # Our SQL is right: it is the schema that is not what its version says.
        return _corrupt(path, str(error))
    return meaning_of_failure(error, act=f"opening {path}")


def _prepare(connection: apsw.Connection, path: Path, *, is_checked: bool) -> None:
    schema_version = _check_origin(connection, path)
    if schema_version == 0:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    else:
        _check_whole(connection, path, is_checked=is_checked)
    if schema_version == migrations.SCHEMA_VERSION:
        _check_schema(connection, path)
    # Only now: what is refused above is left without a byte changed.
    mode = fetch_single(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise TransactionError(
            f"{path} cannot be put into WAL mode (it stays {mode}); use a local disk",
            code="store.unavailable",
        )
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES_HARD_MAX}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {2 * LOG_PAGES_MAX * PAGE_BYTES}").fetchall()
    if schema_version < migrations.SCHEMA_VERSION:
        migrate(connection, from_version=schema_version)
        _check_schema(connection, path)


def migrate(
    connection: apsw.Connection,
    *,
    from_version: int,
    steps: tuple[tuple[str, ...], ...] = migrations.STEPS,
) -> None:
    """Brings the schema from `from_version` to the newest: each step is one transaction."""
    for version in range(from_version, len(steps)):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            for statement in steps[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _check_origin(connection: apsw.Connection, path: Path) -> int:
    """Returns the schema version of a database that is ours or empty."""
    tables: int = fetch_single(connection, "SELECT count(*) FROM sqlite_schema")
    application_id: int = fetch_single(connection, "PRAGMA application_id")
    schema_version: int = fetch_single(connection, "PRAGMA user_version")
    if tables == 0 and application_id in (0, migrations.APPLICATION_ID) and schema_version == 0:
        return 0
    if application_id != migrations.APPLICATION_ID:
        raise StoreCorrupt(
            f"{path} is an SQLite database of another program (application id "
            f"{application_id:#x}); name another data directory"
        )
    if schema_version > migrations.SCHEMA_VERSION:
        raise StoreCorrupt(
            f"{path} has schema version {schema_version}, this lithox knows up to "
            f"{migrations.SCHEMA_VERSION}; start the newer lithox that wrote it, or restore a "
            "backup made before the upgrade"
        )
    if schema_version < 1:
        raise _corrupt(path, f"its schema version is {schema_version}")
    return schema_version


def _check_schema(connection: apsw.Connection, path: Path) -> None:
    rows = fetch_rows(connection, "SELECT name FROM sqlite_schema WHERE sql IS NOT NULL")
    missing = migrations.EXPECTED_OBJECTS - {name for (name,) in rows}
    if missing:
        raise _corrupt(path, f"it lacks {', '.join(sorted(missing))}")


def _check_whole(connection: apsw.Connection, path: Path, *, is_checked: bool) -> None:
    if is_checked or path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
        problem = fetch_single(connection, "PRAGMA quick_check(1)")
        if problem != "ok":
            raise _corrupt(path, str(problem))


def _corrupt(path: Path, found: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged: {found}; nothing was repaired: keep a copy, then restore a backup"
    )
