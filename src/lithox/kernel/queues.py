"""Queues: who listens, what is kept for a listener that is slow, and what it loses.

A push by the owner of a context goes to every holder that listens to that queue in that context
(never back to the owner); a push by a holder goes to the owner, if it listens. What a listener has
not pulled yet is bounded by its limit and by its mailbox. Beyond that a message is lost: the oldest
of that queue (`drop_oldest`, the default) or the new one (`drop_newest`). The pusher is told how
many were lost, and the next message event tells the listener how many it has missed.

Invariants: a push never waits; `Listener.pending` are exactly its messages that are queued and not
dropped, in the mailbox's order, at most `limit`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from lithox.errors import BadArguments

if TYPE_CHECKING:
    from lithox.kernel.parties import Party

DROP_OLDEST: Final = "drop_oldest"
DROP_NEWEST: Final = "drop_newest"


class Message:
    """One message in one mailbox."""

    __slots__ = ("args", "charged_bytes", "is_dropped", "listener", "sender_pid")

    def __init__(self, listener: Listener, sender_pid: int, args: bytes, size: int) -> None:
        self.listener = listener
        self.sender_pid = sender_pid
        self.args = args
        self.charged_bytes = size
        self.is_dropped = False


class Listener:
    """One process listening to one queue under one of its numbers.

    Attributes:
        missed: messages it has lost since its last message event.
    """

    __slots__ = ("is_dropping_newest", "limit", "missed", "number", "party", "pending", "queue")

    def __init__(self, party: Party, number: int, queue: str) -> None:
        self.party = party
        self.number = number
        self.queue = queue
        self.limit = 0
        self.is_dropping_newest = False
        self.missed = 0
        self.pending: deque[Message] = deque()


def check_overflow(overflow: str | None) -> bool:
    """Returns whether the newest message is dropped; raises BadArguments for an unknown word."""
    if overflow is None or overflow == DROP_OLDEST:
        return False
    if overflow == DROP_NEWEST:
        return True
    raise BadArguments(f"overflow is {DROP_OLDEST!r} or {DROP_NEWEST!r}; found {overflow[:40]!r}")


def check_name(name: str, bytes_max: int, what: str) -> None:
    """Checks a name of a call or a queue: any text of 1 to `bytes_max` UTF-8 bytes.

    Raises:
        BadArguments: it is not one.
    """
    if not name or len(name) > bytes_max or len(name.encode()) > bytes_max:
        raise BadArguments(
            f"{what} is 1 to {bytes_max} bytes of text; found {len(name)} characters: {name[:40]!r}"
        )
