"""Counts a transaction keeps of what it does, so that a bound costs one look and no walk.

Invariant: a count is the sum of the changes that were not rolled back. Marks are those of the
transaction's savepoints: a change whose mark is greater than a savepoint was made after it.
"""

from __future__ import annotations

from collections.abc import Hashable


class Tally:
    """See the module's header. Costs two empty containers until something is counted."""

    __slots__ = ("_counts", "_log")

    def __init__(self) -> None:
        self._counts: dict[Hashable, int] = {}
        self._log: list[tuple[int, Hashable, int]] = []

    def get(self, name: Hashable) -> int:
        """Returns the count of `name`, 0 when nothing was counted."""
        return self._counts.get(name, 0)

    def change(self, name: Hashable, change: int, *, mark: int) -> None:
        """Adds `change`, made at `mark`; marks never fall but by `roll_back_to`."""
        self._counts[name] = self._counts.get(name, 0) + change
        self._log.append((mark, name, change))

    def roll_back_to(self, savepoint: int) -> None:
        """Takes back every change made after `savepoint`."""
        log = self._log
        while log and log[-1][0] > savepoint:
            _, name, change = log.pop()
            self._counts[name] -= change
