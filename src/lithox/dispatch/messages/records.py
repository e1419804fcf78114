"""What a message is while it waits, and the cells it waits in.

    ~lithox/q/outbox  <message id> -> MessageRecord            it has not taken effect yet
    ~lithox/q/tries   <message id> -> TriesRecord              how often it has failed so far
    ~lithox/q/dead    <message id> -> DeadRecord               it failed as often as it may

Invariants: a message is in the outbox or among the dead, never in both; its place in the order of
its pair is (version of its row, position), so nothing else needs to be kept in step with the rows.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, TypeVar

import msgspec

from lithox.errors import StoreCorrupt
from lithox.model.ids import EntityPath

OUTBOX: Final = EntityPath("~lithox/q/outbox")
TRIES: Final = EntityPath("~lithox/q/tries")
DEAD: Final = EntityPath("~lithox/q/dead")
ID_DIGITS: Final = 40
"""Hexadecimal digits of an id: 160 bits, so that two messages never get the same by chance."""


class PairKey(NamedTuple):
    """Within one of these messages keep their order; `lane` is "" or the id of a timer."""

    sender: str
    receiver: str
    lane: str


class MessageRecord(msgspec.Struct, array_like=True, frozen=True):
    """One message as stored.

    Attributes:
        sender: entity whose run sent it; the receiver is called as `entity:<sender>`.
        receiver: entity whose handler it is for.
        args: MessagePack array of arguments.
        account: who pays: the one that began the chain of messages and requests.
        owner: who owned the sender, for entities the receiver makes.
        hops: how many messages and requests led to it, itself included.
        sent_ms: wall-clock milliseconds since 1970.
        position: its place among what the same run sent.
        lane: "", or the timer that sent it: each keeps an order of its own.
    """

    sender: EntityPath
    receiver: EntityPath
    handler: str
    args: msgspec.Raw
    account: str
    owner: str
    hops: int
    sent_ms: int
    position: int
    lane: str = ""

    @property
    def pair(self) -> PairKey:
        """Who must not see it before older ones of the same pair."""
        return PairKey(self.sender, self.receiver, self.lane)


class TriesRecord(msgspec.Struct, array_like=True, frozen=True):
    """How often a message has failed, and the wall-clock millisecond before which it rests."""

    tries: int
    next_ms: int


class DeadRecord(msgspec.Struct, array_like=True, frozen=True):
    """A message that failed as often as it may.

    Attributes:
        message: its row of the outbox, byte for byte.
        tries: how often it was tried.
        code, text: its last error.
        died_ms: wall-clock milliseconds since 1970.
    """

    message: bytes
    tries: int
    code: str
    text: str
    died_ms: int


_encoder: Final = msgspec.msgpack.Encoder()
_message_decoder: Final = msgspec.msgpack.Decoder(MessageRecord)
_tries_decoder: Final = msgspec.msgpack.Decoder(TriesRecord)
_dead_decoder: Final = msgspec.msgpack.Decoder(DeadRecord)
_Record = TypeVar("_Record")

encode_message = _encoder.encode
encode_tries = _encoder.encode
encode_dead = _encoder.encode


def decode_message(data: bytes) -> MessageRecord:
    """Returns the message that was stored; raises StoreCorrupt for anything else."""
    return _decode(_message_decoder, data, "message")


def decode_tries(data: bytes) -> TriesRecord:
    """Returns the tries that were stored; raises StoreCorrupt for anything else."""
    return _decode(_tries_decoder, data, "record of tries")


def decode_dead(data: bytes) -> DeadRecord:
    """Returns the dead letter that was stored; raises StoreCorrupt for anything else."""
    return _decode(_dead_decoder, data, "dead letter")


def _decode(decoder: msgspec.msgpack.Decoder[_Record], data: bytes, what: str) -> _Record:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored {what} cannot be read ({error}); restore the data from a backup"
        ) from None


def derive_id(prefix: str, *parts: str | int) -> str:
    """Returns `prefix` and the first 40 hexadecimal digits of SHA-256 over `parts`.

    Every part is written with its length before it, so no two lists of parts look alike.
    """
    whole = "".join([f"{len(str(part))}:{part}" for part in parts])
    if not whole.isascii():
        whole = "".join([f"{len(str(part).encode())}:{part}" for part in parts])
    return prefix + hashlib.sha256(whole.encode()).hexdigest()[:ID_DIGITS]
