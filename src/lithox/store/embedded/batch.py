"""What one sync makes durable: the parts of a batch, joined, last write per cell winning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lithox.store.contract import AuditRecord, Cell, ResultRecord
from lithox.store.embedded import statements
from lithox.store.engine import AuditPart, Part, ResultKey, key_of_result

BATCH_PARTS_MAX: Final = 4_096
BATCH_BYTES_MAX: Final = 16 << 20
"""A batch that has reached either is written before more is taken, which bounds its time."""


class Batch:
    """Parts in the order of their versions; counts what it holds."""

    __slots__ = (
        "audit", "audit_sequence", "cells", "parts_count", "results", "value_bytes", "version"
    )  # fmt: skip

    def __init__(self) -> None:
        self.cells: dict[Cell, tuple[bytes | None, int]] = {}
        self.results: dict[ResultKey, tuple[ResultRecord | None, int]] = {}
        self.audit: list[tuple[int, AuditRecord]] = []
        self.version = 0
        self.audit_sequence = 0
        self.parts_count = 0
        self.value_bytes = 0

    def add(self, part: Part | AuditPart) -> None:
        """Joins `part`, which follows all that were added before."""
        self.parts_count += 1
        if isinstance(part, AuditPart):
            self.audit.append(part)
            self.audit_sequence = part.sequence
            return
        version = self.version = part.version
        cells = self.cells
        for cell, value in part.writes.items():
            cells[cell] = (value, version)
            if value is not None:
                self.value_bytes += len(value)
        if part.result is not None:
            self.results[key_of_result(part.result)] = (part.result, version)
            self.value_bytes += len(part.result.answer)
        for key in part.dropped_results:
            self.results[key] = (None, version)

    def is_full(self) -> bool:
        return self.parts_count >= BATCH_PARTS_MAX or self.value_bytes >= BATCH_BYTES_MAX

    def has_commits(self) -> bool:
        return self.version > 0

    def count_rows(self) -> int:
        return len(self.cells) + 4 * len(self.results) + len(self.audit)

    def to_statements(self) -> list[tuple[str, Sequence[Any]]]:
        """Returns (text, bindings) of every statement the batch needs, in order."""
        chunks: list[tuple[str, Sequence[Any]]] = []
        puts: list[Any] = []
        deletes: list[Any] = []
        for (entity, key), (value, version) in self.cells.items():
            if value is None:
                deletes += (entity, key)
            else:
                puts += (entity, key, value, version)
        if puts:
            chunks += statements.PUT_STATE.chunk(puts)
        if deletes:
            chunks += statements.DELETE_STATE.chunk(deletes)
        if self.results:
            chunks += self._result_statements()
        if self.audit:
            rows: list[Any] = []
            for sequence, record in self.audit:
                rows += (sequence, record.at_ns, record.identity, record.act, record.entity)
                rows += (record.outcome, record.detail)
            chunks += statements.PUT_AUDIT.chunk(rows)
        return chunks

    def _result_statements(self) -> list[tuple[str, Sequence[Any]]]:
        puts: list[Any] = []
        deletes: list[Any] = []
        for key, (record, version) in self.results.items():
            if record is None:
                deletes += key
            else:
                puts += (*key, record.account, record.asked_digest, record.answer)
                puts += (record.expires_ns, version)
        chunks: list[tuple[str, Sequence[Any]]] = []
        if puts:
            chunks += statements.PUT_RESULTS.chunk(puts)
        if deletes:
            chunks += statements.DELETE_RESULTS.chunk(deletes)
        return chunks
