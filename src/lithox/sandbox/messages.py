"""The messages between node and guest: one protocol for every language, MessagePack arrays.

Shapes, as arrays in field order:

    run      [handler, args, entity, caller, request_id, attempt, now_ms, seed, state, complete]
    outcome  [0, value, reads, scans, writes]                            the handler returned
             [1, error, reads, scans, writes]                            the handler raised
    call     [context, name, ...arguments]
    answer   [status, ...values]           status 0; else [status, code, message, fields]

State values travel as they are stored (canonical MessagePack), undecoded by the node. A written
value nil deletes the key. `reads` are the keys whose value or absence the guest used, `scans` what
it used whole: a prefix is text, a range `[from, to]` (`to` nil: to the last key). What the node
itself showed in answers is in the read set anyway. The guest is trusted with its own entity's read
set only: lying about it harms nobody else.

Programs speak the same protocol with two more fields, because contexts may travel with values
(docs/explanation/processes.md):

    load     [name, text, preludes]; preludes [[name, text], ...]
    run      [args, now_ms, seed, info]
    outcome  [0, values]                                                 the main code returned
             [1, error]                                                  it raised
    call     [0, name, ...arguments, shared]     shared: context numbers that travel with this call
    answer   [status, contexts, ...values]       contexts: the receiver's numbers for those that
                                                 travelled; else [status, [], code, message]

Inside the values of a call or answer, a context is MessagePack extension type `EXT_CONTEXT` whose
four bytes are a big-endian index into that list.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lithox.errors import GuestProtocolError
from lithox.sandbox.said import (
    READS_MAX,
    SCANS_MAX,
    WRITES_MAX,
    GuestDecoder,
    check_count,
    weigh,
)

CONTEXT_SELF: Final = 0
"""The context every process has from birth: its endpoints to the node."""

OUTCOME_RETURNED: Final = 0
OUTCOME_RAISED: Final = 1

CALL_GET: Final = "get"  # [0, "get", key] -> [0, value | nil]
CALL_SCAN: Final = (
    "scan"  # [0, "scan", prefix, after, limit, writes] -> [0, [[key, value]...], more]
)
CALL_CALL: Final = "call"
# [0, "call", entity, handler, args, reads, scans, writes] -> [0, value, changed]; changed: bool,
# true when a cycle of calls has changed the caller's own state, so its cache must be dropped.
CALL_LOG: Final = "log"  # [0, "log", level, text, fields] -> [0]
CALL_USAGE: Final = "usage"  # [0, "usage"] -> [0, {"used": {...}, "allowed": {...}}]
CALL_REQUEST: Final = "request"
# [0, "request", entity, handler, args] -> [0, value]
CALL_SEND: Final = "send"  # [0, "send", entity, handler, args] -> [0, message id]
CALL_SCHEDULE: Final = "schedule"
# [0, "schedule", {handler, args, after | at | every | cron, zone, name, missed}] -> [0, timer id]
CALL_CANCEL: Final = "cancel"  # [0, "cancel", timer id] -> [0, was there]
CALL_TIMERS: Final = "timers"  # [0, "timers", after | nil] -> [0, [{id, handler, ...}...], more]
CALL_RANGE: Final = "range"
# [0, "range", from, to | nil, after | nil, limit, writes] -> [0, [[key, value]...], more]
CALL_BLOB_OPEN: Final = "blob_open"  # [0, "blob_open", key, writes] -> [0, nil | big value]
CALL_BLOB_READ: Final = "blob_read"
# [0, "blob_read", key, digest, offset, size] -> [0, bytes]; fewer than asked only at the end.
# Refused when the key holds another value than that of `digest` (64 hexadecimal digits).
CALL_BLOB_WRITE: Final = "blob_write"
# [0, "blob_write", key, token, bytes] -> [0]; the first one with a token (a number the guest
# chooses) begins a value, which counts only once it is closed.
CALL_BLOB_CLOSE: Final = "blob_close"  # [0, "blob_close", key, token] -> [0, digest, big value]

NIL: Final = b"\xc0"

Used = str | tuple[str, str | None]
"""What was used whole: a prefix, or a range (from, to)."""

EXT_CONTEXT: Final = 1
"""MessagePack extension type of a context inside values: an index, four bytes, big-endian."""


class ProgramMessage(msgspec.Struct, array_like=True, gc=False):
    """What a program's process begins with.

    Attributes:
        args: MessagePack array of arguments.
        now_ms: wall-clock milliseconds since 1970 at the process's start.
        seed: 63-bit seed of all its randomness.
        info: what `os.info()` says at first: pid, name, runtime, mode, contexts, parent.
    """

    args: msgspec.Raw
    now_ms: int
    seed: int
    info: dict[str, Any]


class ProgramOutcome(msgspec.Struct, array_like=True, gc=False):
    """How main code ended: the array of its values, or an `ErrorMessage` when kind is RAISED."""

    kind: int
    body: msgspec.Raw


class RunMessage(msgspec.Struct, array_like=True, gc=False):
    """What a handler run begins with.

    Attributes:
        args: MessagePack array of arguments.
        now_ms: wall-clock milliseconds since 1970 at the run's start.
        seed: 63-bit seed of all the run's randomness.
        state: keys sent along, value undecoded.
        complete: `state` is the whole state; a key not in it is absent.
    """

    handler: str
    args: msgspec.Raw
    entity: str
    caller: str
    request_id: str | None
    attempt: int
    now_ms: int
    seed: int
    state: dict[str, msgspec.Raw]
    complete: bool


class ErrorMessage(msgspec.Struct, array_like=True, gc=False):
    """What a handler raised.

    Attributes:
        code: the error table's own `code` when it has one that is text, else "".
        message: text of the error, bounded by the guest.
        traceback: where it came from, for the log and the owner.
        data: the error value when it is plain data, else nil.
    """

    code: str
    message: str
    traceback: str
    data: msgspec.Raw


class OutcomeMessage(msgspec.Struct, array_like=True, gc=False):
    """How a handler ended. `body` is the value, or an `ErrorMessage` when kind is RAISED."""

    kind: int
    body: msgspec.Raw
    reads: list[str]
    scans: list[Used]
    writes: dict[str, msgspec.Raw]


class _CountedOutcome(msgspec.Struct, array_like=True, gc=False):
    """An `OutcomeMessage` with its lists undecoded."""

    kind: int
    body: msgspec.Raw
    reads: msgspec.Raw
    scans: msgspec.Raw
    writes: msgspec.Raw


_encoder: Final = msgspec.msgpack.Encoder()
_outcome_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(OutcomeMessage))
_counted_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(_CountedOutcome))
_program_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(ProgramOutcome))
_error_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(ErrorMessage))
_call_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(list[msgspec.Raw]))

encode_run = _encoder.encode
encode_program = _encoder.encode
decode_program_outcome = _program_decoder.decode
decode_error = _error_decoder.decode
decode_call = _call_decoder.decode
"""Returns [context, name, ...arguments], each undecoded; raises GuestProtocolError."""


def decode_outcome(data: bytes) -> OutcomeMessage:
    """Returns how a handler ended; reads nothing that holds more items than one message may.

    Raises:
        GuestProtocolError: it cannot be read.
        LimitExceeded: too many items; too many keys read or written, or scans.
    """
    if b"\x90" <= data[:1] < b"\x95":
        raise GuestProtocolError("an outcome has five fields")
    if weigh(data):
        counted = _counted_decoder.decode(data)
        check_count(counted.reads, READS_MAX, "keys read")
        check_count(counted.scans, SCANS_MAX, "prefixes and ranges")
        check_count(counted.writes, WRITES_MAX, "keys written")
    return _outcome_decoder.decode(data)


def encode_answer(*values: Any) -> bytes:
    """Returns [0, ...values]; `msgspec.Raw` values are copied as they are."""
    return _encoder.encode((0, *values))


def encode_refusal(status: int, code: str, message: str, fields: dict[str, Any]) -> bytes:
    """Returns [status, code, message, fields]."""
    return _encoder.encode((status, code, message, fields))


def encode_program_answer(contexts: list[int], *values: Any) -> bytes:
    """Returns [0, contexts, ...values], a program's answer."""
    return _encoder.encode((0, contexts, *values))


def encode_program_refusal(status: int, code: str, message: str) -> bytes:
    """Returns [status, [], code, message]."""
    return _encoder.encode((status, (), code, message))


def splice_answer(status: int, contexts: list[int], values: bytes) -> bytes:
    """Returns [status, contexts, ...values] where `values` is an encoded array, copied as it is."""
    first = values[0]
    if first & 0xF0 == 0x90:
        count, start = first & 0x0F, 1
    elif first == 0xDC:
        count, start = int.from_bytes(values[1:3]), 3
    else:
        count, start = int.from_bytes(values[1:5]), 5
    count += 2
    if count < 0x10:
        header = bytes((0x90 | count,))
    elif count < 0x10000:
        header = b"\xdc" + count.to_bytes(2)
    else:
        header = b"\xdd" + count.to_bytes(4)
    return header + _encoder.encode(status) + _encoder.encode(contexts) + values[start:]


def is_array(data: bytes | memoryview) -> bool:
    """Returns whether encoded `data` is an array."""
    first = data[0]
    return first & 0xF0 == 0x90 or first in (0xDC, 0xDD)
