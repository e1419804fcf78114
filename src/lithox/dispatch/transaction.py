"""Everything one run reads and writes: a snapshot, a read set, a write set, savepoints.

Invariants: all reads come from one snapshot, under the run's own writes; nothing reaches the
store before `Store.submit`; `roll_back_to` restores the write set exactly, while reads stay in the
read set (what a failed callee saw may have decided what its caller did next).
"""

from __future__ import annotations

from typing import Final

from lithox.dispatch.records import USER_KEYS_START
from lithox.model.ids import EntityPath
from lithox.store.contract import Cell, Commit, Item, Range, ResultRecord, Snapshot

_MISSING: Final = object()


def range_of_prefix(entity: str, prefix: str) -> Range:
    """Returns the range of an entity's user keys that begin with `prefix`."""
    if not prefix:
        return Range(entity, USER_KEYS_START, None)
    last = ord(prefix[-1])
    # Keys are ordered by code point; U+10FFFF has no successor, so the range is left open there.
    end = prefix[:-1] + chr(_next_code_point(last)) if last < 0x10FFFF else None
    return Range(entity, prefix, end)


def _next_code_point(code: int) -> int:
    return 0xE000 if code + 1 == 0xD800 else code + 1


class Transaction:
    """One attempt at one request. Not shared between threads."""

    __slots__ = ("_undo", "participants", "ranges", "reads", "snapshot", "writes", "writes_bytes")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.reads: set[Cell] = set()
        self.ranges: list[Range] = []
        self.writes: dict[Cell, bytes | None] = {}
        self.participants: set[str] = set()
        self.writes_bytes = 0
        self._undo: list[tuple[Cell, bytes | object | None]] = []

    def find(self, entity: EntityPath, key: str) -> bytes | None:
        """Returns the value the run sees under `key`, and puts the cell into the read set."""
        cell = (entity, key)
        if cell in self.writes:
            return self.writes[cell]
        self.reads.add(cell)
        item = self.snapshot.find(entity, key)
        return None if item is None else item.value

    def put(self, entity: EntityPath, key: str, value: bytes | None) -> None:
        """Writes `value` (None deletes) in the run's own view."""
        cell = (entity, key)
        before = self.writes.get(cell, _MISSING)
        self._undo.append((cell, before))
        if isinstance(before, bytes):
            self.writes_bytes -= len(before) + len(key)
        if value is not None:
            self.writes_bytes += len(value) + len(key)
        self.writes[cell] = value

    def savepoint(self) -> int:
        """Returns a mark to which the write set can be rolled back."""
        return len(self._undo)

    def roll_back_to(self, savepoint: int) -> None:
        """Takes back every write since `savepoint`."""
        while len(self._undo) > savepoint:
            cell, before = self._undo.pop()
            now = self.writes[cell]
            if now is not None:
                self.writes_bytes -= len(now) + len(cell[1])
            if isinstance(before, bytes):
                self.writes_bytes += len(before) + len(cell[1])
            if before is _MISSING:
                del self.writes[cell]
            else:
                self.writes[cell] = before  # type: ignore[assignment]

    def has_written(self, entity: EntityPath, since: int = 0) -> bool:
        """Returns whether a write to `entity` was made after savepoint `since`."""
        return any(cell[0] == entity for cell, _ in self._undo[since:])

    def writes_of(self, entity: EntityPath) -> dict[str, bytes | None]:
        """Returns the run's own writes to `entity`, by key."""
        return {cell[1]: value for cell, value in self.writes.items() if cell[0] == entity}

    def scan(
        self, entity: EntityPath, area: Range, limit: int
    ) -> tuple[list[tuple[str, bytes]], bool]:
        """Returns up to `limit` (key, value) pairs in key order as the run sees them, and whether
        there are more. What was scanned goes into the read set.
        """
        own = {
            key: value
            for key, value in self.writes_of(entity).items()
            if key >= area.start and (area.end is None or key < area.end)
        }
        # Deleted keys hide stored ones, so up to that many more stored items may be needed.
        page = self.snapshot.scan(area, limit + len(own))
        merged: dict[str, bytes | None] = {key: item.value for key, item in page.items}
        if page.more and page.items:
            last = page.items[-1][0]
            own = {key: value for key, value in own.items() if key <= last}
        merged.update(own)
        found = sorted((key, value) for key, value in merged.items() if value is not None)
        more = page.more or len(found) > limit
        found = found[:limit]
        if more and found:
            self.ranges.append(Range(entity, area.start, found[-1][0] + "\x00"))
        else:
            self.ranges.append(area)
        return found, more

    def to_commit(self, result: ResultRecord | None) -> Commit:
        """Returns what the store is given."""
        return Commit(self.snapshot.version, self.reads, self.ranges, self.writes, result)

    def newest_item(self, entity: EntityPath, key: str) -> Item | None:
        """Returns the stored item, unseen by the read set and the run's own writes."""
        return self.snapshot.find(entity, key)

    def release(self) -> None:
        """Gives the snapshot back. Idempotent."""
        self.snapshot.release()
