"""What waits like a message without a row in the outbox: something else says that it is due.

A call that mostly succeeds at its first try costs one commit instead of two when the row that makes
it due goes with the run's own commit. Only when a try has failed does it become a row of the
outbox, so that tries, rests and dead letters exist once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from lithox.dispatch.messages.records import MessageRecord
    from lithox.dispatch.origin import Origin
    from lithox.store.contract import Cell, Snapshot


class Move(NamedTuple):
    """What one commit reads, and writes beside the row of the outbox."""

    reads: list[Cell]
    writes: dict[Cell, bytes | None]


class Unsent(Protocol):
    """One such call."""

    def to_message(self) -> MessageRecord:
        """Returns the message it would be."""
        ...

    def origin(self) -> Origin:
        """Returns what makes a run its delivery."""
        ...

    def plan_move(self, snapshot: Snapshot) -> Move | None:
        """Returns what makes a row of the outbox of it; None when it is due no more.

        Raises:
            StoreUnavailable, StoreCorrupt: it cannot be read.
        """
        ...

    def notify_moved(self) -> None:
        """Hears that the commit of `plan_move` is visible."""
        ...

    def notify_failed(self, error: Exception) -> None:
        """Hears why a try has failed, or why the commit of `plan_move` was withdrawn."""
        ...
