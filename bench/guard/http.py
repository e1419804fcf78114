"""One connection of the gateway without a network: bytes in, bytes out, and nothing by chance.

The protocol is the one the node serves with (uvicorn's parser, our bounds), the application is the
gateway, the event loop is uvloop; the transport is a list, and the node behind answers each request
in the next turn of the loop, as a real one that has the answer at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import uvicorn
import uvloop
from uvicorn.server import ServerState

from lithox.gateway.app import Gateway
from lithox.gateway.protocol import bounded_protocol
from lithox.gateway.settings import GatewaySettings
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Answer, Caller, Request, Usage

BODY: Final = b'{"args":[5]}'
REQUEST: Final = (
    b"POST /v1/entities/counter/alice:increment HTTP/1.1\r\nHost: 127.0.0.1:7070\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
_END: Final = b"}}"
"""How the answer ends that every request gets here: usage is its last field."""
_OPERATOR: Final = Caller(identity=Identity("local"), account=AccountName("local"), is_admin=True)


class CountingLoop(uvloop.Loop):
    """uvloop that counts the turns asked of it.

    Attributes:
        turns: call-backs scheduled, those of futures and tasks included.
    """

    turns = 0

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        self.turns += 1
        return super().call_soon(callback, *args, context=context)


class _Node:
    """Answers every request with 12345 in the next turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller:
        del token, is_loopback
        return _OPERATOR

    def deadline_in(self, duration_ms: int) -> int:
        return duration_ms * 1_000_000

    def statistics(self) -> dict[str, float]:
        return {}

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        usage = Usage(fuel=12_345, cpu_ns=55_000, wall_ns=912_000, memory_bytes=196_608, attempts=1)
        answer = Answer(request_id=request.request_id, value=12_345, usage=usage)
        self._loop.call_soon(future.set_result, answer)
        return future


class _Transport:
    """What is written stays here.

    Attributes:
        writes: calls of `write`; on a socket that is free each is one system call.
        on_answered: called when the end of an answer has been written.
    """

    def __init__(self, on_answered: Callable[[], None]) -> None:
        self.writes = 0
        self.is_closed = False
        self.written: list[bytes] = []
        self._on_answered = on_answered

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.written.append(data)
        if data.endswith(_END):
            self._on_answered()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 7_070)}.get(
            name, default
        )

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        """Nobody reads."""

    def resume_reading(self) -> None:
        """Nobody reads."""

    def close(self) -> None:
        self.is_closed = True


class Connection:
    """One kept connection; `ask` sends it requests, each when the one before is answered.

    A request that is never answered ends the process by its caller's limit of time; one that is
    refused, or after which the gateway closes, is told by `ask`.
    """

    def __init__(self) -> None:
        self.loop = CountingLoop()
        self.transport = _Transport(self._plan_next)
        self._left = 0
        settings = GatewaySettings()
        protocol = bounded_protocol(settings)
        config = uvicorn.Config(
            cast("Any", Gateway(cast("Any", _Node(self.loop)), settings, now_ns=lambda: 0)),
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        state = ServerState()
        state.default_headers = [(b"date", b"Sun, 22 Nov 2026 00:00:00 GMT")]
        self._protocol = protocol(config=config, server_state=state, app_state={}, _loop=self.loop)
        self._protocol.connection_made(cast("Any", self.transport))

    def ask(self, count: int) -> None:
        """Has `count` requests answered; raises SystemExit when one is refused."""
        self.transport.written.clear()
        self._left = count
        self._plan_next()
        self.loop.run_forever()
        found = b"".join(self.transport.written).count(b"HTTP/1.1 200 ")
        if found != count:
            raise SystemExit(f"{found} of {count} answered: {self.transport.written[-2:]}")

    def _plan_next(self) -> None:
        # Past the counter: the network, not the node, brings the next request.
        uvloop.Loop.call_soon(self.loop, self._send_next)

    def _send_next(self) -> None:
        if not self._left or self.transport.is_closed:
            self.loop.stop()
            return
        self._left -= 1
        self._protocol.data_received(REQUEST)

    def close(self) -> None:
        """Ends the loop."""
        self._protocol.connection_lost(None)
        self.loop.close()
