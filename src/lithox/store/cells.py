"""What every cell holds, at the newest version and at older ones: cache, recent changes, engine.

Order of look-up for the newest value: the entity's view; else the cell's dirty value; else the
engine. It is exact because every commit updates all three in one step on the node's thread, and a
cell that is not dirty is durable, so the engine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

from lithox.errors import BadArguments, Conflict, InternalError
from lithox.store.absence import AbsenceFilter
from lithox.store.contract import Cell, Item, Range
from lithox.store.engine import Engine, check_text, take_page, text_bytes
from lithox.store.recent import RecentChanges
from lithox.store.snapshot import UNBOUNDED, merge_items
from lithox.store.views import EntityViews, View

_make_item: Final = cast("Callable[[type[Item], tuple[bytes, int]], Item]", tuple.__new__)

MEASURE_BYTES: Final = 4 << 20
"""Bytes of one page while a large entity is measured."""
FILL_PAGE_MAX: Final = 32
"""Entities taken over by one question while the filter fills: about 0.1 ms."""
QUEUE_PREFIX: Final = "~lithox/q/"
"""Entities that many nodes write without reading: cells of theirs are checked one by one."""
USER_KEYS_START: Final = "\x01"
"""The first text a user's key can be: keys of the system begin with NUL."""


class VisibleCells:
    """Every cell's visible value: see the module's header."""

    __slots__ = ("_engine", "_is_shared", "absent", "hits", "misses", "recent", "views")

    def __init__(
        self,
        engine: Engine,
        recent: RecentChanges,
        views: EntityViews,
        *,
        is_shared: bool = False,
    ) -> None:
        """Makes the cells over `engine`; `is_shared`: other nodes may change what it holds."""
        self._engine = engine
        self._is_shared = is_shared
        self.absent: AbsenceFilter[str] = AbsenceFilter(
            partial(engine.list_entities, ""),
            first="",
            page_max=FILL_PAGE_MAX,
            is_exact=not is_shared,
        )
        self.recent = recent
        self.views = views
        self.hits = 0
        self.misses = 0

    # Reads.

    def find_newest(self, entity: str, key: str) -> Item | None:
        """Returns the newest visible item. Blocks on a cell that is not cached."""
        view = self.views.views.get(entity)
        if view is not None and (view.is_complete or key in view.items):
            self.hits += 1
            return view.items.get(key)
        changes = self.recent.entities.get(entity)
        if changes is not None and key in changes.dirty:
            return changes.dirty[key]
        if self.absent.is_absent(entity):
            return None
        self.misses += 1
        item = self._engine.find_item(entity, key)
        self.views.learn(entity, key, item)
        return item

    def find_at(self, version: int, entity: str, key: str) -> Item | None:
        """Returns the item that an open snapshot at `version` sees."""
        changes = self.recent.entities.get(entity)
        if (
            changes is None
            or changes.last_version <= version
            or changes.modified.get(key, 0) <= version
        ):
            if changes is not None:
                self.recent.check_readable(changes, version)
            item = self.find_newest(entity, key)
            if self._is_shared:
                self.check_unmarked(entity, version)
            return item
        self.recent.check_readable(changes, version)
        for until_version, item in changes.undo.get(key, ()):
            if until_version > version:
                return item
        if self._is_shared:
            raise Conflict("what this run reads was replaced; run it again")
        raise InternalError("a cell's older value was forgotten while a snapshot needed it")

    def check_unmarked(self, entity: str, version: int) -> None:
        """Raises Conflict if a read has just shown that another node changed `entity`."""
        changes = self.recent.entities.get(entity)
        if changes is not None:
            self.recent.check_readable(changes, version)

    def load_newest(self, entity: str, bytes_max: int) -> View | None:
        """Returns the complete view of `entity`, or None: too large to load. May block."""
        if self._is_shared and entity.startswith(QUEUE_PREFIX):
            return None
        view = self.views.touch(entity)
        if view is not None:
            if view.is_complete:
                self.hits += 1
                return view
            if view.is_known_large(bytes_max):
                return None
        items: dict[str, Item | None] = {}
        if not self.absent.is_absent(entity):
            self.misses += 1
            loaded = self._engine.load_items(entity, bytes_max)
            if loaded is None:
                self.views.note_large(entity, bytes_max)
                return None
            items |= loaded
        return self.keep_loaded(entity, items)

    def keep_loaded(self, entity: str, items: dict[str, Item | None]) -> View:
        """Caches and returns the complete view that durable `items` and dirty cells make."""
        changes = self.recent.entities.get(entity)
        if changes is not None:
            for key, item in changes.dirty.items():
                if item is None:
                    items.pop(key, None)
                else:
                    items[key] = item
        view = View(items, is_complete=True)
        self.views.keep(entity, view)
        return view

    def scan_at(
        self, version: int, area: Range, limit: int, bytes_max: int
    ) -> list[tuple[str, Item]]:
        """Returns the first items of `area` that an open snapshot at `version` sees.

        They are cut as `take_page` does. May block.
        """
        entity, start, end = area
        changes = self.recent.entities.get(entity)
        is_newest = changes is None or changes.last_version <= version
        if changes is not None and not is_newest:
            self.recent.check_readable(changes, version)
        view = self.views.views.get(entity)
        if is_newest and view is not None and view.is_complete:
            self.hits += 1
            items = view.items
            keys = view.keys_between(start, end)
            pairs = ((key, item) for key in keys if (item := items[key]) is not None)
            return take_page(pairs, limit, bytes_max).items
        overlay: dict[str, Item | None] = {}
        if changes is not None:
            changed = {**changes.dirty, **dict.fromkeys(self.recent.keys_after(changes, version))}
            for key in changed:
                if start <= key and (end is None or key < end):
                    overlay[key] = self.find_at(version, entity, key)
        self.misses += 1
        found = merge_items(
            lambda begin, count: self._engine.scan_items(
                Range(entity, begin, end), count, bytes_max
            ),
            overlay,
            start,
            limit,
            bytes_max,
        )
        if self._is_shared:
            self.check_unmarked(entity, version)
        return found

    def measure_newest(self, entity: str) -> tuple[int, int]:
        """Returns (number, bytes) of the user's items. May block."""
        view = self.views.views.get(entity)
        if view is not None and view.is_complete:
            pairs = [(k, i) for k, i in view.items.items() if k >= USER_KEYS_START and i]
            return len(pairs), sum(text_bytes(k) + len(i.value) for k, i in pairs)
        changes = self.recent.entities.get(entity)
        if changes is None or not changes.dirty:
            return self._engine.measure_keys(entity, USER_KEYS_START)
        # The engine may or may not have parts of what is dirty: count the rest, then add that.
        # Rare (a large entity measured while it is written), so a walk over its keys will do.
        count = size = 0
        start = USER_KEYS_START
        while True:
            page = self._engine.scan_items(Range(entity, start, None), 1024, MEASURE_BYTES)
            for key, item in page.items:
                if key not in changes.dirty:
                    count += 1
                    size += text_bytes(key) + len(item.value)
            if not page.more:
                break
            start = page.items[-1][0] + "\x00"
        for key, dirty in changes.dirty.items():
            if dirty is not None and key >= USER_KEYS_START:
                count += 1
                size += text_bytes(key) + len(dirty.value)
        return count, size

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        """Returns the first `limit` entities with a key that start with `prefix`, > `after`."""
        doubtful = {
            entity
            for entity, changes in self.recent.entities.items()
            if changes.dirty and entity > after and entity.startswith(prefix)
        }
        durable = self._engine.list_entities(prefix, after, limit + len(doubtful))
        # Behind the last durable one listed there may be more, so nothing may be added there.
        bound = durable[-1] if len(durable) == limit + len(doubtful) else None
        found = [entity for entity in durable if entity not in doubtful]
        for entity in doubtful:
            changes = self.recent.entities[entity]
            is_there = any(item is not None for item in changes.dirty.values())
            if (bound is None or entity <= bound) and (is_there or self._has_clean(entity)):
                found.append(entity)
        return sorted(found)[:limit]

    def _has_clean(self, entity: str) -> bool:
        """Returns whether `entity` has a key beside those that are being deleted."""
        dirty = self.recent.entities[entity].dirty
        return bool(self._engine_scan_beside(entity, dirty))

    def _engine_scan_beside(
        self, entity: str, dirty: Mapping[str, Item | None]
    ) -> list[tuple[str, Item]]:
        overlay: dict[str, Item | None] = dict.fromkeys(dirty)
        return merge_items(
            lambda begin, count: self._engine.scan_items(
                Range(entity, begin, None), count, UNBOUNDED
            ),
            overlay,
            "",
            1,
            UNBOUNDED,
        )

    # Changes.

    def apply(self, version: int, writes: Mapping[Cell, bytes | None]) -> int:
        """Makes `writes` the newest values; returns the bytes of the values.

        Raises:
            BadArguments: a name is not valid Unicode or a value not bytes; nothing happened.
            StoreUnavailable, StoreCorrupt: an older value cannot be read; nothing happened.
        """
        value_bytes = self._keep_older(version, writes)
        recent = self.recent
        entity_now, changes, view, is_queue = "", None, None, False
        for cell, value in writes.items():
            entity, key = cell
            if entity != entity_now or changes is None:
                entity_now = entity
                changes = recent.entities[entity]
                changes.last_version = version
                if not changes.is_noted:
                    changes.is_noted = True
                    self.absent.add(entity)
                view = self.views.open_for_change(entity)
                is_queue = self._is_shared and entity.startswith(QUEUE_PREFIX)
                if is_queue and view is None:
                    # What is put there is read soon, by the node that put it.
                    view = View({}, is_complete=False)
                    self.views.keep(entity, view)
            # `Item(value, version)` by its own __new__ takes twice as long.
            new = None if value is None else _make_item(Item, (value, version))
            changes.dirty[key] = new
            modified = changes.modified
            if key in modified:
                del modified[key]
            modified[key] = version
            if view is not None:
                # Marks of a large entity that is being deleted key by key would fill the cache.
                is_dropped = new is None and not view.is_complete
                self.views.bytes_used += view.drop(key) if is_dropped else view.put(key, new)
        recent.log_changes(version, writes)
        self.views.trim()
        return value_bytes

    def _keep_older(self, version: int, writes: Mapping[Cell, Any]) -> int:
        """Checks `writes`, and keeps the values they replace for the snapshots that see them.

        It changes nothing visible, so it may fail: a single bad write would otherwise fail in the
        writer, and with it all that wait there.
        """
        recent = self.recent
        newest_open, floor = recent.newest_open_version, recent.floor_version
        undone: list[Cell] = []
        undo_bytes = value_bytes = 0
        entity_now, changes = "", None
        try:
            for cell, value in writes.items():
                entity, key = cell
                if entity != entity_now or changes is None:
                    entity_now = entity
                    check_text(entity)
                    changes = recent.changes_of(entity)
                if not key.isascii():
                    check_text(key)
                if type(value) is bytes:
                    value_bytes += len(value)
                elif value is not None:
                    raise BadArguments(f"a stored value is bytes; found {type(value).__name__}")
                if newest_open >= changes.modified.get(key, floor):
                    if self._is_shared and entity.startswith(QUEUE_PREFIX):
                        continue  # Written blindly: no server is asked for what it replaces.
                    item = self.find_newest(entity, key)
                    chain = changes.undo.get(key)
                    if chain is None:
                        changes.undo[key] = [(version, item)]
                    else:
                        chain.append((version, item))
                    undone.append(cell)
                    if item is not None:
                        undo_bytes += len(item.value)
        finally:
            if undone:
                recent.log_undo(version, undone, value_bytes=undo_bytes)
        return value_bytes

    def notify_changed(self, version: int, entities: Iterable[str], cells: Iterable[Cell]) -> None:
        """Forgets what is cached of what another node changed, which counts as modified now.

        Args:
            version: the change's own, the newest.
            entities: every key of these may have changed.
            cells: single cells of entities in QUEUE_PREFIX.
        """
        for entity in entities:
            self.views.forget(entity)
            self.recent.mark_entity(entity, version)
        for entity, key in cells:
            self.views.forget(entity)
            self.recent.mark_cell(entity, key, version)

    def withdraw(self, version: int, cells: Collection[Cell]) -> None:
        """Makes the durable values of `cells` visible again, as the change that `version` is.

        Args:
            version: the change's own, the newest.
            cells: every dirty cell, each once.
        """
        recent = self.recent
        undone: list[Cell] = []
        undo_bytes = 0
        for cell in cells:
            entity, key = cell
            changes = recent.entities[entity]
            item = changes.dirty.pop(key)
            if recent.newest_open_version >= changes.modified[key]:
                changes.undo.setdefault(key, []).append((version, item))
                undone.append(cell)
                undo_bytes += 0 if item is None else len(item.value)
            del changes.modified[key]
            changes.modified[key] = version
            changes.last_version = version
            self.views.forget(entity)
        if undone:
            recent.log_undo(version, undone, value_bytes=undo_bytes)
        recent.log_changes(version, cells)
