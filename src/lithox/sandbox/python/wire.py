"""What goes over the pipe between the node and a Python worker?

The worker is the `monty` binary of the package `pydantic-monty-runtime`; its documented protocol is
frames of a four-byte little-endian length and a protobuf message. The parent writes one request;
the child answers with any number of prints and one event that ends the turn. This module knows the
field numbers of exactly one version of that protocol and nothing else of the package; it is pure.
It is long because both directions stand together: who changes the version compares one file.

Only text crosses as a value (`values.py` says what is in it), so that a frame of a hostile worker
costs a handful of slices: every message is refused beyond `FIELDS_MAX` fields.

Source: the protocol's schema in the project's `crates/monty-proto`, and frames recorded between the
package's own client and its worker at `RUNTIME_VERSION`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

RUNTIME_VERSION: Final = "1.4.0"
"""The one version of the package these field numbers are of."""
PROTOCOL_VERSION: Final = 6
FIELDS_MAX: Final = 4096
"""Fields of one message that are read at all; a traceback of a thousand frames has that many."""
LENGTH_BYTES: Final = 4
_PRINT_FLUSH_MS: Final = 1000
"""Output waits that long for company in the worker; it always leaves before a turn ends."""
_FORMAT_JSON_LINES: Final = 5

RANDOM_BYTES_MAX: Final = 1 << 16
"""Bytes of `os.urandom` in one answer; the generator's own state is 2,496."""
_UNIT: Final = b""


class WireError(Exception):
    """A frame that no healthy worker sends."""


class EventKind(IntEnum):
    """The arms of `ChildEvent` by their field number."""

    PRINT = 1
    FUNCTION_CALL = 2
    OS_CALL = 3
    NAME_LOOKUP = 4
    RESOLVE_FUTURES = 5
    COMPLETE = 6
    ERROR = 7
    TYPING_ERROR = 8
    DUMPED = 9
    OK = 10
    FATAL = 11


class Frame(NamedTuple):
    """One line of a traceback, outermost first."""

    file: str
    line: int
    column: int
    function: str
    text: str


class Event(NamedTuple):
    """What a worker says. Only the fields of its kind have a meaning.

    Attributes:
        name: of the function, the looked up name, the module; the exception's type for ERROR.
        text: message, diagnostics, printed text, or the value that completes a feed.
        args: arguments of a call; a value that is no text is None.
        detail: of an OS_CALL: its own fields.
        call_id: what an answer names.
        frames: traceback of an ERROR.
        data: the state of DUMPED.
    """

    kind: EventKind
    name: str = ""
    text: str | None = None
    detail: bytes = b""
    args: tuple[str | None, ...] = ()
    call_id: int = 0
    frames: tuple[Frame, ...] = ()
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session begins.

    Attributes:
        script_name: name of the file in `__file__`.
        memory_bytes_max: of the interpreter's heap.
        recursion_max: calls in calls.
        type_check: check types of every feed that does not say otherwise.
        stubs: declarations known to the type check.
    """

    script_name: str
    memory_bytes_max: int
    recursion_max: int
    type_check: bool = False
    stubs: str = ""


def _varint(number: int) -> bytes:
    """Returns `number`, 0 or more, in base 128."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _frame(kind: int, body: bytes) -> bytes:
    message = _bytes(kind, body)
    return len(message).to_bytes(LENGTH_BYTES, "little") + message


def _graph(nodes: list[bytes]) -> bytes:
    """Returns the table of values that indexes of a message point into."""
    return _number(1, len(nodes)) + b"".join(_bytes(2, node) for node in nodes)


def encode_configure(options: SessionOptions) -> bytes:
    """Returns the request that begins a session."""
    limits = _number(2, options.memory_bytes_max) + _number(4, options.recursion_max)
    policy = (
        _bytes(2, _UNIT)  # the node answers every clock
        + _bytes(4, _bytes(1, _UNIT))  # the zone is UTC
        + _bytes(5, _bytes(3, _UNIT))  # sleeping takes no time
        + _bytes(7, _UNIT)  # the node answers unseeded randomness
        + _bytes(9, _UNIT)  # computing takes no time
    )
    body = (
        _text(1, options.script_name)
        + _bytes(2, limits)
        + (_number(3, 1) if options.type_check else b"")
        + (_text(4, options.stubs) if options.stubs else b"")
        + _text(5, RUNTIME_VERSION)
        + _number(6, 0)
        + _number(7, _FORMAT_JSON_LINES)
        + _number(9, PROTOCOL_VERSION)
        + _number(10, _PRINT_FLUSH_MS)
        + _bytes(11, policy)
    )
    return _frame(1, body)


def encode_feed(code: str, inputs: dict[str, str] | None = None, *, checked: bool = True) -> bytes:
    """Returns the request that runs `code` in the session.

    Args:
        code: statements; the value of a last expression completes the feed.
        inputs: texts bound to global names before.
        checked: its types are checked, if those of the session are.
    """
    inputs = inputs or {}
    names = b"".join(
        _bytes(2, _text(1, name) + (_number(2, index) if index else b""))
        for index, name in enumerate(inputs)
    )
    graph = _graph([_text(8, text) for text in inputs.values()]) if inputs else b""
    skip = b"" if checked else _number(4, 1)
    return _frame(3, _text(1, code) + names + _bytes(3, graph) + skip + _text(5, "/"))


def _answer(call_id: int, result: bytes, graph: bytes = b"") -> bytes:
    head = _number(1, call_id) if call_id else b""
    return _frame(4, head + _bytes(2, result) + (_bytes(3, graph) if graph else b""))


def encode_text_answer(call_id: int, text: str) -> bytes:
    """Returns the request that lets a call return `text`."""
    return _answer(call_id, _number(1, 0), _graph([_text(8, text)]))


def encode_moment(event: Event, moment: datetime) -> bytes:
    """Returns the request that answers an OS_CALL for a clock with `moment`, in UTC."""
    if event.name == OS_TIME:
        node = _varint(7 << 3 | 1) + struct.pack("<d", moment.timestamp())
        return _answer(event.call_id, _number(1, 0), _graph([node]))
    zone: bytes | None = None
    if event.name == OS_NOW:
        fields = dict(read_fields(event.detail))
        zone = _as_bytes(fields[1]) if 1 in fields else None
    offset_s = 0
    if zone is not None:
        offset_s = _as_number(dict(read_fields(zone)).get(1, 0))
        if offset_s >= 1 << 31:
            offset_s -= 1 << 64
        moment += timedelta(seconds=max(-86_400, min(86_400, offset_s)))
    date = _number(1, moment.year) + _number(2, moment.month) + _number(3, moment.day)
    if event.name == OS_TODAY:
        return _answer(event.call_id, _number(1, 0), _graph([_bytes(17, date)]))
    clock = (
        _number(4, moment.hour)
        + _number(5, moment.minute)
        + _number(6, moment.second)
        + _number(7, moment.microsecond)
    )
    if zone is not None:
        clock += _varint(8 << 3) + _varint(offset_s & (1 << 64) - 1)
    return _answer(event.call_id, _number(1, 0), _graph([_bytes(19, date + clock)]))


def encode_random(event: Event, seed: int, number: int) -> bytes:
    """Returns the request that answers an OS_CALL for randomness.

    Args:
        seed: of the run.
        number: how often the run has asked before; each answer is another one.
    """
    fields = dict(read_fields(event.detail))
    size = min(_as_number(fields.get(1, 0)), RANDOM_BYTES_MAX)
    data = hashlib.shake_256(f"{seed}/{number}".encode()).digest(size)
    return _answer(event.call_id, _number(1, 0), _graph([_bytes(9, data)]))


def encode_raise(call_id: int, kind: str, message: str) -> bytes:
    """Returns the request that lets a call raise the built-in exception `kind`."""
    return _answer(call_id, _bytes(2, _text(1, kind) + _text(2, message)))


def encode_not_found(call_id: int, name: str) -> bytes:
    """Returns the request that lets a call or import end because there is no such name."""
    return _answer(call_id, _text(4, name))


def encode_not_handled(call_id: int) -> bytes:
    """Returns the request that lets an operation of the system fail as it does without one."""
    return _answer(call_id, _bytes(5, _UNIT))


UNDEFINED: Final = _frame(5, _bytes(3, _UNIT))
"""Request: the name that was looked up is not defined."""
DUMP: Final = _frame(7, b"")
RESET: Final = _frame(9, b"")
"""Request: forget the session."""


def encode_load(state: bytes) -> bytes:
    """Returns the request that begins a session as it was when `state` was dumped."""
    return _frame(8, _bytes(1, state))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number that does not end")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def read_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Returns (field, number or bytes) of a message in order; fixed-size fields as bytes.

    Raises:
        WireError: it is malformed, or has more than `FIELDS_MAX` fields.
    """
    fields: list[tuple[int, int | bytes]] = []
    at, end = 0, len(data)
    while at < end:
        if len(fields) >= FIELDS_MAX:
            raise WireError(f"a message of more than {FIELDS_MAX} fields")
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _read_varint(data, at)
            fields.append((key >> 3, number))
            continue
        if kind == 2:
            length, at = _read_varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"a field of kind {kind}")
        if length > end - at:
            raise WireError("a field longer than its message")
        fields.append((key >> 3, data[at : at + length]))
        at += length
    return fields


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("a number where a message belongs")
    return value


def _as_number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise WireError("a message where a number belongs")
    return value


def _as_text(value: int | bytes) -> str:
    # Python allows lone surrogates in texts; UTF-8 has no place for them.
    return _as_bytes(value).decode("utf-8", "replace")


def _read_nodes(graph: bytes) -> list[str | None]:
    """Returns the values of a table: texts, None for all others."""
    nodes: list[str | None] = []
    for field, value in read_fields(graph):
        if field == 2:
            found: str | None = None
            for kind, content in read_fields(_as_bytes(value)):
                if kind == 8:
                    found = _as_text(content)
            nodes.append(found)
    return nodes


def _read_indexes(value: int | bytes) -> list[int]:
    if isinstance(value, int):
        return [value]
    indexes: list[int] = []
    at = 0
    while at < len(value):
        if len(indexes) >= FIELDS_MAX:
            raise WireError(f"a call with more than {FIELDS_MAX} arguments")
        index, at = _read_varint(value, at)
        indexes.append(index)
    return indexes


def _node_of(nodes: list[str | None], index: int) -> str | None:
    if index >= len(nodes):
        raise WireError("an index outside the table of values")
    return nodes[index]


def _read_call(body: bytes) -> Event:
    name, call_id = "", 0
    indexes: list[int] = []
    nodes: list[str | None] = []
    for field, value in read_fields(body):
        if field == 1:
            name = _as_text(value)
        elif field == 2:
            indexes += _read_indexes(value)
        elif field == 4:
            call_id = _as_number(value)
        elif field == 7:
            nodes = _read_nodes(_as_bytes(value))
    args = tuple(_node_of(nodes, index) for index in indexes)
    return Event(EventKind.FUNCTION_CALL, name=name, args=args, call_id=call_id)


def _read_complete(body: bytes) -> Event:
    index = 0
    nodes: list[str | None] = []
    for field, value in read_fields(body):
        if field == 1 and isinstance(value, int):
            index = value
        elif field == 2:
            nodes = _read_nodes(_as_bytes(value))
    return Event(EventKind.COMPLETE, text=_node_of(nodes, index) if nodes else None)


def _read_location(data: bytes) -> tuple[int, int]:
    fields = dict(read_fields(data))
    return _as_number(fields.get(1, 0)), _as_number(fields.get(2, 0))


def _read_stack_frame(data: bytes) -> Frame:
    file = function = text = ""
    line = column = 0
    for field, value in read_fields(data):
        if field == 1:
            file = _as_text(value)
        elif field == 2:
            line, column = _read_location(_as_bytes(value))
        elif field == 4:
            function = _as_text(value)
        elif field == 5:
            text = _as_text(value)
    return Frame(file, line, column, function, text)


def _read_error(body: bytes) -> Event:
    kind = message = ""
    frames: list[Frame] = []
    for outer, exception in read_fields(body):
        if outer != 1:
            continue
        for field, value in read_fields(_as_bytes(exception)):
            if field == 1:
                kind = _as_text(value)
            elif field == 2:
                message = _as_text(value)
            elif field == 3:
                frames.append(_read_stack_frame(_as_bytes(value)))
    return Event(EventKind.ERROR, name=kind, text=message, frames=tuple(frames))


def _read_print(body: bytes) -> Event:
    texts: list[str] = []
    for field, segment in read_fields(body):
        if field == 1:
            parts = read_fields(_as_bytes(segment))
            texts += [_as_text(value) for number, value in parts if number == 2]
    return Event(EventKind.PRINT, text="".join(texts))


OS_TODAY: Final = "today"
OS_NOW: Final = "now"
OS_URANDOM: Final = "urandom"
OS_TIME: Final = "time"
OS_IMPORT: Final = "import"
_OS_NAMES: Final = {23: OS_TODAY, 24: OS_NOW, 25: OS_URANDOM, 26: OS_TIME, 31: OS_IMPORT}
_OS_STUB: Final = 32


def _read_os_call(body: bytes) -> Event:
    name, call_id, detail = "", 0, b""
    for field, value in read_fields(body):
        if field == 1:
            call_id = _as_number(value)
        elif field == _OS_STUB:
            name = OS_IMPORT
        elif field in _OS_NAMES:
            name, detail = _OS_NAMES[field], _as_bytes(value)
    return Event(EventKind.OS_CALL, name=name, call_id=call_id, detail=detail)


def decode_event(data: bytes) -> Event:
    """Returns the event in a frame without its length.

    Raises:
        WireError: no healthy worker sends that.
    """
    kinds = [(field, value) for field, value in read_fields(data) if field <= EventKind.FATAL]
    if len(kinds) != 1:
        raise WireError(f"an event of {len(kinds)} kinds")
    kind, body = kinds[0][0], _as_bytes(kinds[0][1])
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(body)
    if kind in (EventKind.OK, EventKind.RESOLVE_FUTURES):
        return Event(EventKind(kind))
    fields = dict(read_fields(body))
    content = _as_bytes(fields.get(1, b""))
    if kind == EventKind.DUMPED:
        return Event(EventKind.DUMPED, data=content)
    if kind in (EventKind.NAME_LOOKUP, EventKind.TYPING_ERROR, EventKind.FATAL):
        return Event(EventKind(kind), text=_as_text(content))
    raise WireError(f"an event of kind {kind}")


_READERS: Final[dict[int, Callable[[bytes], Event]]] = {
    EventKind.PRINT: _read_print,
    EventKind.FUNCTION_CALL: _read_call,
    EventKind.OS_CALL: _read_os_call,
    EventKind.COMPLETE: _read_complete,
    EventKind.ERROR: _read_error,
}
