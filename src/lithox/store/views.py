"""Which values of entities are at hand: a cache of exact views, the least recently loaded go first.

A complete view maps every key of an entity to its newest visible item; a partial one holds the
cells of a large entity that were asked for singly (None: known to be absent). A view always shows
the newest visible version, because every commit passes through `apply`; so any view may be dropped
at any time, and none is ever stale.

A complete view that was handed out is copied before its next change, so that who holds it sees
no change: copy on write of the dict only, items are immutable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lithox.store.contract import Item
from lithox.store.engine import text_bytes

CACHE_BYTES_MAX: Final = 64 << 20
ITEM_OVERHEAD_BYTES: Final = 250
"""Python objects of one cached item beside key and value: Item 64, int 32, str 49, bytes 33, dict
slots about 70; sys.getsizeof on CPython 3.11, 64 bits."""
VIEW_OVERHEAD_BYTES: Final = 400
VIEW_SHARE_MAX: Final = 8
"""One view may take 1/8 of the cache; a larger one is used once and not kept."""


class View:
    """What is known of one entity; `items_bytes` counts keys and values, as limits do."""

    __slots__ = ("is_complete", "is_shared", "items", "items_bytes")

    def __init__(self, items: dict[str, Item | None], *, is_complete: bool) -> None:
        self.items = items
        self.is_complete = is_complete
        self.is_shared = False
        self.items_bytes = sum(
            text_bytes(key) + (len(item.value) if item is not None else 0)
            for key, item in items.items()
        )

    @property
    def cost_bytes(self) -> int:
        return VIEW_OVERHEAD_BYTES + self.items_bytes + ITEM_OVERHEAD_BYTES * len(self.items)


class EntityViews:
    """The cache: entity -> View, least recently loaded first, within `bytes_max`."""

    __slots__ = ("_bytes_max", "bytes_used", "evictions", "views")

    def __init__(self, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self.views: dict[str, View] = {}
        self.bytes_used = 0
        self.evictions = 0
        self._bytes_max = bytes_max

    def touch(self, entity: str) -> View | None:
        """Returns the view of `entity` and makes it the most recent one."""
        view = self.views.pop(entity, None)
        if view is not None:
            self.views[entity] = view
        return view

    def keep(self, entity: str, view: View) -> None:
        """Caches `view` in place of what was known of `entity`, if it is not too large."""
        self.forget(entity)
        cost = view.cost_bytes
        if cost * VIEW_SHARE_MAX > self._bytes_max:
            return
        self.views[entity] = view
        self.bytes_used += cost
        self._evict()

    def learn(self, entity: str, key: str, item: Item | None) -> None:
        """Adds one cell, just read from the engine, to what is known of `entity`."""
        view = self.views.get(entity)
        if view is None:
            self.keep(entity, View({key: item}, is_complete=False))
            return
        if key in view.items or view.is_complete:
            return
        view.items[key] = item
        size = text_bytes(key) + (len(item.value) if item is not None else 0)
        view.items_bytes += size
        self.bytes_used += size + ITEM_OVERHEAD_BYTES
        if view.cost_bytes * VIEW_SHARE_MAX > self._bytes_max:
            self.forget(entity)
        self._evict()

    def apply(self, entity: str, changes: Iterable[tuple[str, Item | None]]) -> None:
        """Brings the view of `entity`, if there is one, to the version that made `changes`."""
        view = self.views.get(entity)
        if view is None:
            return
        if view.is_shared:
            view.items = dict(view.items)
            view.is_shared = False
        items = view.items
        before = view.items_bytes + ITEM_OVERHEAD_BYTES * len(items)
        for key, item in changes:
            old = items.get(key)
            if old is not None:
                view.items_bytes += len(item.value if item is not None else b"") - len(old.value)
                if item is None and view.is_complete:
                    view.items_bytes -= text_bytes(key)
                    del items[key]
                else:
                    items[key] = item
            elif item is not None:
                if key not in items:
                    view.items_bytes += text_bytes(key)
                view.items_bytes += len(item.value)
                items[key] = item
            elif not view.is_complete and key not in items:
                view.items_bytes += text_bytes(key)
                items[key] = None
        self.bytes_used += view.items_bytes + ITEM_OVERHEAD_BYTES * len(items) - before
        if self.bytes_used > self._bytes_max:
            if view.cost_bytes * VIEW_SHARE_MAX > self._bytes_max:
                self.forget(entity)
            self._evict()

    def forget(self, entity: str) -> None:
        """Drops what is known of `entity`."""
        view = self.views.pop(entity, None)
        if view is not None:
            self.bytes_used -= view.cost_bytes

    def _evict(self) -> None:
        while self.bytes_used > self._bytes_max and self.views:
            self.forget(next(iter(self.views)))
            self.evictions += 1
