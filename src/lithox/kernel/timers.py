"""What must happen at a given time: ends of processes, ends of waits, deadlines of calls.

Invariants: a target (a process, a party that waits, a call) has at most one entry that counts,
the one whose number stands in `target.timer`; 0 means none. Stale entries are dropped when they
come to the top, and all at once when they outnumber the live ones by `STALE_MAX`, so the heap is
never larger than twice the live entries plus that bound. Of two entries with the same time the one
that was added first comes first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

NEVER_NS: Final = 1 << 63
"""A time no fact reaches."""
STALE_MAX: Final = 256
"""Stale entries that are never worth a rebuild."""


class Timed(Protocol):
    """What can have an end by time.

    Attributes:
        timer: number of its entry in the heap, 0 when it has none; the heap alone changes it.
    """

    timer: int


T = TypeVar("T", bound=Timed)


class TimerHeap(Generic[T]):
    """All ends by time, earliest first."""

    __slots__ = ("_heap", "_last", "_live", "earliest_ns")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._live = 0
        self._last = 0
        self.earliest_ns = NEVER_NS
        """Never later than the earliest live entry: one comparison tells "none due"."""

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, target: T, end_ns: int) -> None:
        """Notes the end of `target`, which has none yet; NEVER_NS and later are not noted."""
        if end_ns >= NEVER_NS:
            return
        self._last += 1
        self._live += 1
        target.timer = self._last
        heappush(self._heap, (end_ns, self._last, target))
        self.earliest_ns = min(self.earliest_ns, end_ns)

    def cancel(self, target: T) -> None:
        """Forgets the end of `target`, if it has one."""
        if not target.timer:
            return
        target.timer = 0
        self._live -= 1
        heap = self._heap
        if len(heap) > 2 * self._live + STALE_MAX:
            heap[:] = [entry for entry in heap if entry[2].timer == entry[1]]
            heapify(heap)
            self.earliest_ns = heap[0][0] if heap else NEVER_NS

    def pop_due(self, now_ns: int) -> T | None:
        """Returns a target whose end is at or before `now_ns`, once; None when no more."""
        heap = self._heap
        while heap:
            end_ns, number, target = heap[0]
            if target.timer != number:
                heappop(heap)
            elif end_ns <= now_ns:
                heappop(heap)
                target.timer = 0
                self._live -= 1
                return target
            else:
                self.earliest_ns = end_ns
                return None
        self.earliest_ns = NEVER_NS
        return None

    def next_ns(self) -> int | None:
        """Returns the earliest end, or None."""
        heap = self._heap
        while heap and heap[0][2].timer != heap[0][1]:
            heappop(heap)
        self.earliest_ns = heap[0][0] if heap else NEVER_NS
        return heap[0][0] if heap else None
