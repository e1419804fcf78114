"""How many more guests does the operating system let this process hold?

Linux refuses a process more than `vm.max_map_count` memory mappings (65,530 by default), and the
refusal may hit anybody: a thread, a database, an import. So the sandbox keeps its own account and
refuses a new guest long before that, with an error the caller can wait on.

Invariant: `held` is the number of live cells; the estimate `base + held * MAPPINGS_PER_CELL` is
never below the real count by more than what others in this process mapped since the last count,
and `reserve` is there for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from lithox.errors import Overloaded

MAPPINGS_PER_CELL: Final = 4
"""Fibre guard, fibre stack, memory, rest of its reservation (measured: `bench/sandbox.py live`)."""
MAPPINGS_RESERVE: Final = 4096
"""Kept free for the rest of the process: libraries, threads, the store."""
RECOUNT_EVERY: Final = 1024
"""New cells between two real counts; a count reads a line per mapping (20 ms at 40,000)."""
RETRY_AFTER_MS: Final = 250
_LIMIT_PATH: Final = Path("/proc/sys/vm/max_map_count")
_MAPS_PATH: Final = Path("/proc/self/maps")
_NO_LIMIT: Final = 1 << 40


def read_limit() -> int:
    """Returns `vm.max_map_count`, or a number never reached where the system has no such limit."""
    try:
        return int(_LIMIT_PATH.read_text())
    except (OSError, ValueError):
        return _NO_LIMIT


def count_mappings() -> int:
    """Returns how many mappings this process has now; 0 where the system does not say."""
    try:
        return _MAPS_PATH.read_bytes().count(b"\n")
    except OSError:
        return 0


class MappingBudget:
    """Counts cells against the limit. Several threads may use it: engines are opened in others."""

    __slots__ = ("_base", "_count", "_held", "_lock", "_maximum", "_since_count")

    def __init__(
        self, *, maximum: int | None = None, count: Callable[[], int] = count_mappings
    ) -> None:
        """Begins with no cells.

        Args:
            maximum: mappings the process may have; None asks the operating system.
            count: how to count those it has now.
        """
        self._maximum = (read_limit() if maximum is None else maximum) - MAPPINGS_RESERVE
        self._count = count
        self._lock = Lock()
        self._held = 0
        self._since_count = 0
        self._base = count()

    @property
    def held(self) -> int:
        """Cells taken and not given back."""
        return self._held

    @property
    def estimate(self) -> int:
        """Mappings the process is thought to have."""
        return self._base + self._held * MAPPINGS_PER_CELL

    def take(self) -> None:
        """Takes the mappings of one more cell.

        Raises:
            Overloaded: there would be too few left for the rest of the process.
        """
        with self._lock:
            self._take()

    def _take(self) -> None:
        self._since_count += 1
        is_full = self.estimate + MAPPINGS_PER_CELL > self._maximum
        if is_full or self._since_count >= RECOUNT_EVERY:
            self._since_count = 0
            self._base = max(0, self._count() - self._held * MAPPINGS_PER_CELL)
            is_full = self.estimate + MAPPINGS_PER_CELL > self._maximum
        if is_full:
            raise Overloaded(
                f"this node holds {self._held} live guests and has no room for more; "
                "try again when some have ended, or raise vm.max_map_count",
                retry_after_ms=RETRY_AFTER_MS,
                guests=self._held,
            )
        self._held += 1

    def give(self) -> None:
        """Gives the mappings of one cell back."""
        with self._lock:
            assert self._held > 0
            self._held -= 1
