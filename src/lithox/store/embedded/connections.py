"""How a connection is set up, and the one place where apsw's loose types become ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import apsw

from lithox.store.embedded import statements

BUSY_MS: Final = 2_000
"""How long another program's write transaction is waited for."""
WRITER_CACHE_KIB: Final = 64 << 10
READER_CACHE_KIB: Final = 32 << 10
SYNCHRONOUS_DEFAULT: Final = "FULL"


def connect(path: Path, *, vfs: str | None, cache_kib: int, synchronous: str) -> apsw.Connection:
    """Returns a connection set up for us, without having looked into the file."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
    connection = apsw.Connection(
        str(path), flags=flags, vfs=vfs, statementcachesize=statements.STATEMENTS_CACHED_MAX
    )
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def fetch_rows(
    connection: apsw.Connection, text: str, bindings: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Returns every row of a statement; the transaction it needed has ended."""
    return cast("list[tuple[Any, ...]]", connection.execute(text, bindings).fetchall())


def fetch_single(connection: apsw.Connection, text: str) -> Any:
    """Returns the first value of the first row."""
    return fetch_rows(connection, text)[0][0]
