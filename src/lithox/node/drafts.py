"""One commit in the making: cells of the node's own entities, read and changed in memory.

A draft sees a snapshot with its own changes over it and remembers every cell it read, so the
commit it becomes loses against anybody who changed one of those meanwhile. A draft is for the few
cells of an administrative act; it has no bound of its own, its users have theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lithox.errors import StoreCorrupt
from lithox.store.contract import Cell, Commit, Range, Snapshot

_encoder = msgspec.msgpack.Encoder()
_count_decoder = msgspec.msgpack.Decoder(int)


class Draft:
    """What an act has read and will write, over one snapshot that stays open while it is used."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.reads: set[Cell] = set()
        self.ranges: list[Range] = []
        self.writes: dict[Cell, bytes | None] = {}

    def find(self, entity: str, key: str) -> bytes | None:
        """Returns the value as this draft leaves it, or None."""
        cell = (entity, key)
        if cell in self.writes:
            return self.writes[cell]
        self.reads.add(cell)
        item = self.snapshot.find(entity, key)
        return None if item is None else item.value

    def put(self, entity: str, key: str, value: bytes | None) -> None:
        """Writes `value`, or deletes for None."""
        self.writes[entity, key] = value

    def find_count(self, entity: str, key: str) -> int:
        """Returns the number kept under `key`, 0 if there is none."""
        data = self.find(entity, key)
        return 0 if data is None else read_count(data)

    def put_count(self, entity: str, key: str, count: int) -> None:
        """Keeps a number under `key`; 0 deletes it."""
        self.put(entity, key, _encoder.encode(count) if count else None)

    def scan(self, area: Range, limit: int) -> Iterable[tuple[str, bytes]]:
        """Returns the first items of `area` by key, as the snapshot has them; a read of it all."""
        self.ranges.append(area)
        return [(key, item.value) for key, item in self.snapshot.scan(area, limit).items]

    def to_commit(self) -> Commit:
        """Returns the commit of all this; it loses when anything that was read has changed."""
        return Commit(self.snapshot.version, self.reads, self.ranges, self.writes)


def read_count(data: bytes) -> int:
    """Returns the number that `put_count` stored; raises StoreCorrupt for anything else."""
    try:
        return _count_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored count cannot be read ({error}); restore the data from a backup"
        ) from None
