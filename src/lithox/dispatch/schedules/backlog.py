"""Accounts whose timers wait for room in the outbox: where their rows are, not the rows.

A timer that is due once is never dropped, so one that has no room stays in the index. Which ones
those are is kept as two keys for each account: every row of the account that was passed over lies
between them. So what is held does not grow with how many timers wait, and no account's timers
stand in the way of another's.

Invariant: `earliest_ns` is never later than the end of any rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NEVER_NS: Final = 1 << 63


@dataclass(slots=True, kw_only=True)
class Rest:
    """The rows of one account that were passed over, and when they are looked at again.

    Attributes:
        first, last: keys of the index; those between them may be of other accounts, too.
        until_ns: monotonic.
    """

    first: str
    last: str
    until_ns: int


class Backlog:
    """One record for each account that waits; there are no more than accounts with timers."""

    def __init__(self) -> None:
        self._rests: dict[str, Rest] = {}
        self.earliest_ns = NEVER_NS

    def __len__(self) -> int:
        return len(self._rests)

    def __contains__(self, account: str) -> bool:
        return account in self._rests

    def note(self, account: str, key: str, until_ns: int) -> None:
        """Notes that a row was passed over; an account that rests already rests no longer."""
        rest = self._rests.get(account)
        if rest is None:
            self._rests[account] = Rest(first=key, last=key, until_ns=until_ns)
            self.earliest_ns = min(self.earliest_ns, until_ns)
        else:
            rest.first, rest.last = min(rest.first, key), max(rest.last, key)

    def find_rested(self, now_ns: int) -> tuple[str, Rest] | None:
        """Returns the account whose rest ended first, or None when none has."""
        if now_ns < self.earliest_ns:
            return None
        found = min(self._rests.items(), key=lambda pair: pair[1].until_ns, default=None)
        self.earliest_ns = NEVER_NS if found is None else found[1].until_ns
        return found if found is not None and found[1].until_ns <= now_ns else None

    def remove(self, account: str) -> None:
        """Forgets an account: none of its rows was passed over any more."""
        del self._rests[account]

    def postpone(self, until_ns: int) -> None:
        """Has nobody looked for before `until_ns`."""
        self.earliest_ns = until_ns

    def clear(self) -> None:
        """Forgets all accounts."""
        self._rests.clear()
        self.earliest_ns = NEVER_NS
