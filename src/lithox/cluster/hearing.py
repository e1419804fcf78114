"""The end that answers: takes the requests and questions of the other processes of this server.

A request goes to the node as one that has arrived where it belongs; its answer leaves on the
connection it came by. Questions are answered by a table of functions that `node` gives. Invariants:
a process that does not take its answers is not read from, and is cut off once
`ANSWERS_BYTES_MAX` wait for it; nothing it says can raise into the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from lithox.cluster.connection import Connection
from lithox.cluster.frames import FRAME_BYTES_MAX
from lithox.cluster.peer import PING, RETRY_AFTER_MS
from lithox.cluster.wire import (
    ASK,
    REQUEST,
    decode_request,
    encode_answer,
    encode_told,
)
from lithox.dispatch.job import OnAnswer
from lithox.errors import InternalError, Overloaded, PeerProtocolError, TooLarge
from lithox.model.request import Answer, Request

ANSWERS_BYTES_MAX: Final = 64 << 20
PAUSE_BYTES: Final = 8 << 20
"""With so much waiting nothing more is read; read on below half of it."""
CONNECTIONS_MAX: Final = 1_024
QUESTIONS_MAX: Final = 4_096
"""Questions of one connection that are being answered."""
_log: Final = logging.getLogger("lithox.cluster")

Respond = Callable[[Any], Awaitable[Any]]
"""Answers one kind of question: plain data in, plain data out; a LithoxError is told."""


class Hearing:
    """Listens on this process's own socket. Every method is called on the loop's thread."""

    def __init__(
        self,
        path: Path,
        *,
        arrive: Callable[[Request, OnAnswer], None],
        questions: Mapping[str, Respond],
        monotonic_ns: Callable[[], int],
    ) -> None:
        """Listens to nothing yet.

        Args:
            path: of the socket; its folder is this user's alone. A file left there is replaced.
            arrive: takes a request for an entity of this process; answers exactly once.
            questions: by name.
            monotonic_ns: the node's clock.
        """
        self._path = path
        self._arrive = arrive
        self._questions = questions
        self._monotonic_ns = monotonic_ns
        self._connections: set[Connection] = set()
        self._tasks: dict[Connection, set[asyncio.Task[None]]] = {}
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listens. Raises OSError."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._make, str(self._path))

    def stop(self) -> None:
        """Ends every connection and listens no more. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.close()

    def _make(self) -> Connection:
        return Connection(on_items=self._take, on_open=self._begin, on_lost=self._end)

    def _begin(self, connection: Connection) -> None:
        if self._server is None:
            # Accepted before the stop, and only now made.
            connection.close()
            return
        if len(self._connections) >= CONNECTIONS_MAX:
            _log.error("more connections from processes of this server than there can be")
            connection.close()
            return
        self._connections.add(connection)
        self._tasks[connection] = set()

    def _end(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for task in self._tasks.pop(connection, ()):
            task.cancel()

    def _take(self, connection: Connection, items: list[list[Any]]) -> None:
        now_ns = self._monotonic_ns()
        for item in items:
            if len(item) < 2 or type(item[1]) is not int:
                raise PeerProtocolError("an item without a number")
            if item[0] == REQUEST:
                request = decode_request(item, now_ns)
                self._arrive(request, partial(self._answer, connection, item[1]))
            elif item[0] == ASK:
                self._take_question(connection, item)
            else:
                raise PeerProtocolError(f"an item of kind {item[0]!r:.40} where requests are")

    def _answer(self, connection: Connection, number: int, answer: Answer) -> None:
        try:
            item = encode_answer(number, answer)
        except Exception as bug:  # noqa: BLE001 - who waits is told, whatever it is
            item = encode_answer(number, Answer(error=InternalError(f"an answer: {bug}")))
        if len(item) > FRAME_BYTES_MAX // 2:
            error = TooLarge(f"the answer has {len(item)} bytes, too many for one answer")
            item = encode_answer(number, Answer(request_id=answer.request_id, error=error))
        self._put(connection, item)

    def _put(self, connection: Connection, item: bytes) -> None:
        connection.put(item)
        waiting = connection.waiting_bytes
        if waiting > ANSWERS_BYTES_MAX:
            _log.error("a process of this server does not take its answers; it is cut off")
            connection.close()
        elif waiting > PAUSE_BYTES:
            connection.pause_until(PAUSE_BYTES // 2)

    def _take_question(self, connection: Connection, item: list[Any]) -> None:
        if len(item) != 4 or not isinstance(item[2], str):
            raise PeerProtocolError("a question that is none")
        _, number, name, payload = item
        if name == PING:
            self._put(connection, encode_told(number, None))
            return
        respond = self._questions.get(name)
        if respond is None:
            raise PeerProtocolError(f"an unknown question {name[:40]!r}")
        tasks = self._tasks.get(connection)
        if tasks is None:
            return
        if len(tasks) >= QUESTIONS_MAX:
            refusal = Overloaded(
                f"{QUESTIONS_MAX} questions of one process are being answered; try again",
                retry_after_ms=RETRY_AFTER_MS,
            )
            self._put(connection, encode_told(number, None, refusal))
            return
        task = asyncio.get_running_loop().create_task(
            self._respond(connection, number, respond, payload)
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _respond(
        self, connection: Connection, number: int, respond: Respond, payload: Any
    ) -> None:
        try:
            item = encode_told(number, await respond(payload))
        except Exception as error:  # noqa: BLE001 - who asks is told
            item = encode_told(number, None, error)
        self._put(connection, item)
