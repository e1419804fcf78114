"""Why a guard failed: what of a batch's expectations the database does not meet any more.

Asked after the transaction was rolled back, which is exact: versions never come back, so what was
not as expected then is not now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lithox.store.beliefs import Token
from lithox.store.engine import ResultKey
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, BytesArray, Int
from lithox.store.postgres.batch import Batch, cell_columns, result_columns
from lithox.store.postgres.connections import Connection
from lithox.store.postgres.schema import Place


@dataclass(slots=True, kw_only=True)
class Stale:
    """What is not as a batch expected: tokens with the versions they have, results by key."""

    tokens: list[tuple[Token, int]] = field(default_factory=list[tuple[Token, int]])
    results: list[ResultKey] = field(default_factory=list[ResultKey])
    is_fenced: bool = False

    def is_empty(self) -> bool:
        return not self.tokens and not self.results


def find_stale(connection: Connection, batch: Batch, place: Place) -> Stale:
    """Returns what of `batch` is stale. Blocks; raises psycopg.Error."""
    found = Stale()
    own = connection.execute(
        statements.OUTCOME.removesuffix(" FOR UPDATE"), (Int(place.slot), Bytes(place.node_id))
    ).fetchone()
    found.is_fenced = own is None
    expected = batch.expected
    entities = [token for token in expected if isinstance(token, str)]
    cells = [token for token in expected if not isinstance(token, str)]
    if entities:
        names = BytesArray([entity.encode() for entity in entities])
        for raw, version in connection.execute(statements.VERSIONS, (names,), binary=True):
            entity = raw.decode()
            if expected[entity] != version:
                found.tokens.append((entity, version))
    if cells:
        rows = connection.execute(statements.CELL_VERSIONS, cell_columns(cells), binary=True)
        for raw, raw_key, version in rows:
            cell = (raw.decode(), raw_key.decode())
            if expected[cell] != version:
                found.tokens.append((cell, version))
    if batch.results:
        keys = result_columns(list(batch.results))
        for row in connection.execute(statements.RESULT_EXPIRIES, keys, binary=True):
            key = ResultKey(row[0].decode(), row[1].decode(), row[2].decode())
            if batch.results[key][2] != row[3]:
                found.results.append(key)
    return found
