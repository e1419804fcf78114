"""The SQL of a batch: few statements over whole columns, each its own guard.

A batch is one transaction, sent in one go, at READ COMMITTED: what isolates it are the locks it
takes, in this order, so that two batches never wait for each other:

1. its node's row (`FENCE`), which nobody else writes while this node lives;
2. the rows of all entities it writes, or has found absent, by name (`ENTITIES`);
3. the cells it has read in queues, by name (`CELLS`), and its results, by key (`RESULTS`);
4. the rows of entities it has only read (`HELD`), never waiting: who holds one is writing it.

Every one is held until the commit is durable, so what a batch has checked stays as it was until
then, on a row that is not there yet too: it is made first, at version 0. A guard that finds a row
missing or at another version divides by zero, and the rest of the batch is not executed.
"""

from __future__ import annotations

from typing import Final

BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"
PING: Final = "SELECT 1"

FENCE: Final = """WITH done AS (
  UPDATE nodes SET last_batch = %b, last_version = greatest(last_version, %b), seen_at = now()
  WHERE slot = %b AND node_id = %b AND last_batch = %b RETURNING 1
) SELECT 1 / count(*) FROM done"""
ENTITIES: Final = """WITH done AS (
  INSERT INTO entities AS e (entity, version, before)
  SELECT n.entity, n.version, n.before FROM unnest(%b, %b, %b) AS n (entity, version, before)
  ORDER BY n.entity
  ON CONFLICT (entity) DO UPDATE SET version = excluded.version, before = excluded.before
  WHERE e.version = excluded.before RETURNING 1
) SELECT 1 / (count(*) = %b)::int FROM done"""
CELLS: Final = """SELECT 1 / (count(*) = %b)::int FROM (
  SELECT 1 FROM unnest(%b, %b, %b) AS w (entity, key, version)
  JOIN state s ON s.entity = w.entity AND s.key = w.key
  WHERE s.version = w.version ORDER BY s.entity, s.key FOR UPDATE OF s
) AS held"""
HELD: Final = """SELECT 1 / (count(*) = %b)::int FROM (
  SELECT 1 FROM unnest(%b, %b) AS w (entity, version)
  JOIN entities e ON e.entity = w.entity
  WHERE e.version = w.version FOR SHARE OF e NOWAIT
) AS held"""
RESULTS: Final = """WITH done AS (
  INSERT INTO results AS r (identity, entity, request_id, account, asked_digest, answer,
    expires_ns, version, replaced_ns)
  SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b) AS n (identity, entity, request_id,
    account, asked_digest, answer, expires_ns, version, replaced_ns)
  ORDER BY n.identity, n.entity, n.request_id
  ON CONFLICT (identity, entity, request_id) DO UPDATE SET account = excluded.account,
    asked_digest = excluded.asked_digest, answer = excluded.answer,
    expires_ns = excluded.expires_ns, version = excluded.version,
    replaced_ns = excluded.replaced_ns
  WHERE r.expires_ns = excluded.replaced_ns RETURNING 1
) SELECT 1 / (count(*) = %b)::int FROM done"""
PUT: Final = """INSERT INTO state AS s (entity, key, value, version)
  SELECT * FROM unnest(%b, %b, %b, %b) AS n (entity, key, value, version)
  ORDER BY n.entity, n.key
  ON CONFLICT (entity, key) DO UPDATE SET value = excluded.value, version = excluded.version"""
DELETE: Final = """DELETE FROM state s USING unnest(%b, %b) AS gone (entity, key)
  WHERE s.entity = gone.entity AND s.key = gone.key"""
DROP_RESULTS: Final = """DELETE FROM results r
  USING unnest(%b, %b, %b) AS gone (identity, entity, request_id)
  WHERE r.identity = gone.identity AND r.entity = gone.entity
    AND r.request_id = gone.request_id AND r.expires_ns <= %b"""
AUDIT: Final = """INSERT INTO audit
  (node_id, sequence, at_ns, identity, act, entity, outcome, detail)
  SELECT %b, n.* FROM unnest(%b, %b, %b, %b, %b, %b, %b)
    AS n (sequence, at_ns, identity, act, entity, outcome, detail)
  ORDER BY n.sequence"""
TRIM_AUDIT: Final = "DELETE FROM audit WHERE place <= (SELECT max(place) FROM audit) - %b"
NOTIFY: Final = "SELECT pg_notify(%b, %b)"

OUTCOME: Final = "SELECT last_batch FROM nodes WHERE slot = %b AND node_id = %b FOR UPDATE"
MOVE_FENCE: Final = "UPDATE nodes SET last_batch = %b WHERE slot = %b AND node_id = %b"
SEEN: Final = "UPDATE nodes SET seen_at = now() WHERE slot = %b AND node_id = %b"
LEAVE: Final = "UPDATE nodes SET node_id = NULL, seen_at = now() WHERE slot = %b AND node_id = %b"

VERSIONS: Final = """SELECT w.entity, coalesce(e.version, 0) FROM unnest(%b) AS w (entity)
  LEFT JOIN entities e ON e.entity = w.entity"""
CELL_VERSIONS: Final = """SELECT w.entity, w.key, coalesce(s.version, 0)
  FROM unnest(%b, %b) AS w (entity, key)
  LEFT JOIN state s ON s.entity = w.entity AND s.key = w.key"""
RESULT_EXPIRIES: Final = """SELECT w.identity, w.entity, w.request_id, coalesce(r.expires_ns, 0)
  FROM unnest(%b, %b, %b) AS w (identity, entity, request_id)
  LEFT JOIN results r ON r.identity = w.identity AND r.entity = w.entity
    AND r.request_id = w.request_id"""

FIND: Final = """SELECT coalesce(e.version, 0), s.value, s.version
  FROM (SELECT %b AS entity) AS w LEFT JOIN entities e ON e.entity = w.entity
  LEFT JOIN state s ON s.entity = w.entity AND s.key = %b"""
# No more rows are counted than may be wanted, and only those that are wanted are sent.
LOAD: Final = """SELECT coalesce(e.version, 0), s.key, s.value, s.version
  FROM (SELECT %b AS entity) AS w LEFT JOIN entities e ON e.entity = w.entity
  LEFT JOIN LATERAL (SELECT key, value, version FROM (
    SELECT key, value, version, octet_length(key) + octet_length(value) AS size,
      sum(octet_length(key) + octet_length(value)) OVER (ORDER BY key) AS total
    FROM (SELECT key, value, version FROM state WHERE entity = w.entity
      ORDER BY key LIMIT %b) AS rows
    ) AS counted WHERE total - size <= %b) AS s ON true"""
SCAN: Final = """SELECT coalesce(e.version, 0), s.key, s.value, s.version
  FROM (SELECT %b AS entity) AS w LEFT JOIN entities e ON e.entity = w.entity
  LEFT JOIN LATERAL (SELECT key, value, version FROM (
    SELECT key, value, version, octet_length(key) + octet_length(value) AS size,
      sum(octet_length(key) + octet_length(value)) OVER (ORDER BY key) AS total,
      row_number() OVER (ORDER BY key) AS place
    FROM (SELECT key, value, version FROM state WHERE entity = w.entity AND key >= %b
      AND (%b = 1 OR key < %b) ORDER BY key LIMIT %b) AS rows
    ) AS counted WHERE total - size <= %b OR place <= 2) AS s ON true ORDER BY s.key"""
MEASURE: Final = """SELECT count(*), coalesce(sum(octet_length(key) + octet_length(value)), 0)
  FROM state WHERE entity = %b AND key >= %b"""
# One descent of the index per entity, however many keys it has.
LIST_ENTITIES: Final = """WITH RECURSIVE found (path) AS (
    (SELECT entity FROM state WHERE entity >= %b ORDER BY entity LIMIT 1)
    UNION ALL
    SELECT (SELECT entity FROM state WHERE entity > found.path ORDER BY entity LIMIT 1) FROM found
    WHERE found.path IS NOT NULL
  ) SELECT path FROM found WHERE path IS NOT NULL AND (%b = 1 OR path < %b) LIMIT %b"""
_RESULT_COLUMNS: Final = "identity, entity, request_id, account, asked_digest, answer, expires_ns"
FIND_RESULT: Final = (
    f"SELECT {_RESULT_COLUMNS} FROM results "  # noqa: S608 - a constant of this module
    "WHERE identity = %b AND entity = %b AND request_id = %b"
)
EXPIRED_RESULTS: Final = (
    f"SELECT {_RESULT_COLUMNS} FROM results "  # noqa: S608 - a constant of this module
    "WHERE expires_ns <= %b ORDER BY expires_ns LIMIT %b"
)
COUNT_RESULTS: Final = """SELECT (SELECT count(*) FROM results WHERE account = %b),
  ARRAY(SELECT w.place FROM unnest(%b, %b, %b) WITH ORDINALITY
      AS w (identity, entity, request_id, place)
    JOIN results r ON r.identity = w.identity AND r.entity = w.entity
      AND r.request_id = w.request_id WHERE r.account = %b)"""
READ_AUDIT: Final = """SELECT at_ns, identity, act, entity, outcome, detail FROM audit
  WHERE NOT (node_id = %b AND sequence >= %b) ORDER BY place DESC LIMIT %b"""
COUNT_PEERS: Final = """SELECT count(*) FROM nodes WHERE node_id IS NOT NULL AND node_id <> %b
  AND seen_at > now() - make_interval(secs => 60)"""
