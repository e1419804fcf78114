"""The tables, how a database gets them, and which place this node takes among the others.

Names, keys and values are `bytea`: text cannot hold NUL, and bytes are ordered as code points are.
Steps are never changed once released. Each is applied in a transaction that holds a lock which ends
with it, however it ends.
"""

from __future__ import annotations

import secrets
from typing import Final, LiteralString, NamedTuple

import psycopg

from lithox.errors import ConfigError, StoreCorrupt, StoreUnavailable
from lithox.store.beliefs import NODES_MAX
from lithox.store.postgres.connections import Connection
from lithox.store.postgres.failures import RETRY_AFTER_MS
from lithox.store.postgres.options import PostgresOptions

VERSION_STEP: Final = NODES_MAX << 20
"""A new start numbers so far above all that is durable: what a dead node had made visible only,
PENDING_COMMITS_MAX (2 ** 18) commits at most, is then never numbered again."""
PLACE_IDLE_S: Final = 600
"""A place whose node has said nothing for so long may be taken by another; nodes at work say
something every NODE_SEEN_S."""
NODE_SEEN_S: Final = 30.0
_LOCK: Final = 0x4C545831
"""Key of the lock that migrations take turns on: "LTX1"."""

_FIRST: Final[tuple[LiteralString, ...]] = (
    "CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL)",
    """CREATE TABLE nodes (
  slot int PRIMARY KEY,
  node_id bytea,
  last_batch bigint NOT NULL,
  last_version bigint NOT NULL,
  seen_at timestamptz NOT NULL
)""",
    """CREATE TABLE entities (
  entity bytea PRIMARY KEY,
  version bigint NOT NULL,
  before bigint NOT NULL
) WITH (fillfactor = 50)""",
    """CREATE TABLE state (
  entity bytea NOT NULL,
  key bytea NOT NULL,
  value bytea NOT NULL,
  version bigint NOT NULL,
  PRIMARY KEY (entity, key)
) WITH (fillfactor = 70)""",
    """CREATE TABLE results (
  identity bytea NOT NULL,
  entity bytea NOT NULL,
  request_id bytea NOT NULL,
  account bytea NOT NULL,
  asked_digest bytea NOT NULL,
  answer bytea NOT NULL,
  expires_ns bigint NOT NULL,
  version bigint NOT NULL,
  replaced_ns bigint NOT NULL,
  PRIMARY KEY (identity, entity, request_id)
)""",
    "CREATE INDEX results_by_account ON results (account)",
    "CREATE INDEX results_by_expiry ON results (expires_ns)",
    """CREATE TABLE audit (
  place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id bytea NOT NULL,
  sequence bigint NOT NULL,
  at_ns bigint NOT NULL,
  identity bytea NOT NULL,
  act bytea NOT NULL,
  entity bytea NOT NULL,
  outcome bytea NOT NULL,
  detail bytea NOT NULL
)""",
)

STEPS: Final = (_FIRST,)
"""STEPS[n] leads from schema version n to n + 1; version 0 is a database without our schema."""
SCHEMA_VERSION: Final = len(STEPS)
TABLES: Final = frozenset({"meta", "nodes", "entities", "state", "results", "audit"})


class Place(NamedTuple):
    """What this node is among those that share the database."""

    slot: int
    node_id: bytes
    batch: int
    version: int


def prepare(connection: Connection, options: PostgresOptions) -> None:
    """Verifies the schema, or makes it current if `options` say so.

    Raises:
        ConfigError: it is missing or older, and only to be verified.
        StoreCorrupt: it is newer than this lithox knows, or not ours.
        psycopg.Error: the server refuses.
    """
    version = find_version(connection, options.schema)
    if version < SCHEMA_VERSION and options.migrate == "apply":
        with connection.transaction():
            make_current(connection, options.schema)
        version = find_version(connection, options.schema)
    if version < SCHEMA_VERSION:
        found = f"has version {version}" if version else "is not there"
        raise ConfigError(
            f"the schema {options.schema!r} {found}, this lithox needs version {SCHEMA_VERSION}; "
            'make it with store_migrate = "apply", when no older node is at work on it'
        )


def make_current(connection: Connection, schema: str) -> None:
    """Makes the schema or brings it up to date, in the transaction that is open.

    Raises:
        StoreCorrupt: it is newer than this lithox knows, or not ours.
        psycopg.Error: the server refuses.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    for step in range(find_version(connection, schema), SCHEMA_VERSION):
        _apply(connection, schema, step)


def find_version(connection: Connection, schema: str) -> int:
    """Returns the version of the schema, 0 when there is none.

    Raises:
        StoreCorrupt: it is newer, or another program's.
    """
    rows = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)
    ).fetchall()
    names = {str(name) for (name,) in rows}
    if not names:
        return 0
    found = None
    if "meta" in names:
        try:
            row = connection.execute(
                "SELECT value FROM meta WHERE name = 'lithox_schema_version'"
            ).fetchone()
        except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable):
            row = None
        found = None if row is None else str(row[0])
    if found is None or not found.isdigit():
        raise StoreCorrupt(
            f"the schema {schema!r} has tables of another program; name another schema or database"
        )
    version = int(found)
    if version > SCHEMA_VERSION:
        raise StoreCorrupt(
            f"the schema {schema!r} has version {version}, this lithox knows up to "
            f"{SCHEMA_VERSION}; start the newer lithox that wrote it, or restore a backup"
        )
    missing = TABLES - names
    if missing:
        raise StoreCorrupt(
            f"the schema {schema!r} is damaged: it lacks {', '.join(sorted(missing))}; "
            "nothing was repaired: restore a backup"
        )
    return version


def _apply(connection: Connection, schema: str, step: int) -> None:
    if step == 0:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')  # type: ignore[arg-type]
    for statement in STEPS[step]:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('lithox_schema_version', %s) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (str(step + 1),),
    )
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('store_id', %s) ON CONFLICT DO NOTHING",
        (secrets.token_hex(16),),
    )


def take_place(connection: Connection) -> Place:
    """Returns a place of this node's own, above everything that was ever durable.

    Raises:
        StoreUnavailable: NODES_MAX others are at work.
        psycopg.Error: the server refuses.
    """
    node_id = secrets.token_bytes(12)
    with connection.transaction():
        connection.execute("LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE")
        row = connection.execute(
            "SELECT count(*), coalesce(max(last_version), 0) FROM nodes"
        ).fetchone()
        assert row is not None, "an aggregate has one row"
        count, newest = int(row[0]), int(row[1])
        version = newest + VERSION_STEP
        free = connection.execute(
            "SELECT slot, last_batch FROM nodes WHERE node_id IS NULL "
            "OR (%s AND seen_at < now() - make_interval(secs => %s)) "
            "ORDER BY node_id IS NOT NULL, seen_at LIMIT 1",
            (count >= NODES_MAX, PLACE_IDLE_S),
        ).fetchone()
        if free is None and count >= NODES_MAX:
            raise StoreUnavailable(
                f"{NODES_MAX} nodes share this database already", retry_after_ms=RETRY_AFTER_MS
            )
        slot, batch = (count, 0) if free is None else (int(free[0]), int(free[1]) + 1)
        connection.execute(
            "INSERT INTO nodes (slot, node_id, last_batch, last_version, seen_at) "
            "VALUES (%s, %s, %s, %s, now()) ON CONFLICT (slot) DO UPDATE SET "
            "node_id = excluded.node_id, last_batch = excluded.last_batch, "
            "last_version = excluded.last_version, seen_at = excluded.seen_at",
            (slot, node_id, batch, version),
        )
    return Place(slot, node_id, batch, version)
