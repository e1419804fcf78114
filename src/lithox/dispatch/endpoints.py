"""What a handler may ask of the node: the system calls of context 0.

Every endpoint acts under the guise of the frame's own entity; none takes an entity to act as. An
endpoint that can answer at once returns the answer; `call` returns None and the frame waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from lithox.dispatch.big_values import BigCalls, may_hold_big, put_value
from lithox.dispatch.faults import ends_run
from lithox.dispatch.job import Frame, LogSink
from lithox.dispatch.messages.outbox import check_args
from lithox.dispatch.transaction import range_behind, range_between, range_of_prefix
from lithox.errors import (
    BadArguments,
    ContextInvalid,
    GuestProtocolError,
    LimitExceeded,
    LithoxError,
    NotAvailable,
    meaning_of,
)
from lithox.model.ids import check_state_key
from lithox.model.values import VALUE_BYTES_MAX, decode_value
from lithox.sandbox import messages
from lithox.sandbox.said import (
    FUEL_PER_WEIGHT,
    READS_MAX,
    SCANS_MAX,
    WRITES_MAX,
    GuestDecoder,
    check_count,
    weigh,
)
from lithox.store.contract import Range

SCAN_PAGE_MAX: Final = 256
"""Items in one answer; the guest asks again for more."""
SCAN_PAGE_BYTES_MAX: Final = 1 << 20
LOG_TEXT_CHARACTERS_MAX: Final = 8192
LEVELS: Final = ("debug", "info", "warning", "error")

_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str))
_maybe_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str | None))
_integer: Final = GuestDecoder(msgspec.msgpack.Decoder(int))
_texts: Final = GuestDecoder(msgspec.msgpack.Decoder(list[str]))
_used: Final = GuestDecoder(msgspec.msgpack.Decoder(list[messages.Used]))
_writes: Final = GuestDecoder(msgspec.msgpack.Decoder(dict[str, msgspec.Raw]))

Raws = list[msgspec.Raw]
StartCall = Callable[[Frame, str, str, bytes], None]
"""(caller, entity, handler, args): starts a joined callee; raises LithoxError to refuse."""
Endpoint = Callable[[Frame, Raws], bytes | None]
"""Answers one system call; None when the frame must wait. Raises LithoxError to refuse."""


def merge_state(
    frame: Frame, reads: list[str], scans: list[messages.Used], writes: dict[str, Any]
) -> None:
    """Takes what a guest says it has read and written of its own state into the transaction.

    Raises:
        BadArguments: a key that no guest may own.
        GuestProtocolError: a value that is not plain data.
        LimitExceeded: more state written than the run may.
    """
    transaction = frame.job.transaction
    if transaction is None:
        raise GuestProtocolError("a guest spoke after its transaction had ended")
    entity = frame.entity
    for key in reads:
        transaction.reads.add((entity, key))
    for scanned in scans:
        if isinstance(scanned, str):
            transaction.add_range(range_of_prefix(entity, scanned))
        else:
            transaction.add_range(range_between(entity, *scanned))
    may_replace_big = bool(writes) and may_hold_big(frame, transaction)
    for key, raw in writes.items():
        check_state_key(key)
        given = bytes(raw)
        value = None if given == messages.NIL else given
        if len(given) > VALUE_BYTES_MAX:
            raise BadArguments(f"a value has at most {VALUE_BYTES_MAX} bytes")
        if value is not None:
            _check_plain(value)
        if may_replace_big:
            put_value(transaction.put, entity, key, transaction.find(entity, key), value)
        else:
            transaction.put(entity, key, value)
    allowed = frame.limits.state_bytes
    used = transaction.writes_bytes - frame.state_bytes_before
    if writes and allowed is not None and used > allowed:
        raise LimitExceeded(
            f"the run writes {used} bytes of state; it may write {allowed}",
            limit="state",
            used=used,
            allowed=allowed,
        )


def _check_plain(value: bytes) -> None:
    try:
        decode_value(value)
    except BadArguments as error:
        raise GuestProtocolError(
            f"the guest wrote a value that is not plain: {error.message}"
        ) from None


class Endpoints:
    """Answers system calls of frames."""

    def __init__(
        self, *, start_call: StartCall, log: LogSink, more: Mapping[str, Endpoint]
    ) -> None:
        self._start_call = start_call
        self._log = log
        self.big = BigCalls(merge=lambda frame, writes: merge_state(frame, [], [], writes))
        self._by_name: dict[str, Callable[[Frame, Raws], bytes | None]] = {
            messages.CALL_GET: self._get,
            messages.CALL_SCAN: self._scan,
            messages.CALL_RANGE: self._range,
            messages.CALL_CALL: self._call,
            messages.CALL_LOG: self._write_log,
            messages.CALL_USAGE: self._usage,
            messages.CALL_REQUEST: self._not_available,
            messages.CALL_SEND: self._not_available,
            messages.CALL_SCHEDULE: self._not_available,
            messages.CALL_CANCEL: self._not_available,
            messages.CALL_TIMERS: self._not_available,
            **self.big.by_name(),
            **more,
        }

    def answer(self, frame: Frame, data: bytes) -> bytes | None:
        """Returns the answer to the system call `data`, or None when the frame must wait for it.

        A refusal is an answer too; only a guest that breaks the protocol itself is ended.

        Raises:
            Conflict: what the run reads is gone; it begins again, and its guest hears of nothing.
            LithoxError: a fault of the node (`dispatch.faults`); it ends the run.
            GuestProtocolError: not a system call at all.
            LimitExceeded: the call uses up a limit; it ends the run.
        """
        weight = weigh(data)
        if weight:
            _charge_weight(frame, weight)
        try:
            call = messages.decode_call(data)
            context, name = _integer.decode(call[0]), _text.decode(call[1])
        except IndexError as error:
            raise GuestProtocolError(f"not a system call: {error}") from None
        except GuestProtocolError as error:
            raise GuestProtocolError(f"not a system call: {error.message}") from None
        try:
            if context != messages.CONTEXT_SELF:
                raise ContextInvalid(f"this process holds no context {context}")
            endpoint = self._by_name.get(name)
            if endpoint is None:
                raise ContextInvalid(f"context 0 has no call {name[:80]!r}")
            return endpoint(frame, call)
        except LimitExceeded:
            raise
        except IndexError as error:
            return refuse(GuestProtocolError(f"arguments of {name[:80]!r}: {error}"))
        except GuestProtocolError as error:
            return refuse(GuestProtocolError(f"arguments of {name[:80]!r}: {error.message}"))
        except LithoxError as error:
            if ends_run(error):
                raise
            return refuse(error)

    def go_on(self, frame: Frame) -> bytes | None:
        """Makes the joined call that has waited for its entity; as `answer`."""
        assert frame.next_call is not None
        try:
            self._start_call(frame, *frame.next_call)
        except LimitExceeded:
            raise
        except LithoxError as error:
            if ends_run(error):
                raise
            return refuse(error)
        return None

    def _get(self, frame: Frame, call: Raws) -> bytes:
        key = check_state_key(_text.decode(call[2]))
        transaction = frame.job.transaction
        assert transaction is not None
        value = transaction.find(frame.entity, key)
        return messages.encode_answer(msgspec.Raw(messages.NIL if value is None else value))

    def _scan(self, frame: Frame, call: Raws) -> bytes:
        area = range_of_prefix(frame.entity, _maybe_text.decode(call[2]) or "")
        return self._page(frame, area, call[3:])

    def _range(self, frame: Frame, call: Raws) -> bytes:
        start, end = _maybe_text.decode(call[2]) or "", _maybe_text.decode(call[3])
        return self._page(frame, range_between(frame.entity, start, end), call[4:])

    @staticmethod
    def _page(frame: Frame, area: Range, rest: Raws) -> bytes:
        """Answers a page of `area`; `rest` is [after, limit, writes]."""
        after = _maybe_text.decode(rest[0])
        limit = min(max(_integer.decode(rest[1]), 1), SCAN_PAGE_MAX)
        merge_state(frame, [], [], decode_writes(rest[2]))
        transaction = frame.job.transaction
        assert transaction is not None
        if after:
            area = range_behind(area, after)
        found, more = transaction.scan(frame.entity, area, limit, bytes_max=SCAN_PAGE_BYTES_MAX)
        return messages.encode_answer([(key, msgspec.Raw(value)) for key, value in found], more)

    def _call(self, frame: Frame, call: Raws) -> bytes | None:
        entity, handler = _text.decode(call[2]), _text.decode(call[3])
        check_count(call[5], READS_MAX, "keys read")
        check_count(call[6], SCANS_MAX, "prefixes and ranges")
        writes = decode_writes(call[7])
        merge_state(frame, _texts.decode(call[5]), _used.decode(call[6]), writes)
        check_args(call[4])
        self._start_call(frame, entity, handler, bytes(call[4]))
        return None

    def _write_log(self, frame: Frame, call: Raws) -> bytes:
        level, text = _text.decode(call[2]), _text.decode(call[3])
        if level not in LEVELS:
            raise BadArguments(f"a log level is one of {', '.join(LEVELS)}; found {level[:40]!r}")
        add_output(frame, sum(map(len, call)))
        fields: Any = decode_value(bytes(call[4]))
        if not isinstance(fields, dict | None):
            raise BadArguments(f"fields of a log line are a map; found {type(fields).__name__}")
        held = cast("dict[str, Any]", fields or {})
        self._log(frame, level, text[:LOG_TEXT_CHARACTERS_MAX], held)
        return messages.encode_answer()

    def _usage(self, frame: Frame, call: Raws) -> bytes:
        del call
        guest = frame.guest
        assert guest is not None
        limits = frame.limits
        return messages.encode_answer(
            {
                "used": {
                    "fuel": guest.fuel_used,
                    "memory": guest.memory_bytes,
                    "output": frame.output_bytes,
                },
                "allowed": {
                    "fuel": limits.fuel,
                    "memory": limits.memory_bytes,
                    "output": limits.output_bytes,
                    "wall_ms": None if limits.wall_ns is None else limits.wall_ns // 1_000_000,
                    "calls": limits.calls,
                    "state": limits.state_bytes,
                    "big": limits.big_bytes,
                },
            }
        )

    def _not_available(self, frame: Frame, call: Raws) -> bytes:
        del frame
        name = _text.decode(call[1])
        raise NotAvailable(f"self:{name} is not there yet; use self:call")


def decode_writes(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Returns what a guest says it has written, values undecoded.

    Raises:
        GuestProtocolError: no map with text keys.
        LimitExceeded: more keys than one message may write.
    """
    check_count(raw, WRITES_MAX, "keys written")
    return _writes.decode(raw)


def _charge_weight(frame: Frame, weight: int) -> None:
    """Has a guest pay for the reading of a long system call, before it is read.

    Raises:
        LimitExceeded: it has not as much fuel left.
    """
    guest, price = frame.guest, weight * FUEL_PER_WEIGHT
    assert guest is not None
    before = guest.fuel_used
    guest.charge(price, 0)
    if guest.fuel_used - before < price:
        raise LimitExceeded(
            f"{frame.entity}:{frame.handler} used up its fuel of {frame.limits.fuel} with a system "
            f"call whose items cost {price}",
            limit="fuel",
            used=guest.fuel_used,
            allowed=frame.limits.fuel,
        )


def add_output(frame: Frame, size_bytes: int) -> None:
    """Charges output to a frame; raises LimitExceeded past its bound."""
    frame.output_bytes += size_bytes
    allowed = frame.limits.output_bytes
    if allowed is not None and frame.output_bytes > allowed:
        raise LimitExceeded(
            f"the run puts out {frame.output_bytes} bytes; it may put out {allowed}",
            limit="output",
            used=frame.output_bytes,
            allowed=allowed,
        )


def refuse(error: LithoxError) -> bytes:
    """Returns an error as the answer to a system call."""
    fields = error.to_fields()
    message = str(fields.pop("message"))
    return messages.encode_refusal(meaning_of(error.code).guest_status, error.code, message, fields)
