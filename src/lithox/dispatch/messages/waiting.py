"""Which message is next: all that wait, by pair, and the pairs that are ready, by account.

Pure bookkeeping in memory; what it knows can be read again from the outbox at any time.

Theory of operation. A pair (sender, receiver, timer) holds its messages in order and is in one of
four states; only its first message is ever delivered:

    READY       its first message waits for a place; it stands in the queue of the account that pays
    DELIVERING  its first message is under way, or is being buried
    RESTING     its first message has failed; it is READY again when its rest is over
    (gone)      without messages there is no pair

Accounts take turns, and one that has its share under way is passed over, so that neither a burst
of one account nor slow handlers of one keep others from being delivered.

Invariants: `count`, `bytes_waiting` and both by account are those of the messages held; a
pair stands in at most one queue; an account is in `_turns` exactly while it has a ready pair and
room for one more delivery.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import PairKey
from lithox.dispatch.messages.unsent import Unsent


class PairState(Enum):
    """See the module's header."""

    READY = "ready"
    DELIVERING = "delivering"
    RESTING = "resting"


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message that waits; its content stays in the store, but for what has no row yet.

    Attributes:
        size_bytes: of its row, key included.
        tries: failures that count; kept across restarts.
        stumbles: failures since then that were the node's own and do not count.
        next_ms: wall-clock milliseconds before which it rests, 0 for not at all.
        unsent: what it is while it has no row; its content is here then, within the bounds for
            bytes that wait.
        given_up: its last error, once it has failed elsewhere as often as it may.
    """

    id: str
    account: str
    size_bytes: int
    sent_ms: int
    tries: int = 0
    stumbles: int = 0
    next_ms: int = 0
    unsent: Unsent | None = None
    given_up: Exception | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Pair:
    """The messages of one pair, oldest first."""

    key: PairKey
    entries: deque[Entry] = field(default_factory=deque[Entry])
    state: PairState = PairState.READY


class Waiting:
    """All messages a node knows of."""

    def __init__(self, bounds: MessageBounds) -> None:
        self._bounds = bounds
        self._pairs: dict[PairKey, Pair] = {}
        self._queues: dict[str, deque[Pair]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._resting: list[tuple[int, int, Pair]] = []
        self._rested = 0
        self._ids: set[str] = set()
        self._count_by_account: dict[str, int] = {}
        self._bytes_by_account: dict[str, int] = {}
        self._delivering_by_account: dict[str, int] = {}
        self.count = 0
        self.bytes_waiting = 0
        self.delivering = 0

    # -- what there is ----------------------------------------------------------------------

    def count_of_pair(self, key: PairKey) -> int:
        """Returns how many messages of a pair wait, the one under way included."""
        pair = self._pairs.get(key)
        return 0 if pair is None else len(pair.entries)

    def has(self, message_id: str) -> bool:
        """Returns whether a message waits, the one under way of each pair included."""
        return message_id in self._ids

    def count_of_account(self, account: str) -> int:
        """Returns how many messages of an account wait."""
        return self._count_by_account.get(account, 0)

    def bytes_of_account(self, account: str) -> int:
        """Returns how many bytes the messages of an account have that wait."""
        return self._bytes_by_account.get(account, 0)

    def entries(self) -> Iterator[tuple[PairKey, Entry]]:
        """Returns all messages, in order within each pair."""
        for key, pair in self._pairs.items():
            for entry in pair.entries:
                yield key, entry

    # -- coming and going -------------------------------------------------------------------

    def add(self, key: PairKey, entry: Entry) -> Pair:
        """Puts a message at the end of its pair; the first one makes the pair, READY."""
        self._ids.add(entry.id)
        self._count(entry, 1)
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = Pair(key=key)
            pair.entries.append(entry)
            self.make_ready(pair)
        else:
            pair.entries.append(entry)
        return pair

    def drop_first(self, pair: Pair) -> None:
        """Forgets the first message of a pair that is not in any queue; the pair if it is empty."""
        entry = pair.entries.popleft()
        self._ids.discard(entry.id)
        self._count(entry, -1)
        if not pair.entries:
            del self._pairs[pair.key]

    def _count(self, entry: Entry, change: int) -> None:
        account, size_bytes = entry.account, change * entry.size_bytes
        self.count += change
        self.bytes_waiting += size_bytes
        count = self._count_by_account.get(account, 0) + change
        if count:
            self._count_by_account[account] = count
            whole = self._bytes_by_account.get(account, 0) + size_bytes
            self._bytes_by_account[account] = whole
        else:
            del self._count_by_account[account]
            del self._bytes_by_account[account]

    # -- whose turn it is -------------------------------------------------------------------

    def make_ready(self, pair: Pair) -> None:
        """Puts a pair with messages into the queue of who pays for the first of them."""
        pair.state = PairState.READY
        account = pair.entries[0].account
        self._queues.setdefault(account, deque()).append(pair)
        self._let_take_turns(account)

    def _let_take_turns(self, account: str) -> None:
        under_way = self._delivering_by_account.get(account, 0)
        if under_way < self._bounds.delivering_account_max and self._queues.get(account):
            self._turns.setdefault(account)

    def take_next(self) -> Pair | None:
        """Returns the pair whose first message is to be delivered now, or None; it is DELIVERING.

        Give it back by `end_delivery`.
        """
        if self.delivering >= self._bounds.delivering_max or not self._turns:
            return None
        account, _ = self._turns.popitem(last=False)
        queue = self._queues[account]
        pair = queue.popleft()
        if not queue:
            del self._queues[account]
        pair.state = PairState.DELIVERING
        self.delivering += 1
        under_way = self._delivering_by_account.get(account, 0) + 1
        self._delivering_by_account[account] = under_way
        self._let_take_turns(account)
        return pair

    def end_delivery(self, entry: Entry) -> None:
        """Frees the place that the delivery of `entry` had."""
        self.delivering -= 1
        under_way = self._delivering_by_account[entry.account] - 1
        if under_way:
            self._delivering_by_account[entry.account] = under_way
        else:
            del self._delivering_by_account[entry.account]
        self._let_take_turns(entry.account)

    # -- resting ----------------------------------------------------------------------------

    def rest(self, pair: Pair, until_ns: int) -> None:
        """Lets a pair that is in no queue wait until monotonic `until_ns`."""
        pair.state = PairState.RESTING
        self._rested += 1
        heappush(self._resting, (until_ns, self._rested, pair))

    def wake_rested(self, now_ns: int) -> None:
        """Makes those READY whose rest is over."""
        while self._resting and self._resting[0][0] <= now_ns:
            self.make_ready(heappop(self._resting)[2])

    @property
    def next_wake_ns(self) -> int | None:
        """When the first rest is over, or None."""
        return self._resting[0][0] if self._resting else None
