"""What memory holds of accepted requests: one bounded record of each, by key.

Invariants: counts and bytes are those of the entries that are held; an acceptance that would go
beyond a bound is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from lithox.dispatch.accepted_records import ResultBounds, key_of
from lithox.dispatch.job import OnAnswer
from lithox.errors import Overloaded

OnAccepted = Callable[["Exception | None"], None]
"""Told None once the acceptance is durable, else why there is none."""
RETRY_AFTER_MS: Final = 1_000


class State(Enum):
    """Where an accepted request stands."""

    ACCEPTING = "accepting"
    WAITING = "waiting"
    RUNNING = "running"
    RESTING = "resting"
    FINISHING = "finishing"


@dataclass(slots=True, kw_only=True)
class Entry:
    """What memory holds of one accepted request."""

    identity: str
    request_id: str
    account: str
    digest: bytes
    size_bytes: int
    state: State = State.ACCEPTING
    tries: int = 0
    accepting: list[OnAccepted] = field(default_factory=list[OnAccepted])
    watchers: dict[object, OnAnswer] = field(default_factory=dict[object, OnAnswer])

    @property
    def key(self) -> str:
        return key_of(self.identity, self.request_id)


class AcceptedTable:
    """The entries of one node."""

    def __init__(self, bounds: ResultBounds) -> None:
        self._bounds = bounds
        self._entries: dict[str, Entry] = {}
        self._count_by_account: dict[str, int] = {}
        self._bytes_by_account: dict[str, int] = {}
        self.bytes_used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def find(self, key: str) -> Entry | None:
        """Returns the entry under `key`, or None."""
        return self._entries.get(key)

    def entries(self) -> list[Entry]:
        """Returns all entries, oldest first."""
        return list(self._entries.values())

    def check_bounds(self, entry: Entry) -> None:
        """Raises Overloaded when `entry` would be one too many."""
        bounds, account = self._bounds, entry.account
        if self._count_by_account.get(account, 0) >= bounds.accepted_account_max:
            raise Overloaded(
                f"{bounds.accepted_account_max} accepted requests of account {account} wait, "
                "which is its bound; try again",
                retry_after_ms=RETRY_AFTER_MS,
            )
        own_bytes = self._bytes_by_account.get(account, 0)
        if own_bytes + entry.size_bytes > bounds.accepted_account_bytes_max:
            raise Overloaded(
                f"accepted requests of account {account} wait with {own_bytes} bytes, of "
                f"{bounds.accepted_account_bytes_max} that they may have; try again",
                retry_after_ms=RETRY_AFTER_MS,
            )
        if (
            len(self._entries) >= bounds.accepted_max
            or self.bytes_used + entry.size_bytes > bounds.accepted_bytes_max
        ):
            raise Overloaded(
                "the node has accepted as many requests as it may; try again",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def add(self, entry: Entry) -> None:
        """Holds `entry`, which is not there yet."""
        self._entries[entry.key] = entry
        self.bytes_used += entry.size_bytes
        self._count_by_account[entry.account] = self._count_by_account.get(entry.account, 0) + 1
        own_bytes = self._bytes_by_account.get(entry.account, 0)
        self._bytes_by_account[entry.account] = own_bytes + entry.size_bytes

    def remove(self, entry: Entry) -> None:
        """Lets go of `entry`. Idempotent."""
        if self._entries.pop(entry.key, None) is None:
            return
        self.bytes_used -= entry.size_bytes
        left = self._count_by_account[entry.account] - 1
        if left:
            self._count_by_account[entry.account] = left
            self._bytes_by_account[entry.account] -= entry.size_bytes
        else:
            del self._count_by_account[entry.account]
            del self._bytes_by_account[entry.account]
