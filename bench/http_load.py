"""Open-loop load over HTTP from a process of its own: requests leave at their times, come what may.

wrk is a closed loop: when the server stalls, wrk sends less, and a stall hides in requests that
were never made. Here latency counts from when a request was due. Connections are kept; a request
that finds none free opens one more, up to CONNECTIONS_MAX, and then waits for one.

Usage: python -m bench.http_load HOST PORT --rate R [--seconds 2] [--token TOKEN]
Prints one JSON line {"rate", "p50_us", "p99_us"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import Final, cast

import uvloop

from bench.counter import HANDLER, ORDER
from bench.loads import open_loop

CONNECTIONS_MAX: Final = 512
CONNECTIONS_FIRST: Final = 64
_END_OF_HEADERS: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


class Connection(asyncio.Protocol):
    """One kept connection with at most one request on its way."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports write and are no instances of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, mark, body = self._received.partition(_END_OF_HEADERS)
        if not mark:
            return
        lower = head.lower()
        begin = lower.index(_LENGTH) + len(_LENGTH)
        length = int(lower[begin:].split(b"\r\n", 1)[0])
        if len(body) >= length and self._answer is not None:
            answer, self._answer, self._received = self._answer, None, b""
            if not answer.done():
                answer.set_result(head[:12])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed"))

    async def ask(self, message: bytes) -> bytes:
        """Returns the first 12 bytes of the answer: version and status."""
        self._answer = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(message)
        return await self._answer


class Client:
    """A pool of connections to one server."""

    def __init__(self, host: str, port: int, token: str | None) -> None:
        self._host, self._port = host, port
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._opened = 0
        credit = f"Authorization: Bearer {token}\r\n" if token else ""
        self._messages = [
            (
                f"POST /v1/entities/{entity}:{HANDLER} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                f"{credit}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
            ).encode()
            for entity in ORDER
        ]

    async def open(self) -> None:
        """Opens one more connection and leaves it free."""
        self._opened += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        self._free.put_nowait(connection)

    async def call(self, number: int) -> None:
        """Makes request number `number`; ends the process when it is refused."""
        if self._free.empty() and self._opened < CONNECTIONS_MAX:
            await self.open()
        connection = await self._free.get()
        status = await connection.ask(self._messages[number % len(self._messages)])
        if not status.endswith(b"200"):
            raise SystemExit(f"the server answered {status.decode()}")
        self._free.put_nowait(connection)


async def load(options: argparse.Namespace) -> None:
    """Opens some connections, then loads."""
    client = Client(options.host, options.port, options.token)
    for _ in range(CONNECTIONS_FIRST):
        await client.open()
    found = await open_loop(client.call, rate=options.rate, seconds=options.seconds)
    print(json.dumps(asdict(found)))


def main() -> None:
    """Reads the command line and loads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--token")
    uvloop.run(load(parser.parse_args()))


if __name__ == "__main__":
    main()
