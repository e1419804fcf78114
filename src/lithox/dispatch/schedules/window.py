"""The rows of the index that come next, in memory: as many as may be held, and no more.

Theory of operation. The window holds every key of the index below `horizon` (None: every key there
is). Keys are text in the order of time, so a heap of them tells which timer is due first. When it
runs empty below a horizon, the next page of the store moves the horizon on; when it grows beyond
its bound, the later half is let go and the horizon moves back. So what is held does not grow with
the number of timers, and a timer that is far away costs nothing but its rows.

Invariant: a key of the store that is below the horizon and not taken is in `_keys`; `_heap` may
still have keys that have been removed.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

LoadPage = Callable[[str, int], tuple[list[str], bool]]
"""(first key, how many) -> (keys of the store in order, whether there are more)."""


class Window:
    """See the module's header.

    Args:
        load: reads the index.
        held_max: keys held at most, but for one page.
        page_max: keys read at a time.
    """

    def __init__(self, load: LoadPage, *, held_max: int, page_max: int) -> None:
        self._load = load
        self._held_max = held_max
        self._page_max = min(page_max, held_max)
        self.reset()

    def reset(self) -> None:
        """Forgets everything; the next question reads the store anew."""
        self._keys: set[str] = set()
        self._heap: list[str] = []
        self._horizon: str | None = ""

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        """Notes a key that is in the store now."""
        if (self._horizon is not None and key >= self._horizon) or key in self._keys:
            return
        self._keys.add(key)
        heappush(self._heap, key)
        if len(self._keys) > self._held_max:
            self._let_go()
        elif len(self._heap) > 2 * self._held_max:
            self._heap = list(self._keys)
            heapify(self._heap)

    def remove(self, key: str) -> None:
        """Notes that a key has gone; one that is not held does no harm."""
        self._keys.discard(key)

    def _let_go(self) -> None:
        kept = sorted(self._keys)[: self._held_max // 2 or 1]
        self._keys = set(kept)
        self._heap = kept
        self._horizon = kept[-1] + "\x00"

    def first(self) -> str | None:
        """Returns the earliest key, or None when there is none at all. May read the store."""
        while True:
            heap, keys = self._heap, self._keys
            while heap and heap[0] not in keys:
                heappop(heap)
            if heap:
                return heap[0]
            if self._horizon is None:
                return None
            page, more = self._load(self._horizon, self._page_max)
            self._horizon = page[-1] + "\x00" if more and page else None
            self._keys.update(page)
            self._heap = page

    def take(self) -> str:
        """Returns the key that `first` has just told, and holds it no more."""
        key = heappop(self._heap)
        self._keys.discard(key)
        return key
