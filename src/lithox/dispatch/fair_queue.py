"""Which of many waiting things begins next: accounts in turn, each up to its own bound at once.

Pure. Invariants: what was pushed first within an account is popped first; an account with a
thousand things waiting gets as many turns as one with a single thing; of all at most `all_max`,
of one account at most `account_max` are begun and not ended.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class FairQueue(Generic[Thing]):
    """Things that wait, by account. Its owner bounds how many are pushed."""

    def __init__(self, *, all_max: int, account_max: int) -> None:
        self._all_max = all_max
        self._account_max = account_max
        self._waiting: OrderedDict[str, deque[Thing]] = OrderedDict()
        self._begun: dict[str, int] = {}
        self._begun_count = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def push(self, account: str, thing: Thing) -> None:
        """Lets `thing` wait behind the others of its account."""
        self._waiting.setdefault(account, deque()).append(thing)

    def pop(self) -> Thing | None:
        """Returns what begins now, or None. Its cost grows with accounts at their bound only."""
        if self._begun_count >= self._all_max:
            return None
        for account, things in self._waiting.items():
            if self._begun.get(account, 0) >= self._account_max:
                continue
            thing = things.popleft()
            self._waiting.move_to_end(account)
            if not things:
                del self._waiting[account]
            self._begun[account] = self._begun.get(account, 0) + 1
            self._begun_count += 1
            return thing
        return None

    def end(self, account: str) -> None:
        """Notes that one begun thing of `account` has ended."""
        left = self._begun[account] - 1
        self._begun_count -= 1
        if left:
            self._begun[account] = left
        else:
            del self._begun[account]
