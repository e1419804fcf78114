"""The rows of requests that were accepted to be answered later, and the bounds of them.

A request waits as a cell of `ACCEPTED` under `<identity>/<request id>` until its outcome is known.
The outcome is a recorded answer like any other: that of a success stands where a waiting caller's
would stand (so one id runs once, whichever way it was asked), and a pointer to it, or the error
itself, stands under `ASYNC_PLACE`, where it is found without knowing the entity.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from lithox.errors import ConfigError, StoreCorrupt
from lithox.model.ids import EntityPath

ACCEPTED: Final = EntityPath("~lithox/q/async")
ASYNC_PLACE: Final = "~lithox/async"
CLAIM_PLACE: Final = "~lithox/accepted"
"""Where the node of several that accepts an id first records that; its answer is empty."""
HOUR_NS: Final = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultBounds:
    """How long results are kept and how many requests wait; the table `[results]`.

    Attributes:
        kept_ns: how long the outcome of a request with an id is kept.
        accepted_account_max: accepted requests of one account that may wait or run.
        accepted_account_bytes_max: bytes of their rows.
        accepted_max: accepted requests of the node that may wait or run.
        accepted_bytes_max: bytes of their rows.
        running_max: accepted requests that run at the same time.
        running_account_max: how many of those may be of one account.
    """

    kept_ns: int = 24 * HOUR_NS
    accepted_account_max: int = 10_000
    accepted_account_bytes_max: int = 64 << 20
    accepted_max: int = 100_000
    accepted_bytes_max: int = 256 << 20
    running_max: int = 256
    running_account_max: int = 64

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"results: {field.name} is a whole number above 0")


DEFAULT_RESULTS: Final = ResultBounds()


class AcceptedRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accepted request.

    Attributes:
        args: the encoded list of arguments; of a group, of [entity, handler, arguments].
        digest: SHA-256 of what is asked, by which a repeated acceptance is known.
        deadline_ms: wall-clock milliseconds since 1970 after which it must not run, or None.
        callback: where its outcome is sent besides, or None.
        is_done: it has taken effect, in the commit that wrote this; what is missing is the pointer.
    """

    entity: str
    handler: str
    args: bytes
    identity: str
    account: str
    digest: bytes
    accepted_ms: int
    is_admin: bool = False
    deadline_ms: int | None = None
    limits: dict[str, int] = {}
    callback: str | None = None
    is_group: bool = False
    is_done: bool = False


class PointerRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is recorded under `ASYNC_PLACE` once the outcome is known.

    Attributes:
        place: where the answer of a success is recorded.
        code: of the error, or None for a success.
        fields: of the error, its message among them.
    """

    place: str
    code: str | None = None
    fields: dict[str, Any] = {}


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_accepted: Final = msgspec.msgpack.Decoder(AcceptedRecord)
_pointer: Final = msgspec.msgpack.Decoder(PointerRecord)

encode_accepted = _encoder.encode
encode_pointer = _encoder.encode


def decode_accepted(data: bytes) -> AcceptedRecord:
    """Returns the accepted request that was stored; raises StoreCorrupt for anything else."""
    try:
        return _accepted.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"a stored accepted request cannot be read ({error})") from None


def decode_pointer(data: bytes) -> PointerRecord:
    """Returns the pointer that was recorded; raises StoreCorrupt for anything else."""
    try:
        return _pointer.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"a stored outcome cannot be read ({error})") from None


def key_of(identity: str, request_id: str) -> str:
    """Returns the key of a row; no identity from outside holds a slash."""
    return f"{identity}/{request_id}"
