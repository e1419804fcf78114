"""Speaks RESP to a connection in process, over a transport that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import hiredis

from lithox.gateway.resp.bounds import RespBounds
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.service import open_resp
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.fake_node import FakeNode

TURNS_MAX = 200


class Transport:
    """What a connection sees of its socket."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_paused = self.is_closed = self.is_aborted = False
        self.unsent = 0
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "nothing is written behind the end"
        self.written.append(data)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True


class Peers:
    """What uvicorn knows."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()


def encode(*words: str | bytes | int) -> bytes:
    """Returns a command as it is sent."""
    return hiredis.pack_command(words)


class Speaker:
    """One client of one connection; to be made inside a running loop."""

    def __init__(
        self,
        node: FakeNode | None = None,
        bounds: RespBounds | None = None,
        settings: GatewaySettings | None = None,
    ) -> None:
        self.node = node or FakeNode()
        self.peers = Peers()
        self.transport = Transport()
        self.service = open_resp(self.node, settings or GatewaySettings(), bounds)
        self.connection = RespConnection(self.service, self.peers)
        self.connection.take_over(self.transport, b"")
        self._reader = hiredis.Reader(replyError=hiredis.ReplyError)

    def send(self, *words: str | bytes | int) -> None:
        """Sends one command and does not wait."""
        self.connection.data_received(encode(*words))

    def read(self) -> list[Any]:
        """Returns what has been answered since the last time."""
        self._reader.feed(b"".join(self.transport.written))
        self.transport.written.clear()
        found: list[Any] = []
        while (reply := self._reader.gets()) is not False:
            found.append(reply)
        return found

    async def settle(self) -> list[Any]:
        """Lets everything happen that can; returns what has been answered."""
        for _ in range(TURNS_MAX):
            await asyncio.sleep(0)
        return self.read()

    async def ask(self, *words: str | bytes | int) -> Any:
        """Returns the answer to one command; errors are returned, too."""
        self.send(*words)
        found = await self.settle()
        assert len(found) == 1, found
        return found[0]


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs the body of a test."""
    asyncio.run(work)
