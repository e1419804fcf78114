"""Connections to the server: how one is made, and that what it confirms is on its disk.

The address may carry a password, so no message and no log ever contains it: errors are told with
the server's own words only. Without one, libpq takes it from PGPASSWORD or PGPASSFILE.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lithox.errors import ConfigError
from lithox.store.postgres.arrays import register_arrays
from lithox.store.postgres.options import PostgresOptions

Result = TypeVar("Result")

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
SILENT_S: Final = 1.0
"""How long after its own time-out a server may still say that a statement has timed out."""


class SilentError(psycopg.OperationalError):
    """The server has said nothing for too long; what became of the statement is unknown."""


class Use(Enum):
    """What a connection is for, which decides for how long is waited over it.

    WRITE waits as long as the server does. READ is for reads in the background. DIRECT is for
    reads that the node's thread waits for.
    """

    WRITE = 0
    READ = 1
    DIRECT = 2


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives a server up which says nothing for too long.

    The server's own time-outs and the network's keepalives say nothing of a server that is paused:
    only a clock on this side does.

    Attributes:
        wait_s: seconds until the server counts as silent; None: it is waited for.
    """

    wait_s: float | None = None

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        """Waits for the server's answer. Blocks up to `wait_s`.

        Raises:
            SilentError: there was none; the connection is closed, since what is still on its way
                over it answers nobody.
        """
        wait_s = self.wait_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, wait_s)
        except errors._WaitTimeout:  # The class that psycopg documents for `wait`.
            self.close()
            raise SilentError(f"no answer within {wait_s} s") from None


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


def connect(address: str, options: PostgresOptions, use: Use = Use.WRITE) -> Connection:
    """Returns a new connection in autocommit mode. Blocks up to `connect_timeout_s`.

    Raises:
        ConfigError: the address is malformed, or the server older than SERVER_VERSION_MIN.
        psycopg.Error: the server cannot be reached or refuses.
    """
    parts = check_address(address)
    timeout_ms = options.statement_timeout_ms if use is Use.WRITE else options.read_timeout_ms
    # Sooner than we give the connection up: a locked table costs no connection.
    lock_ms = options.direct_wait_ms * 4 // 5 if use is Use.DIRECT else options.lock_timeout_ms
    settings = {
        "search_path": options.schema,
        "statement_timeout": timeout_ms,
        "lock_timeout": lock_ms,
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
    connection = Connection.connect(conninfo, autocommit=True)
    found = connection.info.server_version
    if found < SERVER_VERSION_MIN:
        connection.close()
        raise ConfigError(
            f"the server is PostgreSQL {found // 10_000}; this lithox needs "
            f"{SERVER_VERSION_MIN // 10_000} or newer"
        )
    connection.prepared_max = STATEMENTS_PREPARED_MAX
    register_arrays(connection)
    if use is not Use.WRITE:
        connection.wait_s = long_wait_s(options)
    if use is Use.DIRECT:
        connection.wait_s = options.direct_wait_ms / 1_000
    return connection


def long_wait_s(options: PostgresOptions) -> float:
    """Returns the seconds after which a server that does not even say "timed out" is silent."""
    return options.read_timeout_ms / 1_000 + SILENT_S


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
