"""What does the node answer to the functions of `lithox:handler/host`?

Each function of the interface is a row of `FUNCTIONS`: its shapes as in `wit/handler.wit`, and what
answers it for a run. An answer is a value, or an `Ask`: a system call in the protocol of
`sandbox.messages`, and how to read the node's reply to it. JSON becomes stored values and back
here, on the node's side, so that what a component writes is checked before it goes anywhere.

Everything runs after the poll, on the node's own stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import msgspec

from lithox.errors import BadArguments, LithoxError, NotAvailable
from lithox.model.ids import check_state_key
from lithox.model.values import (
    check_value,
    decode_json,
    decode_state,
    decode_value,
    encode_json,
    encode_value,
)
from lithox.sandbox import messages
from lithox.sandbox.component.ended import Ended
from lithox.sandbox.component.run import Run
from lithox.sandbox.component.state import UNKNOWN
from lithox.sandbox.component.values import LIST_BYTES_MAX
from lithox.sandbox.meters import CODE_OUT_OF_MEMORY, CODE_PROTOCOL

INTERFACE: Final = "lithox:handler/host"
VERSION: Final = "1.0.0"
ERROR: Final = "record{code:string,message:string,data:string,traceback:string}"
_NONE: Final = b"null"
_EMPTY_LIST: Final = b"\x90"
"""What a run without arguments begins with."""
LEVELS: Final = ("debug", "info", "warning", "error")

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_page: Final = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]]).decode
_decode_bool: Final = msgspec.msgpack.Decoder(bool).decode
_decode_text: Final = msgspec.msgpack.Decoder(str).decode
_decode_bytes: Final = msgspec.msgpack.Decoder(bytes).decode
_decode_reply: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_status: Final = msgspec.msgpack.Decoder(int).decode
_decode_fields: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode

Raws = list[msgspec.Raw]
Read = Callable[[Raws], Any]


class Ask(NamedTuple):
    """A system call that the guest waits for.

    Attributes:
        message: what the node is asked.
        read: makes the value for the guest of the values of a good reply.
    """

    message: bytes
    read: Read


Answer = Callable[[Run, list[Any]], Any]
"""Answers one call of (run, arguments) with a value or an `Ask`; raises LithoxError to refuse."""


def _ask(read: Read, *parts: Any) -> Ask:
    return Ask(_encode((messages.CONTEXT_SELF, *parts)), read)


def read_reply(ask: Ask, reply: bytes) -> tuple[bool, Any]:
    """Returns the result that the node's `reply` is for the guest: (is ok, value)."""
    values = _decode_reply(reply)
    if _decode_status(values[0]) == 0:
        return True, ask.read(values[1:])
    fields = _decode_fields(values[3])
    text = encode_json(fields) if fields else _NONE
    return False, error_of(_decode_text(values[1]), _decode_text(values[2]), text)


def error_of(code: str, message: str, data: bytes = _NONE) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns the record `error`."""
    return code.encode(), message.encode("utf-8", "replace"), data, b""


def refusal_of(error: LithoxError) -> tuple[bool, Any]:
    """Returns an error of ours as the result of a call."""
    return False, error_of(error.code, error.message, plain_json(error.fields))


def plain_json(fields: dict[str, Any]) -> bytes:
    """Returns fields of an error as JSON, null when there are none."""
    return encode_json(fields) if fields else _NONE


def store_json(text: bytes) -> bytes:
    """Returns the stored form of a value given as JSON; raises BadArguments, TooLarge."""
    return encode_value(decode_json(text))


def show_json(raw: bytes | msgspec.Raw) -> bytes:
    """Returns a stored value as JSON."""
    stored = bytes(raw)
    return b"[]" if stored == _EMPTY_LIST else encode_json(decode_state(stored))


def _store_list(text: bytes) -> msgspec.Raw:
    raw = store_json(text)
    if not messages.is_array(raw):
        raise BadArguments("arguments are a list")
    return msgspec.Raw(raw)


def _store_map(text: bytes) -> msgspec.Raw:
    value = decode_json(text)
    if type(value) is not dict:
        raise BadArguments("this is a map; found something else")
    return msgspec.Raw(encode_value(value))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _info(run: Run, _arguments: list[Any]) -> Any:
    said = run.message
    request_id = None if said.request_id is None else said.request_id.encode()
    return (
        *(said.entity.encode(), said.caller.encode(), request_id),
        *(said.attempt, said.now_ms, said.seed),
    )


def _now(run: Run, _arguments: list[Any]) -> int:
    return run.message.now_ms


def _get(run: Run, arguments: list[Any]) -> Any:
    key = check_state_key(arguments[0].decode())
    state = run.state
    value = state.find(key)
    if value is not UNKNOWN:
        assert isinstance(value, bytes)
        return None if value == messages.NIL else show_json(value)

    def read(values: Raws) -> bytes | None:
        raw = bytes(values[0])
        state.learn(key, raw)
        return None if raw == messages.NIL else show_json(raw)

    return _ask(read, messages.CALL_GET, key)


def _put(run: Run, arguments: list[Any]) -> None:
    key = check_state_key(arguments[0].decode())
    run.state.put(key, store_json(arguments[1]))


def _delete(run: Run, arguments: list[Any]) -> None:
    run.state.put(check_state_key(arguments[0].decode()), messages.NIL)


def _read_page(values: Raws) -> Any:
    items = [(key.encode(), show_json(raw)) for key, raw in _decode_page(values[0])]
    return items, _decode_bool(values[1])


def _scan(run: Run, arguments: list[Any]) -> Ask:
    prefix, after, limit = arguments
    writes = run.state.take_pending()
    return _ask(_read_page, messages.CALL_SCAN, prefix.decode(), _text(after), limit, writes)


def _range(run: Run, arguments: list[Any]) -> Ask:
    first, end, after, limit = arguments
    writes = run.state.take_pending()
    return _ask(
        _read_page, messages.CALL_RANGE, first.decode(), _text(end), _text(after), limit, writes
    )


def _call(run: Run, arguments: list[Any]) -> Ask:
    entity, handler, body = arguments
    args = _store_list(body)
    state = run.state
    reads, writes = sorted(state.reads), state.take_pending()

    def read(values: Raws) -> bytes:
        if _decode_bool(values[1]):
            state.forget()
        return show_json(values[0])

    return _ask(
        read, messages.CALL_CALL, entity.decode(), handler.decode(), args, reads, (), writes
    )


def _generation(run: Run, _arguments: list[Any]) -> int:
    return run.state.generation


def _request(_run: Run, arguments: list[Any]) -> Ask:
    entity, handler, body = arguments
    return _ask(
        lambda values: show_json(values[0]),
        *(messages.CALL_REQUEST, entity.decode(), handler.decode(), _store_list(body)),
    )


def _send(_run: Run, arguments: list[Any]) -> Ask:
    entity, handler, body = arguments
    return _ask(
        lambda values: _decode_text(values[0]).encode(),
        *(messages.CALL_SEND, entity.decode(), handler.decode(), _store_list(body)),
    )


def _schedule(_run: Run, arguments: list[Any]) -> Ask:
    return _ask(
        lambda values: _decode_text(values[0]).encode(),
        *(messages.CALL_SCHEDULE, _store_map(arguments[0])),
    )


def _cancel(_run: Run, arguments: list[Any]) -> Ask:
    return _ask(lambda values: _decode_bool(values[0]), messages.CALL_CANCEL, arguments[0].decode())


def _timers(_run: Run, arguments: list[Any]) -> Ask:
    return _ask(
        lambda values: (show_json(values[0]), _decode_bool(values[1])),
        *(messages.CALL_TIMERS, _text(arguments[0])),
    )


def _big_open(run: Run, arguments: list[Any]) -> Ask:
    def read(values: Raws) -> Any:
        if bytes(values[0]) == messages.NIL:
            return None
        told = decode_state(bytes(values[0]))
        return told.size, told.digest.encode()

    key = check_state_key(arguments[0].decode())
    return _ask(read, messages.CALL_BLOB_OPEN, key, run.state.take_pending())


def _big_read(_run: Run, arguments: list[Any]) -> Ask:
    key, digest, offset, size = arguments
    return _ask(
        lambda values: _decode_bytes(values[0]),
        *(messages.CALL_BLOB_READ, key.decode(), digest.decode()),
        *(min(offset, 1 << 62), min(size, LIST_BYTES_MAX)),
    )


def _big_write(_run: Run, arguments: list[Any]) -> Ask:
    key, token, piece = arguments
    data = bytes(piece)
    return _ask(lambda _values: None, messages.CALL_BLOB_WRITE, key.decode(), token, data)


def _big_close(run: Run, arguments: list[Any]) -> Ask:
    key = check_state_key(arguments[0].decode())
    state = run.state

    def read(values: Raws) -> bytes:
        state.drop(key)
        state.learn(key, bytes(values[1]))
        return _decode_text(values[0]).encode()

    return _ask(read, messages.CALL_BLOB_CLOSE, key, arguments[1])


def _log(run: Run, arguments: list[Any]) -> Any:
    level, text, fields = arguments
    value = decode_json(fields)
    if value is not None and not isinstance(value, dict):
        raise BadArguments("the fields of a log line are a map or null")
    check_value(value)
    if run.is_loading:
        return None
    return make_log(level.decode(), text.decode(), cast("dict[str, Any] | None", value))


def make_log(level: str, text: str, fields: dict[str, Any] | None) -> Ask:
    """Returns the system call that writes a log line."""
    return _ask(lambda _values: None, messages.CALL_LOG, level, text, fields)


def _usage(_run: Run, _arguments: list[Any]) -> Ask:
    return _ask(lambda values: encode_json(decode_value(bytes(values[0]))), messages.CALL_USAGE)


def _out_of_memory(_run: Run, _arguments: list[Any]) -> Any:
    raise Ended(CODE_OUT_OF_MEMORY, "the component's allocator was refused memory")


_KEYED: Final = f"result<_,{ERROR}>"
_JSON: Final = f"result<string,{ERROR}>"
_PAGE: Final = f"result<record{{items:list<tuple<string,string>>,more:bool}},{ERROR}>"
_INFO: Final = (
    "record{entity:string,caller:string,request-id:option<string>,attempt:u32,now:s64,seed:u64}"
)
_BIG: Final = f"result<option<record{{size:u64,digest:string}}>,{ERROR}>"
_MAYBE: Final = "option<string>"

FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], str, Answer]]] = {
    "info": ((), _INFO, _info),
    "now": ((), "s64", _now),
    "get": (("string",), f"result<option<string>,{ERROR}>", _get),
    "put": (("string", "string"), _KEYED, _put),
    "delete": (("string",), _KEYED, _delete),
    "scan": (("string", _MAYBE, "u32"), _PAGE, _scan),
    "range": (("string", _MAYBE, _MAYBE, "u32"), _PAGE, _range),
    "call": (("string", "string", "string"), _JSON, _call),
    "generation": ((), "u32", _generation),
    "request": (("string", "string", "string"), _JSON, _request),
    "send": (("string", "string", "string"), _JSON, _send),
    "schedule": (("string",), _JSON, _schedule),
    "cancel": (("string",), f"result<bool,{ERROR}>", _cancel),
    "timers": ((_MAYBE,), f"result<tuple<string,bool>,{ERROR}>", _timers),
    "big-open": (("string",), _BIG, _big_open),
    "big-read": (("string", "string", "u64", "u32"), f"result<list<u8>,{ERROR}>", _big_read),
    "big-write": (("string", "u32", "list<u8>"), _KEYED, _big_write),
    "big-close": (("string", "u32"), _JSON, _big_close),
    "log": (("enum", "string", "string"), _KEYED, _log),
    "usage": ((), _JSON, _usage),
    "out-of-memory": ((), "_", _out_of_memory),
}
"""Function -> (shapes of its parameters, shape of its result, what answers it)."""

LOADING: Final = frozenset({"log", "out-of-memory"})
"""Functions that a component may call while it is loaded."""


def answer(name: str, run: Run, arguments: list[Any]) -> Any:
    """Answers a call: a value in the result's shape, or an `Ask`.

    Raises:
        Ended: it is the end of the guest.
    """
    _, result, function = FUNCTIONS[name]
    is_fallible = result.startswith("result<")
    try:
        if run.is_loading and name not in LOADING:
            text = f"{name} is not available while a component is loaded"
            if not is_fallible:
                raise Ended(CODE_PROTOCOL, text)
            raise NotAvailable(text)
        value = function(run, arguments)
    except LithoxError as error:
        if not is_fallible:
            raise Ended(CODE_PROTOCOL, error.message) from None
        return refusal_of(error)
    if not is_fallible or isinstance(value, Ask):
        return value
    return True, value
