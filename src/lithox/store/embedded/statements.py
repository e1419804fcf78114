"""The SQL of the writer: whole batches as single statements.

Every `sqlite3_step` gives the interpreter lock away and must win it back, which beside a busy
Python thread costs up to `sys.getswitchinterval()`. So rows go into few statements with many
VALUES. Statements are prepared for a fixed list of row counts and a batch is padded to the next
one by repeating its last row: writing a row twice in one statement changes nothing.
Measured in docs/decisions/0003-store-writer.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

ROWS_PER_STATEMENT_MAX: Final = 2048
"""4 parameters each; SQLite takes 32,766 in a statement."""


def _row_counts() -> tuple[int, ...]:
    """Returns 1..16, then steps of at most an eighth, up to ROWS_PER_STATEMENT_MAX."""
    counts = list(range(1, 17))
    while counts[-1] < ROWS_PER_STATEMENT_MAX:
        counts.append(min(counts[-1] + counts[-1] // 8, ROWS_PER_STATEMENT_MAX))
    return tuple(counts)


ROW_COUNTS: Final = _row_counts()
"""About 60 sizes; padding costs 6 % on average."""
STATEMENTS_CACHED_MAX: Final = 512
"""Prepared statements apsw keeps for a connection; more than there are texts here."""

SELECT_LIMIT: Final = "SELECT value FROM meta WHERE name = 'version_limit'"
UPDATE_LIMIT: Final = "UPDATE meta SET value = ? WHERE name = 'version_limit'"
TRIM_AUDIT: Final = "DELETE FROM audit WHERE sequence <= ?"


class RowStatement:
    """`head` + n times `row` for every n of ROW_COUNTS."""

    __slots__ = ("_head", "_row", "_texts", "width")

    def __init__(self, head: str, *, width: int) -> None:
        self._head = head
        self._row = "(" + ",".join("?" * width) + ")"
        self._texts: dict[int, str] = {}
        self.width = width

    def chunk(self, bindings: list[Any]) -> list[tuple[str, Sequence[Any]]]:
        """Returns (statement, bindings) for all rows, `width` values each, at least one row."""
        width = self.width
        per_statement = ROWS_PER_STATEMENT_MAX * width
        chunks: list[tuple[str, Sequence[Any]]] = []
        for begin in range(0, len(bindings), per_statement):
            part = (
                bindings[begin : begin + per_statement]
                if begin or (len(bindings) > per_statement)
                else bindings
            )
            rows = len(part) // width
            count = ROW_COUNTS[bisect_left(ROW_COUNTS, rows)]
            if count > rows:
                part = part + part[-width:] * (count - rows)
            text = self._texts.get(count)
            if text is None:
                text = self._texts[count] = self._head + ",".join([self._row] * count)
            chunks.append((text, part))
        return chunks


class DeleteStatement(RowStatement):
    """Deletes the rows whose key columns equal any of the bound rows."""

    __slots__ = ()

    def __init__(self, table: str, columns: str, *, width: int) -> None:
        # Table and columns are constants of this module, never input.
        super().__init__(f"DELETE FROM {table} WHERE ({columns}) IN (VALUES ", width=width)  # noqa: S608

    def chunk(self, bindings: list[Any]) -> list[tuple[str, Sequence[Any]]]:
        return [(text + ")", part) for text, part in super().chunk(bindings)]


PUT_STATE: Final = RowStatement(
    "INSERT OR REPLACE INTO state (entity, key, value, version) VALUES ", width=4
)
DELETE_STATE: Final = DeleteStatement("state", "entity, key", width=2)
PUT_RESULTS: Final = RowStatement(
    "INSERT OR REPLACE INTO results (identity, entity, request_id, account, asked_digest, "
    "answer, expires_ns, version) VALUES ",
    width=8,
)
DELETE_RESULTS: Final = DeleteStatement("results", "identity, entity, request_id", width=3)
PUT_AUDIT: Final = RowStatement(
    "INSERT OR REPLACE INTO audit (sequence, at_ns, identity, act, entity, outcome, detail) "
    "VALUES ",
    width=7,
)
