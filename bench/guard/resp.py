"""One RESP connection without a network: reads of many commands, answers counted.

The connection is the gateway's own; the transport is a counter, and the node behind answers all
commands of a read in one later turn, as a real one whose batch became durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import uvloop

from bench.guard.http import CountingLoop
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.service import open_resp
from lithox.gateway.settings import GatewaySettings
from lithox.model.request import Answer, Caller, Request
from lithox.security.identities import LOCAL_OPERATOR

DEPTH: Final = 16
"""Commands that come in one read."""
ENTITIES: Final = 128


class _Node:
    """Answers 12345 to all that was submitted in one turn of the loop, in the next one."""

    def __init__(self, loop: CountingLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Callable[[Answer], None], Answer]] = []

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller:
        del token, is_loopback
        return LOCAL_OPERATOR

    def submit_to(self, request: Request, on_answer: Callable[[Answer], None]) -> None:
        if not self._waiting:
            self._loop.call_soon(self._answer)
        answer = Answer(request_id=request.request_id, value=12_345)
        self._waiting.append((on_answer, answer))

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for on_answer, answer in waiting:
            on_answer(answer)


class _Transport:
    """Counts what is written; everything else a connection may ask of it does nothing."""

    def __init__(self, on_answered: Callable[[], None]) -> None:
        self.writes = 0
        self.answers = 0
        self._on_answered = on_answered

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.answers += data.count(b":12345\r\n")
        if self.answers % DEPTH == 0:
            self._on_answered()

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


class _Peers:
    """What a server keeps of all connections."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()


def _encode(words: list[bytes]) -> bytes:
    """Returns a command as it is sent."""
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


class RespWire:
    """One connection; `ask` gives it reads, each when the one before is answered."""

    def __init__(self) -> None:
        self.loop = CountingLoop()
        self.transport = _Transport(self._plan_next)
        self._left = 0
        self._reads = [
            b"".join(
                _encode([b"CALL", b"counter/e%d" % ((first + n) % ENTITIES), b"increment", b"1"])
                for n in range(DEPTH)
            )
            for first in range(0, ENTITIES, DEPTH)
        ]
        self._connection: RespConnection | None = None

    def ask(self, reads: int) -> None:
        """Has `reads` reads of `DEPTH` commands answered; raises SystemExit when one is not."""
        before = self.transport.answers
        self._left = reads
        self._plan_next()
        self.loop.run_forever()
        if self.transport.answers - before != reads * DEPTH:
            raise SystemExit(f"{self.transport.answers - before} of {reads * DEPTH} answered")

    def _plan_next(self) -> None:
        # Past the counter: the network, not the node, brings the next read.
        uvloop.Loop.call_soon(self.loop, self._send_next)

    def _send_next(self) -> None:
        if not self._left:
            self.loop.stop()
            return
        self._left -= 1
        data = self._reads[self._left % len(self._reads)]
        if self._connection is not None:
            self._connection.data_received(data)
            return
        node: Any = _Node(self.loop)
        peers: Any = _Peers()
        self._connection = RespConnection(open_resp(node, GatewaySettings()), peers)
        self._connection.take_over(cast("Any", self.transport), data)

    def close(self) -> None:
        """Ends connection and loop."""
        if self._connection is not None:
            self._connection.connection_lost(None)
        self.loop.close()
