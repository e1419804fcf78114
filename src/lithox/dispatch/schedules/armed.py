"""How many timers are armed: of each entity, of each account, and in all.

Counts only; read from the index at the start and kept by the commits since. While that reading goes
on they are too low (below zero even, where one is cancelled before it is read), so a bound can be
passed then.
"""

from __future__ import annotations


class Armed:
    """Counts of committed timers."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all counts."""
        self.count = 0
        self._by_entity: dict[str, int] = {}
        self._by_account: dict[str, int] = {}

    def count_of_entity(self, entity: str) -> int:
        """Returns how many timers of an entity are armed."""
        return max(0, self._by_entity.get(entity, 0))

    def count_of_account(self, account: str) -> int:
        """Returns how many timers are armed on an account."""
        return max(0, self._by_account.get(account, 0))

    def change(self, entity: str, account: str, change: int) -> None:
        """Counts timers that came (1) or went (-1)."""
        self.count += change
        _add(self._by_entity, entity, change)
        _add(self._by_account, account, change)


def _add(counts: dict[str, int], name: str, change: int) -> None:
    count = counts.get(name, 0) + change
    if count:
        counts[name] = count
    else:
        counts.pop(name, None)
