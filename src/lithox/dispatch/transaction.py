"""Everything one run reads and writes: a snapshot, a read set, a write set, savepoints.

Invariants: all reads come from one snapshot, under the run's own writes; nothing reaches the
store before `Store.submit`; `roll_back_to` restores the write set exactly, while reads stay in the
read set (what a failed callee saw may have decided what its caller did next).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from lithox.dispatch.big_values import BIG_ENTITY_PREFIX, BigWork
from lithox.dispatch.records import USER_KEYS_START
from lithox.dispatch.tally import Tally
from lithox.model.ids import SYSTEM_KEY_PREFIX, EntityPath
from lithox.store.contract import Cell, Commit, Range, ResultRecord, Snapshot

_MISSING: Final = object()


RANGES_MAX: Final = 256
"""Ranges a read set names one by one; beyond them it counts the whole entities as read, so that a
run that scans for ever cannot make its own validation dear."""
_LAST: Final = "\U0010ffff"


def range_of_prefix(entity: str, prefix: str) -> Range:
    """Returns the range of an entity's user keys that begin with `prefix`.

    Keys of the system begin with NUL and are in no such range, whatever the prefix.
    """
    start = max(prefix, USER_KEYS_START)
    if prefix.startswith(SYSTEM_KEY_PREFIX):
        return Range(entity, start, start)
    # Keys are ordered by code point; the last one has no successor, so the next one before counts.
    stem = prefix.rstrip(_LAST)
    if not stem:
        return Range(entity, start, None)
    return Range(entity, start, stem[:-1] + chr(_next_code_point(ord(stem[-1]))))


def range_between(entity: str, start: str, end: str | None) -> Range:
    """Returns the range of an entity's user keys with start <= key < end (None: to the last)."""
    start = max(start, USER_KEYS_START)
    return Range(entity, start, end if end is None else max(start, end))


def range_behind(area: Range, after: str) -> Range:
    """Returns the part of `area` behind the key `after`; behind its end is nothing."""
    start = max(area.start, after + "\x00")
    return Range(area.entity, start if area.end is None else min(start, area.end), area.end)


def _next_code_point(code: int) -> int:
    return 0xE000 if code + 1 == 0xD800 else code + 1


def _count_within(found: list[tuple[str, bytes]], limit: int, bytes_max: int | None) -> int:
    """Returns how many of `found` fit into a page; at least one if there is one."""
    if bytes_max is None:
        return min(limit, len(found))
    size = 0
    for count, (_, value) in enumerate(found[:limit]):
        size += len(value)
        if size > bytes_max and count:
            return count
    return min(limit, len(found))


class Transaction:
    """One attempt at one request. Not shared between threads."""

    __slots__ = (
        "_big_work",
        "_newest_range",
        "_newest_savepoint",
        "_undo",
        "_undo_index",
        "handler_from",
        "has_big",
        "participants",
        "ranges",
        "reads",
        "sent",
        "snapshot",
        "tally",
        "writes",
        "writes_bytes",
    )

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.reads: set[Cell] = set()
        self.ranges: dict[Range, None] = {}
        self.writes: dict[Cell, bytes | None] = {}
        self.participants: set[str] = set()
        self.writes_bytes = 0
        """Keys and values in `writes`, but for chunks of big values, which have their own limit."""
        self.has_big = False
        """Whether a big value was written, even if that has been rolled back since."""
        self._big_work: BigWork | None = None
        self._newest_range: Range | None = None
        self.sent: list[Cell] = []
        """Rows of the outbox it has written; those rolled back are no longer in `writes`."""
        self.tally = Tally()
        """Counts of what it has written, for bounds; rolled back with the writes."""
        self._undo: list[tuple[Cell, bytes | object | None]] = []
        self._undo_index: dict[Cell, int] = {}
        self._newest_savepoint = 0
        self.handler_from = 0
        """The savepoint at which the handler began: what is written before is its origin's."""

    def find(self, entity: EntityPath, key: str) -> bytes | None:
        """Returns the value the run sees under `key`, and puts the cell into the read set."""
        cell = (entity, key)
        if cell in self.writes:
            return self.writes[cell]
        self.reads.add(cell)
        item = self.snapshot.find(entity, key)
        return None if item is None else item.value

    def find_version(self, entity: EntityPath, key: str) -> int | None:
        """Returns the version of what the snapshot has under `key`, None for nothing.

        The cell goes into the read set. For cells the run has not written yet.
        """
        cell = (entity, key)
        assert cell not in self.writes, "what a run writes has no version yet"
        self.reads.add(cell)
        item = self.snapshot.find(entity, key)
        return None if item is None else item.version

    def peek(self, entity: str, key: str) -> bytes | None:
        """Returns the value the run sees, without a trace in the read set.

        For cells that change only together with another one that is in it.
        """
        cell = (entity, key)
        if cell in self.writes:
            return self.writes[cell]
        item = self.snapshot.find(entity, key)
        return None if item is None else item.value

    @property
    def big_work(self) -> BigWork:
        """What the attempt does with big values."""
        work = self._big_work
        if work is None:
            work = self._big_work = BigWork()
        return work

    def put(self, entity: EntityPath, key: str, value: bytes | None) -> None:
        """Writes `value` (None deletes) in the run's own view.

        What a savepoint may need is kept once for each cell, however often it is written.
        """
        cell = (entity, key)
        before = self.writes.get(cell, _MISSING)
        if before is not _MISSING and before == value:
            return
        if self._undo_index.get(cell, -1) < self._newest_savepoint:
            self._undo_index[cell] = len(self._undo)
            self._undo.append((cell, before))
        self.writes[cell] = value
        if entity.startswith(BIG_ENTITY_PREFIX):
            return
        if isinstance(before, bytes):
            self.writes_bytes -= len(before) + len(key)
        if value is not None:
            self.writes_bytes += len(value) + len(key)

    def count(self, name: Hashable, change: int) -> None:
        """Counts what the newest `put` has done; taken back together with that."""
        self.tally.change(name, change, mark=len(self._undo))

    def add_range(self, area: Range) -> None:
        """Puts a range into the read set; beyond the bound, the whole entities instead.

        One that goes on where the newest one ended makes that longer, so that a walk page by page
        is one range however many pages it has.
        """
        newest = self._newest_range
        if (
            newest is not None
            and newest.end is not None
            and newest.entity == area.entity
            and newest.start <= area.start <= newest.end
        ):
            self.ranges.pop(newest, None)
            end = None if area.end is None else max(area.end, newest.end)
            area = Range(area.entity, newest.start, end)
        self._newest_range = area
        self.ranges[area] = None
        if len(self.ranges) > RANGES_MAX:
            entities = {one.entity for one in self.ranges}
            self.ranges = {Range(entity, USER_KEYS_START, None): None for entity in entities}

    def savepoint(self) -> int:
        """Returns a mark to which the write set can be rolled back."""
        self._newest_savepoint = len(self._undo)
        return self._newest_savepoint

    def roll_back_to(self, savepoint: int) -> None:
        """Takes back every write since `savepoint`."""
        while len(self._undo) > savepoint:
            cell, before = self._undo.pop()
            self._undo_index.pop(cell, None)
            now = self.writes[cell]
            if not cell[0].startswith(BIG_ENTITY_PREFIX):
                if now is not None:
                    self.writes_bytes -= len(now) + len(cell[1])
                if isinstance(before, bytes):
                    self.writes_bytes += len(before) + len(cell[1])
            if before is _MISSING:
                del self.writes[cell]
            else:
                self.writes[cell] = before  # type: ignore[assignment]
        self.tally.roll_back_to(savepoint)
        self._newest_savepoint = min(self._newest_savepoint, savepoint)

    @property
    def is_writer(self) -> bool:
        """Whether the handler itself has written anything."""
        return len(self._undo) > self.handler_from

    def has_written(self, entity: EntityPath, since: int = 0) -> bool:
        """Returns whether a write to `entity` was made after savepoint `since`."""
        return any(cell[0] == entity for cell, _ in self._undo[since:])

    def writes_of(self, entity: EntityPath) -> dict[str, bytes | None]:
        """Returns the run's own writes to `entity`, by key."""
        return {cell[1]: value for cell, value in self.writes.items() if cell[0] == entity}

    def scan(
        self, entity: EntityPath, area: Range, limit: int, *, bytes_max: int | None = None
    ) -> tuple[list[tuple[str, bytes]], bool]:
        """Returns a page of (key, value) pairs in key order as the run sees them.

        Args:
            limit: pairs at most.
            bytes_max: bytes of values at most, but always one pair.

        Returns:
            (pairs, whether there are more). What was shown goes into the read set.
        """
        own = {
            key: value
            for key, value in self.writes_of(entity).items()
            if key >= area.start and (area.end is None or key < area.end)
        }
        # Deleted keys hide stored ones, so up to that many more stored items may be needed.
        hidden = sum(value is None for value in own.values())
        page = self.snapshot.scan(area, limit + hidden, bytes_max)
        merged: dict[str, bytes | None] = {key: item.value for key, item in page.items}
        if page.more and page.items:
            last = page.items[-1][0]
            own = {key: value for key, value in own.items() if key <= last}
        merged.update(own)
        found = sorted((key, value) for key, value in merged.items() if value is not None)
        count = _count_within(found, limit, bytes_max)
        more = page.more or len(found) > count
        if more and found:
            found = found[:count]
            self.add_range(Range(entity, area.start, found[-1][0] + "\x00"))
        else:
            self.add_range(area)
        return found, more

    def to_commit(self, result: ResultRecord | None, now_ns: int) -> Commit:
        """Returns what the store is given; see `Commit` for `now_ns`."""
        return Commit(self.snapshot.version, self.reads, self.ranges, self.writes, result, now_ns)

    def release(self) -> None:
        """Gives the snapshot back. Idempotent."""
        self.snapshot.release()
