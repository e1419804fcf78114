"""Which messages of other processes have taken effect here: one mark for each pair, never a list.

    ~lithox/q/marks  <digest of sender and receiver> -> MarkRecord

Theory of operation. A message to an entity of another process has its row in the sender's volume
and its effect in the receiver's, so no one commit can do both. The run that it causes writes the
pair's mark in its own commit: up to here everything is done. Only when that is durable and the
sender's process has heard of it, it takes the row away; until then it sends the message again, and
the mark says that there is nothing to do. A mark replaces the one before it, so it costs one row
for each pair of entities however many messages they exchange, and it never expires: a message may
be sent again after a year.

The order of a pair is (epoch, version, position). Version and position are those of the row in the
sender's outbox, which its volume counts upwards. An epoch is one process of the sender's volume,
each greater than the one before: within it places are compared, and what is not behind the mark is
done. A new process may count anew (its volume came from a backup), so of its first message only the
id counts. That is enough: its outbox can hold only one message of a pair that has been done, the
last, because the next one is not sent before the row of the one before is durably gone.

What an older process has sent and is still on its way has no effect: it is refused as stale. Either
it was done by then, or the newer process sends it itself.

Invariants: a pair's mark only grows; it is written by the commit that holds the effect, or by one
that says that the message shall never have one (`void_mark`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from lithox.dispatch.messages.records import derive_id
from lithox.errors import StoreCorrupt, StoreUnavailable
from lithox.model.ids import EntityPath

if TYPE_CHECKING:
    from lithox.dispatch.transaction import Transaction

MARKS: Final = EntityPath("~lithox/q/marks")
STALE_FIELD: Final = "newer_epoch"
"""Field of the error that refuses what an older process has sent: the epoch of the mark."""


class MarkRecord(msgspec.Struct, array_like=True, frozen=True):
    """Up to where the messages of one pair have taken effect here.

    Attributes:
        sender, receiver: the pair, for those who read the store and for moving it elsewhere.
        epoch, version, position: place of the last one in the order of the pair.
        id: of the last one; "" when it was given up and may come back as another one.
    """

    sender: str
    receiver: str
    epoch: int
    version: int
    position: int
    id: str


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(MarkRecord)


def mark_key(sender: str, receiver: str) -> str:
    """Returns the key of a pair's mark under `MARKS`."""
    return derive_id("", sender, receiver)


def decode_mark(data: bytes) -> MarkRecord:
    """Returns the mark that was stored; raises StoreCorrupt for anything else."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored mark of messages cannot be read ({error}); restore the data from a backup"
        ) from None


class SentElsewhere(msgspec.Struct, array_like=True, frozen=True, tag="sent"):
    """Origin of a run that a message from another process causes; see `dispatch.origin`.

    Attributes:
        sender, receiver: the pair.
        id: of the message; also the id of the request that brings it.
        epoch: which process of the sender's volume has sent it.
        version, position: its place in the order of its pair, see `MessageRecord`.
        is_void: it is given up and must take no effect any more, should it be on its way: no run is
            made of it.
    """

    sender: str
    receiver: str
    id: str
    epoch: int
    version: int
    position: int
    is_void: bool = False

    @property
    def records_result(self) -> bool:
        """Nobody asks for its value: the mark says that it is done."""
        return False

    def is_due(self, transaction: Transaction) -> bool:
        """Reads the pair's mark; False when the message has taken effect.

        Raises:
            StoreUnavailable: a newer process of the sender's volume has gone on from here.
            StoreCorrupt: the mark cannot be read.
        """
        return not self.is_behind(transaction.find(MARKS, mark_key(self.sender, self.receiver)))

    def complete(self, transaction: Transaction, body: bytes) -> None:
        """Writes the mark with the effect."""
        del body
        transaction.put(MARKS, mark_key(self.sender, self.receiver), self.to_mark())

    def is_behind(self, mark: bytes | None) -> bool:
        """Returns whether a pair's mark says that this message is done; raises as `is_due`."""
        if mark is None:
            return False
        last = decode_mark(mark)
        if self.epoch < last.epoch:
            fields: dict[str, Any] = {STALE_FIELD: last.epoch}
            raise StoreUnavailable(
                f"a newer process has sent what {self.sender} tells {self.receiver}",
                retry_after_ms=1_000,
                **fields,
            )
        if self.epoch > last.epoch:
            return self.id == last.id
        return (self.version, self.position) <= (last.version, last.position)

    def to_mark(self) -> bytes:
        """Returns the row that says that this message is done, or is never to be."""
        message_id = "" if self.is_void else self.id
        return _encoder.encode(
            MarkRecord(
                self.sender, self.receiver, self.epoch, self.version, self.position, message_id
            )
        )
