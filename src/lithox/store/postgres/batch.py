"""What one transaction makes durable: the parts of a batch, joined, and what they all rest on.

The joined batch rests on what its first part to touch an entity rested on; a later part that
touches it must rest on what the parts before it leave there. A part that does not, because this
node has learned something between the two, begins the next batch.
"""

from __future__ import annotations

from typing import Final

from lithox.store.beliefs import Token
from lithox.store.contract import AuditRecord, Cell, ResultRecord
from lithox.store.engine import AuditPart, Part, ResultKey, key_of_result
from lithox.store.postgres import statements
from lithox.store.postgres.arrays import Bytes, BytesArray, Int, IntArray, Packed
from lithox.store.shared_engine import SharedPart

BATCH_PARTS_MAX: Final = 4_096
BATCH_BYTES_MAX: Final = 16 << 20
"""A batch that has reached either is written before more is taken, which bounds its time."""

Statement = tuple[str, tuple[Packed, ...]]


class Batch:
    """Parts in the order of their versions.

    Attributes:
        expected: token -> version it must have before the batch.
        current: token -> version it has after the parts added so far.
        written: entity -> version of the last part that wrote it.
    """

    __slots__ = (
        "_expired_ns", "audit", "audit_sequence", "cells", "current", "dropped", "expected",
        "parts", "parts_count", "results", "value_bytes", "version", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cells: dict[Cell, tuple[bytes | None, int]] = {}
        self.results: dict[ResultKey, tuple[ResultRecord, int, int]] = {}
        self.dropped: dict[ResultKey, None] = {}
        self.expected: dict[Token, int] = {}
        self.current: dict[Token, int] = {}
        self.written: dict[str, int] = {}
        self.audit: list[tuple[int, AuditRecord]] = []
        self.parts: list[SharedPart] = []
        self.version = 0
        self.audit_sequence = 0
        self.parts_count = 0
        self.value_bytes = 0
        self._expired_ns = 0

    def may_add(self, part: Part | AuditPart) -> bool:
        """Returns whether `part` rests on what the parts before it leave."""
        if not isinstance(part, SharedPart):
            return True
        current = self.current
        if part.dropped_results and (self.dropped or self.results):
            return False
        if part.result is not None and self.dropped:
            return False
        return all(current.get(token, seen) == seen for token, seen in part.checks.items())

    def add(self, part: Part | AuditPart) -> None:
        """Joins `part`, which follows all that were added before and which may be added."""
        self.parts_count += 1
        if isinstance(part, AuditPart):
            self.audit.append(part)
            self.audit_sequence = part.sequence
            return
        assert isinstance(part, SharedPart), "the core of this engine makes no other"
        self.parts.append(part)
        version = self.version = part.version
        expected, current, written = self.expected, self.current, self.written
        for token, seen in part.checks.items():
            if token not in current:
                expected[token] = current[token] = seen
        cells, checks = self.cells, part.checks
        for cell, value in part.writes.items():
            cells[cell] = (value, version)
            entity = cell[0]
            if entity in checks:
                written[entity] = current[entity] = version
            else:
                current[cell] = 0 if value is None else version
            if value is not None:
                self.value_bytes += len(value)
        if part.result is not None:
            self._add_result(part, part.result)
        for key in part.dropped_results:
            self.dropped[key] = None
            self._expired_ns = part.expired_ns

    def _add_result(self, part: SharedPart, record: ResultRecord) -> None:
        key = key_of_result(record)
        earlier = self.results.get(key)
        replaced = part.replaced
        replaced_ns = 0 if replaced is None else replaced.expires_ns
        if earlier is not None:
            replaced_ns = earlier[2]
        self.results[key] = (record, part.version, replaced_ns)
        self.value_bytes += len(record.answer)

    def is_full(self) -> bool:
        return self.parts_count >= BATCH_PARTS_MAX or self.value_bytes >= BATCH_BYTES_MAX

    def has_commits(self) -> bool:
        return self.version > 0

    def has_rows(self) -> bool:
        """Returns whether there is anything to write; a marker alone writes nothing."""
        return bool(self.cells or self.results or self.dropped or self.audit or self.expected)

    def count_rows(self) -> int:
        return len(self.cells) + len(self.results) + len(self.dropped) + len(self.audit)

    def to_statements(self, node_id: bytes) -> list[Statement]:
        """Returns every statement between the fence and COMMIT, in order."""
        chunks = self._guards()
        puts = [(cell, value, version) for cell, (value, version) in self.cells.items()
                if value is not None]  # fmt: skip
        if puts:
            chunks.append((
                statements.PUT,
                (
                    BytesArray([cell[0].encode() for cell, _, _ in puts]),
                    BytesArray([cell[1].encode() for cell, _, _ in puts]),
                    BytesArray([value for _, value, _ in puts]),
                    IntArray([version for _, _, version in puts]),
                ),
            ))  # fmt: skip
        gone = [cell for cell, (value, _) in self.cells.items() if value is None]
        if gone:
            chunks.append((statements.DELETE, cell_columns(gone)))
        if self.dropped:
            columns = result_columns(list(self.dropped))
            chunks.append((statements.DROP_RESULTS, (*columns, Int(self._expired_ns))))
        if self.audit:
            chunks.append((statements.AUDIT, self._audit_columns(node_id)))
        return chunks

    def _guards(self) -> list[Statement]:
        """Returns what takes the locks and fails unless all is as expected."""
        chunks: list[Statement] = []
        locked: list[tuple[bytes, int, int]] = []
        held: list[tuple[bytes, int]] = []
        cells: list[tuple[Cell, int]] = []
        written = self.written
        for token, seen in self.expected.items():
            if not isinstance(token, str):
                cells.append((token, seen))
            elif token in written or seen == 0:
                locked.append((token.encode(), written.get(token, 0), seen))
            else:
                held.append((token.encode(), seen))
        if locked:
            chunks.append((
                statements.ENTITIES,
                (
                    BytesArray([row[0] for row in locked]),
                    IntArray([row[1] for row in locked]),
                    IntArray([row[2] for row in locked]),
                    Int(len(locked)),
                ),
            ))  # fmt: skip
        if cells:
            columns = cell_columns([cell for cell, _ in cells])
            versions = IntArray([seen for _, seen in cells])
            chunks.append((statements.CELLS, (Int(len(cells)), *columns, versions)))
        if self.results:
            chunks.append((statements.RESULTS, self._result_columns()))
        if held:
            names, versions = BytesArray([row[0] for row in held]), IntArray([r[1] for r in held])
            chunks.append((statements.HELD, (Int(len(held)), names, versions)))
        return chunks

    def _result_columns(self) -> tuple[Packed, ...]:
        rows = list(self.results.values())
        records = [row[0] for row in rows]
        return (
            *result_columns(list(self.results)),
            BytesArray([record.account.encode() for record in records]),
            BytesArray([record.asked_digest for record in records]),
            BytesArray([record.answer for record in records]),
            IntArray([record.expires_ns for record in records]),
            IntArray([row[1] for row in rows]),
            IntArray([row[2] for row in rows]),
            Int(len(rows)),
        )

    def _audit_columns(self, node_id: bytes) -> tuple[Packed, ...]:
        records = [record for _, record in self.audit]
        return (
            Bytes(node_id),
            IntArray([sequence for sequence, _ in self.audit]),
            IntArray([record.at_ns for record in records]),
            BytesArray([record.identity.encode() for record in records]),
            BytesArray([record.act.encode() for record in records]),
            BytesArray([record.entity.encode() for record in records]),
            BytesArray([record.outcome.encode() for record in records]),
            BytesArray([record.detail.encode() for record in records]),
        )


def cell_columns(cells: list[Cell]) -> tuple[Packed, Packed]:
    """Returns entities and keys as two columns."""
    return (
        BytesArray([entity.encode() for entity, _ in cells]),
        BytesArray([key.encode() for _, key in cells]),
    )


def result_columns(keys: list[ResultKey]) -> tuple[Packed, Packed, Packed]:
    """Returns identities, entities and request ids as three columns."""
    return (
        BytesArray([key.identity.encode() for key in keys]),
        BytesArray([key.entity.encode() for key in keys]),
        BytesArray([key.request_id.encode() for key in keys]),
    )
