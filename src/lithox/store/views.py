"""Which values of entities are at hand: a cache of exact views, the least recently loaded go first.

A complete view maps every key of an entity to its newest visible item; a partial one holds the
cells of a large entity that were asked for singly (None: known to be absent). A view always shows
the newest visible version, because every commit changes its entities' views; so any view may be
dropped at any time, and none is ever stale.

A complete view that was handed out is copied before its next change, so that who holds it sees
no change: copy on write of the dict only, items are immutable.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from lithox.store.contract import Item
from lithox.store.engine import text_bytes

CACHE_BYTES_MAX: Final = 64 << 20
ITEM_OVERHEAD_BYTES: Final = 258
"""Python objects of one cached item beside key and value: Item 64, int 32, str 49, bytes 33, dict
slots about 70, place among the sorted keys 8; sys.getsizeof on CPython 3.11, 64 bits."""
VIEW_OVERHEAD_BYTES: Final = 600
"""The view, its dict, its entry in the cache and the entity's name; measured like the above."""
SORTED_CHANGES_MAX: Final = 64
"""Keys added or removed since the last scan before the sorted keys are given up: each moves half
the list, so many would cost more than sorting anew."""
VIEW_SHARE_MAX: Final = 8
"""One view may take 1/8 of the cache; a larger one is used once and not kept."""


LOADS_SKIPPED_MAX: Final = 1_000
"""Loads of an entity found too large that are refused without looking whether it still is: to look
reads up to the bound in vain (16 KiB of small items: 7 ms), and a run begins with a load."""


class View:
    """What is known of one entity; `items_bytes` counts keys and values, as limits do."""

    __slots__ = (
        "_changes",
        "_sorted_keys",
        "is_complete",
        "is_shared",
        "items",
        "items_bytes",
        "large_bytes",
        "loads_skipped",
    )

    def __init__(self, items: dict[str, Item | None], *, is_complete: bool) -> None:
        self.items = items
        self.is_complete = is_complete
        self.is_shared = False
        self.large_bytes = 0
        """Known to be larger than this, when last looked at."""
        self.loads_skipped = 0
        """Loads answered since then without looking."""
        self._sorted_keys: list[str] | None = None
        self._changes = 0
        self.items_bytes = sum(_item_bytes(key, item) for key, item in items.items())

    @property
    def cost_bytes(self) -> int:
        return VIEW_OVERHEAD_BYTES + self.items_bytes + ITEM_OVERHEAD_BYTES * len(self.items)

    def put(self, key: str, item: Item | None) -> int:
        """Sets one cell of a view that is not shared; returns by how much its cost grew."""
        items, count = self.items, len(self.items)
        old = items.get(key)
        if old is not None and item is not None:
            items[key] = item
            growth = len(item.value) - len(old.value)
            self.items_bytes += growth
            return growth
        growth, is_there = 0, item is not None or not self.is_complete
        if key in items:
            growth = -_item_bytes(key, items.pop(key)) - ITEM_OVERHEAD_BYTES
        if is_there:
            items[key] = item
            growth += _item_bytes(key, item) + ITEM_OVERHEAD_BYTES
        self.items_bytes += growth - ITEM_OVERHEAD_BYTES * (len(items) - count)
        if self._sorted_keys is not None:
            self._change_sorted(self._sorted_keys, key, is_there=is_there)
        return growth

    def drop(self, key: str) -> int:
        """Forgets one cell of a partial view; returns by how much its cost grew."""
        if key not in self.items:
            return 0
        size_bytes = _item_bytes(key, self.items.pop(key))
        self.items_bytes -= size_bytes
        self._sorted_keys = None
        return -size_bytes - ITEM_OVERHEAD_BYTES

    def is_known_large(self, bytes_max: int) -> bool:
        """Returns whether loading the entity up to `bytes_max` was tried in vain not long ago."""
        if self.large_bytes < bytes_max or self.loads_skipped >= LOADS_SKIPPED_MAX:
            return False
        self.loads_skipped += 1
        return True

    def keys_between(self, start: str, end: str | None) -> Iterator[str]:
        """Returns the keys from `start` to before `end`, ascending; None: to the last.

        Sorts all keys at the first time and after many changes, else bisects.
        """
        keys = self._sorted_keys
        if keys is None:
            keys = self._sorted_keys = sorted(self.items)
        self._changes = 0
        last = len(keys) if end is None else bisect_left(keys, end)
        return map(keys.__getitem__, range(bisect_left(keys, start), last))

    def _change_sorted(self, keys: list[str], key: str, *, is_there: bool) -> None:
        self._changes += 1
        if self._changes > SORTED_CHANGES_MAX:
            self._sorted_keys = None
            return
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            if not is_there:
                del keys[index]
        elif is_there:
            keys.insert(index, key)


def _item_bytes(key: str, item: Item | None) -> int:
    return text_bytes(key) + (len(item.value) if item is not None else 0)


class EntityViews:
    """The cache: entity -> View, least recently loaded first, within `bytes_max`."""

    __slots__ = ("_bytes_max", "bytes_used", "evictions", "views")

    def __init__(self, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
        # A plain dict finds its first entry by walking over all that were deleted before it.
        self.views: OrderedDict[str, View] = OrderedDict()
        self.bytes_used = 0
        self.evictions = 0
        self._bytes_max = bytes_max

    def touch(self, entity: str) -> View | None:
        """Returns the view of `entity` and makes it the most recent one."""
        view = self.views.get(entity)
        if view is not None:
            self.views.move_to_end(entity)
        return view

    def keep(self, entity: str, view: View) -> None:
        """Caches `view` in place of what was known of `entity`, if it is not too large."""
        self.forget(entity)
        cost = view.cost_bytes
        if cost * VIEW_SHARE_MAX > self._bytes_max:
            return
        self.views[entity] = view
        self.bytes_used += cost
        self.trim()

    def learn(self, entity: str, key: str, item: Item | None) -> None:
        """Adds one cell, just read from the engine, to what is known of `entity`."""
        view = self.views.get(entity)
        if view is None:
            self.keep(entity, View({key: item}, is_complete=False))
            return
        if key in view.items or view.is_complete:
            return
        self.bytes_used += view.put(key, item)
        if view.cost_bytes * VIEW_SHARE_MAX > self._bytes_max:
            self.forget(entity)
        self.trim()

    def note_large(self, entity: str, bytes_max: int) -> None:
        """Remembers that `entity` has more than `bytes_max` bytes."""
        if entity not in self.views:
            self.keep(entity, View({}, is_complete=False))
        view = self.views.get(entity)
        if view is not None:
            view.large_bytes, view.loads_skipped = bytes_max, 0

    def open_for_change(self, entity: str) -> View | None:
        """Returns the view of `entity`, made safe to change; None: nothing is known of it."""
        view = self.views.get(entity)
        if view is not None and view.is_shared:
            view.items = dict(view.items)
            view.is_shared = False
        return view

    def trim(self) -> None:
        """Drops views until the cache is within its bound."""
        while self.bytes_used > self._bytes_max and self.views:
            self.forget(next(iter(self.views)))
            self.evictions += 1

    def forget(self, entity: str) -> None:
        """Drops what is known of `entity`."""
        view = self.views.pop(entity, None)
        if view is not None:
            self.bytes_used -= view.cost_bytes
