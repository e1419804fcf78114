"""Connections to the server: how one is made, and that what it confirms is on its disk.

The address may carry a password, so no message and no log ever contains it: errors are told with
the server's own words only. Without one, libpq takes it from PGPASSWORD or PGPASSFILE.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lithox.errors import ConfigError
from lithox.store.postgres.arrays import register_arrays
from lithox.store.postgres.options import PostgresOptions

Connection = psycopg.Connection[tuple[Any, ...]]

KEEPALIVES: Final = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A peer that is gone without a word is noticed after 11 to 15 s, between statements or in one."""
SERVER_VERSION_MIN: Final = 150_000
"""As the server numbers itself: major * 10,000 + minor. 15 is the oldest that is tested."""
STATEMENTS_PREPARED_MAX: Final = 64
"""More than there are texts in this engine."""


def check_address(address: str) -> dict[str, Any]:
    """Returns the parts of a `postgresql://` address or of libpq's `key=value` form.

    Raises:
        ConfigError: it is malformed; the message does not repeat it, it may have a password.
    """
    try:
        return dict(conninfo_to_dict(address))
    except psycopg.Error:
        raise ConfigError(
            "the store's address is not one that PostgreSQL understands; it is "
            "postgresql://USER@HOST:PORT/DATABASE"
        ) from None


def connect(address: str, options: PostgresOptions, *, is_reader: bool = False) -> Connection:
    """Returns a new connection in autocommit mode. Blocks up to `connect_timeout_s`.

    Raises:
        ConfigError: the address is malformed, or the server older than SERVER_VERSION_MIN.
        psycopg.Error: the server cannot be reached or refuses.
    """
    parts = check_address(address)
    timeout_ms = options.read_timeout_ms if is_reader else options.statement_timeout_ms
    settings = {
        "search_path": options.schema,
        "statement_timeout": timeout_ms,
        "lock_timeout": options.lock_timeout_ms,
        "idle_in_transaction_session_timeout": options.transaction_idle_ms,
        # Parameters are arrays whose length says nothing about the best plan: plan once.
        "plan_cache_mode": "force_generic_plan",
        "jit": "off",
        "client_min_messages": "warning",
    }
    said = str(parts.pop("options", "") or "")
    words = [said, *(f"-c {name}={value}" for name, value in settings.items())]
    parts.setdefault("connect_timeout", options.connect_timeout_s)
    parts.setdefault("application_name", "lithox")
    for name, value in KEEPALIVES.items():
        parts.setdefault(name, value)
    conninfo = make_conninfo(**parts, options=" ".join(words).strip())
    connection: Connection = psycopg.connect(conninfo, autocommit=True)
    found = connection.info.server_version
    if found < SERVER_VERSION_MIN:
        connection.close()
        raise ConfigError(
            f"the server is PostgreSQL {found // 10_000}; this lithox needs "
            f"{SERVER_VERSION_MIN // 10_000} or newer"
        )
    connection.prepared_max = STATEMENTS_PREPARED_MAX
    register_arrays(connection)
    return connection


def check_durable(connection: Connection, *, is_unsafe: bool) -> None:
    """Makes sure that COMMIT waits for the server's disk.

    Raises:
        ConfigError: the server's own settings may lose what it has confirmed.
    """
    rows = connection.execute(
        "SELECT name, setting FROM pg_settings "
        "WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
    ).fetchall()
    settings = {str(name): str(value) for name, value in rows}
    if settings.get("synchronous_commit") not in ("on", "remote_apply"):
        connection.execute("SET synchronous_commit = on")
    unsafe = [name for name in ("fsync", "full_page_writes") if settings.get(name) == "off"]
    if unsafe and not is_unsafe:
        raise ConfigError(
            f"the server has {' and '.join(unsafe)} switched off: it would lose answers that were "
            "given; switch it on, or open the store as unsafe if they may be lost"
        )


def is_lost(connection: Connection) -> bool:
    """Returns whether nothing more can be asked over `connection`."""
    return connection.closed or connection.broken
