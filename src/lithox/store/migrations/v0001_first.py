"""Schema version 1: state, results, audit, meta.

`state` is keyed by the entity's path itself: a commit then needs no look-up or insert of an id,
an entity exists exactly when it has a key, and entities that are siblings lie side by side.
"""

from __future__ import annotations

from typing import Final

STATEMENTS: Final = (
    """CREATE TABLE meta (
  name TEXT NOT NULL PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE state (
  entity TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (entity, key)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE results (
  identity TEXT NOT NULL,
  entity TEXT NOT NULL,
  request_id TEXT NOT NULL,
  account TEXT NOT NULL,
  asked_digest BLOB NOT NULL,
  answer BLOB NOT NULL,
  expires_ns INTEGER NOT NULL,
  version INTEGER NOT NULL,
  UNIQUE (identity, entity, request_id)
) STRICT""",
    "CREATE INDEX results_by_account ON results (account)",
    "CREATE INDEX results_by_expiry ON results (expires_ns)",
    """CREATE TABLE audit (
  sequence INTEGER NOT NULL PRIMARY KEY,
  at_ns INTEGER NOT NULL,
  identity TEXT NOT NULL,
  act TEXT NOT NULL,
  entity TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT""",
    "INSERT INTO meta (name, value) VALUES ('version_limit', 0)",
    "INSERT INTO meta (name, value) VALUES ('store_id', lower(hex(randomblob(16))))",
)

OBJECTS: Final = frozenset(
    {"meta", "state", "results", "results_by_account", "results_by_expiry", "audit"}
)
