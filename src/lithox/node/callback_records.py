"""The rows of call-backs: each waits, is sent, or is dead, beside the outcome it tells."""

from __future__ import annotations

from typing import Final

import msgspec

from lithox.errors import StoreCorrupt
from lithox.model.ids import EntityPath

CALLBACKS: Final = EntityPath("~lithox/q/callbacks")
"""`<identity>/<request id>` -> CallbackRecord, from the outcome to the receiver's word."""


class CallbackRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call-back.

    Attributes:
        tries: how often it has failed.
        next_ms: when it is tried next, in wall-clock milliseconds since 1970.
        error: of the last try.
        is_dead: it has failed as often as it may.
        account: whose share it takes; "" in rows of before there were shares.
    """

    url: str
    next_ms: int
    tries: int = 0
    error: str = ""
    is_dead: bool = False
    account: str = ""


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_decoder: Final = msgspec.msgpack.Decoder(CallbackRecord)

encode_callback = _encoder.encode


def decode_callback(data: bytes) -> CallbackRecord:
    """Returns the call-back that was stored; raises StoreCorrupt for anything else."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"a stored call-back cannot be read ({error})") from None
