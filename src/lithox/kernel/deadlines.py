"""When the next process must end by time.

Invariants: an entry is stale when its process is gone; stale entries are dropped when they come
to the top, and all at once when they outnumber the live ones by `STALE_MAX`, so the heap is never
larger than twice the live processes plus that bound.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from lithox.kernel.process import NEVER_NS, Process
from lithox.kernel.states import Phase

STALE_MAX: Final = 256
"""Stale entries that are never worth a rebuild."""


class DeadlineHeap:
    """The ends by time of all live processes, earliest first, in order of PID when equal."""

    __slots__ = ("_heap", "_live", "earliest_ns")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Process]] = []
        self._live = 0
        self.earliest_ns = NEVER_NS
        """Never later than the earliest end of a live process: one comparison tells "none due"."""

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, process: Process) -> None:
        """Notes the end of `process`, if it has one."""
        end_ns = process.end_ns
        if end_ns >= NEVER_NS:
            return
        self._live += 1
        heappush(self._heap, (end_ns, process.pid, process))
        self.earliest_ns = min(self.earliest_ns, end_ns)

    def forget(self, process: Process) -> None:
        """Notes that `process` is gone; call it once for each process that was added."""
        if process.end_ns >= NEVER_NS:
            return
        self._live -= 1
        heap = self._heap
        if len(heap) > 2 * self._live + STALE_MAX:
            heap[:] = [entry for entry in heap if entry[2].phase is not Phase.GONE]
            heapify(heap)

    def pop_due(self, now_ns: int) -> Process | None:
        """Returns a live process whose end is at or before `now_ns`, once; None when no more."""
        heap = self._heap
        while heap and (heap[0][0] <= now_ns or heap[0][2].phase is Phase.GONE):
            process = heappop(heap)[2]
            if process.phase is not Phase.GONE:
                return process
        self.earliest_ns = heap[0][0] if heap else NEVER_NS
        return None

    def next_ns(self) -> int | None:
        """Returns the earliest end of a live process, or None."""
        heap = self._heap
        while heap and heap[0][2].phase is Phase.GONE:
            heappop(heap)
        self.earliest_ns = heap[0][0] if heap else NEVER_NS
        return heap[0][0] if heap else None
