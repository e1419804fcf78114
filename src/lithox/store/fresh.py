"""A snapshot of a shared store that has read nothing yet: why should it be too old for that?

The first read of an entity may be what shows this node that another node has changed it. A
snapshot that has shown nothing to anybody can move on to the newest version instead of raising
Conflict, so whoever reads once needs no second try of his own, and a run begins on what is newest.

Invariants: `version` stands still from the first read that succeeded; it never goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from lithox.errors import Conflict
from lithox.store.contract import Item, Loaded, Page, Range
from lithox.store.snapshot import StableView

if TYPE_CHECKING:
    from lithox.store.cells import VisibleCells

MOVES_MAX: Final = 16
"""Times a snapshot moves on; each takes another node's commit between two reads of ours."""
Result = TypeVar("Result")


class FreshView(StableView):
    """A `Snapshot` that moves on to the newest version until it has been read from."""

    __slots__ = ("_has_read", "_newest")

    def __init__(self, cells: VisibleCells, newest: Callable[[], int]) -> None:
        """Opens the newest version, which `newest` names whenever it is asked."""
        super().__init__(cells, newest())
        self._newest = newest
        self._has_read = False

    def find(self, entity: str, key: str) -> Item | None:
        if self._has_read:
            return super().find(entity, key)
        return self._read_first(lambda: StableView.find(self, entity, key))

    def load(self, entity: str, bytes_max: int) -> Loaded:
        if self._has_read:
            return super().load(entity, bytes_max)
        return self._read_first(lambda: StableView.load(self, entity, bytes_max))

    def scan(self, area: Range, limit: int, bytes_max: int | None = None) -> Page:
        if self._has_read:
            return super().scan(area, limit, bytes_max)
        return self._read_first(lambda: StableView.scan(self, area, limit, bytes_max))

    def _read_first(self, read: Callable[[], Result]) -> Result:
        for _ in range(MOVES_MAX):
            try:
                found = read()
            except Conflict:
                newest = self._newest()
                if newest == self.version:
                    raise
                recent = self._cells.recent
                recent.release_snapshot(self.version)
                recent.open_snapshot(newest)
                self.version = newest
            else:
                self._has_read = True
                return found
        return read()
