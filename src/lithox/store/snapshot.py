"""How a run sees the store: everything as it was at one version, whatever commits meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from heapq import merge
from typing import TYPE_CHECKING, Final

from lithox.errors import Conflict, InternalError
from lithox.store.contract import Item, Loaded, Page, Range
from lithox.store.engine import take_page, text_bytes
from lithox.store.views import View

if TYPE_CHECKING:
    from lithox.store.cells import VisibleCells

UNBOUNDED: Final = 1 << 62
"""More bytes than there are."""
_NOTHING: Final = Loaded({}, is_complete=False)


class StableView:
    """A `Snapshot`: see the contract. Warm reads cost a few dictionary look-ups."""

    __slots__ = ("_cells", "_is_open", "version")

    def __init__(self, cells: VisibleCells, version: int) -> None:
        self.version = version
        self._cells = cells
        self._is_open = True
        cells.recent.open_snapshot(version)

    def find(self, entity: str, key: str) -> Item | None:
        cells = self._cells
        changes = cells.recent.entities.get(entity)
        if changes is None or changes.last_version <= self.version:
            view = cells.views.views.get(entity)
            if view is not None and (view.is_complete or key in view.items) and self._is_open:
                return view.items.get(key)
        self._check_open()
        return cells.find_at(self.version, entity, key)

    def load(self, entity: str, bytes_max: int) -> Loaded:
        self._check_open()
        cells = self._cells
        view = cells.load_newest(entity, bytes_max)
        if view is None:
            return _NOTHING
        changes = cells.recent.entities.get(entity)
        if changes is None or changes.last_version <= self.version:
            if view.items_bytes > bytes_max:
                return _NOTHING
            view.is_shared = True
            return Loaded(view.items, is_complete=True)  # type: ignore[arg-type]
        return self._load_older(entity, view, bytes_max)

    def scan(self, area: Range, limit: int, bytes_max: int | None = None) -> Page:
        self._check_open()
        if bytes_max is None:
            found = self._cells.scan_at(self.version, area, limit + 1, UNBOUNDED)
            return Page(found[:limit], more=len(found) > limit)
        found = self._cells.scan_at(self.version, area, limit + 1, bytes_max)
        count = size = 0
        for key, item in found[:limit]:
            size += text_bytes(key) + len(item.value)
            if count and size > bytes_max:
                break
            count += 1
        return Page(found[:count], more=len(found) > count)

    def release(self) -> None:
        if self._is_open:
            self._is_open = False
            self._cells.recent.release_snapshot(self.version)

    def _load_older(self, entity: str, view: View, bytes_max: int) -> Loaded:
        """Returns the complete view as it was at this snapshot."""
        recent = self._cells.recent
        recent.check_readable(recent.entities[entity], self.version)
        items = dict(view.items)
        for key in recent.keys_after(recent.entities[entity], self.version):
            item = self._cells.find_at(self.version, entity, key)
            if item is None:
                items.pop(key, None)
            else:
                items[key] = item
        size = sum(text_bytes(key) + len(item.value) for key, item in items.items() if item)
        if size > bytes_max:
            return _NOTHING
        return Loaded(items, is_complete=True)  # type: ignore[arg-type]

    def _check_open(self) -> None:
        if not self._is_open:
            raise InternalError("a released snapshot was read")
        if self.version < self._cells.recent.floor_version:
            raise Conflict(
                "the run's snapshot is older than the history the store keeps; run it again",
                snapshot_version=self.version,
                floor_version=self._cells.recent.floor_version,
            )


def merge_items(
    fetch: Callable[[str, int], Page],
    overlay: dict[str, Item | None],
    start: str,
    limit: int,
    bytes_max: int,
) -> list[tuple[str, Item]]:
    """Returns the first items by key of what `fetch` gives, changed by `overlay`.

    Args:
        fetch: gives the first n items from a start key on, by key, as `take_page` cuts them.
        overlay: key -> item in place of the fetched one; None: it is not there.
        start: where to begin.
        limit: number of items wanted, at least 1.
        bytes_max: enough are found when they are more than this, and at least two.
    """
    # The overlay can hide as many fetched items as it has keys: fetch that many more, in pages,
    # so that a large overlay over a small limit does not read the whole range at once.
    added = sorted((key, item) for key, item in overlay.items() if item is not None)
    found: list[tuple[str, Item]] = []
    page_size = limit + min(len(overlay), limit)
    while True:
        page = fetch(start, page_size)
        bound = page.items[-1][0] if page.more else None
        kept = (pair for pair in page.items if pair[0] not in overlay)
        due = [pair for pair in added if bound is None or pair[0] <= bound]
        added = added[len(due) :]
        found.extend(merge(kept, due, key=lambda pair: pair[0]))
        cut = take_page(found, limit, bytes_max)
        if bound is None or cut.more:
            return cut.items
        start = bound + "\x00"  # The smallest text greater than `bound`.
