"""What leaves a store when all of it is copied, in which order, and how it comes in again.

A dump is one consistent snapshot of what is durable, read in another thread over a connection of
its own, so the node goes on: cells by (entity, key), then results by (identity, entity, request
id), then audit records, the oldest first. Text is ordered by code point. Equal content gives equal
rows, whatever engine it lies in: versions are left out, but for the outbox, where they are the
order in which messages leave.

A load puts such rows into an empty store, all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from lithox.model.archive import refusal
from lithox.store.contract import AuditRecord, Item, ResultRecord

ORDERED_ENTITIES: Final = frozenset({"~lithox/q/outbox"})
"""Entities whose cells' versions mean something: they travel with them."""
LOADED_VERSION: Final = 1
"""The version of a loaded cell whose own did not travel."""


class CellRow(NamedTuple):
    """One cell; `version` 0: it means nothing."""

    entity: str
    key: str
    value: bytes
    version: int = 0


DumpRow = CellRow | ResultRecord | AuditRecord


class DumpSource(Protocol):
    """One snapshot of a store. Made on the node's thread, used by one other: the one that enters.

    Everything read between `__enter__` and `__exit__` was durable at one moment, not before the
    call that made it. Raises StoreUnavailable and StoreCorrupt throughout. Blocks for the disk.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def store_id(self) -> str:
        """Which store it is; "" where a store has no name."""
        ...

    def cells(self, start: str = "", end: str | None = None) -> Iterator[CellRow]:
        """Gives the cells of entities with start <= entity < end; None: to the last."""
        ...

    def results(self) -> Iterator[ResultRecord]:
        """Gives every recorded answer."""
        ...

    def audit(self) -> Iterator[AuditRecord]:
        """Gives every audit record."""
        ...


def dump_rows(source: DumpSource) -> Iterator[DumpRow]:
    """Gives everything of an entered source, in the order of a dump."""
    yield from source.cells()
    yield from source.results()
    yield from source.audit()


def cell_row(entity: str, key: str, item: Item) -> CellRow:
    """Returns a cell as it travels."""
    return CellRow(entity, key, item.value, item.version if entity in ORDERED_ENTITIES else 0)


def check_order(rows: Iterable[DumpRow]) -> Iterator[DumpRow]:
    """Gives `rows` on; raises BadArguments at one that is out of order or there twice."""
    stage = 0
    last: tuple[str, ...] = ()
    for row in rows:
        if isinstance(row, CellRow):
            found, name = 0, (row.entity, row.key)
        elif isinstance(row, ResultRecord):
            found, name = 1, (row.identity, row.entity, row.request_id)
        else:
            found, name = 2, ()
        if found < stage or (found == stage and found < 2 and name <= last):
            raise refusal(f"its rows are out of order at {'/'.join(name)[:80]!r}")
        stage, last = found, name
        yield row


class LoadedVersions:
    """The versions that loaded cells get, and the highest of them."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest = LOADED_VERSION

    def of(self, row: CellRow) -> int:
        """Returns the version of one cell in its new store."""
        if not row.version:
            return LOADED_VERSION
        self.newest = max(self.newest, row.version)
        return row.version
