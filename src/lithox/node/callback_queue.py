"""Which call-back is sent next: those that rest, by time, and those that are due, by origin.

Pure bookkeeping. A call-back rests until its time, is ready until its origin has a place, and is
under way until `end`. What is ready stands in the queue of its origin and is not looked at again
before it is taken, so a slow origin with thousands of them costs no more than one with a few.

Invariants: a key waits (rests or is ready) at most once; `__len__` and the counts by account are
those of keys that wait; of one origin, and of all, no more are under way than the settings say.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

from lithox.dispatch.fair_queue import FairQueue
from lithox.node.callback_settings import CallbackSettings


@dataclass(slots=True, kw_only=True)
class Waiting:
    """What memory holds of one call-back.

    Attributes:
        due_ms: wall-clock milliseconds since 1970.
        account: whose share of what may wait it takes.
    """

    due_ms: int
    origin: str
    account: str
    is_ready: bool = False


class CallbackQueue:
    """The call-backs a node knows of. Its owner asks `is_full` before it lets more come."""

    def __init__(self, settings: CallbackSettings) -> None:
        self._settings = settings
        self._waiting: dict[str, Waiting] = {}
        self._by_account: dict[str, int] = {}
        self._resting: list[tuple[int, str]] = []
        self._ready: FairQueue[str] = FairQueue(
            all_max=settings.sending_max, account_max=settings.sending_origin_max
        )

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def is_full(self, account: str) -> bool:
        """Returns whether as many wait as may, on the node or of `account`."""
        return (
            len(self._waiting) >= self._settings.waiting_max
            or self._by_account.get(account, 0) >= self._settings.waiting_account_max
        )

    def add(self, key: str, waiting: Waiting) -> None:
        """Lets `key` wait; of one that waits already the earlier time counts."""
        known = self._waiting.get(key)
        if known is None:
            self._waiting[key] = waiting
            self._by_account[waiting.account] = self._by_account.get(waiting.account, 0) + 1
        elif known.is_ready or known.due_ms <= waiting.due_ms:
            return
        else:
            known.due_ms = waiting.due_ms
        heappush(self._resting, (waiting.due_ms, key))

    def move_due(self, now_ms: int, moved_max: int) -> bool:
        """Makes ready what is due; returns whether there may be more than `moved_max`."""
        for _ in range(moved_max):
            if not self._resting or self._resting[0][0] > now_ms:
                return False
            due_ms, key = heappop(self._resting)
            waiting = self._waiting.get(key)
            if waiting is not None and not waiting.is_ready and waiting.due_ms == due_ms:
                waiting.is_ready = True
                self._ready.push(waiting.origin, key)
        return True

    def take(self) -> tuple[str, Waiting] | None:
        """Returns what is under way from now on, origins in turn; None: nothing, or no place."""
        key = self._ready.pop()
        if key is None:
            return None
        waiting = self._waiting.pop(key)
        left = self._by_account[waiting.account] - 1
        if left:
            self._by_account[waiting.account] = left
        else:
            del self._by_account[waiting.account]
        waiting.is_ready = False
        return key, waiting

    def end(self, waiting: Waiting) -> None:
        """Frees the place of what was taken."""
        self._ready.end(waiting.origin)

    @property
    def next_due_ms(self) -> int | None:
        """When the first rest ends, or None."""
        return self._resting[0][0] if self._resting else None
