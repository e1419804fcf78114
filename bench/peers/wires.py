"""How a request looks on each wire, and where in a stream of bytes an answer ends.

Three wires: HTTP/1.1, RESP (Redis and lithox) and iproto (Tarantool). A reader is fed bytes as they
come and gives the answers that are whole; it trusts the server it measures no further than that.
Answers come in the order of requests on a connection; a server that answers out of order (iproto
may) is measured all the same, since latency is then taken from the oldest request under way.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import hiredis
import msgspec

_END_OF_HEADERS: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_CHUNKED: Final = b"transfer-encoding: chunked"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_IPROTO_GREETING_BYTES: Final = 128
_IPROTO_CALL: Final = 0x0A
_IPROTO_TYPE, _IPROTO_SYNC, _IPROTO_FUNCTION, _IPROTO_ARGUMENTS = 0x00, 0x01, 0x22, 0x21
_IPROTO_DATA, _IPROTO_ERROR = 0x30, 0x31
_IPROTO_SIZE: Final = struct.Struct(">BI")
_IPROTO_SIZE_MARK: Final = 0xCE
ANSWER_BYTES_MAX: Final = 1 << 20


class Action(NamedTuple):
    """What is asked of an entity, in words that each peer says in its own way."""

    handler: str
    entity: str
    arguments: tuple[Any, ...] = ()


class Answer(NamedTuple):
    """One whole answer; `value` is what the handler returned, or the error's words."""

    is_ok: bool
    value: Any


class Reader(Protocol):
    """Finds answers in a stream."""

    def feed(self, data: bytes) -> list[Answer]:
        """Returns the answers that `data` completes, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How to ask one server.

    Attributes:
        kind: "http", "resp" or "iproto": which reader its answers need.
        words: the action as the wire's own pieces: (path, body) for HTTP, words for RESP,
            (function, arguments) for iproto.
    """

    kind: str
    host: str
    port: int
    words: Callable[[Action], Any]

    def encode(self, action: Action) -> bytes:
        """Returns the request as it goes out."""
        words = self.words(action)
        if self.kind == "http":
            return http_message(f"{self.host}:{self.port}", *words)
        return resp_message(words) if self.kind == "resp" else iproto_message(*words)


def http_message(host: str, path: str, body: str) -> bytes:
    """Returns a POST over a kept connection."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def resp_message(words: Sequence[str]) -> bytes:
    """Returns a command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def iproto_message(function: str, arguments: Sequence[Any]) -> bytes:
    """Returns a CALL."""
    header = msgspec.msgpack.encode({_IPROTO_TYPE: _IPROTO_CALL, _IPROTO_SYNC: 0})
    body = msgspec.msgpack.encode({_IPROTO_FUNCTION: function, _IPROTO_ARGUMENTS: list(arguments)})
    return _IPROTO_SIZE.pack(_IPROTO_SIZE_MARK, len(header) + len(body)) + header + body


class HttpReader:
    """Answers of HTTP/1.1 with Content-Length or in chunks."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> list[Answer]:
        self._left += data
        found: list[Answer] = []
        while (one := self._next()) is not None:
            found.append(one)
        if len(self._left) > ANSWER_BYTES_MAX:
            raise ValueError("an answer longer than any that is expected")
        return found

    def _next(self) -> Answer | None:
        end = self._left.find(_END_OF_HEADERS)
        if end < 0:
            return None
        head, begin = self._left[:end].lower(), end + len(_END_OF_HEADERS)
        at = head.find(_LENGTH)
        if at >= 0:
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
            stop = begin + length
            if len(self._left) < stop:
                return None
        elif _CHUNKED in head:
            last = self._left.find(_LAST_CHUNK, begin)
            if last < 0:
                return None
            stop = last + len(_LAST_CHUNK)
        else:
            stop = begin
        body, self._left = self._left[begin:stop], self._left[stop:]
        is_ok = head[9:10] == b"2"
        return Answer(is_ok, body)


class RespReader:
    """Answers of RESP2 and RESP3; an error is an answer that is not ok."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> list[Answer]:
        self._reader.feed(data)
        found: list[Answer] = []
        while (value := self._reader.gets()) is not False:
            is_ok = not isinstance(value, hiredis.ReplyError)
            found.append(Answer(is_ok, value if is_ok else str(value)))
        return found


class IprotoReader:
    """Answers of Tarantool, after its greeting; headers are not looked at beyond their code."""

    def __init__(self) -> None:
        self._left = b""
        self._greeting_left = _IPROTO_GREETING_BYTES

    def feed(self, data: bytes) -> list[Answer]:
        if self._greeting_left:
            skipped = min(self._greeting_left, len(data))
            self._greeting_left -= skipped
            data = data[skipped:]
        left = self._left + data
        found: list[Answer] = []
        at = 0
        while len(left) - at >= _IPROTO_SIZE.size:
            _, size = _IPROTO_SIZE.unpack_from(left, at)
            stop = at + _IPROTO_SIZE.size + size
            if len(left) < stop:
                break
            found.append(_iproto_answer(left[at + _IPROTO_SIZE.size : stop]))
            at = stop
        self._left = left[at:]
        return found


_IPROTO_HEADER_OK: Final = b"\x83\x00\xce\x00\x00\x00\x00"
"""What the header of every answer without an error begins with (three pairs, code 0)."""


def _iproto_answer(data: bytes) -> Answer:
    return Answer(data.startswith(_IPROTO_HEADER_OK), data)


READERS: Final[dict[str, Callable[[], Reader]]] = {
    "http": HttpReader,
    "resp": RespReader,
    "iproto": IprotoReader,
}


def number_in(kind: str, value: Any) -> int | None:
    """Returns the integer a handler returned, as it stands in an answer of `kind`; None: none."""
    if kind == "resp":
        return int(value) if isinstance(value, int | bytes) else None
    if kind == "iproto":
        return _iproto_number(value)
    body = bytes(value)
    if _LAST_CHUNK in body:
        body = b"".join(body.split(b"\r\n")[1:-2:2])
    try:
        found = json.loads(body)
    except ValueError:
        return None
    if isinstance(found, dict):
        found = found.get("value")
    return found if isinstance(found, int) else None


def _iproto_number(data: bytes) -> int | None:
    """Returns the first value of an answer's data; header and body are two maps in a row."""
    for at in range(len(_IPROTO_HEADER_OK), len(data)):
        # The body is a map of one pair whose key is DATA.
        if data[at : at + 2] == bytes([0x81, _IPROTO_DATA]):
            found = msgspec.msgpack.decode(data[at:])[_IPROTO_DATA]
            return found[0] if found and isinstance(found[0], int) else None
    return None
