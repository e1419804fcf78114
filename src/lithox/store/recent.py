"""What changed lately: which cell at which version, what it was before, and what is not durable.

Theory of operation. Every version modifies cells. Per entity three maps are kept:

    modified  key -> version that modified it last, ordered by that version (re-inserted at change)
    dirty     key -> its newest value while that is not durable (None: deleted)
    undo      key -> [(until, item), ...] ascending: snapshots below `until` see `item`

Validation asks `modified` only. A snapshot reads the newest value of a cell unless `modified` says
it changed after the snapshot; then `undo` holds the older value, because whoever changed the cell
while a snapshot was open that could see the older value put it there.

Invariants: a version above `floor_version` that modified a cell is in `modified`; the dirty cells
of a version are all in `modified`; an `undo` entry lives as long as an open snapshot below it.
When another node changed an entity, which of its keys is not known: then `modified` has the key
`ALL_KEYS`, which stands for every key of the entity, and has no older values: a snapshot below it
cannot read the entity any more.
The history is bounded by `cells_max` and `undo_bytes_max`: beyond them the floor rises, and
snapshots below it can neither read nor commit (`Conflict`), but nothing else suffers.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from lithox.errors import Conflict
from lithox.store.contract import Cell, Item, Range

ALL_KEYS: Final = chr(0xD800)
"""Stands for every key of an entity. A lone surrogate: no key can be equal to it."""
HISTORY_CELLS_MAX: Final = 1_000_000
"""Modified cells remembered at most: about 30 s of 10,000 commits of three cells a second."""
HISTORY_CELLS_KEPT: Final = 65_536
"""Modified cells kept though no open snapshot needs them, for commits of released snapshots."""
UNDO_BYTES_MAX: Final = 256 << 20
"""Bytes of older values kept for open snapshots."""
UNDO_ENTRY_BYTES: Final = 160
"""Size of an entry beside its value (tuple, list slot, log entry); sys.getsizeof on 3.11."""


class EntityChanges:
    """The recent changes of one entity; see the module's header."""

    __slots__ = ("dirty", "is_noted", "last_version", "modified", "undo")

    def __init__(self) -> None:
        self.last_version = 0
        self.is_noted = False
        """Whether a commit of ours has told the filter of absent entities about this one."""
        self.modified: dict[str, int] = {}
        self.dirty: dict[str, Item | None] = {}
        self.undo: dict[str, list[tuple[int, Item | None]]] = {}

    def is_idle(self) -> bool:
        return not self.modified and not self.dirty and not self.undo


class RecentChanges:
    """All recent changes of one store, and the open snapshots that need them."""

    __slots__ = (
        "_cells_count",
        "_cells_max",
        "_history",
        "_open",
        "_undo_bytes",
        "_undo_bytes_max",
        "_undo_log",
        "entities",
        "floor_version",
        "newest_open_version",
    )

    def __init__(
        self,
        *,
        floor_version: int,
        cells_max: int = HISTORY_CELLS_MAX,
        undo_bytes_max: int = UNDO_BYTES_MAX,
    ) -> None:
        self.entities: dict[str, EntityChanges] = {}
        self.floor_version = floor_version
        self.newest_open_version = -1
        self._open: OrderedDict[int, int] = OrderedDict()
        self._history: deque[tuple[int, Collection[Cell]]] = deque()
        self._cells_count = 0
        self._cells_max = cells_max
        self._undo_log: deque[tuple[int, Sequence[Cell], int]] = deque()
        self._undo_bytes = 0
        self._undo_bytes_max = undo_bytes_max

    # Snapshots.

    def open_snapshot(self, version: int) -> None:
        """Counts a snapshot at `version`, which is at least that of every one opened before."""
        self._open[version] = self._open.get(version, 0) + 1
        self.newest_open_version = version

    def release_snapshot(self, version: int) -> None:
        """Uncounts a snapshot and forgets what only it needed."""
        count = self._open[version] - 1
        if count:
            self._open[version] = count
            return
        is_oldest = next(iter(self._open)) == version
        del self._open[version]
        self.newest_open_version = next(reversed(self._open), -1)
        if is_oldest:
            self._forget_undo(next(iter(self._open), None))

    def count_snapshots(self) -> int:
        return sum(self._open.values())

    def statistics(self) -> dict[str, int]:
        return {
            "snapshots_open": self.count_snapshots(),
            "history_cells": self._cells_count,
            "undo_bytes": self._undo_bytes,
        }

    # Changes.

    def changes_of(self, entity: str) -> EntityChanges:
        """Returns the changes of `entity`, an empty new one if there are none yet."""
        found = self.entities.get(entity)
        if found is None:
            found = self.entities[entity] = EntityChanges()
        return found

    def log_undo(self, until_version: int, cells: Sequence[Cell], *, value_bytes: int) -> None:
        """Notes that each of `cells` got an `undo` entry up to `until_version`, the newest."""
        size = value_bytes + UNDO_ENTRY_BYTES * len(cells)
        self._undo_log.append((until_version, cells, size))
        self._undo_bytes += size

    def log_changes(self, version: int, cells: Collection[Cell]) -> None:
        """Notes that `version`, the newest, modified `cells`, as their `modified` says."""
        self._history.append((version, cells))
        self._cells_count += len(cells)

    def mark_entity(self, entity: str, version: int) -> None:
        """Notes that `version`, the newest, is another node's change of any keys of `entity`."""
        self._mark(entity, ALL_KEYS, version)

    def mark_cell(self, entity: str, key: str, version: int) -> None:
        """Notes the same of one key, unless this node is writing it: then its own write counts."""
        changes = self.entities.get(entity)
        if changes is None or key not in changes.dirty:
            self._mark(entity, key, version)

    def _mark(self, entity: str, key: str, version: int) -> None:
        changes = self.changes_of(entity)
        changes.modified.pop(key, None)
        changes.modified[key] = version
        changes.last_version = version
        self.log_changes(version, ((entity, key),))

    def settle(self, version: int, cells: Iterable[Cell]) -> None:
        """Notes that `version` is durable: cells it was the last to modify are dirty no more."""
        for entity, key in cells:
            changes = self.entities[entity]
            if changes.modified[key] == version:
                del changes.dirty[key]

    def prune(self, durable_version: int) -> None:
        """Forgets modifications nobody needs; beyond the bounds also those somebody does."""
        if self._undo_bytes > self._undo_bytes_max:
            self._raise_floor(durable_version, cells_max=self._cells_max, is_undo_over=True)
        if self._cells_count <= HISTORY_CELLS_KEPT and self._cells_count <= self._cells_max:
            return
        needed_from = min(durable_version, next(iter(self._open), durable_version))
        self._raise_floor(needed_from, cells_max=min(HISTORY_CELLS_KEPT, self._cells_max))
        if self._cells_count > self._cells_max:
            self._raise_floor(durable_version, cells_max=self._cells_max)

    # Questions.

    def is_current(
        self, snapshot_version: int, reads: Iterable[Cell], ranges: Iterable[Range]
    ) -> bool:
        """Returns whether none of these was modified after `snapshot_version`.

        Below the floor nothing is known, so anything read there counts as modified.
        """
        if snapshot_version < self.floor_version:
            return not any(True for _ in reads) and not any(True for _ in ranges)
        entities = self.entities
        for entity, key in reads:
            changes = entities.get(entity)
            if (
                changes is not None
                and changes.last_version > snapshot_version
                and (
                    changes.modified.get(key, 0) > snapshot_version
                    or changes.modified.get(ALL_KEYS, 0) > snapshot_version
                )
            ):
                return False
        for area in ranges:  # noqa: SIM110 - a generator costs more than most commits have
            if self._newest_in(area, above_version=snapshot_version) is not None:
                return False
        return True

    def newest_read(
        self, reads: Iterable[Cell], ranges: Iterable[Range], *, above_version: int
    ) -> int:
        """Returns the newest version above `above_version` that modified any, else that one."""
        newest = above_version
        for entity, key in reads:
            changes = self.entities.get(entity)
            if changes is not None and changes.last_version > newest:
                modified = changes.modified
                newest = max(newest, modified.get(key, 0), modified.get(ALL_KEYS, 0))
        for area in ranges:
            found = self._newest_in(area, above_version=newest)
            if found is not None:
                newest = found
        return newest

    def keys_after(self, changes: EntityChanges, version: int) -> list[str]:
        """Returns the keys modified after `version`, newest first."""
        keys: list[str] = []
        for key, modified_version in reversed(changes.modified.items()):
            if modified_version <= version:
                break
            keys.append(key)
        return keys

    def _newest_in(self, area: Range, *, above_version: int) -> int | None:
        entity, start, end = area
        changes = self.entities.get(entity)
        if changes is None or changes.last_version <= above_version:
            return None
        for key, version in reversed(changes.modified.items()):
            if version <= above_version:
                return None
            if (start <= key and (end is None or key < end)) or key == ALL_KEYS:
                return version
        return None

    def is_marked(self, entity: str, version: int) -> bool:
        """Returns whether another node's change of `entity` came after `version`."""
        changes = self.entities.get(entity)
        return changes is not None and changes.modified.get(ALL_KEYS, 0) > version

    def check_readable(self, changes: EntityChanges, version: int) -> None:
        """Raises Conflict if a snapshot at `version` cannot read the entity of `changes`."""
        if changes.modified.get(ALL_KEYS, 0) > version:
            raise Conflict(
                "another node has changed what this run reads; run it again",
                snapshot_version=version,
            )

    # Forgetting.

    def _forget_undo(self, oldest_open: int | None) -> None:
        """Drops the entries no snapshot from `oldest_open` on can see; None: no snapshot."""
        log = self._undo_log
        while log and (oldest_open is None or log[0][0] <= oldest_open):
            _, cells, size = log.popleft()
            self._undo_bytes -= size
            for entity, key in cells:
                changes = self.entities[entity]
                chain = changes.undo[key]
                if len(chain) > 1:
                    del chain[0]
                    continue
                del changes.undo[key]
                if not changes.modified and changes.is_idle():
                    del self.entities[entity]

    def _raise_floor(
        self, up_to_version: int, *, cells_max: int, is_undo_over: bool = False
    ) -> None:
        """Forgets the oldest modifications, none above `up_to_version`, until within bounds."""
        history = self._history
        while history and history[0][0] <= up_to_version:
            if self._cells_count <= cells_max and not (
                is_undo_over and self._undo_bytes > self._undo_bytes_max
            ):
                return
            version, cells = history.popleft()
            self._cells_count -= len(cells)
            self.floor_version = version
            for entity, key in cells:
                changes = self.entities.get(entity)
                if changes is not None and changes.modified.get(key) == version:
                    del changes.modified[key]
                    if changes.is_idle():
                        del self.entities[entity]
            if is_undo_over:
                self._forget_undo(version)
