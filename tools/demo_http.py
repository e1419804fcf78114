"""The demo's end of HTTP: many kept connections, each with one request in flight.

Written on asyncio's protocols, since the load must cost far less than the node it measures. It
understands what a lithox node sends (HTTP/1.1 with Content-Length) and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final, cast

CONNECT_ATTEMPTS_MAX: Final = 3


class GoneError(Exception):
    """The node ended, or the connection did, before the answer came: nobody knows what happened."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: the HTTP status and the body as it came."""

    http_status: int
    body: bytes

    def decode(self) -> dict[str, Any]:
        """Returns the body: request, status, value or error, usage."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a node listens and who knocks."""

    host: str
    port: int
    token: str


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self, door: Door) -> None:
        self._head = (
            f"Host: {door.host}:{door.port}\r\nAuthorization: Bearer {door.token}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._buffer = b""
        self._body_start = 0
        self._end = 0
        self._is_lost = False

    @classmethod
    async def open(cls, door: Door) -> Connection:
        """Connects. Raises GoneError when nobody listens."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: cls(door), door.host, door.port)
        except OSError as error:
            raise GoneError(str(error)) from None
        return connection

    async def ask(self, target: str, args: list[Any], request_id: str | None = None) -> Reply:
        """Calls `target` (`entity:handler`) and returns the answer, whatever it says.

        Raises:
            GoneError: the connection ended first.
        """
        body = json.dumps({"args": args}).encode()
        key = f"Idempotency-Key: {request_id}\r\n" if request_id else ""
        return await self._exchange(
            f"POST /v1/entities/{target} HTTP/1.1\r\n{self._head}{key}"
            f"Content-Length: {len(body)}\r\n\r\n",
            body,
        )

    async def get(self, path: str) -> Reply:
        """Asks for `path` and returns the answer. Raises GoneError as `ask` does."""
        return await self._exchange(f"GET {path} HTTP/1.1\r\n{self._head}\r\n", b"")

    async def _exchange(self, head: str, body: bytes) -> Reply:
        if self._is_lost or self._transport is None:
            raise GoneError("the connection has ended")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + body)
        return await self._waiting

    def close(self) -> None:
        """Ends the connection. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(GoneError(str(exc or "closed")))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            end_of_head = self._buffer.find(b"\r\n\r\n")
            if end_of_head < 0:
                return
            self._body_start = end_of_head + 4
            self._end = self._body_start + _content_length(self._buffer[:end_of_head])
        if len(self._buffer) < self._end or self._waiting is None:
            return
        reply = Reply(int(self._buffer[9:12]), self._buffer[self._body_start : self._end])
        self._buffer, self._end = self._buffer[self._end :], 0
        if not self._waiting.done():
            self._waiting.set_result(reply)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise GoneError("an answer without Content-Length")
