"""What a server's parent and its processes say to each other: JSON lines over a socket pair.

    parent -> process   {"say": "begin", ...}   what it is to be: the first line
                        {"say": "close"}        all have answered what they had: end now
    process -> parent   {"say": "ready"}        it serves
                        {"say": "failed", "code", "fields"}   it cannot, and why
                        {"say": "drained"}      told to stop, it has answered what it had

Either end's death is the end of the other's stream, which is how a process learns at once that it
has no parent any more.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Final, Self, cast

from lithox.errors import LithoxError, PeerProtocolError, rebuild

LINE_BYTES_MAX: Final = 4 << 20
"""The first line carries the text of the configuration."""


class Control:
    """One end of the socket pair. Used on the loop's thread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks over an open stream."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Speaks over one end of a pair."""
        reader, writer = await asyncio.open_connection(sock=end, limit=LINE_BYTES_MAX)
        return cls(reader, writer)

    def say(self, what: str, **more: Any) -> None:
        """Sends a line; one to an end that is gone is dropped."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"say": what, **more}).encode() + b"\n")

    def fail(self, error: LithoxError) -> None:
        """Says why a process cannot serve."""
        self.say("failed", code=error.code, fields=json.loads(json.dumps(error.to_fields())))

    async def flush(self) -> None:
        """Waits until what was said is in the other's hands, if it is there."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def hear(self) -> dict[str, Any] | None:
        """Returns the next line, None when the other end is gone. Raises PeerProtocolError."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        try:
            found = json.loads(line)
        except ValueError:
            raise PeerProtocolError("a line that is no JSON between parent and process") from None
        if not isinstance(found, dict):
            raise PeerProtocolError("a line that says nothing between parent and process")
        return cast("dict[str, Any]", found)

    def close(self) -> None:
        """Ends the stream."""
        self._writer.close()


def failure_of(said: dict[str, Any]) -> Exception:
    """Returns the error that a `failed` line tells."""
    return rebuild(str(said.get("code")), dict(said.get("fields") or {}))
