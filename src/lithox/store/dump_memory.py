"""The snapshot of a store in memory: what was durable when it was made, shared with nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from lithox.store.contract import AuditRecord, Item, ResultRecord
from lithox.store.dump import CellRow, cell_row


class MemoryDump:
    """See DumpSource."""

    __slots__ = ("_audit", "_entities", "_results", "store_id")

    def __init__(
        self,
        entities: Mapping[str, Mapping[str, Item]],
        results: Sequence[ResultRecord],
        audit: Sequence[AuditRecord],
    ) -> None:
        """Takes over copies: entities by name, ascending; results by key; audit by age."""
        self._entities = entities
        self._results = results
        self._audit = audit
        self.store_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace

    def cells(self, start: str = "", end: str | None = None) -> Iterator[CellRow]:
        for entity, items in self._entities.items():
            if start <= entity and (end is None or entity < end):
                for key in sorted(items):
                    yield cell_row(entity, key, items[key])

    def results(self) -> Iterator[ResultRecord]:
        yield from self._results

    def audit(self) -> Iterator[AuditRecord]:
        yield from self._audit
